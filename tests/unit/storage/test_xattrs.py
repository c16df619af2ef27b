"""Which extended attributes there can be."""

import pytest

from ram9.storage import xattrs
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import File
from ram9.storage.limits import FIRST_XATTR_BYTES, XATTR_BYTES, Limits


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(1 << 20, 100), lambda: 0)


@pytest.fixture
def file(filesystem: FileSystem) -> File:
    return filesystem.create(filesystem.root, b"file", 0o644, 0, 0)


@pytest.mark.parametrize(
    "name", [b"user.a", b"trusted.a", b"security.selinux", b"system.posix_acl_access"]
)
def test_the_names_of_tmpfs_are_allowed(name: bytes) -> None:
    xattrs.check_name(name)


@pytest.mark.parametrize(
    ("name", "errno"),
    [
        (b"", "ERANGE"),
        (b"user." + b"n" * 251, "ERANGE"),
        (b"user.", "EINVAL"),
        (b"a", "EOPNOTSUPP"),
        (b"system.other", "EOPNOTSUPP"),
        (b"User.a", "EOPNOTSUPP"),
    ],
)
def test_other_names_are_refused(name: bytes, errno: str) -> None:
    with pytest.raises(FileSystemError, match=f"^{errno}$"):
        xattrs.check_name(name)


def test_an_attribute_is_read_as_it_was_written(filesystem: FileSystem, file: File) -> None:
    filesystem.set_xattr(file, b"user.a", b"\0\xff")
    assert filesystem.get_xattr(file, b"user.a") == b"\0\xff"


def test_an_empty_value_is_a_value(filesystem: FileSystem, file: File) -> None:
    filesystem.set_xattr(file, b"user.a", b"")
    assert filesystem.get_xattr(file, b"user.a") == b""


def test_all_names_are_listed_with_a_nul_behind_each(filesystem: FileSystem, file: File) -> None:
    assert xattrs.listing(file) == b""
    filesystem.set_xattr(file, b"user.a", b"1")
    filesystem.set_xattr(file, b"user.b", b"2")
    assert xattrs.listing(file) == b"user.a\0user.b\0"


@pytest.mark.parametrize("operation", [FileSystem.get_xattr, FileSystem.remove_xattr])
@pytest.mark.parametrize(("name", "errno"), [(b"user.x", "ENODATA"), (b"x", "EOPNOTSUPP")])
def test_what_is_not_there_is_refused(
    filesystem: FileSystem, file: File, operation: object, name: bytes, errno: str
) -> None:
    assert callable(operation)
    with pytest.raises(FileSystemError, match=errno):
        operation(filesystem, file, name)


def test_the_first_attribute_pays_for_the_table(filesystem: FileSystem, file: File) -> None:
    before = filesystem.budget.used_bytes
    filesystem.set_xattr(file, b"user.a", b"123")
    assert filesystem.budget.used_bytes - before == FIRST_XATTR_BYTES + XATTR_BYTES + 6 + 3
    filesystem.set_xattr(file, b"user.b", b"")
    assert filesystem.budget.used_bytes - before == FIRST_XATTR_BYTES + 2 * XATTR_BYTES + 12 + 3


def test_a_shorter_value_gives_bytes_back(filesystem: FileSystem, file: File) -> None:
    filesystem.set_xattr(file, b"user.a", b"1234567")
    before = filesystem.budget.used_bytes
    filesystem.set_xattr(file, b"user.a", b"12")
    assert filesystem.budget.used_bytes == before - 5


def test_the_last_attribute_takes_the_table_with_it(filesystem: FileSystem, file: File) -> None:
    before = filesystem.budget.used_bytes
    filesystem.set_xattr(file, b"user.a", b"1")
    filesystem.set_xattr(file, b"user.b", b"1")
    filesystem.remove_xattr(file, b"user.a")
    filesystem.remove_xattr(file, b"user.b")
    assert filesystem.budget.used_bytes == before
    assert file.xattrs is None
