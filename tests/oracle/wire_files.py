"""Open files of one process, in the messages that v9fs would send.

What Linux looks at itself before it asks a server (fs/namei.c, fs/read_write.c) is looked at here;
everything else is left to the server.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from typing import Any, Final

from tests.client import ROOT, Client, set_attributes
from tests.oracle.calls import NO_DESCRIPTOR, SLOT, Attributes, Call, Outcome, fill
from tests.oracle.obstacles import Obstacle, obstacles
from tests.oracle.posix import NS, NoDescriptorError
from tests.oracle.reading import Names, Verdict
from tests.oracle.side import ROOT as ROOT_USER
from tests.oracle.side import User
from tests.oracle.wire_names import LINKS_MAX, Paths, refuse

from ram9.protocol.constants import (
    LOCK_BLOCKED,
    LOCK_TYPE_UNLCK,
    SETATTR_CTIME,
    SETATTR_MTIME,
    SETATTR_SIZE,
)
from ram9.protocol.messages import (
    Rgetattr,
    Tfsync,
    Tgetlock,
    Tlcreate,
    Tlock,
    Tlopen,
    Tread,
    Treaddir,
    Twrite,
    Txattrwalk,
    decode_entries,
)

OFFSET_MAX: Final = 2**63 - 1
HOST: Final = b"oracle"
LIST_PREFIX: Final = "system.posix_acl_"


class OpenFile:
    """An open file description: what ``dup`` shares."""

    def __init__(self, fid: int, flags: int, number: int, *, is_directory: bool) -> None:
        self.fid = fid
        self.flags = flags
        self.number = number
        self.is_directory = is_directory
        self.offset = 0
        self.reading: Verdict | None = None
        self.is_blind = False
        self.references = 1

    @property
    def readable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class OpenFiles:
    """The descriptors of one process, which may share its connection with others."""

    def __init__(self, client: Client, process: int, user: User = ROOT_USER) -> None:
        self._client = client
        self._user = user
        self._root = ROOT
        if user.uid:
            self._root = client.new()
            client.attach(self._root, b"", user.uid)
        self._names = Paths(client, self._root, searches=bool(user.uid))
        self._ask = self._names.ask
        self._process = process
        self._open: dict[int, OpenFile] = {}
        self._locked: set[int] = set()  # numbers of the inodes where this process has locks
        self._umask = 0o022

    def perform(self, call: Call) -> Outcome:
        function: Callable[..., Any] = getattr(self, call.name)
        try:
            result = function(*call.arguments)
        except NoDescriptorError:
            result = NO_DESCRIPTOR
        except OSError as error:
            result = errno.errorcode[error.errno or 0]
        self._names.forget()
        return Outcome(result, tuple(map(self._state, call.of_kind(SLOT))))

    def _state(self, slot: int) -> Attributes | None:
        file = self._open.get(slot)
        return attributes_of(self._names.attributes(file.fid)) if file is not None else None

    def _file(self, slot: int) -> OpenFile:
        file = self._open.get(slot)
        if file is None:
            raise NoDescriptorError
        return file

    def _at(self, path: str) -> tuple[int, bytes]:
        if not path.startswith("@"):
            return self._root, os.fsencode(path)
        base, _, rest = path.partition("/")
        return self._file(int(base[1:])).fid, os.fsencode(rest)

    def _from_directory(self, path: str) -> tuple[int, bytes]:
        """The same, for calls that first go to the directory."""
        if path.startswith("@") or self._user.uid:
            self._names.search(self._at(path)[0])
        return self._at(path)

    def _find(self, path: str, *, follow: bool = True) -> int:
        return self._names.find(*self._at(path), follow=follow)

    def _parent(self, path: str) -> tuple[int, bytes]:
        return self._names.parent(*self._at(path))

    def _new_gid(self, directory: int) -> int:
        """Whose group a new object has (v9fs_get_fsgid_for_create, fs/9p/vfs_inode_dotl.c)."""
        state = self._names.attributes(directory)
        return state.gid if state.mode & stat.S_ISGID else self._user.groups[0]

    def _mask(self, directory: int) -> int:
        """What is taken from the mode of a new object: nothing where a list decides (umask(2))."""
        try:
            self._getxattr(directory, f"{LIST_PREFIX}default")
        except OSError:
            return self._umask
        return 0

    def _getxattr(self, fid: int, name: str) -> bytes:
        new = self._client.new()
        size = self._ask(Txattrwalk(fid, new, os.fsencode(name))).size
        value = bytes(self._ask(Tread(new, 0, size)).data)
        self._client.clunk(new)
        return value

    # Descriptors

    def open(self, slot: int, path: str, flags: int, mode: int) -> None:
        at = self._at(path)
        if flags & os.O_CREAT and flags & os.O_DIRECTORY:
            refuse(errno.EINVAL)
        fid = self._open_at(*at, flags, mode & 0o7777, LINKS_MAX)
        state = self._names.attributes(fid)
        if slot in self._open:
            self.close(slot)
        is_directory = stat.S_ISDIR(state.mode)
        self._open[slot] = OpenFile(fid, flags, state.qid.path, is_directory=is_directory)

    def _open_at(self, base: int, path: bytes, flags: int, mode: int, links: int) -> int:
        creates = bool(flags & os.O_CREAT)
        directory, name = self._names.parent(base, path, links)
        if creates and path.endswith(b"/"):
            refuse(errno.EISDIR)
        if creates and name in (b".", b".."):
            refuse(errno.EEXIST if flags & os.O_EXCL else errno.EISDIR)
        try:
            fid = self._names.child(directory, name)
        except OSError as error:
            if not creates or error.errno != errno.ENOENT:
                raise
            return self._create(directory, name, flags, mode)
        exclusive = creates and flags & os.O_EXCL
        if exclusive:
            refuse(errno.EEXIST)
        state = self._names.attributes(fid)
        if stat.S_ISLNK(state.mode) and (path.endswith(b"/") or not flags & os.O_NOFOLLOW):
            target = self._names.target(fid, links)
            if path.endswith(b"/") and not target.endswith(b"/"):
                target += b"/"  # which has to lead to a directory still
            return self._open_at(directory, target, flags, mode, links - 1)
        if stat.S_ISDIR(state.mode) and creates:
            refuse(errno.EISDIR)
        if path.endswith(b"/") and not stat.S_ISDIR(state.mode):
            refuse(errno.ENOTDIR)
        return self._open_fid(fid, flags)

    def _create(self, directory: int, name: bytes, flags: int, mode: int) -> int:
        fid = self._names.walk(directory)
        mode &= ~self._mask(directory)
        self._ask(Tlcreate(fid, name, flags, mode, self._new_gid(directory)))
        return self._names.keep(fid)

    def _open_fid(self, fid: int, flags: int) -> int:
        opened = self._names.walk(fid)
        if self._user.uid and not flags & (os.O_ACCMODE | os.O_DIRECTORY):
            self._check_read(fid)
        if flags & os.O_TRUNC and stat.S_ISDIR(self._names.attributes(fid).mode):
            refuse(errno.EISDIR)
        self._ask(Tlopen(opened, flags & ~os.O_TRUNC))
        if flags & os.O_TRUNC:
            self._resize(opened, 0, SETATTR_MTIME | SETATTR_CTIME)
        return self._names.keep(opened)

    def _check_read(self, fid: int) -> None:
        """Who may only run a file may read it, for a server; a client looks itself. So does this
        one, by what else takes the permission to read."""
        if stat.S_ISREG(self._names.attributes(fid).mode):
            try:
                self._getxattr(fid, "user.not there")
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise

    def close(self, slot: int) -> None:
        file = self._file(slot)
        del self._open[slot]
        self._give_locks_back(file.fid, file.number)
        file.references -= 1
        if not file.references:
            self._client.clunk(file.fid)

    def _give_locks_back(self, fid: int, number: int) -> None:
        """A process that closes any descriptor of a file has no locks on it any more: fcntl(2)."""
        if number in self._locked:
            self._locked.discard(number)
            self._lock(fid, fcntl.F_UNLCK, 0, 0)

    def dup(self, slot: int, new: int) -> None:
        file = self._file(slot)
        file.references += 1
        if new in self._open:
            self.close(new)
        self._open[new] = file

    def read(self, slot: int, count: int) -> bytes:
        file = self._file(slot)
        data = self._read(file, count, file.offset)
        file.offset += len(data)
        return data

    def pread(self, slot: int, count: int, offset: int) -> bytes:
        file = self._file(slot)
        if offset < 0:
            refuse(errno.EINVAL)
        return self._read(file, count, offset)

    def _read(self, file: OpenFile, count: int, offset: int) -> bytes:
        if not file.readable:
            refuse(errno.EBADF)
        if offset + count > OFFSET_MAX:
            refuse(errno.EINVAL)
        data = b""
        while True:
            piece = bytes(self._ask(Tread(file.fid, offset + len(data), count - len(data))).data)
            data += piece
            if not piece or len(data) == count:
                return data

    def write(self, slot: int, byte: int, count: int) -> int:
        file = self._file(slot)
        written = self._write(file, fill(byte, count), file.offset)
        if written:
            file.offset += written
            if file.flags & os.O_APPEND:
                file.offset = self._names.attributes(file.fid).size
        return written

    def pwrite(self, slot: int, byte: int, count: int, offset: int) -> int:
        file = self._file(slot)
        if offset < 0:
            refuse(errno.EINVAL)
        return self._write(file, fill(byte, count), offset)

    def _write(self, file: OpenFile, data: bytes, offset: int) -> int:
        if not file.writable:
            refuse(errno.EBADF)
        if offset + len(data) > OFFSET_MAX:
            refuse(errno.EINVAL)
        if not data:
            return 0
        if file.flags & os.O_APPEND:
            offset = self._names.attributes(file.fid).size
        return int(self._ask(Twrite(file.fid, offset, data)).count)

    def lseek(self, slot: int, offset: int, whence: int) -> int | str:
        file = self._file(slot)
        if file.is_directory:
            return "a directory"
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            refuse(errno.EINVAL)
        size = self._names.attributes(file.fid).size
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: file.offset, os.SEEK_END: size}[whence]
        if not 0 <= place <= OFFSET_MAX:
            refuse(errno.EINVAL)
        file.offset = place
        return place

    def truncate(self, path: str, size: int) -> None:
        at = self._from_directory(path)
        if size < 0:
            refuse(errno.EINVAL)
        self._resize(self._names.find(*at), size, 0)

    def ftruncate(self, slot: int, size: int) -> None:
        file = self._file(slot)
        if size < 0 or file.is_directory or not file.writable:
            refuse(errno.EINVAL)
        self._resize(file.fid, size, SETATTR_MTIME | SETATTR_CTIME)

    def _resize(self, fid: int, size: int, others: int) -> None:
        self._ask(set_attributes(fid, SETATTR_SIZE | others, size=size))

    def fsync(self, slot: int) -> None:
        self._ask(Tfsync(self._file(slot).fid, 0))

    def fdatasync(self, slot: int) -> None:
        self._ask(Tfsync(self._file(slot).fid, 1))

    # Listing

    def listdir(self, path: str) -> list[str]:
        fid = self._find(path)
        if not stat.S_ISDIR(self._names.attributes(fid).mode):
            refuse(errno.ENOTDIR)
        return sorted(name for name, _ in self._all_entries_of(fid))

    def _all_entries(self, fid: int) -> list[tuple[str, int]]:
        found, cookie = [], 0
        while entries := decode_entries(self._ask(Treaddir(fid, cookie, 4000)).data):
            cookie = entries[-1].offset
            found += [(os.fsdecode(each.name), each.qid.path) for each in entries]
        return [each for each in found if each[0] not in (".", "..")]

    def getdents(self, slot: int, count: int) -> str:
        file = self._file(slot)
        if not file.is_directory:
            refuse(errno.ENOTDIR)
        if not self._names.attributes(file.fid).nlink:
            self._give_locks_back(file.fid, file.number)
            refuse(errno.ENOENT)
        there = self._there(file.fid)
        file.is_blind |= there is None
        try:
            data = self._ask(Treaddir(file.fid, file.offset, count)).data
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            data = self._ask(Treaddir(file.fid, file.offset, 300)).data
        entries = decode_entries(data)
        if entries:
            file.offset = entries[-1].offset
        seen = [(os.fsdecode(each.name), each.qid.path) for each in entries]
        named = [each for each in seen if each[0] not in (".", "..")]
        if there is None or file.is_blind:
            return "read"
        if file.reading is None:
            file.reading = Verdict(there)
        return file.reading.read(there, named, end=not entries)

    def _all_entries_of(self, directory: int) -> list[tuple[str, int]]:
        """What a descriptor of its own sees, which is closed again."""
        fid = self._names.walk(directory)
        number = self._ask(Tlopen(fid, os.O_RDONLY | os.O_DIRECTORY)).qid.path
        found = self._all_entries(fid)
        self._give_locks_back(fid, number)
        return found

    def _there(self, directory: int) -> Names | None:
        """What a second look sees, or None where the user may not look."""
        try:
            self._names.search(directory)
            entries = self._all_entries_of(directory)
        except PermissionError:
            return None
        return {(name, number): self._changed(directory, name) for name, number in entries}

    def _changed(self, directory: int, name: str) -> object:
        state = self._names.attributes(self._names.walk(directory, os.fsencode(name)))
        return state.ctime_s, state.ctime_ns

    def rewind(self, slot: int) -> None:
        file = self._file(slot)
        if file.is_directory:
            file.offset, file.reading, file.is_blind = 0, None, False

    # Locks

    def lock(self, slot: int, kind: int, start: int, count: int) -> None:
        file = self._file(slot)
        if kind == fcntl.F_RDLCK and not file.readable:
            refuse(errno.EBADF)
        if kind == fcntl.F_WRLCK and not file.writable:
            refuse(errno.EBADF)
        self._lock(file.fid, kind, start, count)
        self._locked.add(file.number)

    def _lock(self, fid: int, kind: int, start: int, count: int) -> None:
        asked = Tlock(fid, kind, 0, start, count, self._process, HOST)
        if self._ask(asked).status == LOCK_BLOCKED:
            refuse(errno.EAGAIN)

    def get_lock(self, slot: int, kind: int, start: int, count: int) -> list[Obstacle]:
        fid = self._file(slot).fid

        def ask(start: int, count: int) -> tuple[int, int, int] | None:
            told = self._ask(Tgetlock(fid, kind, start, count, self._process, HOST))
            if told.type == LOCK_TYPE_UNLCK:
                return None
            return told.type, told.start, told.length

        return obstacles(ask, start, count)

    def umask(self, mask: int) -> None:
        self._umask = mask


def attributes_of(state: Rgetattr) -> Attributes:
    """A reply as stat(2) shows it: times are signed, a device's number is that of makedev(3)."""
    major, minor = state.rdev >> 8 & 0xFFF, state.rdev & 0xFF | state.rdev >> 12 & 0xFFF00
    atime, mtime, ctime = (
        (seconds - 2**64 if seconds >= 2**63 else seconds) * NS + nanoseconds
        for seconds, nanoseconds in (
            (state.atime_s, state.atime_ns),
            (state.mtime_s, state.mtime_ns),
            (state.ctime_s, state.ctime_ns),
        )
    )
    return Attributes(
        *(state.qid.path, state.mode, state.uid, state.gid, state.nlink, state.size),
        *(os.makedev(major, minor), state.blocks, atime, mtime, ctime),
    )
