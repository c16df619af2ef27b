"""What was asked before the end is answered, and nothing is left behind."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.running_server import RunningServer, program, running
from tests.socket_client import READ_BYTES_MAX, WRITE_BYTES_MAX, SocketClient, wait_until

from ram9.protocol.codec import frame
from ram9.protocol.constants import LOCK_BLOCKED, LOCK_FLAGS_BLOCK, LOCK_TYPE_WRLCK
from ram9.protocol.messages import Rlock, Rread, Rwrite, Tlock, Tread, Twrite
from ram9.server import app
from ram9.server.config import Address

UNIX = 1
LIFE = ["started", "serving", "listening", "mounted", "gone", "stopping", "stopped"]  # as logged

# Those who are still connected are named in the log.
pytestmark = pytest.mark.usefixtures("caplog")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def bystander() -> None:
    """There is none: the server ends for all."""


def client_of(path: Path) -> SocketClient:
    client = SocketClient(Address(path=str(path)))
    client.version()
    client.attach()
    client.create(1, b"file")
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_all_is_answered(tmp_path: Path, number: int) -> None:
    path = tmp_path / "s"
    with (
        program(
            f"--listen=unix:{path}", "--listen=127.0.0.1:0", "--metrics=none", log=tmp_path / "log"
        ) as started,
        client_of(path) as batch,
        client_of(path) as slow,
        client_of(path) as writing,
    ):
        writing.create(2, b"other")
        slow.write(1, 0, b"s" * (READ_BYTES_MAX - 12))
        slow.send(Tread(1, 0, READ_BYTES_MAX))
        request = frame(Twrite(2, 0, b"w" * 100_000), 7)
        writing.send_bytes(request[:-1])
        batch.send_all([Tread(1, 0, 3)] * 100)
        os.kill(started.process.pid, number)
        writing.send_bytes(request[-1:])
        for expected in range(1, 101):
            assert batch.receive() == (expected, Rread(b"sss"))
        assert writing.receive() == (7, Rwrite(100_000))
        reply = slow.reply(Rread)
        assert len(reply.data) == READ_BYTES_MAX - 12
        assert started.process.wait(20) == 0
        assert not path.exists()
        for client in (batch, slow, writing):
            assert client.is_cut_off()
        events = re.findall(r"Z [A-Z]+ ([a-z]+)", started.log())
        assert events[-2:] == ["gone", "stopped"]
        assert events.count("stopping") == 1
        port = re.search(r"port=(\d+)", started.printed[1])
        assert port is not None
        with pytest.raises(ConnectionRefusedError):
            SocketClient(Address("127.0.0.1", int(port[1])))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_more_signals_to_end_change_nothing(tmp_path: Path, number: int) -> None:
    """One that came while the process took itself down made it end as if it had been killed."""
    path = tmp_path / "s"
    arguments = f"--listen=unix:{path}", "--metrics=127.0.0.1:0"
    with program(*arguments, log=tmp_path / "log") as started:
        while started.process.poll() is None:
            os.kill(started.process.pid, number)
        assert started.process.returncode == 0
        assert "stopped" in started.log()


def test_an_interrupt_before_it_serves_ends_it_without_a_word() -> None:
    code = (
        "import os, signal\n"
        "from ram9.server import __main__, arguments\n"
        "arguments.parse_arguments = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "__main__.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def stopping(server: RunningServer) -> "Future[None]":
    """Begin to stop, between two steps of the server."""
    server._stopped = True
    return asyncio.run_coroutine_threadsafe(server.server.stop(), server.loop)


def blocked(server: RunningServer, go: threading.Event) -> None:
    """Keep the server busy until *go*: what is sent meanwhile has arrived when it looks again."""
    busy = threading.Event()

    def wait() -> None:
        busy.set()
        assert go.wait(20)

    server.loop.call_soon_threadsafe(wait)
    assert busy.wait(20)


@pytest.mark.parametrize("count", [1, 100])
def test_what_arrived_before_the_end_is_answered(server: RunningServer, count: int) -> None:
    client = server.client()
    client.create(1, b"file")
    client.write(1, 0, b"data")
    go = threading.Event()
    blocked(server, go)
    client.send_all([Tread(1, 0, 4)] * count)
    stopped = stopping(server)
    go.set()
    for number in range(count):
        assert client.receive() == (number + 1, Rread(b"data"))
    assert client.is_cut_off()
    stopped.result(20)


def test_a_write_of_which_a_part_arrived_before_the_end_is_answered(server: RunningServer) -> None:
    """Only what was there at the first look was answered, and the rest of a large write cut off."""
    client = server.client()
    client.create(1, b"file")
    go = threading.Event()
    blocked(server, go)
    requests = frame(Twrite(1, 0, b"x"), 1) + frame(Twrite(1, 0, b"y" * WRITE_BYTES_MAX), 2)
    client.send_bytes(requests[:40_000])
    stopped = stopping(server)
    go.set()
    assert client.receive() == (1, Rwrite(1))
    client.send_bytes(requests[40_000:])
    assert client.receive() == (2, Rwrite(WRITE_BYTES_MAX))
    assert client.is_cut_off()
    stopped.result(20)


def test_those_who_wait_for_locks_are_told_to_ask_again_at_once(server: RunningServer) -> None:
    clients = [server.client(number) for number in (0, UNIX)]
    for client in clients:
        client.create(1, b"file")
        client.send(Tlock(1, LOCK_TYPE_WRLCK, LOCK_FLAGS_BLOCK, 0, 0, 7, b"host"), 5)
        wait_until(lambda: server.counters.locks, "a lock is held")
    holder, waiting = clients
    assert holder.reply(Rlock, 5) == Rlock(0)
    server.wait_for_waiting(1)
    server.stop()
    assert waiting.reply(Rlock, 5) == Rlock(LOCK_BLOCKED)
    assert waiting.is_cut_off()


def test_one_that_does_not_read_delays_the_end_only_so_long(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "DRAIN_SECONDS_MAX", 0.1)
    client = server.client(UNIX)
    client.create(1, b"file")
    client.write(1, 0, bytes(READ_BYTES_MAX - 12))
    client.send_all([Tread(1, 0, READ_BYTES_MAX)] * 3)
    wait_until(lambda: server.filesystem.disk.lent, "bytes are lent")
    server.stop()
    assert client.is_cut_off()
    assert server.violations() == []
    assert server.hub.held_bytes == 0


def test_one_that_sends_for_ever_delays_the_end_only_so_long(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "DRAIN_SECONDS_MAX", 0.1)
    client = server.client()
    client.create(1, b"file")

    def flood() -> None:
        request = frame(Twrite(1, 0, b"x" * 1000), 1) * 50
        try:
            while True:
                client.send_bytes(request)
                client.socket.recv(1 << 20)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_nobody_is_accepted_any_more(server: RunningServer) -> None:
    tcp, unix = server.addresses
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        SocketClient(tcp)
    with pytest.raises(FileNotFoundError):
        SocketClient(unix)


def test_it_may_be_killed_and_started_again_on_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    options = (f"--listen=unix:{path}", "--metrics=none")
    with program(*options, log=tmp_path / "log") as first:
        first.stop(signal.SIGKILL)
        assert path.is_socket()
        with program(*options, "--log-format=json", log=tmp_path / "log 2") as second:
            client_of(path).close()
            assert second.stop(signal.SIGTERM) == 0
            events = [json.loads(line)["event"] for line in second.log().splitlines()]
            assert events == LIFE
    assert not path.exists()
