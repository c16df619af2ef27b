"""The private heap: one reserved mapping, cut into sectors, apart from Python's own memory."""

import ctypes
import mmap

from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES

MADV_POPULATE_WRITE = 23  # Linux 5.14; not named by the module

# The module's own call keeps other threads from running meanwhile.
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # named by the module from Python 3.13 on


class Arena:
    """*sectors* sectors of address space; the system backs a page when it is first written.

    ``memory`` is the mapping (slicing it copies), ``view`` a memoryview of the same bytes
    (slicing it aliases). A page that was never written, or was given back, reads as zeros.
    """

    __slots__ = ("_address", "memory", "populates", "sectors", "view")

    def __init__(self, sectors: int) -> None:
        self.sectors = -(-sectors // PAGE_SECTORS) * PAGE_SECTORS
        self.memory = mmap.mmap(
            -1,
            self.sectors * SECTOR_BYTES,
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE,
        )
        self.view = memoryview(self.memory)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.populates = True  # until the system says that it does not

    def populate(self, sector: int, count: int) -> bool:
        """Have the system back whole pages with memory now; False if it will not.

        They read as zeros, as before. One call for many pages costs a fifth less than their faults
        one by one. (Huge pages cost less on bare machines, but on virtual ones whose host takes
        free memory back they cost up to ten times more: they are what it takes.)
        May be called by any thread, and lets others run.
        """
        assert sector % PAGE_SECTORS == 0
        assert count % PAGE_SECTORS == 0
        start = self._address + sector * SECTOR_BYTES
        if _madvise(start, count * SECTOR_BYTES, MADV_POPULATE_WRITE):
            self.populates = False  # an older system, or one short of memory: faults do as well
            return False
        return True

    def give_back(self, sector: int, count: int) -> None:
        """Return the memory of whole pages to the system; they read as zeros from now on."""
        assert sector % PAGE_SECTORS == 0
        assert count % PAGE_SECTORS == 0
        self.memory.madvise(mmap.MADV_DONTNEED, sector * SECTOR_BYTES, count * SECTOR_BYTES)
