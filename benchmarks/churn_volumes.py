"""Churn over several volumes of one server at once, and over scratch volumes that come and go.

Do the rate, the memory and the runs that files lie in stay, and is all as it should be in the end?
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from benchmarks.charts import Chart, Series
from benchmarks.churn import OPERATIONS_AT_ONCE, PROGRAM, WORK, Churn, told
from benchmarks.client import Client
from benchmarks.report import Progress, Report, Table, median, ratio
from benchmarks.servers import Needs, Peer, ram9

MIB: Final = 1 << 20
VOLUMES_MAX: Final = 16
TOTAL_BYTES: Final = 512 * MIB  # of all volumes but scratch ones
DATA_SHARE: Final = 0.85  # of a volume: what churn takes for its size; names and inodes have room


class Kind(NamedTuple):
    """What is written at a time, as Churn has it, and how many operations it gets in a turn."""

    powers: tuple[float, float]
    operations: int = OPERATIONS_AT_ONCE


KINDS: Final = {
    "mixed": Kind((7, 20)),
    "small": Kind((7, 15), 4 * OPERATIONS_AT_ONCE),  # or it takes long to fill
    "large": Kind((14, 20)),
}

SCRATCH: Final = "scratch"
SCRATCH_BYTES: Final = 32 * MIB
SCRATCH_MAX: Final = 64  # at a time: those that nobody uses any more are there for some seconds
SCRATCH_SECONDS: Final = 3.0

ATTRIBUTES: Final = (b"user.a", b"user.b", b"trusted.c")
ATTRIBUTE_BYTES_MAX: Final = 600


class Mixed(Churn):
    """Churn whose files are renamed, one over another at times, and have attributes."""

    def __init__(self, client: Client, seed: int, size_bytes: int, kind: str) -> None:
        super().__init__(client, seed, int(DATA_SHARE * size_bytes), KINDS[kind].powers)
        self.operations_at_once = KINDS[kind].operations
        self._attributes: dict[bytes, set[bytes]] = {}  # by file

    def step(self) -> None:
        """Also rename a file, or change an attribute of it, in a fifth of the cases."""
        chance = self._choose.random()
        if chance < 0.8 or len(self._files) < 2:
            super().step()
            return
        if chance < 0.9:
            self._rename()
        else:
            self._change_attribute()
        self.operations += 1

    def _rename(self) -> None:
        name, size = self._take()
        if self._choose.random() < 0.5:
            new_name, replaced = self._take()
            self._held_bytes -= replaced
        else:
            new_name = b"moved-%09d" % self._made
            self._made += 1
        self._client.rename(name, new_name)
        self._attributes.pop(new_name, None)
        if name in self._attributes:
            self._attributes[new_name] = self._attributes.pop(name)
        self._files.append((new_name, size))

    def _change_attribute(self) -> None:
        name, _ = self._choose.choice(self._files)
        attribute = self._choose.choice(ATTRIBUTES)
        have = self._attributes.setdefault(name, set())
        if attribute in have and self._choose.random() < 0.5:
            self._client.remove_attribute(WORK, name, attribute)
            have.remove(attribute)
        else:
            value = b"v" * self._choose.randrange(1, ATTRIBUTE_BYTES_MAX)
            self._client.set_attribute(WORK, name, attribute, value)
            have.add(attribute)

    def _remove(self) -> bytes:
        name = super()._remove()
        self._attributes.pop(name, None)
        return name


class Scratch:
    """Churn over scratch volumes, one after another, each for some seconds."""

    operations_at_once = OPERATIONS_AT_ONCE

    def __init__(self, connect: Callable[[str], Client], seconds: float) -> None:
        self._connect = connect
        self._seconds = seconds
        self._client: Client | None = None
        self._churn: Churn | None = None
        self._before = 0  # operations, on volumes that are gone
        self._until = 0.0
        self.made = 0

    @property
    def operations(self) -> int:
        return self._before + (self._churn.operations if self._churn is not None else 0)

    def step(self) -> None:
        """One more on the volume of now; on a new one, when its time is over."""
        if self._churn is None or time.monotonic() > self._until:
            self.close()
            self._client = self._connect(f"{SCRATCH}/churn-{self.made}?size={SCRATCH_BYTES}")
            self._churn = Mixed(self._client, self.made, SCRATCH_BYTES, "mixed")
            self.made += 1
            self._until = time.monotonic() + self._seconds
        self._churn.step()

    def close(self) -> None:
        """Leave the volume of now, full as it is."""
        self._before = self.operations
        self._churn = None
        if self._client is not None:
            self._client.close()
            self._client = None


@dataclass(frozen=True, slots=True)
class Lying:
    """How one volume lies: what is used, its free runs, and the runs of a file with data."""

    used_bytes: int
    free_runs: int
    runs_a_file: float


@dataclass(frozen=True, slots=True)
class Point:
    """One interval: *seconds* since the beginning, what was done in it, how memory lies after."""

    seconds: float
    operations_a_second: float
    server_us_an_operation: float
    used_bytes: int  # with the scratch volumes that are there
    resident_bytes: int
    volumes: dict[str, Lying]


@dataclass(frozen=True, slots=True)
class Plan:
    """Churn over so many volumes, for so long, with so many points; see Scratch."""

    volumes: int
    seconds: float
    points: int
    scratch_seconds: float = SCRATCH_SECONDS
    total_bytes: int = TOTAL_BYTES

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each volume, by its name."""
        kinds = list(KINDS)
        return {
            f"{kinds[number % len(kinds)]}-{number + 1}": kinds[number % len(kinds)]
            for number in range(self.volumes)
        }

    @property
    def volume_bytes(self) -> int:
        return self.total_bytes // self.volumes

    @property
    def tables(self) -> str:
        """What declares the volumes, in TOML."""
        size = f"size = {self.volume_bytes}\ninodes = {1 << 20}\n"
        volumes = [f'[[volume]]\nname = "{name}"\n{size}' for name in self.kinds]
        scratch = f"""
            [[scratch]]
            name = "{SCRATCH}"
            size-max = {SCRATCH_BYTES}
            total-max = {SCRATCH_MAX * SCRATCH_BYTES}
            count-max = {SCRATCH_MAX}
            ttl-max = "1h"
            grace = "1s"
        """
        return "\n".join(["overcommit = true", *volumes, scratch])


class ViolationsError(Exception):
    """A check at the end found something; the text is what."""


def run_volumes(plan: Plan, report: Report) -> None:
    """Churn, put the series into the report, and check everything. Raises ViolationsError."""
    needs = Needs(volumes=plan.tables, aname=next(iter(plan.kinds)))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        peer = stack.enter_context(ram9(folder, needs, program=PROGRAM))

        def connect(aname: str) -> Client:
            return Client(peer.addresses["tcp"], aname)

        scratch = Scratch(connect, plan.scratch_seconds)
        stack.callback(scratch.close)
        churns: list[Mixed | Scratch] = [scratch]
        for seed, (name, kind) in enumerate(plan.kinds.items()):
            client = stack.enter_context(connect(name))
            churns.append(Mixed(client, seed, plan.volume_bytes, kind))
        idle_bytes = peer.resident_bytes()
        progress, series = Progress(plan.points), list[Point]()
        began = time.monotonic()
        for number in range(plan.points):
            progress.step(f"churn: {scratch.made} scratch volumes, {number} of {plan.points}")
            seconds = plan.seconds / plan.points
            series.append(_interval(peer, list(plan.kinds), churns, began, seconds))
        progress.end()
        violations = told(peer, "check")
    conclude(series, report)
    report.note(f"{idle_bytes / MIB:.1f} MiB were resident before; {scratch.made} scratch volumes")
    if violations:
        raise ViolationsError(f"the check finds {violations}")
    report.note(f"the check finds nothing wrong in {plan.volumes} volumes and the scratch volumes")


def _interval(
    peer: Peer,
    names: Sequence[str],
    churns: Sequence[Mixed | Scratch],
    began: float,
    seconds: float,
) -> Point:
    start, operations = time.monotonic(), sum(churn.operations for churn in churns)
    taken_ns = peer.processor_ns()
    while time.monotonic() < start + seconds:
        for churn in churns:
            for _ in range(churn.operations_at_once):
                churn.step()
    now = time.monotonic()
    done = max(1, sum(churn.operations for churn in churns) - operations)
    taken_ns = peer.processor_ns() - taken_ns
    found = told(peer)
    return Point(
        seconds=now - began,
        operations_a_second=done / (now - start),
        server_us_an_operation=taken_ns / 1000 / done,
        used_bytes=sum(volume["used_bytes"] for volume in found.values()),
        resident_bytes=peer.resident_bytes(),
        volumes={name: _lying(found[name]) for name in names},
    )


def _lying(found: dict[str, int]) -> Lying:
    return Lying(
        found["used_bytes"],
        found["warm_runs"] + found["cold_runs"],
        found["file_runs"] / max(1, found["files_with_data"]),
    )


def conclude(series: Sequence[Point], report: Report) -> None:
    """The table of the quarters, with the trend of each figure, and the charts over time."""
    report.raw += [asdict(point) for point in series]
    quarter = max(1, len(series) // 4)
    parts = [series[start : start + quarter] for start in range(0, len(series), quarter)][:4]
    rows = []
    for label, figure in _figures(list(series[0].volumes)).items():
        medians = [median([figure(point) for point in part]) for part in parts]
        rows.append([label, *medians, ratio(medians[-1], medians[min(1, len(medians) - 1)])])
    columns = [
        "median of the quarter until",
        *(f"{part[-1].seconds:,.0f} s" for part in parts),
        "last to second quarter",
    ]
    notes = [
        "In the first quarter the volumes fill, so the trend is the last one to the second. "
        "Used and resident are all volumes, scratch ones too, as they are at that moment."
    ]
    report.tables.append(Table("Churn over several volumes", columns, rows, notes))
    report.charts += charts(series)


def _figures(names: Sequence[str]) -> dict[str, Callable[[Point], float]]:
    """What the rows of the table are."""

    def of(name: str, figure: Callable[[Lying], float]) -> Callable[[Point], float]:
        return lambda point: figure(point.volumes[name])

    return {
        "operations a second": lambda point: point.operations_a_second,
        "server µs an operation": lambda point: point.server_us_an_operation,
        "used, MiB": lambda point: point.used_bytes / MIB,
        "resident, MiB": lambda point: point.resident_bytes / MIB,
        **{f"runs a file, {name}": of(name, lambda lying: lying.runs_a_file) for name in names},
        **{f"free runs, {name}": of(name, lambda lying: lying.free_runs) for name in names},
    }


def charts(series: Sequence[Point]) -> list[Chart]:
    """The rate, the memory, and for each volume the runs of a file and the free ones."""
    x, names = [point.seconds for point in series], list(series[0].volumes)

    def chart(name: str, title: str, unit: str, lines: dict[str, list[float]]) -> Chart:
        drawn = [Series(label, x, y) for label, y in lines.items()]
        return Chart(f"churn-volumes-{name}", title, "seconds", unit, drawn, "lines")

    rates = [point.operations_a_second for point in series]
    memory = {
        "resident": [point.resident_bytes / MIB for point in series],
        "used": [point.used_bytes / MIB for point in series],
    }
    runs = {name: [point.volumes[name].runs_a_file for point in series] for name in names}
    free = {name: [float(point.volumes[name].free_runs) for point in series] for name in names}
    return [
        chart("rate", "Churn over several volumes", "a second", {"operations": rates}),
        chart("memory", "Memory in churn over several volumes", "MiB", memory),
        chart("runs", "Runs a file in churn", "runs a file", runs),
        chart("free", "Free runs in churn", "runs", free),
    ]
