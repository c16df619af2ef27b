"""Memory that nobody needed for a while goes back, a step at a time."""

from collections.abc import Callable

import pytest

from ram9.server.cooling import STEP_SECTORS, Cooling
from ram9.storage.arena import Arena
from ram9.storage.budget import Memory
from ram9.storage.space import FreeSpace

SECTORS = 5 * STEP_SECTORS


class Loop:
    """Does what it was told to do later when it is asked to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def later(self, _seconds: float, step: Callable[[], None]) -> None:
        self.due.append(step)

    def steps(self) -> int:
        """Do everything that is due, and what that leads to; how many steps it took."""
        count = 0
        while self.due:
            self.due.pop(0)()
            count += 1
        return count


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def space() -> FreeSpace:
    """Space that is all warm and free, half of which may be."""
    arena = Arena(SECTORS)
    arena.populates = False
    space = FreeSpace(arena, SECTORS, Memory(1 << 40))
    space.free(*space.take(SECTORS)[0])
    return space


def test_what_nobody_needed_for_so_many_seconds_goes_back(loop: Loop, space: FreeSpace) -> None:
    cooling = Cooling(loop.later, 3)
    steps = []
    for _ in range(6):
        cooling.sweep([space])
        steps.append(loop.steps())
    assert steps == [0, 0, 0, 0, 5, 0]
    assert space.cold.sectors == SECTORS


def test_nothing_is_kept_where_that_is_wanted(loop: Loop, space: FreeSpace) -> None:
    cooling = Cooling(loop.later, 0)
    cooling.sweep([space])
    cooling.sweep([space])
    loop.steps()
    assert space.warm.sectors == 0


def test_no_step_gives_back_more_than_16_megabytes(loop: Loop, space: FreeSpace) -> None:
    """A gigabyte at once had all requests wait for a tenth of a second."""
    cooling = Cooling(loop.later, 0)
    cooling.sweep([space])
    cooling.sweep([space])
    left = []
    while loop.due:
        loop.due.pop(0)()
        left.append(space.warm.sectors)
    assert left == [SECTORS - step * STEP_SECTORS for step in range(1, 6)]


def test_a_space_that_is_gone_is_left(loop: Loop, space: FreeSpace) -> None:
    cooling = Cooling(loop.later, 0)
    cooling.sweep([space])
    cooling.sweep([space])
    cooling.sweep([])
    assert loop.steps() == 1
    assert space.warm.sectors == SECTORS


def test_several_spaces_take_turns_and_one_chain_of_steps(loop: Loop, space: FreeSpace) -> None:
    other = FreeSpace(Arena(STEP_SECTORS), STEP_SECTORS, Memory(1 << 40))
    other.free(*other.take(STEP_SECTORS)[0])
    cooling = Cooling(loop.later, 0)
    for _ in range(3):
        cooling.sweep([other, space])
    assert len(loop.due) == 1
    assert loop.steps() == 6
    assert space.warm.sectors == other.warm.sectors == 0
