"""Each limit, at it and one past it."""

import mmap

import pytest

from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import File
from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES, SECTOR_SHIFT, Limits


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(1 << 20, 100, links=3, file_bytes=1000), lambda: 0)


@pytest.fixture
def file(filesystem: FileSystem) -> File:
    return filesystem.create(filesystem.root, b"file", 0o644, 0, 0)


def test_a_sector_and_a_page_are_what_they_say() -> None:
    assert 1 << SECTOR_SHIFT == SECTOR_BYTES
    assert PAGE_SECTORS * SECTOR_BYTES == mmap.PAGESIZE


def test_a_name_of_255_bytes_is_the_longest(filesystem: FileSystem) -> None:
    filesystem.mkdir(filesystem.root, b"n" * 255, 0o755, 0, 0)
    with pytest.raises(FileSystemError, match=Errno.ENAMETOOLONG.name):
        filesystem.mkdir(filesystem.root, b"n" * 256, 0o755, 0, 0)


def test_a_symlink_of_4095_bytes_is_the_longest(filesystem: FileSystem) -> None:
    filesystem.symlink(filesystem.root, b"a", b"t" * 4095, 0, 0)
    with pytest.raises(FileSystemError, match=Errno.ENAMETOOLONG.name):
        filesystem.symlink(filesystem.root, b"b", b"t" * 4096, 0, 0)


def test_an_attribute_of_64_kib_is_the_largest(filesystem: FileSystem, file: File) -> None:
    filesystem.set_xattr(file, b"user.a", bytes(65_536))
    with pytest.raises(FileSystemError, match=Errno.E2BIG.name):
        filesystem.set_xattr(file, b"user.a", bytes(65_537))


def test_an_attribute_name_of_255_bytes_is_the_longest(filesystem: FileSystem, file: File) -> None:
    filesystem.set_xattr(file, b"user." + b"n" * 250, b"")
    with pytest.raises(FileSystemError, match=Errno.ERANGE.name):
        filesystem.set_xattr(file, b"user." + b"n" * 251, b"")


def test_a_list_of_attributes_of_64_kib_is_the_longest(filesystem: FileSystem, file: File) -> None:
    for number in range(256):
        filesystem.set_xattr(file, b"user.%0250d" % number, b"")
    with pytest.raises(FileSystemError, match=Errno.ENOSPC.name):
        filesystem.set_xattr(file, b"user.a", b"")
    filesystem.set_xattr(file, b"user.%0250d" % 7, b"one that is there already")


def test_links_have_a_limit(filesystem: FileSystem, file: File) -> None:
    filesystem.link(file, filesystem.root, b"2")
    filesystem.link(file, filesystem.root, b"3")
    with pytest.raises(FileSystemError, match=Errno.EMLINK.name):
        filesystem.link(file, filesystem.root, b"4")


def test_subdirectories_have_the_limit_of_links(filesystem: FileSystem) -> None:
    filesystem.mkdir(filesystem.root, b"1", 0o755, 0, 0)
    with pytest.raises(FileSystemError, match=Errno.EMLINK.name):
        filesystem.mkdir(filesystem.root, b"2", 0o755, 0, 0)


def test_a_moved_directory_counts_as_a_link(filesystem: FileSystem) -> None:
    parent = filesystem.mkdir(filesystem.root, b"1", 0o755, 0, 0)
    filesystem.mkdir(parent, b"2", 0o755, 0, 0)
    with pytest.raises(FileSystemError, match=Errno.EMLINK.name):
        filesystem.rename(parent, b"2", filesystem.root, b"2")


def test_a_file_is_written_up_to_its_limit(filesystem: FileSystem, file: File) -> None:
    assert filesystem.write(file, 990, b"x" * 20) == 10
    assert file.size_bytes == 1000


def test_a_write_past_the_limit_of_a_file_is_refused(filesystem: FileSystem, file: File) -> None:
    with pytest.raises(FileSystemError, match=Errno.EFBIG.name):
        filesystem.write(file, 1000, b"x")


@pytest.mark.parametrize("offset", [0, 1000, 1001])
def test_writing_no_bytes_is_allowed_anywhere(
    filesystem: FileSystem, file: File, offset: int
) -> None:
    """POSIX write: beyond the largest file it was refused with EFBIG."""
    assert filesystem.write(file, offset, b"") == 0
    assert file.size_bytes == 0


def test_a_file_is_truncated_up_to_its_limit(filesystem: FileSystem, file: File) -> None:
    filesystem.set_attributes(file, size_bytes=1000)
    with pytest.raises(FileSystemError, match=Errno.EFBIG.name):
        filesystem.set_attributes(file, size_bytes=1001)


def test_nothing_lands_past_the_limit_of_a_file(filesystem: FileSystem, file: File) -> None:
    assert filesystem.land(file, 0, 1001) is None
    landing = filesystem.land(file, 0, 1000)
    assert landing is not None


def test_the_last_byte_of_the_largest_file_can_be_written() -> None:
    filesystem = FileSystem(Limits(1 << 20, 10), lambda: 0)
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    assert filesystem.write(file, 2**63 - 3, b"abc") == 2
    assert filesystem.read(file, 2**63 - 3, 10) == b"ab"
    assert file.sectors == 1
