"""What a client's fids stand for."""

from typing import NoReturn

from ram9.server.volumes import Lease, Volume
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, Inode
from ram9.storage.permissions import Credentials


class Attachment:
    """What one Tattach gave, and all fids share that were walked from there.

    *uid* is the user whom they act for, *root* what that user may not climb above, in *volume*.
    *credentials* are what the user's requests are checked with, None if they are not. A volume
    that does not stay for ever stays while there is an attachment; it knows that of which *session*
    by its number.
    """

    __slots__ = ("_lease", "credentials", "filesystem", "root", "uid", "volume")

    def __init__(
        self,
        volume: Volume,
        root: Directory,
        uid: int,
        credentials: Credentials | None = None,
        session: int = 0,
    ) -> None:
        self.volume = volume
        self.filesystem = volume.filesystem
        self._lease = Lease(volume.tenure, session) if volume.tenure is not None else None
        self.root = root
        self.uid = uid
        self.credentials = credentials


class Fid:
    """A client's handle on an inode, which it keeps alive: it never is a path.

    *parent* and *cookie* tell by which name it was reached, for the two messages that remove or
    rename a fid: a copy of the name could take more memory than all the rest.
    *readable* and *writable* are set when it is opened, and never asked of the mode again.
    """

    __slots__ = (
        "append",
        "attachment",
        "cookie",
        "inode",
        "last_cookie",
        "opened",
        "parent",
        "readable",
        "value",
        "writable",
    )

    def __init__(
        self,
        inode: Inode,
        attachment: Attachment,
        parent: Directory | None = None,
        cookie: int = 0,
    ) -> None:
        self.inode = inode
        self.attachment = attachment
        self.parent = parent
        self.cookie = cookie
        self.opened = False
        self.readable = False
        self.writable = False
        self.append = False
        self.last_cookie = 0  # of an open directory: where this reading of it ends
        self.value: ReadValue | WrittenValue | None = None


class ReadValue:
    """An extended attribute, or the list of their names, as it was when it was walked to."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class WrittenValue:
    """An extended attribute that is being written; clunking its fid sets it."""

    __slots__ = ("data", "flags", "name", "size_bytes")

    def __init__(self, name: bytes, size_bytes: int, flags: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.flags = flags
        self.data = bytearray()


class FidTable(dict[int, Fid]):
    """A connection's fids by number; asking for one that is not there is EBADF."""

    __slots__ = ()

    def __missing__(self, number: int) -> NoReturn:
        raise FileSystemError(Errno.EBADF)
