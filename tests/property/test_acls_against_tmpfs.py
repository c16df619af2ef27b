"""Access control lists on our file system and on a tmpfs of the kernel's: same modes and lists."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.access_lists import LIST, any_lists, valid_lists

from ram9.storage import acls
from ram9.storage.check import check
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, Inode
from ram9.storage.limits import Limits

SHM = Path("/dev/shm")


def has_access_lists(path: Path) -> bool:
    """Whether *path* is on a tmpfs that has access control lists."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    if not any(mount[1] == str(path) and mount[2] == "tmpfs" for mount in mounts):
        return False
    with tempfile.NamedTemporaryFile(dir=path) as file:
        try:
            os.setxattr(file.fileno(), acls.ACCESS, LIST)
        except OSError:
            return False
    return True


pytestmark = pytest.mark.skipif(
    not has_access_lists(SHM), reason="/dev/shm is no tmpfs with access control lists"
)

choices = st.integers(0, 63)
modes = st.integers(0, 0o777) | st.sampled_from([0o777, 0o666, 0o750])
lists = any_lists() | valid_lists(st.integers(0, 3))


class AccessListMachine(RuleBasedStateMachine):
    """A tree below one directory, whose names are numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.filesystem = FileSystem(Limits(16 << 20, 1000), lambda: 10**18)
        self.umask = os.umask(0)
        self.path = tempfile.mkdtemp(dir=SHM, prefix="ram9-")
        self.pairs: list[tuple[Inode, str]] = [(self.filesystem.root, self.path)]
        self.filesystem.set_attributes(self.filesystem.root, mode=0o700)

    def teardown(self) -> None:
        shutil.rmtree(self.path)
        os.umask(self.umask)
        assert check(self.filesystem) == []

    @rule(choice=choices, mode=modes, kind=st.sampled_from(["file", "directory", "fifo", "link"]))
    def make(self, choice: int, mode: int, kind: str) -> None:
        parents = [pair for pair in self.pairs if isinstance(pair[0], Directory)]
        parent, path = parents[choice % len(parents)]
        name = b"%d" % len(self.pairs)
        there = os.path.join(path, name.decode())
        made: Inode
        if kind == "file":
            made = self.filesystem.create(parent, name, mode, 0, 0)
            os.close(os.open(there, os.O_CREAT | os.O_EXCL, mode))
        elif kind == "directory":
            made = self.filesystem.mkdir(parent, name, mode, 0, 0)
            os.mkdir(there, mode)
        elif kind == "fifo":
            made = self.filesystem.mknod(parent, name, stat.S_IFIFO | mode, 0, 0)
            os.mkfifo(there, mode)
        else:
            made = self.filesystem.symlink(parent, name, b"target", 0, 0)
            os.symlink("target", there)
        self.pairs.append((made, there))

    @rule(choice=choices, mode=modes)
    def chmod(self, choice: int, mode: int) -> None:
        inode, path = self.pairs[choice % len(self.pairs)]
        if not stat.S_ISLNK(inode.mode):
            os.chmod(path, mode)
            self.filesystem.set_attributes(inode, mode=mode)

    @rule(choice=choices, name=st.sampled_from(acls.NAMES), value=lists)
    def set_list(self, choice: int, name: bytes, value: bytes) -> None:
        inode, path = self.pairs[choice % len(self.pairs)]
        theirs = errno_of(lambda: os.setxattr(path, name, value, follow_symlinks=False))
        ours = errno_of(lambda: self.filesystem.set_xattr(inode, name, value))
        assert ours == theirs

    @invariant()
    def all_modes_and_lists_agree(self) -> None:
        for inode, path in self.pairs:
            assert oct(inode.mode & ~stat.S_ISVTX) == oct(os.lstat(path).st_mode)
            there = sorted(map(os.fsencode, os.listxattr(path, follow_symlinks=False)))
            assert sorted(inode.xattrs or ()) == there
            for name in there:
                assert (inode.xattrs or {})[name] == os.getxattr(path, name)


def errno_of(call: Callable[[], object]) -> str | None:
    """The name of the errno with which *call* is refused, if it is."""
    try:
        call()
    except OSError as refusal:
        return errno.errorcode[refusal.errno or 0].replace("ENOTSUP", "EOPNOTSUPP")
    except FileSystemError as refusal:
        return refusal.errno.name
    return None


TestAccessLists = AccessListMachine.TestCase
TestAccessLists.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
