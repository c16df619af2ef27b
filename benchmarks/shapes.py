"""Trees of the shapes that memory is measured with, and what each takes in a process of its own.

    python -m benchmarks.shapes SHAPE SCALE

makes one in a file system of this process, removes it, and prints one JSON object.
"""

import gc
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from ram9.server.heap import Heap, Held
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File, Inode
from ram9.storage.limits import Limits
from ram9.storage.shrinking import shrink

MIB: Final = 1 << 20
SIZE_BYTES: Final = 8 << 30
INODES: Final = 1 << 22
OWNER: Final = 1000
SETTLE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Shape:
    """*directories* of *files* each (or files without one), all alike.

    A file has *pieces* of *piece_bytes*, one every *stride_bytes*, *attributes* of
    *attribute_bytes*, and each directory *links* more names of its first file.
    """

    title: str
    directories: int = 0
    files: int = 1
    pieces: int = 0
    piece_bytes: int = 0
    stride_bytes: int = 0
    attributes: int = 0
    attribute_bytes: int = 0
    links: int = 0

    def scaled(self, scale: float) -> "Shape":
        """So much of it: fewer files, or names of each directory."""
        title = self.title if scale == 1 else f"{scale:g} of {self.title}"
        if self.links:
            return replace(self, title=title, links=max(1, int(self.links * scale)))
        return replace(self, title=title, files=max(1, int(self.files * scale)))

    @property
    def stored_bytes(self) -> int:
        """What the user stores: data, names, attributes."""
        files = max(1, self.directories) * self.files
        names = files + self.directories * (1 + self.links)
        held = self.pieces * self.piece_bytes
        held += self.attributes * (self.attribute_bytes + len(attribute_name(0)))
        return files * held + names * len(file_name(0))


SHAPES: Final = {
    "large": Shape("16 files of 64 MiB", 0, 16, 128, MIB // 2, MIB // 2),
    "empty": Shape("1,000,000 empty files", 0, 1_000_000),
    "small": Shape("1,000,000 files of 100 bytes", 0, 1_000_000, 1, 100),
    "names": Shape("10,000 names in each of 100 directories", 100, 1, links=9_999),
    "directories": Shape("10,000 empty files in each of 100 directories", 100, 10_000),
    "holes": Shape("200 files of 1,000 holes", 0, 200, 1000, 512, 8192),
    "attributes": Shape("4,000 files with 64 KiB of attributes", 0, 4000, attributes=16,
                        attribute_bytes=4096),
}  # fmt: skip


def directory_name(number: int) -> bytes:
    return b"dir-%07d" % number


def file_name(number: int) -> bytes:
    return b"one-%07d" % number


def link_name(number: int) -> bytes:
    return b"two-%07d" % number


def attribute_name(number: int) -> bytes:
    return b"user.%04d" % number


class Tree(Protocol):
    """Where a shape can be made: a path is a name, or the names of a directory and of a file."""

    def mkdir(self, name: bytes) -> None:
        """Make a directory."""

    def make(self, path: tuple[bytes, ...], shape: Shape) -> None:
        """Make a file with its pieces and attributes."""

    def link(self, path: tuple[bytes, ...], name: bytes) -> None:
        """Give a file another name in its directory."""

    def remove(self, path: tuple[bytes, ...]) -> None:
        """Remove the name of a file."""

    def rmdir(self, name: bytes) -> None:
        """Remove an empty directory."""

    def finish(self) -> None:
        """Wait until all of it has been done."""


def places(shape: Shape) -> Iterator[tuple[bytes, ...]]:
    """The paths of the directories in which the files are; one that is empty without any."""
    yield from ((directory_name(number),) for number in range(shape.directories))
    if not shape.directories:
        yield ()


def build(shape: Shape, tree: Tree) -> None:
    for place in places(shape):
        for name in place:
            tree.mkdir(name)
        for number in range(shape.files):
            tree.make((*place, file_name(number)), shape)
        for number in range(shape.links):
            tree.link((*place, file_name(0)), link_name(number))
    tree.finish()


def destroy(shape: Shape, tree: Tree) -> None:
    for place in places(shape):
        for number in range(shape.links):
            tree.remove((*place, link_name(number)))
        for number in range(shape.files):
            tree.remove((*place, file_name(number)))
        for name in place:
            tree.rmdir(name)
    tree.finish()


class InProcess:
    """A file system without a server."""

    def __init__(self, filesystem: FileSystem) -> None:
        self._filesystem = filesystem

    def _way(self, path: tuple[bytes, ...]) -> tuple[Directory, bytes]:
        directory: Inode = self._filesystem.root
        for name in path[:-1]:
            directory = self._filesystem.lookup(directory, name)
        assert isinstance(directory, Directory)
        return directory, path[-1]

    def mkdir(self, name: bytes) -> None:
        self._filesystem.mkdir(self._filesystem.root, name, 0o755, OWNER, int(str(OWNER)))

    def make(self, path: tuple[bytes, ...], shape: Shape) -> None:
        # As from the wire: the number of the group is an object of its own for each.
        file = self._filesystem.create(*self._way(path), 0o644, OWNER, int(str(OWNER)))
        self._filesystem.hold(file)
        for number in range(shape.pieces):
            self._filesystem.write(file, number * shape.stride_bytes, b"x" * shape.piece_bytes)
        for number in range(shape.attributes):
            value = b"x" * shape.attribute_bytes
            self._filesystem.set_xattr(file, attribute_name(number), value)
        self._filesystem.release(file)

    def link(self, path: tuple[bytes, ...], name: bytes) -> None:
        directory, file_name = self._way(path)
        file = self._filesystem.lookup(directory, file_name)
        assert isinstance(file, File)
        self._filesystem.link(file, directory, name)

    def remove(self, path: tuple[bytes, ...]) -> None:
        self._filesystem.unlink(*self._way(path))

    def rmdir(self, name: bytes) -> None:
        self._filesystem.rmdir(self._filesystem.root, name)

    def finish(self) -> None:
        """Everything was done at once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a shape took: bytes counted, growth of the resident memory, and of that after deleting.

    *idle_bytes* were resident before, program and libraries included.
    """

    counted_bytes: int
    grown_bytes: int
    after_bytes: int
    idle_bytes: int


def anonymous_bytes(pid: int | str = "self") -> int:
    """Memory that a process holds and no file does: RssAnon of proc_pid_status(5)."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def resident_bytes(pid: int | str = "self") -> int:
    """All memory of a process that is resident: VmRSS of proc_pid_status(5)."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def measure(shape: Shape) -> Taken:
    """Make it, remove it, and give back what can be: all in this process."""
    now_ns = time.time_ns()

    def clock() -> int:
        nonlocal now_ns
        now_ns += 1000
        return now_ns

    filesystem = FileSystem(Limits(SIZE_BYTES, INODES), clock)
    tree = InProcess(filesystem)
    gc.collect()
    gc.disable()
    heap = Heap(lambda: Held(0, 0, 0))
    whole_bytes = resident_bytes()
    idle_bytes, charged_bytes = anonymous_bytes(), filesystem.budget.used_bytes
    build(shape, tree)
    counted_bytes = filesystem.budget.used_bytes - charged_bytes
    grown_bytes = anonymous_bytes() - idle_bytes
    destroy(shape, tree)
    for _ in range(1 + SIZE_BYTES // MIB // 1024):
        filesystem.disk.space.cool()
    shrink(filesystem)
    heap.give_back()
    time.sleep(SETTLE_SECONDS)
    after_bytes = anonymous_bytes() - idle_bytes
    return Taken(counted_bytes, grown_bytes, after_bytes, whole_bytes)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(SHAPES[sys.argv[1]].scaled(float(sys.argv[2]))))))
