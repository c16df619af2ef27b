"""What is measured at the wire: for each case, how its files are made and which requests it sends.

The files of a server are made once: one that is only read and one that is written at random, each
of *span* bytes. Cases that write one byte after the other make a new file for each connection, as
large as the span divided among them, and so may end before their time is over.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from benchmarks.client import ROOT, Client, RefusedError, pattern
from benchmarks.load import Phase
from benchmarks.phases import (
    Ready,
    Writes,
    around,
    listed,
    one_after_the_other,
    reads,
    same,
)
from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import GETATTR_BASIC, O_RDWR
from ram9.protocol.messages import (
    Rclunk,
    Rgetattr,
    Rlcreate,
    Rremove,
    Runlinkat,
    Rwalk,
    Rwrite,
    Tclunk,
    Tgetattr,
    Tlcreate,
    Tremove,
    Tunlinkat,
    Twalk,
    Twrite,
)

WORK: Final = 1  # the fid of the file that a connection works on
DIRECTORY: Final = 2
FIRST_FILE: Final = 16  # fids from here on stand for the files of the metadata cycle
READS: Final = b"bench-reads"
WRITES: Final = b"bench-writes"
ENDLESS: Final = 1 << 40
PLACES: Final = 65_521
"""Random places in a list: a prime, so that they meet tags in ever other ways."""

GETATTR_REPLY_BYTES: Final = 160
QID_REPLY_BYTES: Final = 20
OPEN_REPLY_BYTES: Final = 24
METADATA_FILES: Final = 64  # at a time, of all connections
METADATA_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class Seat:
    """Which of how many connections this is, and how many bytes all of them may work on.

    *run* tells one measurement from the others, so that names are of one only.
    """

    index: int
    connections: int
    depth: int
    span_bytes: int
    run: int = 0

    @property
    def share_bytes(self) -> int:
        return self.span_bytes // self.connections


@dataclass(frozen=True, slots=True)
class Prepared:
    """The requests of one connection; *payload_bytes* is what each moves, 0 where none does.

    *requests_each* make up what is counted.
    """

    phases: Iterable[Phase]
    payload_bytes: int = 0
    requests_each: int = 1


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of work. *is_bulk*: what counts is bytes a second, not requests a second."""

    name: str
    title: str
    prepare: Callable[[Client, Seat], Prepared]
    clean: Callable[[Client, Seat], None]
    is_bulk: bool = False


def make_files(client: Client, span_bytes: int) -> None:
    """Make the files that the cases share."""
    for name in READS, WRITES:
        client.create(WORK, name)
        client.fill(WORK, span_bytes)
        client.clunk(WORK)


def _nothing(_client: Client, _seat: Seat) -> None:
    """There is nothing to tidy up: the connection is closed."""


def _null(_client: Client, _seat: Seat) -> Prepared:
    return Prepared([same(Twalk(ROOT, ROOT, ()), ENDLESS, Rwalk, 9)])


def _getattr(_client: Client, _seat: Seat) -> Prepared:
    request = Tgetattr(ROOT, GETATTR_BASIC)
    return Prepared([same(request, ENDLESS, Rgetattr, GETATTR_REPLY_BYTES)])


def random_places(count: int, span_bytes: int, seed: int) -> list[int]:
    """Offsets of whole blocks of *count* bytes, in an order that is the same every time."""
    blocks = max(1, span_bytes // count)
    return [count * block for block in random.Random(seed).choices(range(blocks), k=PLACES)]


def _random_reads(client: Client, seat: Seat) -> Prepared:
    client.open(WORK, READS)
    places = random_places(4096, seat.span_bytes, seat.index)
    return Prepared([reads(WORK, places, 4096, ENDLESS)], 4096)


def _random_writes(client: Client, seat: Seat) -> Prepared:
    client.open(WORK, WRITES)
    places = random_places(4096, seat.span_bytes, seat.index)
    return Prepared([Writes(WORK, listed(places), pattern(0, 4096), ENDLESS)], 4096)


def _sequential_reads(wanted_bytes: int) -> Callable[[Client, Seat], Prepared]:
    def prepare(client: Client, seat: Seat) -> Prepared:
        client.open(WORK, READS)
        count = client.payload_max(wanted_bytes)
        offset_of = around(count, seat.span_bytes, seat.index * seat.share_bytes)
        places = [offset_of(number) for number in range(max(1, seat.span_bytes // count))]
        return Prepared([reads(WORK, places, count, ENDLESS)], count)

    return prepare


def own_name(seat: Seat) -> bytes:
    return b"bench-own-%06d-%04d" % (seat.run, seat.index)


def _sequential_writes(wanted_bytes: int) -> Callable[[Client, Seat], Prepared]:
    def prepare(client: Client, seat: Seat) -> Prepared:
        count = client.payload_max(wanted_bytes)
        client.create(WORK, own_name(seat))
        requests = max(1, seat.share_bytes // count)
        return Prepared(
            [Writes(WORK, one_after_the_other(count), pattern(0, count), requests)], count
        )

    return prepare


def _remove_own(client: Client, _seat: Seat) -> None:
    client.remove(WORK)


def _metadata(client: Client, seat: Seat) -> Prepared:
    """Some files are made with 100 bytes each, then all looked at, then all removed; and again.

    As many files as may be in flight go step by step: nobody opens what is not made yet.
    """
    client.make_directory(DIRECTORY, own_name(seat))
    groups = [range(n, n + seat.depth) for n in range(0, _files(seat), seat.depth)]
    remove = _removal if client.has_unlinkat() else _removal_of_old
    phases: list[Phase] = []
    for make in _creation, _inspection, remove:
        for group in groups:
            phases += make(group)
    return Prepared(cycle(phases), requests_each=len(phases) // len(groups))


def _files(seat: Seat) -> int:
    """How many files a connection has at a time: whole groups."""
    return -(-METADATA_FILES // seat.connections // seat.depth) * seat.depth or seat.depth


def _clean_metadata(client: Client, seat: Seat) -> None:
    """Remove what is left where time was over, then the directory."""
    for number in range(_files(seat)):
        with suppress(RefusedError):
            client.remove_name(WORK, _file_name(number), DIRECTORY)
    client.remove(DIRECTORY)


def _file_name(number: int) -> bytes:
    return b"f%07d" % number


def _step(requests: Sequence[Message], reply: type[Message], reply_bytes: int) -> Phase:
    frames = [frame(request, tag) for tag, request in enumerate(requests)]
    return Ready(frames, len(frames), reply_bytes, reply.number)


def _fids(group: range) -> list[int]:
    return [FIRST_FILE + n for n in range(len(group))]


def _clunks(group: range) -> Phase:
    return _step([Tclunk(fid) for fid in _fids(group)], Rclunk, 7)


def _walks(group: range) -> Phase:
    pairs = zip(_fids(group), group, strict=True)
    walks = [Twalk(DIRECTORY, fid, (_file_name(number),)) for fid, number in pairs]
    return _step(walks, Rwalk, 22)


def _creation(group: range) -> list[Phase]:
    fids = _fids(group)
    names = [_file_name(number) for number in group]
    data = pattern(0, METADATA_BYTES)
    pairs = list(zip(fids, names, strict=True))
    return [
        _step([Twalk(DIRECTORY, fid, ()) for fid in fids], Rwalk, 9),
        _step(
            [Tlcreate(fid, name, O_RDWR, 0o644, 0) for fid, name in pairs],
            Rlcreate,
            OPEN_REPLY_BYTES,
        ),
        _step([Twrite(fid, 0, data) for fid in fids], Rwrite, 11),
        _clunks(group),
    ]


def _inspection(group: range) -> list[Phase]:
    looks = [Tgetattr(fid, GETATTR_BASIC) for fid in _fids(group)]
    return [
        _walks(group),
        _step(looks, Rgetattr, GETATTR_REPLY_BYTES),
        _clunks(group),
    ]


def _removal(group: range) -> list[Phase]:
    return [_step([Tunlinkat(DIRECTORY, _file_name(n), 0) for n in group], Runlinkat, 7)]


def _removal_of_old(group: range) -> list[Phase]:
    """As Linux removes files of a server that has no Tunlinkat."""
    removals = [Tremove(fid) for fid in _fids(group)]
    return [_walks(group), _step(removals, Rremove, 7)]


CASES: Final[dict[str, Case]] = {
    case.name: case
    for case in (
        Case("null", "null (a walk of no names)", _null, _nothing),
        Case("getattr", "getattr", _getattr, _nothing),
        Case("read-4k", "4 KiB random reads", _random_reads, _nothing),
        Case("write-4k", "4 KiB random writes", _random_writes, _nothing),
        Case("append-4107", "4,107-byte appends", _sequential_writes(4107), _remove_own),
        Case(
            "read-64k",
            "64 KiB sequential reads",
            _sequential_reads(1 << 16),
            _nothing,
            is_bulk=True,
        ),
        Case(
            "write-64k",
            "64 KiB sequential writes",
            _sequential_writes(1 << 16),
            _remove_own,
            is_bulk=True,
        ),
        Case(
            "read-1m", "1 MiB sequential reads", _sequential_reads(1 << 20), _nothing, is_bulk=True
        ),
        Case(
            "write-1m",
            "1 MiB sequential writes",
            _sequential_writes(1 << 20),
            _remove_own,
            is_bulk=True,
        ),
        Case("metadata", "metadata cycle", _metadata, _clean_metadata),
    )
}
