"""What trees of several shapes take: as counted, as resident, and what is left of it afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.client import ROOT, Client, RefusedError
from benchmarks.report import Progress, Report, Table, ratio
from benchmarks.servers import Needs, Peer, ram9, tmpfs
from benchmarks.shapes import (
    INODES,
    MIB,
    SHAPES,
    SIZE_BYTES,
    Shape,
    Taken,
    attribute_name,
    build,
    destroy,
    resident_bytes,
)
from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import O_RDWR
from ram9.protocol.messages import (
    Rlerror,
    Tclunk,
    Tlcreate,
    Tlink,
    Tmkdir,
    Tunlinkat,
    Twalk,
    Twrite,
    Txattrcreate,
)
from ram9.server.config import DEFAULT_KEEP_WARM_SECONDS

QUICK_SCALE: Final = 0.01
BATCH_REQUESTS: Final = 200
BATCH_BYTES: Final = 1 << 20
FILE, DIRECTORY, FIRST, VALUE = 1, 2, 3, 4  # fids
REMOVE_DIRECTORY: Final = 0x200  # AT_REMOVEDIR


class Wire:
    """The tree of a server, with many requests in flight."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._requests: list[Message] = []
        self._bytes = 0
        self._place: bytes | None = None  # what DIRECTORY stands for
        self._first: tuple[bytes, ...] = ()  # what FIRST stands for

    def _ask(self, *requests: Message) -> None:
        for request in requests:
            self._requests.append(request)
            self._bytes += len(request.data) if isinstance(request, Twrite) else 0
        if len(self._requests) >= BATCH_REQUESTS or self._bytes >= BATCH_BYTES:
            self.finish()

    def finish(self) -> None:
        requests, self._requests, self._bytes = self._requests, [], 0
        self._client.socket.sendall(b"".join(frame(request, 1) for request in requests))
        for request in requests:
            _, reply = self._client.receive()
            if isinstance(reply, Rlerror):
                raise RefusedError(type(request).__name__, reply.ecode)

    def _enter(self, path: tuple[bytes, ...]) -> int:
        """The fid of the directory in which the path ends."""
        if len(path) == 1:
            return ROOT
        if self._place != path[0]:
            if self._place is not None:
                self._ask(Tclunk(DIRECTORY))
            self._ask(Twalk(ROOT, DIRECTORY, path[:1]))
            self._place = path[0]
        return DIRECTORY

    def mkdir(self, name: bytes) -> None:
        self._ask(Tmkdir(ROOT, name, 0o755, 1000))

    def make(self, path: tuple[bytes, ...], shape: Shape) -> None:
        self._ask(Twalk(self._enter(path), FILE, ()), Tlcreate(FILE, path[-1], O_RDWR, 0o644, 1000))
        for number in range(shape.pieces):
            self._ask(Twrite(FILE, number * shape.stride_bytes, b"x" * shape.piece_bytes))
        for number in range(shape.attributes):
            value = b"x" * shape.attribute_bytes
            self._ask(
                Twalk(FILE, VALUE, ()),
                Txattrcreate(VALUE, attribute_name(number), len(value), 0),
                Twrite(VALUE, 0, value),
                Tclunk(VALUE),
            )
        self._ask(Tclunk(FILE))

    def link(self, path: tuple[bytes, ...], name: bytes) -> None:
        directory = self._enter(path)
        if self._first != path:
            if self._first:
                self._ask(Tclunk(FIRST))
            self._ask(Twalk(directory, FIRST, path[-1:]))
            self._first = path
        self._ask(Tlink(directory, FIRST, name))

    def remove(self, path: tuple[bytes, ...]) -> None:
        if self._first:
            self._ask(Tclunk(FIRST))
            self._first = ()
        self._ask(Tunlinkat(self._enter(path), path[-1], 0))

    def rmdir(self, name: bytes) -> None:
        if self._place is not None:
            self._ask(Tclunk(DIRECTORY))
            self._place = None
        self._ask(Tunlinkat(ROOT, name, REMOVE_DIRECTORY))


class Local:
    """A folder of a file system of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fsencode(folder)

    def _path(self, path: tuple[bytes, ...]) -> bytes:
        return os.path.join(self._folder, *path)

    def mkdir(self, name: bytes) -> None:
        os.mkdir(self._path((name,)))

    def make(self, path: tuple[bytes, ...], shape: Shape) -> None:
        file = os.open(self._path(path), os.O_CREAT | os.O_RDWR, 0o644)
        try:
            for number in range(shape.pieces):
                os.pwrite(file, b"x" * shape.piece_bytes, number * shape.stride_bytes)
            for number in range(shape.attributes):
                os.setxattr(file, attribute_name(number), b"x" * shape.attribute_bytes)
        finally:
            os.close(file)

    def link(self, path: tuple[bytes, ...], name: bytes) -> None:
        os.link(self._path(path), self._path((*path[:-1], name)))

    def remove(self, path: tuple[bytes, ...]) -> None:
        os.unlink(self._path(path))

    def rmdir(self, name: bytes) -> None:
        os.rmdir(self._path((name,)))

    def finish(self) -> None:
        """Everything was done at once."""


@dataclass(frozen=True, slots=True)
class LocalTaken:
    """What a tree takes on a tmpfs, as it says itself and as the machine's memory grew."""

    counted_bytes: int
    shared_bytes: int
    slab_bytes: int


def meminfo(name: str) -> int:
    """A row of proc_meminfo(5), in bytes."""
    text = Path("/proc/meminfo").read_text()
    return 1024 * int(text.split(f"{name}:")[1].split()[0])


def in_process(name: str, scale: float) -> Taken:
    """What a file system alone takes, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.shapes", name, str(scale)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return Taken(**json.loads(run.stdout))


def settled(value: Callable[[], int], enough: int, still_seconds: float = 6.0) -> int:
    """A value once it is below *enough*, or has not become less for a while."""
    least, changed_at = value(), time.monotonic()
    while least > enough and time.monotonic() - changed_at < still_seconds:
        time.sleep(0.5)
        if (now := value()) < least:
            least, changed_at = now, time.monotonic()
    return least


def on_server(shape: Shape) -> Taken:
    """What a server takes."""
    needs = Needs(size_bytes=SIZE_BYTES, inodes=INODES)
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        ram9(Path(folder), needs) as peer,
        peer.connect("unix") as client,
    ):

        def used_bytes() -> int:
            standing = client.statfs()
            return (standing.blocks - standing.bfree) * standing.bsize

        used_bytes()
        idle_bytes = settled(peer.resident_bytes, 0, still_seconds=2.0)
        whole_bytes = resident_bytes(peer.process.pid)
        before_bytes, tree = used_bytes(), Wire(client)
        build(shape, tree)
        counted_bytes = used_bytes() - before_bytes
        grown_bytes = _held(peer) - idle_bytes
        destroy(shape, tree)
        after_bytes = _settled_after(peer, idle_bytes) - idle_bytes
        return Taken(counted_bytes, grown_bytes, after_bytes, whole_bytes)


def _settled_after(peer: Peer, idle_bytes: int) -> int:
    """What is resident once what was freed is no longer kept warm."""
    still_seconds = DEFAULT_KEEP_WARM_SECONDS + 15.0
    return settled(peer.resident_bytes, idle_bytes + idle_bytes // 50, still_seconds)


def _held(peer: Peer) -> int:
    """What is resident once the server has been quiet for a moment."""
    return settled(peer.resident_bytes, 0, still_seconds=2.0)


def on_tmpfs(shape: Shape) -> LocalTaken | None:
    """What a tmpfs takes; None where it cannot hold it."""
    with TemporaryDirectory(prefix="bench-") as folder, tmpfs(Path(folder)) as place:
        names = ("Shmem", "Slab")
        before, blocks = [meminfo(name) for name in names], _blocks(place)
        tree = Local(place)
        with suppress(OSError):  # no attributes of users, no room
            build(shape, tree)
            grown = [meminfo(name) - bytes_ for name, bytes_ in zip(names, before, strict=True)]
            counted_bytes = _blocks(place) - blocks
            destroy(shape, tree)
            return LocalTaken(counted_bytes, *grown)
    return None


def _blocks(place: Path) -> int:
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def run_memory(scale: float, names: tuple[str, ...], report: Report) -> None:
    """Measure each shape everywhere."""
    progress = Progress(3 * len(names))
    rows = []
    for name in names:
        shape = SHAPES[name].scaled(scale)
        progress.step(f"{shape.title}: a process")
        alone = in_process(name, scale)
        progress.step(f"{shape.title}: a server")
        server = on_server(shape)
        progress.step(f"{shape.title}: tmpfs")
        local = on_tmpfs(shape)
        rows.append(row(shape, alone, server, local))
        report.raw.append({"shape": name, "scale": scale, "row": rows[-1]})
    progress.end()
    report.tables.append(Table("Memory by shape, in MiB", COLUMNS, rows, [NOTE]))


COLUMNS: Final = (
    *("shape", "stored", "counted", "grown", "counted / grown", "server grown"),
    *("server counted / grown", "server idle", "after delete", "after delete / idle"),
    *("tmpfs counted", "tmpfs Shmem", "tmpfs Slab"),
)
NOTE: Final = (
    "Stored: data, names and attributes. Grown: RssAnon, of a file system alone in a process and "
    "of a whole server. Idle: VmRSS. After delete: what is left beyond that. tmpfs: what its "
    "statfs counts, and the growth of Shmem and Slab in /proc/meminfo, which others change, too."
)


def row(
    shape: Shape, alone: Taken, server: Taken, local: LocalTaken | None
) -> list[str | float | None]:
    """A row of the table."""
    figures = [
        *(shape.stored_bytes, alone.counted_bytes, alone.grown_bytes),
        *(server.grown_bytes, server.idle_bytes, server.after_bytes),
    ]
    stored, counted, grown, server_grown, idle, after = (bytes_ / MIB for bytes_ in figures)
    beside: list[float | None] = [None, None, None]
    if local is not None:
        held = (local.counted_bytes, local.shared_bytes, local.slab_bytes)
        beside = [bytes_ / MIB for bytes_ in held]
    return [
        *(shape.title, stored, counted, grown, ratio(counted, grown), server_grown),
        *(ratio(server.counted_bytes / MIB, server_grown), idle, after, ratio(after, idle)),
        *beside,
    ]
