"""Probes of what is in files: writing, truncating, holes, mappings."""

import hashlib
import mmap
import os
from pathlib import Path

from tests.kernel.probes.base import attempt, in_child, mapped, probe, write


@probe
def appending_by_two_writers_loses_nothing(top: Path) -> object:
    file = write(top / "log", b"")

    def append(letter: bytes) -> int:
        fd = os.open(file, os.O_WRONLY | os.O_APPEND)
        for _ in range(50):
            os.write(fd, letter * 99 + b"\n")
        os.close(fd)
        return 0

    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.read(reader, 1)
        append(b"a")
        os._exit(0)
    os.write(writer, b"!")
    append(b"b")
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    lines = file.read_bytes().split(b"\n")
    return [len(lines), lines.count(b"a" * 99), lines.count(b"b" * 99)]


@probe
def appending_goes_to_the_end_wherever_one_has_read(top: Path) -> object:
    file = write(top / "file", b"0123456789")
    fd = os.open(file, os.O_RDWR | os.O_APPEND)
    seen = [os.pread(fd, 3, 2).decode(), os.lseek(fd, 1, os.SEEK_SET), os.write(fd, b"end")]
    seen += [os.lseek(fd, 0, os.SEEK_CUR), os.fstat(fd).st_size]
    os.close(fd)
    return [*seen, file.read_text()]


@probe
def truncating(top: Path) -> object:
    file = write(top / "file", b"x" * 5000)
    seen: list[object] = []
    os.close(os.open(file, os.O_WRONLY | os.O_TRUNC))
    seen.append(file.stat().st_size)
    os.truncate(file, 3000)
    seen.append(file.read_bytes() == bytes(3000))
    write(file, b"y" * 600)
    os.truncate(file, 10)
    os.truncate(file, 2000)
    seen.append(hashlib.sha256(file.read_bytes()).hexdigest())
    fd = os.open(file, os.O_RDONLY)
    seen += [attempt(os.ftruncate, fd, 1), attempt(os.truncate, top, 0)]
    os.close(fd)
    return [*seen, attempt(os.truncate, file, -1), attempt(os.truncate, top / "absent", 0)]


@probe
def an_unlinked_open_file_lives_on(top: Path) -> object:
    file = write(top / "file", b"0123456789")
    fd = os.open(file, os.O_RDWR)
    file.unlink()
    seen: list[object] = [os.listdir(top), os.fstat(fd).st_nlink, os.pread(fd, 4, 3).decode()]
    seen += [os.pwrite(fd, b"new", 20), os.fstat(fd).st_size, os.pread(fd, 30, 0).hex()]
    os.ftruncate(fd, 5)
    os.fchmod(fd, 0o600)
    os.utime(fd, (5, 6))
    attempt(os.setxattr, fd, "user.a", b"b")
    seen += [os.fstat(fd).st_size, oct(os.fstat(fd).st_mode), os.fstat(fd).st_mtime_ns]
    write(file, b"another")
    seen += [os.pread(fd, 9, 0).decode(), attempt(os.getxattr, fd, "user.a")]
    os.close(fd)
    return [*map(str, seen), file.read_text()]


@probe
def sparse_files(top: Path) -> object:
    file = top / "sparse"
    fd = os.open(file, os.O_RDWR | os.O_CREAT)
    seen: list[object] = []
    for offset in 1 << 20, 1 << 40, (1 << 62) - 4:
        seen += [os.pwrite(fd, b"here", offset), os.fstat(fd).st_size]
        seen += [os.pread(fd, 9, offset - 3).hex(), os.fstat(fd).st_blocks < 100]
    seen += [os.pread(fd, 10, 1 << 61).hex(), os.pread(fd, 10, 1 << 62).hex()]
    os.ftruncate(fd, (1 << 20) + 2)
    seen += [os.fstat(fd).st_size, os.pread(fd, 9, (1 << 20) - 1).hex()]
    os.close(fd)
    return seen


@probe
def reading_and_writing_at_odd_places(top: Path) -> object:
    file = top / "file"
    fd = os.open(file, os.O_RDWR | os.O_CREAT)
    wanted = bytearray()
    for step in range(1, 40):
        offset, data = step * 7919 % 50_000, bytes([step]) * (step * step * 31 % 9000 + 1)
        wanted.extend(bytes(max(0, offset + len(data) - len(wanted))))
        wanted[offset : offset + len(data)] = data
        os.pwrite(fd, data, offset)
    seen: list[object] = [os.pread(fd, len(wanted) + 9, 0) == wanted, len(wanted)]
    seen += [os.pread(fd, 5000, place) == wanted[place : place + 5000] for place in (1, 511, 4097)]
    seen += [os.pwritev(fd, [b"ab", b"", b"c" * 5000], 3), os.lseek(fd, -5, os.SEEK_END)]
    seen += [os.read(fd, 10).hex(), os.read(fd, 10).hex(), attempt(os.lseek, fd, -1, os.SEEK_SET)]
    os.fsync(fd)
    os.close(fd)
    return [*seen, hashlib.sha256(file.read_bytes()).hexdigest()]


@probe
def a_private_mapping_sees_the_file_and_keeps_its_changes(top: Path) -> object:
    file = write(top / "file", bytes(range(256)) * 40)
    with file.open("rb") as opened:
        memory = mmap.mmap(opened.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=3)
        seen = [hashlib.sha256(memory).hexdigest()]
        memory[5000:5004] = b"mine"
        seen.append(memory[4999:5005].hex())
        memory.close()
    return [*seen, hashlib.sha256(file.read_bytes()).hexdigest()]


@mapped
def a_shared_mapping_is_the_file(top: Path) -> object:
    file = write(top / "file", bytes(10_000))
    with file.open("r+b") as opened:
        memory = mmap.mmap(opened.fileno(), 0)
        memory[4090:4100] = b"acrosspage"
        memory.flush()
        seen: list[object] = [os.pread(opened.fileno(), 12, 4089).hex()]
        os.pwrite(opened.fileno(), b"from write", 9000)
        seen.append(bytes(memory[9000:9010]).hex())

        def change() -> int:
            memory[0:5] = b"child"
            return 0

        in_child(change)
        seen.append(bytes(memory[:6]).hex())
        memory.close()
    return [*seen, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()]


@mapped
def a_shared_mapping_is_written_when_it_is_closed(top: Path) -> object:
    file = top / "file"
    with file.open("w+b") as opened:
        opened.truncate(100_001)
        memory = mmap.mmap(opened.fileno(), 0)
        for place in range(0, 100_001, 997):
            memory[place] = place % 251
        memory.close()
    return [file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()]
