"""What the tests of the benchmarks share: a real server in a thread, seen as a peer."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks.servers import Peer
from tests.running_server import RunningServer, running

MIB = 1 << 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running(tmp_path, size_bytes=256 * MIB) as found:
        yield found


@pytest.fixture
def peer(server: RunningServer) -> Peer:
    """The server as the benchmarks know it; its process is ours."""
    tcp, unix = server.addresses
    process = SimpleNamespace(pid=os.getpid())
    return Peer("ram9", "test", process, {"tcp": tcp, "unix": unix})  # type: ignore[arg-type]
