"""Runs of sectors, and sets of them that are free."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ram9.storage.tables import is_oversized


class Run(NamedTuple):
    """*sectors* adjacent sectors of the arena, the first of which is *place*."""

    place: int
    sectors: int


class FreeRuns:
    """A set of free sectors, kept as the longest possible runs.

    Runs lie in classes by the bit length of their size. A class is a stack of first sectors, the
    newest on top, from which runs that have gone since are dropped when they come up: so finding
    a run, adding one and joining it to its neighbours each take constant time.
    """

    __slots__ = ("_count_at", "_live", "_occupied", "_stacks", "_start_of", "sectors")

    def __init__(self) -> None:
        self.sectors = 0
        self._count_at: dict[int, int] = {}  # first sector: count
        self._start_of: dict[int, int] = {}  # sector after the last: first sector
        self._stacks: list[list[int]] = [[] for _ in range(64)]
        self._live = [0] * 64  # runs in each class
        self._occupied = 0  # bit k is set when class k has runs

    def __iter__(self) -> Iterator[Run]:
        """All runs, in no order."""
        return iter([Run(place, count) for place, count in self._count_at.items()])

    def add(self, place: int, count: int) -> None:
        """Add a run, joined to the free runs that it touches."""
        before = self._start_of.get(place)
        if before is not None:
            count += self._remove(before)
            place = before
        after = place + count
        if after in self._count_at:
            count += self._remove(after)
        self._insert(place, count)

    def take_at(self, place: int, count_max: int) -> int:
        """Take up to *count_max* sectors from the run that begins at *place*; return how many."""
        there = self._count_at.get(place)
        if there is None or count_max <= 0:
            return 0
        self._remove(place)
        taken = min(there, count_max)
        if taken < there:
            self._insert(place + taken, there - taken)
        return taken

    def take(self, count: int, align: int = 1) -> int | None:
        """Take *count* adjacent sectors and return the first, or None where no run is long enough.

        The first is a multiple of *align*.
        """
        size_class = count.bit_length()  # here only the newest is looked at: it may be too short
        if self._occupied >> size_class & 1:
            start = self._newest(size_class)
            place = start + -start % align
            if place + count <= start + self._count_at[start]:
                self._cut(start, place, count)
                return place
        return self.take_of(count + align - 1, count, align)

    def has(self, long: int) -> bool:
        """Whether there is a run in a class all of which have *long* sectors or more."""
        return bool(self._occupied >> ((long - 1).bit_length() + 1))

    def take_of(self, long: int, count: int, align: int) -> int | None:
        """As ``take``, out of such a run."""
        enough = (long - 1).bit_length() + 1
        above = self._occupied >> enough
        if not above:
            return None
        start = self._newest(enough + (above & -above).bit_length() - 1)
        place = start + -start % align
        self._cut(start, place, count)
        return place

    def starts_with(self, place: int, count: int) -> bool:
        """Whether a run of at least *count* sectors begins at *place*."""
        return self._count_at.get(place, 0) >= count

    def take_piece(self, count_max: int) -> Run | None:
        """Take up to *count_max* sectors from a run of the largest class; None if all is used."""
        if not self._occupied:
            return None
        newest = self._newest(self._occupied.bit_length() - 1)
        return Run(newest, self.take_at(newest, count_max))

    def oldest(self, count: int, runs_max: int) -> list[Run]:
        """Some runs in classes of at least *count* sectors, a power of two; the oldest of each.

        The largest class first, at most *runs_max* in all. They are the newest now: who asks again
        is given others.
        """
        found: dict[int, int] = {}
        for size_class in range(self._occupied.bit_length() - 1, count.bit_length() - 1, -1):
            stack = self._stacks[size_class]
            unseen, seen = len(stack), len(found)
            while unseen and len(found) < runs_max:
                places = stack[: min(unseen, runs_max - len(found))]
                del stack[: len(places)]
                unseen -= len(places)
                for place in places:
                    there = self._count_at.get(place, 0)
                    if there.bit_length() == size_class:
                        found[place] = there
            stack.extend(islice(found, seen, None))
        return [Run(place, there) for place, there in found.items()]

    def largest(self, count: int, runs_max: int) -> list[Run]:
        """Up to *runs_max* runs in classes of at least *count* sectors, the largest class first."""
        found: list[Run] = []
        for size_class in range(self._occupied.bit_length() - 1, count.bit_length() - 1, -1):
            places = islice(self._compact(size_class), runs_max - len(found))
            found.extend(Run(place, self._count_at[place]) for place in places)
        return found

    def shrink(self) -> None:
        """Make the tables smaller where few runs are left of many."""
        if is_oversized(self._count_at):
            self._count_at = dict(self._count_at.items())  # without items() it copies what is empty
            self._start_of = {place + count: place for place, count in self._count_at.items()}
            for size_class, stack in enumerate(self._stacks):
                if stack:  # most are empty
                    self._compact(size_class)
            self._live = list(self._live)

    def _newest(self, size_class: int) -> int:
        """The first sector of the newest run in a class that has runs."""
        stack = self._stacks[size_class]
        while self._count_at.get(stack[-1], 0).bit_length() != size_class:
            stack.pop()
        return stack[-1]

    def _compact(self, size_class: int) -> list[int]:
        """The stack of a class without what has gone; what came back keeps its older place."""
        count_at, stack = self._count_at, self._stacks[size_class]
        # In place: another list could be all that is left of a large piece of memory.
        stack[:] = [
            place
            for place in dict.fromkeys(stack)
            if count_at.get(place, 0).bit_length() == size_class
        ]
        return stack

    def _cut(self, start: int, place: int, count: int) -> None:
        """Take [place, place + count) out of the run that begins at *start*."""
        end = start + self._remove(start)
        if start < place:
            self._insert(start, place - start)
        if place + count < end:
            self._insert(place + count, end - place - count)

    def _insert(self, place: int, count: int) -> None:
        self._count_at[place] = count
        self._start_of[place + count] = place
        self.sectors += count
        size_class = count.bit_length()
        self._occupied |= 1 << size_class
        self._live[size_class] += 1
        stack = self._stacks[size_class]
        stack.append(place)
        if len(stack) > 64 + 2 * self._live[size_class]:
            self._compact(size_class)

    def _remove(self, place: int) -> int:
        count = self._count_at.pop(place)
        del self._start_of[place + count]
        self.sectors -= count
        size_class = count.bit_length()
        self._live[size_class] -= 1
        if not self._live[size_class]:
            self._stacks[size_class].clear()
            self._occupied &= ~(1 << size_class)
        return count
