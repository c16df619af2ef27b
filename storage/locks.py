"""Byte-range locks of one inode (POSIX fcntl; the Linux client maps flock to whole-file ones).

Three orders are kept, so that a request costs the logarithm of how many locks there are:

- of each owner: its locks never overlap, so that bisecting finds those that a range touches;
- the exclusive ones of all: these never overlap either, or they would not have been granted;
- the shared ones of all, which do overlap, by their first byte, and their last bytes apart. How
  many of them a range touches follows from two bisections: those that begin before it ends, less
  those that end before it begins. So only where there is one in the way is it looked for.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator, Set
from typing import Final, NamedTuple

OFFSET_MAX: Final = 2**63 - 1  # the last byte of a lock that goes to the end, whatever the size


class Lock(NamedTuple):
    """*owner* has the bytes [start, last], for itself alone if *exclusive*, else to read.

    Owners are compared with each other, to keep locks in order.
    """

    start: int
    last: int
    owner: Hashable
    exclusive: bool

    @property
    def is_whole(self) -> bool:
        """Whether it is of all bytes, which is how flock(2) arrives."""
        return self.start == 0 and self.last == OFFSET_MAX

    def obstructs(self, wanted: "Lock") -> bool:
        """Whether *wanted* cannot be had while this one is held."""
        return (
            self.start <= wanted.last
            and wanted.start <= self.last
            and (self.exclusive or wanted.exclusive)
            and self.owner != wanted.owner
        )


class Locks:
    """The locks that are held; those of one owner never overlap, and adjacent equals are one."""

    __slots__ = ("_exclusive", "_of_owner", "_shared", "_shared_lasts")

    def __init__(self) -> None:
        self._of_owner: dict[Hashable, list[Lock]] = {}
        self._exclusive: list[Lock] = []
        self._shared: list[Lock] = []
        self._shared_lasts: list[int] = []

    def __len__(self) -> int:
        return len(self._exclusive) + len(self._shared)

    @property
    def held(self) -> list[Lock]:
        """All of them, the lowest first."""
        return sorted(self._exclusive + self._shared)

    def holds(self, owner: Hashable) -> bool:
        """Whether *owner* has any."""
        return owner in self._of_owner

    def conflict(self, wanted: Lock) -> Lock | None:
        """A lock of somebody else that stands in the way; the first exclusive one, if any."""
        return next(self.conflicts(wanted), None)

    def conflicts(self, wanted: Lock) -> Iterator[Lock]:
        """Every lock of somebody else that stands in the way: first the exclusive ones."""
        start, last, owner, exclusive = wanted
        low, high = _touched(self._exclusive, start, last)
        for index in range(low, high):
            if self._exclusive[index].owner != owner:
                yield self._exclusive[index]
        if not exclusive or not self._shared:
            return
        # From the nearest beginning downwards: whatever is left to be found is found soon, but
        # where one from far below reaches into the range over many that do not.
        index = bisect_left(self._shared, (last + 1,))
        left = index - bisect_left(self._shared_lasts, start) - self._shared_own(wanted)
        while left:
            index -= 1
            lock = self._shared[index]
            if lock.last >= start and lock.owner != owner:
                yield lock
                left -= 1

    def acquire(self, wanted: Lock) -> bool:
        """Take *wanted*, in place of what its owner had in that range; False on a conflict."""
        if self.conflict(wanted) is not None:
            return False
        start, last, owner, exclusive = wanted
        own = self._of_owner.setdefault(owner, [])
        low, high = _touched(own, start - 1, last + 1)  # what is beside it may become one with it
        kept = []
        for lock in own[low:high]:
            if lock.exclusive == exclusive:
                start, last = min(start, lock.start), max(last, lock.last)
            else:
                kept += _outside(lock, wanted.start, wanted.last)
        kept.append(Lock(start, last, owner, exclusive))
        self._replace(own, low, high, kept)
        return True

    def weakens(self, wanted: Lock) -> bool:
        """Whether *wanted* would be in place of more: a shared lock where its owner is alone."""
        own = self._of_owner.get(wanted.owner)
        if own is None or wanted.exclusive:
            return False
        low, high = _touched(own, wanted.start, wanted.last)
        return any(lock.exclusive for lock in own[low:high])

    def release(self, owner: Hashable, start: int, last: int) -> bool:
        """Free the owner's bytes [start, last]; what it has around them stays. Never refuses.

        True if there were any.
        """
        own = self._of_owner.get(owner)
        if own is None:
            return False
        low, high = _touched(own, start, last)
        kept = [part for lock in own[low:high] for part in _outside(lock, start, last)]
        self._replace(own, low, high, kept)
        if not own:
            del self._of_owner[owner]
        return low < high

    def release_all(self, owners: Set[Hashable]) -> None:
        """Free all that *owners*, who have some, have; costs what is held by all, once."""
        self._exclusive = [lock for lock in self._exclusive if lock.owner not in owners]
        self._shared = [lock for lock in self._shared if lock.owner not in owners]
        self._shared_lasts = sorted(lock.last for lock in self._shared)
        for owner in owners:
            del self._of_owner[owner]

    def splits(self, owner: Hashable, start: int, last: int) -> bool:
        """Whether to release [start, last] makes two locks of one."""
        own = self._of_owner.get(owner, [])
        low, high = _touched(own, start, last)
        return high - low == 1 and own[low].start < start and last < own[low].last

    def _shared_own(self, wanted: Lock) -> int:
        """How many shared locks its owner has in the range of *wanted*."""
        own = self._of_owner.get(wanted.owner)
        if own is None:
            return 0
        low, high = _touched(own, wanted.start, wanted.last)
        return sum(not lock.exclusive for lock in own[low:high])

    def _replace(self, own: list[Lock], low: int, high: int, locks: list[Lock]) -> None:
        """Put *locks* in the place of own[low:high], in every order."""
        for lock in own[low:high]:
            order = self._exclusive if lock.exclusive else self._shared
            del order[bisect_left(order, lock)]
            if not lock.exclusive:
                del self._shared_lasts[bisect_left(self._shared_lasts, lock.last)]
        own[low:high] = sorted(locks)
        for lock in locks:
            insort(self._exclusive if lock.exclusive else self._shared, lock)
            if not lock.exclusive:
                insort(self._shared_lasts, lock.last)


def _touched(apart: list[Lock], start: int, last: int) -> tuple[int, int]:
    """Which of some locks that do not overlap have bytes of [start, last]: apart[low:high]."""
    low = bisect_left(apart, (start,))
    if low and apart[low - 1].last >= start:
        low -= 1
    return low, bisect_left(apart, (last + 1,), low)


def _outside(lock: Lock, start: int, last: int) -> list[Lock]:
    """What is left of *lock* without the bytes [start, last]."""
    if lock.last < start or last < lock.start:
        return [lock]
    parts = []
    if lock.start < start:
        parts.append(Lock(lock.start, start - 1, lock.owner, lock.exclusive))
    if last < lock.last:
        parts.append(Lock(last + 1, lock.last, lock.owner, lock.exclusive))
    return parts
