"""Memory is made ready by a thread, in the order of asking, and none is left behind."""

import threading

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


def test_there_is_a_thread_once_it_is_needed_and_it_ends_with_the_populator() -> None:
    """File systems come and go: their memory must not stay with a thread that waits for ever."""
    before = set(threading.enumerate())
    populator = Populator(Arena(64), BATCH)
    assert not set(threading.enumerate()) - before
    populator.ask(0)
    (thread,) = set(threading.enumerate()) - before
    populator.take()
    del populator
    thread.join(20)
    assert not thread.is_alive()
