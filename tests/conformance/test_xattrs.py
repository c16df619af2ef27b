"""Txattrwalk, Txattrcreate: extended attributes."""

import pytest
from tests.access_lists import LIST, access_list
from tests.client import ROOT, Client, Server

from ram9.protocol.constants import SETATTR_MODE
from ram9.protocol.messages import (
    Tclunk,
    Tread,
    Tremove,
    Twalk,
    Twrite,
    Txattrcreate,
    Txattrwalk,
)
from ram9.server import session
from ram9.storage.acls import GROUP_OBJ, MASK, OTHER, USER, USER_OBJ
from ram9.storage.errors import Errno
from ram9.storage.limits import Limits

ACL = b"system.posix_acl_access"
DEFAULT_ACL = b"system.posix_acl_default"
CREATE, REPLACE = 1, 2


@pytest.fixture
def file(client: Client) -> int:
    client.make(b"file", b"data")
    return client.walk(b"file")


@pytest.mark.parametrize("name", [b"user.a", b"trusted.a", b"security.capability"])
@pytest.mark.parametrize("value", [b"", b"value", b"\0\xff", b"v" * 65536])
def test_a_value_that_was_set_is_there(
    client: Client, file: int, name: bytes, value: bytes
) -> None:
    before = client.getattr(file)
    client.setxattr(file, name, value)
    after = client.getattr(file)
    assert client.getxattr(file, name) == value
    assert after.ctime_s > before.ctime_s
    assert (after.mtime_s, after.qid) == (before.mtime_s, before.qid)


def test_names_are_bytes(client: Client, file: int) -> None:
    """T17"""
    client.setxattr(file, b"user.\xff\xfe", b"value")
    assert client.getxattr(file, b"user.\xff\xfe") == b"value"


def test_all_names_are_listed(client: Client, file: int) -> None:
    assert client.getxattr(file, b"") == b""
    client.setxattr(file, b"user.a", b"1")
    client.setxattr(file, b"security.b", b"2")
    assert client.getxattr(file, b"") == b"user.a\0security.b\0"


def test_trusted_names_are_listed_to_root_alone(client: Client, root: Client, file: int) -> None:
    client.setxattr(file, b"trusted.a", b"1")
    client.setxattr(file, b"user.a", b"1")
    assert client.getxattr(file, b"") == b"user.a\0"
    assert root.getxattr(root.walk(b"file"), b"") == b"trusted.a\0user.a\0"


@pytest.mark.parametrize("name", [b"user.none", b"security.capability", ACL, DEFAULT_ACL])
def test_what_is_not_there_is_enodata(client: Client, file: int, name: bytes) -> None:
    """Linux asks for security.capability before each write, and for both lists at each look-up."""
    assert client.refused(Txattrwalk(file, 5, name)) is Errno.ENODATA


NO_NAMES = [
    (b"nothing", Errno.EOPNOTSUPP),
    (b"user.", Errno.EINVAL),
    (b"system.other", Errno.EOPNOTSUPP),
    (b"USER.a", Errno.EOPNOTSUPP),
    (b"user." + b"n" * 251, Errno.ERANGE),
]


@pytest.mark.parametrize(("name", "errno"), NO_NAMES)
def test_what_can_be_no_name_is_refused(
    client: Client, file: int, name: bytes, errno: Errno
) -> None:
    assert client.refused(Txattrwalk(file, 5, name)) is errno
    assert client.refused(Txattrcreate(file, name, 1, 0)) is errno


def test_the_longest_name_is_a_name(client: Client, file: int) -> None:
    client.setxattr(file, b"user." + b"n" * 250, b"value")


def test_reading_gives_parts(client: Client, file: int) -> None:
    client.setxattr(file, b"user.a", b"0123456789")
    assert client.call(Txattrwalk(file, 5, b"user.a")).size == 10
    assert client.read(5, 3, 4) == b"3456"
    assert client.read(5, 8, 100) == b"89"
    assert client.read(5, 2**64 - 1, 100) == b""


def test_a_reader_sees_the_value_as_it_was(client: Client, file: int) -> None:
    client.setxattr(file, b"user.a", b"old")
    client.call(Txattrwalk(file, 5, b"user.a"))
    client.setxattr(file, b"user.a", b"newer")
    assert client.read(5) == b"old"


def test_an_attribute_is_not_the_file(client: Client, file: int) -> None:
    client.setxattr(file, b"user.a", b"value")
    client.call(Txattrwalk(file, 5, b"user.a"))
    assert client.refused(Twrite(5, 0, b"x")) is Errno.EBADF
    writer = client.writer(file, b"user.a", 5)
    assert client.refused(Tread(writer, 0, 1)) is Errno.EBADF


def test_a_fid_cannot_read_its_own_attribute(client: Client, file: int) -> None:
    client.setxattr(file, b"user.a", b"value")
    assert client.refused(Txattrwalk(file, file, b"user.a")) is Errno.EINVAL


def test_reading_to_a_fid_in_use_clunks_what_it_was(client: Client, file: int) -> None:
    """T3"""
    client.setxattr(file, b"user.a", b"value")
    number = client.create(b"orphan")
    client.unlink(b"orphan")
    client.call(Txattrwalk(file, number, b"user.a"))
    assert client.read(number) == b"value"
    assert not client.server.filesystem.orphans


def test_a_value_takes_effect_when_it_is_clunked(client: Client, file: int) -> None:
    """T30: the errors of this clunk are the result of setxattr(2)."""
    writer = client.writer(file, b"user.a", 10)
    client.write(writer, b"01234")
    client.write(writer, b"56789", 5)
    assert client.refused(Txattrwalk(file, 5, b"user.a")) is Errno.ENODATA
    client.clunk(writer)
    assert client.getxattr(file, b"user.a") == b"0123456789"


def test_a_value_that_is_not_complete_is_not_set(client: Client, file: int) -> None:
    """T30: clunking it is EINVAL; the fid is gone all the same."""
    client.setxattr(file, b"user.a", b"old")
    writer = client.writer(file, b"user.a", 10)
    client.write(writer, b"012345678")
    with client.server.unchanged():
        assert client.refused(Tclunk(writer)) is Errno.EINVAL
    assert client.refused(Tclunk(writer)) is Errno.EBADF
    assert client.getxattr(file, b"user.a") == b"old"
    assert client.session.values_bytes == 0


def test_a_value_is_written_in_order_and_no_longer_than_announced(
    client: Client, file: int
) -> None:
    writer = client.writer(file, b"user.a", 4)
    assert client.refused(Twrite(writer, 1, b"x")) is Errno.EINVAL
    assert client.refused(Twrite(writer, 0, b"12345")) is Errno.EINVAL
    client.write(writer, b"12")
    assert client.refused(Twrite(writer, 0, b"12")) is Errno.EINVAL
    assert client.refused(Twrite(writer, 2, b"345")) is Errno.EINVAL
    client.write(writer, b"34", 2)
    client.clunk(writer)
    assert client.getxattr(file, b"user.a") == b"1234"


def test_flags_say_whether_it_may_be_there(client: Client, file: int) -> None:
    assert client.refused(Txattrcreate(file, b"user.a", 1, REPLACE)) is Errno.ENODATA
    client.setxattr(file, b"user.a", b"1", CREATE)
    assert client.refused(Txattrcreate(file, b"user.a", 1, CREATE)) is Errno.EEXIST
    client.setxattr(file, b"user.a", b"2", REPLACE)
    assert client.getxattr(file, b"user.a") == b"2"
    assert client.refused(Txattrcreate(file, b"user.a", 1, 4)) is Errno.EINVAL


def test_flags_hold_when_the_value_is_set(client: Client, other: Client, file: int) -> None:
    """T30: somebody else was faster."""
    writer = client.writer(file, b"user.a", 1, CREATE)
    client.write(writer, b"1")
    other.setxattr(other.walk(b"file"), b"user.a", b"2")
    assert client.refused(Tclunk(writer)) is Errno.EEXIST
    assert client.getxattr(file, b"user.a") == b"2"


@pytest.mark.parametrize("flags", [0, CREATE])
def test_an_empty_value_is_a_value(client: Client, file: int, flags: int) -> None:
    """T14: setxattr("") is size 0 with flags 0 or CREATE."""
    client.setxattr(file, b"user.a", b"", flags)
    assert client.getxattr(file, b"user.a") == b""
    assert client.getxattr(file, b"") == b"user.a\0"


def test_an_empty_value_to_replace_removes(client: Client, file: int) -> None:
    """T14: removexattr(2) is size 0 with REPLACE, and ENODATA if there is none."""
    client.setxattr(file, b"user.a", b"1")
    before = client.getattr(file)
    client.setxattr(file, b"user.a", b"", REPLACE)
    assert client.getxattr(file, b"") == b""
    assert client.getattr(file).ctime_s > before.ctime_s
    assert client.refused(Txattrcreate(file, b"user.a", 0, REPLACE)) is Errno.ENODATA


@pytest.mark.parametrize("name", [ACL, DEFAULT_ACL])
@pytest.mark.parametrize("flags", [0, CREATE, REPLACE])
def test_an_empty_access_list_removes_it(client: Client, name: bytes, flags: int) -> None:
    """T14: of a list, any empty value says so, and it need not be there."""
    client.mkdir(b"directory")
    directory = client.walk(b"directory")
    client.setxattr(directory, name, LIST)
    assert client.getxattr(directory, name) == LIST
    client.setxattr(directory, name, b"", flags)
    assert client.getxattr(directory, b"") == b""


@pytest.mark.parametrize("name", [ACL, DEFAULT_ACL])
def test_removing_a_list_that_is_not_there_is_a_change(client: Client, name: bytes) -> None:
    """Random calls found it: tmpfs notes the time (simple_set_acl), the server did not."""
    client.mkdir(b"directory")
    before = client.stat(b"directory")
    client.setxattr(client.walk(b"directory"), name, b"")
    after = client.stat(b"directory")
    assert after.ctime_s > before.ctime_s
    assert after.mtime_s == before.mtime_s


@pytest.mark.parametrize("flags", [0, CREATE, REPLACE])
def test_an_access_list_is_set_whether_there_is_one_or_not(
    client: Client, file: int, flags: int
) -> None:
    """As Linux does, which has no flags for lists (vfs_set_acl)."""
    for _ in range(2):
        client.setxattr(file, ACL, LIST, flags)
        assert client.getxattr(file, ACL) == LIST


def test_an_access_list_becomes_the_mode_and_the_mode_the_list(client: Client, file: int) -> None:
    client.setxattr(file, ACL, LIST)
    assert client.getattr(file).mode == 0o100760
    client.setattr(file, SETATTR_MODE, mode=0o640)
    assert client.getxattr(file, ACL) == access_list(
        (USER_OBJ, 6), (USER, 6, 5), (GROUP_OBJ, 4), (MASK, 4), (OTHER, 0)
    )


def test_an_access_list_that_is_no_more_than_a_mode_is_one(client: Client, file: int) -> None:
    client.setxattr(file, ACL, LIST)
    client.setxattr(file, ACL, access_list((USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 1)))
    assert client.getattr(file).mode == 0o100751
    assert client.getxattr(file, b"") == b""


@pytest.mark.parametrize(
    ("value", "errno"),
    [
        (b"\2\0\0", Errno.EINVAL),
        (LIST[:-1], Errno.EINVAL),
        (b"\3" + LIST[1:], Errno.EOPNOTSUPP),
        (access_list((USER_OBJ, 7), (USER, 7, 5), (GROUP_OBJ, 0), (OTHER, 0)), Errno.EINVAL),
    ],
)
def test_what_is_no_access_list_is_refused_when_it_is_complete(
    client: Client, file: int, value: bytes, errno: Errno
) -> None:
    """Anything was kept, which a client with ``posixacl`` then could not read: EIO at each stat."""
    writer = client.writer(file, ACL, len(value))
    client.write(writer, value)
    assert client.refused(Tclunk(writer)) is errno
    assert client.getxattr(file, b"") == b""


def test_only_a_directory_has_a_default_list(client: Client, file: int) -> None:
    writer = client.writer(file, DEFAULT_ACL, len(LIST))
    client.write(writer, LIST)
    assert client.refused(Tclunk(writer)) is Errno.EACCES


def test_what_is_made_in_a_directory_begins_with_its_default_list(client: Client) -> None:
    client.mkdir(b"directory")
    directory = client.walk(b"directory")
    client.setxattr(directory, DEFAULT_ACL, LIST)
    client.make(b"file", at=directory, mode=0o666)
    client.mkdir(b"below", at=directory, mode=0o755)
    client.mknod(b"fifo", 0o010600, at=directory)
    client.symlink(b"link", b"target", at=directory)
    narrowed = {
        b"file": (0o100660, (6, 6)),
        b"below": (0o040740, (7, 4)),
        b"fifo": (0o010600, (6, 0)),
    }
    for name, (mode, (owner, mask)) in narrowed.items():
        fid = client.walk(b"directory", name)
        assert client.getattr(fid).mode == mode
        assert client.getxattr(fid, ACL) == access_list(
            (USER_OBJ, owner), (USER, 6, 5), (GROUP_OBJ, 4), (MASK, mask), (OTHER, 0)
        )
    assert client.getxattr(client.walk(b"directory", b"below"), DEFAULT_ACL) == LIST
    assert client.getxattr(client.walk(b"directory", b"link"), b"") == b""


def test_anybody_may_remove_a_capability(client: Client, other: Client, file: int) -> None:
    """T14: whoever writes has to."""
    client.setxattr(file, b"security.capability", b"all")
    other.setxattr(other.walk(b"file"), b"security.capability", b"", REPLACE)
    assert client.getxattr(file, b"") == b""


def test_a_value_too_long_is_e2big(client: Client, file: int) -> None:
    for size in (65537, 2**63, 2**64 - 1):
        assert client.refused(Txattrcreate(file, b"user.a", size, 0)) is Errno.E2BIG


def test_names_are_no_more_than_a_list_can_show(client: Client, file: int) -> None:
    for index in range(256):
        client.setxattr(file, b"user.%03d" % index + b"n" * 247, b"")
    assert len(client.getxattr(file, b"")) == 65536
    assert client.refused(Txattrcreate(file, b"user.x", 0, 0)) is Errno.ENOSPC


def test_what_is_open_or_an_attribute_takes_no_value(client: Client, file: int) -> None:
    assert client.refused(Txattrcreate(client.open(b"file"), b"user.a", 1, 0)) is Errno.EINVAL
    writer = client.writer(file, b"user.a", 1)
    assert client.refused(Txattrcreate(writer, b"user.b", 1, 0)) is Errno.EINVAL


def test_an_unlinked_file_takes_attributes(client: Client) -> None:
    """T6: fsetxattr(2) walks from the open fid."""
    file = client.create(b"file")
    client.unlink(b"file")
    client.setxattr(file, b"user.a", b"value")
    assert client.getxattr(file, b"user.a") == b"value"


def test_values_take_room_and_give_it_back() -> None:
    """T21"""
    server = Server(Limits(size_bytes=64 << 10, inodes=10))
    client = server.connect()
    client.make(b"file")
    file = client.walk(b"file")
    empty = client.statfs()
    client.setxattr(file, b"user.a", b"v" * 50_000)
    assert client.statfs().bfree < empty.bfree - 10
    writer = client.writer(file, b"user.b", 20_000)
    client.write(writer, b"v" * 20_000)
    with server.unchanged():
        assert client.refused(Tclunk(writer)) is Errno.ENOSPC
    client.setxattr(file, b"user.a", b"", REPLACE)
    assert client.statfs() == empty
    server.verify()


# What a client can make us hold


def test_values_being_written_are_limited(
    client: Client, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "VALUES_BYTES_MAX", 100)
    one, two = client.writer(file, b"user.a", 60), client.writer(file, b"user.b", 60)
    client.write(one, b"v" * 60)
    assert client.refused(Twrite(two, 0, b"v" * 60)) is Errno.ENOMEM
    client.clunk(one)
    client.write(two, b"v" * 60)
    client.clunk(two)


def test_values_being_read_are_limited(
    client: Client, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fid for each, and the value replaced in between: 64 KiB for each of a million fids."""
    monkeypatch.setattr(session, "VALUES_BYTES_MAX", 100)
    client.setxattr(file, b"user.a", b"v" * 60)
    client.call(Txattrwalk(file, 5, b"user.a"))
    assert client.refused(Txattrwalk(file, 6, b"user.a")) is Errno.ENOMEM
    client.clunk(5)
    assert client.getxattr(file, b"user.a") == b"v" * 60


@pytest.mark.parametrize("way", ["walk", "remove", "version", "clunk"])
def test_values_that_will_not_be_set_are_forgotten(client: Client, file: int, way: str) -> None:
    """They were counted for ever, until the connection could set no attribute any more."""
    writer = client.writer(file, b"user.a", 100)
    client.write(writer, b"v" * 60)
    assert client.session.values_bytes == 60
    if way == "walk":
        client.call(Twalk(ROOT, writer, ()))
    elif way == "remove":
        client.call(Tremove(writer))
    elif way == "version":
        client.version()
    else:
        client.refused(Tclunk(writer))
    assert client.session.values_bytes == 0
