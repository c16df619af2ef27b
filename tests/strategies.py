"""Hypothesis strategies for messages, derived from their declarations."""

import struct
from typing import Any

from hypothesis import strategies as st

from ram9.protocol import wire
from ram9.protocol.codec import Codec, Message, frame
from ram9.protocol.constants import HEADER_BYTES
from ram9.protocol.messages import CODECS, DirectoryEntry
from ram9.protocol.wire import WireType, fields_of, struct_codes

MESSAGES = [CODECS[number].message for number in sorted(CODECS)]


def unsigned(width_bytes: int) -> st.SearchStrategy[int]:
    """Integers that fit *width_bytes*, the bounds more often than chance would have them."""
    largest = 2 ** (8 * width_bytes) - 1
    return st.integers(0, largest) | st.sampled_from([0, 1, largest])


def kind_of(alias: Any) -> WireType:
    """The wire type of a field kind such as wire.U32."""
    kind = alias.__metadata__[0]
    assert isinstance(kind, WireType)
    return kind


def as_view(data: bytes) -> memoryview:
    """*data* as a decoder gives it."""
    return memoryview(data)


def values_of(kind: WireType) -> st.SearchStrategy[Any]:
    """Values of one kind of field."""
    if kind.record is not None:
        return records(kind.record)
    if kind.varying is None:
        return unsigned(struct.calcsize("<" + struct_codes(kind.format)))
    return next(values for declared, values in varying if declared is kind)


def records(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Objects of a class whose fields have wire types."""
    return st.builds(cls, **{name: values_of(kind) for name, kind in fields_of(cls).items()})


tags = unsigned(2)
qids = records(wire.Qid)
names = st.binary(max_size=20) | st.sampled_from([b"", b"\xff\xfe", b"n" * 255, b"n" * 65535])
payloads = st.binary(max_size=60)
varying = [
    (kind_of(wire.Name), names),
    (kind_of(wire.Names), st.lists(names, max_size=18).map(tuple)),
    (kind_of(wire.Qids), st.lists(qids, max_size=18).map(tuple)),
    (kind_of(wire.OptionalU32), unsigned(4)),
    (kind_of(wire.Data), payloads | payloads.map(as_view)),
]
entries = records(DirectoryEntry)


def message_of(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Messages of one class."""
    return records(cls)


def messages() -> st.SearchStrategy[Message]:
    """Any message."""
    return st.sampled_from(MESSAGES).flatmap(message_of)


@st.composite
def hostile(draw: st.DrawFn, valid: bytes) -> bytes:
    """*valid* with something broken, though perhaps not enough to make it invalid."""
    body = bytearray(valid)
    position = draw(st.integers(0, len(body)))
    match draw(st.sampled_from(["cut", "extend", "flip", "length", "drop"])):
        case "cut":
            del body[position:]
        case "extend":
            body += draw(st.binary(min_size=1, max_size=20))
        case "flip":
            for byte in body[position : position + 1]:
                body[position] = byte ^ draw(st.integers(1, 255))
        case "length":
            width = draw(st.sampled_from(["<H", "<I"]))
            length = draw(st.sampled_from([0, 1, 2, 17, len(body) & 0xFFFF, 0x7FFF, 0xFFFF]))
            body[position : position + struct.calcsize(width)] = struct.pack(width, length)
        case _:
            del body[position : position + draw(st.integers(1, 4))]
    return bytes(body)


@st.composite
def bodies_of(draw: st.DrawFn, cls: type[Message]) -> bytes:
    """Bytes that claim to be a body of *cls*: valid, nearly valid, or anything."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=40))
    body = frame(draw(message_of(cls)), tag=1)[HEADER_BYTES:]
    for _ in range(draw(st.integers(0, 3))):
        body = draw(hostile(body))
    return body


def bodies() -> st.SearchStrategy[tuple[Codec, bytes]]:
    """A codec, and bytes that claim to be a body of its message."""
    return st.sampled_from(MESSAGES).flatmap(
        lambda cls: st.tuples(st.just(cls.codec), bodies_of(cls))
    )
