"""Scratch volumes: made by an attach, shared, and gone some time after the last."""

import gc

import pytest
from tests.client import GID, MSIZE_MAX, NS, ROOT, UID, Client, Server, messages_of

from ram9.protocol.codec import frame
from ram9.protocol.constants import NOFID, O_RDWR
from ram9.protocol.messages import (
    Rlerror,
    Tattach,
    Tclunk,
    Tgetattr,
    Tlink,
    Tlopen,
    Tmkdir,
    Tread,
    Treaddir,
    Tremove,
    Trename,
    Trenameat,
    Tstatfs,
    Tversion,
    Twalk,
    Twrite,
)
from ram9.server.config import Rules, Squash, TemplateConfig
from ram9.server.session import ENDED_MAX, FIDS_AT_ONCE
from ram9.storage.errors import Errno
from ram9.storage.inodes import Inode
from ram9.storage.permissions import Credentials

MIB = 1 << 20
JOB = b"scratch/job-42"
TEMPLATE = TemplateConfig(
    name="scratch",
    size_bytes_max=8 * MIB,
    total_bytes_max=32 * MIB,
    count_max=100,
    ttl_seconds_max=86400,
    grace_seconds=60,
    size_bytes=MIB,
    ttl_seconds=3600,
)


@pytest.fixture
def server(server: Server) -> Server:
    server.add_template(TEMPLATE)
    return server


def disconnect(client: Client) -> None:
    client.connection.close()


def pass_by(server: Server, seconds: int) -> None:
    server.clock.now_ns += seconds * NS
    server.sweep_templates()


def refusal(server: Server, aname: bytes, client: Client | None = None) -> tuple[Errno, str]:
    """Why an attach is refused, which makes nothing."""
    if client is None:
        client = server.stranger()
        client.version()
    before = list(server.volumes)
    errno = client.refused(Tattach(ROOT, NOFID, b"", aname, UID))
    assert list(server.volumes) == before
    event, fields = server.reports[-1]
    assert event == "attach refused"
    assert fields["aname"] == aname
    return errno, str(fields["reason"])


def test_naming_a_volume_makes_it(server: Server) -> None:
    client = server.connect(aname=JOB + b"?size=2MiB&ttl=1h")
    client.make(b"file", b"data")
    assert client.statfs().blocks == 2 * MIB // 4096
    other = server.connect(aname=JOB)
    assert other.read(other.open(b"file")) == b"data"
    assert [volume.name for volume in server.volumes] == [b"", JOB]


def test_each_user_of_a_mount_attaches_by_the_same_words(server: Server) -> None:
    client = server.stranger()
    client.version()
    for fid, uid in ((0, 2**32 - 1), (1, 0), (2, UID)):
        client.attach(fid, JOB + b"?size=2MiB&ttl=60s", uid)
    assert client.getattr(0).qid == client.getattr(2).qid


def test_a_directory_of_one_can_be_mounted(server: Server) -> None:
    client = server.connect(aname=JOB)
    client.mkdir(b"out")
    client.make(b"file", at=client.walk(b"out"))
    other = server.connect(aname=JOB + b"/out?size=1MiB")
    assert other.names() == [b"file"]
    assert refusal(server, JOB + b"/in") == (Errno.ENOENT, "no such directory")
    assert refusal(server, JOB + b"/../..")[0] is Errno.ENOENT


@pytest.mark.parametrize(
    ("aname", "errno", "reason"),
    [
        (b"scratch", Errno.ENOENT, "say which"),
        (b"scratch/", Errno.ENOENT, "say which"),
        (b"scratch?size=1MiB", Errno.ENOENT, "say which"),
        (b"scratch/..", Errno.ENOENT, "name '..' is none for a volume"),
        (b"scratch/a b", Errno.ENOENT, "name 'a b' is none for a volume"),
        (b"scratch/new/directory", Errno.ENOENT, "a new volume has no directories"),
        (b"scratch/new/..", Errno.ENOENT, "a new volume has no directories"),
        (b"scratch/new?", Errno.ENOENT, "parameter '' is none"),
        (b"scratch/new?colour=red", Errno.ENOENT, "parameter 'colour=red' is none"),
        (b"scratch/new?size=0", Errno.ENOENT, "size '0' must be more than 0"),
        (b"scratch/new?size=9MiB", Errno.EPERM, "size 9437184 is more than size-max 8388608"),
        (b"scratch/new?ttl=2d", Errno.EPERM, "ttl 172800 is more than ttl-max 86400"),
        (b"scratch/" + b"n" * 60000, Errno.ENOENT, "name 'nnn"),
        (b"scratch/new?" + b"n" * 60000, Errno.ENOENT, "parameters of more than 256 bytes"),
    ],
)
def test_what_cannot_be_had_is_refused_and_makes_nothing(
    server: Server, aname: bytes, errno: Errno, reason: str
) -> None:
    found, said = refusal(server, aname)
    assert found is errno
    assert said.startswith(reason)


def test_a_question_mark_elsewhere_is_part_of_a_name(server: Server) -> None:
    client = server.connect()
    client.mkdir(b"what?size=1")
    server.connect(aname=b"what?size=1")


def test_a_thousand_clients_stay_within_the_total(server: Server) -> None:
    refused = 0
    for number in range(1000):
        client = server.stranger()
        client.version()
        attach = Tattach(ROOT, NOFID, b"", b"scratch/job%d?size=2MiB" % number, UID)
        refused += isinstance(client.answer(attach), Rlerror)
    assert refused == 1000 - 16
    assert sum(volume.tenure is not None for volume in server.volumes) == 16
    assert refusal(server, b"scratch/one-more")[0] is Errno.ENOSPC


def test_nothing_is_made_for_whom_there_is_no_fid(server: Server) -> None:
    client = server.stranger()
    client.version()
    assert client.refused(Tattach(NOFID, NOFID, b"", JOB, UID)) is Errno.EBADF
    client.session.fids_total_max = 0
    assert client.refused(Tattach(ROOT, NOFID, b"", JOB, UID)) is Errno.ENFILE
    assert [volume.name for volume in server.volumes] == [b""]


def test_nothing_is_made_for_whom_the_user_database_does_not_know(server: Server) -> None:
    def fail(_uid: int) -> Credentials:
        raise OSError("the directory service does not answer")

    server.add_template(TEMPLATE, fail)
    assert refusal(server, JOB)[0] is Errno.EIO


def test_rules_of_the_template_hold_in_each(server: Server) -> None:
    rules = Rules(squash=Squash(1000, 100, everybody=True))
    server.add_template(TemplateConfig("public", MIB, MIB, 1, 60, 60, MIB, 60, rules))
    client = server.connect(aname=b"public/job")
    client.make(b"file")
    assert (client.stat(b"file").uid, client.stat(b"file").gid) == (1000, 100)


def test_a_volume_is_wiped_when_the_last_has_gone(server: Server) -> None:
    first, second = server.connect(aname=JOB), server.connect(aname=JOB)
    first.make(b"file", b"data")
    disconnect(first)
    pass_by(server, 120)
    assert second.exists(b"file")
    disconnect(second)
    pass_by(server, 50)
    assert server.connect(aname=JOB).exists(b"file")
    disconnect(server.clients[-1])
    pass_by(server, 60)
    assert [volume.name for volume in server.volumes] == [b""]
    assert not server.connect(aname=JOB).exists(b"file")


def test_who_clunks_all_uses_it_no_more(server: Server) -> None:
    """A connection may go on without: there is no umount in 9P."""
    client = server.connect(aname=JOB)
    file = client.create(b"file")
    client.clunk(ROOT)
    pass_by(server, 120)
    client.write(file, b"data")
    client.clunk(file)
    pass_by(server, 60)
    assert [volume.name for volume in server.volumes] == [b""]
    client.attach(ROOT, JOB)
    assert not client.exists(b"file")


def test_a_new_version_uses_nothing_any_more(server: Server) -> None:
    client = server.connect(aname=JOB)
    client.call(Tversion(MSIZE_MAX, b"9P2000.L"))
    pass_by(server, 60)
    assert [volume.name for volume in server.volumes] == [b""]


@pytest.fixture
def stale(server: Server) -> Client:
    """Somebody whose volume has ended: fids 1 to 4 are its root, an open file, a directory that
    is open, and a value that is being written."""
    client = server.connect(aname=JOB + b"?ttl=1h")
    client.make(b"file", b"data")
    client.call(Twalk(ROOT, 2, (b"file",)))
    client.call(Tlopen(2, O_RDWR))
    client.call(Twalk(ROOT, 3, ()))
    client.call(Tlopen(3, 0))
    client.call(Twalk(2, 4, ()))
    client.call(Twalk(ROOT, 1, ()))
    pass_by(server, 3600)
    return client


def test_what_has_ended_is_stale(stale: Client) -> None:
    for request in (
        Twalk(ROOT, 9, (b"file",)),
        Twalk(ROOT, 9, ()),
        Tgetattr(1, 0),
        Tstatfs(ROOT),
        Tread(2, 0, 10),
        Twrite(2, 0, b"data"),
        Treaddir(3, 0, 1000),
        Tmkdir(ROOT, b"new", 0o755, GID),
        Trenameat(ROOT, b"file", ROOT, b"new"),
        Trename(4, ROOT, b"new"),
        Tlink(ROOT, 2, b"new"),
    ):
        assert stale.refused(request) is Errno.ESTALE, request


def test_stale_fids_can_be_given_up(stale: Client, server: Server) -> None:
    before = server.counters.fids
    stale.clunk(1)
    assert stale.answer(Tremove(2)) == Rlerror(Errno.ESTALE)
    assert stale.answer(Tclunk(2)) == Rlerror(Errno.EBADF)
    assert server.counters.fids == before - 2
    stale.attach(2)
    assert stale.names(fid=2) == []


def test_a_mount_is_not_given_another_volume_by_the_name_of_the_one_that_ended(
    stale: Client, server: Server
) -> None:
    """Linux attaches a user that is new to a mount by the same words."""
    assert refusal(server, JOB + b"?ttl=1h", stale)[0] is Errno.ESTALE
    server.connect(aname=JOB).make(b"new")
    assert refusal(server, JOB, stale)[0] is Errno.ESTALE
    stale.attach(7, b"scratch/other")
    stale.version()
    stale.attach(ROOT, JOB)
    assert stale.names() == [b"new"]


def test_who_clunked_all_before_the_end_may_have_another_volume_by_that_name(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as somebody else used the volume, who no longer did was told, too, that it had ended
    while it was mounted, was counted as a client of it, and got no other one by its name."""
    caplog.set_level("INFO", "ram9")
    first, second = server.connect(aname=JOB), server.connect(aname=JOB)
    first.attach(5, JOB)
    first.clunk(ROOT)
    second.clunk(ROOT)
    pass_by(server, 3600)
    assert caplog.records[-1].__dict__["fields"]["clients"] == 1
    second.attach(ROOT, JOB)
    assert second.names() == []
    assert refusal(server, JOB, first)[0] is Errno.ESTALE


def test_other_volumes_of_the_connection_go_on(server: Server) -> None:
    client = server.connect()
    client.make(b"file", b"data")
    client.attach(5, JOB)
    client.make(b"file", at=5)
    pass_by(server, 3600)
    assert client.read(client.open(b"file")) == b"data"
    assert client.refused(Twalk(5, 9, (b"file",))) is Errno.ESTALE
    assert client.refused(Trenameat(ROOT, b"file", 5, b"new")) is Errno.EXDEV
    assert client.refused(Tlink(ROOT, 5, b"new")) is Errno.EXDEV


def test_nothing_is_done_between_the_end_and_the_last_portion(server: Server) -> None:
    """Fids become stale in portions, but none is used meanwhile."""
    client = server.connect(aname=JOB)
    for number in range(2 * FIDS_AT_ONCE):
        client.call(Twalk(ROOT, 10_000 + number, ()))
    writer = client.writer(client.walk(fid=10_000), b"user.a", 5)
    client.write(writer, b"value")
    server.clock.now_ns += 3600 * NS
    server.templates.sweep()
    server._soon.pop()()
    assert JOB not in server.volumes.named
    last = 10_000 + 2 * FIDS_AT_ONCE - 1
    assert client.session.fids[last].attachment.volume is not server.volumes.grave
    assert client.answer(Tmkdir(last, b"new", 0o755, GID)) == Rlerror(Errno.ESTALE)
    assert client.answer(Twalk(last, 9, (b"file",))) == Rlerror(Errno.ESTALE)
    client.clunk(writer)
    client.clunk(last)
    client.call(Tversion(MSIZE_MAX, b"9P2000.L"))
    server.finish()


def test_locks_end_with_the_volume(server: Server) -> None:
    holder = server.connect(aname=JOB)
    file = holder.create(b"file")
    holder.lock(file)
    waiting = server.connect(aname=JOB)
    waiting.server.waiting_locks.seconds_max = 10
    tag = waiting.wait_for_lock(waiting.open(b"file", flags=O_RDWR))
    pass_by(server, 3600)
    assert server.counters.locks == server.counters.waiting_locks == 0
    assert [answered for _, answered in waiting.late()] == [tag]


def test_a_write_that_arrives_too_late_is_stale(server: Server) -> None:
    client = server.connect(aname=JOB)
    file = client.create(b"file")
    large = Twrite(file, 4096, bytes(1 << 18))
    assert client.land(large) is not None
    client.arrive(100_000)
    pass_by(server, 3600)
    assert client.arrive() == Rlerror(Errno.ESTALE)
    assert client.land(large) is None
    client.buffer(large)
    assert client.arrive() == Rlerror(Errno.ESTALE)


def test_a_client_that_goes_in_the_middle_of_a_write_leaves_nothing(server: Server) -> None:
    client = server.connect(aname=JOB)
    file = client.create(b"file")
    assert client.land(Twrite(file, 4096, bytes(1 << 18))) is not None
    pass_by(server, 3600)
    disconnect(client)


def test_names_of_ended_volumes_are_not_remembered_for_ever(server: Server) -> None:
    client = server.connect()
    for number in range(ENDED_MAX + 10):
        client.attach(5, b"scratch/job%d?ttl=1" % number)
        pass_by(server, 1)
    assert len(client.session.ended) == ENDED_MAX


def test_nothing_of_a_volume_is_left(server: Server) -> None:
    """The server runs without a garbage collector."""
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, Inode) for each in gc.get_objects())
        for end in (60, 3600):
            client = server.connect(aname=JOB)
            client.mkdir(b"directory")
            for number in range(100):
                client.make(b"file%d" % number, b"data", at=client.walk(b"directory"))
            opened = client.open(b"directory", b"file5", flags=O_RDWR)
            client.unlink(b"file5", at=client.walk(b"directory"))
            client.lock(opened)
            if end == 60:
                disconnect(client)
            pass_by(server, end)
            disconnect(client)
            del client
            server.clients.clear()
        assert sum(isinstance(each, Inode) for each in gc.get_objects()) == before
    finally:
        gc.enable()


def test_requests_behind_the_attach_of_a_new_volume_are_for_it(server: Server) -> None:
    client = server.stranger()
    client.version()
    attach = frame(Tattach(ROOT, NOFID, b"", JOB, UID), 1)
    mkdir = frame(Tmkdir(ROOT, b"new", 0o755, GID), 2)
    assert len(messages_of(client.send(attach + mkdir))) == 2
    assert client.names() == [b"new"]
