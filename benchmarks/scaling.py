"""Whether an operation costs the same however large things are: files, directories, their number.

Costs are microseconds for each operation with many in flight, so that they are the server's and not
the way to it. All sizes of a series are measured in turn, round after round, so that a drift of the
machine hits all alike. The number of files cannot be: there a second server with ten files is
measured beside the one that fills.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.cases import ENDLESS, GETATTR_REPLY_BYTES, QID_REPLY_BYTES, WORK
from benchmarks.charts import Chart, Series
from benchmarks.client import ROOT, Client, pattern
from benchmarks.load import Phase, Window, run
from benchmarks.phases import Ready, Writes, listed, one_after_the_other, reads, same
from benchmarks.report import Cell, Progress, Report, Table, median
from benchmarks.servers import Needs, Peer, ram9
from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import GETATTR_BASIC, O_RDONLY
from ram9.protocol.messages import (
    Rclunk,
    Rgetattr,
    Rlopen,
    Rmknod,
    Rreaddir,
    Rsetattr,
    Runlinkat,
    Rwalk,
    Tclunk,
    Tgetattr,
    Tlopen,
    Tmknod,
    Treaddir,
    Tsetattr,
    Tunlinkat,
    Twalk,
    decode_entries,
)

DEPTH: Final = 32
UNIT_BYTES: Final = 512  # that the smallest file has room for
APPENDS: Final = 2000  # at a time; then the file gets its size back
PLACES: Final = 4096  # that are read and written; in a sparse file, those that hold data
DENSE_BYTES_MAX: Final = 256 << 20  # a larger file is sparse
FILES_IN_A_FOLDER: Final = 1000
FIRST_FID: Final = 64
GROUPS: Final = 128  # of names that are looked up, each as many as are in flight
PAGES: Final = 16  # places in a directory from which ten names are listed
PAGE_BYTES: Final = 4096
LISTED_BYTES: Final = 320  # room for ten names as file_name() makes them
TEN_NAMES_BYTES_MIN: Final = 300  # of which two may be shorter: . and ..
S_IFREG: Final = 0o100644
SETATTR_SIZE: Final = 8  # P9_ATTR_SIZE, include/net/9p/9p.h

FILE_SIZES: Final = (1 << 10, 32 << 10, 1 << 20, 32 << 20, 1 << 30, 16 << 30)
COUNTS: Final = (10, 100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """How far the series go, and how long each cost is measured."""

    file_sizes: Sequence[int] = FILE_SIZES
    counts: Sequence[int] = COUNTS
    rounds: int = 7
    seconds: float = 0.3

    @classmethod
    def quick(cls) -> "ScalingPlan":
        return cls(FILE_SIZES[:4], COUNTS[:4], 3, 0.05)


@dataclass(frozen=True, slots=True)
class Operation:
    """*phases* again and again; each counts as *requests_each* requests. *after* tidies up."""

    name: str
    phases: Callable[[], Iterable[Phase]]
    requests_each: int = 1
    after: Callable[[], None] = lambda: None


Costs = dict[tuple[int, str], list[float]]  # by size and operation: µs, one for each round


def cost(client: Client, operation: Operation, seconds: float) -> float:
    """Microseconds for each operation, with many in flight."""
    tally = run([Window(client.socket, operation.phases(), DEPTH)], seconds)
    operation.after()
    return 1e6 * tally.seconds * operation.requests_each / max(1, tally.requests)


def run_scaling(plan: ScalingPlan, report: Report) -> None:
    """All series, into the report."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        needs = Needs(size_bytes=6 << 30, inodes=3 * max(plan.counts) + 100_000)
        large = stack.enter_context(ram9(folder, needs))
        file_sizes(plan, large, report)
        directory_sizes(plan, large, report)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        few = stack.enter_context(ram9(folder, needs, "few"))
        many = stack.enter_context(ram9(folder, needs, "many"))
        file_counts(plan, few, many, report)


def file_sizes(plan: ScalingPlan, peer: Peer, report: Report) -> None:
    """Reads, writes, appends, attributes and look-ups of files of several sizes."""
    with peer.connect() as client:
        points = []
        for number, size in enumerate(plan.file_sizes):
            fid, name = FIRST_FID + number, b"size-%d" % size
            client.create(fid, name)
            points.append((size, _file_operations(client, fid, name, size)))
        costs = _measure(plan, client, points, "file size")
        for number, size in enumerate(plan.file_sizes):
            client.remove(FIRST_FID + number)
            report.raw += _raw("file size", size, costs)
    _conclude(report, "file-size", "Cost by file size", "bytes", costs)


def _file_operations(client: Client, fid: int, name: bytes, size: int) -> list[Operation]:
    places = _fill(client, fid, size)

    def cut() -> None:
        client.ask(Tsetattr(fid, SETATTR_SIZE, 0, 0, 0, size, 0, 0, 0, 0), Rsetattr)

    unit = pattern(0, UNIT_BYTES)
    appends = Writes(fid, one_after_the_other(UNIT_BYTES, size), unit, APPENDS)
    return [
        Operation("read", lambda: [reads(fid, places, UNIT_BYTES, ENDLESS)]),
        Operation("write", lambda: [Writes(fid, listed(places), unit, ENDLESS)]),
        Operation("append", lambda: [appends], after=cut),
        _getattr(fid),
        _lookups(client, [(name,)] * DEPTH * GROUPS),
    ]


def _fill(client: Client, fid: int, size: int) -> list[int]:
    """Write the file, or some places all over it where it is large; return where data is."""
    choose = random.Random(size)
    units = size // UNIT_BYTES
    if size <= DENSE_BYTES_MAX:
        client.fill(fid, size)
        return [UNIT_BYTES * choose.randrange(units) for _ in range(PLACES)]
    step = size // PLACES
    for offset in range(0, size, step):
        client.write(fid, offset, pattern(offset, PAGE_BYTES))
    client.write(fid, size - UNIT_BYTES, pattern(0, UNIT_BYTES))
    places = [
        step * number + UNIT_BYTES * choose.randrange(PAGE_BYTES // UNIT_BYTES)
        for number in range(PLACES)
    ]
    choose.shuffle(places)
    return places


def _getattr(fid: int) -> Operation:
    request = Tgetattr(fid, GETATTR_BASIC)
    return Operation("getattr", lambda: [same(request, ENDLESS, Rgetattr, GETATTR_REPLY_BYTES)])


def _step(requests: Sequence[Message], reply: type[Message], reply_bytes: int) -> Phase:
    frames = [frame(request, tag) for tag, request in enumerate(requests)]
    return Ready(frames, len(frames), reply_bytes, reply.number)


def _forgiven(client: Client, requests: Sequence[Message]) -> Callable[[], None]:
    """What tidies up after time was over in the middle: the requests, of which some are refused."""

    def after() -> None:
        for request in requests:
            client.send(request)
            client.receive()

    return after


def _lookups(
    client: Client,
    paths: Sequence[tuple[bytes, ...]],
    directory: int = ROOT,
    name: str = "lookup + clunk",
) -> Operation:
    """Walk to the paths, all of one length and depth, and clunk what was found."""
    fids = [FIRST_FID + 64 + number for number in range(DEPTH)]
    clunked = [Tclunk(fid) for fid in fids]
    clunks = _step(clunked, Rclunk, 7)
    phases: list[Phase] = []
    for start in range(0, len(paths), DEPTH):
        pairs = zip(fids, paths[start : start + DEPTH], strict=True)
        walks = [Twalk(directory, fid, path) for fid, path in pairs]
        phases += [_step(walks, Rwalk, 9 + 13 * len(paths[0])), clunks]
    return Operation(name, lambda: cycle(phases), 2, _forgiven(client, clunked))


def _creations(client: Client, directory: int) -> Operation:
    """Make files and remove them again."""
    names = [b"new-%04d" % number for number in range(DEPTH)]
    made = [Tmknod(directory, name, S_IFREG, 0, 0, 0) for name in names]
    removed = [Tunlinkat(directory, name, 0) for name in names]
    phases = [_step(made, Rmknod, QID_REPLY_BYTES), _step(removed, Runlinkat, 7)]
    return Operation("create + remove", lambda: cycle(phases), 2, _forgiven(client, removed))


def _measure(
    plan: ScalingPlan, client: Client, points: Sequence[tuple[int, list[Operation]]], what: str
) -> Costs:
    costs: Costs = {}
    progress = Progress(plan.rounds * len(points))
    for _ in range(plan.rounds):
        for size, operations in points:
            progress.step(f"{what} {size:,}")
            _measure_once(plan, client, size, operations, costs)
    progress.end()
    return costs


def _measure_once(
    plan: ScalingPlan, client: Client, size: int, operations: list[Operation], into: Costs
) -> None:
    for operation in operations:
        found = cost(client, operation, plan.seconds)
        into.setdefault((size, operation.name), []).append(found)


def file_name(number: int) -> bytes:
    return b"f%07d" % number


def make_entries(client: Client, directory: int, first: int, count: int) -> None:
    """Make *count* empty files in a directory."""
    step = 50_000
    for start in range(first, first + count, step):
        end = min(start + step, first + count)
        requests = [
            Tmknod(directory, file_name(number), S_IFREG, 0, 0, 0) for number in range(start, end)
        ]
        frames = [frame(request, tag % 4096) for tag, request in enumerate(requests)]
        phase = Ready(frames, len(frames), QID_REPLY_BYTES, Rmknod.number)
        run([Window(client.socket, [phase], 4 * DEPTH)], 600)


def _chosen(size: int) -> list[int]:
    """Numbers of files that are looked up, chosen from all: what is looked at is in no cache once
    they are many."""
    choose = random.Random(size)
    return [choose.randrange(size) for _ in range(DEPTH * GROUPS)]


def _neighbours(size: int) -> list[int]:
    """As many that were made one after the other: so it is seen whether there are more steps."""
    first = size // 2
    return [(first + number) % size for number in range(DEPTH * GROUPS)]


def directory_sizes(plan: ScalingPlan, peer: Peer, report: Report) -> None:
    """Look-ups, creations and pages of directories with several numbers of names."""
    with peer.connect() as client:
        points = []
        for number, size in enumerate(plan.counts):
            fid = FIRST_FID + number
            client.make_directory(fid, b"directory-%d" % size)
            make_entries(client, fid, 0, size)
            paths = [(file_name(number),) for number in _chosen(size)]
            near = [(file_name(number),) for number in _neighbours(size)]
            operations = [
                _lookups(client, paths, fid),
                _lookups(client, near, fid, "the same of neighbours"),
                _creations(client, fid),
                _pages(client, fid),
            ]
            points.append((size, operations))
        costs = _measure(plan, client, points, "directory of")
        for size in plan.counts:
            report.raw += _raw("directory size", size, costs)
    _conclude(report, "directory-size", "Cost by directory size", "names", costs)


def _pages(client: Client, directory: int) -> Operation:
    """List ten names, from cookies all over the directory on."""
    fid = directory + 32
    client.walk(directory, fid)
    client.ask(Tlopen(fid, O_RDONLY), Rlopen)
    cookies, offset = [0], 0
    while data := client.ask(Treaddir(fid, offset, client.msize - 24), Rreaddir).data:
        entries = decode_entries(memoryview(bytes(data)))
        cookies += [entry.offset for entry in entries[::100]]
        offset = entries[-1].offset
    step = max(1, len(cookies) // PAGES)
    phases: list[Phase] = []
    for cookie in cookies[::step][:PAGES]:
        request = Treaddir(fid, cookie, LISTED_BYTES)
        length = len(client.ask(request, Rreaddir).data)
        if length >= TEN_NAMES_BYTES_MIN:
            frames = [frame(request, tag) for tag in range(DEPTH)]
            phases.append(Ready(frames, DEPTH, 11 + length, Rreaddir.number))
    return Operation("list ten names", lambda: cycle(phases))


def file_counts(plan: ScalingPlan, few: Peer, many: Peer, report: Report) -> None:
    """Look-ups, creations and attributes on a server that fills, beside one that does not."""
    costs: Costs = {}
    base: Costs = {}
    with few.connect() as small, many.connect() as large:
        _make_files(small, 0, COUNTS[0])
        made = 0
        progress = Progress(plan.rounds * len(plan.counts))
        for size in plan.counts:
            _make_files(large, made, size)
            made = size
            pairs = (
                (small, _count_operations(small, COUNTS[0]), base),
                (large, _count_operations(large, size), costs),
            )
            for _ in range(plan.rounds):
                progress.step(f"{size:,} files")
                for client, operations, into in pairs:
                    _measure_once(plan, client, size, operations, into)
            small.clunk(FIRST_FID)
            large.clunk(FIRST_FID)
            report.raw += _raw("number of files", size, costs) + _raw("beside", size, base)
    progress.end()
    _conclude(report, "files", "Cost by number of files", "files", costs, base)


def _folder_name(number: int) -> bytes:
    return b"d%05d" % number


def _make_files(client: Client, made: int, wanted: int) -> None:
    """Have *wanted* files, in folders of a thousand; *made* are there."""
    for folder in range(made // FILES_IN_A_FOLDER, -(-wanted // FILES_IN_A_FOLDER)):
        first = max(made, folder * FILES_IN_A_FOLDER)
        end = min(wanted, (folder + 1) * FILES_IN_A_FOLDER)
        if first == folder * FILES_IN_A_FOLDER:
            client.make_directory(WORK, _folder_name(folder))
        else:
            client.walk(ROOT, WORK, _folder_name(folder))
        make_entries(client, WORK, first, end - first)
        client.clunk(WORK)


def _count_operations(client: Client, size: int) -> list[Operation]:
    """Those of a server with *size* files."""
    paths, near = (
        [(_folder_name(n // FILES_IN_A_FOLDER), file_name(n)) for n in numbers]
        for numbers in (_chosen(size), _neighbours(size))
    )
    client.walk(ROOT, FIRST_FID, _folder_name(0))
    return [
        _lookups(client, paths),
        _lookups(client, near, name="the same of neighbours"),
        _creations(client, FIRST_FID),
        _getattr(FIRST_FID),
    ]


def _raw(series: str, size: int, costs: Costs) -> list[dict[str, object]]:
    return [
        {"series": series, "size": size, "operation": name, "us": [round(us, 3) for us in found]}
        for (measured, name), found in costs.items()
        if measured == size
    ]


def _conclude(
    report: Report,
    name: str,
    title: str,
    unit: str,
    costs: Costs,
    base: Costs | None = None,
) -> None:
    """The table and the chart of one series; ratios are to the smallest, or to *base*."""
    names = list(dict.fromkeys(operation for _, operation in costs))
    sizes = list(dict.fromkeys(size for size, _ in costs))
    smallest = sizes[0]
    rows: list[list[Cell]] = []
    ratios: dict[str, list[float | None]] = {each: [] for each in names}
    for size in sizes:
        row: list[Cell] = [f"{size:,}"]
        for each in names:
            found = costs[size, each]
            compared = costs[smallest, each] if base is None else base[size, each]
            ratios[each].append(median([a / b for a, b in zip(found, compared, strict=True)]))
            row += [median(found), ratios[each][-1]]
        rows.append(row)
    against = "to the smallest" if base is None else "to ten files"
    columns = [unit, *(column for each in names for column in (f"{each}, µs", against))]
    report.tables.append(Table(f"{title}, {DEPTH} in flight", columns, rows))
    series = [Series(each, [float(size) for size in sizes], ratios[each]) for each in names]
    report.charts.append(
        Chart(f"scaling-{name}", title, unit, f"cost, {against}", series, "lines", x_is_log=True)
    )
