"""Tables that were large once do not stay so."""

import sys
from collections.abc import Set as AbstractSet
from typing import Any, Final

SPARE_BYTES_MIN: Final = 64 << 10  # below this, a table is not worth it
SMALL_MAX: Final = 64
ENTRY_BYTES: Final = 100  # of a table of Python's that is as empty as growing leaves it


def is_oversized(table: dict[Any, Any] | AbstractSet[Any]) -> bool:
    """Whether a copy would take a quarter of the memory at most, or next to no time.

    A table of Python's keeps the size that it grew to, however much is removed. And where a small
    one lies may be all that is left of a large piece of memory.
    """
    return len(table) <= SMALL_MAX or sys.getsizeof(
        table
    ) > SPARE_BYTES_MIN + 4 * ENTRY_BYTES * len(table)
