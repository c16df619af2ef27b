"""The memory that a process may use, read from made-up /proc and /sys/fs/cgroup trees."""

import asyncio
from pathlib import Path

import pytest

from ram9.server.config import ConfigError
from ram9.server.memory import MemoryLimit, memory_limit

MIB = 1 << 20
MACHINE = "MemTotal:        8192 kB\nMemFree:         1024 kB\n"
MACHINE_BYTES = 8 * MIB
UNLIMITED_V1 = "9223372036854771712\n"


class Host:
    """Trees such as the kernel shows them, under *root*."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.cgroup = root / "cgroup"
        self.cgroup.mkdir()
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
        return asyncio.run(memory_limit(self.proc, self.cgroup))

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
    assert asyncio.run(memory_limit()).size_bytes > 0
