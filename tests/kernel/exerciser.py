"""Exercises one file at random and compares everything read with a copy in memory.

In the tradition of fsx (Apple, 1991). By itself, in any directory:

    python -m tests.kernel.exerciser FILE --seed 7 --count 100000 --mapping write

What a run does depends on the seed, on what may be mapped and on what the file system supports.
"""

import argparse
import ctypes
import errno
import fcntl
import mmap
import os
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from enum import Enum
from pathlib import Path
from typing import Final

FILE_BYTES_MAX: Final = 256 << 10
TRANSFER_BYTES_MAX: Final = 64 << 10
ALLOCATION_BYTES_MAX: Final = 16 << 10  # glibc writes to each block where fallocate(2) is refused
LOG_LENGTH: Final = 40
OPERATIONS_BETWEEN_COMPARISONS: Final = 400
EDGES: Final = (512, 4072, 4096, 65536)  # a sector, what a message of 4096 carries, a page

FALLOC_FL_KEEP_SIZE: Final = 1
FALLOC_FL_PUNCH_HOLE: Final = 2
FALLOC_FL_ZERO_RANGE: Final = 16


class Mapping(Enum):
    """What of the file is mapped while it is exercised."""

    NONE = "none"
    READ = "read"  # shared, from a descriptor that cannot write
    WRITE = "write"  # shared, and written to


class Exerciser:
    """One file, the copy that it must be like, and a log of what was done to both.

    *without* names the operations (methods) that are left out.
    """

    def __init__(
        self,
        path: Path,
        seed: int,
        mapping: Mapping = Mapping.NONE,
        without: Collection[str] = (),
    ) -> None:
        self.path = path
        self.seed = seed
        self.mapping = mapping
        self.model = bytearray()
        self.count = 0
        self.done: Counter[str] = Counter()
        self.refused: set[str] = set()
        self._chance = random.Random(seed)
        self._log: deque[str] = deque(maxlen=LOG_LENGTH)
        self._memory: mmap.mmap | None = None
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self._weights = {
            self.write: 16,
            self.read: 14,
            self.write_vector: 4,
            self.read_vector: 4,
            self.write_at_the_place: 5,
            self.read_at_the_place: 5,
            self.read_through_another: 6,
            self.append: 6,
            self.truncate: 4,
            self.extend: 3,
            self.empty: 1,
            self.allocate: 2,
            self.copy: 3,
            self.look: 4,
            self.reopen: 4,
            self.flush: 3,
            self.forget: 4,
            self.lock: 2,
            self.punch: 2,
            self.zero: 2,
        }
        if mapping is not Mapping.NONE:
            self._weights |= {self.map: 3, self.unmap: 1, self.read_map: 14}
        if mapping is Mapping.WRITE:
            self._weights |= {self.write_map: 16, self.flush_map: 3}
        for name in without:
            del self._weights[getattr(self, name)]

    def run(self, count: int) -> None:
        """Do *count* operations; AssertionError, with the end of the log, at a difference."""
        for _ in range(count):
            self.step()
        self.compare()

    def step(self) -> None:
        operations = list(self._weights)
        operation = self._chance.choices(operations, list(self._weights.values()))[0]
        self.count += 1
        self.done[operation.__name__] += 1
        try:
            operation()
        except OSError as error:
            self._refuse(operation, error)
        if self.count % OPERATIONS_BETWEEN_COMPARISONS == 0:
            self.compare()

    def compare(self) -> None:
        """Compare the whole file, as somebody sees it who opens it now."""
        self._note("compare", 0, len(self.model))
        self._expect(0, self.path.read_bytes(), len(self.model))

    def close(self) -> None:
        self.unmap()
        os.close(self._fd)

    def write(self) -> None:
        offset, data = self._new_data()
        self._note("write", offset, len(data))
        self._expect_count(os.pwrite(self._fd, data, offset), len(data))
        self._put(offset, data)

    def read(self) -> None:
        offset, count = self._old_range()
        self._note("read", offset, count)
        self._expect(offset, os.pread(self._fd, count, offset), count)

    def write_vector(self) -> None:
        offset, data = self._new_data()
        self._note("write vector", offset, len(data))
        view, cut = memoryview(data), self._chance.randrange(len(data) + 1)
        self._expect_count(os.pwritev(self._fd, [view[:cut], view[cut:]], offset), len(data))
        self._put(offset, data)

    def read_vector(self) -> None:
        offset, count = self._old_range()
        self._note("read vector", offset, count)
        buffer = memoryview(bytearray(count))
        cut = self._chance.randrange(count + 1)
        got = os.preadv(self._fd, [buffer[:cut], buffer[cut:]], offset)
        self._expect(offset, bytes(buffer[:got]), count)

    def write_at_the_place(self) -> None:
        offset, data = self._new_data()
        self._note("seek and write", offset, len(data))
        os.lseek(self._fd, offset, os.SEEK_SET)
        self._expect_count(os.write(self._fd, data), len(data))
        self._put(offset, data)

    def read_at_the_place(self) -> None:
        offset, count = self._old_range()
        self._note("seek and read", offset, count)
        os.lseek(self._fd, offset - len(self.model), os.SEEK_END)
        self._expect(offset, os.read(self._fd, count), count)

    def read_through_another(self) -> None:
        """Read through a descriptor of its own."""
        offset, count = self._old_range()
        self._note("read through another", offset, count)
        fd = os.open(self.path, os.O_RDONLY)
        try:
            self._expect(offset, os.pread(fd, count, offset), count)
        finally:
            os.close(fd)

    def append(self) -> None:
        _, data = self._new_data()
        data = data[: max(FILE_BYTES_MAX - len(self.model), 0)]
        access = self._chance.choice((os.O_WRONLY, os.O_RDWR))
        self._note(f"append {access}", len(self.model), len(data))
        fd = os.open(self.path, access | os.O_APPEND)
        try:
            self._expect_count(os.write(fd, data), len(data))
        finally:
            os.close(fd)
        self.model += data

    def truncate(self) -> None:
        size = self._chance.randrange(len(self.model) + 1)
        self._note("truncate", size, 0)
        os.truncate(self._chance.choice((self._fd, self.path)), size)
        del self.model[size:]

    def extend(self) -> None:
        size = self._chance.randint(len(self.model), max(FILE_BYTES_MAX, len(self.model)))
        self._note("extend", size, 0)
        os.ftruncate(self._fd, size)
        self.model += bytes(size - len(self.model))

    def empty(self) -> None:
        self._note("open and empty", 0, 0)
        os.close(os.open(self.path, self._chance.choice((os.O_WRONLY, os.O_RDWR)) | os.O_TRUNC))
        self.model.clear()

    def allocate(self) -> None:
        offset = self._offset()
        count = self._chance.randint(1, ALLOCATION_BYTES_MAX)
        self._note("allocate", offset, count)
        os.posix_fallocate(self._fd, offset, count)
        self.model += bytes(max(offset + count - len(self.model), 0))

    def copy(self) -> None:
        """copy_file_range(2) within the file, between ranges that do not overlap."""
        source, count = self._old_range()
        count = min(count, len(self.model) - source)
        target = self._offset()
        if count <= 0 or abs(target - source) < count:
            return
        self._note(f"copy {source}", target, count)
        copied = 0
        while copied < count:
            step = os.copy_file_range(
                self._fd, self._fd, count - copied, source + copied, target + copied
            )
            assert step > 0, self._story("copy_file_range copied nothing")
            copied += step
        self._put(target, bytes(self.model[source : source + count]))

    def look(self) -> None:
        """Compare the size. Not after each step: asking for it makes a client write back."""
        self._note("look", 0, 0)
        size = self._chance.choice((os.fstat(self._fd), self.path.stat())).st_size
        what = f"the size is {size} and should be {len(self.model)}"
        assert size == len(self.model), self._story(what)

    def reopen(self) -> None:
        flags = self._chance.choice((0, 0, os.O_DSYNC, os.O_SYNC))
        self._note(f"reopen {flags:#x}", 0, 0)
        self.unmap()
        os.close(self._fd)
        self._fd = os.open(self.path, os.O_RDWR | flags)

    def flush(self) -> None:
        self._note("flush", 0, 0)
        self._chance.choice((os.fsync, os.fdatasync))(self._fd)

    def forget(self) -> None:
        """Have the kernel drop its pages of the file, so that they must be asked for again."""
        self._note("forget", 0, 0)
        os.fdatasync(self._fd)
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def lock(self) -> None:
        """A lock makes v9fs write back and drop all its pages."""
        offset, count = self._old_range()
        self._note("lock", offset, count)
        fcntl.lockf(self._fd, fcntl.LOCK_EX, count, offset)
        fcntl.lockf(self._fd, fcntl.LOCK_UN, count, offset)

    def punch(self) -> None:
        self._clear("punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

    def zero(self) -> None:
        self._clear("zero", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

    def map(self) -> None:
        """Map the file as long as it is now, and keep the mapping through what follows."""
        self.unmap()
        if not self.model:
            return
        self._note("map", 0, len(self.model))
        if self.mapping is Mapping.WRITE:
            self._memory = mmap.mmap(self._fd, len(self.model))
            return
        fd = os.open(self.path, os.O_RDONLY)
        try:
            self._memory = mmap.mmap(fd, len(self.model), prot=mmap.PROT_READ)
        finally:
            os.close(fd)

    def unmap(self) -> None:
        if self._memory is not None:
            self._note("unmap", 0, 0)
            self._memory.close()
            self._memory = None

    def read_map(self) -> None:
        memory, offset, count = self._mapped_range()
        self._note("read map", offset, count)
        if memory is not None:
            self._expect(offset, memory[offset : offset + count], count)

    def write_map(self) -> None:
        memory, offset, count = self._mapped_range()
        data = self._chance.randbytes(count)
        self._note("write map", offset, count)
        if memory is not None:
            memory[offset : offset + count] = data
            self._put(offset, data)

    def flush_map(self) -> None:
        if self._memory is not None:
            self._note("flush map", 0, 0)
            self._memory.flush()

    def _mapped_range(self) -> tuple[mmap.mmap | None, int, int]:
        """A range that is mapped and in the file: anything behind its last page is SIGBUS."""
        if self._memory is None:
            self.map()
        size = min(len(self._memory), len(self.model)) if self._memory is not None else 0
        if not size:
            return None, 0, 0
        offset = self._offset() % size
        return self._memory, offset, min(self._length(), size - offset)

    def _clear(self, name: str, mode: int) -> None:
        offset = self._offset()
        count = max(self._length(), 1)
        self._note(name, offset, count)
        fallocate(self._fd, mode, offset, count)
        end = min(offset + count, len(self.model))
        if offset < end:
            self.model[offset:end] = bytes(end - offset)

    def _refuse(self, operation: Callable[[], None], error: OSError) -> None:
        """Do without an operation that the file system does not have."""
        supported = operation not in (self.punch, self.zero, self.allocate, self.copy)
        if supported or error.errno not in (errno.EOPNOTSUPP, errno.EXDEV):
            raise AssertionError(self._story(repr(error))) from error
        self.refused.add(operation.__name__)
        del self._weights[operation]

    def _length(self) -> int:
        if self._chance.random() < 0.2:
            return self._chance.choice(EDGES) + self._chance.randint(-1, 1)
        return min(int(self._chance.paretovariate(0.5) * 40), TRANSFER_BYTES_MAX)

    def _offset(self) -> int:
        offset = self._chance.randrange(FILE_BYTES_MAX - TRANSFER_BYTES_MAX)
        if self._chance.random() < 0.4:
            edge = self._chance.choice(EDGES)
            offset = max(offset // edge * edge + self._chance.randint(-1, 1), 0)
        return offset

    def _new_data(self) -> tuple[int, bytes]:
        return self._offset(), self._chance.randbytes(self._length())

    def _old_range(self) -> tuple[int, int]:
        """Where to read: mostly in the file, now and then over its end."""
        offset = self._offset()
        if self.model and self._chance.random() < 0.9:
            offset %= len(self.model)
        return offset, self._length()

    def _put(self, offset: int, data: bytes) -> None:
        if data:
            self.model += bytes(max(offset - len(self.model), 0))
            self.model[offset : offset + len(data)] = data

    def _expect_count(self, done: int, asked: int) -> None:
        assert done == asked, self._story(f"{done} of {asked} bytes were written")

    def _expect(self, offset: int, found: bytes, count: int) -> None:
        right = self.model[offset : offset + count]
        if found == right:
            return
        same = next(
            (
                place
                for place, pair in enumerate(zip(found, right, strict=False))
                if len({*pair}) > 1
            ),
            min(len(found), len(right)),
        )
        wrong = sum(one != other for one, other in zip(found, right, strict=False))
        here, there = found[same : same + 16].hex(), right[same : same + 16].hex()
        what = f"first difference at {offset + same}: {here} and should be {there}"
        counts = f"{wrong} bytes differ, {len(found)} of {len(right)} came"
        raise AssertionError(self._story(f"{what}; {counts}"))

    def _note(self, operation: str, offset: int, count: int) -> None:
        self._log.append(f"{self.count:7} {operation:22} {offset:7} {count:6}")

    def _story(self, what: str) -> str:
        heading = f"{self.path.name}: seed {self.seed}, operation {self.count}: {what}"
        return "\n".join([heading, "      # operation               offset  bytes", *self._log])


def fallocate(fd: int, mode: int, offset: int, count: int) -> None:
    """fallocate(2), which Python has without its mode; OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = ctypes.c_int(fd), ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(count)
    if libc.fallocate(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exercise(
    path: Path, seed: int, count: int, mapping: Mapping, without: Collection[str] = ()
) -> str:
    """Exercise a new file at *path* and remove it; how fast that went."""
    start = time.monotonic()
    exerciser = Exerciser(path, seed, mapping, without)
    try:
        exerciser.run(count)
    finally:
        exerciser.close()
    assert path.read_bytes() == exerciser.model, f"{path.name}: seed {seed}: differs when closed"
    path.unlink()
    return f"{count / (time.monotonic() - start):.0f} operations/s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--mapping", type=Mapping, default=Mapping.NONE)
    parser.add_argument("--without", nargs="*", default=(), metavar="OPERATION")
    told = parser.parse_args()
    done = exercise(told.file, told.seed, told.count, told.mapping, told.without)
    sys.stdout.write(done + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
