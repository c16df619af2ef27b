"""The private heap: one reserved mapping, cut into sectors, apart from Python's own memory."""

import ctypes
import mmap

from ram9.storage.limits import HUGE_SECTORS, PAGE_SECTORS, SECTOR_BYTES

MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # named by the module from Python 3.13 on


class Arena:
    """*sectors* sectors of address space; the system backs a page when it is first written.

    ``memory`` is the mapping (slicing it copies), ``view`` a memoryview of the same bytes
    (slicing it aliases). A page that was never written, or was given back, reads as zeros.
    """

    __slots__ = ("_huge", "backs", "huge_sector", "memory", "sectors", "view")

    def __init__(self, sectors: int) -> None:
        self.sectors = -(-sectors // PAGE_SECTORS) * PAGE_SECTORS
        self.memory = mmap.mmap(
            -1,
            self.sectors * SECTOR_BYTES,
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE,
        )
        self.view = memoryview(self.memory)
        # The first sector at which a huge page may begin.
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.huge_sector = -(address // SECTOR_BYTES) % HUGE_SECTORS
        self.backs = True  # until the system says that it does not
        self._huge: set[int] = set()  # first sectors of the ranges that huge pages may back

    def back(self, sector: int) -> bool:
        """Have the system back *sector* and what follows with a huge page; False if it will not.

        For ranges that are about to be filled only. Storing for the first time costs 3 µs for each
        page of 4 KiB, and 0.7 µs where they are parts of a huge page.
        """
        assert (sector - self.huge_sector) % HUGE_SECTORS == 0
        try:
            self._advise(mmap.MADV_HUGEPAGE, sector, HUGE_SECTORS)
        except OSError:
            self.backs = False  # a system without huge pages: single pages do as well
            return False
        self._huge.add(sector)
        self.memory[sector * SECTOR_BYTES] = 0
        return True

    def give_back(self, sector: int, count: int) -> None:
        """Return the memory of whole pages to the system; they read as zeros from now on."""
        assert sector % PAGE_SECTORS == 0
        assert count % PAGE_SECTORS == 0
        if self._huge:
            # Else the system would some day fill what is left of a huge page up again.
            first = sector - (sector - self.huge_sector) % HUGE_SECTORS
            for huge in range(first, sector + count, HUGE_SECTORS):
                if huge in self._huge:
                    self._huge.remove(huge)
                    self._advise(mmap.MADV_NOHUGEPAGE, huge, HUGE_SECTORS)
        self._advise(mmap.MADV_DONTNEED, sector, count)

    def _advise(self, advice: int, sector: int, count: int) -> None:
        self.memory.madvise(advice, sector * SECTOR_BYTES, count * SECTOR_BYTES)
