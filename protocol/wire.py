"""The kinds of field a message is made of.

A field kind is a typing alias: the Python type for those who use a message, and a `WireType`
for the bytes.  Its construct ``format`` is the definition; the fast codec takes its widths from
there.  Only kinds whose width varies say how to be read and written fast (`Varying`), as
fragments of the source that codec.py generates; tests hold these to ``format``.

All integers are little-endian: intro(5).
"""

import inspect
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, dataclass_transform

import construct

from ram9.protocol.constants import HEADER_BYTES

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Varying:
    """The fast way with a kind of varying width: often a count, then as many items.

    ``prefix`` is the count, None if there is none.  ``read`` and ``write`` are fragments of
    Python.  ``read`` gives the value; it may use *view*, *count*, *at* (where the items begin),
    *stop* (where they end) and *end* (of the body).  With ``item_bytes`` None, the width is known
    only after reading, and ``read`` gives ``(value, stop)``; a stop beyond *end* says that the
    items do not fit.  ``write`` gives the bytes of the items of ``{value}``; None leaves them to
    whoever sends the message.  ``is_last`` kinds can only end a message.
    """

    prefix: construct.FormatField | None
    item_bytes: int | None
    read: str
    write: str | None
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class WireType:
    """One kind of field.

    ``format`` defines its bytes, ``notation`` is how the manual writes a field ``{name}`` of it,
    ``meaning`` says it in words.  ``record`` is the class of a value that has fields itself.
    """

    format: construct.Construct
    notation: str
    meaning: str
    varying: Varying | None = None
    record: type[Any] | None = None


@dataclass_transform(frozen_default=True)
def record(cls: type[_T]) -> type[_T]:
    """Declare a value made of wire fields, in wire order.

    Frozen to the type checker only: at run time that would cost 2.5 times as much per object.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


def fields_of(cls: type[Any]) -> dict[str, WireType]:
    """The fields that *cls* declares, in wire order; TypeError if one has no wire type."""
    fields = {}
    for name, annotation in inspect.get_annotations(cls).items():
        kinds = [kind for kind in getattr(annotation, "__metadata__", ()) if type(kind) is WireType]
        if len(kinds) != 1:
            raise TypeError(f"{cls.__name__}.{name} has no wire type")
        fields[name] = kinds[0]
    return fields


def format_of(fields: dict[str, WireType], *ending: construct.Construct) -> construct.Struct:
    """The definition of *fields* one after the other."""
    return construct.Struct(*(name / kind.format for name, kind in fields.items()), *ending)


def notation_of(fields: dict[str, WireType]) -> str:
    """*fields* as the manual writes them: ``fid[4] offset[8] count[4]``."""
    return " ".join(kind.notation.format(name=name) for name, kind in fields.items())


def struct_codes(format: construct.Construct) -> str:
    """The codes of module struct, without byte order, for a *format* of fixed width."""
    if isinstance(format, construct.FormatField):
        order, code = format.fmtstr
        if order != "<":
            raise TypeError(f"{format!r} is not little-endian")
        return str(code)
    if isinstance(format, construct.Renamed):
        return struct_codes(format.subcon)
    if isinstance(format, construct.Struct):
        return "".join(struct_codes(part) for part in format.subcons)
    raise TypeError(f"{format!r} has no fixed width")


U8 = Annotated[int, WireType(construct.Int8ul, "{name}[1]", "an integer of one byte")]
U16 = Annotated[int, WireType(construct.Int16ul, "{name}[2]", "an integer of two bytes")]
U32 = Annotated[int, WireType(construct.Int32ul, "{name}[4]", "an integer of four bytes")]
U64 = Annotated[int, WireType(construct.Int64ul, "{name}[8]", "an integer of eight bytes")]

# The client's number for a file: no type of its own, since that would cost a call per message.
FidNumber = U32


@record
class Header:
    """What every frame begins with; *size* counts the whole frame, these 7 bytes included."""

    size: U32
    type: U8
    tag: U16


HEADER_FORMAT: Final = format_of(fields_of(Header))
HEADER: Final = struct.Struct("<" + struct_codes(HEADER_FORMAT))
assert HEADER.size == HEADER_BYTES


@record
class Qid:
    """The server's name for one file at one time: no two files ever share a *path*.

    *type* holds the QT bits, *version* may change whenever the file does.
    """

    type: U8
    version: U32
    path: U64


QID_FORMAT: Final = format_of(fields_of(Qid))
_QID: Final = struct.Struct("<" + struct_codes(QID_FORMAT))
QidField = Annotated[
    Qid,
    WireType(
        QID_FORMAT,
        f"{{name}}[{_QID.size}]",
        f"a qid, the server's name for a file: `{notation_of(fields_of(Qid))}`",
        record=Qid,
    ),
]

_COUNT: Final = construct.Int16ul
_NAME_FORMAT: Final = construct.Prefixed(_COUNT, construct.GreedyBytes)
_NAME_LENGTH: Final = struct.Struct("<" + struct_codes(_COUNT))


def read_names(view: memoryview, at: int, end: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """*count* names that begin at *at*, one at least, as copies; and where they end.

    That is beyond *end* if they do not fit; then the names are not to be used.
    """
    # One copy of them all comes first: bytes are indexed and cut in half the time of a view.
    raw = view[at:end].tobytes()
    begin = 0
    try:
        stop = 2 + (raw[0] | raw[1] << 8)
        # Nearly every walk of a Linux client has one name: two thirds of the time of a list.
        if count == 1:
            return (raw[2:stop],), at + stop
        names = [raw[2:stop]]
        while len(names) < count:
            begin = stop
            stop = begin + 2 + (raw[begin] | raw[begin + 1] << 8)
            names.append(raw[begin + 2 : stop])
    except IndexError:
        return (), at + begin + 2
    return tuple(names), at + stop


def join_names(names: Iterable[bytes]) -> bytes:
    """The bytes of *names*, each behind its length; struct.error if one is too long."""
    return b"".join([_NAME_LENGTH.pack(len(name)) + name for name in names])


def read_qids(view: memoryview, at: int, stop: int) -> tuple[Qid, ...]:
    """The qids in view[at:stop], which is a multiple of 13 bytes."""
    return tuple([Qid(*values) for values in _QID.iter_unpack(view[at:stop])])


def join_qids(qids: Sequence[Qid]) -> bytes:
    """The bytes of *qids*; struct.error if a number is out of range."""
    pack = _QID.pack
    if len(qids) == 1:
        qid = qids[0]
        return pack(qid.type, qid.version, qid.path)
    return b"".join([pack(qid.type, qid.version, qid.path) for qid in qids])


_OPTIONAL: Final = struct.Struct("<" + struct_codes(construct.Int32ul))


def read_optional(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """The integer at *at*, or 0 if the body ends there, and where it ends.

    That is beyond *end* if there is only a part of it.
    """
    if at == end:
        return 0, at
    stop = at + _OPTIONAL.size
    return (_OPTIONAL.unpack_from(view, at)[0] if stop <= end else 0), stop


def join_optional(value: int) -> bytes:
    """The bytes of *value*, never left out; struct.error if it is out of range."""
    return _OPTIONAL.pack(value)


# construct takes the first alternative that the bytes allow: zero, if none are left.
OptionalU32 = Annotated[
    int,
    WireType(
        construct.Select(construct.Int32ul, construct.Computed(0)),
        "{name}[4]",
        "an integer of four bytes that ends its message; left out, it is 0",
        Varying(None, None, "read_optional(view, at, end)", "join_optional({value})", is_last=True),
    ),
]

# A name is bytes, not text: POSIX and Linux know no encoding of file names.
Name = Annotated[
    bytes,
    WireType(
        _NAME_FORMAT,
        "{name}[s]",
        "a string: two bytes of length, then as many bytes of no particular encoding",
        Varying(_COUNT, 1, "view[at:stop].tobytes()", "{value}"),
    ),
]
Names = Annotated[
    tuple[bytes, ...],
    WireType(
        construct.PrefixedArray(_COUNT, _NAME_FORMAT),
        "n{name}[2] n{name}*({name}[s])",
        "strings: two bytes that say how many, then each",
        Varying(
            _COUNT,
            None,
            "read_names(view, at, end, count) if count else ((), at)",
            "join_names({value})",
        ),
    ),
]
Qids = Annotated[
    tuple[Qid, ...],
    WireType(
        construct.PrefixedArray(_COUNT, QID_FORMAT),
        f"n{{name}}[2] n{{name}}*({{name}}[{_QID.size}])",
        "qids: two bytes that say how many, then each",
        Varying(
            _COUNT,
            _QID.size,
            "read_qids(view, at, stop) if count else ()",
            '(join_qids({value}) if {value} else b"")',
        ),
    ),
]

# Payload ends its message and is never copied: decoded, it is a part of the received view,
# valid as long as that is; encoded, it is left out, and follows as a piece of its own.
Data = Annotated[
    bytes | memoryview,
    WireType(
        construct.Prefixed(construct.Int32ul, construct.GreedyBytes),
        "count[4] {name}[count]",
        "payload: four bytes of length, then as many bytes; always the last field",
        Varying(construct.Int32ul, 1, "view[at:stop]", None, is_last=True),
    ),
]

# What the fragments above call.
FRAGMENT_FUNCTIONS: Final = {
    function.__name__: function
    for function in (read_names, read_optional, read_qids, join_names, join_optional, join_qids)
}
