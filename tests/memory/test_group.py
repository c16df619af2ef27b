"""Groups that tests make are gone with the test, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.memory.group import Group
from tests.socket_client import wait_until

MIB = 1 << 20

# Makes a group with a process in it, says where, and waits for its end.
MAKE = """
import time
from tests.memory.group import Group
group = Group(64 << 20)
process = group.start(["sleep", "9999"])
print(group.folder, process.pid, flush=True)
time.sleep(9999)
"""


def test_a_group_ends_with_what_is_in_it() -> None:
    with Group(64 * MIB) as group:
        process = group.start(["sleep", "9999"])
        assert group.read("memory.limit_in_bytes") == 64 * MIB
        assert group.kills() == 0
    assert process.poll() == -signal.SIGKILL
    assert not group.folder.exists()


def test_it_ends_also_when_the_test_is_killed() -> None:
    with Group(64 * MIB):
        pass  # skips where there can be none
    maker = subprocess.Popen([sys.executable, "-c", MAKE], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    folder, process = maker.stdout.readline().split()
    maker.kill()
    maker.wait()
    maker.stdout.close()
    wait_until(lambda: not Path(folder).exists(), "the group is gone")
    wait_until(lambda: not Path("/proc", process).exists(), "and what was in it")


def test_the_kernel_kills_who_takes_more() -> None:
    """So a test that finds nobody killed has found something."""
    with Group(64 * MIB) as group:
        process = group.start([sys.executable, "-c", "x = b'x' * (100 << 20)"])
        assert process.wait(30) == -signal.SIGKILL
        assert group.kills() == 1
