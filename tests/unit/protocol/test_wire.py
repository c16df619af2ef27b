"""Kinds of field: what they declare, and the fast functions of those that vary in width."""

import struct
from typing import Annotated, Any

import construct
import pytest

from ram9.protocol import wire
from ram9.protocol.wire import (
    HEADER,
    U8,
    U32,
    FidNumber,
    Qid,
    WireType,
    fields_of,
    format_of,
    join_names,
    join_optional,
    join_qids,
    notation_of,
    read_names,
    read_optional,
    read_qids,
    record,
    struct_codes,
)


@record
class Point:
    x: U32
    y: U8


def test_fields_come_in_the_order_of_their_declaration() -> None:
    assert list(fields_of(Point)) == ["x", "y"]
    assert notation_of(fields_of(Point)) == "x[4] y[1]"


def test_a_record_is_built_compared_and_hashed_by_its_fields() -> None:
    assert Point(1, 2) == Point(x=1, y=2)
    assert Point(1, 2) != Point(2, 1)
    assert len({Point(1, 2), Point(1, 2)}) == 1


def test_a_record_has_no_room_for_anything_else() -> None:
    assert not hasattr(Point(1, 2), "__dict__")


@pytest.mark.parametrize("annotation", [int, Annotated[int, "four bytes"]])
def test_a_field_without_a_wire_type_is_refused(annotation: Any) -> None:
    broken = type("Broken", (), {"__annotations__": {"x": annotation}})
    with pytest.raises(TypeError, match=r"Broken\.x has no wire type"):
        fields_of(broken)


def test_struct_codes_are_read_from_the_definition() -> None:
    assert struct_codes(format_of(fields_of(Point))) == "LB"
    assert struct_codes("named" / construct.Int64ul) == "Q"


@pytest.mark.parametrize("format", [construct.Int32ub, construct.GreedyBytes])
def test_struct_codes_of_what_is_not_little_endian_and_fixed_are_refused(format: Any) -> None:
    with pytest.raises(TypeError):
        struct_codes(format)


def test_the_header_is_size_type_and_tag() -> None:
    assert HEADER.format == "<LBH"


def test_a_fid_number_is_four_bytes() -> None:
    kind: WireType = FidNumber.__metadata__[0]  # type: ignore[attr-defined]  # an alias
    assert struct_codes(kind.format) == "L"


NAMES = bytes.fromhex("0100 61 0000 0200 ffc3")


@pytest.mark.parametrize(
    ("count", "names"), [(1, (b"a",)), (2, (b"a", b"")), (3, (b"a", b"", b"\xff\xc3"))]
)
def test_names_are_read_one_after_the_other(count: int, names: tuple[bytes, ...]) -> None:
    data = join_names(names)
    assert read_names(memoryview(b"!" + data + b"!"), 1, 1 + len(data), count) == (
        names,
        1 + len(data),
    )
    assert NAMES.startswith(data)


@pytest.mark.parametrize("count", [1, 2, 3, 65535])
def test_names_that_do_not_fit_end_beyond_the_end(count: int) -> None:
    whole = len(join_names([b"a", b"", b"\xff\xc3"][:count])) if count <= 3 else len(NAMES) + 1
    for end in range(whole):
        assert read_names(memoryview(NAMES + NAMES), 0, end, count)[1] > end


def test_a_name_of_65536_bytes_has_no_bytes() -> None:
    with pytest.raises(struct.error):
        join_names([bytes(65536)])


@pytest.mark.parametrize(
    "qids", [(), (Qid(1, 2, 3),), (Qid(0x80, 0, 1), Qid(0, 2**32 - 1, 2**64 - 1))]
)
def test_qids_come_back_from_their_bytes(qids: tuple[Qid, ...]) -> None:
    data = join_qids(qids)
    assert len(data) == 13 * len(qids)
    assert read_qids(memoryview(b"!" + data + b"!"), 1, 1 + len(data)) == qids


def test_a_qid_is_type_version_and_path() -> None:
    assert join_qids([Qid(type=0x80, version=2, path=3)]).hex(" ", 1) == (
        "80 02 00 00 00 03 00 00 00 00 00 00 00"
    )


def test_an_optional_integer_is_zero_if_the_body_ends_before_it() -> None:
    view = memoryview(b"!" + join_optional(7) + b"!")
    assert read_optional(view, 1, 5) == (7, 5)
    assert read_optional(view, 1, 1) == (0, 1)


@pytest.mark.parametrize("end", [2, 3, 4])
def test_a_part_of_an_optional_integer_ends_beyond_the_end(end: int) -> None:
    assert read_optional(memoryview(bytes(9)), 1, end)[1] > end


def test_kinds_that_end_a_message_say_so() -> None:
    last = [wire.Data, wire.OptionalU32]
    assert all(alias.__metadata__[0].varying.is_last for alias in last)  # type: ignore[attr-defined]
