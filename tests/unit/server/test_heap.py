"""The heap is looked at in quiet seconds, and gives back what nobody needs."""

import ctypes
import gc
import subprocess
import sys
import threading

import pytest
from tests.socket_client import wait_until

from ram9.server import heap as heap_module
from ram9.server.heap import BUSY_SECONDS_MAX, CHANGE_BYTES_MIN, Heap, Held


class Memory:
    """How much memory the process is said to have, and how much it should."""

    def __init__(self) -> None:
        self.bytes = 0
        self.volumes_bytes = 0
        self.fids_bytes = 0


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def heap(memory: Memory) -> Heap:
    return Heap(lambda: Held(memory.bytes, memory.volumes_bytes, memory.fids_bytes))


def test_nothing_is_due_where_nothing_changed(heap: Heap, memory: Memory) -> None:
    memory.bytes = CHANGE_BYTES_MIN - 1
    assert not heap.is_due(is_quiet=True)


def test_what_changed_is_due_once_in_a_quiet_second(heap: Heap, memory: Memory) -> None:
    memory.bytes = CHANGE_BYTES_MIN
    assert not heap.is_due(is_quiet=False)
    assert heap.is_due(is_quiet=True)
    assert not heap.is_due(is_quiet=True)
    memory.bytes = 0
    assert heap.is_due(is_quiet=True)


@pytest.mark.parametrize("what", ["volumes_bytes", "fids_bytes"])
def test_what_was_freed_but_is_still_held_is_due(heap: Heap, memory: Memory, what: str) -> None:
    """The C library keeps what is freed below its last block: 260 MiB of attributes were removed,
    the process had as much memory as before, and so nobody looked."""
    memory.bytes = 100 * CHANGE_BYTES_MIN
    setattr(memory, what, 100 * CHANGE_BYTES_MIN)
    assert heap.is_due(is_quiet=True)
    setattr(memory, what, 0)
    assert heap.is_due(is_quiet=True)
    assert not heap.is_due(is_quiet=True)


def test_where_no_second_is_quiet_it_is_due_each_minute(heap: Heap, memory: Memory) -> None:
    memory.bytes = CHANGE_BYTES_MIN
    due = [heap.is_due(is_quiet=False) for _ in range(BUSY_SECONDS_MAX)]
    assert due == [False] * (BUSY_SECONDS_MAX - 1) + [True]


def test_a_quiet_second_begins_the_minute_anew(heap: Heap, memory: Memory) -> None:
    for _ in range(BUSY_SECONDS_MAX - 1):
        heap.is_due(is_quiet=False)
    heap.is_due(is_quiet=True)
    memory.bytes = CHANGE_BYTES_MIN
    assert not heap.is_due(is_quiet=False)


def test_one_trim_at_a_time(heap: Heap, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, trims = threading.Event(), []

    def trim(pad: ctypes.c_size_t) -> None:
        trims.append(pad.value)
        may_end.wait(10)

    monkeypatch.setattr(heap, "_trim", trim)
    heap.give_back()
    heap.give_back()
    may_end.set()
    wait_until(lambda: not heap._is_trimming.is_set(), "the trim ends")
    assert trims == [0]


def test_without_a_thread_or_that_function_the_rest_is_done(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(heap_module, "start_without_signals", refuse)
        heap.give_back()
    assert not heap._is_trimming.is_set()
    monkeypatch.setattr(heap, "_trim", None)
    heap.give_back()


def test_where_python_collects_by_itself_nothing_is_frozen(heap: Heap) -> None:
    assert gc.isenabled()
    before = gc.get_freeze_count()
    heap.give_back()
    assert gc.get_freeze_count() == before


# Many values of 4 KiB go, and one stays behind the last: the C library keeps all below it.
TRIMMED = """
import time
from ram9.server.heap import Heap, Held
from ram9.server.memory import MemoryFiles

anonymous_bytes = MemoryFiles().anonymous_bytes
values = [b"%04096d" % number for number in range(20_000)]
last = b"%04096d" % 1
del values
before_bytes = anonymous_bytes()
heap = Heap(lambda: Held(0, 0, 0))
heap.give_back()
while heap._is_trimming.is_set():
    time.sleep(0.01)
print(before_bytes - anonymous_bytes())
"""


def test_what_the_c_library_keeps_goes_back() -> None:
    run = subprocess.run(
        [sys.executable, "-c", TRIMMED], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) > 70 << 20
