"""The private heap: one reserved mapping, cut into sectors, apart from Python's own memory."""

import ctypes
import errno
import mmap
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from ram9.storage.backing import PAGEABLE, Backing, BackingError, BackingFile, Kind
from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES

# Not named by the module.
MADV_POPULATE_WRITE: Final = 23  # Linux 5.14
MADV_DONTNEED_LOCKED: Final = 24  # Linux 5.18
MLOCK_ONFAULT: Final = 1  # Linux 4.4
MAP_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000)  # from Python 3.13 on

# A volume that grows does so where it lies: address space is reserved, which costs nothing. 1,000
# volumes of these 64 GiB are half of what x86-64 has (47 bits).
ROOM_TIMES: Final = 16
ROOM_BYTES_MAX: Final = 64 << 30

# The module's own call keeps other threads from running meanwhile.
_library = ctypes.CDLL(None, use_errno=True)
_madvise = _library.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Arena:
    """At least *sectors* sectors of address space; the system backs a page when it is written.

    ``memory`` is the mapping (slicing it copies), ``view`` a memoryview of the same bytes
    (slicing it aliases). A page that was never written, or was given back, reads as zeros.
    """

    __slots__ = ("_address", "_kind", "file", "memory", "populates", "sectors", "view")

    def __init__(self, sectors: int, backing: Backing = PAGEABLE, room_sectors: int = 0) -> None:
        """*room_sectors* are had where the system grants them, *sectors* in any case.

        Raises BackingError, or what the mmap module does, where those cannot be had.
        """
        self._kind = backing.kind
        self.file: BackingFile | None = None
        least = _whole_pages(sectors)
        most = max(least, _whole_pages(room_sectors))
        while True:
            try:
                self._map(most, backing)
            except (OSError, OverflowError, ValueError):
                if most == least:
                    raise
                most = least
            else:
                break
        self.populates = self.file is None  # until the system says that it does not

    def _map(self, sectors: int, backing: Backing) -> None:
        flags, number = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1
        if backing.kind is Kind.FILE:
            self.file = _file(backing.directory, sectors)
            flags, number = mmap.MAP_SHARED, self.file.number
        self.sectors = sectors
        self.memory = mmap.mmap(number, sectors * SECTOR_BYTES, flags=flags)
        self.view = memoryview(self.memory)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        if backing.kind is Kind.HUGE:
            with suppress(OSError):  # a system without them (EINVAL): ordinary pages do
                self.memory.madvise(mmap.MADV_HUGEPAGE)
        elif backing.kind is Kind.LOCKED:
            self._lock(0, sectors)
            self.memory.madvise(mmap.MADV_DONTDUMP)

    def overwrite(self, offset: int, zeros: memoryview) -> int:
        """Put zeros over what is there, *offset* in bytes; return how many could not be put.

        In a file by a call, not through the mapping: where the sectors of a volume that has ended
        are a hole again, a full disk has no room even for zeros. That is an error instead of a
        signal that ends the process.
        """
        if self.file is not None:
            return self.file.overwrite(offset, zeros)
        self.view[offset : offset + len(zeros)] = zeros
        return 0

    def populate(self, sector: int, count: int) -> bool:
        """Have the system back whole pages with memory now; False if it will not.

        They read as zeros, as before. One call for many pages costs a fifth less than their faults
        one by one. (Huge pages cost less on bare machines, but on virtual ones whose host takes
        free memory back they cost up to ten times more: they are what it takes.)
        May be called by any thread, and lets others run.
        """
        assert sector % PAGE_SECTORS == 0
        assert count % PAGE_SECTORS == 0
        if self._advise(sector, count, MADV_POPULATE_WRITE):
            self.populates = False  # an older system, or one short of memory: faults do as well
            return False
        return True

    def give_back(self, sector: int, count: int) -> None:
        """Return the memory of whole pages to the system; they read as zeros from now on.

        (But those of a file whose file system can make no holes keep what they held, and it.)
        """
        assert sector % PAGE_SECTORS == 0
        assert count % PAGE_SECTORS == 0
        if self._kind is Kind.LOCKED:
            self._give_locked_back(sector, count)
            return
        where = sector * SECTOR_BYTES, count * SECTOR_BYTES
        if self.file is not None:
            try:
                self.memory.madvise(mmap.MADV_REMOVE, *where)
            except OSError:
                self.memory.madvise(mmap.MADV_DONTNEED, *where)
            else:
                self.file.note_hole(sector, count)
        else:
            self.memory.madvise(mmap.MADV_DONTNEED, *where)

    def _give_locked_back(self, sector: int, count: int) -> None:
        if not self._advise(sector, count, MADV_DONTNEED_LOCKED):
            return
        # An older system gives nothing back that is locked (madvise(2): EINVAL).
        start, count_bytes = self._address + sector * SECTOR_BYTES, count * SECTOR_BYTES
        _library.munlock(ctypes.c_void_p(start), ctypes.c_size_t(count_bytes))
        self._advise(sector, count, mmap.MADV_DONTNEED)
        self._lock(sector, count)

    def _lock(self, sector: int, count: int) -> None:
        """Keep pages in memory from when they are first written, until they are given back."""
        start, count_bytes = self._address + sector * SECTOR_BYTES, count * SECTOR_BYTES
        address, size = ctypes.c_void_p(start), ctypes.c_size_t(count_bytes)
        if _library.mlock2(address, size, MLOCK_ONFAULT):
            raise _not_locked(ctypes.get_errno(), count_bytes)

    def _advise(self, sector: int, count: int, advice: int) -> bool:
        """madvise(2); True if that failed."""
        start = self._address + sector * SECTOR_BYTES
        return bool(_madvise(start, count * SECTOR_BYTES, advice))


def room_sectors(size_bytes: int) -> int:
    """How much address space a volume of this size should have, so that it can grow."""
    room_bytes = max(2 * size_bytes, min(ROOM_TIMES * size_bytes, ROOM_BYTES_MAX))
    if _is_address_space_charged():
        room_bytes = size_bytes
    return -(-room_bytes // SECTOR_BYTES)


def _is_address_space_charged() -> bool:
    """Whether the system counts what is mapped as if it were used (vm.overcommit_memory = 2)."""
    with suppress(OSError):
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
    return False


def _whole_pages(sectors: int) -> int:
    return -(-sectors // PAGE_SECTORS) * PAGE_SECTORS


def _file(directory: str, sectors: int) -> BackingFile:
    try:
        return BackingFile(directory, sectors)
    except OSError as error:
        raise BackingError(
            f"there can be no file of {sectors * SECTOR_BYTES} bytes in {directory}: "
            f"{error.strerror}; name a directory of a local disk that this user may write to"
        ) from error


def _not_locked(number: int, count_bytes: int) -> BackingError:
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return BackingError(
        f"{count_bytes} bytes cannot be locked in memory: {os.strerror(number)}; this process may "
        f"lock {limit_bytes} (ulimit -l): raise that (systemd: LimitMEMLOCK=infinity), or give it "
        "the capability CAP_IPC_LOCK"
        if number in (errno.ENOMEM, errno.EPERM, errno.EAGAIN)
        else f"memory cannot be locked here: {os.strerror(number)}"
    )
