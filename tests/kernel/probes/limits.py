"""Probes of what is largest, longest and deepest."""

import os
from pathlib import Path

from tests.kernel.probes.base import attempt, probe
from tests.kernel.scenario import FULL

LARGEST = 2**63 - 1
DEEP = 10_000 if FULL else 600
MANY = 20_000 if FULL else 1500


@probe
def names_of_any_bytes(top: Path) -> object:
    place = os.fsencode(top)
    allowed = bytes(byte for byte in range(1, 256) if byte != 0x2F)
    names = [allowed, allowed + b"\xff", b"\xff" * 255, *(bytes([byte]) for byte in allowed)]
    dots = {b".", b".."}
    for name in names:
        if name not in dots:
            os.close(os.open(place + b"/" + name, os.O_CREAT | os.O_WRONLY))
    seen: list[object] = [sorted(os.listdir(place)) == sorted(set(names) - dots)]
    seen.append(attempt(os.mkdir, place + b"/" + b"\xfe" * 256))
    for name in set(names) - dots:
        os.unlink(place + b"/" + name)
    return [*seen, os.listdir(place)]


@probe
def appending_by_sizes_up_to_the_last_byte(top: Path) -> object:
    """Only without a cache: with one, Linux has its own limits (MAX_LFS_FILESIZE in pages)."""
    fd = os.open(top / "file", os.O_CREAT | os.O_RDWR)
    seen: list[object] = []
    for size in 2**40, 2**62, LARGEST - 1, LARGEST:
        seen += [attempt(os.ftruncate, fd, size), os.fstat(fd).st_size == size]
        seen.append(attempt(os.pread, fd, 1, size - 1) == b"\0")
    for offset in LARGEST - 1, LARGEST - 2, LARGEST - 4096, LARGEST:
        seen.append(attempt(os.pwrite, fd, b"x", offset))
        seen.append(repr(attempt(os.pread, fd, 1, offset)))
    seen += [attempt(os.pwrite, fd, b"xy", LARGEST - 1), attempt(os.pread, fd, 2, LARGEST - 1)]
    seen += [attempt(os.lseek, fd, LARGEST, os.SEEK_SET), attempt(os.write, fd, b"x")]
    seen += [repr(attempt(os.read, fd, 1)), attempt(os.ftruncate, fd, -1), os.fstat(fd).st_size]
    os.ftruncate(fd, 0)
    seen.append(os.fstat(fd).st_blocks)
    os.close(fd)
    return seen


@probe
def directories_far_below_each_other(top: Path) -> object:
    way = [os.open(top, os.O_DIRECTORY)]
    before = os.open(".", os.O_DIRECTORY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=way[-1])
        way.append(os.open("d", os.O_DIRECTORY, dir_fd=way[-1]))
        if len(way) > 2:
            os.close(way.pop(0))
    os.fchdir(way[-1])
    Path("file").write_bytes(b"far down")
    seen: list[object] = [Path("file").read_text(), os.stat("..").st_nlink]
    seen.append(attempt(os.mkdir, "x" * 4096))
    os.unlink("file")
    for _ in range(DEEP):
        os.chdir("..")
        os.rmdir("d")
    seen += [os.listdir("."), os.stat(".").st_nlink]
    os.fchdir(before)
    for fd in *way, before:
        os.close(fd)
    return seen


@probe
def removing_while_listing(top: Path) -> object:
    for number in range(MANY):
        os.close(os.open(top / str(number), os.O_CREAT | os.O_WRONLY))
    seen = 0
    with os.scandir(top) as entries:
        for entry in entries:
            os.unlink(entry)
            seen += 1
    return [seen, os.listdir(top)]
