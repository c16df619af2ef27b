"""What stands in the way of a lock, in a form that does not depend on which lock is told first."""

import fcntl
from collections.abc import Callable
from typing import Final

LAST: Final = 2**63 - 1  # the last byte that a lock can have
NAMES: Final = {fcntl.F_RDLCK: "shared", fcntl.F_WRLCK: "exclusive"}

Ask = Callable[[int, int], tuple[int, int, int] | None]
Obstacle = tuple[str, int, int]


def obstacles(ask: Ask, start: int, count: int) -> list[Obstacle]:
    """Which bytes of a range others have locked, and how: first byte and last byte of each piece.

    *ask* is F_GETLK of a range, to tell type, start and length of one lock, or None. Which of
    several, fcntl(2) does not say. So what is left before and behind it is asked for in turn.
    """
    found: list[Obstacle] = []
    todo = [(start, start + count - 1 if count else LAST)]
    while todo:
        first, last = todo.pop()
        told = ask(first, last + 1 - first if last < LAST else 0)
        if told is None:
            continue
        kind, lock_first, lock_count = told
        lock_last = lock_first + lock_count - 1 if lock_count else LAST
        begin, end = max(first, lock_first), min(last, lock_last)
        if begin > end:
            return [("elsewhere", lock_first, lock_last)]
        found.append((NAMES[kind], begin, end))
        todo += [each for each in ((first, begin - 1), (end + 1, last)) if each[0] <= each[1]]
    return joined(found)


def joined(pieces: list[Obstacle]) -> list[Obstacle]:
    """The same bytes in as few pieces as there can be."""
    whole: list[Obstacle] = []
    for kind, first, last in sorted(pieces, key=lambda piece: piece[1]):
        if whole and whole[-1][0] == kind and whole[-1][2] + 1 == first:
            whole[-1] = kind, whole[-1][1], last
        else:
            whole.append((kind, first, last))
    return whole
