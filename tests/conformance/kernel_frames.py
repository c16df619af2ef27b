"""Requests as net/9p/client.c writes them: a format of letters, and the values.

Independent of ram9.protocol, so that both may not be wrong together.
"""

import struct
from typing import Final

INTEGERS: Final = {"b": "<B", "w": "<H", "d": "<I", "q": "<Q"}

NUMBERS: Final = {
    "Tstatfs": 8,
    "Tlopen": 12,
    "Tlcreate": 14,
    "Trename": 20,
    "Tgetattr": 24,
    "Tsetattr": 26,
    "Txattrwalk": 30,
    "Txattrcreate": 32,
    "Treaddir": 40,
    "Tfsync": 50,
    "Tlock": 52,
    "Tgetlock": 54,
    "Tmkdir": 72,
    "Tversion": 100,
    "Tattach": 104,
    "Tflush": 108,
    "Twalk": 110,
    "Tread": 116,
    "Twrite": 118,
    "Tclunk": 120,
    "Tremove": 122,
}


def request(name: str, tag: int, letters: str, *values: object) -> bytes:
    """One frame. *letters* are those of p9pdu_vwritef (net/9p/protocol.c): b, w, d and q are
    integers of 1, 2, 4 and 8 bytes, s a string, T a list of names, V data."""
    body = b"".join(_field(letter, value) for letter, value in zip(letters, values, strict=True))
    return struct.pack("<IBH", 7 + len(body), NUMBERS[name], tag) + body


def _field(letter: str, value: object) -> bytes:
    if isinstance(value, int):
        return struct.pack(INTEGERS[letter], value)
    if isinstance(value, bytes):
        return struct.pack("<H" if letter == "s" else "<I", len(value)) + value
    assert isinstance(value, list)
    return struct.pack("<H", len(value)) + b"".join(_field("s", name) for name in value)
