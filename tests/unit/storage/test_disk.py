"""Sectors for contents: always there for who was charged, and never changed under a sender."""

import threading

import pytest

from ram9.storage.budget import Budget
from ram9.storage.disk import Disk, Reserve
from ram9.storage.limits import SECTOR_BYTES


@pytest.fixture
def disk() -> Disk:
    return Disk(Budget(64 * SECTOR_BYTES, 1))


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
