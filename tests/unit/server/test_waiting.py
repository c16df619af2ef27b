"""Who waits for locks, apart from what they ask."""

from collections.abc import Hashable

import pytest

from ram9.protocol.codec import Message
from ram9.protocol.messages import Rlerror, Rlock, Tlock
from ram9.server import waiting
from ram9.server.counters import Counters
from ram9.server.fids import Fid
from ram9.server.waiting import Waiter, WaitingLocks
from ram9.storage.errors import Errno
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Inode
from ram9.storage.limits import Limits
from ram9.storage.locks import OFFSET_MAX, Lock, Locks

ROOT = FileSystem(Limits(size_bytes=1 << 20, inodes=10), lambda: 1).root


class Asker:
    """A session that keeps its answers."""

    def __init__(self) -> None:
        self.waiting: dict[int, Waiter] = {}
        self.answers: list[tuple[int, Message]] = []

    def take(self, inode: Inode, wanted: Lock) -> bool:
        if inode.locks is None:
            inode.locks = Locks()
        return inode.locks.acquire(wanted)

    def answer_late(self, tag: int, reply: Message) -> None:
        self.answers.append((tag, reply))


@pytest.fixture
def inode() -> Inode:
    inode = Inode(1, 0o100644, 0, 0, 0)
    inode.locks = Locks()
    return inode


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def locks(counters: Counters) -> WaitingLocks:
    return WaitingLocks(counters, 10, lambda: 0.0)


def exclusive(owner: Hashable, start: int, last: int) -> Lock:
    return Lock(start, last, owner, exclusive=True)


def fid_of(inode: Inode) -> Fid:
    return Fid(inode, 0, ROOT)


def wait(locks: WaitingLocks, asker: Asker, inode: Inode, wanted: Lock, tag: int) -> Waiter:
    waiter = Waiter(asker, fid_of(inode), wanted)
    assert locks.enter(waiter, tag)
    return waiter


def test_nobody_waits_unless_that_was_asked_for(inode: Inode, counters: Counters) -> None:
    waiter = Waiter(Asker(), fid_of(inode), exclusive("a", 0, 9))
    assert not WaitingLocks(counters).enter(waiter, 1)
    assert counters.waiting_locks == 0


def test_who_has_left_is_forgotten(locks: WaitingLocks, inode: Inode, counters: Counters) -> None:
    asker = Asker()
    waiters = [wait(locks, asker, inode, exclusive("a", 0, 9), tag) for tag in range(3)]
    for waiter in waiters:
        locks.leave(waiter)
    locks.wake(inode, 0, OFFSET_MAX)
    locks.end()
    assert asker.answers == []
    assert asker.waiting == {}
    assert counters.waiting_locks == 0
    assert not any((locks._all, locks._of_inode, locks._of_owner))


def test_refusals_that_come_late_are_counted(
    locks: WaitingLocks, inode: Inode, counters: Counters
) -> None:
    asker = Asker()
    waiter = wait(locks, asker, inode, exclusive("a", 0, 9), 5)
    locks.refuse(asker, fid_of(inode))
    assert asker.answers == []
    locks.refuse(asker, waiter.fid)
    assert asker.answers == [(5, Rlerror(Errno.EBADF))]
    assert counters.errors == {(Tlock.number, Errno.EBADF): 1}


def test_those_behind_the_same_obstacle_are_not_looked_for_each(
    locks: WaitingLocks, inode: Inode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand may wait for one lock, and one gets it: the others cost a comparison each."""
    asker = Asker()
    for number in range(200):
        wait(locks, asker, inode, exclusive(number, 0, 9), number)
    looked = []
    conflict = Locks.conflict

    def counted(self: Locks, wanted: Lock) -> Lock | None:
        looked.append(wanted)
        return conflict(self, wanted)

    monkeypatch.setattr(Locks, "conflict", counted)
    locks.wake(inode, 0, 9)
    assert asker.answers == [(0, Rlock(0))]
    assert len(looked) < 5


def test_a_search_for_a_deadlock_looks_at_so_many_locks(
    locks: WaitingLocks, inode: Inode, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = Asker()
    assert inode.locks is not None
    for number in range(8):
        inode.locks.acquire(exclusive(number, number, number))
    wait(locks, asker, inode, exclusive(4, 7, 7), 1)
    assert locks.would_deadlock(inode, exclusive(7, 0, 6))
    monkeypatch.setattr(waiting, "OBSTACLES_FOLLOWED_MAX", 4)
    assert not locks.would_deadlock(inode, exclusive(7, 0, 6))
    assert locks.would_deadlock(inode, exclusive(7, 1, 6))


def test_a_wait_through_a_file_that_has_no_locks_any_more_leads_nowhere(
    locks: WaitingLocks, inode: Inode
) -> None:
    other = Inode(3, 0o100644, 0, 0, 0)
    assert inode.locks is not None
    inode.locks.acquire(exclusive("b", 0, 0))
    wait(locks, Asker(), other, exclusive("b", 0, 0), 1)
    assert not locks.would_deadlock(inode, exclusive("a", 0, 0))


def test_the_clock_says_who_has_waited_for_long(inode: Inode, counters: Counters) -> None:
    now = [100.0]
    locks = WaitingLocks(counters, 10, lambda: now[0])
    asker = Asker()
    for tag in range(3):
        wait(locks, asker, inode, exclusive("a", 0, 9), tag)
        now[0] += 1
    now[0] = 111.0
    locks.expire()
    assert asker.answers == [(0, Rlock(1)), (1, Rlock(1))]
    now[0] = 1000.0
    locks.expire()
    locks.expire()
    assert len(asker.answers) == 3
