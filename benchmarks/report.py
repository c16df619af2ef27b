"""What a run found: tables, charts and raw figures, written as Markdown, JSON and SVG."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.charts import Chart, draw
from ram9.server.version import VERSION

RESULTS: Final = Path(__file__).parent / "results"
Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a title; numbers are shown with three digits that count."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The table as GitHub shows it: first column to the left, the others to the right."""
        lines = [
            f"### {self.title}",
            "",
            "| " + " | ".join(self.columns) + " |",
            "|---|" + "---:|" * (len(self.columns) - 1),
            *("| " + " | ".join(map(shown, row)) + " |" for row in self.rows),
        ]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines) + "\n"


def shown(cell: Cell) -> str:
    """A cell as text: 12,345 · 123 · 12.3 · 1.23, and a dash for what was not measured."""
    if cell is None:
        return "–"  # noqa: RUF001  # what typesetters put there
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"


def median(values: Sequence[float]) -> float | None:
    """The median, or None where nothing was measured."""
    return statistics.median(values) if values else None


def ratio(value: float | None, base: float | None) -> float | None:
    """How often *base* goes into *value*, where both are known."""
    return value / base if value is not None and base else None


@dataclass(slots=True)
class Report:
    """Everything that one command found. *raw* holds each single measurement."""

    command: str
    title: str
    machine: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def know(self, versions: Mapping[str, str]) -> None:
        """Note the versions of other servers than ram9."""
        others = {name: version for name, version in versions.items() if name != "ram9"}
        self.machine["peers"] = self.machine.get("peers", {}) | others

    def note(self, sentence: str) -> None:
        """Note something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def markdown(self) -> str:
        """The report for people."""
        parts = [f"## {self.title}\n", f"`{self.command}`\n", describe(self.machine) + "\n"]
        parts += [f"- {note}" for note in self.notes]
        if self.notes:
            parts.append("")
        parts += [table.markdown() for table in self.tables]
        parts += [f"![{chart.title}]({chart.name}.svg)\n" for chart in self.charts]
        return "\n".join(parts)

    def json(self) -> str:
        """The report for programs."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write all files; say in the notes where charts cannot be drawn. Return what was made."""
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [path for chart in self.charts if (path := draw(chart, folder)) is not None]
        if len(drawn) < len(self.charts):
            self.notes.append("no charts: matplotlib is not installed (pip install 'ram9[bench]')")
            self.charts = []
        texts = {"report.md": self.markdown(), "report.json": self.json()}
        for name, text in texts.items():
            (folder / name).write_text(text)
        return [*(folder / name for name in texts), *drawn]


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, system, versions, how busy it is."""
    cpu = platform.machine()
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory_kib = int(_text("/proc/meminfo").split("MemTotal:")[1].split()[0])
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": cpu,
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / (1 << 20), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ram9": VERSION,
        "load": round(os.getloadavg()[0], 2),
    }


def _text(path: str) -> str:
    return Path(path).read_text()


def describe(machine: dict[str, Any]) -> str:
    """One sentence about the machine."""
    peers = "".join(f", {name} {version}" for name, version in machine.get("peers", {}).items())
    return (
        f"{machine['date']}: {machine['processors']} × {machine['processor']}, "  # noqa: RUF001
        f"{machine['memory_gib']} GiB, Linux {machine['kernel']}, Python {machine['python']}, "
        f"ram9 {machine['ram9']}{peers}; load {machine['load']} before it began."
    )


def new_folder(command: str) -> Path:
    """Where a run writes if it is not told: named by what it is and when."""
    return RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{command}"


class Progress:
    """One line on a terminal that is written over, or a line now and then elsewhere."""

    def __init__(self, steps: int) -> None:
        self._steps = max(1, steps)
        self._done = 0
        self._tenth = -1
        self._is_terminal = sys.stderr.isatty()

    def step(self, what: str) -> None:
        """Say what is done now; each call is one of the steps."""
        percent = 100 * self._done // self._steps
        self._done += 1
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{percent:3d} %  {what}")
        elif percent // 10 != self._tenth:
            self._tenth = percent // 10
            sys.stderr.write(f"{percent:3d} %  {what}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line free."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
