"""Sectors for file contents: the arena, what of it is free, and what of it is being sent."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ram9.storage.arena import Arena, room_sectors
from ram9.storage.backing import PAGEABLE, Backing
from ram9.storage.budget import Budget, reclaim_nothing
from ram9.storage.limits import SECTOR_BYTES, SECTOR_SHIFT
from ram9.storage.populating import Populator
from ram9.storage.runs import Run
from ram9.storage.space import BATCH_SECTORS, FreeSpace
from ram9.storage.tables import is_oversized

Lenders = dict[Callable[[], None], None]  # what has each of them copy what it still lends

WARM_SHARE: Final = 2  # at most a half of the size is kept warm when it is free
WIPE_BYTES: Final = 1 << 20  # at a time

_ZEROS: Final = memoryview(bytes(WIPE_BYTES))


class Disk:
    """Hands out sectors and takes them back, and knows who reserved ahead or lent them out.

    A file that grows holds some sectors behind its last one in *reserve*: nobody is charged for
    them and they hold nothing; they are taken back whenever sectors run short.

    Bytes of the arena may be *lent* to somebody who sends them later. Before any byte changes or
    any sector is freed, each lender is asked to copy what is still unsent; ``settle()`` does that.
    Several disks may have the same *lenders*: then a change of one has them all copy.
    """

    __slots__ = (
        "arena",
        "budget",
        "landing_bytes",
        "lent",
        "memory",
        "reserved",
        "space",
        "unwiped_bytes",
        "view",
        "wipes",
    )

    def __init__(
        self, budget: Budget, lenders: Lenders | None = None, *, backing: Backing = PAGEABLE
    ) -> None:
        """Raises BackingError, or what the mmap module does, where there is no such memory."""
        self.budget = budget
        self.arena = Arena(
            -(-budget.limit_bytes // SECTOR_BYTES), backing, room_sectors(budget.limit_bytes)
        )
        self.wipes = backing.wipe
        self.unwiped_bytes = 0  # that should have been overwritten, and may still be on a disk
        self.memory = self.arena.memory
        self.view = self.arena.view
        budget.memory.counts_pages = backing.is_in_memory
        self.space = FreeSpace(self.arena, _warm_sectors_max(budget.limit_bytes), budget.memory)
        budget.reclaim = self.reclaim
        self.reserved: dict[Reserve, None] = {}  # in the order in which they were made
        self.lent: Lenders = {} if lenders is None else lenders
        self.landing_bytes = 0  # of writes that are arriving, and hold their sectors

    @property
    def room_bytes(self) -> int:
        """The largest size that the volume can be given while it lives."""
        return self.arena.sectors * SECTOR_BYTES

    def resize(self, size_bytes: int, inodes: int) -> None:
        """Hold up to *size_bytes* and *inodes* from now on, as Budget.resize."""
        self.budget.resize(size_bytes, inodes)
        self.space.keep_warm(_warm_sectors_max(size_bytes))

    def populate_ahead(self) -> None:
        """From now on, use a spare processor to make memory ready for who goes on writing.

        Where no thread is to be had, memory is had when it is needed.
        """
        if self.arena.populates:
            with suppress(RuntimeError):
                self.space.ahead = Populator(self.arena, BATCH_SECTORS)

    def take(self, count: int) -> list[Run]:
        """Take *count* sectors, for which the budget has been charged: they are always there."""
        if count > self.space.sectors or not self.space.may_warm(count):
            self._take_reserves_back()
        return self.space.take(count)

    def reclaim(self, count_bytes: int) -> None:
        """Give memory that no file uses back, for *count_bytes* of something else."""
        self._take_reserves_back()
        self.space.reclaim(count_bytes)

    def shrink(self) -> None:
        """Make tables smaller of which little is used."""
        self.space.warm.shrink()
        self.space.cold.shrink()
        if is_oversized(self.reserved):
            self.reserved = dict.fromkeys(list(self.reserved))

    def has_backed(self, runs: list[Run]) -> bool:
        """Whether sectors that were taken can be written: the disk below may have no room."""
        file = self.arena.file
        return file is None or file.allocate(runs)

    def take_back(self, runs: list[Run]) -> None:
        """Free sectors that were taken, charged, and never written."""
        for place, count in runs:
            self._give(place, count)

    def shed(self, count_bytes: int) -> int:
        """Give some memory that no file uses back, up to about *count_bytes*; how much that was."""
        self._take_reserves_back()
        return self.space.shed(count_bytes)

    def free(self, place: int, count: int) -> None:
        if self.wipes:
            self.wipe(place, count)
        self._give(place, count)

    def _give(self, place: int, count: int) -> None:
        self.space.free(place, count)
        self.budget.release_sectors(count * SECTOR_BYTES)

    def wipe(self, place: int, count: int) -> None:
        """Overwrite sectors with zeros, or count that the disk below would not have it."""
        start, end = place << SECTOR_SHIFT, (place + count) << SECTOR_SHIFT
        for at in range(start, end, WIPE_BYTES):
            self.unwiped_bytes += self.arena.overwrite(at, _ZEROS[: min(WIPE_BYTES, end - at)])

    def let_go(self) -> None:
        """Nobody asks for anything any more: nothing that this disk knows may know it."""
        self.budget.reclaim = reclaim_nothing
        self.space.ahead = None

    def _take_reserves_back(self) -> None:
        for reserve in list(self.reserved):
            reserve.give_back()

    def settle(self) -> None:
        """Have everybody who sends lent bytes copy them: they are about to change."""
        copies = list(self.lent)
        self.lent.clear()
        for copy in copies:
            copy()


class Reserve:
    """The free sectors behind a growing file's last run that are kept for it."""

    __slots__ = ("_disk", "count", "place")

    def __init__(self, disk: Disk, place: int, count: int) -> None:
        self._disk = disk
        self.place = place
        self.count = count
        disk.reserved[self] = None

    def take(self, count_max: int) -> int:
        """Use up to *count_max* of the reserved sectors, from the first; return how many."""
        taken = min(count_max, self.count)
        self.place += taken
        self.count -= taken
        if not self.count:
            self._disk.reserved.pop(self, None)
        return taken

    def give_back(self) -> None:
        """Make what is left of the reserve free again."""
        if self.count:
            self._disk.space.free(self.place, self.count)
            self.count = 0
            del self._disk.reserved[self]


def _warm_sectors_max(size_bytes: int) -> int:
    return size_bytes // SECTOR_BYTES // WARM_SHARE
