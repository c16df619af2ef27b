"""Finds the shortest sequence that still shows a difference, by taking calls away."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(sequence: Sequence[T], differs: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """A part of *sequence* that *differs*, and no longer does without any one of its elements.

    Pieces of half the length are taken away first, then of a quarter, and so on (A. Zeller,
    "Yesterday, my program worked", 1999).
    """
    size = len(sequence)
    while size:
        start = 0
        smaller = False
        while start < len(sequence):
            rest = [*sequence[:start], *sequence[start + size :]]
            if differs(rest):
                sequence, smaller = rest, True
            else:
                start += size
        if size == 1 and not smaller:
            return sequence
        size = max(1, size // 2) if size > 1 else 1
        if not sequence:
            return sequence
    return sequence
