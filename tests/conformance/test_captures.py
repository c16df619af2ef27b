"""What a real Linux client sent, replayed: however it arrives, the answers are the same.

A capture is the stream from the client as it was, made by tests/kernel/scenarios/recording.py, or
by tests/kernel/test_emulated.py for older kernels.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client import only

from ram9.protocol.frames import HEADER
from ram9.protocol.messages import CODECS, Rlerror, Tclunk, Tversion
from ram9.server.connection import LARGE_FRAME_BYTES, Connection
from ram9.server.counters import Counters
from ram9.server.pieces import Piece
from ram9.server.session import Session
from ram9.storage.check import check
from ram9.storage.errors import Errno
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.bin"))


class Clock:
    """A second has passed whenever it is asked."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        self.now_ns += 1_000_000_000
        return self.now_ns


class Replay:
    """A server that is given bytes, as a transport would give them."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.bugs: list[Exception] = []
        limits = Limits(size_bytes=64 << 20, inodes=10_000)
        self.filesystem = FileSystem(limits, Clock())
        self.session = Session(only(self.filesystem), self.counters, on_bug=self.bugs.append)
        self.connection = Connection(self.session)
        self.sent = bytearray()
        self._rest = b""

    def receive(self, data: bytes) -> None:
        connection = self.connection
        while data and (arrival := connection.arrival) is not None:
            count = min(len(data), len(arrival.views[0]))
            arrival.views[0][:count] = data[:count]
            data = data[count:]
            if arrival.arrived(count):
                replies: list[Piece] = []
                connection.finish_arrival(replies)
                self._send(replies)
        data = self._rest + data
        view, stop = memoryview(data), 0
        while True:
            replies = []
            start, stop = stop, connection.answer(view, stop, len(data), replies)
            self._send(replies)
            if stop in (start, len(data)):
                break
        self._rest = data[stop:]
        size = connection.expects(view, stop, len(data)) if self._rest else 0
        if size >= LARGE_FRAME_BYTES and connection.begin_arrival(
            view, stop, len(data), bytearray(size)
        ):
            self._rest = b""

    def _send(self, replies: list[Piece]) -> None:
        self.sent += b"".join(replies)


def frames(stream: bytes) -> Iterator[bytes]:
    while stream:
        size = HEADER.unpack_from(stream)[0]
        yield stream[:size]
        stream = stream[size:]


def replayed(pieces: Iterator[bytes]) -> Replay:
    replay = Replay()
    for piece in pieces:
        replay.receive(piece)
    return replay


def pieces_of(stream: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    start = 0
    while start < len(stream):
        size = next(sizes)
        yield stream[start : start + size]
        start += size


def repeated(*sizes: int) -> Iterator[int]:
    while True:
        yield from sizes


def at_random(seed: int) -> Iterator[int]:
    chance = random.Random(seed)
    while True:
        yield int(chance.paretovariate(0.4)) % 9000 + 1


SPLITS = {
    "byte by byte": lambda: repeated(1),
    "by seven bytes": lambda: repeated(7),
    "header and body apart": lambda: repeated(7, 16, 1),
    "by prime numbers": lambda: repeated(2, 3, 1009, 5, 4099),
    "by pages": lambda: repeated(4096),
    "by 40,000 bytes": lambda: repeated(40_000),
    "at random 1": lambda: at_random(1),
    "at random 2": lambda: at_random(2),
}


@pytest.fixture(params=CAPTURES, ids=lambda path: path.stem)
def stream(request: pytest.FixtureRequest) -> bytes:
    path: Path = request.param
    return path.read_bytes()


def test_a_client_is_answered_whole_and_nothing_is_left_behind(stream: bytes) -> None:
    replay = replayed(frames(stream))
    assert replay.bugs == []
    assert not replay.counters.protocol_errors
    assert check(replay.filesystem) == []
    replay.connection.close()
    assert check(replay.filesystem) == []
    assert not replay.filesystem.orphans


def test_every_request_has_its_reply_in_order(stream: bytes) -> None:
    replay = replayed(frames(stream))
    asked = [HEADER.unpack_from(frame)[1:] for frame in frames(stream)]
    answered = [HEADER.unpack_from(frame)[1:] for frame in frames(bytes(replay.sent))]
    assert [tag for _, tag in asked] == [tag for _, tag in answered]
    for (kind, _), (reply, _) in zip(asked, answered, strict=True):
        assert reply in (kind + 1, Rlerror.number)
    assert asked[0][0] == Tversion.number
    assert asked[-1][0] == Tclunk.number


def test_a_client_only_meets_the_errors_that_it_expects(stream: bytes) -> None:
    replay = replayed(frames(stream))
    kinds = {errno for _, errno in replay.counters.errors}
    assert kinds <= {Errno.ENOENT, Errno.ENODATA, Errno.ENOTEMPTY}  # 6.1 asks to rmdir a full one
    for frame in frames(bytes(replay.sent)):
        number = HEADER.unpack_from(frame)[1]
        CODECS[number].decode(memoryview(frame), HEADER.size, len(frame))


@pytest.mark.parametrize("split", SPLITS)
def test_the_answers_do_not_depend_on_how_the_requests_arrive(stream: bytes, split: str) -> None:
    whole = replayed(frames(stream))
    other = replayed(pieces_of(stream, SPLITS[split]()))
    assert other.bugs == []
    assert bytes(other.sent) == bytes(whole.sent)
    assert check(other.filesystem) == []


def test_all_at_once_is_answered_as_one_after_another(stream: bytes) -> None:
    whole = replayed(frames(stream))
    other = replayed(iter([stream]))
    assert bytes(other.sent) == bytes(whole.sent)
    assert check(other.filesystem) == []


def test_a_client_that_leaves_anywhere_leaves_nothing_behind(stream: bytes) -> None:
    for end in range(0, len(stream), len(stream) // 150):
        replay = replayed(pieces_of(stream[:end], repeated(5000)))
        replay.connection.close()
        assert replay.bugs == []
        assert check(replay.filesystem) == []
        assert not replay.filesystem.orphans
