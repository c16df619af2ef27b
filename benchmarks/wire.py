"""The table at the wire: every case, in turns against every server."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.cases import CASES, make_files
from benchmarks.charts import Chart, Series
from benchmarks.client import RefusedError
from benchmarks.load import LoadError
from benchmarks.measuring import Sample, Setting, generator_processes, measure
from benchmarks.report import Cell, Progress, Report, Table, median, ratio
from benchmarks.servers import PEERS, Needs, Peer, running
from benchmarks.verifying import verify

DEPTHS: Final = (1, 4, 32)
CONNECTIONS: Final = (1, 8, 64)
TRANSPORTS: Final = ("tcp", "unix")
QUICK_ROUNDS, ROUNDS = 1, 5
QUICK_SECONDS, SECONDS = 0.15, 0.4
QUICK_SPAN_BYTES, SPAN_BYTES = 64 << 20, 1 << 30
FILE_BYTES_MAX: Final = 256 << 20  # of each of the files that cases share
OURS: Final = "ram9"


@dataclass(frozen=True, slots=True)
class Item:
    """One row of one table."""

    case: str
    transport: str
    connections: int
    depth: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: *items* in turn, each *rounds* times against every server."""

    items: Sequence[Item]
    rounds: int
    seconds: float
    span_bytes: int
    peers: Sequence[str] = tuple(PEERS)

    @property
    def seconds_planned(self) -> float:
        """About how long it takes: connecting and preparing take some time too."""
        return len(self.items) * self.rounds * len(self.peers) * (self.seconds + 0.1) + 10


def full_plan(
    cases: Sequence[str] = tuple(CASES),
    depths: Sequence[int] = DEPTHS,
    connections: Sequence[int] = CONNECTIONS,
    transports: Sequence[str] = TRANSPORTS,
) -> list[Item]:
    """Every case with every depth, number of connections and transport."""
    return [
        Item(case, transport, count, depth)
        for transport in transports
        for count in connections
        for case in cases
        for depth in depths
    ]


def quick_plan(cases: Sequence[str] = tuple(CASES)) -> list[Item]:
    """Every case with 1 and 32 in flight over one TCP connection; some over many, and unix."""
    some = [case for case in ("null", "read-4k", "write-4k") if case in cases]
    return [
        *full_plan(cases, (1, 32), (1,), ("tcp",)),
        *full_plan(some, (1,), (64,), ("tcp",)),
        *full_plan(some, (1,), (1,), ("unix",)),
    ]


def run_plan(plan: Plan, report: Report) -> None:
    """Measure everything that is planned and put it into the report."""
    needs = Needs(size_bytes=2 * plan.span_bytes + 2 * FILE_BYTES_MAX + (256 << 20))
    progress = Progress(len(plan.items) * plan.rounds * len(plan.peers))
    with running(plan.peers, needs) as (peers, absent):
        report.notes += [*UNITS, *absent]
        report.know({peer.name: peer.version for peer in peers})
        for peer in peers:
            _prepare(peer, plan)
        samples: dict[tuple[Item, str], list[Sample]] = {}
        for item in plan.items:
            for number in range(plan.rounds):
                for peer in peers:
                    progress.step(f"{_title(item)}: {peer.name}, round {number + 1}")
                    try:
                        sample = measure(peer, CASES[item.case], _setting(item, plan))
                    except (LoadError, RefusedError, OSError) as error:
                        report.note(f"{_title(item)}: {peer.name}: {error}")
                        continue
                    samples.setdefault((item, peer.name), []).append(sample)
                    report.raw.append(_raw(item, peer.name, sample))
        progress.end()
        names = [peer.name for peer in peers]
    report.tables += tables(plan.items, names, samples)
    report.charts += charts(plan.items, names, samples)


def _prepare(peer: Peer, plan: Plan) -> None:
    """Make the files, and check that the answers of every case are right."""
    with peer.connect() as client:
        make_files(client, _file_bytes(plan))
    for case in dict.fromkeys(item.case for item in plan.items):
        for transport in dict.fromkeys(item.transport for item in plan.items):
            verify(peer, CASES[case], transport, _file_bytes(plan))


def _file_bytes(plan: Plan) -> int:
    return min(plan.span_bytes, FILE_BYTES_MAX)


def _setting(item: Item, plan: Plan) -> Setting:
    is_growing = item.case.startswith(("append", "write-64k", "write-1m"))
    return Setting(
        transport=item.transport,
        connections=item.connections,
        depth=item.depth,
        seconds=plan.seconds,
        span_bytes=plan.span_bytes if is_growing else _file_bytes(plan),
        processes=generator_processes(item.connections),
    )


def _title(item: Item) -> str:
    return f"{item.case}, {item.depth} in flight, {item.connections} × {item.transport}"  # noqa: RUF001


def _raw(item: Item, peer: str, sample: Sample) -> dict[str, Any]:
    return asdict(item) | {
        "peer": peer,
        "requests": sample.tally.requests,
        "seconds": round(sample.tally.seconds, 6),
        "payload_bytes": sample.payload_bytes,
        "requests_each": sample.requests_each,
        "p50_us": round(sample.tally.percentile(0.50), 2),
        "p99_us": round(sample.tally.percentile(0.99), 2),
    }


def rate_of(item: Item, samples: Sequence[Sample]) -> float | None:
    """The median over the rounds: so many a second, or MB/s where a case moves much."""
    if CASES[item.case].is_bulk:
        return median([sample.megabytes_a_second for sample in samples])
    return median([sample.rate for sample in samples])


Samples = dict[tuple[Item, str], list[Sample]]


def tables(items: Sequence[Item], peers: Sequence[str], samples: Samples) -> list[Table]:
    """One table for each transport and number of connections."""
    found = []
    others = [name for name in peers if name != OURS]
    for transport, count in dict.fromkeys((item.transport, item.connections) for item in items):
        rows = [
            _row(item, peers, others, samples)
            for item in items
            if (item.transport, item.connections) == (transport, count)
        ]
        plural = "connection" if count == 1 else "connections"
        timed = _timed(peers)
        columns = [
            *("case", "in flight"),
            *peers,
            *(f"{OURS} / {name}" for name in others if OURS in peers),
            *(f"{name} {which}, µs" for name in timed for which in ("p50", "p99")),
        ]
        title = f"{count} {plural}, {'TCP' if transport == 'tcp' else 'unix socket'}"
        found.append(Table(title, columns, rows))
    return found


UNITS: Final = (
    "Requests a second; MB/s for 64 KiB and 1 MiB; files a second for the metadata cycle.",
    "1 MiB is 1,044,480 bytes, as Linux sends them, or as many whole pages as the server's msize "
    "has room for: 61,440 bytes where that is 64 KiB.",
    "In the metadata cycle a file is made, written, closed, found, looked at, closed and removed: "
    "8 requests, or 9 where the server does not know Tunlinkat.",
)


def _timed(peers: Sequence[str]) -> list[str]:
    """Those whose latencies the tables tell; the JSON has them all."""
    return [name for name in peers if name != "responder"]


def _row(item: Item, peers: Sequence[str], others: Sequence[str], samples: Samples) -> list[Cell]:
    rates = {name: rate_of(item, samples.get((item, name), [])) for name in peers}
    cells: list[Cell] = [CASES[item.case].title, item.depth, *rates.values()]
    if OURS in peers:
        cells += [ratio(rates[OURS], rates[name]) for name in others]
    for name in _timed(peers):
        tallies = [sample.tally for sample in samples.get((item, name), [])]
        cells += [median([tally.percentile(part) for tally in tallies]) for part in (0.5, 0.99)]
    return cells


def charts(items: Sequence[Item], peers: Sequence[str], samples: Samples) -> list[Chart]:
    """Over one TCP connection: small requests with 1 and 32 in flight, and bytes a second."""
    alone = [item for item in items if item.transport == "tcp" and item.connections == 1]
    small = [item for item in alone if not CASES[item.case].is_bulk]
    bulk = [item for item in alone if CASES[item.case].is_bulk]
    wanted = [
        (f"wire-small-{depth}", f"Small requests, {depth} in flight", "a second",
         [item for item in small if item.depth == depth])
        for depth in (1, 32)
    ]  # fmt: skip
    deepest = [item for item in bulk if item.depth == 4] or [
        item for item in bulk if item.depth == 32
    ]
    wanted.append(("wire-bulk", "Sequential reads and writes", "MB/s", deepest))
    return [
        Chart(
            name, f"{title}, one TCP connection", "", unit,
            [
                Series(peer, [item.case for item in chosen],
                       [rate_of(item, samples.get((item, peer), [])) for item in chosen])
                for peer in peers
            ],
        )
        for name, title, unit, chosen in wanted
        if chosen
    ]  # fmt: skip
