"""Access control lists; tests/property/test_acls_against_tmpfs.py compares with Linux's own."""

import stat

import pytest
from tests.access_lists import LIST, access_list

from ram9.storage import acls
from ram9.storage.acls import (
    ACCESS,
    DEFAULT,
    GROUP,
    GROUP_OBJ,
    MASK,
    NO_ID,
    OTHER,
    USER,
    USER_OBJ,
    Entry,
)
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, Special, Symlink

MINIMAL = access_list((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 1))


def directory(mode: int = 0o755, **lists: bytes) -> Directory:
    made = Directory(1, stat.S_IFDIR | mode, 0, 0, 0, None)
    made.xattrs = {b"system.posix_acl_" + name.encode(): value for name, value in lists.items()}
    return made


def refusal(value: bytes, name: bytes = ACCESS) -> Errno:
    with pytest.raises(FileSystemError) as refused:
        acls.change(directory(), name, value)
    return refused.value.errno


def test_what_is_encoded_is_parsed() -> None:
    entries = acls.parse(LIST)
    assert entries[1] == Entry(USER, 6, 5)
    assert acls.encode(entries) == LIST


def test_a_class_has_no_id() -> None:
    value = acls.encode([Entry(USER_OBJ, 7, 5), Entry(GROUP_OBJ, 0, 6), Entry(OTHER, 0, 7)])
    assert {entry.id for entry in acls.parse(value)} == {NO_ID}


@pytest.mark.parametrize("value", [b"", b"\2\0\0\0"])
def test_a_value_without_entries_is_no_list(value: bytes) -> None:
    assert acls.parse(value) == []
    assert acls.change(directory(access=LIST), ACCESS, value) == (0o040755, b"")
    assert acls.change(directory(), ACCESS, value) == (0o040755, b"")


@pytest.mark.parametrize(
    ("value", "errno"),
    [
        (b"\2", Errno.EINVAL),
        (b"\1" + LIST[1:], Errno.EOPNOTSUPP),
        (LIST + b"x", Errno.EINVAL),
        (access_list((3, 7)), Errno.EINVAL),
        (access_list((USER_OBJ, 7), (GROUP_OBJ, 7)), Errno.EINVAL),
        (access_list((USER_OBJ, 8), (GROUP_OBJ, 7), (OTHER, 0)), Errno.EINVAL),
        (access_list((GROUP_OBJ, 7), (USER_OBJ, 7), (OTHER, 0)), Errno.EINVAL),
        (access_list((USER_OBJ, 7), (USER_OBJ, 7), (GROUP_OBJ, 7), (OTHER, 0)), Errno.EINVAL),
        (access_list((USER_OBJ, 7), (GROUP_OBJ, 7), (GROUP, 7, 1), (OTHER, 0)), Errno.EINVAL),
        (
            access_list((USER_OBJ, 7), (GROUP_OBJ, 7), (GROUP, 7, NO_ID), (MASK, 7), (OTHER, 0)),
            Errno.EINVAL,
        ),
        (
            access_list((USER_OBJ, 7), (GROUP_OBJ, 7), (MASK, 7), (MASK, 7), (OTHER, 0)),
            Errno.EINVAL,
        ),
    ],
)
@pytest.mark.parametrize("name", [ACCESS, DEFAULT])
def test_what_is_no_list_is_refused(value: bytes, errno: Errno, name: bytes) -> None:
    assert refusal(value, name) is errno


def test_only_directories_have_a_default_list() -> None:
    fifo = Special(1, stat.S_IFIFO | 0o644, 0, 0, 0, 0, 0)
    with pytest.raises(FileSystemError) as refused:
        acls.change(fifo, DEFAULT, LIST)
    assert refused.value.errno is Errno.EACCES
    assert acls.change(fifo, DEFAULT, b"") is None


def test_symbolic_links_have_none() -> None:
    with pytest.raises(FileSystemError) as refused:
        acls.change(Symlink(1, stat.S_IFLNK | 0o777, 0, 0, 0, b"target"), ACCESS, LIST)
    assert refused.value.errno is Errno.EOPNOTSUPP


def test_the_mode_follows_the_access_list_and_its_group_is_the_mask() -> None:
    assert acls.change(directory(0o7755), ACCESS, LIST) == (0o047760, LIST)
    assert acls.change(directory(0o7755), ACCESS, MINIMAL) == (0o047641, b"")
    assert acls.change(directory(0o7755), DEFAULT, MINIMAL) == (0o047755, MINIMAL)


def test_the_access_list_follows_the_mode() -> None:
    changed = directory(0o531, access=LIST)
    acls.follow_mode(changed)
    assert changed.xattrs == {
        ACCESS: access_list((USER_OBJ, 5), (USER, 6, 5), (GROUP_OBJ, 4), (MASK, 3), (OTHER, 1))
    }


def test_without_a_list_there_is_nothing_to_follow() -> None:
    changed = directory(0o531, default=LIST)
    acls.follow_mode(changed)
    assert changed.xattrs == {DEFAULT: LIST}


def test_what_is_inherited_is_no_more_than_both_the_list_and_the_mode_give() -> None:
    above = directory(default=LIST)
    assert acls.inherited(above, stat.S_IFREG | 0o6577) == (
        0o106560,
        {ACCESS: access_list((USER_OBJ, 5), (USER, 6, 5), (GROUP_OBJ, 4), (MASK, 6), (OTHER, 0))},
    )


def test_inheriting_twice_is_inheriting_once() -> None:
    """A client with ``posixacl`` has limited the mode before it asks, and sets the lists after."""
    above = directory(default=LIST)
    mode, lists = acls.inherited(above, stat.S_IFDIR | 0o775)
    assert acls.inherited(above, mode) == (mode, lists)
    assert lists is not None
    assert lists[DEFAULT] == LIST


def test_a_default_list_that_is_no_more_than_a_mode_limits_the_mode() -> None:
    above = directory(default=MINIMAL)
    assert acls.inherited(above, stat.S_IFREG | 0o777) == (0o100641, None)
    assert acls.inherited(above, stat.S_IFDIR | 0o777) == (0o040641, {DEFAULT: MINIMAL})


def test_nothing_is_inherited_from_a_directory_without_a_default_list() -> None:
    assert acls.inherited(directory(access=LIST), 0o100777) == (0o100777, None)
    assert acls.inherited(Directory(1, 0o040755, 0, 0, 0, None), 0o100777) == (0o100777, None)
