"""The page that Prometheus reads, and those who read it badly."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.client import only

from ram9.protocol.messages import Rread, Rversion, Tclunk, Tgetattr, Tread
from ram9.server import metrics
from ram9.server.config import Address, TemplateConfig, VolumeConfig
from ram9.server.counters import Counters
from ram9.server.metrics import METRICS, MetricsServer, registry_of
from ram9.server.scratch import Template
from ram9.server.volumes import TRUST, Policy, Volume, Volumes
from ram9.storage.errors import Errno
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

ROW = tuple[str, tuple[tuple[str, str], ...]]
LIMIT_BYTES = 1 << 20
VOLUME = (("volume", ""),)


@pytest.fixture(autouse=True)
def _ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server look more often whether it is to end: it does so twice a second."""
    forever = metrics.PageServer.serve_forever
    monkeypatch.setattr(metrics.PageServer, "serve_forever", lambda self: forever(self, 0.01))


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(size_bytes=LIMIT_BYTES, inodes=100), lambda: 1)


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def volumes(filesystem: FileSystem) -> Volumes:
    """One that stays, and a template."""
    volumes = only(filesystem)
    config = TemplateConfig("scratch", LIMIT_BYTES, 10 * LIMIT_BYTES, 9, 60, 60, LIMIT_BYTES, 60)

    def make(config: VolumeConfig, policy: Policy) -> Volume:
        limits = Limits(config.size_bytes, config.inodes)
        return Volume(config.name.encode(), FileSystem(limits, lambda: 1), policy)

    volumes.templates[b"scratch"] = Template(config, TRUST, make, volumes.named, lambda: 0)
    return volumes


@pytest.fixture
def server(volumes: Volumes, counters: Counters) -> Iterator[MetricsServer]:
    server = MetricsServer(Address("127.0.0.1", 0), registry_of(volumes, counters))
    yield server
    server.close()


def connected(server: MetricsServer) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), 20)


def scrape(server: MetricsServer) -> str:
    with connected(server) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        page = b""
        while data := client.recv(65536):
            page += data
    head, _, body = page.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.0 200 OK")
    return body


def values(server: MetricsServer) -> dict[ROW, float]:
    """The page as numbers, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(scrape(server))
        for sample in family.samples
    }


def test_the_page_shows_what_is_declared_and_nothing_else(
    server: MetricsServer, counters: Counters
) -> None:
    counters.errors[Tread.number, Errno.EIO] += 1
    counters.protocol_errors["bad frame"] += 1
    names = {name for name, _ in values(server)}
    assert {name for name in names if name.startswith("ram9_")} == set(METRICS)
    assert "process_resident_memory_bytes" in names


def test_space_adds_up_before_and_after_work(server: MetricsServer, filesystem: FileSystem) -> None:
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    for size in (0, 1, 100_000, LIMIT_BYTES):
        filesystem.write(file, 0, bytes(size))
        page = values(server)
        for kind in ("bytes", "inodes"):
            used, available = (
                page[f"ram9_used_{kind}", VOLUME],
                page[f"ram9_available_{kind}", VOLUME],
            )
            assert used + available == page[f"ram9_limit_{kind}", VOLUME]
        assert page["ram9_used_bytes", VOLUME] == filesystem.budget.used_bytes
        assert page["ram9_limit_bytes", VOLUME] == LIMIT_BYTES
        assert page["ram9_used_inodes", VOLUME] == 2


def test_scratch_volumes_are_shown_together(server: MetricsServer, volumes: Volumes) -> None:
    """Each name would be a series of its own, for ever."""
    together = (("volume", "scratch/*"),)
    assert values(server)["ram9_volumes", together] == 0
    assert values(server)["ram9_limit_bytes", together] == 0
    for name in (b"a", b"b"):
        volumes.find(b"scratch/" + name).open()
    page = values(server)
    assert page["ram9_volumes", together] == 2
    assert page["ram9_limit_bytes", together] == page["ram9_size_bytes", together]
    assert page["ram9_limit_bytes", together] == 2 * LIMIT_BYTES
    assert page["ram9_used_inodes", together] == 2
    assert {dict(labels).get("volume") for _, labels in page} == {None, "", "scratch/*"}


def test_totals_are_those_that_were_counted(server: MetricsServer, counters: Counters) -> None:
    counters.connections, counters.accepted, counters.fids = 3, 7, 11
    counters.locks, counters.waiting_locks = 13, 17
    counters.received_bytes, counters.sent_bytes, counters.internal_errors = 1000, 2000, 2
    page = values(server)
    assert page["ram9_connections", ()] == 3
    assert page["ram9_connections_accepted_total", ()] == 7
    assert page["ram9_fids", ()] == 11
    assert page["ram9_locks", ()] == 13
    assert page["ram9_waiting_locks", ()] == 17
    assert page["ram9_received_bytes_total", ()] == 1000
    assert page["ram9_sent_bytes_total", ()] == 2000
    assert page["ram9_internal_errors_total", ()] == 2


def test_requests_are_shown_by_operation(server: MetricsServer, counters: Counters) -> None:
    counters.requests[Tread.number] = 5
    counters.requests[Rread.number] = 2  # no request
    counters.requests[255] = 1
    page = values(server)
    assert page["ram9_requests_total", (("operation", "read"),)] == 5
    assert page["ram9_requests_total", (("operation", "clunk"),)] == 0
    assert page["ram9_requests_total", (("operation", "unknown"),)] == 3


def test_errors_are_shown_by_operation_and_errno(server: MetricsServer, counters: Counters) -> None:
    counters.errors[Tgetattr.number, Errno.EBADF] = 2
    counters.errors[Tclunk.number, Errno.EBADF] = 1
    counters.errors[Rread.number, Errno.EOPNOTSUPP] = 1
    counters.errors[255, Errno.EOPNOTSUPP] = 3
    counters.protocol_errors["bad frame"] = 4
    errors = {labels: value for (name, labels), value in values(server).items() if "errors" in name}
    assert errors == {
        (("errno", "EBADF"), ("operation", "getattr")): 2,
        (("errno", "EBADF"), ("operation", "clunk")): 1,
        (("errno", "EOPNOTSUPP"), ("operation", "unknown")): 4,
        (("reason", "bad frame"),): 4,
        (): 0,
    }


class Racing(list[int]):
    """Counts that go up between two looks at them, as the server's do while the page is made."""

    def __getitem__(self, index: Any) -> Any:
        self[Rversion.number] = super().__getitem__(Rversion.number) + 1
        return super().__getitem__(index)


def test_requests_are_counted_at_one_moment(server: MetricsServer, counters: Counters) -> None:
    """The unknown seemed to go back while others came, which Prometheus takes for a restart."""
    counters.requests = Racing(counters.requests)
    counters.requests[255] = 5
    counters.requests[Tread.number] = 5
    page = values(server)
    assert page["ram9_requests_total", (("operation", "unknown"),)] == 5


def test_two_are_answered_who_come_at_once(server: MetricsServer) -> None:
    with connected(server) as first, connected(server) as second:
        for client in (first, second):
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        for client in (second, first):
            assert client.recv(15) == b"HTTP/1.0 200 OK"


def test_an_address_in_use_is_an_error(server: MetricsServer, filesystem: FileSystem) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        MetricsServer(server.address, registry_of(only(filesystem), Counters()))


def test_ipv6_is_served(filesystem: FileSystem, counters: Counters) -> None:
    server = MetricsServer(Address("::1", 0), registry_of(only(filesystem), counters))
    assert ("ram9_connections", ()) in values(server)
    server.close()


def test_a_closed_address_is_free_again(filesystem: FileSystem, counters: Counters) -> None:
    first = MetricsServer(Address("127.0.0.1", 0), registry_of(only(filesystem), counters))
    first.close()
    second = MetricsServer(first.address, registry_of(only(filesystem), counters))
    second.close()


def drip(client: socket.socket, done: threading.Event) -> None:
    """Send a byte now and then until it is refused."""
    try:
        while not done.wait(0.01):
            client.sendall(b"x")
    except OSError:
        pass


def test_one_that_sends_a_byte_now_and_then_is_cut_off(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that never was silent for long kept everybody else from the page, for ever."""
    monkeypatch.setattr(metrics, "REQUEST_SECONDS_MAX", 1)  # which others have, too
    done = threading.Event()
    with connected(server) as client:
        dripping = threading.Thread(target=drip, args=[client, done])
        dripping.start()
        assert ("ram9_connections", ()) in values(server)
        done.set()
        dripping.join()


def test_closing_does_not_wait_for_who_is_slow(
    filesystem: FileSystem, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent client of the page delayed the end of the server by seconds, a dripping for ever."""
    monkeypatch.setattr(metrics, "REQUEST_SECONDS_MAX", 10_000)
    monkeypatch.setattr(metrics.PageHandler, "timeout", 10_000)
    server = MetricsServer(Address("127.0.0.1", 0), registry_of(only(filesystem), counters))
    with connected(server) as silent:
        silent.sendall(b"GET /met")
        deadline = time.monotonic() + 20
        while server._server.answering is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        with connected(server) as queued:
            server.close()
            assert queued.fileno()
