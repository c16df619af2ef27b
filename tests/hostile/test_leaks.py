"""Clients that come and go leave nothing behind, without the garbage collector as in production."""

import contextlib
import gc
import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from tests.running_server import RunningServer
from tests.socket_client import attach_frame, version_frame

from ram9.protocol.codec import frame
from ram9.protocol.constants import LOCK_FLAGS_BLOCK, LOCK_TYPE_WRLCK, O_RDWR
from ram9.protocol.messages import Tlcreate, Tlock, Tread, Twalk, Twrite
from ram9.server.config import Address
from ram9.server.metrics import MetricsServer, registry_of

ROUNDS = 10_000
WARM_ROUNDS = 1000
SCRAPES = 200
PARTS = 4

# What each client says before it goes: a file that is written, locked, read, and never closed. A
# second process of it still waits for the lock then.
VISIT = b"".join(
    (
        version_frame(),
        attach_frame(),
        frame(Twalk(0, 1, ()), 1),
        frame(Tlcreate(1, b"visited", O_RDWR, 0o644, 0), 2),
        frame(Twrite(1, 0, b"visit" * 100), 3),
        frame(Tlock(1, LOCK_TYPE_WRLCK, 0, 0, 0, 1, b"host"), 4),
        frame(Tlock(1, LOCK_TYPE_WRLCK, LOCK_FLAGS_BLOCK, 0, 0, 2, b"host"), 6),
        frame(Tread(1, 0, 5), 5),
    )
)
LAST_ANSWER = b"\x10\0\0\0\x75\x05\0\x05\0\0\0visit"


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def visit(address: Address) -> None:
    """Connect, have everything answered, and go."""
    with socket.socket(socket.AF_UNIX if address.path else socket.AF_INET) as client:
        client.settimeout(20)
        client.connect(address.path or (address.host, address.port))
        client.sendall(VISIT)
        answers = b""
        while LAST_ANSWER not in answers:
            data = client.recv(4096)
            assert data
            answers += data


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def scrape(address: Address, request: bytes = b"GET /metrics HTTP/1.0\r\n\r\n") -> bytes:
    with socket.create_connection((address.host, address.port), 20) as client:
        client.sendall(request)
        page = b""
        while data := client.recv(65536):
            page += data
    return page


@pytest.mark.usefixtures("_no_collector")
def test_ten_thousand_clients_leave_nothing_behind(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR", "ram9")
    metrics = server.call(
        lambda: MetricsServer(
            Address("127.0.0.1", 0), registry_of(server.server.volumes, server.counters)
        )
    )
    try:
        tcp, unix = server.addresses
        for _ in range(WARM_ROUNDS):
            visit(tcp)
            visit(unix)
        for _ in range(20):
            scrape(metrics.address)
        server.wait_for_connections(1)
        gc.unfreeze()
        gc.collect()
        fids, files = server.counters.fids, open_files()
        objects = len(gc.get_objects())
        # TCP keeps each port for a minute after its connection: most come by the unix socket.
        visits = ROUNDS - 2 * WARM_ROUNDS
        memory_bytes = [resident_bytes()]
        for number in range(visits):
            visit(unix)
            if number % (visits // SCRAPES) == 0:
                assert b"\nram9_connections " in scrape(metrics.address)
            if (number + 1) % (visits // PARTS) == 0:
                memory_bytes.append(resident_bytes())
        server.wait_for_connections(1)
        gc.unfreeze()
        unreachable = gc.collect()
        assert server.counters.fids == fids
        assert server.counters.locks == server.counters.waiting_locks == 0
        assert server.counters.accepted == ROUNDS + 1
        assert open_files() <= files + 2  # a scrape that is just ending
        assert len(gc.get_objects()) < objects + 500
        assert unreachable < 50
        # What leaks does so all the time; what else this process does, now and then.
        grown_bytes = [after - before for before, after in pairwise(memory_bytes)]
        assert median(grown_bytes) < (2 << 20) // PARTS, grown_bytes
    finally:
        metrics.close()


@pytest.mark.usefixtures("_no_collector")
def test_scrapes_that_fail_leave_nothing_behind(server: RunningServer) -> None:
    metrics = MetricsServer(
        Address("127.0.0.1", 0), registry_of(server.server.volumes, server.counters)
    )
    try:
        for measured in (False, True):
            if measured:
                gc.unfreeze()
                gc.collect()
            for _ in range(100):
                with socket.create_connection((metrics.address.host, metrics.address.port)) as bad:
                    bad.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    bad.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    scrape(metrics.address, b"\xff\0garbage\r\n\r\n")
            scrape(metrics.address)
        gc.unfreeze()
        found = gc.collect()
        assert found < 50
    finally:
        metrics.close()
