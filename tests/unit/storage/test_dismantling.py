"""File systems that are taken apart: nothing is left of them, though nobody collects garbage."""

import gc
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from ram9.storage.backing import Backing, Kind
from ram9.storage.budget import Allotment
from ram9.storage.disk import Disk
from ram9.storage.dismantling import dismantle
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, Inode
from ram9.storage.limits import Limits

MIB = 1 << 20
LIMITS = Limits(size_bytes=64 * MIB, inodes=100_000)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """As in the server."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def inodes_alive() -> int:
    return sum(isinstance(each, Inode) for each in gc.get_objects())


def populated(backing: Backing | None = None, allotment: Allotment | None = None) -> FileSystem:
    """Files of all kinds in a tree, one that grows, and one that was removed and is held."""
    kind = {} if backing is None else {"backing": backing}
    filesystem = FileSystem(LIMITS, lambda: 1, allotment=allotment, **kind)
    root = filesystem.root
    directory: Directory = root
    for depth in range(3):
        directory = filesystem.mkdir(directory, b"%d" % depth, 0o755, 0, 0)
        for number in range(700):
            file = filesystem.create(directory, b"file%d" % number, 0o644, 0, 0)
            filesystem.write(file, 100 * number, b"data")
    filesystem.symlink(root, b"link", b"target", 0, 0)
    filesystem.set_xattr(root, b"user.a", b"value")
    grows = filesystem.create(root, b"grows", 0o644, 0, 0)
    for number in range(40):
        filesystem.write(grows, number * 100_000, b"x" * 100_000)
    filesystem.link(grows, directory, b"again")
    for name in (b"removed", b"kept"):
        removed = filesystem.create(root, name, 0o644, 0, 0)
        filesystem.write(removed, 0, b"secret" * 1000)
        filesystem.hold(removed)
        filesystem.unlink(root, name)
    return filesystem


def test_nothing_is_left() -> None:
    before = inodes_alive()
    allotment = Allotment(1 << 40)
    filesystem = populated(allotment=allotment)
    assert inodes_alive() > before + 2000
    mapping = weakref.ref(filesystem.disk.memory)
    for _ in dismantle(filesystem):
        pass
    del filesystem
    assert mapping() is None
    assert inodes_alive() == before
    assert allotment.left_bytes == 1 << 40


def test_the_memory_is_back() -> None:
    size_bytes = 48 * MIB
    before = resident_bytes()
    filesystem = FileSystem(LIMITS, lambda: 1)
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    filesystem.write(file, 0, b"x" * size_bytes)
    assert resident_bytes() > before + size_bytes // 2
    for _ in dismantle(filesystem):
        pass
    assert resident_bytes() < before + 2 * MIB  # though somebody still knows it


def test_what_is_held_can_be_let_go_of_meanwhile_and_afterwards() -> None:
    before = inodes_alive()
    filesystem = populated()
    first, second = sorted(filesystem.orphans, key=lambda inode: inode.number)
    directory = filesystem.lookup(filesystem.root, b"0")
    file = filesystem.lookup(directory, b"file1")
    filesystem.hold(directory)
    filesystem.hold(file)
    steps = dismantle(filesystem)
    next(steps)
    filesystem.release(first)
    filesystem.release(directory)
    for _ in steps:
        pass
    filesystem.release(second)
    filesystem.release(file)
    assert not filesystem.orphans
    del first, second, directory, file, filesystem, steps
    assert inodes_alive() == before


def test_a_removed_directory_in_which_somebody_is_goes_too() -> None:
    before = inodes_alive()
    filesystem = FileSystem(LIMITS, lambda: 1)
    above = filesystem.mkdir(filesystem.root, b"above", 0o755, 0, 0)
    below = filesystem.mkdir(above, b"below", 0o755, 0, 0)
    filesystem.hold(below)
    filesystem.rmdir(above, b"below")
    filesystem.rmdir(filesystem.root, b"above")
    for _ in dismantle(filesystem):
        pass
    filesystem.release(below)
    del above, below, filesystem
    assert inodes_alive() == before


def test_directories_may_be_ten_thousand_levels_deep() -> None:
    before = inodes_alive()
    filesystem = FileSystem(LIMITS, lambda: 1)
    directory: Directory = filesystem.root
    for _ in range(10_000):
        directory = filesystem.mkdir(directory, b"d", 0o755, 0, 0)
    del directory
    for _ in dismantle(filesystem):
        pass
    del filesystem
    assert inodes_alive() == before


def test_a_step_is_short() -> None:
    filesystem = FileSystem(LIMITS, lambda: 1)
    for number in range(50_000):
        filesystem.create(filesystem.root, b"%d" % number, 0o644, 0, 0)
    for number in range(0, 50_000, 2):
        filesystem.unlink(filesystem.root, b"%d" % number)
    count, start = 0, time.process_time()
    for _ in dismantle(filesystem):
        count += 1
    assert count >= 50
    assert time.process_time() - start < 2


@pytest.mark.parametrize("kind", [Kind.PAGEABLE, Kind.FILE])
def test_what_is_wiped_is_overwritten(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are gone before the memory is given back: a file of the disk keeps them longer."""
    directory = str(tmp_path) if kind is Kind.FILE else ""
    filesystem = populated(Backing(kind, directory, wipe=True))
    wiped = 0
    wipe = Disk.wipe

    def counted(disk: Disk, place: int, count: int) -> None:
        nonlocal wiped
        wiped += count
        wipe(disk, place, count)

    monkeypatch.setattr(Disk, "wipe", counted)
    expected = sum(inode.sectors for inode in all_files(filesystem))
    for _ in dismantle(filesystem):
        pass
    assert wiped >= expected > 0
    assert not any(filesystem.disk.memory[: 16 * MIB])


def all_files(filesystem: FileSystem) -> list[Inode]:
    found: list[Inode] = [*filesystem.orphans]
    todo: list[Directory] = [filesystem.root]
    while todo:
        for _, inode in todo.pop().entries:
            found.append(inode)
            if isinstance(inode, Directory):
                todo.append(inode)
    return list(dict.fromkeys(found))
