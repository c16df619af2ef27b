"""Free sectors: found in long runs, warm before cold, and joined again when they come back."""

import mmap
import random

import pytest

from ram9.storage.arena import Arena
from ram9.storage.budget import Memory
from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES
from ram9.storage.populating import Populator
from ram9.storage.runs import FreeRuns, Run
from ram9.storage.space import ALIGNED_SECTORS_MIN, BATCH_SECTORS, ELSEWHERE_SECTORS_MIN, FreeSpace

MANY = 1 << 15


@pytest.fixture
def space() -> FreeSpace:
    """Free space on a system that does not populate memory when it is asked to."""
    arena = Arena(MANY)
    arena.populates = False
    return FreeSpace(arena, warm_sectors_max=1024, memory=Memory(1 << 40))


class PopulatedArena(Arena):
    """An arena whose system populates whatever it is asked to, and remembers it."""

    __slots__ = ("has_memory", "populated")

    def __init__(self, sectors: int) -> None:
        super().__init__(sectors)
        self.has_memory = True
        self.populated: list[tuple[int, int]] = []

    def populate(self, sector: int, count: int) -> bool:
        self.populated.append((sector, count))
        return self.has_memory


@pytest.fixture
def arena() -> PopulatedArena:
    return PopulatedArena(MANY)


@pytest.fixture
def batched(arena: PopulatedArena) -> FreeSpace:
    return FreeSpace(arena, warm_sectors_max=2 * MANY, memory=Memory(1 << 40))


def test_many_sectors_begin_at_a_page(space: FreeSpace) -> None:
    space.free(*space.take(MANY)[0])
    space.take(3)
    many = ALIGNED_SECTORS_MIN
    assert space.take(many) == [Run(PAGE_SECTORS, many)]
    assert space.take(PAGE_SECTORS - 3) == [Run(3, PAGE_SECTORS - 3)]


def test_few_sectors_share_pages(batched: FreeSpace) -> None:
    """Files of nine sectors took two pages each: a disk half full of them held all its memory."""
    for number in range(100):
        assert batched.take(9) == [Run(9 * number, 9)]


@pytest.fixture
def tight() -> tuple[FreeSpace, Memory]:
    """Space whose memory is all in use: every second sector is free, and no page."""
    arena = Arena(MANY)
    memory = Memory(0)
    memory.bytes_max = MANY // 2 * SECTOR_BYTES
    space = FreeSpace(arena, MANY // 2, memory)
    space.take(MANY // 2)
    for place in range(0, MANY // 2, 2):
        space.free(place, 1)
    assert memory.resident_bytes == memory.bytes_max
    return space, memory


def test_where_memory_is_short_sectors_are_taken_that_hold_some(
    tight: tuple[FreeSpace, Memory],
) -> None:
    space, memory = tight
    pieces = space.take(MANY // 4)
    assert {piece.sectors for piece in pieces} == {1}
    assert memory.resident_bytes == memory.bytes_max
    assert space.warm.sectors == 0


def test_where_memory_is_short_no_run_is_extended_into_more(
    tight: tuple[FreeSpace, Memory],
) -> None:
    space, memory = tight
    assert space.take_at(MANY // 2, 8) == 0
    memory.bytes_max += 8 * SECTOR_BYTES
    assert space.take_at(MANY // 2, 8) == 8


def test_memory_is_given_back_when_something_else_needs_it() -> None:
    memory = Memory(0)
    memory.bytes_max = 64 * SECTOR_BYTES
    space = FreeSpace(Arena(MANY), MANY, memory)
    space.free(*space.take(64)[0])
    assert not memory.has_room(1)
    space.reclaim(1)
    assert memory.has_room(1)
    assert memory.resident_bytes == 0


def test_where_nothing_can_be_given_back_one_does_not_look_again_at_once(
    tight: tuple[FreeSpace, Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    space, memory = tight
    space.reclaim(1)
    assert not memory.has_room(1)
    monkeypatch.setattr(FreeRuns, "oldest", lambda *_: pytest.fail("it looked"))
    space.reclaim(1)


def test_memory_for_a_page_or_more_is_had_in_batches(
    batched: FreeSpace, arena: PopulatedArena
) -> None:
    assert batched.take(PAGE_SECTORS) == [Run(0, PAGE_SECTORS)]
    assert arena.populated == [(0, BATCH_SECTORS)]
    assert batched.warm.sectors == BATCH_SECTORS - PAGE_SECTORS
    batched.take(PAGE_SECTORS)
    assert len(arena.populated) == 1


def test_what_is_extended_goes_on_into_the_next_batch(
    batched: FreeSpace, arena: PopulatedArena
) -> None:
    batched.take(BATCH_SECTORS)
    assert batched.take_at(BATCH_SECTORS, 9) == 9
    assert arena.populated == [(0, BATCH_SECTORS), (BATCH_SECTORS, BATCH_SECTORS)]


def test_less_than_a_page_takes_no_batch(batched: FreeSpace, arena: PopulatedArena) -> None:
    batched.take(PAGE_SECTORS - 1)
    assert arena.populated == []


def test_where_no_batch_is_left_pages_do(batched: FreeSpace) -> None:
    while batched.cold.sectors:
        batched.take(BATCH_SECTORS)
    batched.free(8, 64)
    batched.cool()
    assert batched.take(9) == [Run(8, 9)]


def test_a_system_that_populates_nothing_is_not_asked(space: FreeSpace) -> None:
    space.take(PAGE_SECTORS)
    assert space.take_at(PAGE_SECTORS, BATCH_SECTORS) == BATCH_SECTORS
    assert space.warm.sectors == 0


def test_a_system_that_has_no_memory_leaves_the_sectors_cold(arena: PopulatedArena) -> None:
    arena.has_memory = False
    space = FreeSpace(arena, warm_sectors_max=MANY, memory=Memory(1 << 40))
    assert space.take(PAGE_SECTORS) == [Run(0, PAGE_SECTORS)]
    assert space.warm.sectors == 0


def test_what_nobody_needed_for_some_periods_is_a_surplus(space: FreeSpace) -> None:
    space.free(*space.take(512)[0])
    assert [space.surplus(3) for _ in range(5)] == [0, 0, 0, 512, 512]


def test_what_was_used_again_meanwhile_is_none(space: FreeSpace) -> None:
    space.free(*space.take(512)[0])
    found = []
    for _ in range(9):
        space.free(*space.take(500)[0])
        found.append(space.surplus(3))
    assert found == [0, 0, 0, 12, 12, 12, 12, 12, 12]


def test_what_is_given_back_is_no_surplus_any_more(space: FreeSpace) -> None:
    space.free(*space.take(512)[0])
    for _ in range(9):
        space.surplus(3)
    assert space.give_back(128) == 128
    assert space.surplus(3) == 384
    assert space.cold.sectors == MANY - 384


def test_a_surplus_is_cut_from_the_ends_of_long_runs(space: FreeSpace) -> None:
    """One run of three gigabytes went back as a whole where some megabytes of it were too much."""
    space.free(*space.take(MANY)[0])
    assert space.give_back(17) == 3 * PAGE_SECTORS
    assert list(space.warm) == [Run(0, MANY - 3 * PAGE_SECTORS)]


def test_long_runs_go_back_before_short_ones(space: FreeSpace) -> None:
    (run,) = space.take(512)
    space.free(run.place, 9)
    space.free(run.place + 64, 128)
    assert space.give_back(64) == 64
    assert sorted(space.warm) == [Run(run.place, 9), Run(run.place + 64, 64)]


def test_a_growing_file_goes_on_in_a_long_warm_run_only(space: FreeSpace) -> None:
    space.free(*space.take(ELSEWHERE_SECTORS_MIN - PAGE_SECTORS)[0])
    assert space.take_elsewhere(100) is None
    for run in space.take(MANY):
        space.free(*run)
    assert space.take_elsewhere(100) == 0
    assert space.take_warm_at(100, 9) == 9


def test_what_is_reserved_behind_a_file_is_cold_only_if_no_long_run_is_warm(
    space: FreeSpace,
) -> None:
    (run,) = space.take(MANY // 2)
    assert space.take_ahead(MANY // 2, 8) == 8
    space.free(*run)
    assert space.take_ahead(MANY // 2 + 8, 8) == 0


def test_giving_back_many_runs_takes_several_turns(
    space: FreeSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 131,000 fragments that could not be given back, all requests waited for a quarter of a
    second in every second."""
    monkeypatch.setattr("ram9.storage.space.RUNS_AT_A_LOOK", (2,))
    (run,) = space.take(MANY)
    for place in range(run.place, run.place + 5 * 16, 16):
        space.free(place, 8)
    turns = []
    for _ in range(4):
        space.cool()
        turns.append(space.warm.sectors)
    assert turns == [24, 8, 0, 0]


def test_what_was_cooled_is_not_looked_at_again(
    space: FreeSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.free(*space.take(9)[0])
    space.cool()
    monkeypatch.setattr(FreeRuns, "oldest", lambda *_: pytest.fail("it looked"))
    space.cool()


def test_where_the_system_takes_nothing_back_no_sector_is_lost(
    space: FreeSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is locked cannot be given back (madvise(2): EINVAL)."""
    monkeypatch.setattr(mmap, "MADV_DONTNEED", 9999)
    space.free(*space.take(64)[0])
    with pytest.raises(OSError, match="Invalid"):
        space.cool()
    assert space.sectors == MANY


def test_warm_sectors_are_taken_before_cold_ones(space: FreeSpace) -> None:
    space.free(*space.take(100)[0])
    assert space.take(100)[0].place == 0


def test_cold_sectors_are_always_whole_pages(space: FreeSpace) -> None:
    """The rest of a page that is used in part turns warm with it: else neither set ever had the
    page whole, and it was not given back (see test_arena.py)."""
    space.take(9)
    assert list(space.cold) == [Run(16, MANY - 16)]
    assert list(space.warm) == [Run(9, 7)]


def test_a_run_is_extended_through_warm_and_cold_sectors(space: FreeSpace) -> None:
    first = space.take(9)[0]
    assert space.take_at(first.place + 9, 100) == 100
    assert list(space.cold) == [Run(112, MANY - 112)]


def test_a_run_is_extended_only_by_what_follows_it(space: FreeSpace) -> None:
    first, second = space.take(16)[0], space.take(16)[0]
    assert space.take_at(first.place + 16, 8) == 0
    assert space.take_at(second.place + 16, 8) == 8


def test_all_sectors_can_be_taken_in_pieces(space: FreeSpace) -> None:
    whole = space.take(MANY)[0]
    for place in range(0, whole.sectors, 2):
        space.free(place, 1)
    pieces = space.take(MANY // 2)
    assert sum(piece.sectors for piece in pieces) == MANY // 2
    assert space.sectors == 0


def test_more_than_there_is_is_a_mistake(space: FreeSpace) -> None:
    with pytest.raises(AssertionError):
        space.take(MANY + 1)


def test_beyond_the_watermark_pages_turn_cold(space: FreeSpace) -> None:
    runs = [space.take(64)[0] for _ in range(32)]
    for run in runs:
        space.free(*run)
    assert space.surplus(9) == 1024
    assert space.give_back(1024) == 1024
    assert space.warm.sectors == 1024
    assert space.sectors == MANY


def test_what_cannot_be_given_back_is_looked_at_once(
    space: FreeSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.take(MANY)
    for place in range(0, MANY, 2):
        space.free(place, 1)
    assert space.surplus(1) >= MANY // 4
    assert space.give_back(MANY) == 0
    monkeypatch.setattr(FreeRuns, "oldest", lambda *_: pytest.fail("it looked"))
    assert space.give_back(MANY) == 0


def test_cooling_leaves_only_pieces_of_pages_warm(space: FreeSpace) -> None:
    place = space.take(64)[0].place
    space.free(place + 3, 30)
    space.cool()
    assert sorted(space.warm) == [Run(place + 3, 5), Run(place + 32, 1)]


def test_a_run_without_a_whole_page_is_not_given_back(space: FreeSpace) -> None:
    place = space.take(64)[0].place
    space.free(place + 1, 14)
    space.free(place + 24, 8)
    space.cool()
    assert list(space.warm) == [Run(place + 1, 14)]


def test_a_big_file_finds_a_long_run_after_churn(space: FreeSpace) -> None:
    """Years of files that come and go leave nothing behind that would shred the next big one."""
    chance = random.Random(9)
    held: list[Run] = []
    for _ in range(5000):
        if held and (chance.random() < 0.5 or space.sectors < 2000):
            space.free(*held.pop(chance.randrange(len(held))))
        else:
            held += space.take(chance.choice([1, 2, 9, 64, 700]))
        if chance.random() < 0.01:
            space.cool()
    for run in held:
        space.free(*run)
    space.cool()
    assert space.take(MANY) == [Run(0, MANY)]


@pytest.fixture
def ahead(arena: PopulatedArena) -> FreeSpace:
    """Space with a thread that makes memory ready."""
    space = FreeSpace(arena, 2 * MANY, Memory(1 << 40))
    space.ahead = Populator(arena, BATCH_SECTORS)
    return space


def test_who_writes_a_second_batch_gets_the_next_ones_ahead(ahead: FreeSpace) -> None:
    ahead.take(BATCH_SECTORS)
    assert ahead.pending == []
    ahead.take(BATCH_SECTORS)
    assert ahead.pending == [Run(n * BATCH_SECTORS, BATCH_SECTORS) for n in (2, 3)]
    assert ahead.sectors == MANY - 2 * BATCH_SECTORS


def test_what_is_pending_is_waited_for_and_not_populated_twice(
    ahead: FreeSpace, arena: PopulatedArena
) -> None:
    place = ahead.take(BATCH_SECTORS)[0].place + BATCH_SECTORS
    while ahead.sectors:
        place += ahead.take_at(place, 100)
    assert arena.populated == [(n, BATCH_SECTORS) for n in range(0, MANY, BATCH_SECTORS)]
    assert place == MANY


def test_what_is_pending_serves_whoever_needs_all(ahead: FreeSpace) -> None:
    ahead.take(BATCH_SECTORS)
    ahead.take(BATCH_SECTORS)
    assert sum(run.sectors for run in ahead.take(ahead.sectors)) == MANY - 2 * BATCH_SECTORS
    assert ahead.pending == []


def test_what_was_made_ready_for_nobody_goes_back(ahead: FreeSpace) -> None:
    ahead.take(BATCH_SECTORS)
    ahead.take(BATCH_SECTORS)
    while ahead.pending:
        ahead.cool()
    assert ahead.warm.sectors == 0
    assert ahead.cold.sectors == MANY - 2 * BATCH_SECTORS


def test_a_system_that_runs_out_of_memory_ahead_leaves_the_sectors_cold(
    ahead: FreeSpace, arena: PopulatedArena
) -> None:
    ahead.take(BATCH_SECTORS)
    arena.has_memory = False
    while ahead.sectors:
        ahead.take(BATCH_SECTORS)
    assert ahead.pending == []


def test_memory_is_not_had_ahead_where_it_is_short(arena: PopulatedArena) -> None:
    memory = Memory(0)
    memory.bytes_max = 3 * BATCH_SECTORS * SECTOR_BYTES
    space = FreeSpace(arena, 2 * MANY, memory)
    space.ahead = Populator(arena, BATCH_SECTORS)
    space.take(BATCH_SECTORS)
    space.take(BATCH_SECTORS)
    assert len(space.pending) == 1
    assert memory.resident_bytes == memory.bytes_max


def test_what_was_made_ready_for_nobody_is_reclaimed(ahead: FreeSpace) -> None:
    """Names were refused while eight megabytes of it lay ready."""
    ahead.take(BATCH_SECTORS)
    ahead.take(BATCH_SECTORS)
    assert ahead.pending
    ahead._memory.bytes_max = 2 * BATCH_SECTORS * SECTOR_BYTES + 100
    ahead.reclaim(100)
    assert ahead._memory.has_room(100)


def test_as_much_is_reclaimed_as_is_missing(arena: PopulatedArena) -> None:
    """Only as much as was asked for was, though more than that was missing before."""
    memory = Memory(1 << 40)
    space = FreeSpace(arena, MANY, memory)
    space.free(*space.take(3 * BATCH_SECTORS)[0])
    memory.bytes_max = 100
    space.reclaim(100)
    assert memory.has_room(100)


def test_one_looks_again_once_something_has_become_free(tight: tuple[FreeSpace, Memory]) -> None:
    """What it took to look again was counted from the most that ever was free."""
    space, memory = tight
    space.reclaim(1)
    space.take(space.warm.sectors)
    for place in range(0, MANY // 2, 64):
        space.free(place, 1)
    assert not memory.has_room(1)
    space.reclaim(1)
    assert not memory.has_room(1)
    space.free(1, 63)
    space.free(65, 639)
    space.reclaim(1)
    assert memory.has_room(1)


def test_where_nothing_is_to_be_given_back_the_newest_stays_the_newest(space: FreeSpace) -> None:
    """Each look at some of the oldest runs put them before the newest, once a second."""
    (run,) = space.take(192)
    space.free(run.place, 64)
    space.free(run.place + 128, 64)
    assert space.give_back(space.surplus(1)) == 0
    assert space.take(64) == [Run(run.place + 128, 64)]
