"""Memory is made ready by a thread, in the order of asking, and none is left behind."""

import re
import signal
import threading
from pathlib import Path

from ram9.storage.arena import Arena
from ram9.storage.populating import Populator

BATCH = 8


def test_batches_come_in_the_order_of_asking() -> None:
    populator = Populator(Arena(64), BATCH)
    for place in (16, 0, 40):
        populator.ask(place)
    assert populator.sectors == 3 * BATCH
    assert [populator.take() for _ in range(3)] == [(16, True), (0, True), (40, True)]
    assert populator.sectors == 0
    assert not populator.is_ready()


def test_what_the_system_refuses_is_told() -> None:
    arena = Arena(64)
    populator = Populator(arena, BATCH)
    populator.ask(1 << 40)  # far outside
    assert populator.take() == (1 << 40, False)
    assert not arena.populates


def test_its_thread_gets_no_signals() -> None:
    """It got a second one to end, while the main thread had it blocked, and the process died."""
    before = set(threading.enumerate())
    populator = Populator(Arena(64), BATCH)
    (thread,) = set(threading.enumerate()) - before
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    blocked = int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16)  # type: ignore[index]
    assert blocked >> signal.SIGTERM - 1 & 1
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    del populator


def test_its_thread_ends_with_it() -> None:
    """File systems come and go: their memory must not stay with a thread that waits for ever."""
    before = set(threading.enumerate())
    populator = Populator(Arena(64), BATCH)
    (thread,) = set(threading.enumerate()) - before
    populator.ask(0)
    populator.take()
    del populator
    thread.join(20)
    assert not thread.is_alive()
