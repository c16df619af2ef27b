"""What clients do to each other: one that streams beside one that stats, and four that write."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.cases import CASES, ENDLESS, WORK, WRITES, Case, Prepared, Seat, make_files
from benchmarks.charts import Chart, Series
from benchmarks.client import Client, pattern
from benchmarks.load import LoadError
from benchmarks.measuring import Sample, Setting, generator_processes, measure
from benchmarks.phases import Writes, around
from benchmarks.report import Cell, Progress, Report, Table, median, ratio
from benchmarks.servers import PEERS, Needs, Peer, running

_fork = multiprocessing.get_context("fork")

SPAN_BYTES: Final = 256 << 20
STREAM_DEPTH: Final = 32
LEAD_SECONDS: Final = 0.3  # for which the stream runs before and after the other is measured
WRITERS: Final = (1, 2, 4)
ALONE: Final = "alone"


@dataclass(frozen=True, slots=True)
class SharingPlan:
    """How often and how long each pair of clients is measured."""

    rounds: int = 5
    seconds: float = 2.0
    peers: Sequence[str] = tuple(PEERS)

    @classmethod
    def quick(cls) -> "SharingPlan":
        return cls(1, 0.3)


def _overwrites(wanted_bytes: int, *, apart: bool) -> Callable[[Client, Seat], Prepared]:
    """Writes into the shared file, again and again: each connection its part, or all the same."""

    def prepare(client: Client, seat: Seat) -> Prepared:
        client.open(WORK, WRITES)
        count = client.payload_max(wanted_bytes)
        share = seat.share_bytes if apart else seat.span_bytes // max(WRITERS)
        start = seat.index * share if apart else 0
        places = around(count, share)
        return Prepared(
            [Writes(WORK, lambda number: start + places(number), pattern(0, count), ENDLESS)],
            count,
        )

    return prepare


def _nothing(_client: Client, _seat: Seat) -> None:
    """The connection is closed; the file stays."""


STREAMS: Final = {
    "read": CASES["read-1m"],
    "write": Case(
        "stream-write", "1 MiB writes", _overwrites(1 << 20, apart=True), _nothing, is_bulk=True
    ),
}


def run_fairness(plan: SharingPlan, report: Report) -> None:
    """Latency of a client that stats: alone, beside one that reads, beside one that writes."""
    with running(plan.peers, Needs(size_bytes=1 << 30)) as (peers, absent):
        report.know({peer.name: peer.version for peer in peers})
        report.notes += absent
        report.notes.append(
            f"One client sends getattr, one after the other; another has {STREAM_DEPTH} reads or "
            "writes of 1 MiB in flight."
        )
        for peer in peers:
            with peer.connect() as client:
                make_files(client, SPAN_BYTES)
        found: dict[tuple[str, str], list[tuple[Sample, Sample | None]]] = {}
        beside = [ALONE, *STREAMS]
        progress = Progress(plan.rounds * len(beside) * len(peers))
        for _ in range(plan.rounds):
            for stream in beside:
                for peer in peers:
                    progress.step(f"getattr, {stream}: {peer.name}")
                    pair = _pair(peer, STREAMS.get(stream), plan.seconds)
                    found.setdefault((peer.name, stream), []).append(pair)
        progress.end()
    _conclude_fairness([peer.name for peer in peers], beside, found, report)


def _pair(peer: Peer, stream: Case | None, seconds: float) -> tuple[Sample, Sample | None]:
    """The client that stats and, where there is one, the client that streams meanwhile."""
    setting = Setting(seconds=seconds, span_bytes=SPAN_BYTES)
    if stream is None:
        return measure(peer, CASES["getattr"], setting), None
    longer = Setting(depth=STREAM_DEPTH, seconds=seconds + 2 * LEAD_SECONDS, span_bytes=SPAN_BYTES)
    mine, theirs = _fork.Pipe(duplex=False)
    child = _fork.Process(target=_stream, args=(theirs, peer, stream, longer))
    child.start()
    theirs.close()
    time.sleep(LEAD_SECONDS)
    sample = measure(peer, CASES["getattr"], setting)
    streamed = mine.recv()
    child.join()
    if isinstance(streamed, LoadError):
        raise streamed
    return sample, streamed


def _stream(pipe: Any, peer: Peer, stream: Case, setting: Setting) -> None:
    try:
        pipe.send(measure(peer, stream, setting))
    except Exception as error:
        pipe.send(LoadError(str(error)))


def _conclude_fairness(
    peers: Sequence[str],
    beside: Sequence[str],
    found: dict[tuple[str, str], list[tuple[Sample, Sample | None]]],
    report: Report,
) -> None:
    rows: list[list[Cell]] = []
    medians: dict[tuple[str, str, float], float | None] = {}
    for peer in peers:
        for stream in beside:
            pairs = found[peer, stream]
            for part in (0.5, 0.99):
                values = [sample.tally.percentile(part) for sample, _ in pairs]
                medians[peer, stream, part] = median(values)
            rates = [other.megabytes_a_second for _, other in pairs if other is not None]
            halves = (medians[peer, stream, 0.5], medians[peer, stream, 0.99])
            alone = (medians[peer, ALONE, 0.5], medians[peer, ALONE, 0.99])
            ratios = [ratio(value, base) for value, base in zip(halves, alone, strict=True)]
            rows.append([peer, _beside(stream), *halves, *ratios, median(rates)])
            report.raw.append(
                {"peer": peer, "beside": stream, "p50_us": halves[0], "p99_us": halves[1]}
            )
    columns = ["server", "beside", "p50, µs", "p99, µs", "p50 to alone", "p99 to alone"]
    report.tables.append(Table("Latency of getattr", [*columns, "the other, MB/s"], rows))
    labels = [_beside(stream) for stream in beside]
    series = [Series(peer, labels, [medians[peer, s, 0.99] for s in beside]) for peer in peers]
    report.charts.append(Chart("fairness", "Latency of getattr, p99", "", "µs", series))


def _beside(stream: str) -> str:
    return "nobody" if stream == ALONE else f"{STREAM_DEPTH} {stream}s of 1 MiB"


def run_writers(plan: SharingPlan, report: Report) -> None:
    """What one, two and four writers of one file come to together."""
    cases = {
        (size, place): Case(
            f"writers-{size}", "", _overwrites(count, apart=place == "own part"), _nothing
        )
        for size, count in (("4 KiB", 4096), ("64 KiB", 1 << 16), ("1 MiB", 1 << 20))
        for place in ("own part", "same range")
    }
    with running(plan.peers, Needs(size_bytes=1 << 30)) as (peers, absent):
        report.know({peer.name: peer.version for peer in peers})
        report.notes += absent
        for peer in peers:
            with peer.connect() as client:
                make_files(client, SPAN_BYTES)
        rates: dict[tuple[str, str, str, int], list[float]] = {}
        progress = Progress(plan.rounds * len(cases) * len(WRITERS) * len(peers))
        for _ in range(plan.rounds):
            for (size, place), case in cases.items():
                for peer in peers:
                    for writers in WRITERS:
                        progress.step(f"{writers} writers, {size}, {place}: {peer.name}")
                        rate = _together(peer, case, writers, plan.seconds / 4)
                        rates.setdefault((peer.name, size, place, writers), []).append(rate)
        progress.end()
    _conclude_writers(rates, report)


def _together(peer: Peer, case: Case, writers: int, seconds: float) -> float:
    """MB/s of all writers, each of which has four requests in flight."""
    setting = Setting(
        connections=writers,
        depth=4,
        seconds=seconds,
        span_bytes=SPAN_BYTES,
        processes=generator_processes(writers),
    )
    return measure(peer, case, setting).megabytes_a_second


def _conclude_writers(rates: dict[tuple[str, str, str, int], list[float]], report: Report) -> None:
    rows: list[list[Cell]] = []
    for peer, size, place in dict.fromkeys(key[:3] for key in rates):
        found = [median(rates[peer, size, place, writers]) for writers in WRITERS]
        rows.append([peer, size, place, *found, ratio(found[-1], found[0])])
        report.raw.append({"peer": peer, "size": size, "place": place, "megabytes": found})
    columns = ["server", "requests", "into", *(f"{n}, MB/s" for n in WRITERS), "4 to 1"]
    report.tables.append(Table("Writers of one file, four in flight each", columns, rows))
