"""Work that is done in portions, between which requests are answered."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

TURN_NS: Final = 1_000_000  # for all chores together, before others get their turn


class Chores:
    """Work that is under way: each goes on for a step, one after the other.

    *call_soon* calls something as soon as others had their turn; *clock_ns* tells the time.
    """

    __slots__ = ("_call_soon", "_clock_ns", "_waiting")

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], clock_ns: Callable[[], int]
    ) -> None:
        self._call_soon = call_soon
        self._clock_ns = clock_ns
        self._waiting: deque[Iterator[None]] = deque()

    def add(self, steps: Iterator[None]) -> None:
        """Begin with work whose *steps* take some tenths of a millisecond each."""
        self._waiting.append(steps)
        if len(self._waiting) == 1:
            self._call_soon(self._go_on)

    def _go_on(self) -> None:
        ends_ns = self._clock_ns() + TURN_NS
        try:
            while self._waiting and self._clock_ns() < ends_ns:
                self._step()
        finally:  # what fails ends alone
            if self._waiting:
                self._call_soon(self._go_on)

    def _step(self) -> None:
        steps = self._waiting[0]
        is_over = True
        try:
            next(steps)
            is_over = False
        except StopIteration:
            pass
        finally:
            self._waiting.popleft()
            if not is_over:
                self._waiting.append(steps)
