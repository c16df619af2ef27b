"""Whatever was in a server, once it is gone its memory is the system's again."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.client import Client
from benchmarks.memory import Wire
from benchmarks.shapes import SHAPES, Shape, build, destroy, resident_bytes
from tests.running_server import Program, program

from ram9.server.config import Address

SETTLE_SECONDS_MAX = 60.0
GROWN_BYTES_MIN = 12 << 20
PIECES_BYTES = 16 << 20
SMALL = {
    "large": SHAPES["large"].scaled(0.25),
    "empty": SHAPES["empty"].scaled(0.05),
    "small": SHAPES["small"].scaled(0.04),
    "names": SHAPES["names"].scaled(0.2),
    "directories": SHAPES["directories"].scaled(0.05),
    "holes": SHAPES["holes"].scaled(0.5),
    "attributes": SHAPES["attributes"].scaled(0.2),
}
TINY = Shape("some of everything", 1, 10, 1, 100, 0, 1, 100, 10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Program, Client]]:
    """A server that keeps nothing warm, and one that has mounted it."""
    address = Address(path=str(tmp_path / "socket"))
    options = [f"--listen={address}", "--metrics=none", "--keep-warm=0", "--size=1GiB"]
    with (
        program(*options, "--inodes=200k", log=tmp_path / "log") as started,
        Client(address) as client,
    ):
        yield started, client


def falls_to(server: Program, bytes_max: float) -> bool:
    """Whether what is resident comes to be that little."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while resident_bytes(server.process.pid) > bytes_max:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_every_shape_is_small_here() -> None:
    assert SMALL.keys() == SHAPES.keys()


@pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL)
def test_an_empty_volume_takes_little_more_than_an_idle_server(
    server: tuple[Program, Client], shape: Shape
) -> None:
    """A tenth, and the few pieces of 1 MiB in which something small happens to lie.

    All attributes stayed behind in the C library, and much of the rest in tables and free lists.
    It is idle after it has served, so that its own code is in memory.
    """
    process, client = server
    tree = Wire(client)
    build(TINY, tree)
    destroy(TINY, tree)
    time.sleep(2.5)
    idle_bytes = resident_bytes(process.process.pid)
    build(shape, tree)
    time.sleep(2.5)  # so that it is looked at while all of it is there, too
    assert resident_bytes(process.process.pid) > idle_bytes + GROWN_BYTES_MIN
    destroy(shape, tree)
    bytes_max = 1.1 * idle_bytes + PIECES_BYTES
    assert falls_to(process, bytes_max), resident_bytes(process.process.pid) / idle_bytes
