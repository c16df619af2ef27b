"""Each kind of memory is what the system says it is (/proc/PID/smaps), and bears what it must."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from ram9.storage.backing import Backing, Kind
from ram9.storage.budget import Budget
from ram9.storage.content import Content
from ram9.storage.disk import Disk
from ram9.storage.errors import FileSystemError

MIB = 1 << 20


def smaps(disk: Disk) -> dict[str, str]:
    """What the system says of the mapping of a disk: proc_pid_smaps(5)."""
    text = Path("/proc/self/smaps").read_text()
    start = disk.arena._address
    found: dict[str, str] = {}
    is_ours = False
    for line in text.splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            is_ours = int(head[1], 16) <= start < int(head[2], 16)
        elif is_ours:
            name, _, value = line.partition(":")
            found[name] = value.strip()
    return found


def kib(disk: Disk, name: str) -> int:
    return int(smaps(disk)[name].split()[0])


def test_pageable_memory_is_dumped_and_swapped_as_any_other() -> None:
    flags = smaps(Disk(Budget(MIB, 1)))["VmFlags"].split()
    assert not {"lo", "dd", "hg"} & set(flags)


def test_locked_memory_is_not_swapped_and_not_dumped() -> None:
    disk = Disk(Budget(MIB // 4, 1), backing=Backing(Kind.LOCKED))  # everybody may lock some MiB
    content = Content(disk)
    content.write(0, b"x" * 65536)
    assert {"lo", "dd"} <= set(smaps(disk)["VmFlags"].split())
    assert kib(disk, "Locked") == kib(disk, "Rss") >= 64
    content.truncate(0)
    disk.space.cool()
    assert kib(disk, "Rss") == 0
    content.write(0, b"x" * 65536)
    assert kib(disk, "Locked") == kib(disk, "Rss") >= 64


LOCKED_BY_NOBODY = """
import os, resource
from ram9.storage.backing import Backing, BackingError, Kind
from ram9.storage.budget import Budget
from ram9.storage.disk import Disk

resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))
if not os.geteuid():
    os.setuid(65534)
disk = Disk(Budget(1 << 19, 1), backing=Backing(Kind.LOCKED))
print(disk.room_bytes)
try:
    Disk(Budget(1 << 20, 1), backing=Backing(Kind.LOCKED))
except BackingError as error:
    print(error)
"""


def test_who_may_lock_less_has_less_room_or_is_told() -> None:
    command = [sys.executable, "-c", LOCKED_BY_NOBODY]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    room, said = run.stdout.splitlines()
    assert int(room) == 1 << 19
    assert re.search(r"1048576 bytes cannot be locked .* may lock 1048576 .*LimitMEMLOCK", said)


def has_huge_pages() -> bool:
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return path.exists() and "[never]" not in path.read_text()


@pytest.mark.skipif(not has_huge_pages(), reason="this system has no transparent huge pages")
def test_huge_memory_is_in_huge_pages_and_goes_back_in_small_ones() -> None:
    disk = Disk(Budget(64 * MIB, 1), backing=Backing(Kind.HUGE))
    assert "hg" in smaps(disk)["VmFlags"].split()
    content = Content(disk)
    for offset in range(0, 16 * MIB, MIB):
        content.write(offset, b"x" * MIB)
    granted_kib = kib(disk, "AnonHugePages")
    assert granted_kib % 2048 == 0  # how many there are, the system decides
    content.truncate(5 * MIB)
    disk.space.cool()
    assert kib(disk, "Rss") <= 6 * 1024
    assert content.read(0, 6 * MIB) == b"x" * (5 * MIB)


def test_memory_of_a_file_is_none_of_ours(tmp_path: Path) -> None:
    """RssAnon does not grow: the pages are the page cache's, which writes them out."""
    disk = Disk(Budget(64 * MIB, 1), backing=Backing(Kind.FILE, str(tmp_path)))
    Content(disk).write(0, b"x" * (16 * MIB))
    assert kib(disk, "Anonymous") == 0
    assert "sh" in smaps(disk)["VmFlags"].split()
    assert disk.memory[: 16 * MIB] == b"x" * (16 * MIB)


# Writes until there is no space, removes one file of two, and writes again; then says what it saw.
FULL = textwrap.dedent("""
    import sys
    from ram9.storage.backing import Backing, Kind
    from ram9.storage.check import check
    from ram9.storage.errors import FileSystemError
    from ram9.storage.filesystem import FileSystem
    from ram9.storage.limits import Limits

    filesystem = FileSystem(
        Limits(64 << 20, 1000), lambda: 0, backing=Backing(Kind.FILE, sys.argv[1], wipe=True)
    )
    files = []

    def fill(letter):
        try:
            while True:
                name = b"%d" % len(files)
                files.append(filesystem.create(filesystem.root, name, 0o644, 0, 0))
                for offset in range(0, 1 << 20, 100_000):
                    filesystem.write(files[-1], offset, letter * 100_000)
        except FileSystemError as error:
            return error.errno.name

    said = [fill(b"a"), filesystem.budget.used_bytes < 8 << 20]
    whole = len(files) - 1
    for number in range(0, whole, 2):
        filesystem.unlink(filesystem.root, b"%d" % number)
    filesystem.disk.space.cool()
    said += [fill(b"b"), len(files) > whole + 1]
    contents = [file.content.read(0, 1 << 21) for file in files if file.nlink]
    said.append(all(len(set(content)) <= 1 for content in contents))
    print(*said, *check(filesystem))
""")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("to mount a small disk takes root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_below_that_is_full_is_an_error_and_no_signal(small_disk: Path) -> None:
    command = [sys.executable, "-c", FULL, str(small_disk)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "ENOSPC True ENOSPC True True\n"), run.stderr


def test_a_disk_below_that_is_too_small_for_the_file_holds_what_it_can(small_disk: Path) -> None:
    disk = Disk(Budget(1 << 40, 1), backing=Backing(Kind.FILE, str(small_disk)))
    content = Content(disk)
    content.write(0, b"x" * MIB)
    with pytest.raises(FileSystemError, match="ENOSPC"):
        content.write(MIB, b"x" * (16 * MIB))
    assert content.read(0, 2 * MIB) == b"x" * MIB
