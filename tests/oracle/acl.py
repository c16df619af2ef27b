"""POSIX access control lists between a short text and the attribute that holds them.

``u::7 u1234:5 g::5 m::5 o::0``; the attribute's form is that of linux/posix_acl_xattr.h.
"""

import struct
from typing import Final

VERSION: Final = 2
NO_ID: Final = 2**32 - 1
TAGS: Final = {"u:": 0x01, "u": 0x02, "g:": 0x04, "g": 0x08, "m:": 0x10, "o:": 0x20}
LETTERS: Final = {number: letter for letter, number in TAGS.items()}


def encode_acl(text: str) -> bytes:
    """The attribute; its entries stand in the order of the text, which may be a wrong one."""
    entries = []
    for word in text.split():
        who, permissions = word.rsplit(":", 1)
        named = not who.endswith(":")
        tag = TAGS[who[0] if named else who]
        number = int(who[1:]) if named else NO_ID
        entries.append(struct.pack("<HHI", tag, int(permissions), number))
    return struct.pack("<I", VERSION) + b"".join(entries)


def decode_acl(value: bytes) -> str:
    words = []
    for tag, permissions, number in struct.iter_unpack("<HHI", value[4:]):
        letter = LETTERS[tag]
        who = letter if letter.endswith(":") else f"{letter}{number}"
        words.append(f"{who}:{permissions}")
    return " ".join(words)
