"""Which sectors are free.

Free sectors lie in two sets of runs. *Warm* ones were used before: their pages are in memory, so
writing them again costs no page fault, and they hold old bytes. *Cold* ones were never touched or
were given back to the system; they are always whole pages, so that a page of which a sector was
used is warm in all its free sectors, and can be given back once they are eight. Warm ones are
reused first, the most recently freed before the rest; beyond a watermark, and when the server is
idle, whole warm pages turn cold.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from ram9.storage.arena import Arena
from ram9.storage.budget import Memory
from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES
from ram9.storage.populating import Populator

RUNS_AT_ONCE_MAX: Final = 8192  # to look at before requests get their turn: some 40 ms
ALIGNED_SECTORS_MIN: Final = 64  # what is smaller shares pages, and wastes none
BATCH_SECTORS: Final = 8192  # cold sectors that turn warm at a time: 4 MiB, in about 2 ms
SHED_SECTORS_MAX: Final = 32768  # to give back before requests get their turn: 16 MiB
BATCHES_AHEAD: Final = 2  # that turn warm while those before them are being used


class Run(NamedTuple):
    """*sectors* adjacent sectors of the arena, the first of which is *place*."""

    place: int
    sectors: int


class FreeRuns:
    """A set of free sectors, kept as the longest possible runs.

    Runs lie in classes by the bit length of their size. A class is a stack of first sectors, the
    newest on top, from which runs that have gone since are dropped when they come up: so finding
    a run, adding one and joining it to its neighbours each take constant time.
    """

    __slots__ = ("_count_at", "_live", "_occupied", "_stacks", "_start_of", "sectors")

    def __init__(self) -> None:
        self.sectors = 0
        self._count_at: dict[int, int] = {}  # first sector: count
        self._start_of: dict[int, int] = {}  # sector after the last: first sector
        self._stacks: list[list[int]] = [[] for _ in range(64)]
        self._live = [0] * 64  # runs in each class
        self._occupied = 0  # bit k is set when class k has runs

    def __iter__(self) -> Iterator[Run]:
        """All runs, in no order."""
        return iter([Run(place, count) for place, count in self._count_at.items()])

    def add(self, place: int, count: int) -> None:
        """Add a run, joined to the free runs that it touches."""
        before = self._start_of.get(place)
        if before is not None:
            count += self._remove(before)
            place = before
        after = place + count
        if after in self._count_at:
            count += self._remove(after)
        self._insert(place, count)

    def take_at(self, place: int, count_max: int) -> int:
        """Take up to *count_max* sectors from the run that begins at *place*; return how many."""
        there = self._count_at.get(place)
        if there is None or count_max <= 0:
            return 0
        self._remove(place)
        taken = min(there, count_max)
        if taken < there:
            self._insert(place + taken, there - taken)
        return taken

    def take(self, count: int, align: int = 1) -> int | None:
        """Take *count* adjacent sectors and return the first, or None where no run is long enough.

        The first is a multiple of *align*.
        """
        enough = (count + align - 1).bit_length() + 1  # every run of this class or above will do
        above = self._occupied >> enough
        candidates = [count.bit_length()]  # here only the newest is looked at: it may be too short
        if above:
            candidates.append(enough + (above & -above).bit_length() - 1)
        for size_class in candidates:
            if self._occupied >> size_class & 1:
                start = self._newest(size_class)
                place = start + -start % align
                if place + count <= start + self._count_at[start]:
                    self._cut(start, place, count)
                    return place
        return None

    def starts_with(self, place: int, count: int) -> bool:
        """Whether a run of at least *count* sectors begins at *place*."""
        return self._count_at.get(place, 0) >= count

    def take_piece(self, count_max: int) -> Run | None:
        """Take up to *count_max* sectors from a run of the largest class; None if all is used."""
        if not self._occupied:
            return None
        newest = self._newest(self._occupied.bit_length() - 1)
        return Run(newest, self.take_at(newest, count_max))

    def oldest(self, count: int, runs_max: int) -> list[Run]:
        """Some runs in classes of at least *count* sectors, a power of two; the oldest of each.

        At most *runs_max*. They are the newest now: who asks again is given others.
        """
        found: dict[int, int] = {}
        for size_class in range(count.bit_length(), len(self._stacks)):
            stack = self._stacks[size_class]
            unseen, seen = len(stack), len(found)
            while unseen and len(found) < runs_max:
                places = stack[: min(unseen, runs_max - len(found))]
                del stack[: len(places)]
                unseen -= len(places)
                for place in places:
                    there = self._count_at.get(place, 0)
                    if there.bit_length() == size_class:
                        found[place] = there
            stack.extend(islice(found, seen, None))
        return [Run(place, there) for place, there in found.items()]

    def largest(self, count: int, runs_max: int) -> list[Run]:
        """Up to *runs_max* runs in classes of at least *count* sectors, the largest class first."""
        found: list[Run] = []
        for size_class in range(self._occupied.bit_length() - 1, count.bit_length() - 1, -1):
            places = islice(self._compact(size_class), runs_max - len(found))
            found.extend(Run(place, self._count_at[place]) for place in places)
        return found

    def _newest(self, size_class: int) -> int:
        """The first sector of the newest run in a class that has runs."""
        stack = self._stacks[size_class]
        while self._count_at.get(stack[-1], 0).bit_length() != size_class:
            stack.pop()
        return stack[-1]

    def _compact(self, size_class: int) -> list[int]:
        """The stack of a class without what has gone; what came back keeps its older place."""
        count_at = self._count_at
        stack = [
            place
            for place in dict.fromkeys(self._stacks[size_class])
            if count_at.get(place, 0).bit_length() == size_class
        ]
        self._stacks[size_class] = stack
        return stack

    def _cut(self, start: int, place: int, count: int) -> None:
        """Take [place, place + count) out of the run that begins at *start*."""
        end = start + self._remove(start)
        if start < place:
            self._insert(start, place - start)
        if place + count < end:
            self._insert(place + count, end - place - count)

    def _insert(self, place: int, count: int) -> None:
        self._count_at[place] = count
        self._start_of[place + count] = place
        self.sectors += count
        size_class = count.bit_length()
        self._occupied |= 1 << size_class
        self._live[size_class] += 1
        stack = self._stacks[size_class]
        stack.append(place)
        if len(stack) > 64 + 2 * self._live[size_class]:
            self._compact(size_class)

    def _remove(self, place: int) -> int:
        count = self._count_at.pop(place)
        del self._start_of[place + count]
        self.sectors -= count
        size_class = count.bit_length()
        self._live[size_class] -= 1
        if not self._live[size_class]:
            self._stacks[size_class].clear()
            self._occupied &= ~(1 << size_class)
        return count


class FreeSpace:
    """All free sectors of an arena, warm and cold."""

    __slots__ = (
        "_arena",
        "_batches",
        "_is_cooled",
        "_memory",
        "_reclaim_above_sectors",
        "_reclaim_step_sectors",
        "_trim_above_sectors",
        "_warm_sectors_max",
        "_warm_sectors_min",
        "ahead",
        "cold",
        "warm",
    )

    def __init__(self, arena: Arena, warm_sectors_max: int, memory: Memory) -> None:
        """*memory* is told what is held of it, and says when no more may be."""
        self._arena = arena
        self.ahead: Populator | None = None
        self._batches = 0  # that turned warm since decay() or cool() was last called
        self._memory = memory
        self._reclaim_step_sectors = min(BATCH_SECTORS // 2, arena.sectors // 64)
        self._reclaim_above_sectors = 0  # with fewer warm ones there is nothing to give back
        self._warm_sectors_max = warm_sectors_max
        self._is_cooled = True  # whether all pages that can be given back were
        self._trim_above_sectors = warm_sectors_max
        self._warm_sectors_min = 0  # since decay() was last called
        self.warm = FreeRuns()
        self.cold = FreeRuns()
        self.cold.add(0, arena.sectors)
        memory.arena_sectors, memory.cold = arena.sectors, self.cold

    @property
    def sectors(self) -> int:
        pending = self.ahead.sectors if self.ahead is not None else 0
        return self.warm.sectors + self.cold.sectors + pending

    @property
    def pending(self) -> list[Run]:
        """Free sectors that are neither warm nor cold, but turning warm."""
        places = self.ahead.pending if self.ahead is not None else ()
        return [Run(place, BATCH_SECTORS) for place in places]

    def take(self, count: int) -> list[Run]:
        """Take *count* sectors, which must be free, in as few runs as can be found quickly.

        Many begin at a page: they can be given back whole, and share no page.
        """
        assert 0 < count <= self.sectors
        align = PAGE_SECTORS if count >= ALIGNED_SECTORS_MIN else 1
        place = self.warm.take(count, align)
        if place is None and PAGE_SECTORS <= count <= BATCH_SECTORS and self._warm_batch():
            place = self.warm.take(count, align)
        if place is None and self.may_warm(count):
            place = self.cold.take(count, align)
            if place is not None:
                self._warm_page_of(place + count)
        self._note()
        if place is not None:
            return [Run(place, count)]
        return self._take_pieces(count)

    def take_at(self, place: int, count_max: int) -> int:
        """Take up to *count_max* free sectors that begin at *place*; return how many there were."""
        count = 0
        while count < count_max:
            found = self.warm.take_at(place + count, count_max - count)
            if not found:
                if self._warm_batch_at(place + count):
                    continue
                if not self.may_warm(count_max - count):
                    break
                found = self.cold.take_at(place + count, count_max - count)
                if not found:
                    break
                self._warm_page_of(place + count + found)
            count += found
        self._note()
        return count

    def _take_pieces(self, count: int) -> list[Run]:
        taken: list[Run] = []
        self._collect_all()
        cold_first = self.may_warm(count)
        while count:
            piece = self._take_piece(count, cold_first=cold_first)
            taken.append(piece)
            count -= piece.sectors
        self._note()
        return taken

    def _take_piece(self, count_max: int, *, cold_first: bool) -> Run:
        for is_cold in (cold_first, not cold_first):
            piece = (self.cold if is_cold else self.warm).take_piece(count_max)
            if piece is not None:
                if is_cold:
                    self._warm_page_of(piece.place + piece.sectors)
                return piece
        raise AssertionError("more was taken than was free")

    def may_warm(self, count: int) -> bool:
        """Whether the memory of *count* cold sectors may be had."""
        return self._memory.has_room(count * SECTOR_BYTES)

    def _warm_batch(self) -> bool:
        """Make some run of cold sectors warm; False if there is none so long, or no memory."""
        if self.ahead is not None and self.ahead.pending:
            return self._ask_ahead(self._collect())
        if not self._arena.populates or not self.may_warm(BATCH_SECTORS):
            return False
        place = self.cold.take(BATCH_SECTORS)
        return place is not None and self._populate(place)

    def _warm_batch_at(self, place: int) -> bool:
        """As _warm_batch, for the cold sectors at *place*."""
        while self.ahead is not None and place in self.ahead.pending:
            found = self._collect()
            if found == place:
                return self._ask_ahead(found)
        if not self.cold.starts_with(place, BATCH_SECTORS):
            return False
        if not self._arena.populates or not self.may_warm(BATCH_SECTORS):
            return False
        self.cold.take_at(place, BATCH_SECTORS)
        return self._populate(place)

    def _populate(self, place: int) -> bool:
        populated = self._arena.populate(place, BATCH_SECTORS)
        (self.warm if populated else self.cold).add(place, BATCH_SECTORS)
        self._note()
        return self._ask_ahead(place)

    def _collect(self) -> int:
        """Call the oldest pending batch warm, once it is; return where it begins."""
        assert self.ahead is not None
        place, populated = self.ahead.take()
        (self.warm if populated else self.cold).add(place, BATCH_SECTORS)
        self._note()
        return place

    def _collect_all(self) -> None:
        while self.ahead is not None and self.ahead.pending:
            self._collect()

    def _ask_ahead(self, place: int) -> bool:
        """Note that the batch at *place* turned warm, and have the next ones do so; False if not.

        Only from the second in a second on: who writes so much will go on.
        """
        if not self._arena.populates:
            return False
        self._is_cooled = False
        self._batches += 1
        ahead = self.ahead
        if ahead is None or self._batches < 2:
            return True
        while len(ahead.pending) < BATCHES_AHEAD and self.may_warm(BATCH_SECTORS):
            behind = (ahead.pending[-1] if ahead.pending else place) + BATCH_SECTORS
            if self.cold.starts_with(behind, BATCH_SECTORS):
                self.cold.take_at(behind, BATCH_SECTORS)
            else:
                elsewhere = self.cold.take(BATCH_SECTORS)
                if elsewhere is None:
                    break
                behind = elsewhere
            ahead.ask(behind)
            self._note()
        return True

    def _note(self) -> None:
        warm_sectors = self.warm.sectors
        self._warm_sectors_min = min(self._warm_sectors_min, warm_sectors)
        self._reclaim_above_sectors = min(
            self._reclaim_above_sectors, warm_sectors + self._reclaim_step_sectors
        )
        self._memory.note_pages()

    def free(self, place: int, count: int) -> None:
        """Make *count* sectors free; their pages stay warm up to the watermark."""
        self.warm.add(place, count)
        self._is_cooled = False
        if self.warm.sectors > self._trim_above_sectors:
            # Runs of 16 sectors or more have a whole page each: fragments are left to cool().
            runs = self.warm.oldest(2 * PAGE_SECTORS, RUNS_AT_ONCE_MAX)
            self._give_back(runs, self._warm_sectors_max // 2)
            # What cannot be given back yet must not be looked at again for every freed sector.
            self._trim_above_sectors = self.warm.sectors + self._warm_sectors_max // 2

    def cool(self) -> None:
        """Give free pages back to the system: all of them, if need be in several calls."""
        self._collect_ready()
        if not self._is_cooled:
            runs = self.warm.oldest(PAGE_SECTORS, RUNS_AT_ONCE_MAX)
            self._give_back(runs, 0)
            self._is_cooled = len(runs) < RUNS_AT_ONCE_MAX
        self._trim_above_sectors = max(self._warm_sectors_max, self.warm.sectors)
        self._warm_sectors_min = self.warm.sectors

    def reclaim(self, count_bytes: int) -> None:
        """Give free pages back for *count_bytes* of something else, and a batch more, at once.

        Where there is too little, it looks again only after some more has become free.
        """
        self._collect_all()
        if self.warm.sectors < self._reclaim_above_sectors:
            return
        self.shed(self._memory.missing_bytes(count_bytes) + BATCH_SECTORS * SECTOR_BYTES)
        self._reclaim_above_sectors = 0
        if not self._memory.has_room(count_bytes):
            self._reclaim_above_sectors = self.warm.sectors + self._reclaim_step_sectors

    def shed(self, count_bytes: int) -> int:
        """Give pages for *count_bytes*, but no more than a step, back; how many bytes that was."""
        before = self.warm.sectors
        count = min(-(-count_bytes // SECTOR_BYTES), SHED_SECTORS_MAX)
        self._give_back(self.warm.largest(PAGE_SECTORS, RUNS_AT_ONCE_MAX), before - count)
        return (before - self.warm.sectors) * SECTOR_BYTES

    def decay(self) -> None:
        """Give back about half of the warm sectors that nobody needed since the last time."""
        self._collect_ready()
        keep_sectors = self.warm.sectors - self._warm_sectors_min // 2
        if keep_sectors < self.warm.sectors:  # to look at runs makes them the first to be used
            runs = self.warm.oldest(2 * PAGE_SECTORS, RUNS_AT_ONCE_MAX // 8)
            self._give_back(runs, keep_sectors)
        self._warm_sectors_min = self.warm.sectors

    def _collect_ready(self) -> None:
        """Call warm what became so and was not needed."""
        self._batches = 0
        while self.ahead is not None and self.ahead.pending and self.ahead.is_ready():
            self._collect()
            self._is_cooled = False

    def _warm_page_of(self, end: int) -> None:
        """Call warm what is left, from *end* on, of a cold page that is now used."""
        rest = -end % PAGE_SECTORS
        if rest:
            taken = self.cold.take_at(end, rest)
            assert taken == rest
            self.warm.add(end, rest)

    def _give_back(self, runs: list[Run], keep_sectors: int) -> None:
        """Turn the pages of these warm runs cold, until *keep_sectors* warm ones are left."""
        for place, count in runs:
            if self.warm.sectors <= keep_sectors:
                break
            first = -(-place // PAGE_SECTORS) * PAGE_SECTORS
            some = max(self.warm.sectors - keep_sectors, SHED_SECTORS_MAX)
            end = min(place + count, first + some) // PAGE_SECTORS * PAGE_SECTORS
            if first < end:
                self._arena.give_back(first, end - first)
                self.warm.take_at(place, count)
                if place < first:
                    self.warm.add(place, first - place)
                if end < place + count:
                    self.warm.add(end, place + count - end)
                self.cold.add(first, end - first)
        self._note()
