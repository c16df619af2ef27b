"""Writes the source of a message's decode and encode functions from its declared fields.

The body is cut into segments: a run of fixed fields, which one ``struct.Struct`` reads and
writes, then one field of varying width whose count ends that run.  The last segment has no
varying field, and may be empty.  Every bound is checked before anything behind it is read.
"""

import struct
from dataclasses import dataclass
from itertools import zip_longest

from ram9.protocol.constants import HEADER_BYTES
from ram9.protocol.wire import Varying, WireType, fields_of, struct_codes


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of fixed fields, and the field of varying width behind it, if there is one."""

    fixed: dict[str, WireType]
    varying: dict[str, Varying]

    def codes(self) -> str:
        """The run as codes of module struct, with the count of the varying field."""
        formats = [kind.format for kind in self.fixed.values()]
        formats += [kind.prefix for kind in self.varying.values() if kind.prefix]
        return "".join(map(struct_codes, formats))

    def size_bytes(self) -> int:
        """The width of the run."""
        return struct.calcsize("<" + self.codes())

    def places(self) -> list[str]:
        """Where the generated code has each fixed value: one place per code."""
        places = []
        for name, kind in self.fixed.items():
            if kind.record is None:
                places.append(f"message.{name}")
            else:
                places += [f"nested_{name}.{inner}" for inner in fields_of(kind.record)]
        return places


def segments_of(fields: dict[str, WireType]) -> list[Segment]:
    """*fields* cut into segments; TypeError if anything follows a field that must be last."""
    segments = [Segment({}, {})]
    for name, kind in fields.items():
        if any(varying.is_last for part in segments for varying in part.varying.values()):
            raise TypeError(f"{name} follows a field that must be last")
        if kind.varying is None:
            segments[-1].fixed[name] = kind
        else:
            segments[-1].varying[name] = kind.varying
            segments.append(Segment({}, {}))
    return segments


def decode_source(name: str, segments: list[Segment]) -> list[str]:
    """The lines of ``decode(view, start, end)`` for the message class *name*.

    They use the names ``misfit``, ``new``, ``unpack_0`` and so on, and those of the classes.
    """
    lines = ["def decode(view, start, end):"]
    seen: list[str] = []
    begin, waiting = "start", [f"    message = new({name})"]
    for index, segment in enumerate(segments):
        seen += [*segment.fixed, *segment.varying]
        bound = _sum(begin, segment.size_bytes())
        lines += [
            f"    if {bound} {'>' if segment.varying else '!='} end:",
            f"        raise misfit({name!r}, {', '.join(seen) or 'its header'!r}, {bound} - end)",
            *waiting,
            *_unpack_lines(index, segment, begin),
        ]
        begin, waiting = "stop", []
        for field, varying in segment.varying.items():
            lines.append(f"    at = {bound}")
            if varying.item_bytes is None:
                lines.append(f"    message.{field}, stop = {varying.read}")
            else:
                lines.append(f"    stop = {_sum('at', varying.item_bytes, 'count')}")
                # Read only once the next segment has found that *stop* lies within the body.
                waiting.append(f"    message.{field} = {varying.read}")
    return [*lines, "    return message"]


def encode_source(number: int, segments: list[Segment]) -> list[str]:
    """The lines of ``encode(message, tag)`` for message *number*.

    They use the names ``unfit``, ``struct_error``, ``pack_0`` (header included) and so on.
    """
    size = str(HEADER_BYTES + sum(segment.size_bytes() for segment in segments))
    before: list[str] = []
    values: list[list[str]] = []
    items: list[str] = []
    for segment in segments:
        nested = [name for name, kind in segment.fixed.items() if kind.record]
        before += [f"nested_{name} = message.{name}" for name in nested]
        values.append(segment.places())
        for name, varying in segment.varying.items():
            value, count = f"value_{name}", f"count_{name}"
            before.append(f"{value} = message.{name}")
            if varying.prefix:
                before.append(f"{count} = len({value})")
                values[-1].append(count)
            written = varying.write and varying.write.format(value=value)
            if varying.item_bytes is None:
                before.append(f"items_{name} = {written}")
                size, written = f"{size} + len(items_{name})", f"items_{name}"
            else:
                size = _sum(size, varying.item_bytes, count)
            items += [written] if written else []
    values[0] = [size, str(number), "tag", *values[0]]
    packed = [f"pack_{index}({', '.join(run)})" for index, run in enumerate(values) if run]
    return [
        "def encode(message, tag):",
        "    try:",
        *(f"        {line}" for line in before),
        f"        return {' + '.join(_alternate(packed, items))}",
        "    except struct_error as error:",
        "        raise unfit(message, error) from error",
    ]


def _unpack_lines(index: int, segment: Segment, begin: str) -> list[str]:
    """The lines that read the run of *segment*, which lies at *begin*."""
    nested = [(name, kind.record) for name, kind in segment.fixed.items() if kind.record]
    lines = [f"    message.{name} = nested_{name} = new({cls.__name__})" for name, cls in nested]
    places = segment.places()
    places += ["count" for varying in segment.varying.values() if varying.prefix]
    if places:
        lines.append(f"    {', '.join(places)}, = unpack_{index}(view, {begin})")
    return lines


def _alternate(runs: list[str], items: list[str]) -> list[str]:
    """The pieces of a frame in their order: a run, the items behind it, the next run."""
    pairs = zip_longest(runs, items)
    return [piece for pair in pairs for piece in pair if piece]


def _sum(begin: str, width_bytes: int, count: str = "") -> str:
    """The source of *begin* + *width_bytes*, or + *width_bytes* * *count*, as short as may be."""
    if count:
        return f"{begin} + {count}" if width_bytes == 1 else f"{begin} + {width_bytes} * {count}"
    return f"{begin} + {width_bytes}" if width_bytes else begin
