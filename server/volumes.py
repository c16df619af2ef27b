"""What clients can mount by an aname: volumes, each of which is a file system of its own."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ram9.server.config import Squash
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.permissions import Credentials

DEFAULT_NAME: Final = b""

CredentialsOf = Callable[[int], Credentials]


class Volume:
    """A file system that is mounted by *name*, and what holds for whoever mounts it.

    *credentials_of* says who a user is, if every request is to be checked; without it, the
    client's kernel is trusted to do so. It may raise OSError where that cannot be known. Users that
    *squash* covers are another instead, and their requests are checked in any case: their client
    may believe that they are root. If it is *read_only*, nothing changes it.
    ``refusals_seen`` and ``is_full`` are what the log has been told of it.
    """

    __slots__ = (
        "_credentials_of",
        "_squash",
        "filesystem",
        "is_full",
        "name",
        "read_only",
        "refusals_seen",
    )

    def __init__(
        self,
        name: bytes,
        filesystem: FileSystem,
        credentials_of: CredentialsOf | None = None,
        *,
        squash: Squash | None = None,
        read_only: bool = False,
    ) -> None:
        self.name = name
        self.filesystem = filesystem
        self._credentials_of = credentials_of
        self._squash = squash
        self.read_only = read_only
        self.refusals_seen = 0
        self.is_full = False

    def user(self, uid: int) -> tuple[int, Credentials | None]:
        """Who *uid* is here, and what is checked by that, if anything is. May raise OSError."""
        squash = self._squash
        if squash is not None and (squash.everybody or not uid):
            return squash.uid, Credentials(squash.uid, squash.gid, frozenset((squash.gid,)))
        if self._credentials_of is None:
            return uid, None
        return uid, self._credentials_of(uid)


class Volumes:
    """The volumes of one server, ``named`` by what mounts them; iterating gives all of them.

    No two of them share inodes or sectors.
    """

    __slots__ = ("named",)

    def __init__(self, volumes: Iterable[Volume]) -> None:
        self.named: dict[bytes, Volume] = {}
        for volume in volumes:
            if volume.name in self.named:
                raise ValueError(f"two volumes have the name {volume.name!r}")
            self.named[volume.name] = volume

    def __iter__(self) -> Iterator[Volume]:
        """All volumes, as they are now: more may come and go meanwhile."""
        return iter(list(self.named.values()))

    def find(self, aname: bytes) -> tuple[Volume, list[bytes]]:
        """The volume that an attach asks for, and the names of the way from its root.

        It is the one with the first of the names, else the one without a name (DEFAULT_NAME): that
        has all other ways. ENOENT if there is none.
        """
        names = [name for name in aname.split(b"/") if name not in (b"", b".")]
        volume = self.named.get(names[0]) if names else None
        if volume is not None:
            return volume, names[1:]
        volume = self.named.get(DEFAULT_NAME)
        if volume is None:
            raise FileSystemError(Errno.ENOENT)
        return volume, names
