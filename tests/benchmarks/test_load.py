"""The load generator counts what was answered, and nothing else."""

import socket
import threading

import pytest
from benchmarks.cases import CASES, Case, Prepared, Seat, make_files
from benchmarks.client import ROOT, Client, RefusedError
from benchmarks.load import LoadError, Tally, Window, run
from benchmarks.measuring import Setting, measure
from benchmarks.phases import Ready, Writes, around, one_after_the_other, reads, same
from benchmarks.servers import Peer
from benchmarks.verifying import WrongAnswerError, decoded, verify, verify_phase
from tests.running_server import RunningServer

from ram9.protocol.codec import frame
from ram9.protocol.constants import GETATTR_BASIC, NOTAG
from ram9.protocol.messages import (
    Rgetattr,
    Rread,
    Rversion,
    Rwalk,
    Tclunk,
    Tgetattr,
    Tread,
    Tversion,
    Twalk,
    Twrite,
)

MIB = 1 << 20
SPAN = 4 * MIB
closes_with_replies_unread = pytest.mark.usefixtures("caplog")  # of which the server complains
PATIENT = 60.0  # seconds, where the number of requests ends a run and not the time


def bounded(case: Case, requests: int) -> Case:
    """The case, with so many requests for each connection."""

    def prepare(client: Client, seat: Seat) -> Prepared:
        prepared = case.prepare(client, seat)
        phases = list(zip(range(64), prepared.phases, strict=False))
        for _, phase in phases:
            phase.requests = min(phase.requests, requests)
        return Prepared(
            [phase for _, phase in phases], prepared.payload_bytes, prepared.requests_each
        )

    return Case(case.name, case.title, prepare, case.clean, case.is_bulk)


@pytest.mark.parametrize("depth", [1, 4, 32])
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_the_server_counts_as_many_requests_as_the_generator(
    server: RunningServer, peer: Peer, transport: str, depth: int
) -> None:
    before = server.counters.requests[Tgetattr.number]
    setting = Setting(transport=transport, depth=depth, seconds=PATIENT, span_bytes=SPAN)
    sample = measure(peer, bounded(CASES["getattr"], 1000), setting)
    assert sample.tally.requests == 1000
    assert server.counters.requests[Tgetattr.number] - before == 1000
    assert sum(count for _, count in sample.tally.latencies) == 1000


@pytest.mark.parametrize("processes", [1, 2])
def test_connections_and_processes_add_up(
    server: RunningServer, peer: Peer, processes: int
) -> None:
    setting = Setting(connections=8, depth=4, seconds=PATIENT, span_bytes=SPAN, processes=processes)
    sample = measure(peer, bounded(CASES["null"], 200), setting)
    assert sample.tally.requests == 8 * 200
    server.wait_for_connections(0)


@pytest.mark.parametrize("processes", [1, 3])
def test_what_goes_wrong_in_one_process_is_told(peer: Peer, processes: int) -> None:
    """The file to be read is not there; of several processes the others just stop waiting."""
    setting = Setting(connections=3, seconds=PATIENT, span_bytes=SPAN, processes=processes)
    with pytest.raises((LoadError, RefusedError), match="refused with ENOENT"):
        measure(peer, CASES["read-4k"], setting)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("connections", [1, 3])
def test_every_case_can_be_measured_and_leaves_nothing_behind(
    server: RunningServer, peer: Peer, name: str, connections: int
) -> None:
    with peer.connect() as client:
        make_files(client, SPAN)
    server.wait_for_connections(0)
    before = server.filesystem.budget.used_inodes
    verify(peer, CASES[name], "unix", SPAN)
    setting = Setting(connections=connections, depth=4, seconds=0.02, span_bytes=SPAN, processes=1)
    sample = measure(peer, CASES[name], setting)
    assert sample.tally.requests > 0
    assert sample.rate * sample.requests_each == sample.tally.rate
    server.wait_for_connections(0)
    assert server.filesystem.budget.used_inodes == before
    assert server.violations() == []


def test_what_is_written_is_what_was_meant_to_be(server: RunningServer, peer: Peer) -> None:
    payload = memoryview(bytes(range(256)) * 16)
    with peer.connect() as client:
        client.create(1, b"file")
        writes = Writes(1, one_after_the_other(len(payload)), payload, 600)
        assert run([Window(client.socket, [writes], 32)], PATIENT).requests == 600
        found = client.read(1, 599 * len(payload), 2 * len(payload))
        assert found == payload
        for number in (0, 255, 256, 300):
            assert client.read(1, number * len(payload), len(payload)) == payload
    assert server.violations() == []


def test_large_writes_are_sent_in_pieces_that_fit_together(peer: Peer) -> None:
    payload = memoryview(bytes(range(256)) * 1024)
    with peer.connect() as client:
        client.create(1, b"file")
        writes = Writes(1, around(len(payload), 4 * len(payload)), payload, 50)
        assert run([Window(client.socket, [writes], 4)], PATIENT).requests == 50
        for number in range(4):
            assert client.read(1, number * len(payload), len(payload)) == payload


@closes_with_replies_unread
def test_a_refusal_is_not_counted_as_an_answer(peer: Peer) -> None:
    with peer.connect() as client:
        phase = same(Tgetattr(77, GETATTR_BASIC), 100, Rgetattr, 160)
        with pytest.raises(LoadError, match="refused with errno"):
            run([Window(client.socket, [phase], 4)], PATIENT)


@closes_with_replies_unread
def test_a_refusal_in_the_middle_is_found(peer: Peer) -> None:
    """The length of Rlerror is that of Rwrite, so that only the type tells them apart."""
    good, bad = Twalk(ROOT, ROOT, ()), Twalk(99, 99, ())
    frames = [frame(bad if tag == 20 else good, tag) for tag in range(32)]
    with peer.connect() as client, pytest.raises(LoadError):
        run([Window(client.socket, [Ready(frames, 32, 9, Rwalk.number)], 32)], PATIENT)


@closes_with_replies_unread
def test_a_short_read_is_found(peer: Peer) -> None:
    with peer.connect() as client:
        client.create(1, b"short")
        client.write(1, 0, b"abc")
        with pytest.raises(LoadError):
            run([Window(client.socket, [reads(1, [0], 4, 64)], 32)], PATIENT)


def test_a_server_that_goes_away_is_an_error() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        window = Window(mine, [same(Tclunk(1), 10, Rwalk, 9)], 1)
        threading.Timer(0, theirs.close).start()
        with pytest.raises((LoadError, OSError)):
            run([window], PATIENT)


def test_replies_cut_anywhere_are_counted_once() -> None:
    """Sent byte by byte, 3 replies are 3 replies."""
    mine, theirs = socket.socketpair()
    replies = b"".join(frame(Rwalk(()), tag) for tag in range(3))
    with mine, theirs:
        window = Window(mine, [same(Twalk(0, 0, ()), 3, Rwalk, 9)], 3)
        window.fill()
        for number in range(len(replies)):
            assert window.answered == number // 9
            theirs.sendall(replies[number : number + 1])
            window.receive()
        assert window.is_finished
        assert sum(count for _, count in window.latencies) == 3


def test_frames_in_flight_have_tags_and_offsets_of_their_own() -> None:
    writes = Writes(5, one_after_the_other(10), memoryview(b"x" * 10), 1000)
    sent = list(decoded(b"".join(bytes(piece) for piece in writes.pieces(250, 20))))
    assert len({tag for tag, _ in sent}) == 20
    assert [m.offset for _, m in sent if isinstance(m, Twrite)] == [10 * n for n in range(250, 270)]
    again = reads(5, [0, 100, 200], 50, 1000)
    sent = list(decoded(b"".join(bytes(piece) for piece in again.pieces(2, 4))))
    assert [m.offset for _, m in sent if isinstance(m, Tread)] == [200, 0, 100, 200]


def test_percentiles_count_requests_not_batches() -> None:
    tally = Tally(100, 1.0, [(1_000, 98), (50_000, 1), (90_000, 1)])
    assert tally.percentile(0.5) == 1
    assert tally.percentile(0.99) == 50
    assert tally.percentile(1.0) == 90
    assert Tally().percentile(0.5) == 0


@closes_with_replies_unread
def test_the_checking_pass_finds_other_bytes(peer: Peer) -> None:
    """The file holds zeros, not the pattern that filled files hold."""
    with peer.connect() as client:
        client.create(1, b"zeros")
        client.write(1, 0, bytes(4096))
        with pytest.raises(WrongAnswerError, match="otherwise"):
            verify_phase(client, reads(1, [0], 4096, 4), keeps_data=True)


def test_the_checking_pass_finds_a_reply_of_another_kind(peer: Peer) -> None:
    with peer.connect() as client, pytest.raises(WrongAnswerError, match="answered with"):
        verify_phase(client, same(Tclunk(55), 1, Rread, 11), keeps_data=True)


def test_payloads_are_whole_pages_of_what_a_message_has_room_for(peer: Peer) -> None:
    with peer.connect() as client:
        assert client.payload_max(65536) == 65536
        assert client.payload_max(MIB) == 1_044_480
    with Client(peer.addresses["tcp"], msize=65536) as client:
        assert client.payload_max(65536) == 61440
        assert client.payload_max(4107) == 4107


def test_a_stranger_that_answers_with_nonsense_is_refused() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        client = object.__new__(Client)
        client.socket, client.msize = mine, 8192
        theirs.sendall(frame(Rwalk(()), NOTAG) + b"HTTP/1.1 400")
        for reason in "was answered with", "bytes and type":
            with pytest.raises(ConnectionError, match=reason):
                client.ask(Tversion(8192, b"9P2000.L"), Rversion, NOTAG)
