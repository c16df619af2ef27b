"""What all clients together make the server hold is bounded: each gets less, and nobody stands."""

import os
import threading
from collections.abc import Callable

import pytest
from tests.hostile.clock import Clock
from tests.running_server import MIB, RunningServer
from tests.socket_client import READ_BYTES_MAX, WRITE_BYTES_MAX, SocketClient, pattern, wait_until

from ram9.protocol.codec import frame
from ram9.protocol.messages import Rread, Rwrite, Tread, Twrite

Reasons = Callable[[str], list[str]]

UNIX = 1  # a unix socket takes 200 KiB that nobody reads; TCP takes some MiB


@pytest.fixture
def scarce(server: RunningServer) -> RunningServer:
    """A server that may hold 1 MiB for all its clients together."""
    server.hub.held_bytes_max = MIB
    return server


READS_STALLED = 100


def stalled_readers(
    server: RunningServer, count: int, read_bytes: int = READ_BYTES_MAX
) -> list[SocketClient]:
    """Clients with so many large reads each that no socket takes what is sent, and that wait."""
    clients = []
    for _ in range(count):
        client = server.client(UNIX)
        client.open(1, b"large")
        client.send_all([Tread(1, 0, read_bytes)] * READS_STALLED)
        clients.append(client)
        server.wait_for_paused(len(clients))
    return clients


def fill(server: RunningServer) -> bytes:
    data = pattern(900_000, 7)
    writer = server.client()
    writer.create(1, b"large")
    writer.write(1, 0, data)
    return data


def take(client: SocketClient, data: bytes) -> None:
    """Take the replies to all reads: each is the beginning of *data*, and none is empty."""
    for number in range(READS_STALLED):
        tag, reply = client.receive()
        assert tag == number + 1
        assert isinstance(reply, Rread)
        assert len(reply.data) > 0
        assert reply.data == data[: len(reply.data)]


def test_many_that_do_not_read_get_less_and_nobody_is_harmed(
    server: RunningServer, bystander: SocketClient
) -> None:
    server.hub.held_bytes_max = 200_000
    data = fill(server)
    clients = stalled_readers(server, 20, read_bytes=50_000)
    # The first four fill it; each other is sent 4 KiB at a time, and its requests are held.
    assert server.call(lambda: server.hub.held_bytes) < 250_000 + 16 * 8192
    assert bystander.read(1, 0, 6) == b"before"
    for client in clients:
        take(client, data)
    assert server.call(lambda: server.hub.held_bytes) == 0
    assert bystander.read(1, 0, 6) == b"before"


def overwriters(server: RunningServer, count: int) -> list[SocketClient]:
    """Clients that have *large* open, with a write to it that must arrive in a buffer."""
    clients = []
    for _ in range(count):
        client = server.client(UNIX)
        client.open(1, b"large")
        clients.append(client)
    return clients


def test_large_frames_wait_for_memory_and_go_on(scarce: RunningServer) -> None:
    data = fill(scarce)
    stalled = stalled_readers(scarce, 4)
    writers = overwriters(scarce, 6)
    threads = [
        threading.Thread(target=writer.send, args=[Twrite(1, 0, bytes([n]) * 800_000)])
        for n, writer in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    # One after the other, in spite of those who do not read.
    for writer in writers:
        assert writer.reply(Rwrite).count == 800_000
    for thread in threads:
        thread.join()
    content = writers[0].read_all(1, 900_000)
    assert content[800_000:] == data[800_000:]
    assert content[:800_000] in {bytes([n]) * 800_000 for n in range(6)}
    for client in stalled:
        client.close()


def test_one_that_waits_for_memory_and_goes_does_not_block_the_others(
    scarce: RunningServer,
) -> None:
    fill(scarce)
    stalled_readers(scarce, 4)
    first, *others = overwriters(scarce, 6)
    rest = scarce.send_most(
        first, frame(Twrite(1, 0, bytes(WRITE_BYTES_MAX)), 1), 400_000
    )  # has the one buffer, and keeps it
    for other in others:
        other.send_bytes(frame(Twrite(1, 0, b"z" * 100_000), 1)[:60_000])
    wait_until(lambda: len(scarce.hub.waiting) == 5, "five wait")
    for other in (others[0], others[2], others[4]):
        other.close()
    first.send_bytes(rest)
    assert first.reply(Rwrite).count == WRITE_BYTES_MAX
    for other in (others[1], others[3]):
        other.send_bytes(frame(Twrite(1, 0, b"z" * 100_000), 1)[60_000:])
        assert other.reply(Rwrite).count == 100_000
    assert others[1].read(1, 0, 4096) == b"z" * 4096


def test_one_that_waits_for_memory_is_not_late(scarce: RunningServer, clock: Clock) -> None:
    """Who had to wait for memory of ours was cut off for being slow."""
    fill(scarce)
    first, second = overwriters(scarce, 2)
    stalled_readers(scarce, 4)
    rest = scarce.send_most(first, frame(Twrite(1, 0, bytes(WRITE_BYTES_MAX)), 1), 400_000)
    request = frame(Twrite(1, 0, b"z" * 100_000), 1)
    second.send_bytes(request[:60_000])
    wait_until(lambda: len(scarce.hub.waiting) == 1, "one waits")
    clock.seconds += 119
    first.send_bytes(rest)
    assert first.reply(Rwrite).count == WRITE_BYTES_MAX
    wait_until(lambda: not scarce.hub.waiting, "nobody waits")
    clock.pass_seconds(2)
    second.send_bytes(request[60_000:])
    assert second.reply(Rwrite).count == 100_000


def test_all_wait_and_nobody_else_holds_anything(
    server: RunningServer,
) -> None:
    """What the waiting held was enough to keep them waiting, for ever."""
    fill(server)
    writers = overwriters(server, 8)
    server.hub.held_bytes_max = 20_000
    request = frame(Twrite(1, 0, b"z" * 140_000), 1)
    for writer in writers:
        writer.send_bytes(request[:-1])
    wait_until(lambda: len(server.hub.waiting) == 7, "seven wait")
    for writer in writers:
        # There is room for it, but a unix socket calls itself writable only below a quarter.
        assert os.write(writer.socket.fileno(), request[-1:]) == 1
    for writer in writers:
        assert writer.reply(Rwrite).count == 140_000


def test_who_holds_memory_for_a_frame_and_does_not_send_it_goes_when_others_need_it(
    scarce: RunningServer, clock: Clock, reasons: Reasons
) -> None:
    """257 clients that had announced a large frame each kept all others from writing."""
    fill(scarce)
    idle = overwriters(scarce, 2)
    for each in idle:
        each.send_bytes(frame(Twrite(1, 0, bytes(WRITE_BYTES_MAX)), 1)[:40_000])
    wait_until(lambda: scarce.hub.arriving == 2, "two frames are arriving")
    (writer,) = overwriters(scarce, 1)
    request = frame(Twrite(1, 0, b"z" * 100_000), 1)
    writer.send_bytes(request[:60_000])
    wait_until(lambda: len(scarce.hub.waiting) == 1, "one waits")
    clock.pass_seconds(4)
    assert scarce.hub.arriving == 2
    clock.pass_seconds(2)
    writer.send_bytes(request[60_000:])
    assert writer.reply(Rwrite).count == 100_000
    assert reasons("gone") == ["a request took more than 5 s to arrive"] * 2


def test_who_does_not_read_its_replies_goes_when_others_need_the_memory(
    scarce: RunningServer, clock: Clock, reasons: Reasons
) -> None:
    fill(scarce)
    stalled = stalled_readers(scarce, 3)
    assert scarce.call(lambda: scarce.hub.is_scarce)
    clock.pass_seconds(29)
    assert scarce.counters.connections == 1 + 1 + len(stalled)
    clock.pass_seconds(2)
    scarce.wait_for_connections(2 + 2)  # one is enough, where the next is no longer too many
    assert reasons("gone") == ["replies were not read for 30 s"]
    assert scarce.counters.protocol_errors["unread replies"] == 1
