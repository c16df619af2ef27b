"""Cuts a stream of bytes into frames, without doing any I/O.

A frame is size[4] type[1] tag[2] and a body; size counts all of it.  A size beyond the limit is
refused as soon as its four bytes are there, before anything more is held: until Tversion has
agreed on an msize, the server gives a small limit.
"""

import struct
from typing import Final

from ram9.protocol.constants import HEADER_BYTES
from ram9.protocol.errors import ProtocolError
from ram9.protocol.wire import HEADER as HEADER
from ram9.protocol.wire import Header, fields_of, struct_codes

_SIZE: Final = struct.Struct("<" + struct_codes(fields_of(Header)["size"].format))
_SIZE_BYTES: Final = _SIZE.size
_unpack_size: Final = _SIZE.unpack_from

# How other protocols begin, whose clients sometimes come to the wrong port.
_STRANGERS: Final = {
    b"GET ": "HTTP",
    b"HEAD": "HTTP",
    b"POST": "HTTP",
    b"PUT ": "HTTP",
    b"OPTI": "HTTP",
    b"PRI ": "HTTP",
    b"\x16\x03": "TLS",
    b"SSH-": "SSH",
}


def frame_end(view: memoryview, start: int, end: int, msize: int) -> int:
    """Where the first frame of view[*start*:*end*] ends, or 0 if it is not all there yet.

    ProtocolError if its size is less than a header or more than *msize*.
    """
    if end - start < _SIZE_BYTES:
        return 0
    size: int = _unpack_size(view, start)[0]
    if not HEADER_BYTES <= size <= msize:
        raise _refusal(view[start : start + _SIZE_BYTES].tobytes(), size, msize)
    stop = start + size
    return stop if stop <= end else 0


class FrameBuffer:
    """Collects the bytes of one connection and gives whole frames; for clients and tests.

    It holds part of one frame at most, so less than ``msize`` bytes.  ``msize`` may be set anew
    when Rversion is in.
    """

    def __init__(self, msize: int) -> None:
        self.msize = msize
        self._held = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The frames that *data* completes, as copies.

        ProtocolError if the stream is no 9P; nothing is held from then on.
        """
        held = self._held + data
        self._held = bytearray()
        frames = []
        start = 0
        with memoryview(held) as view:
            while stop := frame_end(view, start, len(held), self.msize):
                frames.append(view[start:stop].tobytes())
                start = stop
        del held[:start]
        self._held = held
        return frames

    def held_bytes(self) -> int:
        """How many bytes of an incomplete frame are held."""
        return len(self._held)


def _refusal(beginning: bytes, size: int, msize: int) -> ProtocolError:
    """What to raise for a frame whose first four bytes are *beginning*."""
    for stranger, protocol in _STRANGERS.items():
        if beginning.startswith(stranger):
            return ProtocolError(
                f"this looks like {protocol}, not 9P: it begins with {beginning!r}"
            )
    if size < HEADER_BYTES:
        return ProtocolError(
            f"a frame of {size} bytes is shorter than its {HEADER_BYTES} byte header"
        )
    return ProtocolError(f"a frame of {size} bytes is larger than the limit of {msize} bytes")
