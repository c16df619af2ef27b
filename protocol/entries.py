"""The directory entries that the data of Rreaddir is made of.

They have fast functions of their own: listing a large directory writes hundreds per message.
"""

import struct
from typing import Final

import construct

from ram9.protocol.constants import ENTRY_OVERHEAD_BYTES
from ram9.protocol.errors import ProtocolError
from ram9.protocol.wire import U8, U64, Name, Qid, QidField, fields_of, format_of, record
from ram9.protocol.wire import struct_codes as codes_of


@record
class DirectoryEntry:
    """One entry: *offset* is where the listing goes on behind it, *type* one of the DT numbers."""

    qid: QidField
    offset: U64
    type: U8
    name: Name


_FIELDS: Final = fields_of(DirectoryEntry)
ENTRY_FORMAT: Final = format_of(_FIELDS)
ENTRIES_FORMAT: Final = construct.GreedyRange(ENTRY_FORMAT)

# All of an entry except the bytes of its name, which end it.
_HEAD: Final = struct.Struct(
    "<" + "".join(codes_of(k.varying.prefix if k.varying else k.format) for k in _FIELDS.values())
)
assert _HEAD.size == ENTRY_OVERHEAD_BYTES
_pack: Final = _HEAD.pack


def encode_entry(
    qid_type: int, qid_version: int, qid_path: int, offset: int, type: int, name: bytes
) -> bytes:
    """One entry of 24 + len(*name*) bytes; ProtocolError if a value does not fit its width."""
    try:
        return _pack(qid_type, qid_version, qid_path, offset, type, len(name)) + name
    except struct.error as error:
        raise ProtocolError(f"DirectoryEntry cannot be encoded: {error}") from error


def decode_entries(data: bytes | memoryview) -> list[DirectoryEntry]:
    """The entries of one Rreaddir; ProtocolError if the last one is cut short."""
    view = memoryview(data)
    entries = []
    at, end = 0, len(view)
    while at != end:
        begin = at + ENTRY_OVERHEAD_BYTES
        if begin > end:
            raise ProtocolError(f"an entry of Rreaddir is cut short after {end - at} bytes")
        *qid, offset, type_, length = _HEAD.unpack_from(view, at)
        at = begin + length
        if at > end:
            raise ProtocolError(f"the name of an entry of Rreaddir needs {at - end} bytes more")
        entries.append(DirectoryEntry(Qid(*qid), offset, type_, view[begin:at].tobytes()))
    return entries
