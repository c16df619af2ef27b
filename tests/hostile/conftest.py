"""A server that is treated badly, and a client that must not notice."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.hostile.clock import Clock
from tests.running_server import RunningServer, running
from tests.socket_client import SocketClient, wait_until

from ram9.server import transport

Reasons = Callable[[str], list[str]]


@pytest.fixture
def server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[RunningServer]:
    """It has a bug if anything is logged as an error, or if its books do not balance at the end."""
    caplog.set_level(logging.INFO, "ram9")
    with running(tmp_path) as server:
        yield server
        server.hang_up()
        assert server.violations() == []
        assert server.counters.fids == 0
        assert server.counters.locks == server.counters.waiting_locks == 0
        assert server.counters.internal_errors == 0
        assert server.hub.held_bytes == 0
        assert not server.hub.transports
        assert not server.hub.waiting
        assert not server.filesystem.disk.lent
        assert server.filesystem.disk.landing_bytes == 0
        assert not server.filesystem.orphans
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.fixture(autouse=True)
def bystander(server: RunningServer) -> Iterator[SocketClient]:
    """A client that is connected all the time, and goes on with what it did afterwards."""
    client = server.client()
    client.create(1, b"bystander")
    assert client.write(1, 0, b"before") == 6
    yield client
    assert client.read(1, 0, 100) == b"before"
    assert client.write(1, 6, b" and after") == 10
    assert client.read(1, 0, 100) == b"before and after"


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> Reasons:
    """The reasons that the log gives for an event, in their order, once there is one."""

    def found(event: str) -> list[str]:
        return [
            str(record.__dict__["fields"].get("reason"))
            for record in list(caplog.records)
            if record.getMessage() == event
        ]

    def of(event: str) -> list[str]:
        wait_until(lambda: found(event), f"{event} is logged")
        return found(event)

    return of


@pytest.fixture
def clock(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(server)
    monkeypatch.setattr(transport, "time", clock)
    return clock
