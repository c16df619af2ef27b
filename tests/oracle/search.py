"""Looks for a difference, sequence after sequence, and shrinks the one that it finds."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from tests.oracle.calls import Call
from tests.oracle.compare import Comparison, Difference
from tests.oracle.generator import Generator, Surface
from tests.oracle.shrink import shrink

SEQUENCE_CALLS: Final = 60
PROGRESS_SECONDS: Final = 30.0
SHRINK_SECONDS: Final = 60.0
SEED: Final = "RAM9_ORACLE_SEED"


def fresh_seed() -> str:
    """The seed that the environment asks for, or one that was not used yet."""
    return os.environ.get(SEED) or secrets.token_hex(4)


def budget(seconds: float, calls: int) -> tuple[float, int]:
    """How long to search, and how many calls at least: where the environment asks for a seed, so
    many calls and no more, which are the same ones however fast a machine is."""
    return (0.0 if os.environ.get(SEED) else seconds), calls


class DifferenceFoundError(AssertionError):
    """Our side is not as it should be; says what to do about it."""


def search(
    comparison: Comparison,
    surface: Surface,
    seed: str,
    seconds: float,
    calls: int = 0,
    report: Callable[[str], None] = str,
) -> str:
    """Compare sequences for some seconds, and at least some calls; how many calls that were.

    The sequence number n of a seed is that of the seed "SEED:n", which has no other. A seed that
    has a number itself names this one sequence.
    """
    start = told = time.monotonic()
    number = 0
    while True:
        name = seed if ":" in seed else f"{seed}:{number}"
        sequence = Generator(name, surface).sequence(SEQUENCE_CALLS)
        difference = comparison.run(sequence)
        if difference is not None:
            raise DifferenceFoundError(story(comparison, difference, name))
        number += 1
        now = time.monotonic()
        if now - told > PROGRESS_SECONDS:
            told = now
            report(f"seed {seed}: {comparison.compared} calls in {now - start:.0f} s are alike")
        enough = now - start > seconds and number * SEQUENCE_CALLS >= calls
        if enough or ":" in seed:
            return f"seed {seed}: {comparison.compared} calls are alike"


def story(comparison: Comparison, found: Difference, name: str) -> str:
    """The shortest sequence that shows a difference, as text to put into a test; or the shortest
    that could be found in a minute.
    """
    deadline = time.monotonic() + SHRINK_SECONDS

    def run(sequence: Sequence[Call]) -> Difference | None:
        if not found.certain:
            return comparison.run_patiently(sequence)
        difference = comparison.run(sequence)
        return difference if difference is not None and difference.certain else None

    def differs(sequence: Sequence[Call]) -> bool:
        return time.monotonic() < deadline and run(sequence) is not None

    shown = run(shrink(list(found.calls), differs)) or found
    return f"a difference {shown}\nto see it again: {SEED}={name}"
