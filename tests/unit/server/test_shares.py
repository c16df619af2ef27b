"""What clients may take of the memory that volumes leave."""

import pytest

from ram9.server.hub import HELD_BYTES_MAX
from ram9.server.session import FID_BYTES, FIDS_TOTAL_MAX
from ram9.server.shares import FIDS_TOTAL_MIN, HELD_BYTES_MIN, fids_total_max, held_bytes_max

MIB = 1 << 20


@pytest.mark.parametrize(
    ("memory_bytes", "expected"),
    [(None, FIDS_TOTAL_MAX), (2 << 30, (1 << 30) // 4 // FID_BYTES), (1 << 30, FIDS_TOTAL_MIN)],
)
def test_fids_take_a_quarter_of_what_the_disk_leaves(
    memory_bytes: int | None, expected: int
) -> None:
    assert fids_total_max(1 << 30, memory_bytes) == expected


@pytest.mark.parametrize(
    ("memory_bytes", "expected"),
    [
        (None, HELD_BYTES_MAX),
        (8 << 30, HELD_BYTES_MAX),
        (1500 * MIB, (1500 - 1024) * MIB // 4),
        (512 * MIB, HELD_BYTES_MIN),
    ],
)
def test_replies_and_requests_take_another_quarter(memory_bytes: int | None, expected: int) -> None:
    assert held_bytes_max(1 << 30, memory_bytes) == expected
