"""Byte-range locks (POSIX fcntl)."""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ram9.storage.locks import OFFSET_MAX, Lock, Locks


def shared(owner: str, start: int, last: int) -> Lock:
    return Lock(start, last, owner, exclusive=False)


def exclusive(owner: str, start: int, last: int) -> Lock:
    return Lock(start, last, owner, exclusive=True)


@pytest.fixture
def locks() -> Locks:
    return Locks()


def test_readers_do_not_conflict(locks: Locks) -> None:
    assert locks.acquire(shared("a", 0, 9))
    assert locks.acquire(shared("b", 5, OFFSET_MAX))


def test_a_writer_conflicts_with_a_reader(locks: Locks) -> None:
    locks.acquire(shared("a", 0, 9))
    assert not locks.acquire(exclusive("b", 9, 9))
    assert locks.held == [shared("a", 0, 9)]


def test_a_reader_conflicts_with_a_writer(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    assert locks.conflict(shared("b", 0, 0)) == exclusive("a", 0, 9)


def test_locks_beside_each_other_do_not_conflict(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    assert locks.acquire(exclusive("b", 10, 19))


def test_an_exclusive_lock_is_reported_before_a_shared_one(locks: Locks) -> None:
    locks.acquire(shared("a", 0, 9))
    locks.acquire(exclusive("b", 20, 29))
    assert locks.conflict(exclusive("c", 0, 99)) == exclusive("b", 20, 29)


def test_the_owner_of_a_lock_may_change_it(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    assert locks.acquire(shared("a", 0, 9))
    assert locks.held == [shared("a", 0, 9)]


def test_a_lock_in_the_middle_splits_the_one_around_it(locks: Locks) -> None:
    locks.acquire(shared("a", 0, 9))
    locks.acquire(exclusive("a", 4, 5))
    assert set(locks.held) == {shared("a", 0, 3), exclusive("a", 4, 5), shared("a", 6, 9)}


def test_adjacent_equal_locks_become_one(locks: Locks) -> None:
    locks.acquire(shared("a", 0, 3))
    locks.acquire(shared("a", 8, OFFSET_MAX))
    locks.acquire(shared("a", 4, 7))
    assert locks.held == [shared("a", 0, OFFSET_MAX)]


def test_releasing_what_is_not_held_is_no_error(locks: Locks) -> None:
    assert not locks.release("a", 0, OFFSET_MAX)
    locks.acquire(shared("a", 5, 9))
    assert not locks.release("a", 0, 4)
    assert not locks.release("a", 10, OFFSET_MAX)
    assert locks.release("a", 9, 9)
    assert locks.held == [shared("a", 5, 8)]


def test_releasing_the_middle_keeps_the_ends(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    locks.release("a", 3, 6)
    assert set(locks.held) == {exclusive("a", 0, 2), exclusive("a", 7, 9)}


def test_nobody_releases_the_locks_of_another(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    locks.release("b", 0, 9)
    assert locks.held == [exclusive("a", 0, 9)]


def test_a_lock_from_far_below_is_found_behind_many_that_are_not_in_the_way(locks: Locks) -> None:
    locks.acquire(shared("a", 0, 1000))
    for place in range(2, 900, 2):
        locks.acquire(shared("b", place, place))
    assert locks.conflict(exclusive("c", 999, 1001)) == shared("a", 0, 1000)
    assert locks.conflict(exclusive("a", 999, 1001)) is None
    assert locks.conflict(exclusive("a", 898, 898)) == shared("b", 898, 898)


def test_every_lock_in_the_way_is_told(locks: Locks) -> None:
    locks.acquire(exclusive("a", 20, 29))
    locks.acquire(shared("b", 0, 9))
    locks.acquire(shared("c", 0, 5))
    locks.acquire(shared("d", 8, 9))
    found = list(locks.conflicts(exclusive("d", 4, 20)))
    assert found[0] == exclusive("a", 20, 29)
    assert sorted(found[1:]) == [shared("c", 0, 5), shared("b", 0, 9)]
    assert list(locks.conflicts(shared("d", 4, 19))) == []


def test_only_a_shared_lock_in_place_of_an_exclusive_one_weakens(locks: Locks) -> None:
    assert not locks.weakens(shared("a", 0, 9))
    locks.acquire(shared("a", 0, 9))
    locks.acquire(exclusive("a", 5, 5))
    assert locks.weakens(shared("a", 0, 5))
    assert not locks.weakens(shared("a", 6, 9))
    assert not locks.weakens(exclusive("a", 0, 9))
    assert not locks.weakens(shared("b", 0, 9))


def test_only_the_middle_splits(locks: Locks) -> None:
    locks.acquire(exclusive("a", 10, 19))
    assert locks.splits("a", 11, 18)
    for start, last in (10, 18), (11, 19), (0, 9), (0, OFFSET_MAX):
        assert not locks.splits("a", start, last)
    assert not locks.splits("b", 11, 18)


def test_owners_are_known_while_they_hold_any(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    locks.release("a", 0, 4)
    assert locks.holds("a")
    locks.release("a", 5, 9)
    assert not locks.holds("a")
    assert len(locks) == 0


def test_all_bytes_are_the_whole() -> None:
    assert exclusive("a", 0, OFFSET_MAX).is_whole
    assert not exclusive("a", 1, OFFSET_MAX).is_whole
    assert not exclusive("a", 0, OFFSET_MAX - 1).is_whole


LAST = 11
Table = dict[tuple[str, int], str]


class LocksMachine(RuleBasedStateMachine):
    """A table that says for each owner and byte what it has there is all that locks are."""

    def __init__(self) -> None:
        super().__init__()
        self.locks = Locks()
        self.table: Table = {}

    def in_the_way(self, wanted: Lock) -> set[str]:
        """What others have there that keeps its owner out: kinds."""
        return {
            kind
            for (holder, byte), kind in self.table.items()
            if holder != wanted.owner
            and wanted.start <= byte <= wanted.last
            and (wanted.exclusive or kind == "w")
        }

    @rule(
        owner=st.sampled_from("abc"),
        places=st.tuples(st.integers(0, LAST), st.integers(0, LAST)),
        exclusive=st.booleans(),
    )
    def acquire(self, owner: str, places: tuple[int, int], *, exclusive: bool) -> None:
        start, last = sorted(places)
        wanted = Lock(start, last, owner, exclusive)
        kinds = self.in_the_way(wanted)
        before = self.locks.held
        found = self.locks.conflict(wanted)
        assert (found is not None) is bool(kinds)
        if found is not None:
            assert found.obstructs(wanted)
            assert found.exclusive is ("w" in kinds)
        every = list(self.locks.conflicts(wanted))
        assert sorted(every) == [lock for lock in before if lock.obstructs(wanted)]
        covered = range(start, last + 1)
        weakens = not exclusive and any(self.table.get((owner, byte)) == "w" for byte in covered)
        assert self.locks.weakens(wanted) is weakens
        assert self.locks.acquire(wanted) is (not kinds)
        if kinds:
            assert self.locks.held == before
        else:
            self.table.update({(owner, byte): "w" if exclusive else "r" for byte in covered})

    @rule(
        owner=st.sampled_from("abc"),
        places=st.tuples(st.integers(0, LAST), st.integers(0, LAST)),
    )
    def release(self, owner: str, places: tuple[int, int]) -> None:
        start, last = sorted(places)
        before = len(self.locks)
        splits = self.locks.splits(owner, start, last)
        had = [self.table.pop((owner, byte), None) for byte in range(start, last + 1)]
        assert self.locks.release(owner, start, last) is any(had)
        assert (len(self.locks) == before + 1) is splits

    @invariant()
    def it_is_that_table(self) -> None:
        held = self.locks.held
        found = [
            ((lock.owner, byte), "w" if lock.exclusive else "r")
            for lock in held
            for byte in range(lock.start, lock.last + 1)
        ]
        assert len(found) == len(self.table)
        assert dict(found) == self.table
        assert len(self.locks) == len(held)
        assert [self.locks.holds(owner) for owner in "abc"] == [
            any(holder == owner for holder, _ in self.table) for owner in "abc"
        ]
        for owner in "abc":
            own = [lock for lock in held if lock.owner == owner]
            for one, two in pairwise(own):
                assert one.last + 1 < two.start or one.exclusive is not two.exclusive, "two of one"


TestLocks = LocksMachine.TestCase
TestLocks.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_all_that_some_owners_have_is_freed_at_once() -> None:
    locks = Locks()
    for start, owner in enumerate("abcabc"):
        assert locks.acquire(Lock(10 * start, 10 * start + 5, owner, exclusive=start % 2 == 0))
    locks.release_all({"a", "c"})
    assert [lock.owner for lock in locks.held] == ["b", "b"]
    assert not locks.holds("a")
    assert locks.acquire(Lock(0, 9, "d", exclusive=True))
    assert locks.conflict(Lock(12, 12, "d", exclusive=True)) is not None
    assert locks.conflict(Lock(20, 39, "d", exclusive=True)) is None
