"""A POSIX file system as plain dicts and bytes: what storage must do, with nothing done quickly.

It knows names, links, lives, times and the limits on links and file sizes. What it does not know
is room: a machine that compares it asks the real one what fits.
"""

import stat
from dataclasses import dataclass, field
from typing import NoReturn

from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.limits import Limits

DOTS = (b".", b"..")


@dataclass(eq=False)
class Node:
    mode: int
    uid: int
    gid: int
    now_ns: int
    nlink: int = 1
    data: bytes = b""  # a file's bytes, a symbolic link's target
    rdev: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    names: dict[bytes, "Node"] = field(default_factory=dict)
    parent: "Node | None" = None

    def __post_init__(self) -> None:
        self.atime_ns = self.mtime_ns = self.ctime_ns = self.btime_ns = self.now_ns
        if self.is_directory:
            self.nlink = 2

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def size_bytes(self) -> int:
        return 20 * (len(self.names) + 2) if self.is_directory else len(self.data)


def refuse(errno: Errno) -> NoReturn:
    raise FileSystemError(errno)


class Model:
    def __init__(self, limits: Limits, now_ns: int) -> None:
        self.limits = limits
        self.now_ns = now_ns
        self.root = Node(stat.S_IFDIR | 0o1777, 0, 0, now_ns)
        self.root.parent = self.root

    # Names

    def lookup(self, directory: Node, name: bytes) -> Node:
        self.must_be_directory(directory)
        if name == b".":
            return directory
        if name == b"..":
            assert directory.parent is not None
            return directory.parent
        if name not in directory.names:
            self.must_be_name(directory, name)
            refuse(Errno.ENOENT)
        return directory.names[name]

    def make(
        self,
        directory: Node,
        name: bytes,
        mode: int,
        uid: int,
        gid: int,
        data: bytes = b"",
        rdev: tuple[int, int] = (0, 0),
    ) -> Node:
        """create, mkdir, symlink and mknod: *mode* says which."""
        self.must_be_vacant(directory, name)
        if stat.S_ISDIR(mode):
            if directory.nlink >= self.limits.links:
                refuse(Errno.EMLINK)
            directory.nlink += 1
            mode |= directory.mode & stat.S_ISGID
        node = Node(mode, uid, gid, self.now_ns, data=data, rdev=rdev, parent=directory)
        directory.names[name] = node
        self.changed(directory)
        return node

    def link(self, node: Node, directory: Node, name: bytes) -> None:
        self.must_be_vacant(directory, name)
        if node.is_directory:
            refuse(Errno.EPERM)
        if node.nlink == 0:
            refuse(Errno.ENOENT)
        if node.nlink >= self.limits.links:
            refuse(Errno.EMLINK)
        node.nlink += 1
        directory.names[name] = node
        node.ctime_ns = self.now_ns
        self.changed(directory)

    def unlink(self, directory: Node, name: bytes) -> None:
        self.must_be_directory(directory)
        if name in DOTS or self.lookup(directory, name).is_directory:
            refuse(Errno.EISDIR)
        self.lose(directory, directory.names.pop(name))
        self.changed(directory)

    def rmdir(self, directory: Node, name: bytes) -> None:
        self.must_be_directory(directory)
        if name in DOTS:
            refuse(Errno.EINVAL if name == b"." else Errno.ENOTEMPTY)
        node = self.lookup(directory, name)
        self.must_be_directory(node)
        if node.names:
            refuse(Errno.ENOTEMPTY)
        self.lose(directory, directory.names.pop(name))
        self.changed(directory)

    def rename(self, source: Node, name: bytes, target: Node, new_name: bytes) -> None:
        self.must_be_directory(source)
        self.must_be_directory(target)
        if name in DOTS or new_name in DOTS:
            refuse(Errno.EBUSY)
        node = self.lookup(source, name)
        replaced = target.names.get(new_name)
        if replaced is None:
            self.must_be_name(target, new_name)
        if node in self.ancestry(target):
            refuse(Errno.EINVAL)
        if replaced is node:
            return
        if replaced is not None:
            if replaced in self.ancestry(source):
                refuse(Errno.ENOTEMPTY)
            if node.is_directory != replaced.is_directory:
                refuse(Errno.ENOTDIR if node.is_directory else Errno.EISDIR)
            if replaced.names:
                refuse(Errno.ENOTEMPTY)
        if node.is_directory and source is not target:
            if replaced is None and target.nlink >= self.limits.links:
                refuse(Errno.EMLINK)
            source.nlink -= 1
            target.nlink += 1
            node.parent = target
        target.names[new_name] = node
        del source.names[name]
        if replaced is not None:
            self.lose(target, replaced)
        node.ctime_ns = self.now_ns
        self.changed(source)
        self.changed(target)

    # Data

    def read(self, node: Node, offset: int, count: int) -> bytes:
        day_ns = 86_400 * 10**9
        if node.atime_ns <= max(node.mtime_ns, node.ctime_ns) or (
            self.now_ns - node.atime_ns >= day_ns
        ):
            node.atime_ns = self.now_ns
        return node.data[offset : offset + count]

    def write(self, node: Node, offset: int, data: bytes) -> int:
        if not data:
            return 0
        if offset >= self.limits.file_bytes:
            refuse(Errno.EFBIG)
        data = data[: self.limits.file_bytes - offset]
        before = node.data.ljust(offset, b"\0")
        node.data = before[:offset] + data + before[offset + len(data) :]
        self.changed(node)
        return len(data)

    def truncate(self, node: Node, size_bytes: int) -> None:
        if not node.is_file:
            refuse(Errno.EISDIR if node.is_directory else Errno.EINVAL)
        if size_bytes > self.limits.file_bytes:
            refuse(Errno.EFBIG)
        if size_bytes != len(node.data):
            node.data = node.data[:size_bytes].ljust(size_bytes, b"\0")
            self.changed(node)

    def set_xattr(self, node: Node, name: bytes, value: bytes) -> None:
        node.xattrs[name] = value
        node.ctime_ns = self.now_ns

    def remove_xattr(self, node: Node, name: bytes) -> None:
        if name not in node.xattrs:
            refuse(Errno.ENODATA)
        del node.xattrs[name]
        node.ctime_ns = self.now_ns

    # What the above say

    def changed(self, node: Node) -> None:
        node.mtime_ns = node.ctime_ns = self.now_ns

    def lose(self, directory: Node, node: Node) -> None:
        """*directory* no longer has a name for *node*."""
        if node.is_directory:
            node.nlink = 0
            directory.nlink -= 1
        else:
            node.nlink -= 1
        node.ctime_ns = self.now_ns

    def ancestry(self, directory: Node) -> list[Node]:
        """A directory and all above it."""
        found = [directory]
        while directory.parent is not directory and directory.parent is not None:
            directory = directory.parent
            found.append(directory)
        return found

    def must_be_directory(self, node: Node) -> None:
        if not node.is_directory:
            refuse(Errno.ENOTDIR)

    def must_be_vacant(self, directory: Node, name: bytes) -> None:
        self.must_be_directory(directory)
        if name in DOTS or name in directory.names:
            refuse(Errno.EEXIST)
        self.must_be_name(directory, name)

    def must_be_name(self, directory: Node, name: bytes) -> None:
        """Refuse a name that cannot come to be in *directory*."""
        if directory.nlink == 0 or not name:
            refuse(Errno.ENOENT)
        if len(name) > 255:
            refuse(Errno.ENAMETOOLONG)
        if b"/" in name or b"\0" in name:
            refuse(Errno.EINVAL)
