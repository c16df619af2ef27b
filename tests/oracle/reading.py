"""A directory that is read in pieces while names come and go: is each that stayed seen once?"""

import ctypes
import errno
import os
import struct
from typing import Final

LIBC: Final = ctypes.CDLL(None, use_errno=True)
ENTRY: Final = struct.Struct("<QqHB")
ONE_ENTRY_BYTES: Final = 300

Entry = tuple[str, int]  # a name, and the number of its inode
Names = dict[Entry, object]  # each with what tells whether its inode has been changed


class Verdict:
    """Whether what is read is right, in whatever order it comes.

    A name that was there at every look from the first on, and whose inode was not changed between,
    has stayed, and must be seen exactly once before the end (readdir(3p)): one that was moved away
    and back may be missed, or seen twice (listed-ahead). Whatever is seen must have been there at
    some time.
    """

    def __init__(self, there: Names) -> None:
        self._stayed = set(there.items())
        self._ever = set(there)
        self._seen: list[Entry] = []

    def read(self, there: Names, piece: list[Entry], *, end: bool) -> str:
        """What is wrong, or "read", after *piece* was read with *there* to be seen."""
        self._stayed &= set(there.items())
        self._ever |= set(there)
        stayed = {entry for entry, _ in self._stayed}
        self._seen += piece
        missed = stayed.difference(self._seen) if end else ()
        twice = [each for each in stayed if self._seen.count(each) > 1]
        invented = set(self._seen).difference(self._ever)
        wrong = {"missed": missed, "twice": twice, "invented": invented}
        return str({key: sorted(found) for key, found in wrong.items() if found} or "read")


class Reading:
    """The reading of one open directory, whichever descriptors share it."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """It goes back to its beginning."""
        self._verdict: Verdict | None = None
        self._is_blind = False

    def read_on(self, fd: int, count: int) -> str:
        """Read at most *count* bytes of entries, or as many as the next one has.

        What is read by a user who may not look a second time, nobody can judge.
        """
        there = names_there(fd)
        self._is_blind |= there is None
        try:
            piece = entries(fd, count)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            piece = entries(fd, ONE_ENTRY_BYTES)
        if there is None or self._is_blind:
            return "read"
        if self._verdict is None:
            self._verdict = Verdict(there)
        return self._verdict.read(there, decode(piece), end=not piece)


def names_there(directory: int) -> Names | None:
    """What a second look at an open directory sees: nothing in one that was removed, and None
    where the user may not look.
    """
    try:
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
    except PermissionError:
        return None
    except OSError:
        return {}
    try:
        return {entry: changed(fd, entry[0]) for entry in decode(all_entries(fd))}
    except FileNotFoundError:
        return {}
    finally:
        os.close(fd)


def changed(directory: int, name: str) -> object:
    """The change time of what has a name; where one may not look, nothing that was before."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ctime_ns
    except PermissionError:
        return object()


def entries(fd: int, count: int) -> bytes:
    """What one getdents64(2) gives; OSError as it says."""
    buffer = ctypes.create_string_buffer(count)
    size = LIBC.getdents64(fd, buffer, ctypes.c_size_t(count))
    if size < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[:size]


def all_entries(fd: int) -> bytes:
    found = b""
    while piece := entries(fd, 1 << 16):
        found += piece
    return found


def decode(data: bytes) -> list[tuple[str, int]]:
    """Names and inode numbers, without the dots."""
    found, start = [], 0
    while start < len(data):
        number, _, length, _ = ENTRY.unpack_from(data, start)
        name = data[start + ENTRY.size : start + length].split(b"\0", 1)[0]
        if name not in (b".", b".."):
            found.append((os.fsdecode(name), number))
        start += length
    return found
