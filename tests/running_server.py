"""A real server on sockets of its own, in a thread, for tests of what happens at its edge."""

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import uvloop
from tests.socket_client import PATIENCE_SECONDS, SocketClient, wait_until

from ram9.server.app import Server
from ram9.server.changes import Changes
from ram9.server.config import LOCK_WAIT_SECONDS_MAX, Address, Config, TemplateConfig, VolumeConfig
from ram9.server.counters import Counters
from ram9.server.hub import Hub
from ram9.server.memory import MemoryFiles
from ram9.server.volumes import DEFAULT_NAME
from ram9.storage.check import check
from ram9.storage.filesystem import FileSystem

T = TypeVar("T")

MIB = 1 << 20


def config_of(
    *listen: Address,
    size_bytes: int = 64 * MIB,
    metrics: bool = False,
    lock_wait_seconds: int = LOCK_WAIT_SECONDS_MAX,
    templates: tuple[TemplateConfig, ...] = (),
) -> Config:
    return Config(
        listen=listen,
        volumes=(VolumeConfig(size_bytes, 10_000),),
        metrics=Address("127.0.0.1", 0) if metrics else None,
        log_level="info",
        log_format="text",
        lock_wait_seconds=lock_wait_seconds,
        templates=templates,
    )


class RunningServer:
    """A server, and the clients that a test made for it; both end with the test."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.loop = uvloop.new_event_loop()
        try:
            self.server = Server(config, self.loop)
        except BaseException:
            self.loop.close()
            raise
        self.addresses = [listener.address for listener in self.server.listeners]
        self._clients: list[SocketClient] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.call(self.server.start)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, function: Callable[[], T]) -> T:
        """What *function* returns, called between two steps of the server."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return future.result(PATIENCE_SECONDS)

    def answer_control(self, control: Address, *, path: str = "") -> Changes:
        """Have the server answer at *control*, as one whose configuration is the file *path*."""
        config = replace(self.config, control=control, path=path)
        coroutine = self.server.answer_control(config, MemoryFiles())
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return future.result(PATIENCE_SECONDS)

    def connect(self, where: int = 0, *, receive_buffer_bytes: int = 0) -> SocketClient:
        """A client of the address number *where* that has said nothing yet."""
        client = SocketClient(self.addresses[where], receive_buffer_bytes=receive_buffer_bytes)
        self._clients.append(client)
        return client

    def client(self, where: int = 0, *, receive_buffer_bytes: int = 0) -> SocketClient:
        """A client whose fid 0 is the root."""
        client = self.connect(where, receive_buffer_bytes=receive_buffer_bytes)
        client.version()
        client.attach()
        return client

    @property
    def counters(self) -> Counters:
        return self.server.counters

    @property
    def filesystem(self) -> FileSystem:
        return self.server.volumes.named[DEFAULT_NAME].filesystem

    @property
    def hub(self) -> Hub:
        return self.server._hub

    def violations(self) -> list[str]:
        """What storage's check finds, where no write is just arriving."""
        return self.call(lambda: check(self.filesystem))

    def wait_for_connections(self, count: int) -> None:
        wait_until(lambda: self.counters.connections == count, f"{count} connections")

    def wait_for_received(self, count_bytes: int) -> None:
        wait_until(
            lambda: self.counters.received_bytes == count_bytes, f"{count_bytes} bytes received"
        )

    def wait_for_waiting(self, count: int) -> None:
        wait_until(lambda: self.counters.waiting_locks == count, f"{count} wait for locks")

    def wait_for_paused(self, count: int) -> None:
        """Wait until *count* clients are not read from."""
        wait_until(
            # Not those whose turn is over, and who go on at once.
            lambda: (
                self.call(lambda: sum(each._backlog_bytes > 0 for each in self.hub.transports))
                == count
            ),
            f"{count} paused clients",
        )

    def send_most(self, client: SocketClient, request: bytes, missing_bytes: int) -> bytes:
        """Send *request* but for the last bytes; return those once the others have arrived."""
        due = self.counters.received_bytes + len(request) - missing_bytes
        client.send_bytes(request[:-missing_bytes])
        self.wait_for_received(due)
        return request[-missing_bytes:]

    def hang_up(self) -> None:
        """Close every client, and wait until the server has noticed."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self.wait_for_connections(0)

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(PATIENCE_SECONDS)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        try:
            self.stop()
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(PATIENCE_SECONDS)
            self.loop.close()


@contextmanager
def running(
    folder: Path,
    *,
    size_bytes: int = 64 * MIB,
    metrics: bool = False,
    lock_wait_seconds: int = LOCK_WAIT_SECONDS_MAX,
    templates: tuple[TemplateConfig, ...] = (),
) -> Iterator[RunningServer]:
    """A server that listens on a TCP port (address 0) and a unix socket in *folder* (1)."""
    listen = (Address("127.0.0.1", 0), Address(path=str(folder / "s")))
    config = config_of(
        *listen,
        size_bytes=size_bytes,
        metrics=metrics,
        lock_wait_seconds=lock_wait_seconds,
        templates=templates,
    )
    server = RunningServer(config)
    try:
        yield server
    finally:
        server.close()


class Program:
    """The command ``ram9 serve`` as a process of its own, once it listens."""

    def __init__(self, arguments: Sequence[str], log: Path, listens: int = 0) -> None:
        """*listens* is at how many addresses, where the arguments do not say that."""
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ram9.server", "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        listens = listens or sum(argument.startswith("--listen") for argument in arguments)
        self.printed = [self.process.stdout.readline() for _ in range(listens)]
        assert all(self.printed), self.log()

    def log(self) -> str:
        return self._log.read_text()

    def stop(self, number: int) -> int:
        """Send the signal *number*; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def program(*arguments: str, log: Path) -> Iterator[Program]:
    """``ram9 serve`` with 64 MiB and *arguments*, each like ``--option=value``."""
    control = [] if any("--control" in it for it in arguments) else ["--control=none"]
    started = Program(["--size=64MiB", *control, *arguments], log)
    try:
        yield started
    finally:
        started.close()
