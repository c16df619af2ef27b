"""What is used of a volume and what is left, in bytes and inodes; and what that takes of memory."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.limits import SECTOR_BYTES

# How much more than its limit a volume may hold of the machine's memory: pages of which only some
# sectors are used. It is an eighth, and the batch in which memory is had.
MEMORY_SHARE: Final = 8
MEMORY_BYTES_MIN: Final = 4 << 20

UNLIMITED_BYTES: Final = 1 << 62
SIZE: Final = "size"  # what limits a volume, where memory does not


class Sectors(Protocol):
    """A set of sectors, which knows how many they are."""

    @property
    def sectors(self) -> int:
        """How many."""


class Allotment:
    """What the volumes of a process, all together, may still take of the machine's memory.

    Who looks at the machine sets what is left, and *source*, which is what says so. What a
    volume takes or gives back until the next look is counted in ``left_bytes`` at once: so all of
    them together never take more than was left, however rarely somebody looks. It is below 0 where
    the machine has less than was taken already: then nobody takes more.
    """

    __slots__ = ("_all_bytes", "left_bytes", "refusals", "source")

    def __init__(self, left_bytes: int = UNLIMITED_BYTES, source: str = "") -> None:
        self._all_bytes = left_bytes  # what is left, and what was taken
        self.left_bytes = left_bytes
        self.source = source
        self.refusals = 0  # how often something did not fit that would have fitted the volume

    @property
    def held_bytes(self) -> int:
        """What was taken, by all."""
        return self._all_bytes - self.left_bytes

    def set_left(self, left_bytes: int, source: str) -> None:
        """Let *left_bytes* be what can be taken from now on."""
        self._all_bytes = self.held_bytes + left_bytes
        self.left_bytes = left_bytes
        self.source = source


class Memory:
    """What a volume holds of the machine's memory, and should not hold more than *bytes_max* of.

    ``heap_bytes`` are all but the pages of the arena. Those are the memory of *arena_sectors*
    sectors, used or not, without the *cold* ones. All of it is drawn from the *allotment*, but
    for pages where ``counts_pages`` is false: those of a file, which the system can write there.
    """

    __slots__ = (
        "_noted_bytes",
        "allotment",
        "arena_sectors",
        "bytes_max",
        "cold",
        "counts_pages",
        "heap_bytes",
    )

    def __init__(self, limit_bytes: int, allotment: Allotment | None = None) -> None:
        self.bytes_max = bytes_held_max(limit_bytes)
        self.allotment = Allotment() if allotment is None else allotment
        self.heap_bytes = 0
        self.arena_sectors = 0
        self.cold: Sectors | None = None
        self.counts_pages = True
        self._noted_bytes = 0  # of pages that were drawn from the allotment

    def __del__(self) -> None:
        """A volume that is gone has given everything back."""
        self.allotment.left_bytes += self.heap_bytes + self._noted_bytes

    @property
    def resident_bytes(self) -> int:
        """The pages of the arena."""
        cold_sectors = self.cold.sectors if self.cold is not None else 0
        return (self.arena_sectors - cold_sectors) * SECTOR_BYTES

    @property
    def held_bytes(self) -> int:
        """All that was drawn from the allotment."""
        return self.heap_bytes + self._noted_bytes

    @property
    def excess_bytes(self) -> int:
        """How much more than it should this volume holds; 0 or less if it does not."""
        return self.heap_bytes + self.resident_bytes - self.bytes_max

    def missing_bytes(self, count_bytes: int) -> int:
        """How many bytes too many *count_bytes* more would be; 0 or less if they are not."""
        return count_bytes + max(self.excess_bytes, -self.allotment.left_bytes)

    def has_room(self, count_bytes: int) -> bool:
        """Whether *count_bytes* more can be held."""
        return self.missing_bytes(count_bytes) <= 0

    def take_heap(self, count_bytes: int) -> None:
        """Hold *count_bytes* more beside pages (maybe negative)."""
        self.heap_bytes += count_bytes
        self.allotment.left_bytes -= count_bytes

    def note_pages(self) -> None:
        """Count which pages are held; to be called after each time that this changes."""
        if self.counts_pages:
            resident_bytes = self.resident_bytes
            self.allotment.left_bytes -= resident_bytes - self._noted_bytes
            self._noted_bytes = resident_bytes


class Standing(NamedTuple):
    """How full a volume is at one moment: ``used + available == limit``.

    The limit is the one in force, and *limited_by* what sets it: SIZE, or where it is read how
    little memory there is. A limit that fell below what is used is what is used.
    """

    limit_bytes: int
    used_bytes: int
    available_bytes: int
    limit_inodes: int
    used_inodes: int
    available_inodes: int
    limited_by: str


class Budget:
    """Used and available bytes and inodes; ``used + available`` is the limit in force.

    Reserve first, then change: a refusal leaves no trace. Used bytes are those of sectors and
    those of everything else, which is Python's heap. The latter are also refused where pages of
    which only some sectors are used hold the memory, and *reclaim* finds none to give back; what
    remains can still be had for sectors. ``limit_bytes`` are those of the configuration: in force
    is less, where the allotment and the free sectors whose pages are held are less.
    """

    __slots__ = (
        "limit_bytes",
        "limit_inodes",
        "memory",
        "reclaim",
        "refusals",
        "resized_at",
        "used_bytes",
        "used_inodes",
    )

    def __init__(
        self, limit_bytes: int, limit_inodes: int, allotment: Allotment | None = None
    ) -> None:
        """Without an *allotment*, memory is no limit."""
        self.limit_bytes = limit_bytes
        self.limit_inodes = limit_inodes
        self.used_bytes = 0
        self.used_inodes = 0
        self.resized_at = 0, 0  # used bytes and inodes: from there on, less may be used only
        self.refusals = 0  # how often something did not fit
        self.memory = Memory(limit_bytes, allotment)
        self.reclaim: Callable[[int], None] = reclaim_nothing  # so many bytes, if they are there

    @property
    def available_bytes(self) -> int:
        """What can be had for sectors; a little less for what is no sector."""
        return self._available_bytes(self.used_bytes)

    @property
    def available_inodes(self) -> int:
        return max(0, self.limit_inodes - self.used_inodes)

    def standing(self) -> Standing:
        """How full it is now; may be asked by any thread."""
        used_bytes, used_inodes = self.used_bytes, self.used_inodes  # others go on meanwhile
        available_bytes = self._available_bytes(used_bytes)
        available_inodes = max(0, self.limit_inodes - used_inodes)
        is_short = available_bytes < self.limit_bytes - used_bytes
        return Standing(
            limit_bytes=used_bytes + available_bytes,
            used_bytes=used_bytes,
            available_bytes=available_bytes,
            limit_inodes=used_inodes + available_inodes,
            used_inodes=used_inodes,
            available_inodes=available_inodes,
            limited_by=self.memory.allotment.source if is_short else SIZE,
        )

    def resize(self, limit_bytes: int, limit_inodes: int) -> None:
        """Set other limits; below what is used, nothing more can be had, and nothing is lost."""
        self.limit_bytes = limit_bytes
        self.limit_inodes = limit_inodes
        self.resized_at = self.used_bytes, self.used_inodes
        self.memory.bytes_max = bytes_held_max(limit_bytes)

    def reserve(self, count_bytes: int) -> None:
        """Take *count_bytes* of the heap (maybe negative); ENOSPC if they are not there."""
        if count_bytes > 0:
            if self.used_bytes + count_bytes > self.limit_bytes:
                self.refuse()
            if not self.memory.has_room(count_bytes):
                self.reclaim(count_bytes)
                if not self.memory.has_room(count_bytes):
                    self.refuse()
        self.used_bytes += count_bytes
        self.memory.take_heap(count_bytes)

    def reserve_inode(self, count_bytes: int) -> None:
        """Take one inode and *count_bytes*; ENOSPC if either is not there."""
        if self.used_inodes >= self.limit_inodes:
            self.refuse()
        self.reserve(count_bytes)
        self.used_inodes += 1

    def reserve_sectors(self, sector_bytes: int, run_bytes: int = 0) -> None:
        """Take *sector_bytes* in sectors and what remembering them costs; ENOSPC if not there."""
        if sector_bytes + run_bytes > self.available_bytes:
            self.refuse()
        self.used_bytes += sector_bytes + run_bytes
        self.memory.take_heap(run_bytes)

    def release(self, count_bytes: int) -> None:
        """Give back what was taken with ``reserve``, or for runs."""
        self.used_bytes -= count_bytes
        self.memory.take_heap(-count_bytes)
        assert self.memory.heap_bytes >= 0

    def release_inode(self, count_bytes: int) -> None:
        self.release(count_bytes)
        self.used_inodes -= 1
        assert self.used_inodes >= 0

    def release_sectors(self, sector_bytes: int) -> None:
        self.used_bytes -= sector_bytes
        assert self.used_bytes >= 0

    def refuse(self) -> None:
        """Count a refusal and raise ENOSPC."""
        self.refusals += 1
        memory = self.memory
        if memory.allotment.left_bytes < self.limit_bytes - self.used_bytes:
            memory.allotment.refusals += 1
        raise FileSystemError(Errno.ENOSPC)

    def _available_bytes(self, used_bytes: int) -> int:
        """What is left of the limit, and of memory: the allotment, and free sectors with pages."""
        available_bytes = self.limit_bytes - used_bytes
        memory = self.memory
        left_bytes = memory.allotment.left_bytes
        if left_bytes < available_bytes and memory.counts_pages:
            free_bytes = memory.heap_bytes + memory.resident_bytes - used_bytes
            available_bytes = min(available_bytes, free_bytes + left_bytes)
        return max(0, available_bytes)


def bytes_held_max(limit_bytes: int) -> int:
    """How much of the machine's memory a volume of *limit_bytes* may hold."""
    return limit_bytes + limit_bytes // MEMORY_SHARE + MEMORY_BYTES_MIN


def reclaim_nothing(_count_bytes: int) -> None:
    """There are no sectors that could give memory back."""
