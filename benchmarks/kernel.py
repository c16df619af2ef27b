"""The table through the kernel: workloads on mounts of each server, and on the local tmpfs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.charts import Chart, Series
from benchmarks.inside import MARKER, Order
from benchmarks.report import Cell, Progress, Report, Table, median, ratio
from benchmarks.servers import LOCAL, free_port
from benchmarks.workloads import WORKLOADS, lacking

MODES: Final = ("none", "mmap")
SERVERS: Final = ("diod", "ram9")
QUICK_ROUNDS, ROUNDS = 1, 3
OUTSIDE_PORT: Final = 20564  # where the servers tell their status, in a network of their own
OUTSIDE_ADDRESS: Final = "10.98.0.1"
MEMORY_MIB: Final = 2560
SECONDS_MAX: Final = 7200
SIZE_BYTES: Final = 4 << 30
REPOSITORY: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """Which workloads are done how often in which cache modes."""

    workloads: Sequence[str] = tuple(WORKLOADS)
    modes: Sequence[str] = MODES
    servers: Sequence[str] = SERVERS
    rounds: int = ROUNDS
    quick: bool = False
    servers_inside: bool = False


def why_not() -> str:
    """What is missing for these workloads, as a sentence; nothing if they can be done."""
    if guest := os.environ.get("RAM9_GUEST"):
        program = shlex.split(guest)[0]
        return "" if shutil.which(program) else f"RAM9_GUEST: {program} is not there to be run"
    if os.geteuid() != 0:
        return "only root can mount, and RAM9_GUEST does not say what runs a command as root"
    if "9p" not in Path("/proc/filesystems").read_text().split():
        return "this kernel has no 9p, and RAM9_GUEST does not say what runs a command under one"
    return ""


def command_of(plan: KernelPlan, workloads: Sequence[str]) -> list[str]:
    """What does the workloads: in a guest with the servers outside, in it, or here."""
    guest = os.environ.get("RAM9_GUEST")
    is_outside = guest is not None and not plan.servers_inside
    host = os.environ.get("RAM9_GUEST_ADDRESS", OUTSIDE_ADDRESS) if is_outside else LOCAL
    port = OUTSIDE_PORT if guest is not None else free_port(LOCAL)
    order = Order(
        host=host,
        port=port,
        workloads=workloads,
        modes=plan.modes,
        rounds=plan.rounds,
        quick=plan.quick,
        starts_servers=not is_outside,
        servers=plan.servers,
        size_bytes=SIZE_BYTES,
    )
    inside = [sys.executable, "-m", "benchmarks.inside", order.text()]
    if guest is None:
        return ["unshare", "--mount", "--propagation", "private", *inside]
    command = [*shlex.split(guest), "-m", str(MEMORY_MIB), "-t", str(SECONDS_MAX)]
    if is_outside:
        outside = [sys.executable, "-m", "benchmarks.outside", host, str(port), str(SIZE_BYTES)]
        command += ["-s", f"cd {shlex.quote(str(REPOSITORY))} && {shlex.join(outside)} "]
        command[-1] += shlex.join(plan.servers)
    return [*command, "--", *inside]


def run_kernel(plan: KernelPlan, report: Report) -> None:
    """Do what is planned and put it into the report."""
    workloads = []
    for name in plan.workloads:
        tools = lacking(WORKLOADS[name])
        if tools:
            report.notes.append(f"{name}: not installed: {', '.join(tools)}")
        else:
            workloads.append(name)
    progress = Progress(len(workloads) * plan.rounds * (1 + len(plan.modes) * len(plan.servers)))
    said: list[str] = []
    process = subprocess.Popen(
        command_of(plan, workloads),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        for figures in _figures(process, said):
            if "status" in figures:
                _note_status(figures["status"], report)
                continue
            mode = f", cache={figures['mode']}" if figures["mode"] else ""
            progress.step(f"{figures['workload']}: {figures['server']}{mode}")
            report.raw.append(figures)
    finally:
        if process.poll() is None:
            process.terminate()
        status = process.wait()
        if process.stdout is not None:
            process.stdout.close()
    progress.end()
    if status:
        report.notes.append(f"the workloads ended with status {status}: {' / '.join(said[-3:])}")
    _conclude(plan, report)


def _figures(process: subprocess.Popen[str], said: list[str]) -> Iterator[dict[str, Any]]:
    """What the process tells; everything else that it prints is put into *said*."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(MARKER):
            yield json.loads(line.removeprefix(MARKER))
        else:
            said.append(re.sub(r"\s+", " ", line).strip())
    process.wait()


def _note_status(status: dict[str, Any], report: Report) -> None:
    report.notes += status["absent"]
    report.know({name: peer["version"] for name, peer in status["peers"].items()})


def _conclude(plan: KernelPlan, report: Report) -> None:
    """Tables and charts of what is in the report's raw figures."""
    report.notes.append(
        "Seconds, less is better. Server time is what the server's process took of a processor, "
        "in user and system mode, while the workload ran."
        + ("" if plan.servers_inside else " The servers run outside of the guest.")
    )
    raw = [each for each in report.raw if "workload" in each]
    report.tables += [kernel_table(plan, raw, mode) for mode in plan.modes]
    report.charts += kernel_charts(plan, raw)


def figure(
    raw: Sequence[dict[str, Any]], workload: str, server: str, mode: str, key: str
) -> float | None:
    """The median of one kind of figure over the rounds; key "server" is user and system time."""
    chosen = [
        each
        for each in raw
        if (each["workload"], each["server"], each["mode"]) == (workload, server, mode)
    ]
    if key == "server":
        return median([each["user_seconds"] + each["system_seconds"] for each in chosen])
    return median([each[key] for each in chosen])


def kernel_table(plan: KernelPlan, raw: Sequence[dict[str, Any]], mode: str) -> Table:
    """All workloads in one cache mode."""
    rows: list[list[Cell]] = []
    for workload in plan.workloads:
        seconds = {name: figure(raw, workload, name, mode, "seconds") for name in plan.servers}
        taken = {name: figure(raw, workload, name, mode, "server") for name in plan.servers}
        rows.append(
            [
                WORKLOADS[workload].title,
                figure(raw, workload, "tmpfs", "", "seconds"),
                *seconds.values(),
                ratio(seconds.get("ram9"), seconds.get("diod")),
                *taken.values(),
                ratio(taken.get("ram9"), taken.get("diod")),
            ]
        )
    columns = [
        *("workload", "tmpfs, s"),
        *(f"{name}, s" for name in plan.servers),
        "ram9 / diod",
        *(f"{name} server time, s" for name in plan.servers),
        "ram9 / diod, server time",
    ]
    return Table(f"Through the kernel, cache={mode}", columns, rows)


def kernel_charts(plan: KernelPlan, raw: Sequence[dict[str, Any]]) -> list[Chart]:
    """How long each workload takes, and how much of it the server works."""
    titles = [name for name in plan.workloads if any(each["workload"] == name for each in raw)]
    if not titles:
        return []
    pairs = [(name, mode) for mode in plan.modes for name in plan.servers]
    charts = []
    for key, name, title in (
        ("seconds", "kernel-seconds", "Workloads through the kernel"),
        ("server", "kernel-server", "Processor time of the server"),
    ):
        series = [
            Series(
                f"{server}, cache={mode}",
                titles,
                [figure(raw, workload, server, mode, key) for workload in titles],
            )
            for server, mode in pairs
        ]
        charts.append(Chart(name, title, "", "seconds", series))
    return charts
