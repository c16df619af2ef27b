"""Trees of every shape are made and removed alike everywhere, and figures give these rows."""

from pathlib import Path

import pytest
from benchmarks.memory import COLUMNS, Local, LocalTaken, Wire, row
from benchmarks.servers import Peer
from benchmarks.shapes import SHAPES, InProcess, Shape, Taken, build, destroy, places
from tests.running_server import RunningServer

from ram9.storage.check import check
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

MIB = 1 << 20
TINY = {
    name: shape.scaled(0.0001 if shape.files > 4000 else 0.001) for name, shape in SHAPES.items()
}


def expected_inodes(shape: Shape) -> int:
    return shape.directories + len(list(places(shape))) * shape.files


@pytest.mark.parametrize("shape", TINY.values(), ids=TINY)
def test_a_tree_is_what_its_shape_says_and_goes(shape: Shape) -> None:
    filesystem = FileSystem(Limits(256 * MIB, 10_000), lambda: 0)
    budget, tree = filesystem.budget, InProcess(filesystem)
    empty_bytes = budget.used_bytes
    build(shape, tree)
    assert budget.used_inodes == 1 + expected_inodes(shape)
    assert budget.used_bytes - empty_bytes >= shape.stored_bytes
    assert check(filesystem) == []
    destroy(shape, tree)
    assert (budget.used_inodes, budget.used_bytes) == (1, empty_bytes)


@pytest.mark.parametrize("shape", TINY.values(), ids=TINY)
def test_a_tree_over_the_wire_is_the_same(shape: Shape, server: RunningServer, peer: Peer) -> None:
    alone = FileSystem(Limits(256 * MIB, 10_000), lambda: 0)
    build(shape, InProcess(alone))
    with peer.connect("unix") as client:
        tree = Wire(client)
        build(shape, tree)
        assert server.filesystem.budget.used_inodes == alone.budget.used_inodes
        assert server.filesystem.budget.used_bytes == alone.budget.used_bytes
        destroy(shape, tree)
        assert server.filesystem.budget.used_inodes == 1


@pytest.mark.parametrize("shape", TINY.values(), ids=TINY)
def test_a_tree_in_a_folder_goes(shape: Shape, tmp_path: Path) -> None:
    tree = Local(tmp_path)
    if shape.attributes:
        shape = Shape(shape.title, files=shape.files, attributes=1, attribute_bytes=100)
    try:
        build(shape, tree)
    except OSError as error:
        pytest.skip(f"no attributes here: {error}")
    assert any(tmp_path.iterdir())
    destroy(shape, tree)
    assert not any(tmp_path.iterdir())


def test_a_part_of_a_shape_says_so() -> None:
    assert SHAPES["empty"].scaled(0.01).title == "0.01 of 1,000,000 empty files"
    assert SHAPES["names"].scaled(0.5).links == 4999
    assert SHAPES["large"].scaled(1).title == "16 files of 64 MiB"


def test_a_row_has_ratios() -> None:
    taken = Taken(90 * MIB, 100 * MIB, 2 * MIB, 40 * MIB)
    figures = row(SHAPES["empty"], taken, taken, LocalTaken(1 * MIB, 2 * MIB, 3 * MIB))
    assert len(figures) == len(COLUMNS)
    assert figures[2:] == [90, 100, 0.9, 100, 0.9, 40, 2, 0.05, 1, 2, 3]
    assert row(SHAPES["empty"], taken, taken, None)[-3:] == [None, None, None]
