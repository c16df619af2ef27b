"""The memory that a process may use, read from made-up /proc and /sys/fs/cgroup trees."""

import sys
import time
from pathlib import Path

import pytest

from ram9.server.config import ConfigError
from ram9.server.memory import (
    RESERVE_BYTES_MAX,
    RESERVE_BYTES_MIN,
    MemoryFiles,
    MemoryLeft,
    MemoryLimit,
    reserve_bytes,
)

MIB = 1 << 20
MACHINE = "MemTotal:        8192 kB\nMemFree:         1024 kB\nMemAvailable:    4096 kB\n"
MACHINE_BYTES = 8 * MIB
UNLIMITED_V1 = "9223372036854771712\n"


class Host:
    """Trees such as the kernel shows them, under *root*."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.cgroup = root / "cgroup"
        self.cgroup.mkdir()
        self.files = MemoryFiles(self.proc, self.cgroup)
        self.write(self.proc / "meminfo", MACHINE)

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def groups(self, text: str) -> None:
        """Let /proc/self/cgroup hold *text*."""
        self.write(self.proc / "self" / "cgroup", text)

    def limit(self, name: str, text: str) -> None:
        """Let the file *name* below /sys/fs/cgroup hold *text*."""
        self.write(self.cgroup / name, text)

    def found(self) -> MemoryLimit:
        return self.files.limit()

    def of(self, name: str, size_bytes: int) -> MemoryLimit:
        return MemoryLimit(size_bytes, str(self.cgroup / name))

    def refusal(self) -> str:
        with pytest.raises(ConfigError) as caught:
            self.found()
        return str(caught.value)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_without_control_groups_it_is_the_machine(host: Host) -> None:
    assert host.found() == MemoryLimit(MACHINE_BYTES, str(host.proc / "meminfo"))


def test_v2_maximum_of_our_group_counts(host: Host) -> None:
    host.groups("0::/app/ram9\n")
    host.limit("app/ram9/memory.max", "4194304\n")
    assert host.found() == host.of("app/ram9/memory.max", 4 * MIB)


def test_v2_group_without_a_maximum_has_that_of_the_machine(host: Host) -> None:
    host.groups("0::/app\n")
    host.limit("app/memory.max", "max\n")
    host.limit("app/memory.high", "max\n")
    assert host.found().size_bytes == MACHINE_BYTES


def test_v2_high_counts_like_the_maximum(host: Host) -> None:
    host.groups("0::/app\n")
    host.limit("app/memory.max", "4194304\n")
    host.limit("app/memory.high", "3145728\n")
    assert host.found() == host.of("app/memory.high", 3 * MIB)


def test_v2_limit_of_a_group_above_ours_counts(host: Host) -> None:
    host.groups("0::/pod/ram9\n")
    host.limit("pod/ram9/memory.max", "4194304\n")
    host.limit("pod/memory.max", "2097152\n")
    assert host.found() == host.of("pod/memory.max", 2 * MIB)


def test_a_limit_beyond_the_machine_is_that_of_the_machine(host: Host) -> None:
    host.groups("0::/app\n")
    host.limit("app/memory.max", str(MACHINE_BYTES + 1))
    assert host.found().size_bytes == MACHINE_BYTES


@pytest.mark.parametrize("groups", ["0::/\n", "0::/hidden/by/namespace\n", "0::/../other\n"])
def test_v2_group_that_the_mount_does_not_show_is_its_root(host: Host, groups: str) -> None:
    host.groups(groups)
    host.limit("memory.max", "1048576\n")
    assert host.found() == host.of("memory.max", MIB)


def test_a_group_outside_our_namespace_is_not_read_through_the_mount(host: Host) -> None:
    host.groups("0::/../other\n")
    host.write(host.cgroup.parent / "other" / "memory.max", "1\n")
    host.limit("memory.max", "1048576\n")
    assert host.found() == host.of("memory.max", MIB)


@pytest.mark.parametrize("controllers", ["memory", "cpu,memory"])
def test_v1_limit_of_our_group_counts(host: Host, controllers: str) -> None:
    host.groups(f"12:cpuset:/\n4:{controllers}:/docker/a:b\n0::/\n")
    host.limit("memory/docker/a:b/memory.limit_in_bytes", "4194304\n")
    host.limit("memory/memory.limit_in_bytes", UNLIMITED_V1)
    assert host.found() == host.of("memory/docker/a:b/memory.limit_in_bytes", 4 * MIB)


def test_v1_group_that_the_mount_does_not_show_is_its_root(host: Host) -> None:
    host.groups("4:memory:/docker/abc\n")
    host.limit("memory/memory.limit_in_bytes", "4194304\n")
    assert host.found() == host.of("memory/memory.limit_in_bytes", 4 * MIB)


def test_v1_groups_of_other_controllers_do_not_count(host: Host) -> None:
    host.groups("3:cpuset,memory_not:/app\n")
    host.limit("memory/app/memory.limit_in_bytes", "1\n")
    assert host.found().size_bytes == MACHINE_BYTES


def test_v1_unlimited_is_no_limit_even_if_the_machine_is_unknown(host: Host) -> None:
    host.write(host.proc / "meminfo", "")
    host.groups("4:memory:/\n")
    host.limit("memory/memory.limit_in_bytes", UNLIMITED_V1)
    assert host.refusal() == (
        f"cannot tell how much memory this process may use, because {host.proc / 'meminfo'} "
        "has no MemTotal and no control group has a limit: "
        "give --size in bytes, such as --size 1GiB"
    )


def test_a_control_group_is_enough_if_the_machine_is_unknown(host: Host) -> None:
    (host.proc / "meminfo").unlink()
    host.groups("0::/\n")
    host.limit("memory.max", "1048576\n")
    assert host.found() == host.of("memory.max", MIB)


def test_a_limit_that_is_not_a_number_is_refused(host: Host) -> None:
    host.groups("0::/\n")
    host.limit("memory.max", "much\n")
    assert host.refusal() == (
        f"cannot tell how much memory this process may use, because {host.cgroup / 'memory.max'} "
        "holds 'much', which is not a number: give --size in bytes, such as --size 1GiB"
    )


def test_a_limit_that_cannot_be_read_is_not_taken_for_none(host: Host) -> None:
    host.groups("0::/\n")
    (host.cgroup / "memory.max").mkdir()
    assert host.refusal() == (
        f"cannot tell how much memory this process may use, because {host.cgroup / 'memory.max'} "
        "is unreadable: Is a directory: give --size in bytes, such as --size 1GiB"
    )


def test_this_machine_has_memory() -> None:
    assert MemoryFiles().limit().size_bytes > 0


# What is left


@pytest.fixture
def large(host: Host) -> Host:
    """A machine of 64 GiB, of which 32 are available."""
    host.write(host.proc / "meminfo", "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n")
    return host


def test_of_the_machine_what_is_available_is_left_but_for_a_reserve(large: Host) -> None:
    expected = MemoryLeft(31 << 30, str(large.proc / "meminfo"))
    assert large.files.left() == expected


def v2_group(host: Host, name: str, limit: str, current: int, stat: str = "") -> None:
    host.limit(f"{name}/memory.max", limit)
    host.limit(f"{name}/memory.current", f"{current}\n")
    host.limit(f"{name}/memory.stat", stat)


def test_of_a_v2_group_what_it_does_not_use_is_left_but_for_a_reserve(large: Host) -> None:
    large.groups("0::/app\n")
    v2_group(large, "app", f"{1 << 30}\n", 200 * MIB)
    expected = (1024 - 64 - 200) * MIB
    assert large.files.left() == MemoryLeft(expected, str(large.cgroup / "app/memory.max"))


def test_half_of_the_clean_cache_of_files_is_left(large: Host) -> None:
    large.groups("0::/app\n")
    stat = f"anon 5\nfile 999\ninactive_file {60 * MIB}\nactive_file {50 * MIB}\n"
    stat += f"file_dirty {8 * MIB}\nfile_writeback {2 * MIB}\n"
    v2_group(large, "app", f"{1 << 30}\n", 200 * MIB, stat)
    assert large.files.left().left_bytes == (1024 - 64 - 200 + 50) * MIB


def test_more_unwritten_than_there_is_cache_takes_nothing_away(large: Host) -> None:
    large.groups("0::/app\n")
    stat = f"inactive_file {MIB}\nactive_file 0\nfile_dirty {8 * MIB}\n"
    v2_group(large, "app", f"{1 << 30}\n", 200 * MIB, stat)
    assert large.files.left().left_bytes == (1024 - 64 - 200) * MIB


def test_high_leaves_less_than_the_maximum(large: Host) -> None:
    large.groups("0::/app\n")
    v2_group(large, "app", f"{1 << 30}\n", 200 * MIB)
    large.limit("app/memory.high", f"{512 * MIB}\n")
    expected = MemoryLeft((512 - 32 - 200) * MIB, str(large.cgroup / "app/memory.high"))
    assert large.files.left() == expected


def test_a_group_above_that_others_fill_leaves_the_least(large: Host) -> None:
    large.groups("0::/pod/ram9\n")
    v2_group(large, "pod/ram9", f"{1 << 30}\n", 10 * MIB)
    v2_group(large, "pod", f"{2 << 30}\n", 1900 * MIB)
    expected = MemoryLeft((2048 - 128 - 1900) * MIB, str(large.cgroup / "pod/memory.max"))
    assert large.files.left() == expected


def test_a_group_that_uses_more_than_its_limit_leaves_less_than_nothing(large: Host) -> None:
    large.groups("0::/app\n")
    v2_group(large, "app", f"{256 * MIB}\n", 300 * MIB)
    assert large.files.left().left_bytes == (256 - 32 - 300) * MIB


def test_of_a_v1_group_everything_below_it_counts(large: Host) -> None:
    large.groups("4:memory:/app\n0::/\n")
    large.limit("memory/memory.limit_in_bytes", UNLIMITED_V1)
    large.limit("memory/app/memory.limit_in_bytes", f"{512 * MIB}\n")
    large.limit("memory/app/memory.usage_in_bytes", f"{100 * MIB}\n")
    large.limit(
        "memory/app/memory.stat",
        f"inactive_file 7\ntotal_inactive_file {10 * MIB}\ntotal_active_file {10 * MIB}\n"
        f"total_dirty {2 * MIB}\ntotal_writeback {2 * MIB}\n",
    )
    source = str(large.cgroup / "memory/app/memory.limit_in_bytes")
    assert large.files.left() == MemoryLeft((512 - 32 - 100 + 8) * MIB, source)


@pytest.mark.parametrize("lost", ["memory.current", "memory.stat"])
def test_without_what_a_group_uses_nothing_is_taken_for_left(large: Host, lost: str) -> None:
    large.groups("0::/app\n")
    v2_group(large, "app", f"{1 << 30}\n", 200 * MIB)
    path = large.cgroup / "app" / lost
    path.write_text("inactive_file x")
    with pytest.raises(ConfigError, match="not a number"):
        large.files.left()
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="unreadable"):
        large.files.left()


def test_a_group_that_does_not_say_what_it_uses_is_unknown(large: Host) -> None:
    large.groups("0::/app\n")
    large.limit("app/memory.max", "1048576\n")
    with pytest.raises(ConfigError, match=r"memory\.current is not there"):
        large.files.left()


def test_where_nothing_says_what_is_left_it_is_unknown(host: Host) -> None:
    host.write(host.proc / "meminfo", "MemTotal: 8192 kB\n")  # before Linux 3.14
    with pytest.raises(ConfigError, match="no MemAvailable"):
        host.files.left()


@pytest.mark.parametrize(
    ("limit_bytes", "expected"),
    [
        (512 * MIB, RESERVE_BYTES_MIN),
        (2048 * MIB, 128 * MIB),
        (1 << 40, RESERVE_BYTES_MAX),
    ],
)
def test_a_sixteenth_is_left_alone_within_bounds(limit_bytes: int, expected: int) -> None:
    assert reserve_bytes(limit_bytes) == expected


def test_memory_of_files_is_not_anonymous(host: Host) -> None:
    assert host.files.anonymous_bytes() == 0
    host.write(host.proc / "self" / "statm", "9000 1000 300 1 0 500 0\n")
    assert host.files.anonymous_bytes() == 700 * 4096


def test_pressure_is_told_for_our_group_or_else_for_the_machine(host: Host) -> None:
    host.groups("4:memory:/v1\n0::/app\n")
    assert list(host.files.pressure_paths()) == [
        host.cgroup / "app/memory.pressure",
        host.proc / "pressure/memory",
    ]


def test_looks_leave_nothing_behind() -> None:
    """Each look left the name of a method of text files in Python's cache of methods, wherever
    there was a place for it: after a tree of many files, in an otherwise empty piece of 1 MiB."""
    files = MemoryFiles()
    files.anonymous_bytes()
    others: list[str] = []  # take the places that a look before has left free
    before = sys.getallocatedblocks()
    for number in range(1000):
        files.anonymous_bytes()
        others.append(f"incrementaldecode{number}")
    others.clear()
    assert sys.getallocatedblocks() - before < 20


def test_a_look_at_this_machine_takes_no_time() -> None:
    """It is taken between two requests. Some 0.1 ms where nothing else runs."""
    files = MemoryFiles()
    assert files.anonymous_bytes() > MIB
    times = []
    for _ in range(20):
        began = time.perf_counter()
        files.left()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.005
