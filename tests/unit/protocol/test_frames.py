"""Cutting a stream into frames, and refusing what is none before it is collected."""

import pytest

from ram9.protocol.codec import frame
from ram9.protocol.errors import ProtocolError
from ram9.protocol.frames import HEADER, FrameBuffer, frame_end
from ram9.protocol.messages import Tclunk, Tread

FIRST = frame(Tclunk(3), 1)
SECOND = frame(Tread(1, 4096, 512), 2)


def test_a_header_is_seven_bytes() -> None:
    assert HEADER.unpack_from(FIRST) == (11, 120, 1)


def test_a_whole_frame_ends_where_its_size_says() -> None:
    view = memoryview(b"??" + FIRST + SECOND)
    assert frame_end(view, 2, len(view), 8192) == 2 + len(FIRST)
    assert frame_end(view, 2 + len(FIRST), len(view), 8192) == len(view)


@pytest.mark.parametrize("end", range(len(FIRST)))
def test_a_frame_that_is_not_all_there_has_no_end(end: int) -> None:
    assert frame_end(memoryview(FIRST + SECOND), 0, end, 8192) == 0


def test_a_frame_may_be_as_large_as_the_limit_but_not_larger() -> None:
    assert frame_end(memoryview(FIRST), 0, len(FIRST), len(FIRST)) == len(FIRST)
    with pytest.raises(ProtocolError, match="11 bytes is larger than the limit of 10 bytes"):
        frame_end(memoryview(FIRST), 0, len(FIRST), len(FIRST) - 1)


def test_a_frame_is_at_least_a_header() -> None:
    assert frame_end(memoryview(bytes.fromhex("07000000 790100")), 0, 7, 8192) == 7
    with pytest.raises(ProtocolError, match="6 bytes is shorter than its 7 byte header"):
        frame_end(memoryview(bytes.fromhex("06000000 790100")), 0, 7, 8192)


def test_a_size_is_refused_as_soon_as_its_four_bytes_are_there() -> None:
    view = memoryview(bytes.fromhex("ffffffff"))
    assert frame_end(view, 0, 3, 8192) == 0
    with pytest.raises(ProtocolError, match="limit of 8192 bytes"):
        frame_end(view, 0, 4, 8192)


@pytest.mark.parametrize(
    ("hello", "protocol"),
    [
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"POST / HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "HTTP"),
        (bytes.fromhex("1603010200 0100"), "TLS"),
        (bytes.fromhex("16030100f8 0100"), "TLS"),
        (b"SSH-2.0-OpenSSH", "SSH"),
    ],
)
def test_a_client_of_another_protocol_is_recognised(hello: bytes, protocol: str) -> None:
    with pytest.raises(ProtocolError, match=f"this looks like {protocol}, not 9P"):
        FrameBuffer(msize=8192).feed(hello)


@pytest.mark.parametrize(
    "arrivals",
    [
        [FIRST, SECOND],
        [FIRST + SECOND],
        [(FIRST + SECOND)[i : i + 1] for i in range(len(FIRST + SECOND))],
        [FIRST + SECOND + FIRST[:5]],
        [bytearray(FIRST), memoryview(SECOND)],
        [b"", FIRST[:1], FIRST[1:] + SECOND],
    ],
    ids=["apart", "together", "byte by byte", "followed", "other buffers", "split"],
)
def test_frames_arrive_however_they_are_cut(arrivals: list[bytes]) -> None:
    buffer = FrameBuffer(msize=8192)
    assert [found for data in arrivals for found in buffer.feed(data)] == [FIRST, SECOND]


def test_less_than_the_limit_is_held_of_a_frame() -> None:
    buffer = FrameBuffer(msize=100)
    largest = (100).to_bytes(4, "little") + bytes(96)
    assert buffer.feed(FIRST * 50 + largest[:-1]) == [FIRST] * 50
    assert buffer.held_bytes() == 99
    assert buffer.feed(largest[-1:]) == [largest]
    assert buffer.held_bytes() == 0


def test_a_new_limit_holds_for_the_next_frame() -> None:
    buffer = FrameBuffer(msize=10)
    buffer.msize = 8192
    assert buffer.feed(FIRST) == [FIRST]


def test_nothing_is_held_of_a_stream_that_was_refused() -> None:
    buffer = FrameBuffer(msize=8192)
    with pytest.raises(ProtocolError):
        buffer.feed(FIRST + bytes(4000))
    assert buffer.held_bytes() == 0
