"""Directory entries, and data that is no list of them."""

import pytest

from ram9.protocol.constants import DT_REG
from ram9.protocol.entries import DirectoryEntry, decode_entries, encode_entry
from ram9.protocol.errors import ProtocolError
from ram9.protocol.wire import Qid

GOLDEN = bytes.fromhex(
    "00 01000000 0200000000000000"  # qid
    "0300000000000000 08 0400 6e616d65"  # offset, type, name
)


def test_an_entry_is_qid_offset_type_and_name() -> None:
    assert encode_entry(0, 1, 2, 3, DT_REG, b"name") == GOLDEN
    assert decode_entries(GOLDEN) == [DirectoryEntry(Qid(0, 1, 2), 3, DT_REG, b"name")]


def test_no_data_is_no_entries() -> None:
    assert decode_entries(b"") == []


def test_entries_follow_each_other() -> None:
    assert [entry.name for entry in decode_entries(memoryview(GOLDEN * 3))] == [b"name"] * 3


@pytest.mark.parametrize("length", range(1, len(GOLDEN)))
def test_an_entry_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="entry of Rreaddir"):
        decode_entries(GOLDEN + GOLDEN[:length])


def test_a_refusal_says_what_is_missing() -> None:
    with pytest.raises(ProtocolError, match="an entry of Rreaddir is cut short after 23 bytes"):
        decode_entries(GOLDEN[:23])
    with pytest.raises(ProtocolError, match="the name of an entry of Rreaddir needs 1 bytes more"):
        decode_entries(GOLDEN[:-1])


@pytest.mark.parametrize(
    ("offset", "name"),
    [(-1, b"name"), (2**64, b"name"), (0, bytes(65536))],
    ids=["negative", "too large", "too long"],
)
def test_what_does_not_fit_an_entry_is_refused(offset: int, name: bytes) -> None:
    with pytest.raises(ProtocolError, match="DirectoryEntry cannot be encoded"):
        encode_entry(0, 0, 0, offset, 0, name)
