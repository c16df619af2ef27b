"""The kinds of phases: frames made beforehand, with offsets put in as they are sent."""

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.load import Pieces
from ram9.protocol.codec import Message, frame
from ram9.protocol.messages import Rread, Rwrite, Tread, Twrite

OFFSET: Final = struct.Struct("<Q")
OFFSET_AT: Final = 11  # of a Tread or Twrite: size, type, tag, fid
WRITE_HEADER_BYTES: Final = 23
READ_HEADER_BYTES: Final = 11  # of Rread, and all of Rwrite
SMALL_BYTES_MAX: Final = 16 << 10  # up to here, frames lie one behind the other
TAGS: Final = 4096
WRITE_TAGS: Final = 256
"""So many requests later a tag is used again: far more than are ever in flight."""

Offsets = Callable[[int], int]


class Ready:
    """Requests whose frames are there, and equally long; after the last comes the first again."""

    def __init__(
        self, frames: Sequence[bytes], requests: int, reply_bytes: int, reply_type: int
    ) -> None:
        self.requests = requests
        self.reply_bytes = reply_bytes
        self.reply_type = reply_type
        self._frame_bytes = len(frames[0])
        assert all(len(each) == self._frame_bytes for each in frames)
        self._count = len(frames)
        self._view = memoryview(b"".join(frames))

    def pieces(self, first: int, count: int) -> Pieces:
        """The frames of the requests [first, first + count)."""
        start = first % self._count
        found: Pieces = []
        while count:
            end = min(start + count, self._count)
            found.append(self._view[start * self._frame_bytes : end * self._frame_bytes])
            count -= end - start
            start = 0
        return found


def same(message: Message, requests: int, reply: type[Message], reply_bytes: int) -> Ready:
    """One message again and again, with tags of their own."""
    frames = [frame(message, tag) for tag in range(TAGS)]
    return Ready(frames, requests, reply_bytes, reply.number)


def reads(fid: int, offsets: Sequence[int], count: int, requests: int) -> Ready:
    """Reads of *count* bytes, which are there, at *offsets* in turn."""
    frames = [frame(Tread(fid, offset, count), n % TAGS) for n, offset in enumerate(offsets)]
    return Ready(frames, requests, READ_HEADER_BYTES + count, Rread.number)


class Writes:
    """Writes of *payload*, each at the offset that *offset_of* its number gives."""

    reply_bytes = READ_HEADER_BYTES
    reply_type = Rwrite.number

    def __init__(self, fid: int, offset_of: Offsets, payload: memoryview, requests: int) -> None:
        self.requests = requests
        self._offset_of = offset_of
        self._payload = payload
        self._is_small = len(payload) <= SMALL_BYTES_MAX
        stride = WRITE_HEADER_BYTES + (len(payload) if self._is_small else 0)
        self._stride = stride
        self._frames = bytearray(stride * WRITE_TAGS)
        for tag in range(WRITE_TAGS):
            whole = frame(Twrite(fid, 0, payload), tag)
            self._frames[tag * stride : (tag + 1) * stride] = whole[:stride]
        self._view = memoryview(self._frames)

    def pieces(self, first: int, count: int) -> Pieces:
        """The frames of the requests [first, first + count), with their offsets put in."""
        stride, offset_of = self._stride, self._offset_of
        found: Pieces = []
        for number in range(first, first + count):
            at = number % WRITE_TAGS * stride
            OFFSET.pack_into(self._frames, at + OFFSET_AT, offset_of(number))
            if not self._is_small:
                found += (self._view[at : at + stride], self._payload)
        if self._is_small:
            start = first % WRITE_TAGS
            end = min(start + count, WRITE_TAGS)
            found.append(self._view[start * stride : end * stride])
            if end - start < count:
                found.append(self._view[: (count - (end - start)) * stride])
        return found


def one_after_the_other(count: int, start: int = 0) -> Offsets:
    """The n-th begins where the one before ended."""
    return lambda number: start + number * count


def around(count: int, span_bytes: int, start: int = 0) -> Offsets:
    """One after the other, and from the beginning again once a whole one does not fit."""
    places = max(1, span_bytes // count)
    first = start // count
    return lambda number: (first + number) % places * count


def listed(offsets: Sequence[int]) -> Offsets:
    """Those of a list, again and again."""
    kept = array("Q", offsets)
    length = len(kept)
    return lambda number: kept[number % length]
