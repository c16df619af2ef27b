"""Sectors for contents: always there for who was charged, and never changed under a sender."""

import errno
import os
import threading
from pathlib import Path

import pytest

from ram9.storage.arena import Arena
from ram9.storage.backing import CHUNK_SECTORS, Backing, Kind
from ram9.storage.budget import Allotment, Budget
from ram9.storage.content import AHEAD_SECTORS_MAX, Content
from ram9.storage.disk import WIPE_BYTES, Disk, Reserve
from ram9.storage.errors import FileSystemError
from ram9.storage.landing import land
from ram9.storage.limits import FIRST_RUN_BYTES, RUN_BYTES, SECTOR_BYTES
from ram9.storage.space import FreeSpace


@pytest.fixture
def disk() -> Disk:
    """A disk of 64 sectors that has no room to grow."""
    return without_room(Disk(Budget(64 * SECTOR_BYTES, 1)))


def without_room(disk: Disk) -> Disk:
    disk.space = FreeSpace(Arena(64), 64, disk.budget.memory)
    return disk


def test_a_disk_has_a_sector_for_every_one_that_the_budget_allows() -> None:
    assert Disk(Budget(64 * SECTOR_BYTES + 1, 1)).space.sectors >= 65


def test_freed_sectors_are_no_longer_charged(disk: Disk) -> None:
    disk.budget.reserve(8 * SECTOR_BYTES)
    disk.free(*disk.take(8)[0])
    assert disk.budget.used_bytes == 0
    assert disk.space.sectors == 64


def test_reserves_are_given_back_when_sectors_run_short(disk: Disk) -> None:
    first = disk.take(32)[0]
    reserve = Reserve(disk, first.place + 32, disk.space.take_at(first.place + 32, 32))
    assert sum(run.sectors for run in disk.take(32)) == 32
    assert reserve.count == 0
    assert not disk.reserved


def test_reserves_are_kept_while_there_are_others(disk: Disk) -> None:
    reserve = Reserve(disk, 0, disk.space.take_at(0, 8))
    disk.take(32)
    assert reserve.count == 8


def test_a_reserve_is_used_from_its_beginning(disk: Disk) -> None:
    reserve = Reserve(disk, 0, disk.space.take_at(0, 8))
    assert reserve.take(3) == 3
    assert (reserve.place, reserve.count) == (3, 5)


def test_a_reserve_that_is_used_up_is_forgotten(disk: Disk) -> None:
    reserve = Reserve(disk, 0, disk.space.take_at(0, 8))
    assert reserve.take(9) == 8
    assert not disk.reserved
    reserve.give_back()
    assert disk.space.sectors == 56


def test_lenders_are_asked_to_copy_once(disk: Disk) -> None:
    asked: list[str] = []
    disk.lent[lambda: asked.append("first")] = None
    disk.lent[lambda: asked.append("second")] = None
    disk.settle()
    disk.settle()
    assert asked == ["first", "second"]


def test_without_a_thread_memory_is_had_when_it_is_needed(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of processes let it have none: what it was asked for was waited for, for ever."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    disk.populate_ahead()
    assert disk.space.ahead is None


def test_a_volume_has_room_to_grow() -> None:
    disk = Disk(Budget(64 * SECTOR_BYTES, 1))
    assert disk.room_bytes == 16 * 64 * SECTOR_BYTES
    assert disk.space.sectors == disk.arena.sectors


# What is wiped


@pytest.fixture
def wiped() -> Disk:
    return Disk(Budget(16 << 20, 1), backing=Backing(wipe=True))


def is_blank(disk: Disk) -> bool:
    return not any(disk.memory[: 32 << 20].strip(b"\0"))


@pytest.mark.parametrize("size_bytes", [1, 513, 4107, 3 * WIPE_BYTES + 1])
def test_what_is_deleted_is_overwritten(wiped: Disk, size_bytes: int) -> None:
    content = Content(wiped)
    content.write(100, b"x" * size_bytes)
    assert not is_blank(wiped)
    content.truncate(0)
    assert is_blank(wiped)


@pytest.mark.parametrize("left_bytes", [0, 1, 511, 512, 4096, 5000])
def test_what_is_cut_off_is_overwritten(wiped: Disk, left_bytes: int) -> None:
    content = Content(wiped)
    content.write(0, b"x" * 9000)
    content.truncate(left_bytes)
    assert wiped.memory[: 1 << 20].count(b"x") == left_bytes
    assert content.read(0, 9000) == b"x" * left_bytes


def test_a_write_that_never_arrives_whole_is_overwritten(wiped: Disk) -> None:
    landing = land(wiped, Content(wiped), 0, 2 * WIPE_BYTES)
    assert landing is not None
    landing.views[0][: WIPE_BYTES + 1] = b"x" * (WIPE_BYTES + 1)
    landing.views.clear()
    landing.abort()
    assert is_blank(wiped)


def test_a_landing_that_is_written_otherwise_is_overwritten(wiped: Disk) -> None:
    content = Content(wiped)
    landing = land(wiped, content, 0, 4096)
    assert landing is not None
    content.write(0, b"y" * 4096)
    landing.views[0][:] = b"x" * 4096
    assert landing.commit() == 4096
    content.truncate(0)
    assert is_blank(wiped)


def test_without_it_nothing_is_overwritten() -> None:
    disk = Disk(Budget(1 << 20, 1))
    content = Content(disk)
    content.write(0, b"x" * 4096)
    content.truncate(0)
    assert b"x" * 4096 in disk.memory[: 1 << 20]


# What lies in a file


def test_what_is_kept_warm_follows_the_size() -> None:
    """A volume that was made small kept half of the size that it had been given at first."""
    disk = Disk(Budget(64 << 20, 100))
    content = Content(disk)
    content.write(0, bytes(16 << 20))
    content.truncate(0)
    assert disk.space.surplus(100) <= 0
    disk.resize(8 << 20, 100)
    assert disk.budget.limit_bytes == 8 << 20
    assert disk.space.surplus(100) == disk.space.warm.sectors - (4 << 20) // SECTOR_BYTES
    disk.resize(128 << 20, 100)
    assert disk.space.surplus(100) <= 0


@pytest.fixture
def filed(tmp_path: Path) -> Disk:
    return Disk(Budget(16 << 20, 1), backing=Backing(Kind.FILE, str(tmp_path)))


def test_what_lies_in_a_file_is_what_was_written(filed: Disk) -> None:
    content = Content(filed)
    for number in range(64):
        assert content.write(number * 70_001, bytes([number]) * 70_001) == 70_001
    assert content.read(63 * 70_001, 1 << 20) == b"\x3f" * 70_001
    assert filed.arena.file is not None
    held_bytes = os.fstat(filed.arena.file.number).st_blocks * 512
    assert 64 * 70_001 <= held_bytes <= 64 * 70_001 + AHEAD_SECTORS_MAX * SECTOR_BYTES + (1 << 20)
    content.truncate(0)
    filed.space.cool()
    # What nobody wrote to of the last chunk.
    assert os.fstat(filed.arena.file.number).st_blocks * 512 < CHUNK_SECTORS * SECTOR_BYTES


def test_where_the_disk_below_is_full_there_is_no_space(
    filed: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page without room on its disk would end the whole process (SIGBUS)."""
    content = Content(filed)
    content.write(0, b"x" * 4096)
    used_bytes = filed.budget.used_bytes

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        for offset in (4096, 1 << 30):
            with pytest.raises(FileSystemError, match="ENOSPC"):
                content.write(offset, b"y" * (1 << 20))
            assert land(filed, content, offset, 1 << 20) is None
        assert filed.budget.used_bytes == used_bytes
        content.write(4096, b"z" * 4096)  # what shares a chunk with the first
    assert content.read(0, 8193) == b"x" * 4096 + b"z" * 4096
    assert content.write(8192, b"y" * (1 << 20)) == 1 << 20


def test_a_file_goes_on_elsewhere_only_where_the_disk_below_has_room(
    filed: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write for which a full disk had no room left long runs that looked as if they were warm. A
    file that grew went on there, and room for the sectors in which it would go on was not asked
    for: the write after that ended the process (SIGBUS)."""
    contents = [Content(filed) for _ in range(3)]
    for content in contents[:2]:  # behind the first there is no room to go on
        content.write(0, b"x" * (256 << 10))
    allocate = os.posix_fallocate
    room_bytes = 0

    def take(number: int, offset: int, count: int) -> None:
        nonlocal room_bytes
        if count > room_bytes:
            raise OSError(errno.ENOSPC, "the disk is full")
        room_bytes -= count
        allocate(number, offset, count)

    monkeypatch.setattr(os, "posix_fallocate", take)
    assert land(filed, contents[2], 0, 12 << 20) is None
    room_bytes = 256 << 10
    contents[0].write(256 << 10, b"y" * (256 << 10))
    (_, first), (_, second) = contents[0].runs
    assert second.place > first.place + first.sectors
    assert contents[0].reserve is None
    room_bytes = 0
    with pytest.raises(FileSystemError, match="ENOSPC"):
        contents[0].write(512 << 10, b"z" * (512 << 10))


def test_a_full_disk_below_is_no_reason_to_wipe_what_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros are written to what was allocated only: there is no room for them elsewhere."""
    disk = Disk(Budget(16 << 20, 1), backing=Backing(Kind.FILE, str(tmp_path), wipe=True))
    assert disk.arena.file is not None
    monkeypatch.setattr(type(disk.arena.file), "allocate", lambda *_: False)
    with pytest.raises(FileSystemError, match="ENOSPC"):
        Content(disk).write(0, b"x")
    assert os.fstat(disk.arena.file.number).st_blocks == 0
    assert disk.budget.used_bytes == 0


@pytest.mark.parametrize("size_bytes", [1 << 20, 4 << 20])
def test_a_disk_looks_again_for_what_is_a_part_of_its_size(size_bytes: int) -> None:
    """It was a part of its address space, which is 16 times what it was made with."""
    disk = Disk(Budget(1 << 20, 1))
    disk.resize(size_bytes, 1)
    disk.budget.memory.bytes_max = 0
    disk.space.reclaim(1)
    assert disk.space._reclaim_above_sectors * SECTOR_BYTES == size_bytes // 64


def test_zeros_for_a_hole_on_a_full_disk_are_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that was arriving when its volume ended is wiped in what is a hole by then. Through
    the mapping, that ends the process where the disk has no room for zeros."""
    disk = Disk(Budget(16 << 20, 1), backing=Backing(Kind.FILE, str(tmp_path), wipe=True))
    disk.budget.reserve_sectors(8 * SECTOR_BYTES)
    ((place, count),) = disk.take(8)
    disk.arena.give_back(place, count)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(full))
    disk.free(place, count)
    assert disk.unwiped_bytes == 0
    assert os.fstat(disk.arena.file.number).st_blocks == 0


def test_what_cannot_be_wiped_is_counted_and_free_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was told that a disk had not taken the zeros."""
    disk = Disk(Budget(16 << 20, 1), backing=Backing(Kind.FILE, str(tmp_path), wipe=True))
    content = Content(disk)
    content.write(0, b"x" * (WIPE_BYTES + 5000))
    broken = OSError(errno.EIO, "broken")
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(broken))
    content.truncate(0)
    assert disk.unwiped_bytes == WIPE_BYTES + 10 * SECTOR_BYTES
    assert disk.budget.used_bytes == 0


def test_a_file_is_wiped_on_its_disk(tmp_path: Path) -> None:
    disk = Disk(Budget(16 << 20, 1), backing=Backing(Kind.FILE, str(tmp_path), wipe=True))
    content = Content(disk)
    content.write(0, b"x" * (WIPE_BYTES + 5000))
    assert not is_blank(disk)
    content.truncate(0)
    assert is_blank(disk)
    assert disk.unwiped_bytes == 0
    assert not any(os.pread(disk.arena.file.number, WIPE_BYTES + 8192, 0))


def test_a_file_is_charged_what_fits(tmp_path: Path) -> None:
    disk = Disk(
        Budget(8 * SECTOR_BYTES + FIRST_RUN_BYTES + RUN_BYTES, 1),
        backing=Backing(Kind.FILE, str(tmp_path)),
    )
    assert Content(disk).write(0, b"x" * 9999) == 8 * SECTOR_BYTES


def test_the_pages_of_a_file_are_no_memory_that_volumes_share(tmp_path: Path) -> None:
    allotment = Allotment()
    allotment.left_bytes = 1 << 30
    disk = Disk(Budget(16 << 20, 1, allotment), backing=Backing(Kind.FILE, directory=str(tmp_path)))
    before_bytes = allotment.left_bytes
    disk.budget.reserve_sectors(4 << 20)
    disk.take(8192)
    assert allotment.left_bytes == before_bytes
