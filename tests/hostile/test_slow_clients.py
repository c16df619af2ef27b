"""Clients that do not read, do not write, or go away in the middle: only they suffer."""

import socket
import struct
import threading
from collections.abc import Callable

import pytest
from tests.hostile.clock import Clock
from tests.running_server import MIB, RunningServer
from tests.socket_client import (
    READ_BYTES_MAX,
    WRITE_BYTES_MAX,
    SocketClient,
    pattern,
    version_frame,
)

from ram9.protocol.codec import frame
from ram9.protocol.messages import Rread, Tclunk, Tread, Twrite
from ram9.server import transport
from ram9.storage.filesystem import FileSystem

UNIX = 1  # a unix socket takes 200 KiB that nobody reads; TCP takes some MiB
READS = 300

Reasons = Callable[[str], list[str]]


@pytest.mark.parametrize(("where", "reads"), [(0, READS), (UNIX, 30)], ids=["TCP", "unix"])
def test_one_that_never_reads_is_held_off_and_then_gets_every_byte(
    server: RunningServer, bystander: SocketClient, where: int, reads: int
) -> None:
    client = server.client(where, receive_buffer_bytes=64 << 10)
    client.create(1, b"file")
    data = pattern(READ_BYTES_MAX, 1)
    half = WRITE_BYTES_MAX // 2
    client.write(1, 0, data[:half])
    client.write(1, half, data[half:])
    client.send_all([Tread(1, 0, READ_BYTES_MAX)] * reads)
    server.wait_for_paused(1)
    for _ in range(20):
        assert bystander.read(1, 0, 6) == b"before"
        assert server.call(lambda: server.hub.held_bytes) < 2 * MIB
    for number in range(reads):
        tag, reply = client.receive()
        assert tag == 1 + number
        assert isinstance(reply, Rread)
        assert reply.data == data
    assert server.call(lambda: server.hub.held_bytes) == 0


def test_one_that_never_reads_small_replies_is_held_off(server: RunningServer) -> None:
    client = server.client(UNIX)
    client.create(1, b"file")
    client.write(1, 0, bytes(4096))
    requests = b"".join(frame(Tread(1, 0, 4096), 1) for _ in range(1000))
    sender = threading.Thread(target=client.send_bytes, args=[requests * 10])
    sender.start()
    server.wait_for_paused(1)
    assert server.call(lambda: server.hub.held_bytes) < MIB
    for _ in range(10_000):
        client.reply(Rread)
    sender.join()


def test_one_that_never_reads_and_goes_is_forgotten(server: RunningServer) -> None:
    client = server.client(UNIX)
    client.create(1, b"file")
    client.write(1, 0, bytes(500_000))
    client.send_all([Tread(1, 0, 500_000)] * 10)
    server.wait_for_paused(1)
    client.close()
    server.wait_for_connections(1)
    assert server.call(lambda: server.hub.held_bytes) == 0
    assert server.filesystem.disk.lent == {}


LATE = "a request took more than 120 s to arrive"


@pytest.mark.parametrize("data", [b"", b"\x15", version_frame()[:-1], version_frame(100)])
def test_one_that_never_agrees_on_a_version_is_closed_in_time(
    server: RunningServer, clock: Clock, reasons: Reasons, data: bytes
) -> None:
    client = server.connect()
    client.send_bytes(data)
    server.wait_for_connections(2)
    clock.pass_seconds(119)
    assert server.counters.connections == 2
    clock.pass_seconds(2)
    assert client.is_cut_off()
    assert reasons("gone") == [LATE]
    assert server.counters.protocol_errors == {"late frame": 1}


def test_the_limit_is_what_closes_a_silent_client(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FRAME_SECONDS_MAX", 0.05)
    assert server.connect().is_cut_off()  # by the server's own sweep, once a second
    assert server.counters.protocol_errors == {"late frame": 1}


def test_one_that_agreed_on_a_version_may_be_silent_for_ever(
    server: RunningServer, clock: Clock
) -> None:
    client = server.client()
    clock.pass_seconds(1e9)
    client.create(1, b"file")


def test_one_that_sends_a_byte_a_minute_is_closed(
    server: RunningServer, clock: Clock, reasons: Reasons
) -> None:
    client = server.client()
    client.create(1, b"file")
    request = frame(Twrite(1, 0, b"slow"), 1)
    for byte in request[:3]:
        assert server.counters.connections == 2
        due = server.counters.received_bytes + 1
        client.send_bytes(bytes([byte]))
        server.wait_for_received(due)
        clock.pass_seconds(60)
    assert client.is_cut_off()
    assert reasons("gone") == [LATE]
    assert server.counters.protocol_errors == {"late frame": 1}


def test_one_that_stops_in_a_large_frame_is_closed(
    server: RunningServer, clock: Clock, reasons: Reasons
) -> None:
    client = server.client()
    client.create(1, b"file")
    server.send_most(client, frame(Twrite(1, 0, bytes(WRITE_BYTES_MAX)), 1), 400_000)
    clock.pass_seconds(119)
    assert server.counters.connections == 2
    clock.pass_seconds(2)
    assert client.is_cut_off()
    assert reasons("gone") == [LATE]


def test_a_slow_frame_that_ends_in_time_is_answered(server: RunningServer, clock: Clock) -> None:
    client = server.client()
    request = frame(Tclunk(0), 7)
    for byte in request:
        due = server.counters.received_bytes + 1
        client.send_bytes(bytes([byte]))
        server.wait_for_received(due)
        clock.pass_seconds(10)
    assert client.receive()[0] == 7
    clock.pass_seconds(1000)
    client.attach(3)


def test_one_that_reads_late_is_not_late_with_what_it_sent(
    server: RunningServer, clock: Clock
) -> None:
    """A reader that took minutes was cut off for the half request behind what it read.

    We had not read on meanwhile, so the rest could not arrive.
    """
    client = server.client(UNIX)
    client.create(1, b"file")
    client.write(1, 0, bytes(READ_BYTES_MAX - 12))
    request = frame(Tread(1, 0, 4), 2)
    client.send_bytes(frame(Tread(1, 0, READ_BYTES_MAX), 1) + request[:10])
    server.wait_for_paused(1)
    clock.pass_seconds(1000)
    assert len(client.reply(Rread).data) == READ_BYTES_MAX - 12
    server.wait_for_paused(0)
    clock.pass_seconds(1)
    client.send_bytes(request[10:])
    assert client.receive() == (2, Rread(bytes(4)))


@pytest.mark.parametrize("content", [b"", b"old data" * 100, b"y" * 2 * MIB], ids=len)
@pytest.mark.parametrize("offset", [0, 1000])
def test_one_that_dies_in_a_large_write_has_changed_nothing(
    server: RunningServer, content: bytes, offset: int
) -> None:
    keeper = server.client()
    keeper.create(1, b"file")
    for at in range(0, len(content), 500_000):
        keeper.write(1, at, content[at : at + 500_000])
    used_bytes = server.filesystem.budget.used_bytes
    client = server.client()
    client.open(1, b"file")
    server.send_most(client, frame(Twrite(1, offset, bytes(WRITE_BYTES_MAX)), 1), 400_000)
    client.close()
    server.wait_for_connections(2)
    assert server.filesystem.budget.used_bytes == used_bytes
    assert server.violations() == []
    assert (keeper.read_all(1, len(content)) if content else keeper.read(1, 0, 1)) == content
    assert server.call(lambda: server.hub.held_bytes) == 0


def test_one_that_is_reset_is_gone_for_that_reason(server: RunningServer, reasons: Reasons) -> None:
    client = server.client()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.wait_for_connections(1)
    assert reasons("gone") == ["connection reset"]


def test_one_that_ends_its_half_is_answered_first(server: RunningServer) -> None:
    client = server.client()
    client.create(1, b"file")
    client.write(1, 0, bytes(READ_BYTES_MAX - 12))
    client.send_all([Tread(1, 0, READ_BYTES_MAX)] * 20)
    client.socket.shutdown(socket.SHUT_WR)
    for number in range(20):
        assert client.receive()[0] == number + 1
    assert client.is_cut_off()


def test_a_bug_at_the_edge_ends_one_connection_and_is_counted(
    server: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
    reasons: Reasons,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What an arriving frame met was neither counted nor ended, and the connection hung."""

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    client = server.client()
    client.create(1, b"file")
    monkeypatch.setattr(FileSystem, "land", broken)
    client.send_bytes(frame(Twrite(1, 0, b"z" * 200_000), 1)[:60_000])
    assert client.is_cut_off()
    assert reasons("gone") == ["internal error"]
    assert "internal error" in [each.getMessage() for each in caplog.records]
    assert server.counters.internal_errors == 1
    server.counters.internal_errors = 0
    caplog.clear()
