"""Volumes that are read only: what is refused, when, and what is not."""

import stat
from collections.abc import Callable, Iterator

import pytest
from tests.client import GID, ROOT, UID, Client, Server, set_attributes

from ram9.protocol.constants import (
    AT_REMOVEDIR,
    NOFID,
    O_APPEND,
    O_DIRECTORY,
    O_EXCL,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    SETATTR_ALL,
    SETATTR_ATIME,
    SETATTR_GID,
    SETATTR_MODE,
    SETATTR_MTIME,
    SETATTR_SIZE,
    SETATTR_UID,
    XATTR_REPLACE,
)
from ram9.protocol.messages import (
    CODECS,
    Rlerror,
    Tattach,
    Tclunk,
    Tlcreate,
    Tlink,
    Tlopen,
    Tmkdir,
    Tmknod,
    Tremove,
    Trename,
    Trenameat,
    Tsetattr,
    Tsymlink,
    Tunlinkat,
    Twrite,
    Txattrcreate,
)
from ram9.server.connection import GUARDED, PROTECTED, VERSIONED
from ram9.server.dispatch import ACCESSES, PROTECTIONS
from ram9.storage.errors import Errno
from ram9.storage.permissions import Credentials

FULL = b"full"  # a directory with something in it


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.verify()


@pytest.fixture
def client(server: Server) -> Client:
    """One that made things before nothing could be changed any more."""
    client = server.connect()
    client.make(b"file", b"data", mode=0o4755)
    client.symlink(b"link", b"file")
    client.mknod(b"pipe", stat.S_IFIFO | 0o644)
    client.mkdir(FULL)
    client.mkdir(b"empty", at=client.walk(FULL))
    client.setxattr(client.walk(b"file"), b"user.a", b"value")
    server.protect(b"")
    return client


@pytest.mark.parametrize(
    "request_of",
    [
        lambda c: Tlopen(c.walk(b"file"), O_WRONLY),
        lambda c: Tlopen(c.walk(b"file"), O_RDWR),
        lambda c: Tlopen(c.walk(b"file"), O_RDONLY | O_TRUNC),
        lambda c: Tlopen(c.walk(b"file"), O_WRONLY | O_APPEND),
        lambda c: Tlcreate(c.walk(), b"new", O_RDONLY, 0o644, GID),
        lambda c: Tlcreate(c.walk(), b"new", O_RDWR | O_EXCL, 0o644, GID),
        lambda c: Tlcreate(c.walk(), b"file", O_WRONLY, 0o644, GID),
        lambda c: Tlcreate(c.walk(), b"file", O_RDONLY | O_TRUNC, 0o644, GID),
        lambda _: Tmkdir(ROOT, b"new", 0o755, GID),
        lambda _: Tsymlink(ROOT, b"new", b"file", GID),
        lambda _: Tmknod(ROOT, b"new", stat.S_IFIFO, 0, 0, GID),
        lambda c: Tlink(ROOT, c.walk(b"file"), b"new"),
        lambda c: Tlink(ROOT, c.walk(FULL), b"new"),
        lambda _: Tunlinkat(ROOT, b"file", 0),
        lambda _: Tunlinkat(ROOT, b"missing", 0),
        lambda _: Tunlinkat(ROOT, FULL, 0),
        lambda _: Tunlinkat(ROOT, FULL, AT_REMOVEDIR),
        lambda _: Tunlinkat(ROOT, b"file", AT_REMOVEDIR),
        lambda c: Tremove(c.walk(b"file")),
        lambda c: Tremove(c.walk(FULL)),
        lambda _: Trenameat(ROOT, b"file", ROOT, b"new"),
        lambda _: Trenameat(ROOT, b"missing", ROOT, b"new"),
        lambda _: Trenameat(ROOT, b"file", ROOT, b"file"),
        lambda c: Trename(c.walk(b"file"), ROOT, b"new"),
        lambda c: set_attributes(c.walk(b"file"), SETATTR_MODE, mode=0o600),
        lambda c: set_attributes(c.walk(b"link"), SETATTR_MODE, mode=0o600),
        lambda c: set_attributes(c.walk(b"file"), SETATTR_UID | SETATTR_GID, uid=1, gid=1),
        lambda c: set_attributes(c.walk(b"file"), SETATTR_ATIME),
        lambda c: set_attributes(c.walk(FULL), SETATTR_MTIME),
        lambda c: set_attributes(c.walk(b"file"), SETATTR_SIZE, size=4),
        lambda c: Txattrcreate(c.walk(b"file"), b"user.b", 5, 0),
        lambda c: Txattrcreate(c.walk(b"file"), b"user.a", 0, XATTR_REPLACE),
        lambda c: Txattrcreate(c.walk(b"file"), b"unknown.", 5, 0),
    ],
)
def test_nothing_is_changed(client: Client, request_of: Callable[[Client], Tlopen]) -> None:
    assert client.refused(request_of(client)) is Errno.EROFS


@pytest.mark.parametrize(
    ("request_of", "errno"),
    [
        (lambda c: Tlopen(c.walk(b"link"), O_WRONLY), Errno.ELOOP),
        (lambda c: Tlopen(c.walk(FULL), O_WRONLY), Errno.EISDIR),
        (lambda c: Tlopen(c.walk(b"file"), O_WRONLY | O_DIRECTORY), Errno.ENOTDIR),
        (lambda c: Tlopen(c.walk(b"pipe"), O_WRONLY), Errno.ENXIO),
        (lambda c: Tlcreate(c.walk(), b"file", O_RDWR | O_EXCL, 0o644, GID), Errno.EEXIST),
        (lambda c: Tlcreate(c.walk(), FULL, O_RDONLY, 0o644, GID), Errno.EISDIR),
        (lambda c: Tlcreate(c.walk(), b"n" * 256, O_RDWR, 0o644, GID), Errno.ENAMETOOLONG),
        (lambda c: Tlcreate(c.walk(b"file"), b"new", O_RDWR, 0o644, GID), Errno.ENOTDIR),
        (lambda c: Tlcreate(c.open(FULL), b"new", O_RDWR, 0o644, GID), Errno.EBUSY),
        (lambda _: Tmkdir(ROOT, FULL, 0o755, GID), Errno.EEXIST),
        (lambda _: Tmkdir(ROOT, b"..", 0o755, GID), Errno.EEXIST),
        (lambda c: Tmkdir(c.walk(b"file"), b"new", 0o755, GID), Errno.ENOTDIR),
        (lambda _: Tsymlink(ROOT, b"new", b"", GID), Errno.ENOENT),
        (lambda _: Tmknod(ROOT, b"new", stat.S_IFDIR, 0, 0, GID), Errno.EPERM),
        (lambda c: Tlink(ROOT, c.walk(b"file"), FULL), Errno.EEXIST),
        (lambda _: Tlink(ROOT, 99, b"new"), Errno.EBADF),
        (lambda _: Tunlinkat(ROOT, b".", 0), Errno.EISDIR),
        (lambda _: Tunlinkat(ROOT, b"..", AT_REMOVEDIR), Errno.ENOTEMPTY),
        (lambda _: Tunlinkat(ROOT, b"file", 1), Errno.EINVAL),
        (lambda c: Tunlinkat(c.walk(b"file"), b"a", 0), Errno.ENOTDIR),
        (lambda c: Tremove(c.walk()), Errno.EBUSY),
        (lambda _: Trenameat(ROOT, b"file", ROOT, b".."), Errno.EBUSY),
        (lambda c: Trenameat(ROOT, b"file", c.walk(b"file"), b"new"), Errno.ENOTDIR),
        (lambda c: Trename(c.walk(), ROOT, b"new"), Errno.EBUSY),
        (lambda c: set_attributes(c.walk(FULL), SETATTR_SIZE, size=0), Errno.EISDIR),
        (lambda c: set_attributes(c.walk(b"pipe"), SETATTR_SIZE, size=0), Errno.EINVAL),
        (lambda c: set_attributes(c.walk(b"file"), SETATTR_ALL + 1), Errno.EINVAL),
        (lambda c: Txattrcreate(c.walk(b"file"), b"user.b", 5, 8), Errno.EINVAL),
        (lambda c: Txattrcreate(c.walk(b"file"), b"user." + b"n" * 255, 5, 0), Errno.ERANGE),
        (lambda c: Txattrcreate(c.walk(b"file"), b"user.b", 65537, 0), Errno.E2BIG),
    ],
)
def test_what_is_refused_anyway_is_refused_for_that(
    client: Client, request_of: Callable[[Client], Tlopen], errno: Errno
) -> None:
    assert client.refused(request_of(client)) is errno


def test_what_changes_nothing_is_allowed(client: Client) -> None:
    assert client.read(client.open(b"file")) == b"data"
    opened = client.walk()
    client.call(Tlcreate(opened, b"file", O_RDONLY, 0o644, GID))
    assert client.read(opened) == b"data"
    assert client.names() == [b"file", b"link", b"pipe", FULL]
    assert client.readlink(client.walk(b"link")) == b"file"
    assert client.getxattr(client.walk(b"file"), b"user.a") == b"value"
    assert client.lock(opened) == 0
    assert client.statfs().files
    client.call(Tsetattr(client.walk(b"file"), 0, 0, 0, 0, 0, 0, 0, 0, 0))


def test_reading_leaves_no_trace(client: Client, server: Server) -> None:
    """Of anything that was changed since it was read last: only that moves an access time."""
    with server.unchanged():
        client.read(client.open(b"file"))
        client.readdir(client.open(FULL))
        client.readlink(client.walk(b"link"))


def test_reading_other_volumes_does(client: Client, server: Server) -> None:
    server.add(b"other")
    client.attach(2, b"other")
    client.make(b"file", b"data", at=2)
    file = client.open(b"file", fid=2)
    before = client.getattr(file)
    client.read(file)
    assert client.getattr(file).atime_s != before.atime_s
    client.unlink(b"file", at=2)


def test_a_fid_that_is_removed_is_gone_though_nothing_is(client: Client) -> None:
    file = client.walk(b"file")
    assert client.answer(Tremove(file)) == Rlerror(Errno.EROFS)
    assert client.answer(Tclunk(file)) == Rlerror(Errno.EBADF)
    assert client.exists(b"file")


def test_what_was_open_for_writing_before_writes_no_more(server: Server) -> None:
    client = server.connect()
    file = client.create(b"file", b"data")
    large = Twrite(file, 4096, bytes(1 << 18))
    writer = client.writer(client.walk(b"file"), b"user.a", 5)
    client.write(writer, b"value")
    server.protect(b"")
    assert client.refused(Twrite(file, 0, b"more")) is Errno.EROFS
    assert client.refused(set_attributes(file, SETATTR_SIZE, size=0)) is Errno.EROFS
    assert client.land(large) is None
    client.buffer(large)
    assert client.arrive() == Rlerror(Errno.EROFS)
    assert client.answer(Tclunk(writer)) == Rlerror(Errno.EROFS)
    assert client.answer(Tclunk(writer)) == Rlerror(Errno.EBADF)
    assert client.getxattr(file, b"") == b""


@pytest.mark.usefixtures("client")
def test_who_attaches_afterwards_is_told_so_too(server: Server) -> None:
    other = server.connect()
    assert other.session.protected
    assert other.refused(Tmkdir(ROOT, b"new", 0o755, GID)) is Errno.EROFS


def test_names_do_not_come_from_other_volumes(client: Client, server: Server) -> None:
    """Volumes are compared before the right to write for a rename, and behind it for a link."""
    server.add(b"other")
    client.attach(2, b"other")
    client.make(b"file", at=2)
    file = client.walk(b"file", fid=2)
    assert client.refused(Tlink(ROOT, file, b"new")) is Errno.EROFS
    assert client.refused(Trenameat(2, b"file", ROOT, b"new")) is Errno.EXDEV
    assert client.refused(Trenameat(ROOT, b"file", 2, b"new")) is Errno.EXDEV
    assert client.refused(Trename(client.walk(b"file"), 2, b"new")) is Errno.EXDEV


def nobody(uid: int) -> Credentials:
    return Credentials(uid, GID)


def test_where_users_are_checked_a_closed_directory_comes_first(server: Server) -> None:
    server.add(b"strict", nobody)
    owner = server.connect(aname=b"strict")
    owner.mkdir(b"private", mode=0o700)
    owner.make(b"file", at=owner.walk(b"private"))
    private = owner.walk(b"private")
    owner.call(Tattach(5, NOFID, b"", b"strict", UID + 1))
    stranger = owner.walk(b"private", fid=5)
    server.protect(b"strict")
    for name in (b"file", b"new"):
        create = Tlcreate(owner.walk(fid=stranger), name, O_RDWR, 0o644, GID)
        assert owner.refused(create) is Errno.EACCES
        assert owner.refused(Tunlinkat(stranger, name, 0)) is Errno.EACCES
    assert owner.refused(Tmkdir(stranger, b"new", 0o755, GID)) is Errno.EACCES
    assert owner.refused(Trenameat(stranger, b"file", private, b"new")) is Errno.EACCES
    assert owner.refused(Tmkdir(private, b"new", 0o755, GID)) is Errno.EROFS


def test_every_request_is_protected_from_or_changes_nothing() -> None:
    """A new one has to be looked at; that it changes nothing is to be said here."""
    changing = {request.__name__ for request in PROTECTIONS}
    harmless = {
        "Tattach Tauth Tflush Tfsync Tgetattr Tgetlock Tlock Tread Treaddir Treadlink",
        "Tstatfs Tversion Twalk Txattrwalk",
    }
    names = {name for line in harmless for name in line.split()}
    requests = {
        codec.message.__name__
        for codec in CODECS.values()
        if codec.message.__name__.startswith("T")
    }
    assert changing | names == requests
    assert not changing & names
    assert {request.__name__ for request in ACCESSES} <= names


def test_tables_of_those_who_need_no_protection_have_none() -> None:
    for request in (*PROTECTIONS, *ACCESSES):
        number = request.number
        assert PROTECTED[number][1] is not GUARDED[number][1]
    for request in ACCESSES:
        assert GUARDED[request.number][1] is VERSIONED[request.number][1]
