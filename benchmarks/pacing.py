"""What a request costs a server whose client thinks between its requests, as programs do."""

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.client import ROOT, Client, pattern
from benchmarks.load import LoadError
from benchmarks.report import Cell, Progress, Report, Table, median, ratio
from benchmarks.servers import Needs, Peer, running
from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import GETATTR_BASIC, O_RDWR, SETATTR_MODE
from ram9.protocol.messages import (
    Rlerror,
    Tclunk,
    Tgetattr,
    Tlcreate,
    Tremove,
    Tsetattr,
    Twalk,
    Twrite,
    Txattrwalk,
)

PEERS: Final = ("diod", "ram9")
THOUGHTS_US: Final = (0, 30, 100, 200)
REPLY_BYTES_MAX: Final = 4096
SIZE: Final = struct.Struct("<I")
FILE, SECOND, VALUE = 1, 2, 3  # fids
NAME: Final = b"bench-paced"
UNTAR: Final = "a file of an untar"

SEQUENCES: Final[dict[str, Sequence[Message]]] = {
    "null (a walk of no names)": [Twalk(ROOT, ROOT, ())],
    "getattr": [Tgetattr(ROOT, GETATTR_BASIC)],
    UNTAR: [
        Twalk(ROOT, FILE, ()),
        Tlcreate(FILE, NAME, O_RDWR, 0o644, 0),
        Tgetattr(FILE, GETATTR_BASIC),
        Txattrwalk(FILE, VALUE, b"security.capability"),  # there is none
        Twrite(FILE, 0, pattern(0, 4107)),
        Tsetattr(FILE, SETATTR_MODE, 0o600, 0, 0, 0, 0, 0, 0, 0),
        Tclunk(FILE),
        Twalk(ROOT, SECOND, (NAME,)),
        Tremove(SECOND),
    ],
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long each is measured; how long the client thinks."""

    rounds: int = 5
    seconds: float = 1.0
    thoughts_us: Sequence[int] = THOUGHTS_US

    @classmethod
    def quick(cls) -> "Pace":
        return cls(1, 0.1)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request: processor time of the server, and how long the client waited."""

    server_us: float
    waited_us: float


def run_pacing(pace: Pace, report: Report) -> None:
    """Measure each sequence with each thought."""
    with running(PEERS, Needs(size_bytes=1 << 30)) as (peers, absent):
        report.know({peer.name: peer.version for peer in peers})
        report.notes += absent
        progress = Progress(pace.rounds * len(SEQUENCES) * len(pace.thoughts_us) * len(peers))
        found: dict[tuple[str, int, str], list[Cost]] = {}
        for _ in range(pace.rounds):
            for title in SEQUENCES:
                for thought_us in pace.thoughts_us:
                    for peer in peers:
                        progress.step(f"{title}, {thought_us} µs of thought: {peer.name}")
                        cost = paced(peer, SEQUENCES[title], thought_us, pace.seconds)
                        found.setdefault((title, thought_us, peer.name), []).append(cost)
        progress.end()
    conclude(found, [peer.name for peer in peers], pace, report)


def conclude(
    found: dict[tuple[str, int, str], list[Cost]],
    names: Sequence[str],
    pace: Pace,
    report: Report,
) -> None:
    """The table: medians of the rounds."""
    rows: list[list[Cell]] = []
    for title in SEQUENCES:
        for thought_us in pace.thoughts_us:
            costs = [found[title, thought_us, name] for name in names]
            server = [median([cost.server_us for cost in each]) for each in costs]
            waited = [median([cost.waited_us for cost in each]) for each in costs]
            rows.append([title, thought_us, *server, *waited])
            if len(names) > 1:
                rows[-1] += [ratio(server[-1], server[0]), ratio(waited[-1], waited[0])]
            report.raw.append({"sequence": title, "thought_us": thought_us, "row": rows[-1]})
    columns = ["requests", "client thinks, µs"]
    columns += [f"{name} server, µs" for name in names] + [
        f"{name} answers in, µs" for name in names
    ]
    if len(names) > 1:
        columns += [f"{names[-1]} / {names[0]}, server", f"{names[-1]} / {names[0]}, answers"]
    notes = [
        "For each request: processor time of the server, of all its threads, and how long the "
        "client waited. It asks one thing after the other and stays busy in between."
    ]
    report.tables.append(Table("One request at a time", columns, rows, notes))


def paced(peer: Peer, requests: Sequence[Message], thought_us: int, seconds: float) -> Cost:
    """Ask again and again, with so much thought after each answer. Raises LoadError."""
    frames = [frame(request, 1) for request in requests]
    with peer.connect() as client:
        _check(client, requests)
        before = peer.processor_ns()
        asked, waited_ns = _ask(client, frames, 1000 * thought_us, int(1e9 * seconds))
        taken_ns = peer.processor_ns() - before
    return Cost(taken_ns / asked / 1000, waited_ns / asked / 1000)


def _check(client: Client, requests: Sequence[Message]) -> None:
    """Ask once, and look at the answers."""
    for request in requests:
        client.send(request)
        _, reply = client.receive()
        if isinstance(reply, Rlerror) and not isinstance(request, Txattrwalk):
            raise LoadError(f"{type(request).__name__} was refused with errno {reply.ecode}")


def _ask(
    client: Client, frames: Sequence[bytes], thought_ns: int, nanoseconds: int
) -> tuple[int, int]:
    """How many requests were asked, and for how long answers were waited for, in ns."""
    connection, view = client.socket, memoryview(bytearray(REPLY_BYTES_MAX))
    now = time.perf_counter_ns
    asked = waited_ns = 0
    until = now() + nanoseconds
    while now() < until:
        for each in frames:
            began = now()
            connection.sendall(each)
            count = connection.recv_into(view)
            ended = now()
            waited_ns += ended - began
            if not count or SIZE.unpack_from(view)[0] != count:
                raise LoadError(f"{count} bytes are not one reply")
            while now() - ended < thought_ns:
                pass
        asked += len(frames)
    return asked, waited_ns
