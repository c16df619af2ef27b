"""Where the time of a request goes: processor time of the server, and its system calls.

Time and calls are counted in runs of their own, for counting the calls (strace) slows them down.
"""

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.cases import CASES, make_files
from benchmarks.measuring import Sample, Setting, measure
from benchmarks.report import Cell, Progress, Report, Table
from benchmarks.servers import Needs, Peer, running
from benchmarks.wire import FILE_BYTES_MAX

DEPTHS: Final = (1, 32)
ATTACHED: Final = re.compile(r"attached")
PATIENCE_SECONDS: Final = 10.0
SPAN_BYTES: Final = 1 << 30
RARE: Final = 0.005  # calls a request below which one is not shown


def run_budget(cases: Sequence[str], seconds: float, report: Report) -> None:
    """The budget of each case, with 1 and 32 in flight."""
    can_trace = shutil.which("strace") is not None
    if not can_trace:
        report.notes.append("strace is not installed: no system calls are counted")
    rows: list[list[Cell]] = []
    with running(["ram9"], Needs(size_bytes=2 * SPAN_BYTES)) as (peers, absent):
        report.notes += absent
        for peer in peers:
            with peer.connect() as client:
                make_files(client, FILE_BYTES_MAX)
            progress = Progress(len(cases) * len(DEPTHS))
            for name in cases:
                for depth in DEPTHS:
                    progress.step(f"{name}, {depth} in flight")
                    rows.append(_row(peer, name, depth, seconds, report, can_trace=can_trace))
            progress.end()
    columns = ["case", "in flight", "wall, µs", "user, µs", "system, µs", "calls", "which"]
    notes = [
        "For each request. Processor time counts what the kernel did for the server's calls, and "
        "while the server waits awake for a client that asks one thing after the other.",
        "Calls that had nothing to receive or to send (EAGAIN) are in brackets; under strace there "
        "are more of these than without.",
    ]
    report.tables.append(Table("Budget of a request", columns, rows, notes))


def _row(
    peer: Peer, name: str, depth: int, seconds: float, report: Report, *, can_trace: bool
) -> list[Cell]:
    before = peer.processor_seconds()
    sample = _load(peer, name, depth, seconds)
    after = peer.processor_seconds()
    requests = max(1, sample.tally.requests)
    wall = 1e6 * sample.tally.seconds / requests
    user, system = (1e6 * (b - a) / requests for a, b in zip(before, after, strict=True))
    raw: dict[str, object] = {"case": name, "in_flight": depth, "requests": requests}
    raw |= {"wall_us": wall, "user_us": user, "system_us": system}
    cells: list[Cell] = [CASES[name].title, depth, wall, user, system]
    if can_trace:
        calls, vain = _calls(peer, name, depth, seconds)
        raw |= {"calls": calls, "in_vain": vain}
        cells += [sum(calls.values()), _listed(calls, vain)]
    else:
        cells += [None, None]
    report.raw.append(raw)
    return cells


def _load(peer: Peer, name: str, depth: int, seconds: float) -> Sample:
    is_growing = name.startswith(("append", "write-64k", "write-1m"))
    span = SPAN_BYTES if is_growing else FILE_BYTES_MAX
    return measure(peer, CASES[name], Setting(depth=depth, seconds=seconds, span_bytes=span))


def _listed(calls: dict[str, float], vain: dict[str, float]) -> str:
    shown = []
    for name, count in sorted(calls.items(), key=lambda pair: -pair[1]):
        if count >= RARE:
            in_vain = f" ({vain[name]:.2f})" if vain.get(name, 0) >= RARE else ""
            shown.append(f"{name} {count:.2f}{in_vain}")
    return ", ".join(shown)


def _calls(
    peer: Peer, name: str, depth: int, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """System calls for each request: all of them, and those that failed."""
    with TemporaryDirectory(prefix="bench-") as folder:
        output = Path(folder) / "calls"
        with traced(peer.process.pid, output):
            sample = _load(peer, name, depth, seconds)
        calls, failed = parse_calls(output.read_text())
    requests = max(1, sample.tally.requests)
    return (
        {call: count / requests for call, count in calls.items()},
        {call: count / requests for call, count in failed.items()},
    )


@contextmanager
def traced(pid: int, output: Path) -> Iterator[None]:
    """Count the system calls of a process while the block runs; strace writes them to *output*."""
    command = ["strace", "-f", "-c", "-o", str(output), "-p", str(pid)]
    said = output.with_suffix(".said")
    with said.open("wb") as stderr:
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ATTACHED.search(said.read_text()):
        if tracer.poll() is not None or time.monotonic() > deadline:
            tracer.kill()
            raise RuntimeError(f"strace cannot watch the server: {said.read_text().strip()}")
        time.sleep(0.02)
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(PATIENCE_SECONDS)


def parse_calls(text: str) -> tuple[Counter[str], Counter[str]]:
    """What ``strace -c`` says: calls by name, and how many of them failed."""
    calls: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) in (5, 6) and fields[3].isdigit() and fields[-1] != "total":
            calls[fields[-1]] += int(fields[3])
            if len(fields) == 6:
                failed[fields[-1]] += int(fields[4])
    return calls, failed
