"""Declaring a message, and what its codec refuses."""

import pytest

from ram9.protocol.codec import CODECS, Message, frame, message
from ram9.protocol.errors import ProtocolError
from ram9.protocol.messages import (
    Qid,
    Rread,
    Rreaddir,
    Rwalk,
    Rwrite,
    Tclunk,
    Tfsync,
    Tlcreate,
    Tmknod,
    Tread,
    Tremove,
    Trenameat,
    Twalk,
    Twrite,
)


def decode(cls: type[Message], body: bytes) -> Message:
    return cls.codec.decode(memoryview(body), 0, len(body))


def test_a_message_knows_its_number_and_its_codec() -> None:
    assert Tread.number == 116
    assert CODECS[116] is Tread.codec
    assert CODECS[116].message is Tread
    assert Tread.codec.notation() == "size[4] Tread tag[2] fid[4] offset[8] count[4]"


def test_a_number_is_declared_once() -> None:
    class Again(Message):
        pass

    with pytest.raises(ValueError, match="message 116 is declared twice"):
        message(116)(Again)
    assert CODECS[116].message is Tread


def test_a_message_that_is_not_declared_has_no_bytes() -> None:
    class Undeclared(Message):
        pass

    with pytest.raises(NotImplementedError, match="Undeclared"):
        Undeclared().encode(1)


def test_messages_of_different_kinds_differ() -> None:
    removal: object = Tremove(1)
    assert Tclunk(1) == Tclunk(fid=1)
    assert Tclunk(1) != removal


def test_only_messages_with_a_payload_have_data() -> None:
    assert {cls.__name__ for cls in (c.message for c in CODECS.values()) if cls.has_data} == {
        "Rread",
        "Rreaddir",
        "Twrite",
    }


@pytest.mark.parametrize("cls", [Rread, Rreaddir])
@pytest.mark.parametrize("data", [b"abc", memoryview(b"abc")])
def test_the_payload_follows_its_frame_which_counts_it(cls: type, data: bytes) -> None:
    reply = cls(data)
    assert reply.encode(1)[:4] == bytes.fromhex("0e000000")
    assert reply.encode(1)[-4:] == bytes.fromhex("03000000")
    assert frame(reply, 1) == reply.encode(1) + b"abc"


def test_a_decoded_payload_is_a_part_of_the_view() -> None:
    received = bytearray(frame(Twrite(1, 0, b"abc"), 1))
    request = Twrite.codec.decode(memoryview(received), 7, len(received))
    assert isinstance(request, Twrite)
    received[-1] = ord("x")
    assert request.data == b"abx"


def test_decoded_names_outlive_the_view() -> None:
    received = bytearray(frame(Twalk(1, 2, (b"a", b"b")), 1))
    request = Twalk.codec.decode(memoryview(received), 7, len(received))
    received[:] = bytes(len(received))
    assert request == Twalk(1, 2, (b"a", b"b"))


def test_more_names_than_a_walk_may_have_are_for_the_operation_to_refuse() -> None:
    request = Twalk(1, 2, (b"x",) * 40)
    assert decode(Twalk, frame(request, 1)[7:]) == request


def test_a_sync_without_datasync_is_a_full_one() -> None:
    assert decode(Tfsync, bytes.fromhex("05000000")) == Tfsync(fid=5, datasync=0)


REFUSED = [
    (Tclunk, "", "Tclunk is too short for fid: bytes missing: 4"),
    (Tclunk, "01000000 00", "Tclunk goes on after fid: bytes too many: 1"),
    (Tread, "01000000", "Tread is too short for fid, offset, count: bytes missing: 12"),
    (Tlcreate, "01000000 0500 61", "Tlcreate is too short for fid, name, flags, mode, gid: "
     "bytes missing: 16"),
    (Trenameat, "01000000 0900 61", "Trenameat is too short for olddirfid, oldname, newdirfid, "
     "newname: bytes missing: 14"),
    (Trenameat, "01000000 0100 61 02000000 0200 62", "Trenameat is too short for olddirfid, "
     "oldname, newdirfid, newname: bytes missing: 1"),
    (Twalk, "01000000 02000000 0100", "Twalk is too short for fid, newfid, wname: "
     "bytes missing: 2"),
    (Twalk, "01000000 02000000 0200 0100 61 0300 62", "Twalk is too short for fid, newfid, wname: "
     "bytes missing: 2"),
    (Twalk, "01000000 02000000 ffff 0000 0000", "Twalk is too short for fid, newfid, wname: "
     "bytes missing: 2"),
    (Twalk, "01000000 02000000 0000 00", "Twalk goes on after fid, newfid, wname: "
     "bytes too many: 1"),
    (Rwalk, "0200" + "00" * 13, "Rwalk is too short for wqid: bytes missing: 13"),
    (Twrite, "01000000 0000000000000000 ffffffff 61", "Twrite is too short for fid, offset, data: "
     "bytes missing: 4294967294"),
    (Tfsync, "01000000 0000", "Tfsync is too short for fid, datasync: bytes missing: 2"),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "body", "reason"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_body_that_does_not_fit_is_refused_with_the_reason(
    cls: type[Message], body: str, reason: str
) -> None:
    surrounded = b"\xff" * 7 + bytes.fromhex(body) + b"\x00" * 100
    with pytest.raises(ProtocolError) as refusal:
        cls.codec.decode(memoryview(surrounded), 7, len(surrounded) - 100)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    "broken",
    [
        Tclunk(-1),
        Tclunk(2**32),
        Tread(1, 2**64, 0),
        Tlcreate(1, bytes(65536), 0, 0, 0),
        Tlcreate(1, b"a", 0, 2**32, 0),
        Tmknod(1, b"a", -1, 0, 0, 0),
        Twalk(1, 2, (bytes(65536),)),
        Twalk(1, 2, (b"",) * 65536),
        Rwalk((Qid(256, 0, 0),)),
        Rwalk((Qid(0, 0, 0), Qid(0, 0, 2**64))),
        Tfsync(1, -1),
    ],
    ids=lambda broken: type(broken).__name__,
)
def test_what_does_not_fit_its_field_is_refused(broken: Message) -> None:
    with pytest.raises(ProtocolError, match=f"{type(broken).__name__} cannot be encoded"):
        broken.encode(1)


@pytest.mark.parametrize("tag", [-1, 65536])
def test_a_tag_has_two_bytes(tag: int) -> None:
    with pytest.raises(ProtocolError, match="Rwrite cannot be encoded"):
        Rwrite(1).encode(tag)
