"""How much of the memory that volumes leave clients may take."""

from typing import Final

from ram9.server.hub import HELD_BYTES_MAX
from ram9.server.session import FID_BYTES, FIDS_TOTAL_MAX

HELD_BYTES_MIN: Final = 16 << 20  # with less, a few large requests could not arrive
FIDS_TOTAL_MIN: Final = 1 << 16


def held_bytes_max(size_bytes: int, memory_bytes: int | None) -> int:
    """What clients may make the server hold: a quarter of the memory that the disk leaves."""
    if memory_bytes is None:
        return HELD_BYTES_MAX
    return min(HELD_BYTES_MAX, max(HELD_BYTES_MIN, (memory_bytes - size_bytes) // 4))


def fids_total_max(size_bytes: int, memory_bytes: int | None) -> int:
    """How many fids all clients may have: they may take a quarter of that memory, too."""
    if memory_bytes is None:
        return FIDS_TOTAL_MAX
    fitting = (memory_bytes - size_bytes) // 4 // FID_BYTES
    return min(FIDS_TOTAL_MAX, max(FIDS_TOTAL_MIN, fitting))
