"""The calls of one process, made to the kernel that this runs on."""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Callable
from typing import Any, Final

from tests.oracle.acl import decode_acl, encode_acl
from tests.oracle.calls import (
    NO_DESCRIPTOR,
    NOW,
    OMIT,
    SLOT,
    Attributes,
    Call,
    Outcome,
    fill,
)
from tests.oracle.obstacles import Obstacle, obstacles
from tests.oracle.reading import Reading

LIBC: Final = ctypes.CDLL(None, use_errno=True)
UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2
AT_SYMLINK_NOFOLLOW: Final = 0x100
FLOCK: Final = "hhqqi4x"
NS: Final = 1_000_000_000


class NoDescriptorError(Exception):
    """The sequence names a descriptor that it has not opened."""


class Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def checked(result: int) -> int:
    """What a C function returned; OSError if that says that it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def attributes_of(state: os.stat_result) -> Attributes:
    return Attributes(
        *(state.st_ino, state.st_mode, state.st_uid, state.st_gid, state.st_nlink, state.st_size),
        *(state.st_rdev, state.st_blocks),
        *(state.st_atime_ns, state.st_mtime_ns, state.st_ctime_ns),
    )


def is_same_file(name: str, base: int, other_name: str, other_base: int) -> bool:
    """Whether two paths, each from a directory, are names of one file, so far as one may see."""
    try:
        one = os.stat(name, dir_fd=base, follow_symlinks=False)
        other = os.stat(other_name, dir_fd=other_base, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(one, other)


def timespec(time: int | str) -> Timespec:
    if time == NOW:
        return Timespec(0, UTIME_NOW)
    if time == OMIT:
        return Timespec(0, UTIME_OMIT)
    assert isinstance(time, int)
    return Timespec(*divmod(time, NS))


class Posix:
    """One process, which stands at the top of the tree: ``/`` of a chroot, or a directory."""

    def __init__(self, top: str) -> None:
        self._top = os.open(top, os.O_PATH | os.O_DIRECTORY)
        self._open: dict[int, int] = {}
        self._readings: dict[int, Reading] = {}
        self._umask = 0o022

    def perform(self, call: Call) -> Outcome:
        os.umask(self._umask)
        function: Callable[..., Any] = getattr(self, call.name)
        try:
            result = function(*call.arguments)
        except NoDescriptorError:
            result = NO_DESCRIPTOR
        except ValueError as error:  # of mmap, which looks at the size itself
            result = str(error)
        except OSError as error:
            result = errno.errorcode[error.errno or 0]
        return Outcome(result, tuple(map(self._state, call.of_kind(SLOT))))

    def reset(self) -> None:
        """Close everything."""
        for slot in list(self._open):
            self.close(slot)
        self._umask = 0o022

    def _state(self, slot: int) -> Attributes | None:
        """What fstat(2) says; of what only a name leads to, a mount may not know (removed-here)."""
        fd = self._open.get(slot)
        if fd is None or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
            return None
        return attributes_of(os.fstat(fd))

    def _fd(self, slot: int) -> int:
        fd = self._open.get(slot)
        if fd is None:
            raise NoDescriptorError
        return fd

    def _data_fd(self, slot: int) -> int:
        """The same, for what is refused where a descriptor only names (O_PATH)."""
        fd = self._fd(slot)
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return fd

    def _sized_fd(self, slot: int) -> int:
        """The same, whose size the client has asked for after any change by another name
        (stale-size)."""
        fd = self._data_fd(slot)
        os.fstat(fd)
        return fd

    def _at(self, path: str) -> tuple[str, int]:
        """A path, and the descriptor of the directory that it is relative to."""
        if not path.startswith("@"):
            return path, self._top
        base, _, rest = path.partition("/")
        return rest, self._fd(int(base[1:]))

    def _opened(self, path: str, *, follow: bool = True) -> int:
        """A descriptor that only names, for calls that have no form relative to a directory."""
        name, base = self._at(path)
        return os.open(name, os.O_PATH | (0 if follow else os.O_NOFOLLOW), dir_fd=base)

    # Descriptors

    def open(self, slot: int, path: str, flags: int, mode: int) -> None:
        name, base = self._at(path)
        fd = os.open(name, flags, mode, dir_fd=base)
        if slot in self._open:
            self.close(slot)
        self._open[slot] = fd
        self._readings[slot] = Reading()

    def close(self, slot: int) -> None:
        fd = self._fd(slot)
        del self._open[slot]
        del self._readings[slot]
        os.close(fd)

    def dup(self, slot: int, new: int) -> None:
        fd, reading = os.dup(self._fd(slot)), self._readings[slot]
        if new in self._open:
            self.close(new)
        self._open[new], self._readings[new] = fd, reading

    def read(self, slot: int, count: int) -> bytes:
        return os.read(self._sized_fd(slot), count)

    def write(self, slot: int, byte: int, count: int) -> int:
        return os.write(self._sized_fd(slot), fill(byte, count))

    def pread(self, slot: int, count: int, offset: int) -> bytes:
        return os.pread(self._sized_fd(slot), count, offset)

    def pwrite(self, slot: int, byte: int, count: int, offset: int) -> int:
        return os.pwrite(self._sized_fd(slot), fill(byte, count), offset)

    def lseek(self, slot: int, offset: int, whence: int) -> int | str:
        fd = self._sized_fd(slot)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            return "a directory"  # which has places of its own; see ``rewind``
        return os.lseek(fd, offset, whence)

    def truncate(self, path: str, size: int) -> None:
        # There is no truncateat(2): the directory is gone to.
        name, base = self._at(path)
        here = os.open(".", os.O_PATH)
        try:
            os.fchdir(base)
            os.truncate(name, size)
        finally:
            os.fchdir(here)
            os.close(here)

    def ftruncate(self, slot: int, size: int) -> None:
        os.ftruncate(self._fd(slot), size)

    def fsync(self, slot: int) -> None:
        os.fsync(self._fd(slot))

    def fdatasync(self, slot: int) -> None:
        os.fdatasync(self._fd(slot))

    def set_flags(self, slot: int, flags: int) -> None:
        fcntl.fcntl(self._fd(slot), fcntl.F_SETFL, flags)

    def copy_file_range(self, source: int, target: int, count: int, at: int, to: int) -> int:
        return os.copy_file_range(self._sized_fd(source), self._sized_fd(target), count, at, to)

    def read_mapped(self, slot: int, offset: int, count: int) -> bytes:
        with mmap.mmap(
            self._sized_fd(slot), offset + count, mmap.MAP_PRIVATE, mmap.PROT_READ
        ) as mapped:
            return mapped[offset : offset + count]

    def write_mapped(self, slot: int, byte: int, count: int, offset: int) -> None:
        with mmap.mmap(self._sized_fd(slot), offset + count) as mapped:
            mapped[offset : offset + count] = fill(byte, count)
            mapped.flush()

    # Names

    def link(self, old: str, new: str) -> None:
        (old_name, old_base), (new_name, new_base) = self._at(old), self._at(new)
        os.link(old_name, new_name, src_dir_fd=old_base, dst_dir_fd=new_base, follow_symlinks=False)

    def symlink(self, target: str, path: str) -> None:
        name, base = self._at(path)
        os.symlink(target, name, dir_fd=base)

    def readlink(self, path: str) -> str:
        name, base = self._at(path)
        return os.readlink(name, dir_fd=base)

    def rename(self, old: str, new: str) -> None:
        (old_name, old_base), (new_name, new_base) = self._at(old), self._at(new)
        try:
            os.rename(old_name, new_name, src_dir_fd=old_base, dst_dir_fd=new_base)
        except PermissionError:
            # Of two names of one file, a mount may refuse what does nothing (names-apart).
            if not is_same_file(old_name, old_base, new_name, new_base):
                raise

    def renameat2(self, old: str, new: str, flags: int) -> None:
        (old_name, old_base), (new_name, new_base) = self._at(old), self._at(new)
        names = os.fsencode(old_name), os.fsencode(new_name)
        try:
            checked(LIBC.renameat2(old_base, names[0], new_base, names[1], flags))
        except PermissionError:
            if flags or not is_same_file(old_name, old_base, new_name, new_base):
                raise

    def unlink(self, path: str) -> None:
        name, base = self._at(path)
        os.unlink(name, dir_fd=base)

    def mkdir(self, path: str, mode: int) -> None:
        name, base = self._at(path)
        os.mkdir(name, mode, dir_fd=base)

    def rmdir(self, path: str) -> None:
        name, base = self._at(path)
        os.rmdir(name, dir_fd=base)

    def mknod(self, path: str, mode: int, minor: int) -> None:
        name, base = self._at(path)
        os.mknod(name, mode, os.makedev(60, minor), dir_fd=base)

    def listdir(self, path: str) -> list[str]:
        name, base = self._at(path)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=base)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def getdents(self, slot: int, count: int) -> str:
        """Read on; what is wrong with what was read since the beginning, or "read"."""
        fd = self._data_fd(slot)
        return self._readings[slot].read_on(fd, count)

    def rewind(self, slot: int) -> None:
        fd = self._data_fd(slot)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.lseek(fd, 0, os.SEEK_SET)
            self._readings[slot].begin()

    # Attributes

    def stat(self, path: str) -> tuple[int, int]:
        name, base = self._at(path)
        state = os.stat(name, dir_fd=base)
        return state.st_mode, state.st_nlink

    def lstat(self, path: str) -> tuple[int, int]:
        name, base = self._at(path)
        state = os.stat(name, dir_fd=base, follow_symlinks=False)
        return state.st_mode, state.st_nlink

    def statfs(self, path: str) -> tuple[int, bool]:
        fd = self._opened(path)
        try:
            state = os.fstatvfs(fd)
        finally:
            os.close(fd)
        return state.f_namemax, 0 <= state.f_bavail <= state.f_bfree <= state.f_blocks

    def access(self, path: str, mode: int) -> None:
        name, base = self._at(path)
        checked(LIBC.faccessat(base, os.fsencode(name), mode, 0x200))  # AT_EACCESS

    def chmod(self, path: str, mode: int) -> None:
        name, base = self._at(path)
        os.chmod(name, mode, dir_fd=base)

    def fchmod(self, slot: int, mode: int) -> None:
        os.fchmod(self._fd(slot), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        name, base = self._at(path)
        os.chown(name, uid, gid, dir_fd=base)

    def lchown(self, path: str, uid: int, gid: int) -> None:
        name, base = self._at(path)
        os.chown(name, uid, gid, dir_fd=base, follow_symlinks=False)

    def fchown(self, slot: int, uid: int, gid: int) -> None:
        os.fchown(self._fd(slot), uid, gid)

    def utimens(self, path: str, atime: int | str, mtime: int | str) -> None:
        name, base = self._at(path)
        times = (Timespec * 2)(timespec(atime), timespec(mtime))
        checked(LIBC.utimensat(base, os.fsencode(name), times, AT_SYMLINK_NOFOLLOW))

    def futimens(self, slot: int, atime: int | str, mtime: int | str) -> None:
        times = (Timespec * 2)(timespec(atime), timespec(mtime))
        checked(LIBC.futimens(self._fd(slot), times))

    def _via_descriptor(self, path: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Extended attributes have no calls relative to a directory: go there."""
        name, base = self._at(path)
        here = os.open(".", os.O_PATH)
        try:
            os.fchdir(base)
            return function(name, *arguments)
        finally:
            os.fchdir(here)
            os.close(here)

    def setxattr(self, path: str, name: str, byte: int, count: int, flags: int) -> None:
        self._via_descriptor(path, os.setxattr, name, fill(byte, count), flags)

    def getxattr(self, path: str, name: str) -> bytes:
        value: bytes = self._via_descriptor(path, os.getxattr, name)
        return value

    def listxattr(self, path: str) -> list[str]:
        return sorted(self._via_descriptor(path, os.listxattr))

    def removexattr(self, path: str, name: str) -> None:
        self._via_descriptor(path, os.removexattr, name)

    def fsetxattr(self, slot: int, name: str, byte: int, count: int, flags: int) -> None:
        os.setxattr(self._fd(slot), name, fill(byte, count), flags)

    def fgetxattr(self, slot: int, name: str) -> bytes:
        return os.getxattr(self._fd(slot), name)

    def set_acl(self, path: str, kind: str, text: str) -> None:
        name = f"system.posix_acl_{kind}"
        if text:
            self._via_descriptor(path, os.setxattr, name, encode_acl(text))
        else:
            self._via_descriptor(path, os.removexattr, name)

    def get_acl(self, path: str, kind: str) -> str:
        value = self._via_descriptor(path, os.getxattr, f"system.posix_acl_{kind}")
        return decode_acl(value)

    # Locks

    def flock(self, slot: int, kind: int) -> None:
        fcntl.flock(self._fd(slot), kind | fcntl.LOCK_NB)

    def lock(self, slot: int, kind: int, start: int, count: int) -> None:
        asked = struct.pack(FLOCK, kind, os.SEEK_SET, start, count, 0)
        fcntl.fcntl(self._fd(slot), fcntl.F_SETLK, asked)

    def get_lock(self, slot: int, kind: int, start: int, count: int) -> list[Obstacle]:
        fd = self._fd(slot)

        def ask(start: int, count: int) -> tuple[int, int, int] | None:
            asked = struct.pack(FLOCK, kind, os.SEEK_SET, start, count, 0)
            answer = struct.unpack(FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
            told, _, first, length, _ = answer
            return None if told == fcntl.F_UNLCK else (told, first, length)

        return obstacles(ask, start, count)

    def umask(self, mask: int) -> None:
        self._umask = mask
