"""Inodes: what has attributes, whatever its names."""

import stat
from typing import Final

from ram9.storage.content import Content
from ram9.storage.directories import Entries
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.limits import SYMLINK_BYTES_MAX
from ram9.storage.locks import Locks

VERSION_MAX = 2**32 - 1
SPECIAL_TYPES: Final = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


class Inode:
    """One object of the file system: a file, directory, symbolic link, FIFO, socket or device.

    It lives while a name leads to it (*nlink*) or somebody holds it (*holds*). *number* is never
    used twice. *version* changes with the data (for a directory: its names) and is never 0, by
    which the Linux client would know that it must not cache (include/net/9p: qid.version).
    Times are in nanoseconds since 1970.
    """

    __slots__ = (
        "atime_ns",
        "btime_ns",
        "ctime_ns",
        "gid",
        "holds",
        "locks",
        "mode",
        "mtime_ns",
        "nlink",
        "number",
        "uid",
        "version",
        "xattrs",
    )

    def __init__(self, number: int, mode: int, uid: int, gid: int, now_ns: int) -> None:
        self.number = number
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.holds = 0
        self.version = 1
        self.atime_ns = self.mtime_ns = self.ctime_ns = self.btime_ns = now_ns
        self.xattrs: dict[bytes, bytes] | None = (
            None  # a dict costs more than many files: on demand
        )
        self.locks: Locks | None = None

    @property
    def size_bytes(self) -> int:
        return 0

    @property
    def sectors(self) -> int:
        return 0

    @property
    def rdev(self) -> int:
        return 0

    def touch(self, now_ns: int) -> None:
        """Note that the data changed."""
        self.version = self.version + 1 if self.version < VERSION_MAX else 1
        self.mtime_ns = self.ctime_ns = max(self.ctime_ns, now_ns)

    def touch_attributes(self, now_ns: int) -> None:
        """Note that something other than the data changed; ctime never goes backwards."""
        self.ctime_ns = max(now_ns, self.ctime_ns)

    def touch_access(self, now_ns: int) -> None:
        """Note a read, as tmpfs mounted relatime does: seldom more than once after a change."""
        if (
            self.atime_ns <= self.mtime_ns
            or self.atime_ns <= self.ctime_ns
            or now_ns - self.atime_ns >= 86_400_000_000_000
        ):
            self.atime_ns = now_ns


class File(Inode):
    """A regular file."""

    __slots__ = ("content",)

    def __init__(
        self, number: int, mode: int, uid: int, gid: int, now_ns: int, content: Content
    ) -> None:
        super().__init__(number, mode, uid, gid, now_ns)
        self.content = content

    @property
    def size_bytes(self) -> int:
        return self.content.size_bytes

    @property
    def sectors(self) -> int:
        return self.content.sectors


class Directory(Inode):
    """A directory; *parent* is the one that it is named in (the root's is the root itself)."""

    __slots__ = ("entries", "parent")

    def __init__(
        self, number: int, mode: int, uid: int, gid: int, now_ns: int, parent: "Directory | None"
    ) -> None:
        super().__init__(number, mode, uid, gid, now_ns)
        self.parent = parent or self
        self.entries: Entries[Inode] = Entries()
        self.nlink = 2

    def is_below(self, ancestor: Inode) -> bool:
        """Whether this is *ancestor* or lies below it."""
        directory = self
        while directory is not ancestor:
            if directory is directory.parent:
                return False
            directory = directory.parent
        return True

    @property
    def size_bytes(self) -> int:
        """As tmpfs counts it (BOGO_DIRENT_SIZE, mm/shmem.c): 20 bytes for each name."""
        return 20 * (len(self.entries) + 2)


class Symlink(Inode):
    """A symbolic link to *target*, which means something to the client alone."""

    __slots__ = ("target",)

    def __init__(
        self, number: int, mode: int, uid: int, gid: int, now_ns: int, target: bytes
    ) -> None:
        super().__init__(number, mode, uid, gid, now_ns)
        self.target = target

    @property
    def size_bytes(self) -> int:
        return len(self.target)


class Special(Inode):
    """A FIFO, socket or device: the client's kernel works it, we remember that it is there."""

    __slots__ = ("major", "minor")

    def __init__(
        self, number: int, mode: int, uid: int, gid: int, now_ns: int, major: int, minor: int
    ) -> None:
        super().__init__(number, mode, uid, gid, now_ns)
        self.major = major
        self.minor = minor

    @property
    def rdev(self) -> int:
        """The device in Linux's wide form (new_encode_dev, linux/kdev_t.h); 0 for what is none."""
        if not (stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)):
            return 0
        return self.minor & 0xFF | self.major << 8 | (self.minor & ~0xFF) << 12


def check_target(target: bytes) -> None:
    """Refuse what no symbolic link leads to: nothing (ENOENT), too long a name, or one with NUL."""
    if not target:
        raise FileSystemError(Errno.ENOENT)
    if len(target) > SYMLINK_BYTES_MAX:
        raise FileSystemError(Errno.ENAMETOOLONG)
    if b"\0" in target:
        raise FileSystemError(Errno.EINVAL)


def check_kind(kind: int) -> None:
    """Refuse what mknod(2) does not make: directories (EPERM), and what is nothing (EINVAL)."""
    if kind == stat.S_IFDIR:
        raise FileSystemError(Errno.EPERM)
    if kind not in (0, stat.S_IFREG, *SPECIAL_TYPES):
        raise FileSystemError(Errno.EINVAL)
