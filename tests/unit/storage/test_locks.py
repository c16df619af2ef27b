"""Byte-range locks (POSIX fcntl)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ram9.storage.locks import OFFSET_MAX, Lock, Locks


def shared(owner: str, start: int, last: int) -> Lock:
    return Lock(owner, start, last, exclusive=False)


def exclusive(owner: str, start: int, last: int) -> Lock:
    return Lock(owner, start, last, exclusive=True)


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
    locks.release("a", 0, OFFSET_MAX)
    assert locks.held == []


def test_releasing_the_middle_keeps_the_ends(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    locks.release("a", 3, 6)
    assert set(locks.held) == {exclusive("a", 0, 2), exclusive("a", 7, 9)}


def test_nobody_releases_the_locks_of_another(locks: Locks) -> None:
    locks.acquire(exclusive("a", 0, 9))
    locks.release("b", 0, 9)
    assert locks.held == [exclusive("a", 0, 9)]


places = st.integers(0, 11)
steps = st.lists(st.tuples(st.sampled_from("ab"), places, places, st.sampled_from("rwu")))


@given(steps)
@settings(deadline=None, max_examples=100)
def test_locks_are_a_table_of_bytes(steps: list[tuple[str, int, int, str]]) -> None:
    """A table that says for each owner and byte what it has there is all that locks are."""
    locks = Locks()
    table: dict[tuple[str, int], str] = {}
    for owner, one, other, kind in steps:
        start, last = sorted((one, other))
        covered = range(start, last + 1)
        other_owner = "b" if owner == "a" else "a"
        if kind == "u":
            locks.release(owner, start, last)
        else:
            against = [table.get((other_owner, byte), "u") for byte in covered]
            conflicts = "w" in against or (kind == "w" and "r" in against)
            assert locks.acquire(Lock(owner, start, last, kind == "w")) is not conflicts
            if conflicts:
                continue
        table.update({(owner, byte): kind for byte in covered})
        found = {
            (lock.owner, byte): "w" if lock.exclusive else "r"
            for lock in locks.held
            for byte in range(lock.start, lock.last + 1)
        }
        assert found == {key: value for key, value in table.items() if value != "u"}
        assert sum(lock.last - lock.start + 1 for lock in locks.held) == len(found)
