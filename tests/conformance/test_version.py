"""Tversion, Tauth, Tattach, Tflush: how a session begins, and how it changes its mind."""

import pytest
from tests.client import ROOT, Client, Server, messages_of

from ram9.protocol.codec import frame
from ram9.protocol.constants import NOFID, NONUNAME, NOTAG, O_RDONLY
from ram9.protocol.messages import (
    Qid,
    Rflush,
    Rwalk,
    Tattach,
    Tauth,
    Tclunk,
    Tflush,
    Tgetattr,
    Tversion,
    Twalk,
    Txattrcreate,
)
from ram9.storage.errors import Errno


def test_the_smaller_msize_holds(server: Server) -> None:
    client = server.stranger()
    assert client.version(1 << 30).msize == 1 << 20
    assert client.version(4096).msize == 4096
    assert client.version(65560).msize == 65560


@pytest.mark.parametrize("version", [b"9P2000.L", b"9P2000.L.Google.12"])
def test_our_dialect_and_those_that_extend_it_are_answered_by_ours(
    server: Server, version: bytes
) -> None:
    assert server.stranger().version(8192, version).version == b"9P2000.L"


@pytest.mark.parametrize(
    "version", [b"9P2000", b"9P2000.u", b"9P2000.Lite", b"9P2001.L", b"", b"unknown", b"\xff"]
)
def test_another_dialect_is_answered_by_unknown(server: Server, version: bytes) -> None:
    """A server that answered 9P2000 by 9P2000.L would speak what its client never asked for."""
    client = server.stranger()
    assert client.version(8192, version).version == b"unknown"
    assert client.refused(Tattach(0, NOFID, b"", b"", 0)) is Errno.EPROTO
    assert server.reports[0][0] == "version refused"


@pytest.mark.parametrize("msize", [0, 1, 4095])
def test_an_msize_that_linux_would_not_mount_is_answered_by_unknown(
    server: Server, msize: int
) -> None:
    reply = server.stranger().version(msize)
    assert (reply.msize, reply.version) == (msize, b"unknown")


def test_before_a_version_nothing_else_is_answered(server: Server) -> None:
    client = server.stranger()
    assert client.refused(Tattach(0, NOFID, b"", b"", 0)) is Errno.EPROTO
    assert client.refused(Tflush(1)) is Errno.EPROTO


def test_version_begins_the_session_anew(client: Client, other: Client) -> None:
    """T24: a second Tversion clunks all fids, frees locks and orphans, forgets values."""
    file = client.create(b"file", b"x" * 5000)
    assert client.lock(file) == 0
    client.unlink(b"file")
    client.make(b"kept")
    kept = client.walk(b"kept")
    client.call(Txattrcreate(kept, b"user.a", 3, 0))
    client.version()
    assert client.refused(Tgetattr(file, 0)) is Errno.EBADF
    assert client.refused(Tgetattr(ROOT, 0)) is Errno.EBADF
    assert client.session.values_bytes == 0
    assert not client.session.locked
    assert not client.server.filesystem.orphans
    assert other.stat(b"kept").nlink == 1


def test_a_refused_version_ends_the_session_too(client: Client) -> None:
    client.version(8192, b"9P2000.u")
    assert client.refused(Tgetattr(ROOT, 0)) is Errno.EPROTO
    assert not client.session.fids


def test_auth_is_not_needed(client: Client) -> None:
    """diod's own tools (libnpclient) take ENOENT for "not needed", and any other refusal for the
    end: with EOPNOTSUPP, diodls could not list us."""
    assert client.refused(Tauth(1, b"u", b"", 0)) is Errno.ENOENT


def test_linux_mounts_as_nobody_without_a_number(server: Server) -> None:
    """T15: the first attach is "nobody" with NONUNAME, and refusing it refuses the mount."""
    client = server.stranger()
    client.version()
    qid = client.attach(ROOT, b"", NONUNAME, b"nobody")
    assert qid == Qid(0x80, qid.version, server.filesystem.root.number)
    client.make(b"file")
    assert client.stat(b"file").uid == 65534


def test_the_number_says_who_it_is_and_not_the_name(server: Server) -> None:
    client = server.stranger()
    client.version()
    client.attach(ROOT, b"", 1234, b"root")
    client.make(b"file")
    assert client.stat(b"file").uid == 1234


def test_the_name_root_is_known_without_a_number(server: Server) -> None:
    client = server.stranger()
    client.version()
    client.attach(ROOT, b"", NONUNAME, b"root")
    client.make(b"file")
    assert client.stat(b"file").uid == 0


@pytest.mark.parametrize("aname", [b"", b"/", b"//", b"/.", b"."])
def test_no_name_and_a_slash_are_the_root(client: Client, aname: bytes) -> None:
    assert client.attach(5, aname).path == client.server.filesystem.root.number


@pytest.mark.parametrize("aname", [b"a/b", b"/a/b", b"/a//b/", b"./a/./b"])
def test_a_directory_can_be_attached(client: Client, aname: bytes) -> None:
    client.mkdir(b"a")
    qid = client.mkdir(b"b", at=client.walk(b"a"))
    assert client.attach(5, aname).path == qid.path


@pytest.mark.parametrize(
    "aname", [b"..", b"/..", b"/a/..", b"/a/../..", b"a/b/../../..", b"../a", b"/a/../a"]
)
def test_dots_lead_nowhere_in_what_is_attached(client: Client, aname: bytes) -> None:
    """T27: ``aname=/a/../..`` must not climb."""
    client.mkdir(b"a")
    assert client.refused(Tattach(5, NOFID, b"", aname, 0)) is Errno.ENOENT


@pytest.mark.parametrize("aname", [b"none", b"file", b"file/x", b"link", b"a\0b", b"x" * 300])
def test_only_a_directory_that_is_there_can_be_attached(client: Client, aname: bytes) -> None:
    client.make(b"file")
    client.symlink(b"link", b"/")
    assert client.refused(Tattach(5, NOFID, b"", aname, 0)) is Errno.ENOENT


def test_an_afid_is_refused(client: Client) -> None:
    assert client.refused(Tattach(5, ROOT, b"", b"", 0)) is Errno.EINVAL


def test_nofid_cannot_be_attached(client: Client) -> None:
    """T25: NOFID stands for nothing, ever."""
    assert client.refused(Tattach(NOFID, NOFID, b"", b"", 0)) is Errno.EBADF


def test_attaching_a_fid_that_is_in_use_clunks_it(client: Client) -> None:
    """T3: Linux loses track of fids and uses their numbers again."""
    file = client.create(b"file")
    client.unlink(b"file")
    assert client.attach(file, b"").type == 0x80
    assert not client.server.filesystem.orphans
    assert client.server.counters.protocol_errors["fid in use"] == 1


def test_flush_is_never_refused(client: Client) -> None:
    assert client.call(Tflush(1)) == Rflush()
    assert client.call(Tflush(NOTAG)) == Rflush()


def test_a_flushed_request_was_answered_before(client: Client) -> None:
    """T2: a walk that is flushed is answered first, so that the client knows of its fid.

    Were the fid there and the answer not, the next walk to that number would fail for ever.
    """
    client.make(b"file")
    walk = frame(Twalk(ROOT, 50, (b"file",)), 1)
    replies = messages_of(client.send(walk + frame(Tflush(1), 2) + frame(Tflush(1), 3) + walk))
    assert [tag for _, tag in replies] == [1, 2, 3, 1]
    assert [type(reply) for reply, _ in replies] == [Rwalk, Rflush, Rflush, Rwalk]
    assert client.call(Tclunk(50)) is not None


def test_version_in_the_middle_of_a_batch_holds_for_what_follows(client: Client) -> None:
    file = client.open(flags=O_RDONLY)
    data = frame(Tversion(4096, b"9P2000.L"), NOTAG) + frame(Tgetattr(file, 0), 1)
    replies = messages_of(client.send(data))
    assert replies[0][0].msize == 4096
    assert replies[1][0].ecode == Errno.EBADF
