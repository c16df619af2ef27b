"""Work in portions."""

from collections.abc import Callable, Iterator

import pytest

from ram9.server.chores import TURN_NS, Chores


class Loop:
    """Calls what it was asked to soon when it is told to; its clock goes on with each look."""

    def __init__(self, look_ns: int = TURN_NS // 4) -> None:
        self.soon: list[Callable[[], None]] = []
        self.now_ns = 0
        self._look_ns = look_ns
        self.chores = Chores(self.soon.append, self.clock_ns)

    def clock_ns(self) -> int:
        self.now_ns += self._look_ns
        return self.now_ns

    def turn(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for step in soon:
            step()


def steps(done: list[str], name: str, count: int) -> Iterator[None]:
    for number in range(count):
        done.append(f"{name}{number}")
        yield


def test_nothing_is_done_at_once() -> None:
    loop, done = Loop(), list[str]()
    loop.chores.add(steps(done, "a", 2))
    assert done == []
    assert len(loop.soon) == 1


def test_others_get_their_turn_after_a_while() -> None:
    loop, done = Loop(), list[str]()
    loop.chores.add(steps(done, "a", 10))
    loop.turn()
    assert done == ["a0", "a1", "a2"]
    assert len(loop.soon) == 1


def test_each_goes_on_for_a_step() -> None:
    loop, done = Loop(), list[str]()
    loop.chores.add(steps(done, "a", 3))
    loop.chores.add(steps(done, "b", 1))
    while loop.soon:
        assert len(loop.soon) == 1
        loop.turn()
    assert done == ["a0", "b0", "a1", "a2"]


def test_a_chore_can_bring_another() -> None:
    loop, done = Loop(), list[str]()

    def first() -> Iterator[None]:
        loop.chores.add(steps(done, "b", 1))
        yield

    loop.chores.add(first())
    while loop.soon:
        loop.turn()
    assert done == ["b0"]


def test_what_fails_ends_alone() -> None:
    loop, done = Loop(), list[str]()

    def failing() -> Iterator[None]:
        yield
        raise ValueError("a bug")

    loop.chores.add(failing())
    loop.chores.add(steps(done, "a", 5))
    with pytest.raises(ValueError, match="a bug"):
        loop.turn()
    while loop.soon:
        loop.turn()
    assert done[-1] == "a4"
