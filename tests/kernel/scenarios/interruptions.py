"""Processes that are killed while they wait for the server, and a server that cannot serve."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.kernel.scenario import Scenario, run
from tests.kernel.world import World

scenario = Scenario(
    "interruptions",
    memory_mib=1500,
    expected_log=[r"WARNING gone .*the server stops"],
)

BUSY = """
import os, sys
place, number = sys.argv[1], sys.argv[2]
fd = os.open(f"{place}/busy {number}", os.O_RDWR | os.O_CREAT)
data = os.urandom(1 << 20)
while True:
    os.pwrite(fd, data, 0)
    os.pread(fd, 1 << 20, 0)
    os.mkdir(f"{place}/folder {number}")
    os.rmdir(f"{place}/folder {number}")
    os.write(1, b".")
"""


def start_busy(place: Path, count: int) -> list[subprocess.Popen[bytes]]:
    """Processes, each of which has gone round once."""
    ends, processes = [], []
    for number in range(count):
        end, other_end = os.pipe()
        command = [sys.executable, "-c", BUSY, str(place), str(number)]
        processes.append(subprocess.Popen(command, stdout=other_end))
        os.close(other_end)
        ends.append(end)
    for end in ends:
        assert os.read(end, 1) == b"."
    for end in ends:
        threading.Thread(target=drain, args=[end], daemon=True).start()
    return processes


def drain(pipe: int) -> None:
    while os.read(pipe, 1 << 16):
        pass
    os.close(pipe)


def kill(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        assert process.wait(20) == -signal.SIGKILL


def expect_working(place: Path) -> None:
    data = os.urandom(300_000)
    (place / "after").write_bytes(data)
    assert (place / "after").read_bytes() == data
    os.unlink(place / "after")


@scenario.fact
def a_mount_works_on_after_processes_were_killed_in_the_middle(world: World) -> str:
    mount = world.mount("mount", "trans=tcp,version=9p2000.L,msize=1048576")
    (mount / "kept").write_bytes(b"kept" * 100_000)
    kept = hashlib.sha256(b"kept" * 100_000)
    for _ in range(4):
        busy = start_busy(mount, 4)
        time.sleep(1.5)
        kill(busy)
        expect_working(mount)
        run("bash", "-c", f"rm -rf {mount}/busy* {mount}/folder*")
    assert hashlib.sha256((mount / "kept").read_bytes()).digest() == kept.digest()
    assert os.listdir(mount) == ["kept"]
    finding = world.server.check()
    assert finding["violations"] == []
    assert finding["orphans"] == 0
    return f"{finding['flushes']} flushes"


@scenario.fact
def requests_of_killed_processes_are_flushed(world: World) -> str:
    mount = world.folder / "mount"
    before = world.server.check()["flushes"]
    busy = start_busy(mount, 5)
    time.sleep(2)
    world.server.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    for process in busy:
        process.kill()
    time.sleep(0.5)
    world.server.process.send_signal(signal.SIGCONT)
    kill(busy)
    expect_working(mount)
    run("bash", "-c", f"rm -rf {mount}/busy* {mount}/folder*")
    finding = world.server.check()
    assert finding["violations"] == []
    assert finding["orphans"] == 0
    assert isinstance(before, int)
    assert isinstance(finding["flushes"], int)
    assert finding["flushes"] > before, "nothing was flushed: the test does not do its work"
    return f"{finding['flushes'] - before} flushes"


@scenario.fact
def a_killed_waiter_for_a_lock_does_not_get_it(world: World) -> None:
    mount, other = world.folder / "mount", world.mount("other")
    (mount / "lock").touch()
    waiter_code = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.flock(f, fcntl.LOCK_EX)"
    holder_code = waiter_code + "; print('held', flush=True); import time; time.sleep(99)"
    holder = subprocess.Popen(
        [sys.executable, "-c", holder_code, str(mount / "lock")], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    waiter = subprocess.Popen([sys.executable, "-c", waiter_code, str(other / "lock")])
    time.sleep(1)
    assert waiter.poll() is None
    kill([waiter])
    kill([holder])
    holder.stdout.close()
    run("timeout", "10", sys.executable, "-c", waiter_code, other / "lock")
    world.unmount(other)
    (mount / "lock").unlink()


@scenario.fact
def after_the_server_has_stopped_a_mount_gives_errors_and_unmounts(world: World) -> str:
    mount = world.folder / "mount"
    seen = []
    with (mount / "kept").open("rb", buffering=0) as file:
        assert file.read(4) == b"kept"
        busy = start_busy(mount, 2)
        time.sleep(1)
        assert world.server.stop() == 0
        for process in busy:
            process.wait(20)
        for attempt in lambda: file.read(4), lambda: os.stat(mount / "kept"), mount.rmdir:
            try:
                attempt()
            except OSError as error:
                seen.append(error.strerror or "")
    assert len(seen) == 3, seen
    start = time.monotonic()
    world.unmount(mount)
    assert time.monotonic() - start < 5
    return ", ".join(seen)
