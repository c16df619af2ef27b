"""Compares for as long as is wanted: the server over the wire, and the mount in a kernel.

    python -m tests.oracle.soak [--seconds 3600] [--seed SEED] [--only wire|kernel]

Half of the time on the wire all are root, the other half they are users whom the server checks.
Each part runs in a process of its own. The status is 1 if any of them found a difference, which is
printed in its shortest form, or if one could not run.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.kernel.guest import missing
from tests.kernel.scenario import Scenario
from tests.kernel.world import World
from tests.oracle.compare import Comparison
from tests.oracle.generator import Surface
from tests.oracle.search import DifferenceFoundError, fresh_seed, search
from tests.oracle.side import ALICE, BOB, ROOT, PosixSide, User
from tests.oracle.surfaces import KERNEL, LISTS, MAPPED, WIRE, WIRE_USERS
from tests.oracle.wire import WireSide

from ram9.storage.limits import Limits

REPOSITORY: Final = Path(__file__).parents[2]
LIMITS: Final = Limits(size_bytes=64 << 20, inodes=10_000)
SHARED_MEMORY: Final = Path("/dev/shm")
USERS: Final = (ROOT, ALICE, BOB)
CHECKED: Final = "-users"
WIRES: Final = (("", (ROOT,) * WIRE.processes, WIRE), (CHECKED, USERS, WIRE_USERS))
MOUNTS: Final[dict[str, tuple[str, Surface]]] = {
    "none": ("trans=tcp,version=9p2000.L", KERNEL),
    "mmap": ("trans=tcp,version=9p2000.L,cache=mmap", MAPPED),
    "posixacl": ("trans=tcp,version=9p2000.L,access=client,posixacl", LISTS),
}
PARTS: Final = ("wire", "kernel")
TURN_SECONDS: Final = 60  # how long one mount is looked at before the next
END_SECONDS: Final = 120  # what a guest may take beyond the time that it compares


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def search_wire(
    seed: str, seconds: float, calls: int = 0, report: Callable[[str], None] = say
) -> str:
    """The server over the wire and the tmpfs of this machine: as root, and as users whom the
    server checks. A seed that names one sequence tells by its end which of the two it is of.
    """
    found = []
    for name, users, surface in WIRES:
        if ":" in seed and seed.rpartition(":")[0].endswith(CHECKED) != (name == CHECKED):
            continue
        own_seed = seed if ":" in seed else seed + name
        share = seconds / len(WIRES), calls // len(WIRES)
        found.append(search_as(users, surface, own_seed, *share, report))
    return ", ".join(found)


def search_as(
    users: Sequence[User],
    surface: Surface,
    seed: str,
    seconds: float,
    calls: int = 0,
    report: Callable[[str], None] = say,
) -> str:
    """The same as these users."""
    with ExitStack() as endings:
        top = endings.enter_context(
            tempfile.TemporaryDirectory(dir=SHARED_MEMORY, prefix="ram9-oracle-")
        )
        right = PosixSide(Path(top), users)
        endings.callback(right.end)
        ours = WireSide(users, LIMITS)
        endings.callback(ours.end)
        return search(Comparison(right, ours), surface, seed, seconds, calls, report)


def search_mount(
    world: World,
    name: str,
    seed: str,
    seconds: float,
    calls: int = 0,
    report: Callable[[str], None] = say,
) -> str:
    """A mount of this kernel and a tmpfs beside it."""
    options, surface = MOUNTS[name]
    with ExitStack() as endings:
        right_top = world.tmpfs(f"tmpfs-{name}")
        endings.callback(world.unmount, right_top)
        mount = world.mount(name, options)
        endings.callback(world.unmount, mount)
        our_top = mount / f"oracle-{name}"
        our_top.mkdir()
        endings.callback(our_top.rmdir)
        sides = []
        for top in right_top, our_top:
            side = PosixSide(top, USERS)
            endings.callback(side.end)
            endings.callback(side.clear)
            sides.append(side)
        comparison = Comparison(
            *sides,
            looks_at_all=False,
            sees_atime=surface.sees_atime,
            relates_times=surface.relates_times,
        )
        return search(comparison, surface, seed, seconds, calls, report)


def soak_kernel(seed: str, seconds: float) -> None:
    """All mounts in turns, with one server; the whole file system is checked after each turn."""
    world = World(Scenario("soak"))
    start, turn = time.monotonic(), 0
    try:
        while (left := start + seconds - time.monotonic()) > 0:
            for name in MOUNTS:
                own_seed = seed if ":" in seed else f"{seed}-{name}-{turn}"
                figures = search_mount(world, name, own_seed, min(TURN_SECONDS, left / len(MOUNTS)))
                say(f"{name}: {figures}")
            found = world.server.check()
            if found["violations"] or found["internal_errors"] or found["orphans"]:
                raise DifferenceFoundError(f"the server's own check: {found}")
            turn += 1
    finally:
        endings = {fact: wrong for fact, wrong in world.endings().items() if wrong}
    if endings:
        raise DifferenceFoundError(str(endings))


def part(name: str, seed: str, seconds: float) -> list[str]:
    """The command that runs one part here, or under a kernel that has v9fs."""
    command = [sys.executable, "-m", "tests.oracle.soak", "--run", name]
    command += ["--seconds", str(seconds), "--seed", seed]
    if name == "wire":
        return command
    if guest := os.environ.get("RAM9_GUEST"):
        limit = str(int(seconds) + END_SECONDS)
        return [*shlex.split(guest), "-m", "1024", "-t", limit, "--", *command]
    return ["unshare", "--mount", "--propagation", "private", *command]


def end_session(leader: int) -> None:
    """End what a part has started: a guest is several processes, some in groups of their own."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(path.parent.name), signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended


def run_parts(names: list[str], seed: str, seconds: float) -> int:
    if "kernel" in names and (reason := missing(Scenario("soak"))):
        say(f"kernel: left out: {reason}")
        names = [name for name in names if name != "kernel"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    running = [
        subprocess.Popen(part(name, seed, seconds), cwd=REPOSITORY, start_new_session=True)
        for name in names
    ]
    try:
        statuses = [process.wait() for process in running]
    except KeyboardInterrupt:
        for process in running:
            end_session(process.pid)
        return 1
    say(f"seed {seed}: " + ", ".join(f"{n}: {s}" for n, s in zip(names, statuses, strict=True)))
    return int(any(statuses))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", default="")
    parser.add_argument("--run", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = options.seed or fresh_seed()
    if not options.run:
        return run_parts([options.only] if options.only else list(PARTS), seed, options.seconds)
    try:
        if options.run == "wire":
            say(f"wire: {search_wire(seed, options.seconds)}")
        else:
            soak_kernel(seed, options.seconds)
    except DifferenceFoundError as difference:
        say(f"{options.run}: {difference}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
