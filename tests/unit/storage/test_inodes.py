"""Attributes of inodes."""

import os
import stat

import pytest

from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import VERSION_MAX, File, Inode, Special
from ram9.storage.limits import Limits

DAY_NS = 86_400 * 10**9


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(1 << 20, 100), lambda: 1000)


@pytest.fixture
def inode() -> Inode:
    return Inode(7, stat.S_IFREG | 0o644, 1, 2, 1000)


def test_a_new_inode_has_one_time(inode: Inode) -> None:
    assert inode.atime_ns == inode.mtime_ns == inode.ctime_ns == inode.btime_ns == 1000


def test_an_inode_without_data_has_no_size(inode: Inode) -> None:
    assert (inode.size_bytes, inode.sectors, inode.rdev) == (0, 0, 0)


def test_a_change_of_data_is_a_new_version(inode: Inode) -> None:
    inode.touch(2000)
    assert (inode.version, inode.mtime_ns, inode.ctime_ns) == (2, 2000, 2000)


def test_a_version_is_never_0(inode: Inode) -> None:
    """0 tells the Linux client that it must not cache (include/net/9p: qid.version)."""
    inode.version = VERSION_MAX
    inode.touch(2000)
    assert inode.version == 1


def test_a_change_of_attributes_is_no_new_version(inode: Inode) -> None:
    inode.touch_attributes(2000)
    assert (inode.version, inode.mtime_ns, inode.ctime_ns) == (1, 1000, 2000)


def test_ctime_never_goes_backwards(inode: Inode) -> None:
    inode.touch_attributes(500)
    inode.touch(400)
    assert inode.ctime_ns == 1000


def test_the_first_read_after_a_change_is_noted(inode: Inode) -> None:
    inode.touch_access(2000)
    inode.touch_access(3000)
    assert inode.atime_ns == 2000
    inode.touch(4000)
    inode.touch_access(5000)
    assert inode.atime_ns == 5000


def test_a_read_is_noted_once_a_day(inode: Inode) -> None:
    inode.touch_access(2000)
    inode.touch_access(2000 + DAY_NS - 1)
    assert inode.atime_ns == 2000
    inode.touch_access(2000 + DAY_NS)
    assert inode.atime_ns == 2000 + DAY_NS


def test_a_file_has_the_size_and_sectors_of_its_content(filesystem: FileSystem) -> None:
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    filesystem.write(file, 1000, b"x")
    assert (file.size_bytes, file.sectors) == (1001, 1)


def test_a_directory_has_the_size_that_tmpfs_gives_it(filesystem: FileSystem) -> None:
    assert filesystem.root.size_bytes == 40
    filesystem.mkdir(filesystem.root, b"directory", 0o755, 0, 0)
    assert filesystem.root.size_bytes == 60


def test_a_symlink_is_as_long_as_its_target(filesystem: FileSystem) -> None:
    assert filesystem.symlink(filesystem.root, b"link", b"target", 0, 0).size_bytes == 6


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
@pytest.mark.parametrize(("major", "minor"), [(0, 0), (8, 1), (259, 300), (4095, (1 << 20) - 1)])
def test_a_device_has_the_number_that_linux_gives_it(kind: int, major: int, minor: int) -> None:
    inode = Special(7, kind, 0, 0, 0, major, minor)
    assert (os.major(inode.rdev), os.minor(inode.rdev)) == (major, minor)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_device_has_no_number(kind: int) -> None:
    assert Special(7, kind, 0, 0, 0, 8, 1).rdev == 0


def test_a_new_file_has_no_tables(filesystem: FileSystem) -> None:
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    assert isinstance(file, File)
    assert file.xattrs is None
    assert file.locks is None
