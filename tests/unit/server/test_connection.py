"""Frames in, replies out, without a socket."""

import pytest
from tests.client import ROOT, Client, Server, messages_of

from ram9.protocol.codec import Message, frame
from ram9.protocol.errors import ProtocolError
from ram9.protocol.frames import HEADER
from ram9.protocol.messages import (
    CODECS,
    Rlerror,
    Rread,
    Tclunk,
    Tgetattr,
    Tread,
    Treadlink,
    Twrite,
)
from ram9.server import connection
from ram9.server.pieces import Piece
from ram9.storage.errors import Errno


@pytest.fixture
def client() -> Client:
    return Server().connect()


def answer(client: Client, data: bytes) -> tuple[int, list[Piece]]:
    """How far one step goes, and what it replies."""
    replies: list[Piece] = []
    return client.connection.answer(memoryview(data), 0, len(data), replies), replies


def test_each_frame_gets_one_reply_in_order(client: Client) -> None:
    """T4: a second reply, or one with a tag that nobody waits for, ends a Linux mount."""
    data = b"".join(frame(Tgetattr(fid, 0), tag) for tag, fid in ((9, ROOT), (3, 99), (9, ROOT)))
    assert [tag for _, tag in messages_of(client.send(data))] == [9, 3, 9]


@pytest.mark.parametrize("cut", range(7 + 12))
def test_what_is_not_whole_waits(client: Client, cut: int) -> None:
    """T18: a frame may be split anywhere, in its header too."""
    whole = frame(Tgetattr(ROOT, 0), 1)
    stop, replies = answer(client, whole + whole[:cut])
    assert (stop, len(replies)) == (len(whole), 1)
    beginning = memoryview(whole)[:cut]
    expected = len(whole) if cut >= 7 else 0
    assert client.connection.expects(beginning, 0, cut) == expected


@pytest.mark.parametrize("size", [0, 6, (1 << 20) + 1, 2**32 - 1])
def test_what_has_no_size_of_a_frame_ends_the_connection(client: Client, size: int) -> None:
    """T18: nothing is held for it first."""
    data = HEADER.pack(size, Tclunk.number, 1) + bytes(20)
    assert answer(client, data) == (0, [])
    with pytest.raises(ProtocolError):
        client.connection.expects(memoryview(data), 0, 4)


def test_before_a_version_frames_are_small() -> None:
    """T18: until msize is agreed on, a stranger can make us hold 8 KiB."""
    stranger = Server().stranger()
    data = memoryview(HEADER.pack(8193, 100, 0))
    with pytest.raises(ProtocolError):
        stranger.connection.expects(data, 0, len(data))


def test_a_complete_frame_is_not_waited_for(client: Client) -> None:
    whole = frame(Tgetattr(ROOT, 0), 1)
    assert client.connection.expects(memoryview(whole), 0, len(whole)) == 0


@pytest.mark.parametrize("kind", [0, 6, 7, 101, 106, 107, 121, 255])
def test_what_is_no_request_is_not_supported(client: Client, kind: int) -> None:
    """Replies and the requests of other dialects, whatever their bodies are."""
    for body in (b"", b"x" * 30):
        request = HEADER.pack(7 + len(body), kind, 5) + body
        assert client.exchange(request, 5) == Rlerror(Errno.EOPNOTSUPP)
    assert client.server.counters.errors[kind, Errno.EOPNOTSUPP] == 2


@pytest.mark.parametrize("body", [b"", b"\1\0\0", b"\0\0\0\0more"])
def test_a_malformed_body_is_einval_and_counted(client: Client, body: bytes) -> None:
    """T18: well framed, so that the connection lives on."""
    counters = client.server.counters
    request = HEADER.pack(7 + len(body), Tclunk.number, 5) + body
    assert client.exchange(request, 5) == Rlerror(Errno.EINVAL)
    assert counters.protocol_errors["malformed message"] == 1
    assert counters.errors[Tclunk.number, Errno.EINVAL] == 1
    assert client.getattr(ROOT).mode


@pytest.mark.parametrize("request_", [Twrite(5, 0, b"data"), Tread(5, 0, 1)])
def test_a_count_that_is_not_that_of_the_data_is_malformed(
    client: Client, request_: Message
) -> None:
    """T18: the count of a Twrite is not believed."""
    file = client.create(b"file")
    assert file != 5
    whole = bytearray(frame(request_, 5))
    whole[19] ^= 0x40
    reply = client.exchange(bytes(whole), 5)
    expected = Errno.EINVAL if isinstance(request_, Twrite) else Errno.EBADF
    assert reply == Rlerror(expected)


def broken(*_: object) -> Message:
    raise KeyError("a bug")


def test_a_bug_is_eio_told_and_counted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """T5: an exception that has no errno must not become 0, which Linux takes for success."""
    told: list[Exception] = []
    rows = list(connection.VERSIONED)
    rows[Tgetattr.number] = (rows[Tgetattr.number][0], broken)
    monkeypatch.setattr(connection, "VERSIONED", rows)
    client.session.on_bug = told.append
    assert client.answer(Tgetattr(ROOT, 0)) == Rlerror(Errno.EIO)
    assert [type(error) for error in told] == [KeyError]
    assert client.server.counters.internal_errors == 1
    client.session.on_bug = None
    assert client.answer(Tgetattr(ROOT, 0)) == Rlerror(Errno.EIO)
    assert client.server.counters.internal_errors == 2
    assert client.exists()


def test_every_errno_is_one_that_linux_knows() -> None:
    """T5: 0 is success to Linux, and beyond 4095 there is no error."""
    assert all(1 <= errno <= 4095 for errno in Errno)
    assert CODECS[7].message is Rlerror


def test_a_step_ends_when_its_replies_are_many(client: Client) -> None:
    """T19: what a client asks for and does not read is bounded; the rest is asked for again."""
    file = client.create(b"file", b"x" * 8000)
    request = frame(Tread(file, 0, 8000), 1)
    client.connection.batch_bytes_max = 20_000
    stop, replies = answer(client, request * 10)
    assert stop == 3 * len(request)
    assert sum(map(len, replies)) == 3 * 8011
    assert len(messages_of(client.send(request * 10))) == 10


def test_small_replies_count_too(client: Client) -> None:
    """T19"""
    request = frame(Tgetattr(ROOT, 0), 1)
    client.connection.batch_bytes_max = 3200
    stop, replies = answer(client, request * 200)
    assert len(replies) == 3200 // 160
    assert stop == len(replies) * len(request)


@pytest.mark.parametrize(("fid", "limit"), [(0, 10_000), (1, 500)])
def test_whatever_a_reply_holds_is_counted(client: Client, fid: int, limit: int) -> None:
    """T19: 23,000 requests to read a link of 4,095 bytes made us hold 32 MiB for each client."""
    client.symlink(b"link", b"x" * 4000)
    fid += client.walk(b"link")  # the link, or a fid that there is not
    client.connection.batch_bytes_max = limit
    _, replies = answer(client, frame(Treadlink(fid), 1) * 2000)
    largest = max(map(len, replies))
    assert limit <= sum(map(len, replies)) < limit + largest


def test_a_view_of_a_file_ends_a_step(client: Client) -> None:
    """It is good until the next request, which may change the file."""
    file = client.create(b"file", b"x" * 100_000)
    data = frame(Tread(file, 0, 50_000), 1) + frame(Twrite(file, 0, b"y" * 9), 2)
    stop, replies = answer(client, data)
    assert type(replies[-1]) is memoryview
    assert stop == len(data) - 32
    found, _ = messages_of(b"".join(replies))[0]
    assert isinstance(found, Rread)
    assert bytes(found.data) == b"x" * 50_000


def test_reads_that_follow_each_other_are_answered_in_one_step(client: Client) -> None:
    """None of them changes what the others lend."""
    file = client.create(b"file", b"x" * 100_000)
    reads = [frame(Tread(file, at, 20_000), tag) for tag, at in enumerate((0, 20_000, 40_000))]
    data = b"".join(reads) + frame(Tgetattr(ROOT, 0), 9)
    stop, replies = answer(client, data)
    assert [type(reply) for reply in replies] == [bytes, memoryview] * 3
    assert stop == sum(map(len, reads))


def test_a_step_ends_with_its_turn(client: Client) -> None:
    """Sixty-four requests that take milliseconds each were one step."""
    timed = connection.Connection(client.session, lambda: 100)
    requests = memoryview(frame(Tgetattr(ROOT, 0), 1) * 60)
    size = len(requests) // 60
    for turn_ends_ns, answered in ((100, 60), (99, 7)):
        timed.turn_ends_ns = turn_ends_ns
        replies: list[Piece] = []
        assert timed.answer(requests, 0, len(requests), replies) == answered * size
        assert len(replies) == answered


def test_requests_are_counted_by_number(client: Client) -> None:
    requests = client.server.counters.requests
    before = requests[Tgetattr.number], requests[Twrite.number]
    client.getattr(ROOT)
    file = client.create(b"file")
    client.land(Twrite(file, 0, b"x" * 40_000))
    client.arrive()
    assert (requests[Tgetattr.number], requests[Twrite.number]) == (before[0] + 1, before[1] + 1)


def test_a_landing_that_meets_a_bug_is_eio(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """T5"""
    file = client.create(b"file")
    client.land(Twrite(file, 0, b"x" * 40_000))
    monkeypatch.setattr(type(client.server.filesystem), "commit", broken)
    client.session.on_bug = None
    assert client.arrive() == Rlerror(Errno.EIO)
    assert client.server.counters.errors[Twrite.number, Errno.EIO] == 1


def test_closing_frees_everything(client: Client) -> None:
    """T20: fids, locks, orphans, values, and a write that is still arriving."""
    server = client.server
    before = server.connect(uid=1).statfs()
    file = client.create(b"file", b"x" * 10_000)
    client.lock(file)
    client.unlink(b"file")
    client.writer(ROOT, b"user.a", 100)
    client.land(Twrite(file, 10_240, b"x" * 40_000))
    client.arrive(100)
    client.connection.close()
    client.connection.close()
    assert server.clients[-1].statfs() == before
    assert not server.filesystem.orphans
    server.verify()
