"""A file's bytes: sparse, never moved, never another's."""

import pytest

from ram9.storage.arena import Arena
from ram9.storage.budget import Budget
from ram9.storage.content import AHEAD_SECTORS_MAX, NO_RUNS, Content
from ram9.storage.disk import Disk
from ram9.storage.errors import FileSystemError
from ram9.storage.limits import FIRST_RUN_BYTES, RUN_BYTES, SECTOR_BYTES
from ram9.storage.runs import Run
from ram9.storage.space import FreeSpace

GIB = 1 << 30


@pytest.fixture
def disk() -> Disk:
    return Disk(Budget(64 << 20, 1))


@pytest.fixture
def content(disk: Disk) -> Content:
    return Content(disk)


def soil(disk: Disk, sectors: int) -> None:
    """Leave old bytes in the sectors that are used next."""
    old = Content(disk)
    old.write(0, b"\xaa" * sectors * SECTOR_BYTES)
    old.truncate(0)


def fill(disk: Disk, content: Content) -> None:
    """Use up the disk."""
    available = disk.budget.available_bytes - FIRST_RUN_BYTES - RUN_BYTES
    content.write(0, b"x" * (available // SECTOR_BYTES * SECTOR_BYTES))


def test_a_new_file_is_empty(content: Content) -> None:
    assert content.read(0, 10) == b""
    assert content.size_bytes == content.sectors == 0


def test_read_past_the_end_returns_no_bytes(content: Content) -> None:
    content.write(0, b"abc")
    assert content.read(3, 10) == content.read(4, 10) == content.read(1 << 62, 10) == b""


def test_read_across_the_end_returns_what_is_there(content: Content) -> None:
    content.write(0, b"abc")
    assert content.read(1, 10) == b"bc"


def test_reading_no_bytes_returns_none(content: Content) -> None:
    content.write(0, b"abc")
    assert content.read(1, 0) == b""


def test_writing_no_bytes_changes_nothing(content: Content) -> None:
    """A zero-byte write past the end once made the file longer (POSIX write: nothing changes)."""
    assert content.write(1000, b"") == 0
    assert content.size_bytes == 0


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]])
def test_whatever_holds_bytes_can_be_written(content: Content, data: bytes) -> None:
    assert content.write(0, data) == 3
    assert content.read(0, 3) == b"abc"


def test_a_hole_reads_as_zeros_and_has_no_sectors(content: Content) -> None:
    """memefs is not sparse: extending a file allocates all of it."""
    content.write(10 * SECTOR_BYTES, b"x")
    assert content.read(0, 10 * SECTOR_BYTES) == bytes(10 * SECTOR_BYTES)
    assert content.sectors == 1


def test_what_a_write_skips_of_a_recycled_sector_is_zero(disk: Disk, content: Content) -> None:
    """memefs does not clear what it extends by (nodes-compat.cpp): removed files shine through."""
    soil(disk, 100)
    content.write(700, b"x" * 100)
    assert content.read(512, 188) == bytes(188)
    assert content.behind_end(224) == bytes(224)


def test_a_file_extended_by_truncate_reads_as_zeros(disk: Disk, content: Content) -> None:
    """memefs again: a grown file showed what others had left in memory."""
    soil(disk, 100)
    content.truncate(50_000)
    assert content.read(0, 50_000) == bytes(50_000)
    content.write(60_000, b"x")
    assert content.read(0, 60_000) == bytes(60_000)


def test_what_truncate_cut_off_never_comes_back(content: Content) -> None:
    content.write(0, b"x" * 5000)
    content.truncate(700)
    content.truncate(5000)
    assert content.read(0, 5000) == b"x" * 700 + bytes(4300)


def test_an_extension_out_of_the_reserve_is_zero_behind_its_end(
    disk: Disk, content: Content
) -> None:
    soil(disk, 100)
    content.write(0, b"x" * 4096)
    content.write(4096, b"x")
    assert content.reserve is not None
    content.write(4097, b"x" * 512)
    content.truncate(9000)
    assert content.read(4097 + 512, 4000) == bytes(4000)


def test_truncating_in_a_hole_keeps_what_is_before(content: Content) -> None:
    content.write(0, b"x" * 512)
    content.write(5000, b"x")
    content.truncate(2000)
    assert content.read(0, 9000) == b"x" * 512 + bytes(1488)
    assert content.sectors == 1


def test_a_write_into_holes_and_runs_fills_all_of_them(content: Content) -> None:
    for sector in (1, 3, 5):
        content.write(sector * SECTOR_BYTES, b"x")
    content.write(100, b"y" * 3000)
    assert content.read(0, 4000) == bytes(100) + b"y" * 3000
    assert content.holes(0, 9) == [(7, 2)]


def test_holes_are_what_no_run_covers(content: Content) -> None:
    content.write(2 * SECTOR_BYTES, b"x" * 1024)
    content.write(6 * SECTOR_BYTES, b"x")
    assert content.holes(0, 10) == [(0, 2), (4, 2), (7, 3)]
    assert content.holes(3, 6) == [(4, 2)]
    assert content.holes(2, 4) == []


def test_sectors_written_backwards_are_one_run_where_they_can_be(content: Content) -> None:
    content.write(0, b"x" * 512)
    content.write(1024, b"x" * 512)
    content.write(512, b"x" * 512)
    assert content.read(0, 2000) == b"x" * 1536
    assert content.sectors == 3


def test_a_gap_that_is_filled_joins_the_runs_beside_it(disk: Disk, content: Content) -> None:
    free = disk.space.take(3)[0]
    for sector in (0, 2, 1):
        disk.space.free(free.place + sector, 1)
        content.write(sector * SECTOR_BYTES, b"x")
    assert content.runs == [(0, Run(free.place, 3))]


def test_lent_bytes_of_one_run_are_the_arena_itself(content: Content) -> None:
    content.write(0, b"x" * 1000)
    assert isinstance(content.lend(10, 500), memoryview)
    assert content.lend(10, 5000) == b"x" * 990


def test_lent_bytes_of_a_hole_are_a_copy(content: Content) -> None:
    content.truncate(1000)
    assert content.lend(0, 500) == bytes(500)


@pytest.mark.parametrize("change", ["write", "truncate", "another"])
def test_lenders_copy_before_anything_changes(disk: Disk, content: Content, change: str) -> None:
    content.write(0, b"x" * 1000)
    lent = content.lend(0, 1000)
    copies: list[bytes] = []
    disk.lent[lambda: copies.append(bytes(lent))] = None
    if change == "write":
        content.write(0, b"y")
    elif change == "truncate":
        content.truncate(1)
    else:
        Content(disk).write(0, b"y")
    assert copies == [b"x" * 1000]


def test_a_full_volume_stops_growth_into_a_reserve(disk: Disk, content: Content) -> None:
    for _ in range(5):
        content.write(content.size_bytes, b"x" * 512)
    assert content.reserve is not None
    disk.budget.limit_bytes = disk.budget.used_bytes
    with pytest.raises(FileSystemError, match="ENOSPC"):
        content.write(content.size_bytes, b"x")


def test_a_claim_at_the_end_uses_the_reserve(content: Content) -> None:
    for _ in range(9):
        content.write(content.size_bytes, b"x" * 512)
    assert content.reserve is not None
    place = content.reserve.place
    claim = content.claim(9, 1)
    assert claim is not None
    assert claim == (9, [Run(place, 1)], 0)  # it goes on in the last run
    content.adopt(claim)
    assert len(content.runs) == 1


def test_two_files_that_grow_together_do_not_interleave(disk: Disk) -> None:
    first, second = Content(disk), Content(disk)
    for _ in range(1000):
        for content in (first, second):
            content.write(content.size_bytes, b"x" * 512)
    assert first.sectors == second.sectors == 1000
    assert len(first.runs) + len(second.runs) < 30


def test_nobody_is_charged_for_a_reserve(disk: Disk, content: Content) -> None:
    for _ in range(10):
        content.write(content.size_bytes, b"x" * 512)
    assert content.reserve is not None
    assert disk.budget.used_bytes == 10 * SECTOR_BYTES + FIRST_RUN_BYTES + RUN_BYTES


def test_a_reserve_is_bounded(content: Content) -> None:
    for _ in range(10):
        content.write(content.size_bytes, bytes(1 << 20))
    assert content.reserve is not None
    assert content.reserve.sectors <= AHEAD_SECTORS_MAX


def test_a_reserve_that_was_given_back_is_free(disk: Disk, content: Content) -> None:
    for _ in range(10):
        content.write(content.size_bytes, b"x" * 512)
    content.give_back_reserve()
    assert content.reserve is None
    assert disk.space.sectors == disk.arena.sectors - 10


def test_reserves_never_keep_others_from_writing(disk: Disk) -> None:
    growing = Content(disk)
    for _ in range(4):
        growing.write(growing.size_bytes, bytes(1 << 20))
    other = Content(disk)
    left = (disk.budget.available_bytes - FIRST_RUN_BYTES) // SECTOR_BYTES * SECTOR_BYTES
    assert other.write(0, bytes(left)) >= left - SECTOR_BYTES


@pytest.mark.parametrize("size_bytes", [1 << 10, 4 * GIB, 1 << 62])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_growing_never_copies(content: Content, size_bytes: int, is_sparse: bool) -> None:  # noqa: FBT001
    """4107 bytes at the end of a file of any size touch the same few sectors, and those that were
    there stay where they are."""
    content.write(0, b"x" * 1024)
    if is_sparse:
        content.truncate(size_bytes)
    else:
        content.write(size_bytes - 1, b"x")
    before, sectors = content.runs, content.sectors
    content.write(size_bytes, b"y" * 4107)
    grown = dict(content.runs)
    for start, run in before:
        assert grown[start].place == run.place
        assert grown[start].sectors >= run.sectors
    assert content.sectors - sectors == 9
    assert len(grown) - len(before) <= 2
    assert content.read(size_bytes, 5000) == b"y" * 4107


def test_a_file_of_many_appends_stays_in_few_runs(content: Content) -> None:
    places: dict[int, int] = {}
    for _ in range(5000):
        content.write(content.size_bytes, b"x" * 4107)
        for start, run in content.runs:
            assert places.setdefault(start, run.place) == run.place
    assert len(content.runs) < 10


def test_a_refused_write_leaves_no_trace(disk: Disk, content: Content) -> None:
    """memefs compares bytes with sectors when it rolls a failed extension back: never."""
    other = Content(disk)
    fill(disk, content)
    used_bytes = disk.budget.used_bytes
    with pytest.raises(FileSystemError, match="ENOSPC"):
        other.write(300, b"y")
    assert disk.budget.used_bytes == used_bytes
    assert (other.size_bytes, other.runs, other.sectors) == (0, [], 0)


def test_a_write_that_fits_in_part_is_cut_at_a_sector(disk: Disk, content: Content) -> None:
    disk.budget.limit_bytes = FIRST_RUN_BYTES + RUN_BYTES + 3 * SECTOR_BYTES + 100
    assert content.write(100, b"x" * 5000) == 3 * SECTOR_BYTES - 100
    assert content.size_bytes == 3 * SECTOR_BYTES


def test_a_write_that_fits_in_part_before_a_run_stops_there(disk: Disk, content: Content) -> None:
    content.write(2 * SECTOR_BYTES, b"x" * SECTOR_BYTES)
    disk.budget.limit_bytes = disk.budget.used_bytes + 2 * SECTOR_BYTES + 2 * RUN_BYTES
    assert content.write(SECTOR_BYTES, b"y" * 5000) == 3 * SECTOR_BYTES


def test_a_write_that_fits_only_before_a_hole_stops_there(disk: Disk, content: Content) -> None:
    content.write(0, b"x" * SECTOR_BYTES)
    disk.budget.limit_bytes = disk.budget.used_bytes + 100
    assert content.write(500, b"y" * 5000) == 12


def test_a_write_that_does_not_fit_is_counted_once(disk: Disk, content: Content) -> None:
    """Every attempt with fewer sectors counted as a refusal of its own."""
    disk.budget.limit_bytes = 600
    with pytest.raises(FileSystemError):
        content.write(0, b"x" * 5000)
    assert disk.budget.refusals == 1


def test_free_sectors_that_are_shredded_are_filled() -> None:
    """In 100 pieces, 100 sectors need 100 runs, whose cost no longer fits beside them: one sector
    less was tried, and then the write was refused with almost all of the volume free."""
    disk = Disk(Budget(200 * SECTOR_BYTES + FIRST_RUN_BYTES, 1))
    disk.space = FreeSpace(Arena(200), 1000, disk.budget.memory)
    disk.space.take(200)
    for place in range(0, 200, 2):
        disk.space.free(place, 1)
    disk.budget.used_bytes = 100 * SECTOR_BYTES
    content = Content(disk)
    written = content.write(0, b"x" * 100 * SECTOR_BYTES)
    assert written == 95 * SECTOR_BYTES
    assert disk.budget.available_bytes < SECTOR_BYTES + RUN_BYTES


def test_a_file_emptied_costs_nothing(disk: Disk, content: Content) -> None:
    content.write(0, b"x" * 5000)
    content.write(50_000, b"x" * 5000)
    content.truncate(0)
    assert disk.budget.used_bytes == 0
    assert content._starts is NO_RUNS


def test_a_claim_that_is_disowned_leaves_no_trace(disk: Disk, content: Content) -> None:
    claim = content.claim(5, 100)
    assert claim is not None
    content.disown(claim)
    assert disk.budget.used_bytes == 0
    assert disk.space.sectors == disk.arena.sectors


def test_a_claim_that_does_not_fit_is_none(disk: Disk, content: Content) -> None:
    disk.budget.limit_bytes = 10 * SECTOR_BYTES
    assert content.claim(0, 11) is None
    assert content.claim(0, 10) is None
    assert disk.budget.used_bytes == 0


def test_a_reserve_behind_a_claim_is_not_used_by_the_file(disk: Disk, content: Content) -> None:
    content.write(0, b"x" * 4096)
    claim = content.claim(8, 8)
    assert claim is not None
    content.write(4096, b"y" * 4096)
    assert [start for start, _ in content.runs] == [0, 8]  # the claimed sectors lie between
    content.disown(claim)
    assert content.read(0, 9000) == b"x" * 4096 + b"y" * 4096
    content.give_back_reserve()
    assert disk.space.sectors == disk.arena.sectors - 16
