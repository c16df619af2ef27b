"""A thread that has the system back sectors with memory before they are needed.

Clearing pages is two thirds of what it costs to write to memory that was not used before, and needs
nothing that the rest of the server has: where a processor is spare, it is done beside it.
"""

import signal
import threading
from collections import deque
from queue import SimpleQueue

from ram9.storage.arena import Arena


class Populator:
    """Populates batches of *batch_sectors* sectors, one after the other, in the order of asking.

    ``pending`` are the first sectors of those that were asked for and not yet taken.
    """

    __slots__ = ("_asked", "_batch_sectors", "_done", "pending")

    def __init__(self, arena: Arena, batch_sectors: int) -> None:
        """RuntimeError if the system lets us have no thread."""
        self._batch_sectors = batch_sectors
        self._asked: SimpleQueue[int | None] = SimpleQueue()
        self._done: SimpleQueue[bool] = SimpleQueue()
        self.pending: deque[int] = deque()
        # It must not keep this object alive, which ends it.
        arguments = (arena, batch_sectors, self._asked, self._done)
        thread = threading.Thread(target=_work, args=arguments, name="populate", daemon=True)
        start_without_signals(thread)

    def __del__(self) -> None:
        self._asked.put(None)

    @property
    def sectors(self) -> int:
        """How many sectors are pending."""
        return len(self.pending) * self._batch_sectors

    def ask(self, place: int) -> None:
        """Begin to populate the batch at *place*, which nobody may use until it is taken."""
        self.pending.append(place)
        self._asked.put(place)

    def is_ready(self) -> bool:
        """Whether ``take`` need not wait."""
        return not self._done.empty()

    def take(self) -> tuple[int, bool]:
        """The oldest pending batch, and whether there was memory for it; waits until that is known.

        One batch takes milliseconds; to wait costs less than to do it again beside the thread.
        """
        populated = self._done.get()
        return self.pending.popleft(), populated


def start_without_signals(thread: threading.Thread) -> None:
    """Start a thread that never gets a signal: they are for the main thread, which may have them
    blocked for a moment. RuntimeError if the system lets us have no thread."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(
    arena: Arena, batch_sectors: int, asked: "SimpleQueue[int | None]", done: "SimpleQueue[bool]"
) -> None:
    while (place := asked.get()) is not None:
        done.put(arena.populate(place, batch_sectors))
