"""Declares messages, and derives both directions of their bytes from the declarations.

As dataclasses does for ``__init__``, the source of one decode and one encode function per
message is generated and executed at import, so that nothing generic runs per request:

    def decode(view, start, end):
        if start + 16 != end:
            raise misfit('Tread', 'fid, offset, count', start + 16 - end)
        message = new(Tread)
        message.fid, message.offset, message.count, = unpack_0(view, start)
        return message

Assigning slots of a bare object took 0.26 µs there, calling the class 0.34.
construct's own parser took 7.2; it stays the definition (`Codec.format`) and the oracle of tests.
"""

import inspect
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

import construct

from ram9.protocol.derivation import decode_source, encode_source, segments_of
from ram9.protocol.errors import ProtocolError
from ram9.protocol.wire import (
    FRAGMENT_FUNCTIONS,
    HEADER_FORMAT,
    WireType,
    fields_of,
    format_of,
    notation_of,
    record,
    struct_codes,
)

Decode = Callable[[memoryview, int, int], "Message"]


class Message:
    """One T- or R-message without its tag; each kind is a class of its own in messages.py.

    ``has_data`` says that it ends in a field *data* of kind Data.
    """

    __slots__ = ()

    number: ClassVar[int]
    codec: ClassVar["Codec"]
    has_data: ClassVar[bool]

    def encode(self, tag: int) -> bytes:
        """The frame of this message, except the bytes of *data*, which are to follow it.

        The frame's size does count them.  ProtocolError if a field does not fit its width.
        """
        raise NotImplementedError(f"{type(self).__name__} is not declared with @message")


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of message as bytes.

    ``decode(view, start, end)`` gives the message whose body is view[start:end], and never looks
    outside that range.  Names are copies, Data is a part of *view*.  ProtocolError if the body is
    too short or too long.  ``format`` defines the body, and is too slow for anything but tests.
    """

    number: int
    message: type[Message]
    fields: dict[str, WireType]
    format: construct.Struct
    decode: Decode
    summary: str

    def notation(self) -> str:
        """The message as the 9P manual writes it: ``size[4] Tread tag[2] fid[4] ...``."""
        fields = notation_of(self.fields)
        return f"size[4] {self.message.__name__} tag[2] {fields}".rstrip()


# Every declared message by its type number; filled when messages.py is imported.
CODECS: Final[dict[int, Codec]] = {}

_M = TypeVar("_M", bound=Message)


@dataclass_transform(frozen_default=True)
def message(number: int) -> Callable[[type[_M]], type[_M]]:
    """Declare message *number*: its fields are its annotations, in wire order."""

    def declare(cls: type[_M]) -> type[_M]:
        if number in CODECS:
            raise ValueError(f"message {number} is declared twice")
        # Taken before dataclasses puts a signature in the place of one that is missing.
        summary = inspect.cleandoc(cls.__doc__ or "")
        declared = record(cls)
        declared.__doc__ = summary
        fields = fields_of(declared)
        functions = _derive(number, declared, fields)
        declared.number = number
        declared.has_data = any(
            kind.varying is not None and kind.varying.write is None for kind in fields.values()
        )
        declared.encode = functions["encode"]  # type: ignore[method-assign]  # derived
        declared.codec = CODECS[number] = Codec(
            number,
            declared,
            fields,
            format_of(fields, construct.Terminated),
            functions["decode"],
            summary,
        )
        return declared

    return declare


def frame(message: Message, tag: int) -> bytes:
    """The whole frame of *message*, *data* included; for clients and tests."""
    head = message.encode(tag)
    return b"".join((head, message.data)) if message.has_data else head  # type: ignore[attr-defined]


def _misfit(name: str, fields: str, missing_bytes: int) -> ProtocolError:
    """What to raise for a body that ends *missing_bytes* before its last field does."""
    if missing_bytes > 0:
        return ProtocolError(f"{name} is too short for {fields}: bytes missing: {missing_bytes}")
    return ProtocolError(f"{name} goes on after {fields}: bytes too many: {-missing_bytes}")


def _unfit(message: Message, error: struct.error) -> ProtocolError:
    """What to raise for a message with a value that its field has no room for."""
    return ProtocolError(f"{type(message).__name__} cannot be encoded: {error}")


def _derive(number: int, cls: type[Message], fields: dict[str, WireType]) -> dict[str, Any]:
    """A namespace with the functions ``decode`` and ``encode`` of message *number*."""
    namespace: dict[str, Any] = {
        cls.__name__: cls,
        **{kind.record.__name__: kind.record for kind in fields.values() if kind.record},
        **FRAGMENT_FUNCTIONS,
        "new": object.__new__,
        "misfit": _misfit,
        "unfit": _unfit,
        "struct_error": struct.error,
    }
    segments = segments_of(fields)
    header = struct_codes(HEADER_FORMAT)
    for index, segment in enumerate(segments):
        codes = segment.codes()
        namespace[f"unpack_{index}"] = struct.Struct("<" + codes).unpack_from
        namespace[f"pack_{index}"] = struct.Struct(f"<{'' if index else header}{codes}").pack
    source = [*decode_source(cls.__name__, segments), *encode_source(number, segments)]
    exec(compile("\n".join(source), f"<codec of {cls.__name__}>", "exec"), namespace)
    return namespace
