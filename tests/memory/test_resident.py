"""What the whole process takes of the machine: idle, with data in it, and after that is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.running_server import MIB, Program, program
from tests.socket_client import SocketClient, wait_until

from ram9.protocol.codec import Message
from ram9.protocol.messages import Rlerror, Tclunk, Tlcreate, Tunlinkat, Twalk, Twrite
from ram9.server.config import Address

FILE_BYTES = 16 * MIB
WRITE_BYTES = MIB // 2
SMALL_FILES = 20_000
SMALL_FILE_BYTES = 1000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Program, SocketClient]]:
    """A server with 1 GiB, and one that has mounted it."""
    address = Address(path=str(tmp_path / "socket"))
    listen = [f"--listen={address}", "--metrics=none"]
    listen += ["--size=1GiB", "--inodes=100k", "--keep-warm=0"]
    with program(*listen, log=tmp_path / "log") as server, SocketClient(address) as client:
        client.version()
        client.attach()
        yield server, client


def resident_bytes(server: Program) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def ask_all(client: SocketClient, requests: list[Message]) -> None:
    client.send_all(requests)
    for _ in requests:
        _, reply = client.receive()
        assert not isinstance(reply, Rlerror)


def test_idle_it_takes_less_than_60_megabytes(disk: tuple[Program, SocketClient]) -> None:
    assert resident_bytes(disk[0]) < 60_000_000


def test_large_files_take_3_percent_more_than_they_hold_and_give_it_back(
    disk: tuple[Program, SocketClient],
) -> None:
    server, client = disk
    idle_bytes = resident_bytes(server)
    data = bytes(range(256)) * (WRITE_BYTES // 256)
    for number in range(16):
        ask_all(client, [Twalk(0, 1, ()), Tlcreate(1, b"%d" % number, 2, 0o644, 0)])
        for offset in range(0, FILE_BYTES, WRITE_BYTES):
            ask_all(client, [Twrite(1, offset, data)])
        ask_all(client, [Tclunk(1)])
    held_bytes = 16 * FILE_BYTES
    wait_until(lambda: resident_bytes(server) - idle_bytes <= 1.03 * held_bytes)
    # Of what was idle, some has gone back.
    assert resident_bytes(server) - idle_bytes >= held_bytes - MIB
    ask_all(client, [Tunlinkat(0, b"%d" % number, 0) for number in range(16)])
    wait_until(lambda: resident_bytes(server) - idle_bytes <= 4 * MIB)


def test_a_small_file_takes_at_most_2200_bytes(disk: tuple[Program, SocketClient]) -> None:
    server, client = disk
    idle_bytes = resident_bytes(server)
    data = b"x" * SMALL_FILE_BYTES
    for first in range(0, SMALL_FILES, 100):
        requests: list[Message] = []
        for number in range(first, first + 100):
            requests += [Twalk(0, 1, ()), Tlcreate(1, b"file-%06d" % number, 2, 0o644, 0)]
            requests += [Twrite(1, 0, data), Tclunk(1)]
        ask_all(client, requests)
    wait_until(lambda: resident_bytes(server) - idle_bytes <= 2200 * SMALL_FILES)
    for first in range(0, SMALL_FILES, 100):
        names = [b"file-%06d" % number for number in range(first, first + 100)]
        ask_all(client, [Tunlinkat(0, name, 0) for name in names])
    wait_until(lambda: resident_bytes(server) - idle_bytes <= 8 * MIB)
