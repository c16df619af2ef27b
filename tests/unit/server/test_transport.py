"""One client's socket: batches, backlogs, and what is shared between clients."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.client import only
from tests.running_server import RunningServer, running
from tests.socket_client import attach_frame, version_frame, wait_until

from ram9.protocol.codec import frame
from ram9.protocol.constants import NOFID, NOTAG, O_RDWR, VERSION_9P2000_L
from ram9.protocol.frames import FrameBuffer
from ram9.protocol.messages import (
    Rlock,
    Rread,
    Tattach,
    Tflush,
    Tgetattr,
    Tlcreate,
    Tlopen,
    Tread,
    Tversion,
    Twalk,
    Twrite,
)
from ram9.server import pieces, transport
from ram9.server.connection import BATCH_REQUESTS_MAX, LARGE_FRAME_BYTES
from ram9.server.counters import Counters
from ram9.server.hub import Hub
from ram9.server.lingering import Lingering
from ram9.server.session import Session
from ram9.server.transport import ClientTransport
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import File
from ram9.storage.limits import Limits

UNIX = 1


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(size_bytes=1 << 20, inodes=100), lambda: 1)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def hub(loop: asyncio.AbstractEventLoop, filesystem: FileSystem) -> Hub:
    return Hub(loop, filesystem.disk.lent)


class Pair:
    """A transport over a socket pair, and its other end; *reasons* says why it was closed."""

    def __init__(self, hub: Hub, filesystem: FileSystem) -> None:
        self.ours, theirs = socket.socketpair()
        theirs.settimeout(0)
        self.counters = Counters()
        self.reasons: list[str] = []
        self.transport = ClientTransport(
            hub,
            theirs,
            Session(only(filesystem), self.counters),
            "peer",
            lambda _transport, reason: self.reasons.append(reason),
        )

    def close(self) -> None:
        self.ours.close()
        self.transport.close("the test is over")


@pytest.fixture
def pair(hub: Hub, filesystem: FileSystem) -> Iterator[Pair]:
    pair = Pair(hub, filesystem)
    yield pair
    pair.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running(tmp_path) as server:
        yield server


def test_a_close_is_told_once(pair: Pair, hub: Hub) -> None:
    pair.transport.close("first")
    pair.transport.close("second")
    assert not hub.transports
    assert pair.reasons == ["first"]
    assert pair.ours.recv(1) == b""


def test_a_reply_is_sent_in_the_step_that_received_the_request(pair: Pair) -> None:
    pair.ours.sendall(version_frame() + attach_frame())
    pair.transport._readable()
    frames = FrameBuffer(1 << 20).feed(pair.ours.recv(8192))
    assert [found[5:7] for found in frames] == [NOTAG.to_bytes(2, "little"), b"\0\0"]
    assert pair.counters.received_bytes == len(version_frame() + attach_frame())
    assert pair.counters.sent_bytes == sum(map(len, frames))


def test_being_told_too_early_is_well(pair: Pair) -> None:
    pair.transport._readable()  # there is nothing
    pair.transport.resume()  # it does not wait
    assert pair.transport.drain()
    assert not pair.reasons


def test_a_transport_that_waits_for_the_rest_of_a_frame_is_not_drained(pair: Pair) -> None:
    pair.ours.sendall(version_frame()[:10])
    assert not pair.transport.drain()
    assert not pair.transport.drain()
    pair.ours.sendall(version_frame()[10:])
    assert not pair.transport.drain()
    assert pair.transport.drain()


def test_a_closed_transport_is_drained(pair: Pair) -> None:
    pair.transport.close("gone")
    assert pair.transport.drain()
    pair.transport.resume()


def test_ten_thousand_requests_at_once_are_answered_in_order(server: RunningServer) -> None:
    client = server.client(UNIX)
    client.create(1, b"file")
    client.write(1, 0, b"data")
    requests = b"".join(
        frame(Tread(1, 0, 4) if number % 2 else Tgetattr(1, 0), number) for number in range(10_000)
    )
    sender = threading.Thread(target=client.send_bytes, args=[requests])
    sender.start()
    for number in range(10_000):
        assert client.receive()[0] == number
    sender.join()


def test_more_pieces_than_one_call_takes_arrive_in_order(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "IOV_MAX", 3)
    monkeypatch.setattr(pieces, "JOIN_BYTES_MAX", 10)
    client = server.client(UNIX)
    client.create(1, b"file")
    data = bytes(range(250)) * 40
    client.write(1, 0, data)
    client.send_all([Tread(1, at, 1000) for at in range(0, 9000, 90)])
    for number, at in enumerate(range(0, 9000, 90)):
        assert client.receive() == (number + 1, Rread(data[at : at + 1000]))
    assert server.call(lambda: server.hub.held_bytes) == 0


def test_a_batch_that_goes_out_in_parts_arrives_in_order(server: RunningServer) -> None:
    client = server.client(UNIX)
    client.create(1, b"file")
    size = 16_000  # each is a piece of its own, and the socket takes a dozen of them
    data = bytes(range(250)) * (2 * size // 250)
    client.write(1, 0, data)
    client.send_all([Tread(1, at, size) for at in range(200)])
    hub = server.hub
    wait_until(lambda: server.call(lambda: any(each._backlog for each in hub.transports)), "it")
    for at in range(200):
        assert client.receive() == (at + 1, Rread(data[at : at + size]))


@pytest.mark.usefixtures("caplog")  # they are reset, which is logged
def test_a_transport_leaves_nothing_with_the_hub(server: RunningServer) -> None:
    clients = [server.client(UNIX) for _ in range(3)]
    for client in clients:
        client.create(1, b"file")
        client.write(1, 0, bytes(900_000))
        client.send_all([Tread(1, 0, 900_000)] * 3)
    server.hang_up()
    hub = server.hub
    assert server.call(lambda: (hub.held_bytes, len(hub.transports), len(hub.lenders))) == (
        0,
        0,
        0,
    )


def test_what_was_kept_is_released_when_a_bad_frame_follows(pair: Pair, hub: Hub) -> None:
    """It was counted for ever: after some thousand such clients everybody got less."""
    pair.ours.sendall(frame(Tversion(1 << 20, VERSION_9P2000_L), NOTAG))
    pair.transport._readable()
    part = frame(Twrite(1, 0, bytes(31_000)), 1)
    pair.ours.sendall(part[:20_000])
    pair.transport._readable()
    assert hub.held_bytes == 20_000
    pair.ours.sendall(part[20_000:] + b"\xff" * 7)
    pair.transport._readable()
    assert len(pair.reasons) == 1
    assert hub.held_bytes == 0


# Lingering


def asks(pair: Pair, tag: int) -> None:
    pair.ours.sendall(frame(Tversion(8192, VERSION_9P2000_L), tag))


@pytest.fixture
def lingering(hub: Hub, pair: Pair) -> Pair:
    """A client that has just been served, by a server that lingers."""
    hub.lingers = True
    asks(pair, 1)
    pair.transport._readable()
    assert pair.ours.recv(100)[5] == 1
    return pair


def test_one_that_asks_again_at_once_is_waited_for(
    lingering: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LINGER_NS", 60 * 10**9)
    monkeypatch.setattr(transport, "LINGER_REQUESTS_MAX", 1)
    answered = []

    def ask_again() -> None:
        answered.append(lingering.ours.recv(100)[5])
        asks(lingering, 3)

    asks(lingering, 2)
    client = threading.Thread(target=ask_again)
    client.start()
    lingering.transport._readable()
    client.join()
    assert answered == [2]
    assert lingering.ours.recv(100)[5] == 3


def test_where_nothing_comes_less_is_waited_for(lingering: Pair) -> None:
    asks(lingering, 2)
    lingering.transport._readable()
    assert not lingering.transport._lingering.is_worth_it()


def test_one_that_goes_while_it_is_waited_for_is_closed(
    lingering: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LINGER_NS", 60 * 10**9)
    asks(lingering, 2)
    lingering.ours.shutdown(socket.SHUT_WR)
    lingering.transport._readable()
    assert lingering.reasons == ["closed by the client"]
    assert lingering.transport._hub.last_served is None


def test_nobody_is_waited_for_while_others_ask(
    lingering: Pair, hub: Hub, filesystem: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lingering, "is_worth_it", lambda _self: pytest.fail("it lingered"))
    other = Pair(hub, filesystem)
    for pair in (other, lingering, other):
        asks(pair, 2)
        pair.transport._readable()
    other.close()


def test_nobody_is_waited_for_while_one_with_several_requests_under_way_is_served(
    lingering: Pair, hub: Hub, filesystem: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only clients that were alone themselves were noticed, so that one who had 32 requests under
    way waited, between any two batches, for what another one might ask next."""
    monkeypatch.setattr(Lingering, "is_worth_it", lambda _self: pytest.fail("it lingered"))
    other = Pair(hub, filesystem)
    for _ in range(2):
        other.ours.sendall(3 * frame(Tflush(1), 3))
        other.transport._readable()
        asks(lingering, 2)
        lingering.transport._readable()
    other.close()


def test_nobody_is_waited_for_while_a_large_write_of_another_arrives(
    lingering: Pair, hub: Hub, filesystem: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lingering, "is_worth_it", lambda _self: pytest.fail("it lingered"))
    other = Pair(hub, filesystem)
    requests = [Tversion(1 << 20, VERSION_9P2000_L), Tattach(0, NOFID, b"", b"", 0)]
    head = frame(Twrite(0, 0, bytes(LARGE_FRAME_BYTES)), 2)[:1000]
    other.ours.sendall(b"".join(frame(request, 1) for request in requests) + head)
    other.transport._readable()
    for _ in range(2):
        asks(lingering, 2)
        lingering.transport._readable()
        other.ours.sendall(bytes(1000))
        other.transport._readable()
    other.close()


def test_one_whose_turn_is_over_is_not_waited_for(
    lingering: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the requests of a turn were counted: sixteen listings of a large directory, one after
    the other, had everybody else wait for 90 ms."""
    monkeypatch.setattr(transport, "TURN_NS", -1)
    monkeypatch.setattr(Lingering, "is_worth_it", lambda _self: pytest.fail("it lingered"))
    asks(lingering, 2)
    lingering.transport._readable()
    assert lingering.ours.recv(100)[5] == 2


def test_one_with_several_requests_under_way_is_not_waited_for(
    lingering: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lingering, "is_worth_it", lambda _self: pytest.fail("it lingered"))
    asks(lingering, 2)
    lingering.ours.sendall(3 * frame(Tflush(1), 3))
    lingering.transport._readable()


def test_large_reads_under_way_together_are_not_one_after_the_other(
    lingering: Pair, filesystem: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends a step, so that the last step of a batch looked like a single request."""
    monkeypatch.setattr(Lingering, "is_worth_it", lambda _self: pytest.fail("it lingered"))
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    filesystem.write(file, 0, bytes(40_000))
    requests = [
        Tversion(1 << 20, VERSION_9P2000_L),
        Tattach(0, NOFID, b"", b"", 0),
        Twalk(0, 1, (b"file",)),
        Tlopen(1, 0),
    ]
    lingering.ours.sendall(b"".join(frame(request, 1) for request in requests))
    lingering.transport._readable()
    lingering.ours.sendall(frame(Tread(1, 0, 20_000), 2) + frame(Tread(1, 20_000, 20_000), 3))
    lingering.transport._readable()
    assert lingering.counters.errors == {}
    assert lingering.counters.requests[Tread.number] == 2


def test_large_writes_under_way_together_are_not_one_after_the_other(
    lingering: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends a step: sixteen of 1 MiB were taken for a client that asks one after the other, and
    others waited for 8 ms."""
    monkeypatch.setattr(Lingering, "is_worth_it", lambda _self: pytest.fail("it lingered"))
    requests = [
        Tversion(1 << 20, VERSION_9P2000_L),
        Tattach(0, NOFID, b"", b"", 0),
        Tlcreate(0, b"file", O_RDWR, 0o644, 0),
    ]
    lingering.ours.sendall(b"".join(frame(request, 1) for request in requests))
    lingering.transport._readable()
    whole = frame(Twrite(0, 0, bytes(LARGE_FRAME_BYTES)), 2)
    lingering.ours.sendall(whole[:1000])
    lingering.transport._readable()
    lingering.ours.sendall(whole[1000:] + frame(Tflush(1), 3))
    lingering.transport._readable()
    assert lingering.counters.requests[Twrite.number] == 1
    assert lingering.counters.requests[Tflush.number] == 0


def test_a_late_answer_does_not_make_one_wait_for_memory_twice(hub: Hub, pair: Pair) -> None:
    """What waited twice was woken twice, and somebody else never."""
    pair.ours.sendall(frame(Tversion(1 << 20, VERSION_9P2000_L), NOTAG))
    pair.transport._readable()
    hub.arriving, hub.held_bytes = 1, hub.held_bytes_max + 1
    pair.ours.sendall(frame(Twrite(1, 0, bytes(100_000)), 1)[:50_000])
    pair.transport._readable()
    assert list(hub.waiting) == [pair.transport]
    with contextlib.suppress(BlockingIOError):
        while pair.transport._socket.send(bytes(100_000)):
            pass
    pair.transport._session.answer_late(2, Rlock(0))
    pair.transport._send_late()
    assert pair.transport._backlog
    pair.ours.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while received := pair.ours.recv(1 << 20):
            pass
    pair.transport._writable()
    assert pair.ours.recv(100) == frame(Rlock(0), 2)
    assert received
    assert list(hub.waiting) == [pair.transport]
    pair.transport.close("the test is over")
    assert not hub.waiting
    hub.arriving, hub.held_bytes = 0, 0


def test_one_that_died_in_the_middle_of_a_frame_is_found_out_by_the_sweep(pair: Pair) -> None:
    """Its locks stayed for two minutes: the loop tells of such an end only once, and then there
    were bytes to receive."""
    pair.ours.sendall(frame(Tversion(8192, VERSION_9P2000_L), NOTAG)[:9])
    pair.transport._readable()
    pair.ours.shutdown(socket.SHUT_WR)
    pair.transport.close_if_late()
    assert pair.reasons == ["closed by the client"]


def test_many_requests_of_one_client_are_answered_in_turns(
    pair: Pair, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,500 costly requests that arrived together kept everybody else waiting for six seconds."""
    monkeypatch.setattr(transport, "TURN_NS", 0)
    count = 10 * BATCH_REQUESTS_MAX
    pair.ours.sendall(frame(Tversion(8192, VERSION_9P2000_L), NOTAG))
    pair.ours.sendall(b"".join(frame(Tflush(0), tag) for tag in range(count)))
    turns: list[int] = []

    async def others() -> None:
        while pair.counters.requests[Tflush.number] < count:
            turns.append(pair.counters.requests[Tflush.number])
            await asyncio.sleep(0)

    loop.run_until_complete(asyncio.wait_for(others(), 20))
    steps = [after - before for before, after in pairwise([*turns, count])]
    assert max(steps) <= 2 * BATCH_REQUESTS_MAX
    replies = FrameBuffer(8192).feed(pair.ours.recv(1 << 20))
    assert [int.from_bytes(reply[5:7], "little") for reply in replies[1:]] == list(range(count))
    assert not pair.transport._rest


def test_after_a_large_write_whatever_follows_is_answered(server: RunningServer) -> None:
    """Its head is received alone, for the next is likely to be large, too; it may be anything."""
    client = server.client(UNIX)
    client.create(1, b"file")
    large = [bytes([number]) * 300_000 for number in range(1, 4)]
    requests = [
        Twrite(1, 0, large[0]),
        Twrite(1, 300_000, large[1]),
        Tgetattr(1, 0),
        Twrite(1, 600_000, large[2]),
        Twrite(1, 900_000, b"few"),
        Tread(1, 0, 5),
    ]
    sender = threading.Thread(target=client.send_all, args=[requests])
    sender.start()
    replies = [client.receive()[1] for _ in requests]
    sender.join()
    assert [type(reply).__name__ for reply in replies] == [
        "Rwrite",
        "Rwrite",
        "Rgetattr",
        "Rwrite",
        "Rwrite",
        "Rread",
    ]
    file = server.filesystem.lookup(server.filesystem.root, b"file")
    assert isinstance(file, File)
    assert file.content.read(0, 1 << 20) == b"".join(large) + b"few"
