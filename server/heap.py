"""Memory that Python and the C library keep for themselves: given back when nobody is busy.

What the sectors held goes back by itself (storage/space.py). Inodes, names and attributes lie in
Python's small blocks, which go back in pieces of 1 MiB when nothing of such a piece is used, and
in the C library's, which keeps what lies below its last block. The free lists of Python hold some
blocks of pieces that are otherwise empty.
"""

import ctypes
import gc
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from ram9.storage.populating import start_without_signals

CHANGE_BYTES_MIN: Final = 256 << 10  # since the last time, before it is worth another look
BUSY_SECONDS_MAX: Final = 60  # with requests in every one, before nobody waits for a quiet one


class Held(NamedTuple):
    """What may have left something behind once it has changed, each by itself.

    That is what the process has, and what volumes and fids should: memory that was freed but not
    given back changes only that.
    """

    process_bytes: int
    volumes_bytes: int
    fids_bytes: int


class Heap:
    """Decides once a second whether the heap may hold memory that nobody needs; gives it back."""

    __slots__ = ("_busy_seconds", "_held", "_is_trimming", "_seen", "_trim")

    def __init__(self, held: Callable[[], Held]) -> None:
        self._held = held
        self._seen = held()
        self._busy_seconds = 0
        self._is_trimming = threading.Event()
        # Other C libraries than that of GNU have none, and keep less.
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def is_due(self, *, is_quiet: bool) -> bool:
        """Whether to give back now, given whether there were requests in the last second."""
        self._busy_seconds = 0 if is_quiet else self._busy_seconds + 1
        if not is_quiet and self._busy_seconds < BUSY_SECONDS_MAX:
            return False
        self._busy_seconds = 0
        held = self._held()
        changes = (abs(now - seen) for now, seen in zip(held, self._seen, strict=True))
        if max(changes) < CHANGE_BYTES_MIN:
            return False
        self._seen = held
        return True

    def give_back(self) -> None:
        """Return what can be had quickly, and have a thread return the rest.

        The thread takes some 60 ms for a GiB, in which large blocks have to wait.
        """
        if not gc.isenabled():  # as the server runs: nothing is to be collected
            gc.freeze()
            gc.collect()  # of nothing, 0.1 ms: but it empties the free lists
        if self._trim is not None and not self._is_trimming.is_set():
            self._is_trimming.set()
            thread = threading.Thread(target=self._run, name="trim", daemon=True)
            try:
                start_without_signals(thread)
            except RuntimeError:  # the system lets us have no thread
                self._is_trimming.clear()

    def _run(self) -> None:
        assert self._trim is not None
        self._trim(ctypes.c_size_t(0))
        self._is_trimming.clear()
