"""Files of mixed sizes come, grow and go for a long time: do the rate and the memory stay?"""

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.charts import Chart, Series
from benchmarks.client import ROOT, Client, pattern
from benchmarks.report import Progress, Report, Table, median, ratio
from benchmarks.servers import Needs, Peer, ram9
from ram9.protocol.constants import O_RDWR

SIZE_BYTES: Final = 1 << 30
PROGRAM: Final = (sys.executable, "-m", "benchmarks.watched")
FULL: Final = 0.85  # of the size: from here on, as much goes as comes
LESS: Final = 0.75  # and below this, nothing goes
LEAST_POWER, MOST_POWER = 7, 20
OPERATIONS_AT_ONCE: Final = 50
WORK: Final = 1


@dataclass(frozen=True, slots=True)
class Point:
    """One interval: *seconds* since the beginning, what was done in it, how memory lies after."""

    seconds: float
    operations_a_second: float
    megabytes_a_second: float
    server_us_an_operation: float
    files: int
    used_bytes: int
    resident_bytes: int
    warm_runs: int
    cold_runs: int
    largest_run_bytes: int


class Churn:
    """A client that keeps a file system nearly full of files that come, grow and go.

    *powers* bound what is written at a time: 2 to the power of something between, evenly.
    """

    def __init__(
        self,
        client: Client,
        seed: int = 9,
        size_bytes: int = SIZE_BYTES,
        powers: tuple[float, float] = (LEAST_POWER, MOST_POWER),
    ) -> None:
        self._client = client
        self._choose = random.Random(seed)
        self._size_bytes = size_bytes
        self._powers = powers
        self._files: list[tuple[bytes, int]] = []
        self._made = 0
        self._held_bytes = 0
        self._is_full = False
        self.operations = 0
        self.moved_bytes = 0

    @property
    def files(self) -> int:
        return len(self._files)

    def step(self) -> None:
        """Make a file, let one grow, or remove one."""
        if self._held_bytes > FULL * self._size_bytes:
            self._is_full = True
        elif self._held_bytes < LESS * self._size_bytes:
            self._is_full = False
        if self._files and self._choose.random() < (0.7 if self._is_full else 0.2):
            self._remove()
        elif self._files and self._choose.random() < 0.4:
            self._grow()
        else:
            self._create()
        self.operations += 1

    def _size(self) -> int:
        return int(2 ** self._choose.uniform(*self._powers)) - 24

    def _take(self) -> tuple[bytes, int]:
        """A file at random, taken out of the list."""
        number = self._choose.randrange(len(self._files))
        self._files[number], self._files[-1] = self._files[-1], self._files[number]
        return self._files.pop()

    def _write(self, name: bytes, offset: int) -> None:
        count = self._size()
        self._client.write(WORK, offset, pattern(0, count))
        self._client.clunk(WORK)
        self._files.append((name, offset + count))
        self._held_bytes += count
        self.moved_bytes += count

    def _create(self) -> None:
        name = b"churn-%09d" % self._made
        self._made += 1
        self._client.create(WORK, name)
        self._write(name, 0)

    def _grow(self) -> None:
        name, size = self._take()
        self._client.open(WORK, name, O_RDWR)
        self._write(name, size)

    def _remove(self) -> bytes:
        """Remove a file; return what its name was."""
        name, size = self._take()
        self._client.unlink(ROOT, name)
        self._held_bytes -= size
        return name


def told(peer: Peer, question: str = "layout") -> dict[str, Any]:
    """What a watched server answers to a question: see watched.py."""
    process = peer.process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{question}\n".encode())
    process.stdin.flush()
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def run_churn(seconds: float, points: int, report: Report) -> None:
    """Churn for so long; a point of the series for each interval."""
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        ram9(Path(folder), Needs(size_bytes=SIZE_BYTES, inodes=1 << 20), program=PROGRAM) as peer,
        peer.connect() as client,
    ):
        churn = Churn(client)
        progress = Progress(points)
        began = time.monotonic()
        series = []
        for number in range(points):
            progress.step(f"churn: {churn.files:,} files, {number} of {points} intervals")
            until = began + seconds * (number + 1) / points
            series.append(_interval(peer, churn, began, until))
        progress.end()
    conclude(series, report)


def _interval(peer: Peer, churn: Churn, began: float, until: float) -> Point:
    start, operations, moved = time.monotonic(), churn.operations, churn.moved_bytes
    taken_ns = peer.processor_ns()
    while time.monotonic() < until:
        for _ in range(OPERATIONS_AT_ONCE):
            churn.step()
    now = time.monotonic()
    done = max(1, churn.operations - operations)
    taken_ns = peer.processor_ns() - taken_ns
    found = told(peer)[""]
    return Point(
        seconds=now - began,
        operations_a_second=done / (now - start),
        megabytes_a_second=(churn.moved_bytes - moved) / (now - start) / 1e6,
        server_us_an_operation=taken_ns / 1000 / done,
        files=churn.files,
        resident_bytes=peer.resident_bytes(),
        **{key: found[key] for key in ("used_bytes", "warm_runs", "cold_runs")},
        largest_run_bytes=found["largest_run_bytes"],
    )


def conclude(series: Sequence[Point], report: Report) -> None:
    """The table of the quarters, the trend, and the charts over time."""
    report.raw += [asdict(point) for point in series]
    quarter = max(1, len(series) // 4)
    parts = [series[start : start + quarter] for start in range(0, len(series), quarter)][:4]
    rows = [[f"{part[-1].seconds:,.0f} s", *_medians(part)] for part in parts]
    second, last = parts[min(1, len(parts) - 1)], parts[-1]
    trends = zip(_medians(last), _medians(second), strict=True)
    rows.append(["last to second quarter", *(ratio(end, start) for end, start in trends)])
    columns = [
        *("until", "operations a second", "MB/s", "server µs an operation", "files", "used, MiB"),
        *("resident, MiB", "warm free runs", "cold free runs", "largest free run, MiB"),
    ]
    notes = [
        "Medians of the quarters. In the first one the file system fills, so the trend is the last "
        "one to the second."
    ]
    report.tables.append(Table("Churn", columns, rows, notes))
    report.charts += charts(series)


def _medians(part: Sequence[Point]) -> list[float | None]:
    return [
        median([point.operations_a_second for point in part]),
        median([point.megabytes_a_second for point in part]),
        median([point.server_us_an_operation for point in part]),
        median([float(point.files) for point in part]),
        median([point.used_bytes / (1 << 20) for point in part]),
        median([point.resident_bytes / (1 << 20) for point in part]),
        median([float(point.warm_runs) for point in part]),
        median([float(point.cold_runs) for point in part]),
        median([point.largest_run_bytes / (1 << 20) for point in part]),
    ]


def charts(series: Sequence[Point]) -> list[Chart]:
    """The rate, the memory and the fragments over time."""
    x = [point.seconds for point in series]

    def chart(name: str, title: str, unit: str, **lines: list[float | None]) -> Chart:
        drawn = [Series(label.replace("_", " "), x, y) for label, y in lines.items()]
        return Chart(f"churn-{name}", title, "seconds", unit, drawn, "lines")

    return [
        chart("rate", "Churn", "a second", operations=[p.operations_a_second for p in series]),
        chart(
            *("memory", "Memory in churn", "MiB"),
            used=[p.used_bytes / (1 << 20) for p in series],
            resident=[p.resident_bytes / (1 << 20) for p in series],
            largest_free_run=[p.largest_run_bytes / (1 << 20) for p in series],
        ),
        chart(
            *("runs", "Free runs in churn", "runs"),
            warm=[float(p.warm_runs) for p in series],
            cold=[float(p.cold_runs) for p in series],
        ),
    ]
