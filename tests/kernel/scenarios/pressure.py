"""A writer that never stops, and a server in a control group of version 2 that is smaller."""

import os
import threading
import time
from functools import partial
from pathlib import Path

from tests.kernel.probes.base import attempt
from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World

MIB = 1 << 20
GROUP_BYTES = 512 * MIB
SECONDS = 300 if FULL else 5
REFUSALS_MIN = 20  # however long that takes
GROUPS = Path("/sys/fs/cgroup")
GROUP = GROUPS / "ram9"
ANSWER_SECONDS_MAX = 10.0

scenario = Scenario(
    "pressure",
    size="4GiB",
    memory_mib=1600,
    seconds_max=900 if FULL else 300,
    expected_log=[r"WARNING size exceeds memory ", r"WARNING memory is short ", "out of space"],
)


def events() -> dict[str, int]:
    lines = (GROUP / "memory.events").read_text().splitlines()
    return {name: int(count) for name, count in map(str.split, lines)}


def size_bytes(place: Path) -> int:
    """What df shows."""
    seen = os.statvfs(place)
    assert seen.f_bavail == seen.f_bfree <= seen.f_blocks
    return seen.f_blocks * seen.f_frsize


def until(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@scenario.fact
def what_the_machine_has_is_what_df_shows(world: World) -> str:
    mount = world.mount("mount", "trans=tcp,version=9p2000.L,msize=1044504")
    shown = size_bytes(mount)
    assert shown < 1600 * MIB
    (mount / "kept").write_bytes(b"what was there before" * 1000)
    return f"{shown / MIB:.0f} MiB of 4 GiB"


@scenario.fact
def a_group_that_the_server_is_moved_to_makes_it_less(world: World) -> str:
    run("mount", "-t", "cgroup2", "none", GROUPS)
    (GROUPS / "cgroup.subtree_control").write_text("+memory")
    GROUP.mkdir()
    (GROUP / "memory.max").write_text(str(GROUP_BYTES))
    (GROUP / "cgroup.procs").write_text(str(world.server.pid))
    mount = world.folder / "mount"
    until(lambda: size_bytes(mount) < GROUP_BYTES, "df shows what the group allows")
    return f"{size_bytes(mount) / MIB:.0f} MiB"


class Reader(threading.Thread):
    """Reads what was there before, all the time."""

    def __init__(self, mount: Path) -> None:
        super().__init__()
        self._mount = mount
        self.is_over = threading.Event()
        self.longest_seconds = 0.0
        self.wrong = ""

    def run(self) -> None:
        while not self.is_over.is_set():
            began = time.monotonic()
            if (self._mount / "kept").read_bytes() != b"what was there before" * 1000:
                self.wrong = "something else was read"
            size_bytes(self._mount)
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
            self.is_over.wait(0.05)


def write_on(mount: Path) -> tuple[int, int]:
    """Write files of 16 MiB, and remove all but the newest when there is no more room."""
    data = os.urandom(MIB)
    written = refused = number = oldest = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline or refused < REFUSALS_MIN:
        file = attempt(os.open, mount / f"{number}", os.O_CREAT | os.O_WRONLY)
        count: object = file
        if isinstance(file, int):
            number += 1
            for _ in range(16):
                count = attempt(os.write, file, data)
                if not isinstance(count, int):
                    break
                written += count
            os.close(file)
        if not isinstance(count, int):
            assert count == "ENOSPC", count
            refused += 1
            if refused % 5 == 0:
                while oldest < number - 2:
                    (mount / f"{oldest}").unlink()
                    oldest += 1
    return written, refused


@partial(scenario.fact, seconds_max=SECONDS + 120)
def a_writer_that_never_stops_has_nobody_killed(world: World) -> str:
    mount = world.folder / "mount"
    reader = Reader(mount)
    reader.start()
    try:
        written, refused = write_on(mount)
    finally:
        reader.is_over.set()
        reader.join()
    seen = events()
    assert (seen["oom"], seen["oom_kill"], reader.wrong) == (0, 0, "")
    assert written > 300 * MIB
    assert reader.longest_seconds < ANSWER_SECONDS_MAX
    peak = int((GROUP / "memory.peak").read_text())
    return (
        f"{written / MIB:.0f} MiB written, {refused} refused, longest answer "
        f"{1000 * reader.longest_seconds:.0f} ms, peak {peak / MIB:.0f} MiB, {seen}"
    )


@scenario.fact
def the_log_says_which_file_sets_the_limit(world: World) -> None:
    log = world.server.log.read_text()
    assert f"memory is short memory_from={GROUP}/memory.max" in log
    assert world.server.check()["violations"] == []


@scenario.fact
def a_limit_below_what_is_used_loses_nothing(world: World) -> str:
    mount = world.folder / "mount"
    number = 0
    while attempt((mount / f"full-{number}").write_bytes, bytes(MIB)) != "ENOSPC":
        number += 1
    used = size_bytes(mount)
    (GROUP / "memory.high").write_text(str(200 * MIB))
    until(lambda: os.statvfs(mount).f_bavail == 0, "nothing is available")
    seen = os.statvfs(mount)
    assert attempt((mount / "more").write_bytes, b"x" * MIB) == "ENOSPC"
    assert (mount / "kept").read_bytes() == b"what was there before" * 1000
    (GROUP / "memory.high").write_text("max")
    for path in mount.iterdir():
        if path.name != "kept":
            path.unlink()
    until(lambda: os.statvfs(mount).f_bavail * seen.f_frsize > 200 * MIB, "there is room again")
    (mount / "more").write_bytes(b"x" * MIB)
    assert events()["oom_kill"] == 0
    return f"{used / MIB:.0f} MiB, then {seen.f_blocks * seen.f_frsize / MIB:.0f}"


@scenario.fact
def the_server_leaves_the_group(world: World) -> None:
    (GROUPS / "cgroup.procs").write_text(str(world.server.pid))
    GROUP.rmdir()
    mount = world.folder / "mount"
    until(lambda: size_bytes(mount) > GROUP_BYTES, "df shows what the machine has")
    run("umount", GROUPS)
