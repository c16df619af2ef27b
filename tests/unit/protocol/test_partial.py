"""The fields of a message whose data has not all arrived yet."""

import pytest

from ram9.protocol.codec import frame
from ram9.protocol.constants import HEADER_BYTES, WRITE_OVERHEAD_BYTES
from ram9.protocol.messages import Rread, Tread, Twrite
from ram9.protocol.partial import head_of, write_head


def test_the_head_of_a_write_is_known_before_its_data() -> None:
    data = frame(Twrite(0xFFFFFFFE, 2**64 - 1, b"x" * 70_000), 1)[:WRITE_OVERHEAD_BYTES]
    assert write_head(memoryview(b"??" + data), 2 + HEADER_BYTES) == (0xFFFFFFFE, 2**64 - 1, 70_000)


def test_the_head_is_what_the_frame_holds_besides_data() -> None:
    assert HEADER_BYTES + head_of(Twrite).size == WRITE_OVERHEAD_BYTES
    assert HEADER_BYTES + head_of(Rread).size == 11


def test_a_message_without_data_has_no_head() -> None:
    with pytest.raises(ValueError, match="unpack"):
        head_of(Tread)
