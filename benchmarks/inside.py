"""Mounts the servers and does the workloads, as root under a kernel that has v9fs.

    python -m benchmarks.inside JSON

Each figure is one line: a marker and then JSON. The rest of the output is for people.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.outside import PATIENCE_SECONDS, ask
from benchmarks.workloads import WORKLOADS, Scale, Sources, make_sources, run

MARKER: Final = "BENCH "
MSIZE: Final = 1044504
SHARED: Final = Path("/dev/shm")
DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: by whom, how often, how much of it."""

    host: str
    port: int
    workloads: Sequence[str]
    modes: Sequence[str]
    rounds: int
    quick: bool
    starts_servers: bool
    servers: Sequence[str]
    size_bytes: int

    def text(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Target:
    """A place to work in: a mount of a server in a cache mode, or the local tmpfs."""

    server: str
    mode: str
    folder: Path


def say(**figures: object) -> None:
    sys.stdout.write(MARKER + json.dumps(figures) + "\n")
    sys.stdout.flush()


def wait_for_servers(host: str, port: int) -> dict[str, Any]:
    """Their status, once they are there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask(host, port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def mounted(folder: Path, host: str, peer: dict[str, Any], mode: str) -> Iterator[Path]:
    """A mount of a server in *folder*, gone afterwards."""
    folder.mkdir()
    options = [
        *("trans=tcp", "version=9p2000.L", f"port={peer['port']}", f"msize={MSIZE}"),
        *(f"cache={mode}", "uname=root", *([f"aname={peer['aname']}"] if peer["aname"] else [])),
    ]
    run("mount", "-t", "9p", "-o", ",".join(options), host, folder)
    try:
        yield folder
    finally:
        run("umount", folder)


@contextmanager
def servers_here(order: Order) -> Iterator[None]:
    """The servers as processes beside us, where they do not run outside."""
    if not order.starts_servers:
        yield
        return
    command = [sys.executable, "-m", "benchmarks.outside", order.host, str(order.port)]
    command += [str(order.size_bytes), *order.servers]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def measure(order: Order, workload: str, target: Target, number: int, sources: Sources) -> None:
    """Do one workload in one place, and say how long it took, also the server."""
    place = target.folder / f"{target.mode}-{number}"
    place.mkdir(exist_ok=True)
    work = WORKLOADS[workload]
    work.prepare(place, sources)
    run("sync")
    DROP_CACHES.write_text("3")
    before = ask(order.host, order.port)["peers"].get(target.server)
    seconds = work.work(place, sources)
    after = ask(order.host, order.port)["peers"].get(target.server)
    figures: dict[str, object] = {"seconds": round(seconds, 4)}
    if before is not None and after is not None:
        taken = [
            end - start for start, end in zip(before["seconds"], after["seconds"], strict=True)
        ]
        figures |= {"user_seconds": round(taken[0], 3), "system_seconds": round(taken[1], 3)}
    say(workload=workload, server=target.server, mode=target.mode, round=number, **figures)


def main(order: Order) -> None:
    """Do all workloads, each in turn in all places, in every round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SHARED, prefix="bench-")))
        stack.enter_context(servers_here(order))
        status = wait_for_servers(order.host, order.port)
        say(status=status)
        sources_folder = folder / "sources"
        sources_folder.mkdir()
        sources = make_sources(sources_folder, Scale.of(quick=order.quick), order.workloads)
        local = folder / "tmpfs"
        local.mkdir()
        targets = [Target("tmpfs", "", local)]
        for mode in order.modes:
            for name, peer in status["peers"].items():
                mount = mounted(folder / f"{name}-{mode}", order.host, peer, mode)
                targets.append(Target(name, mode, stack.enter_context(mount)))
        for number in range(order.rounds):
            for workload in order.workloads:
                for target in targets:
                    measure(order, workload, target, number, sources)
            for target in targets:
                shutil.rmtree(target.folder / f"{target.mode}-{number}")


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
