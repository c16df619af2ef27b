"""A server in a control group that is smaller than its volume: it is never killed.

The writer never stops: four seconds of it here, five minutes with RAM9_KERNEL_FULL=1.
"""

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.memory.group import Group
from tests.socket_client import RefusedError, SocketClient

from ram9.protocol.codec import Message
from ram9.protocol.messages import Rstatfs, Tstatfs, Tunlinkat
from ram9.server.config import Address
from ram9.storage.errors import Errno

MIB = 1 << 20
GROUP_BYTES = 512 * MIB
WRITE_BYTES = MIB // 2
SECONDS = 300 if os.environ.get("RAM9_KERNEL_FULL") == "1" else 4
ANSWER_SECONDS_MAX = 5.0

# Holds so many MiB, and says so.
HOLDER = """
import sys, time
held = b"x" * (int(sys.argv[1]) << 20)
print("held", flush=True)
time.sleep(9999)
"""


class Grouped:
    """A server with a volume of 4 GiB in a group of 512 MiB."""

    def __init__(self, group: Group, folder: Path) -> None:
        self.group = group
        self._log = folder / "log"
        command = [sys.executable, "-m", "ram9.server", "serve", "--listen=127.0.0.1:0"]
        command += ["--metrics=none", "--size=4GiB"]
        with self._log.open("wb") as stderr:
            self.process = group.start(command, stderr)
        assert self.process.stdout is not None
        mount = re.search(r"port=(\d+)", self.process.stdout.readline())
        assert mount, self.log()
        self.address = Address("127.0.0.1", int(mount[1]))

    def log(self) -> str:
        return self._log.read_text()

    def client(self) -> SocketClient:
        client = SocketClient(self.address)
        client.version()
        client.attach()
        return client

    def still_lives(self) -> None:
        assert self.process.poll() is None, self.log()
        assert self.group.kills() == 0
        assert "internal error" not in self.log()


@pytest.fixture
def group() -> Iterator[Group]:
    with Group(GROUP_BYTES) as group:
        yield group


class Bystander(threading.Thread):
    """Asks for what it wrote, all the time."""

    def __init__(self, client: SocketClient) -> None:
        super().__init__()
        self._client = client
        self._is_over = threading.Event()
        self.longest_seconds = 0.0
        self.answers = 0
        client.create(1, b"kept")
        client.write(1, 0, b"what was there before")

    def run(self) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            assert self._client.read(1, 0, 100) == b"what was there before"
            assert df(self._client) > 0
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
            self.answers += 1
            self._is_over.wait(0.005)

    def end(self) -> None:
        self._is_over.set()
        self.join()


def df(client: SocketClient) -> int:
    """The size that df shows, in bytes."""
    seen = client.ask(Tstatfs(0), Rstatfs)
    assert seen.bfree == seen.bavail <= seen.blocks
    return seen.blocks * seen.bsize


def write_on(client: SocketClient, seconds: float) -> tuple[int, int]:
    """Write and never stop; bytes written, and how often there was no room.

    A few times in a row, then some of the files are removed.
    """
    data = os.urandom(WRITE_BYTES)
    written = refused = number = oldest = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            client.create(2, b"%d" % number)
            number += 1
            for offset in range(0, 32 * WRITE_BYTES, WRITE_BYTES):
                written += client.write(2, offset, data)
        except RefusedError as refusal:
            if refusal.errno is not Errno.ENOSPC:
                raise
            refused += 1
            if refused % 50 == 0:
                while oldest < number - 4:
                    client.ask(Tunlinkat(0, b"%d" % oldest, 0), Message)
                    oldest += 1
    return written, refused


def test_a_writer_that_never_stops_has_nobody_killed(group: Group, tmp_path: Path) -> None:
    server = Grouped(group, tmp_path)
    with server.client() as writer, server.client() as other:
        bystander = Bystander(other)
        bystander.start()
        try:
            written, refused = write_on(writer, SECONDS)
        finally:
            bystander.end()
        server.still_lives()
        assert written > GROUP_BYTES // 2
        assert refused
        assert bystander.answers > 20
        assert bystander.longest_seconds < ANSWER_SECONDS_MAX
        assert df(other) < GROUP_BYTES
        assert "memory is short memory_from=" in server.log()
        assert str(group.folder / "memory.limit_in_bytes") in server.log()
    sys.stdout.write(
        f"{written / MIB / SECONDS:.0f} MiB/s, {refused} refused, "
        f"longest answer {1000 * bystander.longest_seconds:.0f} ms of {bystander.answers}, "
        f"peak {group.read('memory.max_usage_in_bytes') / MIB:.0f} MiB, "
        f"limit hit {group.read('memory.failcnt')} times\n"
    )


def test_what_others_of_the_group_hold_is_not_the_servers(group: Group, tmp_path: Path) -> None:
    server = Grouped(group, tmp_path)
    with server.client() as client:
        alone_bytes = df(client)
        holder = group.start([sys.executable, "-c", HOLDER, "150"])
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        until = time.monotonic() + 20
        while df(client) > alone_bytes - 140 * MIB:
            assert time.monotonic() < until, (alone_bytes, df(client))
            time.sleep(0.02)
        written, refused = write_on(client, min(SECONDS, 2))
        assert refused
        assert written > 100 * MIB
        assert holder.poll() is None
        holder.kill()
        while df(client) < alone_bytes - 20 * MIB:
            assert time.monotonic() < until, (alone_bytes, df(client))
            time.sleep(0.02)
        server.still_lives()
