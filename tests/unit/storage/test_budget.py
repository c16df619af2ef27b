"""The budget is exact, and what it charges is what this process really spends."""

import subprocess
import sys

import pytest

from ram9.storage.budget import Budget
from ram9.storage.errors import FileSystemError
from ram9.storage.limits import SECTOR_BYTES


@pytest.fixture
def budget() -> Budget:
    return Budget(1000, 2)


def test_used_and_available_are_the_limit(budget: Budget) -> None:
    budget.reserve_inode(300)
    assert (budget.used_bytes, budget.available_bytes) == (300, 700)
    assert (budget.used_inodes, budget.available_inodes) == (1, 1)


def test_the_last_byte_can_be_reserved(budget: Budget) -> None:
    budget.reserve(1000)
    assert budget.available_bytes == 0


def test_one_byte_more_is_refused_and_leaves_no_trace(budget: Budget) -> None:
    with pytest.raises(FileSystemError, match="ENOSPC"):
        budget.reserve(1001)
    assert budget.used_bytes == 0


def test_an_inode_without_its_bytes_is_refused_and_leaves_no_trace(budget: Budget) -> None:
    with pytest.raises(FileSystemError, match="ENOSPC"):
        budget.reserve_inode(1001)
    assert (budget.used_bytes, budget.used_inodes) == (0, 0)


def test_one_inode_more_is_refused(budget: Budget) -> None:
    budget.reserve_inode(1)
    budget.reserve_inode(1)
    with pytest.raises(FileSystemError, match="ENOSPC"):
        budget.reserve_inode(1)
    assert budget.used_bytes == 2


def test_what_is_released_is_available_again(budget: Budget) -> None:
    budget.reserve_inode(1000)
    budget.release_inode(1000)
    assert (budget.available_bytes, budget.available_inodes) == (1000, 2)


def test_less_can_be_reserved_when_everything_is_used(budget: Budget) -> None:
    budget.reserve(1000)
    budget.reserve(-1)
    assert budget.used_bytes == 999


def test_releasing_more_than_is_used_is_a_mistake(budget: Budget) -> None:
    with pytest.raises(AssertionError):
        budget.release_sectors(1)


def test_refusals_are_counted(budget: Budget) -> None:
    with pytest.raises(FileSystemError):
        budget.reserve(1001)
    assert budget.refusals == 1


def test_beside_sectors_nothing_is_had_once_memory_is_short(budget: Budget) -> None:
    """Files that left one sector of each page behind made the process twice as large as its limit,
    once names and attributes had taken the rest."""
    budget.memory.bytes_max = 100
    budget.reserve(100)
    with pytest.raises(FileSystemError, match="ENOSPC"):
        budget.reserve_inode(1)
    assert (budget.used_bytes, budget.used_inodes) == (100, 0)
    budget.reserve_sectors(512)
    assert budget.used_bytes == 612


def test_before_that_what_is_free_is_asked_to_give_memory_back(budget: Budget) -> None:
    def reclaim(count_bytes: int) -> None:
        assert budget.memory.missing_bytes(count_bytes) == 100
        budget.memory.arena_sectors -= 1

    budget.reclaim = reclaim
    budget.memory.arena_sectors = 1
    budget.memory.bytes_max = SECTOR_BYTES
    budget.reserve(100)
    assert budget.memory.resident_bytes == 0


# Prints what was charged for one of many, and by how much the process grew for it.
MEASURE = """
import gc, sys
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

COUNT = 50_000
now_ns = 10**18

def clock():
    global now_ns
    now_ns += 1000
    return now_ns

def resident_bytes():
    gc.collect()
    status = open("/proc/self/status").read()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024

filesystem = FileSystem(Limits(4 << 30, 10**6), clock)
directory = filesystem.mkdir(filesystem.root, b"directory", 0o755, 0, 0)

def create(number, owner=0):
    ids = int(str(owner)), int(str(owner))  # as they come from the wire: objects of their own
    return filesystem.create(directory, b"%08d" % number, 0o644, *ids)

before_bytes, charged_bytes = resident_bytes(), filesystem.budget.used_bytes
exec(sys.argv[1])
print(filesystem.budget.used_bytes - charged_bytes, resident_bytes() - before_bytes)
"""


@pytest.mark.parametrize(
    "workload",
    [
        pytest.param("for i in range(COUNT): create(i)", id="empty files of root"),
        pytest.param("for i in range(COUNT): create(i, 1000)", id="empty files of a user"),
        pytest.param(
            "for i in range(COUNT // 2): filesystem.write(create(i), 0, b'x' * 400)",
            id="files of one sector",
        ),
        pytest.param(
            "file = create(0)\nfor i in range(COUNT): filesystem.write(file, 1024 * i, b'x')",
            id="one file of many runs",
        ),
        pytest.param(
            "files = [create(i) for i in range(COUNT // 20)]\n"
            "for i in range(20):\n"
            "    for file in files: filesystem.write(file, 1024 * i, b'x')",
            id="files of some runs",
        ),
        pytest.param(
            "for i in range(COUNT // 2):\n"
            "    filesystem.set_xattr(create(i), b'user.%04d' % i, b'%08d' % i)",
            id="files with an attribute",
        ),
        pytest.param(
            "for i in range(COUNT // 10):\n"
            "    file = create(i)\n"
            "    for j in range(20): filesystem.set_xattr(file, b'user.%04d' % j, b'%08d' % i)",
            id="files with many attributes",
        ),
        pytest.param(
            "for i in range(COUNT): filesystem.mkdir(directory, b'%08d' % i, 0o755, 0, 0)",
            id="empty directories",
        ),
        pytest.param(
            "file = create(0)\n"
            "for i in range(COUNT): filesystem.link(file, directory, b'%0100d' % i)",
            id="long names",
        ),
    ],
)
def test_what_is_charged_is_what_it_costs(workload: str) -> None:
    """Within 10 %, data included: a volume of 1 GiB must not take 2 GiB."""
    command = [sys.executable, "-c", MEASURE, workload]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    charged_bytes, grown_bytes = map(int, run.stdout.split())
    assert 0.9 <= charged_bytes / grown_bytes <= 1.1
