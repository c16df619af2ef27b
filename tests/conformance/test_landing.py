"""Large Twrites whose bytes are received straight into the sectors where they will live."""

import pytest
from tests.client import ROOT, Client, Server

from ram9.protocol.constants import O_APPEND, O_RDONLY, O_RDWR, O_WRONLY
from ram9.protocol.messages import Rlerror, Rwrite, Twrite, Txattrcreate
from ram9.storage.errors import Errno
from ram9.storage.limits import Limits

LARGE = bytes(range(256)) * 256  # 64 KiB


@pytest.fixture
def file(client: Client) -> int:
    return client.create(b"file", mode=0o666)


@pytest.mark.parametrize("offset", [0, 1, 511, 512, 513, 100_000, 1 << 40])
@pytest.mark.parametrize("have", [23, 24, 40, 5000])
def test_a_large_write_lands_in_its_file(client: Client, file: int, offset: int, have: int) -> None:
    """T18: wherever the frame is split."""
    before = client.getattr(file)
    assert client.land(Twrite(file, offset, LARGE), have)
    assert client.server.filesystem.root.entries.get(b"file").size_bytes == 0  # type: ignore[union-attr]
    client.arrive(100)
    client.arrive(1)
    assert client.arrive() == Rwrite(len(LARGE))
    after = client.getattr(file)
    assert after.size == offset + len(LARGE)
    assert after.mtime_s == after.ctime_s > before.mtime_s
    assert after.data_version != before.data_version
    assert client.read(file, offset) == LARGE
    if 0 < offset < 1 << 20:
        assert client.read(file, 0, offset) == bytes(offset)


@pytest.mark.parametrize("length", [512, 1000, 4097, 65537])
def test_behind_what_landed_is_nothing(client: Client, file: int, length: int) -> None:
    """The last sector is zeroed behind the end, whatever it held before."""
    client.make(b"old", b"S" * 200_000)
    client.unlink(b"old")
    assert client.land(Twrite(file, 0, b"x" * length))
    client.arrive()
    client.setattr(file, 0x8, size=length + 600)
    assert client.read(file) == b"x" * length + bytes(600)


def test_before_the_last_byte_nothing_is_seen(client: Client, other: Client, file: int) -> None:
    """T22: no reader meets half of a write."""
    before = other.stat(b"file")
    client.land(Twrite(file, 1000, LARGE))
    client.arrive(len(LARGE) - 100)
    assert other.stat(b"file") == before
    assert other.read(other.open(b"file")) == b""
    client.server.verify()
    client.arrive()
    assert other.read(other.open(b"file")) == bytes(1000) + LARGE


@pytest.mark.parametrize("offset", [0, 100, 512])
@pytest.mark.parametrize("meanwhile", ["write", "before", "truncate", "grow", "unlink", "rename"])
def test_what_others_do_meanwhile_comes_first(
    client: Client, other: Client, file: int, offset: int, meanwhile: str
) -> None:
    """T22: the write happens when its last byte is there, on the file as it is then.

    A write to the same range sends the landed bytes another way: they had been forgotten there,
    and the answer was 0 (T1).
    """
    client.write(file, b"old", 0)
    assert (client.land(Twrite(file, offset, LARGE)) is None) == (offset == 0)
    if client.connection.arrival is None:
        client.buffer(Twrite(file, offset, LARGE))
    client.arrive(1000)
    theirs = other.open(b"file", flags=O_RDWR)
    expected = bytearray(b"old")
    if meanwhile == "write":
        other.write(theirs, b"2" * 70_000, 600)
        expected = bytearray(b"old" + bytes(597) + b"2" * 70_000)
    elif meanwhile == "before":
        other.write(theirs, b"33", 80)
        expected = bytearray(b"old" + bytes(77) + b"33")
    elif meanwhile == "truncate":
        other.setattr(theirs, 0x8, size=0)
        expected = bytearray()
    elif meanwhile == "grow":
        other.setattr(theirs, 0x8, size=200_000)
        expected += bytes(200_000 - 3)
    elif meanwhile == "unlink":
        other.unlink(b"file")
    else:
        other.rename(b"file", b"new")
    client.server.verify()
    assert client.arrive() == Rwrite(len(LARGE))
    expected += bytes(max(0, offset + len(LARGE) - len(expected)))
    expected[offset : offset + len(LARGE)] = LARGE
    assert client.read(file) == expected
    client.server.verify()


def test_two_writes_may_land_in_one_place(client: Client, other: Client, file: int) -> None:
    """T22: the last to end is the last to write."""
    theirs = other.open(b"file", flags=O_WRONLY)
    client.land(Twrite(file, 0, LARGE))
    other.land(Twrite(theirs, 512, b"2" * 40_000))
    client.server.verify()
    assert other.arrive() == Rwrite(40_000)
    assert client.arrive() == Rwrite(len(LARGE))
    assert client.read(file) == LARGE


def test_what_is_appended_goes_to_the_end_as_it_is_then(client: Client, other: Client) -> None:
    """T11, T22: two clients append to one log, and both began before either had ended.

    Both were told that all is written, and the second had overwritten the first.
    """
    client.make(b"log", b"x" * 512)
    one = client.open(b"log", flags=O_WRONLY | O_APPEND)
    two = other.open(b"log", flags=O_WRONLY | O_APPEND)
    assert client.land(Twrite(one, 0, b"1" * 40_000))
    assert other.land(Twrite(two, 0, b"2" * 40_000))
    assert client.arrive() == Rwrite(40_000)
    assert other.arrive() == Rwrite(40_000)
    log = client.open(b"log")
    assert client.read(log) == b"x" * 512 + b"1" * 40_000 + b"2" * 40_000
    assert client.land(Twrite(one, 0, LARGE))
    other.setattr(two, 0x8, size=1)
    assert client.arrive() == Rwrite(len(LARGE))
    assert client.read(log) == b"x" + LARGE


def test_a_client_that_is_gone_leaves_no_trace(client: Client, other: Client, file: int) -> None:
    """T20: half of a write is none; its sectors are free, and an unlinked file goes too."""
    before = other.statfs()
    client.land(Twrite(file, 0, LARGE))
    client.arrive(30_000)
    assert other.statfs().bfree < before.bfree
    client.connection.close()
    client.server.verify()
    assert other.statfs() == before
    assert other.stat(b"file").size == 0


def test_a_client_that_is_gone_frees_the_file_that_was_unlinked(
    client: Client, other: Client, file: int
) -> None:
    """T20"""
    client.land(Twrite(file, 0, LARGE))
    other.unlink(b"file")
    client.connection.close()
    client.server.verify()
    assert not client.server.filesystem.orphans


@pytest.mark.parametrize("offset", [0, 100, 50_000, 99_000])
def test_a_write_over_what_is_there_arrives_in_a_buffer(
    client: Client, file: int, offset: int
) -> None:
    client.write(file, b"x" * 100_000)
    assert client.land(Twrite(file, offset, LARGE)) is None
    assert client.connection.arrival is None
    client.buffer(Twrite(file, offset, LARGE))
    client.arrive(1)
    assert client.arrive() == Rwrite(len(LARGE))
    assert client.read(file, offset, len(LARGE)) == LARGE
    assert client.read(file, 0, offset) == b"x" * offset


def test_what_is_not_to_be_written_does_not_land(client: Client) -> None:
    """T28: it arrives in a buffer, and is refused as a whole."""
    client.make(b"file")
    writer = client.walk(b"file")
    client.call(Txattrcreate(writer, b"user.a", 60_000, 0))
    reader = client.open(b"file", flags=O_RDONLY)
    for fid in (reader, client.walk(b"file"), ROOT, client.open(), writer, 99, 0xFFFFFFFF):
        assert client.land(Twrite(fid, 0, LARGE)) is None
        client.buffer(Twrite(fid, 0, LARGE))
        expected = Errno.EINVAL if fid == writer else Errno.EBADF
        with client.server.unchanged():
            assert client.arrive() == Rlerror(expected)


def test_a_value_of_an_attribute_arrives_in_a_buffer(client: Client, file: int) -> None:
    writer = client.writer(file := client.walk(b"file"), b"user.a", len(LARGE))
    client.buffer(Twrite(writer, 0, LARGE))
    assert client.arrive() == Rwrite(len(LARGE))
    client.clunk(writer)
    assert client.getxattr(file, b"user.a") == LARGE


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63 - len(LARGE), 2**64 - 1])
def test_past_the_largest_size_nothing_lands(client: Client, file: int, offset: int) -> None:
    """T18: offset and count do not overflow."""
    assert client.land(Twrite(file, offset, LARGE)) is None
    client.buffer(Twrite(file, offset, LARGE))
    reply = client.arrive()
    if offset < 2**63 - 1:
        assert 0 < reply.count < len(LARGE)
    else:
        assert reply == Rlerror(Errno.EFBIG)
    client.setattr(file, 0x8, size=0)


def test_privileges_are_taken_away_when_the_write_has_ended(
    client: Client, root: Client, file: int
) -> None:
    """chmod u+s between the first byte and the last; and a write by root leaves them."""
    client.land(Twrite(file, 0, LARGE))
    root.setattr(root.walk(b"file"), 0x41, mode=0o6755)
    assert client.arrive() == Rwrite(len(LARGE))
    assert client.getattr(file).mode == 0o100755
    root.setattr(root.walk(b"file"), 0x41, mode=0o6755)
    roots = root.open(b"file", flags=O_WRONLY)
    root.land(Twrite(roots, 100_352, LARGE))
    root.arrive()
    assert client.getattr(file).mode == 0o106755
    client.land(Twrite(file, 200_704, LARGE))
    client.arrive()
    assert client.getattr(file).mode == 0o100755


def test_a_write_that_fills_the_volume_exactly_lands() -> None:
    """T21"""
    server = Server(Limits(size_bytes=80_000, inodes=10))
    client = server.connect()
    file = client.create(b"file")
    room = server.filesystem.budget.available_bytes
    length = (room - 416) // 512 * 512
    assert client.land(Twrite(file, 0, b"x" * (length + 512))) is None
    assert client.land(Twrite(file, 0, b"x" * length))
    assert server.filesystem.budget.available_bytes < 512
    assert client.arrive() == Rwrite(length)
    server.verify()
    client.unlink(b"file")
    client.clunk(file)
    server.verify()


def test_a_write_for_which_there_is_no_room_takes_what_fits() -> None:
    """T1, T21: part of it first, then ENOSPC; and never 0."""
    server = Server(Limits(size_bytes=40_000, inodes=10))
    client = server.connect()
    file = client.create(b"file")
    assert client.land(Twrite(file, 0, LARGE)) is None
    client.buffer(Twrite(file, 0, LARGE))
    written = client.arrive().count
    assert 30_000 < written < 40_000
    assert client.read(file) == LARGE[:written]
    client.buffer(Twrite(file, written, LARGE))
    with server.unchanged():
        assert client.arrive() == Rlerror(Errno.ENOSPC)
    server.verify()


def test_room_that_is_gone_meanwhile_is_enospc_or_less() -> None:
    """T21: what landed had its room; the first bytes before it may have none."""
    server = Server(Limits(size_bytes=70_000, inodes=10))
    client, other = server.connect(), server.connect()
    file, theirs = client.create(b"file"), other.create(b"theirs")
    assert client.land(Twrite(file, 100, b"x" * 60_000))
    while (size := other.getattr(theirs).size) is not None:
        reply = other.answer(Twrite(theirs, size, b"y" * 100))
        if isinstance(reply, Rlerror):
            break
    server.verify()
    written = client.arrive().count
    assert written == 60_000 or 0 < written < 60_000
    assert client.read(file) == bytes(100) + b"x" * written
    server.verify()
