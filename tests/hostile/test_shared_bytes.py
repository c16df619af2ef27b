"""Reads that leave without a copy and writes that land in place: nobody gets a wrong byte."""

import threading
from collections.abc import Callable

import pytest
from tests.running_server import MIB, RunningServer
from tests.socket_client import READ_BYTES_MAX, WRITE_BYTES_MAX, SocketClient, wait_until

from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import O_APPEND, O_WRONLY, SETATTR_SIZE, WRITE_OVERHEAD_BYTES
from ram9.protocol.messages import (
    Rread,
    Rwrite,
    Tclunk,
    Tread,
    Tsetattr,
    Tunlinkat,
    Twrite,
)

UNIX = 1  # a unix socket takes 200 KiB that nobody reads, so that most of a reply stays behind
SIZE = READ_BYTES_MAX - 12  # of a file that one read gives whole, and one write writes
OLD, NEW = b"o" * SIZE, b"n" * SIZE


@pytest.fixture
def writer(server: RunningServer) -> SocketClient:
    """A client whose fid 1 is a file full of OLD, and fid 2 its directory."""
    writer = server.client()
    writer.create(1, b"file")
    assert writer.write(1, 0, OLD) == SIZE
    writer.walk(0, 2)
    return writer


def stalled(server: RunningServer) -> SocketClient:
    """A client that was sent the first part of a read of the file, and takes nothing."""
    reader = server.client(UNIX)
    reader.open(1, b"file")
    lent = len(server.filesystem.disk.lent)
    reader.send(Tread(1, 0, SIZE))
    wait_until(lambda: len(server.filesystem.disk.lent) == lent + 1, "bytes are lent")
    return reader


def overwrite(writer: SocketClient) -> None:
    writer.write(1, 0, NEW)


def overwrite_the_end(writer: SocketClient) -> None:
    writer.write(1, SIZE - 5, b"xxxxx")


def truncate(writer: SocketClient) -> None:
    writer.ask(Tsetattr(1, SETATTR_SIZE, 0, 0, 0, 0, 0, 0, 0, 0), Message)


def cut_a_sector(writer: SocketClient) -> None:
    writer.ask(Tsetattr(1, SETATTR_SIZE, 0, 0, 0, SIZE - 100, 0, 0, 0, 0), Message)


def truncate_and_grow(writer: SocketClient) -> None:
    truncate(writer)
    writer.ask(Tsetattr(1, SETATTR_SIZE, 0, 0, 0, SIZE, 0, 0, 0, 0), Message)
    writer.write(1, 0, NEW)


def reuse(writer: SocketClient) -> None:
    """Fill every free sector with the bytes of other files."""
    truncate(writer)
    for number in range(64):
        writer.create(10 + number, b"other %d" % number)
        if writer.write(10 + number, 0, NEW) < SIZE:
            break


def write_elsewhere(writer: SocketClient) -> None:
    writer.create(9, b"elsewhere")
    writer.write(9, 0, NEW)


CHANGES = [
    overwrite,
    overwrite_the_end,
    truncate,
    cut_a_sector,
    truncate_and_grow,
    reuse,
    write_elsewhere,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("readers", [1, 3])
def test_a_stalled_reader_gets_what_the_file_held(
    server: RunningServer,
    writer: SocketClient,
    change: Callable[[SocketClient], None],
    readers: int,
) -> None:
    stalled_ones = [stalled(server) for _ in range(readers)]
    change(writer)
    for reader in stalled_ones:
        assert reader.reply(Rread).data == OLD


def test_a_stalled_reader_of_a_deleted_file_gets_what_it_held(
    server: RunningServer, writer: SocketClient
) -> None:
    reader = stalled(server)
    writer.ask(Tunlinkat(0, b"file", 0), Message)
    writer.ask(Tclunk(1), Message)
    writer.create(1, b"new")
    reuse(writer)
    assert reader.reply(Rread).data == OLD
    assert len(server.filesystem.orphans) == 1


def test_a_reader_that_goes_away_does_not_keep_what_was_lent(
    server: RunningServer, writer: SocketClient
) -> None:
    reader = stalled(server)
    other = stalled(server)
    reader.close()
    wait_until(lambda: len(server.filesystem.disk.lent) == 1, "one is gone")
    overwrite(writer)
    assert other.reply(Rread).data == OLD


def test_a_reader_that_took_half_gets_the_other_half_as_it_was(
    server: RunningServer, writer: SocketClient
) -> None:
    reader = stalled(server)
    sent = server.counters.sent_bytes
    taken = reader.socket.recv(300_000)
    wait_until(lambda: server.counters.sent_bytes > sent, "more is sent")
    overwrite(writer)
    while len(taken) < 11 + SIZE:
        taken += reader.socket.recv(MIB)
    assert taken[11:] == OLD


@pytest.mark.usefixtures("writer")
def test_requests_of_one_batch_see_each_other_in_order(server: RunningServer) -> None:
    client = server.client(UNIX)
    client.open(1, b"file")
    batch = [
        Tread(1, 0, SIZE),
        Twrite(1, 0, NEW[:100_000]),
        Tread(1, 0, SIZE),
        Twrite(1, 0, NEW),
        Tread(1, 0, SIZE),
        Tread(1, 0, 3),
    ]
    data = b"".join(frame(request, 1 + number) for number, request in enumerate(batch))
    sender = threading.Thread(target=client.send_bytes, args=[data])
    sender.start()
    assert client.receive() == (1, Rread(OLD))
    assert client.receive() == (2, Rwrite(100_000))
    assert client.receive() == (3, Rread(NEW[:100_000] + OLD[100_000:]))
    assert client.receive() == (4, Rwrite(SIZE))
    assert client.receive() == (5, Rread(NEW))
    assert client.receive() == (6, Rread(b"nnn"))
    sender.join()


@pytest.mark.parametrize("offset", [0, 512, 1000])
@pytest.mark.parametrize("before", [0, 700_000])
def test_of_four_writes_to_one_range_one_is_there_untorn(
    server: RunningServer, offset: int, before: int
) -> None:
    clients = [server.client(UNIX) for _ in range(4)]
    for client in clients:
        client.create(1, b"contended")
    if before:
        clients[0].write(1, 0, b"-" * before)
    size = WRITE_BYTES_MAX - 100
    requests = [frame(Twrite(1, offset, bytes([65 + n]) * size), 1) for n in range(4)]
    half = 500_000
    threads = [
        threading.Thread(target=client.send_bytes, args=[request[:half]])
        for client, request in zip(clients, requests, strict=True)
    ]
    received = server.counters.received_bytes
    for thread in threads:
        thread.start()
    server.wait_for_received(received + 4 * half)
    for thread in threads:
        thread.join()
    threads = [
        threading.Thread(target=client.send_bytes, args=[request[half:]])
        for client, request in zip(clients, requests, strict=True)
    ]
    for thread in threads:
        thread.start()
    for client in clients:
        assert client.reply(Rwrite).count == size
    for thread in threads:
        thread.join()
    content = clients[0].read_all(1, offset + size)
    assert content[offset:] in [bytes([65 + n]) * size for n in range(4)]
    assert content[:offset] == (b"-" if before else b"\0") * offset
    assert clients[0].read(1, offset + size, 1) == b""


@pytest.mark.parametrize("size", [32 << 10, 100_000])
@pytest.mark.parametrize("offset", [0, 511])
@pytest.mark.parametrize("before", [0, 200_000])
def test_a_large_write_may_arrive_in_any_pieces(
    server: RunningServer, size: int, offset: int, before: int
) -> None:
    client = server.client()
    client.create(1, b"file")
    if before:
        client.write(1, 0, b"-" * before)
    payload = bytes(range(256)) * (size // 256)
    request = frame(Twrite(1, offset, payload), 1)
    length = len(request)
    places = [1, 3, 4, 6, 7, 8, 11, 19, 22, 23, 24, 22 + 512, 23 + 513, length // 2, length - 1]
    for cut in places:
        # The request before arrives with the first piece, and the one behind with the last.
        first = frame(Tread(1, 0, 1), 2) + request[:cut]
        due = server.counters.received_bytes + len(first)
        client.send_bytes(first)
        server.wait_for_received(due)
        client.send_bytes(request[cut:] + frame(Tread(1, offset, 4), 3))
        assert client.receive()[0] == 2
        assert client.receive() == (1, Rwrite(len(payload)))
        assert client.receive() == (3, Rread(payload[:4]))
        assert client.read_all(1, offset + len(payload))[offset:] == payload
        assert server.violations() == []
        client.ask(Tsetattr(1, SETATTR_SIZE, 0, 0, 0, before, 0, 0, 0, 0), Message)


def test_a_large_write_may_arrive_byte_by_byte(server: RunningServer) -> None:
    client = server.client()
    client.create(1, b"file")
    payload = bytes(range(250)) * 140
    for byte in memoryview(frame(Twrite(1, 0, payload), 1)):
        client.socket.send(bytes([byte]))
    assert client.receive() == (1, Rwrite(len(payload)))
    assert client.read_all(1, len(payload)) == payload


def begin(server: RunningServer, client: SocketClient, request: bytes) -> bytes:
    """Send the first half of *request*; return the other once it has arrived."""
    return server.send_most(client, request, len(request) // 2)


def test_a_file_cut_off_while_a_write_arrives_holds_the_write(
    server: RunningServer, writer: SocketClient
) -> None:
    client = server.client()
    client.open(1, b"file")
    rest = begin(server, client, frame(Twrite(1, 2 * MIB, NEW), 1))
    truncate(writer)
    client.send_bytes(rest)
    assert client.reply(Rwrite).count == SIZE
    assert writer.read_all(1, 2 * MIB + SIZE) == bytes(2 * MIB) + NEW


def test_a_write_that_arrives_in_a_deleted_file_is_answered(
    server: RunningServer, writer: SocketClient
) -> None:
    client = server.client()
    client.open(1, b"file")
    rest = begin(server, client, frame(Twrite(1, 2 * MIB, NEW), 1))
    writer.ask(Tunlinkat(0, b"file", 0), Message)
    writer.ask(Tclunk(1), Message)
    client.send_bytes(rest)
    assert client.reply(Rwrite).count == SIZE
    assert client.read(1, 2 * MIB, 10) == NEW[:10]


def test_a_hole_filled_while_a_write_arrives_holds_the_write(
    server: RunningServer, writer: SocketClient
) -> None:
    client = server.client()
    client.open(1, b"file")
    rest = begin(server, client, frame(Twrite(1, 2 * MIB, NEW), 1))
    writer.write(1, 2 * MIB + 600, b"between")
    client.send_bytes(rest)
    assert client.reply(Rwrite).count == SIZE
    assert client.read(1, 2 * MIB, SIZE) == NEW


def test_what_is_appended_while_an_append_arrives_is_kept(server: RunningServer) -> None:
    """A large append went to where the file had ended when it began, over what came since."""
    slow, quick = server.client(), server.client()
    for client in (slow, quick):
        client.create(1, b"log", O_WRONLY | O_APPEND)
    quick.write(1, 0, b"first\n")
    rest = begin(server, slow, frame(Twrite(1, 0, b"s" * 100_000), 1))
    quick.write(1, 0, b"second\n")
    slow.send_bytes(rest)
    assert slow.reply(Rwrite).count == 100_000
    slow.open(2, b"log")
    assert slow.read_all(2, 100_013) == b"first\nsecond\n" + b"s" * 100_000


@pytest.mark.parametrize("size", [4096, 8192, 65536])
def test_whatever_msize_is_every_byte_is_right(server: RunningServer, size: int) -> None:
    client = server.connect()
    client.version(msize=size)
    client.attach()
    client.create(1, b"file")
    payload = bytes(range(251)) * 1000
    at = 0
    while at < len(payload):
        at += client.write(1, at, payload[at : at + size - WRITE_OVERHEAD_BYTES])
    assert client.read_all(1, len(payload)) == payload
