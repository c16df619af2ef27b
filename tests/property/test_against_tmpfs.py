"""The same operations on our file system and on a tmpfs of the kernel's: same results and errnos.

Our inodes are reached as the kernel's are: by a name in an open directory, or by an open file.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ram9.storage.check import check
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File, Inode, Symlink
from ram9.storage.limits import Limits

SHM = Path("/dev/shm")
IS_ROOT = os.geteuid() == 0
LIMITS = Limits(size_bytes=64 << 20, inodes=10_000)


def is_tmpfs(path: Path) -> bool:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return any(mount[1] == str(path) and mount[2] == "tmpfs" for mount in mounts)


def has_user_xattrs(path: Path) -> bool:
    """Whether this kernel's tmpfs has user.* attributes (since Linux 6.6)."""
    with tempfile.NamedTemporaryFile(dir=path) as file:
        try:
            os.setxattr(file.fileno(), b"user.x", b"")
        except OSError:
            return False
    return True


pytestmark = pytest.mark.skipif(not is_tmpfs(SHM), reason="/dev/shm is no tmpfs on this host")
USER_XATTRS = is_tmpfs(SHM) and has_user_xattrs(SHM)

choices = st.integers(0, 63)
names = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"d"]),
    st.sampled_from([b"a", b"\xff\n", b".", b"..", b"n" * 255, b"n" * 256]),
)
permissions = st.sampled_from([0o755, 0o700, *([0o2775, 0o1777, 0o4711, 0o6600] * IS_ROOT)])
targets = st.sampled_from([b"a", b"../b", b"\xff", b"", b"t" * 4095, b"t" * 4096])
offsets = st.one_of(st.sampled_from([0, 1, 511, 512, 4095, 4096, 1 << 40]), st.integers(0, 20_000))
counts = st.one_of(st.integers(0, 64), st.integers(0, 9000))
xattr_names = st.sampled_from(
    [b"user.a", b"user.b", b"user.", b"other.a", b"user." + b"n" * 250, b"user." + b"n" * 251]
)
xattr_sizes = st.sampled_from([0, 1, 20, 65_536])


class TmpfsMachine(RuleBasedStateMachine):
    """Whatever is done to both, they answer alike and end alike."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 10**18
        self.filesystem = FileSystem(LIMITS, lambda: self.now_ns)
        self.umask = os.umask(0)
        self.path = tempfile.mkdtemp(dir=SHM, prefix="ram9-")
        os.chmod(self.path, 0o1777)
        os.chown(self.path, -1, os.getegid())
        root = self.filesystem.root
        self.filesystem.set_attributes(root, uid=os.geteuid(), gid=os.getegid())
        self.filesystem.hold(root)
        self.handles: list[tuple[Inode, int]] = [(root, os.open(self.path, os.O_RDONLY))]

    def teardown(self) -> None:
        try:
            assert tree(self.filesystem.root) == tree_of(self.handles[0][1])
        finally:
            while self.handles:
                self.close_last()
            shutil.rmtree(self.path)
            os.umask(self.umask)
        assert check(self.filesystem) == []
        assert not self.filesystem.orphans

    # Names

    @rule(directory=choices, name=names, mode=permissions)
    def create(self, directory: int, name: bytes, mode: int) -> None:
        parent, fd = self.pick(directory)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        self.same(
            lambda: self.filesystem.create(parent, name, mode, *owner(parent)),
            lambda: os.close(os.open(name, flags, mode, dir_fd=fd)),
        )

    @rule(directory=choices, name=names, mode=permissions)
    def mkdir(self, directory: int, name: bytes, mode: int) -> None:
        parent, fd = self.pick(directory)
        self.same(
            # mkdir(2) takes but the permissions and the sticky bit
            lambda: self.filesystem.mkdir(parent, name, mode & 0o1777, *owner(parent)),
            lambda: os.mkdir(name, mode, dir_fd=fd),
        )

    @rule(directory=choices, name=names, target_of_link=targets)
    def symlink(self, directory: int, name: bytes, target_of_link: bytes) -> None:
        parent, fd = self.pick(directory)
        self.same(
            lambda: self.filesystem.symlink(parent, name, target_of_link, *owner(parent)),
            lambda: os.symlink(target_of_link, name, dir_fd=fd),
        )

    @rule(
        directory=choices,
        name=names,
        mode=permissions,
        kind=st.sampled_from(
            [0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR, stat.S_IFLNK]
            + [stat.S_IFCHR, stat.S_IFBLK] * IS_ROOT
        ),
        minor=st.sampled_from([0, 3, 300]),
    )
    def mknod(self, directory: int, name: bytes, mode: int, kind: int, minor: int) -> None:
        parent, fd = self.pick(directory)
        self.same(
            lambda: self.filesystem.mknod(parent, name, kind | mode, *owner(parent), 7, minor),
            lambda: os.mknod(name, kind | mode, os.makedev(7, minor), dir_fd=fd),
        )

    @rule(old=choices, name=names, new=choices, new_name=names)
    def link(self, old: int, name: bytes, new: int, new_name: bytes) -> None:
        source, source_fd = self.pick(old)
        goal, goal_fd = self.pick(new)
        self.same(
            lambda: self.filesystem.link(self.filesystem.lookup(source, name), goal, new_name),
            lambda: os.link(
                name, new_name, src_dir_fd=source_fd, dst_dir_fd=goal_fd, follow_symlinks=False
            ),
        )

    @rule(directory=choices, name=names)
    def unlink(self, directory: int, name: bytes) -> None:
        parent, fd = self.pick(directory)
        self.same(lambda: self.filesystem.unlink(parent, name), lambda: os.unlink(name, dir_fd=fd))

    @rule(directory=choices, name=names)
    def rmdir(self, directory: int, name: bytes) -> None:
        parent, fd = self.pick(directory)
        self.same(lambda: self.filesystem.rmdir(parent, name), lambda: os.rmdir(name, dir_fd=fd))

    @rule(old=choices, name=names, new=choices, new_name=names)
    def rename(self, old: int, name: bytes, new: int, new_name: bytes) -> None:
        source, source_fd = self.pick(old)
        goal, goal_fd = self.pick(new)
        self.same(
            lambda: self.filesystem.rename(source, name, goal, new_name),
            lambda: os.rename(name, new_name, src_dir_fd=source_fd, dst_dir_fd=goal_fd),
        )

    @rule(directory=choices, name=names)
    def look(self, directory: int, name: bytes) -> None:
        parent, fd = self.pick(directory)
        if parent is self.filesystem.root and name == b"..":
            return  # the one directory in which we end and the kernel goes on
        self.same(
            lambda: attributes(self.filesystem.lookup(parent, name)),
            lambda: attributes_of(os.stat(name, dir_fd=fd, follow_symlinks=False)),
        )

    @precondition(lambda self: len(self.handles) < 8)
    @rule(directory=choices, name=st.sampled_from([b"a", b"b", b"c", b"d", b".."]))
    def open(self, directory: int, name: bytes) -> None:
        parent, fd = self.pick(directory)
        if parent is self.filesystem.root and name == b"..":
            return
        try:
            inode = self.filesystem.lookup(parent, name)
        except FileSystemError:
            return
        if isinstance(inode, File | Directory):
            flags = os.O_RDWR if isinstance(inode, File) else os.O_RDONLY | os.O_DIRECTORY
            self.filesystem.hold(inode)
            self.handles.append((inode, os.open(name, flags, dir_fd=fd)))

    @precondition(lambda self: len(self.handles) > 1)
    @rule()
    def close_last(self) -> None:
        inode, fd = self.handles.pop()
        os.close(fd)
        self.filesystem.release(inode)

    # Data and attributes

    @rule(file=choices, offset=offsets, count=counts, fill=st.integers(1, 255))
    def write(self, file: int, offset: int, count: int, fill: int) -> None:
        inode, fd = self.pick_file(file)
        if inode is not None:
            data = bytes([fill]) * count
            self.same(
                lambda: self.filesystem.write(inode, offset, data),
                lambda: os.pwrite(fd, data, offset),
            )

    @rule(file=choices, offset=offsets, count=counts)
    def read(self, file: int, offset: int, count: int) -> None:
        inode, fd = self.pick_file(file)
        if inode is not None:
            self.same(
                lambda: bytes(self.filesystem.read(inode, offset, count)),
                lambda: os.pread(fd, count, offset),
            )

    @rule(file=choices, size=offsets)
    def truncate(self, file: int, size: int) -> None:
        inode, fd = self.pick_file(file)
        if inode is not None:
            self.same(
                lambda: self.filesystem.set_attributes(inode, size_bytes=size),
                lambda: os.ftruncate(fd, size),
            )

    @rule(handle=choices, mode=permissions)
    def chmod(self, handle: int, mode: int) -> None:
        inode, fd = self.pick(handle)
        self.same(
            lambda: self.filesystem.set_attributes(inode, mode=mode), lambda: os.fchmod(fd, mode)
        )

    @precondition(lambda _: IS_ROOT)
    @rule(directory=choices, name=names, uid=st.integers(0, 3), gid=st.integers(0, 3))
    def chown(self, directory: int, name: bytes, uid: int, gid: int) -> None:
        parent, fd = self.pick(directory)
        if name == b"..":
            return

        def change_owner() -> None:
            inode = self.filesystem.lookup(parent, name)
            mode = None
            if not isinstance(inode, Directory | Symlink):
                mode = inode.mode & ~stat.S_ISUID  # which the client's kernel asks for
                if inode.mode & stat.S_IXGRP:
                    mode &= ~stat.S_ISGID
            self.filesystem.set_attributes(inode, uid=uid, gid=gid, mode=mode)

        self.same(change_owner, lambda: os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False))

    @rule(handle=choices, atime_ns=st.integers(0, 2**40), mtime_ns=st.integers(0, 2**61))
    def set_times(self, handle: int, atime_ns: int, mtime_ns: int) -> None:
        inode, fd = self.pick(handle)
        self.filesystem.set_attributes(inode, atime_ns=atime_ns, mtime_ns=mtime_ns)
        os.utime(fd, ns=(atime_ns, mtime_ns))
        state = os.fstat(fd)
        assert (inode.atime_ns, inode.mtime_ns) == (state.st_atime_ns, state.st_mtime_ns)

    @precondition(lambda _: USER_XATTRS)
    @rule(handle=choices, name=xattr_names, size=xattr_sizes, fill=st.integers(0, 255))
    def set_xattr(self, handle: int, name: bytes, size: int, fill: int) -> None:
        inode, fd = self.pick(handle)
        value = bytes([fill]) * size
        self.same(
            lambda: self.filesystem.set_xattr(inode, name, value),
            lambda: os.setxattr(fd, name, value),
        )

    @precondition(lambda _: USER_XATTRS)
    @rule(handle=choices, name=xattr_names)
    def get_xattr(self, handle: int, name: bytes) -> None:
        inode, fd = self.pick(handle)
        self.same(lambda: self.filesystem.get_xattr(inode, name), lambda: os.getxattr(fd, name))

    @precondition(lambda _: USER_XATTRS)
    @rule(handle=choices, name=xattr_names)
    def remove_xattr(self, handle: int, name: bytes) -> None:
        inode, fd = self.pick(handle)
        self.same(
            lambda: self.filesystem.remove_xattr(inode, name), lambda: os.removexattr(fd, name)
        )
        assert sorted(inode.xattrs or ()) == sorted(map(os.fsencode, os.listxattr(fd)))

    # Comparing

    @invariant()
    def open_files_agree(self) -> None:
        for inode, fd in self.handles:
            assert attributes(inode) == attributes_of(os.fstat(fd))

    def same(self, ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
        """Both return the same, or refuse with the same errno (what was made is not compared)."""
        self.now_ns += 1
        theirs_refused: int | None = None
        ours_refused: int | None = None
        expected = returned = None
        try:
            expected = theirs()
        except OSError as error:
            theirs_refused = error.errno
        try:
            returned = ours()
        except FileSystemError as refusal:
            ours_refused = refusal.errno
        assert ours_refused == theirs_refused
        assert isinstance(returned, Inode) or returned == expected

    def pick(self, choice: int) -> tuple[Inode, int]:
        return self.handles[choice % len(self.handles)]

    def pick_file(self, choice: int) -> tuple[File | None, int]:
        files = [(inode, fd) for inode, fd in self.handles if isinstance(inode, File)]
        return files[choice % len(files)] if files else (None, -1)


def owner(parent: Inode) -> tuple[int, int]:
    """Whose a new object is: its group is that of a directory with the set-group-ID bit."""
    return os.geteuid(), parent.gid if parent.mode & stat.S_ISGID else os.getegid()


def attributes(inode: Inode) -> tuple[int, ...]:
    return inode.mode, inode.nlink, inode.size_bytes, inode.uid, inode.gid, inode.rdev


def attributes_of(state: os.stat_result) -> tuple[int, ...]:
    return (
        *(state.st_mode, state.st_nlink, state.st_size, state.st_uid, state.st_gid),
        state.st_rdev,
    )


def tree(directory: Inode) -> dict[bytes, object]:
    """Names, attributes and contents of all that lies below."""
    assert isinstance(directory, Directory)
    found: dict[bytes, object] = {}
    for name, inode in directory.entries:
        below: object = None
        if isinstance(inode, Directory):
            below = tree(inode)
        elif isinstance(inode, File):
            below = bytes(inode.content.read(0, 30_000))
        elif isinstance(inode, Symlink):
            below = inode.target
        found[name] = attributes(inode), below
    return found


def tree_of(directory_fd: int) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for name in sorted(map(os.fsencode, os.listdir(directory_fd))):
        state = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        below: object = None
        for fd in opened(name, directory_fd, state.st_mode):
            below = tree_of(fd) if stat.S_ISDIR(state.st_mode) else os.pread(fd, 30_000, 0)
        if stat.S_ISLNK(state.st_mode):
            below = os.readlink(name, dir_fd=directory_fd)
        found[name] = attributes_of(state), below
    return found


def opened(name: bytes, directory_fd: int, mode: int) -> Iterator[int]:
    """A file or directory, open while the loop lasts; nothing for anything else."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        fd = os.open(name, os.O_RDONLY, dir_fd=directory_fd)
        try:
            yield fd
        finally:
            os.close(fd)


TestAgainstTmpfs = TmpfsMachine.TestCase
TestAgainstTmpfs.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
