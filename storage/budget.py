"""What is used of a volume and what is left, in bytes and inodes; and what that takes of memory."""

from collections.abc import Callable
from typing import Final, Protocol

from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.limits import SECTOR_BYTES

# How much more than its limit a volume may hold of the machine's memory: pages of which only some
# sectors are used. It is an eighth, and the batch in which memory is had.
MEMORY_SHARE: Final = 8
MEMORY_BYTES_MIN: Final = 4 << 20


class Sectors(Protocol):
    """A set of sectors, which knows how many they are."""

    @property
    def sectors(self) -> int:
        """How many."""


class Memory:
    """What a volume holds of the machine's memory, and should not hold more than *bytes_max* of.

    ``heap_bytes`` are all but the pages of the arena. Those are the memory of *arena_sectors*
    sectors, used or not, without the *cold* ones.
    """

    __slots__ = ("arena_sectors", "bytes_max", "cold", "heap_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.bytes_max = limit_bytes + limit_bytes // MEMORY_SHARE + MEMORY_BYTES_MIN
        self.heap_bytes = 0
        self.arena_sectors = 0
        self.cold: Sectors | None = None

    @property
    def resident_bytes(self) -> int:
        """The pages of the arena."""
        cold_sectors = self.cold.sectors if self.cold is not None else 0
        return (self.arena_sectors - cold_sectors) * SECTOR_BYTES

    def missing_bytes(self, count_bytes: int) -> int:
        """How many bytes too many *count_bytes* more would be; 0 or less if they are not."""
        return self.heap_bytes + self.resident_bytes + count_bytes - self.bytes_max

    def has_room(self, count_bytes: int) -> bool:
        """Whether *count_bytes* more can be held."""
        return self.missing_bytes(count_bytes) <= 0


class Budget:
    """Used and available bytes and inodes; ``used + available == limit`` at every moment.

    Reserve first, then change: a refusal leaves no trace. Used bytes are those of sectors and
    those of everything else, which is Python's heap. The latter are also refused where pages of
    which only some sectors are used hold the memory, and *reclaim* finds none to give back; what
    remains can still be had for sectors.
    """

    __slots__ = (
        "limit_bytes",
        "limit_inodes",
        "memory",
        "reclaim",
        "refusals",
        "used_bytes",
        "used_inodes",
    )

    def __init__(self, limit_bytes: int, limit_inodes: int) -> None:
        self.limit_bytes = limit_bytes
        self.limit_inodes = limit_inodes
        self.used_bytes = 0
        self.used_inodes = 0
        self.refusals = 0  # how often something did not fit
        self.memory = Memory(limit_bytes)
        self.reclaim: Callable[[int], None] = _reclaim_nothing  # so many bytes, if they are there

    @property
    def available_bytes(self) -> int:
        return self.limit_bytes - self.used_bytes

    @property
    def available_inodes(self) -> int:
        return self.limit_inodes - self.used_inodes

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
        self.memory.heap_bytes += count_bytes

    def reserve_inode(self, count_bytes: int) -> None:
        """Take one inode and *count_bytes*; ENOSPC if either is not there."""
        if self.used_inodes >= self.limit_inodes:
            self.refuse()
        self.reserve(count_bytes)
        self.used_inodes += 1

    def reserve_sectors(self, sector_bytes: int, run_bytes: int = 0) -> None:
        """Take *sector_bytes* in sectors and what remembering them costs; ENOSPC if not there."""
        used_bytes = self.used_bytes + sector_bytes + run_bytes
        if used_bytes > self.limit_bytes:
            self.refuse()
        self.used_bytes = used_bytes
        self.memory.heap_bytes += run_bytes

    def release(self, count_bytes: int) -> None:
        """Give back what was taken with ``reserve``, or for runs."""
        self.used_bytes -= count_bytes
        self.memory.heap_bytes -= count_bytes
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
        raise FileSystemError(Errno.ENOSPC)


def _reclaim_nothing(_count_bytes: int) -> None:
    """There are no sectors that could give memory back."""
