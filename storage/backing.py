"""What holds the sectors of a volume: which kind of memory, and the file of those that have one."""

import errno
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ram9.storage.limits import SECTOR_BYTES

CHUNK_SECTORS: Final = 512  # of a file, allocated at a time: 256 KiB
ALLOCATED: Final = b"\1"


class Kind(StrEnum):
    """A kind of memory."""

    PAGEABLE = "pageable"  # as any memory of a process: the system may move it to swap
    LOCKED = "locked"  # never in swap, and not in core dumps
    HUGE = "huge"  # in pages of 2 MiB where the system grants them
    FILE = "file"  # of the page cache: what is not used for long lies on a disk


class BackingError(OSError):
    """The system does not grant such memory; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Backing:
    """How the sectors of a volume are held.

    *directory* is where the file lies that backs a volume of the kind FILE: a file without a name,
    which goes with the volume. With *wipe*, sectors are overwritten with zeros when they are freed.
    """

    kind: Kind = Kind.PAGEABLE
    directory: str = ""
    wipe: bool = False

    def __post_init__(self) -> None:
        if (self.kind is Kind.FILE) != bool(self.directory):
            raise ValueError(
                f"memory of the kind {Kind.FILE} needs a directory for its file, others take none"
            )

    @property
    def is_in_memory(self) -> bool:
        """Whether all that is held is memory of the machine (or swap)."""
        return self.kind is not Kind.FILE


PAGEABLE: Final = Backing()


class BackingFile:
    """A file without a name that holds *sectors* sectors, sparse.

    A page of a mapping that the disk has no room for ends the process (SIGBUS), so that sectors
    are *allocated* before anybody writes to them.
    """

    __slots__ = ("_chunks", "number")

    def __init__(self, directory: str, sectors: int) -> None:
        """OSError where there can be no such file."""
        self.number = _nameless(directory)
        self._chunks = bytearray(-(-sectors // CHUNK_SECTORS))  # which of them are allocated
        os.ftruncate(self.number, sectors * SECTOR_BYTES)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

    def allocate(self, runs: Iterable[tuple[int, int]]) -> bool:
        """Have the disk keep room for runs of sectors; False if it has none."""
        chunks = self._chunks
        for place, count in runs:
            end = -(-(place + count) // CHUNK_SECTORS)
            first = chunks.find(0, place // CHUNK_SECTORS, end)
            while first >= 0:
                after = chunks.find(1, first, end)
                after = after if after >= 0 else end
                try:
                    self._reserve(first, after - first)
                except OSError:  # full, over a quota, broken: the bytes have no place
                    return False
                first = chunks.find(0, after, end)
        return True

    def _reserve(self, first: int, count: int) -> None:
        chunk_bytes = CHUNK_SECTORS * SECTOR_BYTES
        size_bytes = os.fstat(self.number).st_size
        start, end = first * chunk_bytes, min((first + count) * chunk_bytes, size_bytes)
        os.posix_fallocate(self.number, start, end - start)
        self._chunks[first : first + count] = ALLOCATED * count

    def overwrite(self, offset: int, zeros: memoryview) -> int:
        """Put zeros over what is there, *offset* in bytes; return how many could not be put.

        Where there is a hole none need be: it holds nothing, and a full disk has no room for them.
        """
        with suppress(OSError):
            while zeros and (count := os.pwrite(self.number, zeros, offset)):
                offset += count
                zeros = zeros[count:]
        return len(zeros) if zeros and self._has_data(offset, offset + len(zeros)) else 0

    def _has_data(self, start: int, end: int) -> bool:
        try:
            return os.lseek(self.number, start, os.SEEK_DATA) < end
        except OSError as error:
            return error.errno != errno.ENXIO  # none from there on (lseek(2))

    def note_hole(self, place: int, count: int) -> None:
        """Note that the disk got the room of these sectors back."""
        first, end = place // CHUNK_SECTORS, -(-(place + count) // CHUNK_SECTORS)
        self._chunks[first:end] = bytes(end - first)


def _nameless(directory: str) -> int:
    """The number of a new open file that has no name in *directory*."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(directory, flags | os.O_TMPFILE, 0o600)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise
        # Not every file system knows O_TMPFILE (open(2): EISDIR, EOPNOTSUPP, EINVAL).
        number, path = tempfile.mkstemp(prefix=".ram9-", dir=directory)
        os.unlink(path)
        return number
