"""Writes received straight into their sectors: all at once or not at all."""

import pytest

from ram9.storage.budget import Budget
from ram9.storage.content import Content
from ram9.storage.disk import Disk
from ram9.storage.errors import FileSystemError
from ram9.storage.landing import Landing, land
from ram9.storage.limits import FIRST_RUN_BYTES, RUN_BYTES, SECTOR_BYTES


@pytest.fixture
def disk() -> Disk:
    return Disk(Budget(1 << 20, 1))


@pytest.fixture
def content(disk: Disk) -> Content:
    return Content(disk)


def landed(disk: Disk, content: Content, offset: int, count: int) -> Landing:
    """A landing whose bytes have arrived."""
    landing = land(disk, content, offset, count)
    assert landing is not None
    for view in landing.views:
        view[:] = b"y" * len(view)
    return landing


def test_nothing_shows_before_the_commit(disk: Disk, content: Content) -> None:
    landed(disk, content, 100, 5000)
    assert content.size_bytes == 0
    assert content.runs == []


def test_everything_shows_after_the_commit(disk: Disk, content: Content) -> None:
    assert landed(disk, content, 100, 5000).commit() == 5000
    assert content.read(0, 9000) == bytes(100) + b"y" * 5000


def test_the_places_hold_exactly_the_bytes(disk: Disk, content: Content) -> None:
    assert [len(view) for view in landed(disk, content, 100, 5000).views] == [412, 4588]
    assert [len(view) for view in landed(disk, content, 512, 5000).views] == [5000]


def test_what_lies_behind_the_last_byte_is_zero(disk: Disk, content: Content) -> None:
    old = Content(disk)
    old.write(0, b"\xaa" * 9000)
    old.truncate(0)
    landed(disk, content, 0, 5000).commit()
    content.truncate(5120)
    assert content.read(5000, 120) == bytes(120)


def test_the_bytes_before_the_first_whole_sector_are_kept(disk: Disk, content: Content) -> None:
    content.write(0, b"x" * 300)
    landed(disk, content, 200, 5000).commit()
    assert content.read(0, 9000) == b"x" * 200 + b"y" * 5000


def test_an_aborted_landing_leaves_no_trace(disk: Disk, content: Content) -> None:
    landed(disk, content, 100, 5000).abort()
    assert disk.budget.used_bytes == 0
    assert disk.space.sectors == disk.arena.sectors


def test_bytes_within_one_sector_do_not_land(disk: Disk, content: Content) -> None:
    assert land(disk, content, 100, 400) is None
    assert land(disk, content, 512, 0) is None


def test_nothing_lands_where_there_are_sectors(disk: Disk, content: Content) -> None:
    content.write(4096, b"x")
    assert land(disk, content, 0, 5000) is None


def test_what_does_not_fit_does_not_land(disk: Disk, content: Content) -> None:
    assert land(disk, content, 0, 2 << 20) is None
    assert disk.budget.used_bytes == 0
    assert disk.budget.refusals == 0


def test_a_landing_where_somebody_wrote_meanwhile_wins(disk: Disk, content: Content) -> None:
    landing = landed(disk, content, 0, 5000)
    content.write(1000, b"x" * 10)
    assert landing.commit() == 5000
    assert content.read(0, 9000) == b"y" * 5000


def test_a_file_cut_short_meanwhile_grows_again(disk: Disk, content: Content) -> None:
    content.write(0, b"x" * 4096)
    landing = landed(disk, content, 4096, 4096)
    content.truncate(0)
    assert landing.commit() == 4096
    assert content.read(0, 9000) == bytes(4096) + b"y" * 4096
    assert disk.budget.used_bytes == 8 * SECTOR_BYTES + RUN_BYTES + FIRST_RUN_BYTES


def test_a_landing_that_finds_no_room_for_its_head_stores_what_fits(
    disk: Disk, content: Content
) -> None:
    """The sectors that landed took the room of the bytes before them, and the whole write was
    refused, where another that came in the usual way would have been stored in part."""
    disk.budget.limit_bytes = 10 * SECTOR_BYTES + FIRST_RUN_BYTES + RUN_BYTES
    landing = landed(disk, content, 100, 10 * SECTOR_BYTES)
    assert landing.commit() == 10 * SECTOR_BYTES - 100
    assert content.read(0, 9000) == bytes(100) + b"y" * (10 * SECTOR_BYTES - 100)


def test_a_landing_that_finds_no_room_at_all_is_refused(disk: Disk, content: Content) -> None:
    landing = landed(disk, content, 100, 10 * SECTOR_BYTES)
    disk.budget.limit_bytes = 100
    with pytest.raises(FileSystemError, match="ENOSPC"):
        landing.commit()
    assert disk.budget.used_bytes == 0
    assert content.size_bytes == 0


def test_two_landings_may_arrive_in_any_order(disk: Disk, content: Content) -> None:
    first, second = landed(disk, content, 0, 4096), landed(disk, content, 4096, 4096)
    second.commit()
    first.commit()
    assert content.read(0, 9000) == b"y" * 8192
    runs_bytes = len(content.runs) * RUN_BYTES
    assert disk.budget.used_bytes == 16 * SECTOR_BYTES + FIRST_RUN_BYTES + runs_bytes


def test_writes_that_do_not_arrive_hold_a_part_of_the_space_only(disk: Disk) -> None:
    """Clients that sent half of a large write each kept the whole space for two minutes."""
    landings = []
    while (landing := land(disk, Content(disk), 0, 100_000)) is not None:
        landings.append(landing)
    assert disk.budget.used_bytes < (1 << 18) + 101_000
    for landing in landings:
        landing.abort()
    assert disk.landing_bytes == 0
    assert disk.budget.used_bytes == 0
    assert land(disk, Content(disk), 0, 100_000) is not None


def test_what_is_over_is_not_aborted(disk: Disk, content: Content) -> None:
    landing = landed(disk, content, 0, 5000)
    landing.commit()
    landing.abort()
    assert content.read(0, 9000) == b"y" * 5000
    assert disk.landing_bytes == 0


def test_a_landing_that_met_a_bug_frees_its_sectors(
    disk: Disk, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = landed(disk, content, 100, 5000)

    def fail(*_arguments: object) -> int:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(Content, "write", fail)
        with pytest.raises(RuntimeError):
            landing.commit()
    landing.abort()
    assert disk.budget.used_bytes == 0
    assert disk.space.sectors == disk.arena.sectors
