"""Requests for locks that are answered once they can be granted: who waits, for what, how long.

A Linux client whose process waits for a lock (F_SETLKW, flock) and is told that it is taken sleeps
for 30 seconds before it asks again. So the answer is held for a while. Not for ever: until it
comes, the process can only be killed (net/9p/client.c); its handlers of signals do not run, that of
an alarm that should end its waiting included.

Who gets what is as among the processes of one Linux (fs/locks.c): only locks that are held stand in
the way, so that a new request may be granted before those that wait; whenever bytes become free,
those that wait for them are tried again, the first that came first. Nobody is promised a turn.

A deadlock is refused with EDEADLK (fcntl(2)), as fs/locks.c does, and lockd between clients of NFS:
where a process would wait for itself, through others that wait. All of them must wait here at that
time: of one that was told to ask again, and sleeps, nothing is known. Threads may release what
others of their process wait for; as in Linux, they are refused too.
flock(2) has no such errno. It arrives as a lock of all bytes, as fcntl may too: so waits for all
bytes make no deadlock, but one: two that have a file to read, and both wait to have it alone. Linux
gives up the old lock for flock then; here it is kept, as fcntl must have it, so that both would
wait for ever.
"""

from collections.abc import Callable, Hashable
from itertools import islice
from typing import Final, Protocol, TypeVar

from ram9.protocol.codec import Message
from ram9.protocol.constants import LOCK_BLOCKED, LOCK_SUCCESS, NOTAG
from ram9.protocol.messages import Rlerror, Rlock, Tlock
from ram9.server.counters import Counters
from ram9.server.fids import Fid
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Inode
from ram9.storage.locks import Lock

WAITING_MAX: Final = 1 << 8  # requests of one connection
WAITING_TOTAL_MAX: Final = 1 << 10  # all of them are looked at when what they wait for is free

# How far a deadlock is looked for. fs/locks.c follows 10 waits, and one lock for each.
WAITS_FOLLOWED_MAX: Final = 10
OBSTACLES_FOLLOWED_MAX: Final = 100  # for each wait


class Asker(Protocol):
    """What is asked of the session whose client waits."""

    waiting: dict[int, "Waiter"]

    def take(self, inode: Inode, wanted: Lock) -> bool:
        """Take *wanted*; False if a lock of somebody else is in the way. ENOLCK."""

    def answer_late(self, tag: int, reply: Message) -> None:
        """Send *reply*, between requests."""


class Waiter:
    """A request for the lock *wanted*, through *fid*, that is not answered yet."""

    __slots__ = ("deadline", "fid", "session", "tag", "wanted")

    def __init__(self, session: Asker, fid: Fid, wanted: Lock) -> None:
        self.session = session
        self.fid = fid
        self.wanted = wanted
        self.tag = NOTAG
        self.deadline = 0.0


Queue = dict[Waiter, None]  # in the order in which they came
K = TypeVar("K")


class WaitingLocks:
    """Those who wait for locks of one server.

    *seconds_max* is how long, by *clock*; 0 lets nobody wait.
    """

    __slots__ = ("_all", "_clock", "_counters", "_of_inode", "_of_owner", "seconds_max")

    def __init__(
        self,
        counters: Counters,
        seconds_max: float = 0.0,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._counters = counters
        self.seconds_max = seconds_max
        self._clock = clock
        self._all: Queue = {}
        self._of_inode: dict[Inode, Queue] = {}
        self._of_owner: dict[Hashable, Queue] = {}

    def enter(self, waiter: Waiter, tag: int) -> bool:
        """Let *waiter* wait for the answer to the request *tag*; False if too many do already."""
        waiting = waiter.session.waiting
        if tag in waiting:
            # A broken client, which would not know which of the two was answered.
            self._counters.protocol_errors["tag in use"] += 1
            return False
        if (
            not self.seconds_max
            or len(waiting) >= WAITING_MAX
            or len(self._all) >= WAITING_TOTAL_MAX
        ):
            return False
        waiter.tag = tag
        waiter.deadline = self._clock() + self.seconds_max
        waiting[tag] = waiter
        self._all[waiter] = None
        self._of_inode.setdefault(waiter.fid.inode, {})[waiter] = None
        self._of_owner.setdefault(waiter.wanted.owner, {})[waiter] = None
        self._counters.waiting_locks += 1
        return True

    def leave(self, waiter: Waiter) -> None:
        """Forget *waiter*, who gets no answer, or has got it."""
        del waiter.session.waiting[waiter.tag]
        del self._all[waiter]
        _remove(self._of_inode, waiter.fid.inode, waiter)
        _remove(self._of_owner, waiter.wanted.owner, waiter)
        self._counters.waiting_locks -= 1

    def refuse(self, session: Asker, fid: Fid) -> None:
        """Answer those who wait through *fid* that it is no longer open."""
        for waiter in list(session.waiting.values()):
            if waiter.fid is fid:
                self._answer(waiter, Rlerror(Errno.EBADF))

    def expire(self) -> None:
        """Tell those who have waited for long enough to ask again."""
        now = self._clock()
        while self._all and (first := next(iter(self._all))).deadline <= now:
            self._answer(first, Rlock(LOCK_BLOCKED))

    def end(self) -> None:
        """Tell everybody to ask again, and let nobody wait any more."""
        self.seconds_max = 0.0
        for waiter in list(self._all):
            self._answer(waiter, Rlock(LOCK_BLOCKED))

    def wake(self, inode: Inode, start: int, last: int) -> None:
        """Grant what can be had now that the bytes [start, last] are free, or freer."""
        queue = self._of_inode.get(inode)
        if queue is None:
            return
        freed = [(start, last)]
        while freed:
            start, last = min(freed)[0], max(end for _, end in freed)
            freed = self._grant(inode, queue, start, last)

    def would_deadlock(self, inode: Inode, wanted: Lock) -> bool:
        """Whether who waits for *wanted* would wait for himself. Looks only so far."""
        if not self._all or not _is_of_fcntl(inode, wanted):
            return False
        seen: set[Hashable] = set()
        todo = [(inode, wanted)]
        for _ in range(WAITS_FOLLOWED_MAX):
            if not todo:
                break
            inode, lock = todo.pop()
            if inode.locks is None:
                continue
            for obstacle in islice(inode.locks.conflicts(lock), OBSTACLES_FOLLOWED_MAX):
                if obstacle.owner == wanted.owner:
                    return True
                if obstacle.owner not in seen:
                    seen.add(obstacle.owner)
                    todo += self._waits_of(obstacle.owner)
        return False

    def _waits_of(self, owner: Hashable) -> list[tuple[Inode, Lock]]:
        waits = [(waiter.fid.inode, waiter.wanted) for waiter in self._of_owner.get(owner, ())]
        return [wait for wait in waits if _is_of_fcntl(*wait)]

    def _grant(self, inode: Inode, queue: Queue, start: int, last: int) -> list[tuple[int, int]]:
        """Grant what can be had of [start, last]; return which bytes that made freer in turn."""
        freer = []
        obstacle: Lock | None = None  # one that is held: it saves looking for those behind it
        for waiter in list(queue):
            wanted = waiter.wanted
            if wanted.last < start or last < wanted.start:
                continue
            if obstacle is not None and obstacle.obstructs(wanted):
                continue
            locks = inode.locks
            if locks is not None:
                obstacle = locks.conflict(wanted)
                if obstacle is not None:
                    continue
                if locks.weakens(wanted):
                    freer.append((wanted.start, wanted.last))
            reply: Message
            try:
                is_taken = waiter.session.take(inode, wanted)
                reply, obstacle = Rlock(LOCK_SUCCESS if is_taken else LOCK_BLOCKED), wanted
            except FileSystemError as refusal:
                reply, obstacle = Rlerror(refusal.errno), None
            self._answer(waiter, reply)
        return freer

    def _answer(self, waiter: Waiter, reply: Message) -> None:
        if isinstance(reply, Rlerror):
            self._counters.errors[Tlock.number, Errno(reply.ecode)] += 1
        self.leave(waiter)
        waiter.session.answer_late(waiter.tag, reply)


def _is_of_fcntl(inode: Inode, wanted: Lock) -> bool:
    """Whether a wait is one of fcntl(2), or one that flock(2) would not have on one Linux."""
    locks = inode.locks
    return not wanted.is_whole or (locks is not None and locks.holds(wanted.owner))


def _remove(queues: dict[K, Queue], key: K, waiter: Waiter) -> None:
    queue = queues[key]
    del queue[waiter]
    if not queue:
        del queues[key]
