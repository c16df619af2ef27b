"""The generated source, and which declarations it refuses."""

import pytest

from ram9.protocol.derivation import decode_source, encode_source, segments_of
from ram9.protocol.messages import Rclunk, Rread, Tlcreate, Tread, Tstatfs, Twalk
from ram9.protocol.wire import U32, Data, Name, OptionalU32, fields_of, record


@record
class DataInTheMiddle:
    data: Data
    count: U32


@record
class OptionalInTheMiddle:
    datasync: OptionalU32
    name: Name


def test_a_message_of_fixed_fields_is_read_at_once() -> None:
    assert decode_source("Tread", segments_of(Tread.codec.fields)) == [
        "def decode(view, start, end):",
        "    if start + 16 != end:",
        "        raise misfit('Tread', 'fid, offset, count', start + 16 - end)",
        "    message = new(Tread)",
        "    message.fid, message.offset, message.count, = unpack_0(view, start)",
        "    return message",
    ]


def test_a_message_without_fields_reads_nothing() -> None:
    assert decode_source("Rclunk", segments_of(Rclunk.codec.fields)) == [
        "def decode(view, start, end):",
        "    if start != end:",
        "        raise misfit('Rclunk', 'its header', start - end)",
        "    message = new(Rclunk)",
        "    return message",
    ]


def test_a_payload_is_counted_and_left_out() -> None:
    source = "\n".join(encode_source(117, segments_of(Rread.codec.fields)))
    assert "return pack_0(11 + count_data, 117, tag, count_data)\n" in source


@pytest.mark.parametrize(
    ("message", "runs"), [(Tstatfs, ["L"]), (Tlcreate, ["LH", "LLL"]), (Twalk, ["LLH", ""])]
)
def test_a_body_is_cut_behind_each_field_of_varying_width(message: type, runs: list[str]) -> None:
    assert [segment.codes() for segment in segments_of(fields_of(message))] == runs


@pytest.mark.parametrize("declaration", [DataInTheMiddle, OptionalInTheMiddle])
def test_nothing_may_follow_a_field_that_ends_its_message(declaration: type) -> None:
    with pytest.raises(TypeError, match="must be last"):
        segments_of(fields_of(declaration))
