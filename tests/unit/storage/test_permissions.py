"""Who may do what; tests/property/test_permissions_against_tmpfs.py compares with Linux's own."""

import stat
from collections.abc import Callable

import pytest
from tests.access_lists import access_list

from ram9.storage import permissions
from ram9.storage.acls import ACCESS, DEFAULT, GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File
from ram9.storage.limits import Limits
from ram9.storage.permissions import EXECUTE, READ, WRITE, Credentials, may

ROOT = Credentials(0, 0)
OWNER = Credentials(10, 100, frozenset({100}))
MEMBER = Credentials(11, 101, frozenset({101, 100}))
OTHER_USER = Credentials(12, 102, frozenset({102}))


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(1 << 20, 100), lambda: 1000)


@pytest.fixture
def file(filesystem: FileSystem) -> File:
    return filesystem.create(filesystem.root, b"file", 0o640, OWNER.uid, 100)


@pytest.fixture
def directory(filesystem: FileSystem) -> Directory:
    return filesystem.mkdir(filesystem.root, b"directory", 0o750, OWNER.uid, 100)


def refusal(check: Callable[..., object], *arguments: object) -> str | None:
    """The name of the errno with which *check* refuses, None if it does not."""
    try:
        check(*arguments)
    except FileSystemError as refused:
        return refused.errno.name
    return None


def rights(user: Credentials, file: File | Directory) -> str:
    letters = {READ: "r", WRITE: "w", EXECUTE: "x"}
    return "".join(letter for bit, letter in letters.items() if may(user, file, bit))


def test_the_first_class_that_a_user_is_in_counts(file: File) -> None:
    file.mode = stat.S_IFREG | 0o437
    assert [rights(user, file) for user in (OWNER, MEMBER, OTHER_USER)] == ["r", "wx", "rwx"]


def test_root_may_all_but_run_what_nobody_may(file: File, directory: Directory) -> None:
    file.mode = stat.S_IFREG
    assert rights(ROOT, file) == "rw"
    file.mode |= 0o010
    assert rights(ROOT, file) == "rwx"
    directory.mode = stat.S_IFDIR
    assert rights(ROOT, directory) == "rwx"


def test_all_that_is_wanted_must_be_given(file: File) -> None:
    assert may(OWNER, file, READ | WRITE)
    assert not may(MEMBER, file, READ | WRITE)


@pytest.mark.parametrize(
    ("entry", "mask", "expected"),
    [
        ((USER, 6, 12), 7, "rw"),
        ((USER, 6, 12), 5, "r"),
        ((USER, 0, 12), 7, ""),
        ((GROUP, 3, 102), 7, "wx"),
        ((GROUP, 3, 102), 1, "x"),
        ((USER, 7, 99), 7, "x"),
        ((GROUP, 7, 100), 7, "x"),
    ],
)
def test_an_access_list_names_users_and_groups(
    filesystem: FileSystem, file: File, entry: tuple[int, int, int], mask: int, expected: str
) -> None:
    rest = [(USER_OBJ, 7), (GROUP_OBJ, 4), entry, (MASK, mask), (OTHER, 1)]
    filesystem.set_xattr(file, ACCESS, access_list(*sorted(rest)))
    assert rights(OTHER_USER, file) == expected


def test_any_one_of_a_users_groups_must_give_all(filesystem: FileSystem, file: File) -> None:
    """Two groups that give a half each give neither both, nor what others get."""
    value = access_list((USER_OBJ, 7), (GROUP_OBJ, 4), (GROUP, 2, 101), (MASK, 7), (OTHER, 7))
    filesystem.set_xattr(file, ACCESS, value)
    assert rights(MEMBER, file) == "rw"
    assert not may(MEMBER, file, READ | WRITE)


def test_an_access_list_without_a_group_class_is_not_looked_at(
    filesystem: FileSystem, file: File
) -> None:
    """As Linux has it (acl_permission_check): the mode then says all."""
    value = access_list((USER_OBJ, 7), (USER, 7, 12), (GROUP_OBJ, 4), (MASK, 0), (OTHER, 4))
    filesystem.set_xattr(file, ACCESS, value)
    assert rights(OTHER_USER, file) == "r"


def test_who_may_run_a_program_may_open_it_for_reading(file: File) -> None:
    """A client reads what it runs, and does not say what it reads for."""
    file.mode = stat.S_IFREG | 0o711
    assert refusal(permissions.check_open, OTHER_USER, file, READ) is None
    assert refusal(permissions.check_open, OTHER_USER, file, READ | WRITE) == "EACCES"
    assert refusal(permissions.require, OTHER_USER, file, READ) == "EACCES"
    file.mode = stat.S_IFREG | 0o700
    assert refusal(permissions.check_open, OTHER_USER, file, READ) == "EACCES"


def test_looking_up_takes_a_directory_that_may_be_searched(
    file: File, directory: Directory
) -> None:
    check = permissions.check_search
    assert refusal(check, OTHER_USER, file) == "ENOTDIR"
    assert refusal(check, OTHER_USER, directory) == "EACCES"
    assert refusal(check, MEMBER, directory) is None


def test_making_is_refused_in_the_order_of_linux(
    filesystem: FileSystem, directory: Directory
) -> None:
    check = permissions.check_create
    filesystem.create(directory, b"there", 0o644, 0, 0)
    assert refusal(check, OTHER_USER, directory, b"there") == "EACCES"
    assert refusal(check, MEMBER, directory, b"there") == "EEXIST"
    assert refusal(check, MEMBER, directory, b"..") == "EEXIST"
    assert refusal(check, MEMBER, directory, b"n" * 256) == "ENAMETOOLONG"
    assert refusal(check, MEMBER, directory, b"new") == "EACCES"
    assert refusal(check, OWNER, directory, b"new") is None


def test_nothing_is_made_in_a_removed_directory(
    filesystem: FileSystem, directory: Directory
) -> None:
    filesystem.hold(directory)
    filesystem.rmdir(filesystem.root, b"directory")
    assert refusal(permissions.check_create, MEMBER, directory, b"new") == "ENOENT"
    assert refusal(permissions.check_remove, MEMBER, directory, b"n" * 256) == "ENOENT"
    rename = permissions.check_rename
    assert refusal(rename, OWNER, filesystem.root, b"none", directory, b"new") == "ENOENT"
    filesystem.release(directory)


@pytest.mark.parametrize(
    ("mode", "major", "minor", "expected"),
    [
        (stat.S_IFCHR, 1, 3, "EPERM"),
        (stat.S_IFBLK, 0, 0, "EPERM"),
        (stat.S_IFCHR, 0, 0, None),
        (stat.S_IFIFO, 1, 3, None),
    ],
)
def test_devices_are_made_by_root(mode: int, major: int, minor: int, expected: str | None) -> None:
    check = permissions.check_device
    assert refusal(check, OWNER, mode | 0o644, major, minor) == expected
    assert refusal(check, ROOT, mode | 0o644, major, minor) is None


def test_the_group_of_a_new_file_is_one_of_its_users(directory: Directory) -> None:
    group = permissions.new_group
    assert [group(MEMBER, directory, gid) for gid in (100, 101, 102, 0)] == [100, 101, 101, 101]
    assert group(ROOT, directory, 12345) == 12345
    directory.mode |= stat.S_ISGID
    assert [group(OTHER_USER, directory, gid) for gid in (102, 0)] == [100, 100]


def test_nobody_makes_programs_that_run_as_a_foreign_group() -> None:
    mode = permissions.new_mode
    assert mode(OTHER_USER, 100, 0o2771) == 0o771
    assert mode(MEMBER, 100, 0o2771) == 0o2771
    assert mode(ROOT, 100, 0o2771) == 0o2771
    assert mode(OTHER_USER, 100, 0o2761) == 0o2761


def test_in_a_sticky_directory_one_removes_ones_own(
    filesystem: FileSystem, directory: Directory
) -> None:
    check = permissions.check_remove
    filesystem.create(directory, b"file", 0o644, MEMBER.uid, 0)
    directory.mode = stat.S_IFDIR | 0o1777
    users = (ROOT, OWNER, MEMBER, OTHER_USER)
    assert [refusal(check, user, directory, b"file") for user in users] == [None] * 3 + ["EPERM"]
    assert refusal(check, OTHER_USER, directory, b"none") == "ENOENT"
    directory.mode = stat.S_IFDIR | 0o777
    assert refusal(check, OTHER_USER, directory, b"file") is None
    directory.mode = stat.S_IFDIR | 0o771
    assert refusal(check, OTHER_USER, directory, b"file") == "EACCES"
    assert refusal(check, OTHER_USER, directory, b"..") is None  # for the operation to refuse


def test_a_rename_takes_both_directories_and_a_directory_that_moves(
    filesystem: FileSystem, directory: Directory
) -> None:
    root, check = filesystem.root, permissions.check_rename
    other = filesystem.mkdir(root, b"other", 0o777, 0, 0)
    moved = filesystem.mkdir(other, b"moved", 0o755, OTHER_USER.uid, 0)
    filesystem.create(other, b"file", 0o644, MEMBER.uid, 0)
    assert refusal(check, OWNER, other, b"moved", directory, b"new") == "EACCES"
    assert refusal(check, OWNER, other, b"moved", other, b"new") is None
    moved.mode |= 0o002
    assert refusal(check, OWNER, other, b"moved", directory, b"new") is None
    assert refusal(check, MEMBER, other, b"file", directory, b"new") == "EACCES"
    assert refusal(check, OTHER_USER, directory, b"none", other, b"new") == "EACCES"
    assert refusal(check, OWNER, directory, b"none", other, b"new") == "ENOENT"
    assert refusal(check, OWNER, other, b"file", other, b"n" * 256) == "ENAMETOOLONG"


def test_a_rename_over_what_others_own_in_a_sticky_directory_is_eperm(
    filesystem: FileSystem, directory: Directory
) -> None:
    check = permissions.check_rename
    directory.mode = stat.S_IFDIR | 0o1777
    filesystem.create(directory, b"mine", 0o644, OTHER_USER.uid, 0)
    filesystem.create(directory, b"theirs", 0o644, MEMBER.uid, 0)
    assert refusal(check, OTHER_USER, directory, b"mine", directory, b"new") is None
    assert refusal(check, OTHER_USER, directory, b"mine", directory, b"theirs") == "EPERM"
    assert refusal(check, OTHER_USER, directory, b"theirs", directory, b"new") == "EPERM"


def test_what_a_rename_is_refused_for_first_is_left_to_it(
    filesystem: FileSystem, directory: Directory
) -> None:
    """Where directories would come to lie below themselves, and where nothing would happen."""
    root, check = filesystem.root, permissions.check_rename
    below = filesystem.mkdir(directory, b"below", 0o755, 0, 0)
    file = filesystem.create(directory, b"file", 0o644, 0, 0)
    filesystem.link(file, directory, b"same")
    root.mode = stat.S_IFDIR | 0o755
    assert refusal(check, MEMBER, root, b"directory", below, b"new") is None
    assert refusal(check, MEMBER, below, b"none", root, b"..") is None
    filesystem.create(below, b"file", 0o644, 0, 0)
    assert refusal(check, MEMBER, below, b"file", root, b"directory") is None
    assert refusal(check, MEMBER, directory, b"file", directory, b"same") is None
    assert refusal(check, OWNER, directory, b"file", directory, b"below") is None


def test_owners_give_files_to_their_groups_and_to_nobody_else(file: File) -> None:
    check = permissions.check_chown
    assert refusal(check, ROOT, file, 5, 5) is None
    assert refusal(check, OWNER, file, OWNER.uid, 100) is None
    assert refusal(check, OWNER, file, MEMBER.uid, None) == "EPERM"
    assert refusal(check, OWNER, file, None, 101) == "EPERM"
    assert refusal(check, MEMBER, file, None, 100) == "EPERM"
    file.uid = MEMBER.uid
    assert refusal(check, MEMBER, file, None, 101) is None


@pytest.mark.parametrize(
    ("name", "reading", "writing"),
    [
        (b"user.a", "EACCES", "EACCES"),
        (b"trusted.a", "ENODATA", "EPERM"),
        (b"security.a", None, "EPERM"),
        (ACCESS, None, "EPERM"),
        (DEFAULT, None, "EPERM"),
        (b"system.other", None, None),
        (b"other.a", "EACCES", "EACCES"),
    ],
)
def test_attributes_have_rules_by_namespace(
    directory: Directory, name: bytes, reading: str | None, writing: str | None
) -> None:
    get, set_ = permissions.check_get_xattr, permissions.check_set_xattr
    assert refusal(get, OTHER_USER, directory, name) == reading
    assert refusal(set_, OTHER_USER, directory, name) == writing
    assert refusal(get, ROOT, directory, name) is None
    assert refusal(set_, ROOT, directory, name) is None


def test_only_files_and_directories_have_attributes_of_users(filesystem: FileSystem) -> None:
    fifo = filesystem.mknod(filesystem.root, b"fifo", stat.S_IFIFO | 0o666, 10, 100)
    for user in (OWNER, ROOT):
        assert refusal(permissions.check_get_xattr, user, fifo, b"user.a") == "ENODATA"
        assert refusal(permissions.check_set_xattr, user, fifo, b"user.a") == "EPERM"
    assert refusal(permissions.check_set_xattr, OTHER_USER, fifo, DEFAULT) is None  # EACCES


def test_attributes_of_a_sticky_directory_are_its_owners(directory: Directory) -> None:
    directory.mode = stat.S_IFDIR | 0o1777
    check = permissions.check_set_xattr
    assert refusal(check, OTHER_USER, directory, b"user.a") == "EPERM"
    assert refusal(check, OWNER, directory, b"user.a") is None
