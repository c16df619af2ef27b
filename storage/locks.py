"""Byte-range locks of one inode (POSIX fcntl; the Linux client maps flock to whole-file ones)."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final

OFFSET_MAX: Final = 2**63 - 1  # the last byte of a lock that goes to the end, whatever the size


@dataclass(frozen=True, slots=True)
class Lock:
    """*owner* has the bytes [start, last], for itself alone if *exclusive*, else to read."""

    owner: Hashable
    start: int
    last: int
    exclusive: bool


class Locks:
    """The locks that are held; those of one owner never overlap, and adjacent equals are one."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: list[Lock] = []  # in no order

    def conflict(self, wanted: Lock) -> Lock | None:
        """A lock of somebody else that stands in the way; the first exclusive one, if any."""
        others = [
            lock
            for lock in self.held
            if lock.owner != wanted.owner
            and lock.start <= wanted.last
            and wanted.start <= lock.last
            and (lock.exclusive or wanted.exclusive)
        ]
        return next((lock for lock in others if lock.exclusive), others[0] if others else None)

    def acquire(self, wanted: Lock) -> bool:
        """Take *wanted*, in place of what its owner had in that range; False on a conflict."""
        if self.conflict(wanted) is not None:
            return False
        self.release(wanted.owner, wanted.start, wanted.last)
        start, last = wanted.start, wanted.last
        kept: list[Lock] = []
        for lock in self.held:
            touches = lock.start <= last + 1 and start <= lock.last + 1
            if lock.owner == wanted.owner and lock.exclusive == wanted.exclusive and touches:
                start, last = min(start, lock.start), max(last, lock.last)
            else:
                kept.append(lock)
        kept.append(replace(wanted, start=start, last=last))
        self.held = kept
        return True

    def release(self, owner: Hashable, start: int, last: int) -> None:
        """Free the owner's bytes [start, last]; what it has around them stays. Never refuses."""
        kept: list[Lock] = []
        for lock in self.held:
            if lock.owner != owner or lock.last < start or last < lock.start:
                kept.append(lock)
                continue
            if lock.start < start:
                kept.append(replace(lock, last=start - 1))
            if last < lock.last:
                kept.append(replace(lock, start=last + 1))
        self.held = kept
