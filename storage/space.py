"""Which sectors are free.

Free sectors lie in two sets of runs. *Warm* ones were used before: their pages are in memory, so
writing them again costs no page fault, and they hold old bytes. *Cold* ones were never touched or
were given back to the system; they are always whole pages, so that a page of which a sector was
used is warm in all its free sectors, and can be given back once they are eight. Warm ones are
reused first, the most recently freed before the rest. What nobody needed for a while, and what is
beyond a watermark, is a surplus, of which whole pages turn cold when somebody says so.
"""

from collections import deque
from typing import Final

from ram9.storage.arena import Arena
from ram9.storage.budget import Memory
from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES
from ram9.storage.populating import Populator
from ram9.storage.runs import FreeRuns, Run

RUNS_AT_ONCE_MAX: Final = 8192  # to look at before requests get their turn: some 40 ms
RUNS_AT_A_LOOK: Final = (64, 1024)  # for a surplus: few will do where they are long
ELSEWHERE_SECTORS_MIN: Final = 8192  # 4 MiB: a warm run as long as that is worth another run
ALIGNED_SECTORS_MIN: Final = 64  # what is smaller shares pages, and wastes none
BATCH_SECTORS: Final = 8192  # cold sectors that turn warm at a time: 4 MiB, in about 2 ms
SHED_SECTORS_MAX: Final = 32768  # to give back before requests get their turn: 16 MiB
BATCHES_AHEAD: Final = 2  # that turn warm while those before them are being used


class FreeSpace:
    """All free sectors of an arena, warm and cold."""

    __slots__ = (
        "_arena",
        "_batches",
        "_elsewhere_sectors_min",
        "_is_cooled",
        "_memory",
        "_reclaim_above_sectors",
        "_reclaim_step_sectors",
        "_unneeded",
        "_warm_sectors_max",
        "_warm_sectors_min",
        "ahead",
        "cold",
        "warm",
    )

    def __init__(
        self,
        arena: Arena,
        warm_sectors_max: int,
        memory: Memory,
        elsewhere_sectors_min: int = ELSEWHERE_SECTORS_MIN,
    ) -> None:
        """*memory* is told what is held of it, and says when no more may be."""
        self._elsewhere_sectors_min = elsewhere_sectors_min
        self._arena = arena
        self.ahead: Populator | None = None
        self._batches = 0  # that turned warm since surplus() was last called
        self._memory = memory
        self._reclaim_above_sectors = 0  # with fewer warm ones there is nothing to give back
        self.keep_warm(warm_sectors_max)
        self._is_cooled = True  # whether all pages that can be given back were
        self._warm_sectors_min = 0  # since surplus() was last called
        self._unneeded: deque[int] = deque()  # what that was, the last times
        self.warm = FreeRuns()
        self.cold = FreeRuns()
        self.cold.add(0, arena.sectors)
        memory.arena_sectors, memory.cold = arena.sectors, self.cold

    def keep_warm(self, sectors_max: int) -> None:
        """Keep up to *sectors_max* free sectors warm from now on, a watermark beyond which they are
        a surplus; what is looked for in steps is so in steps of a 32nd of that."""
        self._warm_sectors_max = sectors_max
        self._reclaim_step_sectors = min(BATCH_SECTORS // 2, sectors_max // 32)

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

    def take_warm_at(self, place: int, count_max: int) -> int:
        """As ``take_at``, but no cold ones."""
        count = self.warm.take_at(place, count_max)
        self._note()
        return count

    def take_elsewhere(self, count: int) -> int | None:
        """Take *count* warm sectors out of a run in which a file can go on for long.

        To write to cold memory costs several times more; None where there is no such run.
        """
        long = max(count + PAGE_SECTORS - 1, self._elsewhere_sectors_min)
        place = self.warm.take_of(long, count, PAGE_SECTORS)
        self._note()
        return place

    def take_ahead(self, place: int, count_max: int) -> int:
        """Take what a growing file is to go on in, which begins at *place*; how many there were.

        No cold ones where it had better go on elsewhere.
        """
        if self.warm.has(self._elsewhere_sectors_min):
            return self.take_warm_at(place, count_max)
        return self.take_at(place, count_max)

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
        """Make *count* sectors free; their pages stay warm until they are a surplus."""
        self.warm.add(place, count)
        self._is_cooled = False

    def surplus(self, periods: int) -> int:
        """How many warm sectors are more than should be kept; to be called once in a period.

        They are those that nobody needed for the last *periods* of them, and those beyond the
        watermark.
        """
        self._collect_ready()
        unneeded = self._unneeded
        unneeded.append(self._warm_sectors_min)
        self._warm_sectors_min = self.warm.sectors
        while len(unneeded) > periods:
            unneeded.popleft()
        aged = min(unneeded) if len(unneeded) == periods else 0
        return max(aged, self.warm.sectors - self._warm_sectors_max)

    def give_back(self, count: int) -> int:
        """Turn up to about *count* warm sectors cold, the oldest of the longest runs first.

        Returns how many. Fewer than can be where many short runs have to be looked at.
        """
        before = self.warm.sectors
        keep_sectors = max(0, before - count)
        for runs_max in RUNS_AT_A_LOOK:
            if self._is_cooled or self.warm.sectors <= keep_sectors:
                break
            runs = self.warm.oldest(PAGE_SECTORS, runs_max)
            self._give_back(runs, keep_sectors)
            self._is_cooled = len(runs) < runs_max and self.warm.sectors > keep_sectors
        given = before - self.warm.sectors
        self._unneeded = deque(max(0, sectors - given) for sectors in self._unneeded)
        return given

    def cool(self) -> None:
        """Give all free pages back to the system, if need be in several calls."""
        self._collect_ready()
        self.give_back(self.warm.sectors)

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
        """Turn the pages of these warm runs cold, from the end of each, until about *keep_sectors*
        warm ones are left."""
        for place, count in runs:
            if self.warm.sectors <= keep_sectors:
                break
            first = -(-place // PAGE_SECTORS) * PAGE_SECTORS
            end = (place + count) // PAGE_SECTORS * PAGE_SECTORS
            pages = -((keep_sectors - self.warm.sectors) // PAGE_SECTORS)
            first = max(first, end - pages * PAGE_SECTORS)
            if first < end:
                self._arena.give_back(first, end - first)
                self.warm.take_at(place, count)
                if place < first:
                    self.warm.add(place, first - place)
                if end < place + count:
                    self.warm.add(end, place + count - end)
                self.cold.add(first, end - first)
        self._note()
