"""Several volumes behind one server, and behind one connection."""

import stat

import pytest
from tests.client import GID, ROOT, UID, Client, Server, messages_of, set_attributes

from ram9.protocol.codec import frame
from ram9.protocol.constants import NOFID, O_WRONLY, SETATTR_GID, SETATTR_MODE, SETATTR_UID
from ram9.protocol.messages import (
    Rlerror,
    Rwrite,
    Tattach,
    Tlink,
    Tlopen,
    Tmkdir,
    Tmknod,
    Trename,
    Trenameat,
    Tstatfs,
    Tunlinkat,
    Tversion,
    Twalk,
    Twrite,
    Txattrcreate,
)
from ram9.server.config import Squash
from ram9.storage.errors import Errno
from ram9.storage.permissions import Credentials

DATA = bytes(1 << 16)
BUILDS = 2  # a fid: the root of the volume of that name


@pytest.fixture
def client(server: Server) -> Client:
    """One that has attached to both volumes."""
    server.add(b"builds")
    client = server.connect()
    client.attach(BUILDS, b"builds")
    return client


def test_each_volume_has_files_of_its_own(client: Client) -> None:
    client.make(b"file", b"here")
    client.make(b"file", b"there", at=BUILDS)
    assert client.read(client.open(b"file")) == b"here"
    assert client.read(client.open(b"file", fid=BUILDS)) == b"there"


def test_a_subtree_of_a_volume_can_be_mounted(client: Client, server: Server) -> None:
    client.mkdir(b"today", at=BUILDS)
    client.make(b"file", b"data", at=client.walk(b"today", fid=BUILDS))
    other = server.connect(aname=b"builds/today")
    assert other.read(other.open(b"file")) == b"data"
    assert other.qid(b"..") == other.getattr(ROOT).qid


def test_the_root_of_a_volume_leads_nowhere_up(client: Client) -> None:
    assert client.qid(b"..", fid=BUILDS) == client.getattr(BUILDS).qid


def test_what_is_not_there_cannot_be_attached(client: Client, server: Server) -> None:
    attach = Tattach(9, NOFID, b"", b"builds/tomorrow", UID)
    assert client.refused(attach) is Errno.ENOENT
    assert server.reports[-1][1]["reason"] == "no such directory"
    default = server.volumes.named.pop(b"")
    assert client.refused(Tattach(9, NOFID, b"", b"tomorrow", UID)) is Errno.ENOENT
    assert server.reports[-1][1]["reason"] == "no such volume"
    server.volumes.named[b""] = default


def test_names_do_not_lead_from_one_volume_to_another(client: Client) -> None:
    client.make(b"file")
    client.make(b"other", at=BUILDS)
    file = client.walk(b"file")
    assert client.refused(Tlink(BUILDS, file, b"link")) is Errno.EXDEV
    assert client.refused(Trenameat(ROOT, b"file", BUILDS, b"moved")) is Errno.EXDEV
    assert client.refused(Trename(file, BUILDS, b"moved")) is Errno.EXDEV
    assert client.refused(Trenameat(ROOT, b"none", BUILDS, b".")) is Errno.EXDEV


def test_what_cannot_be_a_link_there_is_refused_for_that_first(client: Client) -> None:
    """do_linkat looks for the new name before it compares the mounts (fs/namei.c)."""
    client.make(b"file")
    client.make(b"other", at=BUILDS)
    file, other = client.walk(b"file"), client.walk(b"other", fid=BUILDS)
    assert client.refused(Tlink(BUILDS, file, b"other")) is Errno.EEXIST
    assert client.refused(Tlink(other, file, b"link")) is Errno.ENOTDIR
    assert client.refused(Trenameat(ROOT, b"file", other, b"moved")) is Errno.ENOTDIR
    assert client.refused(Trenameat(file, b"file", BUILDS, b"moved")) is Errno.ENOTDIR


def test_subtrees_of_one_volume_are_one_volume(client: Client) -> None:
    client.mkdir(b"today", at=BUILDS)
    client.attach(3, b"builds/today")
    client.make(b"file", b"data", at=3)
    client.call(Trenameat(3, b"file", BUILDS, b"moved"))
    client.call(Tlink(3, client.walk(b"moved", fid=BUILDS), b"link"))
    assert client.read(client.open(b"link", fid=3)) == b"data"


def test_a_full_volume_leaves_the_others_their_room(client: Client) -> None:
    full, other = client.create(b"file"), client.create(b"file", at=BUILDS)
    while isinstance(reply := client.answer(Twrite(full, client.getattr(full).size, DATA)), Rwrite):
        assert reply.count
    assert Errno(reply.ecode) is Errno.ENOSPC
    assert client.write(other, DATA) == len(DATA)
    assert client.statfs().bavail == 0
    assert client.call(Tstatfs(BUILDS)).bavail > 0


def nobody(uid: int) -> Credentials:
    return Credentials(uid, GID)


def test_where_users_are_checked_is_up_to_each_volume(server: Server) -> None:
    server.add(b"strict", nobody)
    server.volumes.named[b"strict"].filesystem.root.mode = 0o40700
    trusted = server.connect()
    assert not trusted.session.guarded
    trusted.attach(BUILDS, b"strict")
    assert trusted.session.guarded
    assert trusted.refused(Tmkdir(BUILDS, b"new", 0o755, GID)) is Errno.EACCES
    trusted.mkdir(b"private", mode=0o700)
    other = server.connect(uid=UID + 1)
    other.attach(BUILDS, b"strict")
    other.mkdir(b"new", at=other.walk(b"private"))


def test_requests_behind_an_attach_are_checked_though_they_came_with_it(server: Server) -> None:
    """Who answers was chosen once for all requests that arrive together."""
    server.add(b"strict", nobody)
    server.volumes.named[b"strict"].filesystem.root.mode = 0o40700
    client = server.connect()
    attach = frame(Tattach(BUILDS, NOFID, b"", b"strict", UID), 1)
    mkdir = frame(Tmkdir(BUILDS, b"new", 0o755, GID), 2)
    [(_, _), (refusal, _)] = messages_of(client.send(attach + mkdir))
    assert refusal == Rlerror(Errno.EACCES)


def test_a_new_version_begins_without_checks(server: Server) -> None:
    server.add(b"strict", nobody)
    client = server.connect(aname=b"strict")
    client.call(Tversion(8192, b"9P2000.L"))
    assert not client.session.guarded


NOBODY = 65534


@pytest.fixture
def squashed(server: Server) -> Client:
    """Root of a client that is nobody to the server, with a file of its own and one of UID's."""
    volume = server.add(b"public", squash=Squash())
    owner = server.connect(aname=b"public")
    owner.mkdir(b"theirs", mode=0o755)
    owner.make(b"file", b"data", mode=0o644, at=owner.walk(b"theirs"))
    assert volume.filesystem.root.mode == 0o41777
    client = server.connect(uid=0, aname=b"public")
    client.make(b"mine", b"data", mode=0o600)
    return client


def test_root_is_squashed_to_nobody(squashed: Client) -> None:
    made = squashed.stat(b"mine")
    assert (made.uid, made.gid) == (NOBODY, NOBODY)
    squashed.mkdir(b"directory")
    assert squashed.stat(b"directory").gid == NOBODY
    squashed.symlink(b"link", b"mine")
    assert squashed.stat(b"link").gid == NOBODY


def test_squashed_root_may_do_what_nobody_may(squashed: Client) -> None:
    """Its client believes that it may do everything, and checks nothing: the policy is trust."""
    theirs = squashed.walk(b"theirs")
    file = squashed.walk(b"theirs", b"file")
    assert squashed.refused(Tmkdir(theirs, b"new", 0o755, 0)) is Errno.EACCES
    assert squashed.refused(Tunlinkat(theirs, b"file", 0)) is Errno.EACCES
    assert squashed.refused(Tlopen(squashed.walk(b"theirs", b"file"), O_WRONLY)) is Errno.EACCES
    assert squashed.refused(set_attributes(file, SETATTR_MODE, mode=0o777)) is Errno.EPERM
    assert squashed.refused(set_attributes(file, SETATTR_UID, uid=0)) is Errno.EPERM
    mine = squashed.walk(b"mine")
    assert squashed.refused(set_attributes(mine, SETATTR_UID, uid=0)) is Errno.EPERM
    assert squashed.refused(set_attributes(mine, SETATTR_GID, gid=0)) is Errno.EPERM
    device = Tmknod(ROOT, b"device", stat.S_IFBLK | 0o600, 8, 0, 0)
    assert squashed.refused(device) is Errno.EPERM
    assert squashed.refused(Txattrcreate(mine, b"trusted.a", 1, 0)) is Errno.EPERM
    assert squashed.read(squashed.open(b"theirs", b"file")) == b"data"
    squashed.setattr(mine, SETATTR_MODE, mode=0o644)


def test_users_are_themselves_where_root_is_squashed(server: Server, squashed: Client) -> None:
    user = server.connect(aname=b"public")
    assert not user.session.guarded
    assert user.stat(b"theirs", b"file").uid == UID
    assert squashed.session.guarded


def test_everybody_is_somebody_else_where_all_are_squashed(server: Server) -> None:
    server.add(b"public", squash=Squash(1000, 100, everybody=True))
    client = server.connect(uid=UID, aname=b"public")
    client.make(b"file")
    other = server.connect(uid=0, aname=b"public")
    other.make(b"other")
    for name in (b"file", b"other"):
        assert (client.stat(name).uid, client.stat(name).gid) == (1000, 100)
    other.unlink(b"file")
    assert other.refused(Tmknod(ROOT, b"d", stat.S_IFBLK | 0o600, 8, 0, 0)) is Errno.EPERM


def test_squashed_users_need_no_user_database(server: Server) -> None:
    def fail(_uid: int) -> Credentials:
        raise OSError("the directory service does not answer")

    server.add(b"public", fail, squash=Squash())
    client = server.connect(uid=0, aname=b"public")
    assert client.refused(Tattach(9, NOFID, b"", b"public", UID)) is Errno.EIO


def test_two_who_are_squashed_differently_share_one_connection(server: Server) -> None:
    """Linux attaches each user of a mount over the same one."""
    server.add(b"public", squash=Squash())
    client = server.connect(uid=UID, aname=b"public")
    client.mkdir(b"private", mode=0o700)
    client.attach(5, b"public", 0)
    assert client.refused(Twalk(client.walk(b"private", fid=5), 6, (b"x",))) is Errno.EACCES
    client.mkdir(b"below", at=client.walk(b"private"))
