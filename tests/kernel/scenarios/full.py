"""A full disk under what people run, and a disk that becomes larger and smaller meanwhile."""

import hashlib
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.kernel.probes.base import attempt
from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World

from ram9.server.asking import ask
from ram9.server.config import parse_control

MIB = 1 << 20
SIZE_MIB = 96
INODES = 1500
BLOCK_BYTES = 4096
SECONDS = 30 if FULL else 3
KEPT_FILES = 30
CACHES: Final = {"plain": "none", "mapped": "mmap", "loose": "loose"}

scenario = Scenario(
    "full",
    size=f"{SIZE_MIB}MiB",
    arguments=["--inodes", str(INODES), "--keep-warm", "1"],
    tools=("stress-ng", "dbench"),
    seconds_max=1800 if FULL else 600,
    expected_log=[r"WARNING out of space "],
)


def address(world: World) -> str:
    """Where the server answers those who operate it."""
    return re.findall(r" control address=(\S+)", world.server.log.read_text())[0]


def standing(world: World) -> dict[str, Any]:
    """How full the volume is, as the server says."""
    lines = ask(parse_control(address(world)), {"command": "status"})
    return next(line for line in lines if line["kind"] == "volume")


def resize(world: World, size: str, *options: str) -> str:
    command = (sys.executable, "-m", "ram9.server", "resize", "/", size, *options)
    return run(*command, "--control", address(world))


def df(place: Path, *options: str) -> list[int]:
    """What df prints: all, used, available."""
    return list(map(int, run("df", *options, place).splitlines()[1].split()))


def exact(world: World) -> tuple[int, ...]:
    """What is used, after a check that df and df -i say so to the block, on every mount."""
    now = standing(world)
    blocks = [now[f"{name}_bytes"] // BLOCK_BYTES for name in ("limit", "available")]
    inodes = [now[f"{name}_inodes"] for name in ("limit", "used", "available")]
    for mount in CACHES:
        place = world.folder / mount
        total, used, available = df(place, f"-B{BLOCK_BYTES}", "--output=size,used,avail")
        assert [total, available, used] == [*blocks, total - available], (mount, now)
        assert df(place, "--output=itotal,iused,iavail") == inodes, (mount, now)
    return now["used_bytes"], now["used_inodes"]


def digests(place: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.iterdir())]


def refusals(world: World) -> int:
    """How often the disk had no room until now, where the file system is as it should be."""
    finding = world.server.check()
    assert finding["violations"] == [], finding
    count = finding["refusals"]
    assert isinstance(count, int)
    return count


@contextmanager
def ballast(world: World, left_bytes: int) -> Iterator[None]:
    """Fill the disk but for so many bytes; and find it as it was before when that is gone.

    It must have been full meanwhile, and nothing else may be lost.
    """
    before, refused = exact(world), refusals(world)
    place = world.folder / "plain" / "ballast"
    with place.open("wb", buffering=0) as file:
        for _ in range((standing(world)["available_bytes"] - left_bytes) // MIB):
            assert file.write(b"b" * MIB) == MIB
    try:
        yield
        assert refusals(world) > refused, "it was never full"
    finally:
        place.unlink()
    assert exact(world) == before
    assert digests(world.folder / "plain" / "kept") == digests(world.folder / "originals")


@scenario.fact
def df_is_exact_before(world: World) -> str:
    for mount, cache in CACHES.items():
        world.mount(mount, f"trans=tcp,version=9p2000.L,msize=1044504,cache={cache}")
    chance = random.Random(5)
    (world.folder / "originals").mkdir()
    (world.folder / "plain" / "kept").mkdir()
    for number in range(KEPT_FILES):
        data = chance.randbytes(chance.randrange(100_000))
        for place in world.folder / "plain" / "kept", world.folder / "originals":
            (place / f"{number:02d}").write_bytes(data)
    assert os.statvfs(world.folder / "plain").f_blocks * BLOCK_BYTES == SIZE_MIB * MIB
    used_bytes, used_inodes = exact(world)
    assert used_inodes == KEPT_FILES + 2
    return f"{used_bytes} bytes"


@scenario.fact
def df_is_exact_when_it_is_full_and_after(world: World) -> str:
    mount = world.folder / "plain"
    with ballast(world, MIB):
        with (mount / "rest").open("wb", buffering=0) as rest:
            for size in 4096, 512:
                while isinstance(written := attempt(rest.write, b"r" * size), int):
                    pass
                assert written == "ENOSPC"
        used_bytes, _ = exact(world)
        assert os.statvfs(mount).f_bavail == 0
        assert run("df", "--output=pcent", mount).split()[-1] == "100%"
        (mount / "rest").unlink()
    return f"{used_bytes} of {SIZE_MIB * MIB} bytes"


@scenario.fact
def df_i_is_exact_when_inodes_are_used_up_and_after(world: World) -> None:
    mount = world.folder / "plain"
    before = exact(world)
    (mount / "many").mkdir()
    made = 0
    try:
        while (refused := attempt(os.mknod, mount / "many" / f"{made}")) is None:
            made += 1
        assert (refused, made) == ("ENOSPC", INODES - before[1] - 1)
        assert exact(world)[1] == INODES
        assert run("df", "--output=ipcent", mount).split()[-1] == "100%"
        assert (mount / "kept" / "00").write_bytes(b"there is room for data") == 22
        run("cp", world.folder / "originals" / "00", mount / "kept" / "00")
    finally:
        run("rm", "-rf", mount / "many")
    assert exact(world)[1] == before[1]


def hdd(mount: str) -> None:
    def fact(world: World) -> str:
        with ballast(world, 8 * MIB):
            # One alone: where a second gives room back behind a write that was cut short, stress-ng
            # writes on beyond, and takes the hole for wrong data.
            printed = run(
                *("stress-ng", "--hdd", 1, "--hdd-bytes", "32M", "--timeout", SECONDS),
                *("--verify", "--oomable", "--temp-path", world.folder / mount, "--metrics"),
            )
            assert not re.search(r"fail|error", printed), printed[-2000:]
        return f"{re.findall(r'hdd +([0-9]+)', printed)[0]} operations"

    fact.__name__ = f"stress-ng --hdd fills the disk and leaves nothing, on {mount}"
    scenario.fact(fact)


hdd("plain")
hdd("mapped")


def dbench(place: Path) -> tuple[int, str]:
    """Its exit status, and what it prints."""
    done = subprocess.run(
        ["dbench", "-D", str(place), "-t", str(SECONDS), "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    run("rm", "-rf", place / "clients")
    return done.returncode, done.stdout.decode(errors="replace")


@scenario.fact
def dbench_is_told_that_the_disk_is_full_and_runs_clean_when_it_is_not(world: World) -> str:
    place = world.folder / "plain"
    with ballast(world, MIB):
        status, printed = dbench(place)
        assert status, printed[-2000:]
        assert "No space left on device" in printed, printed[-2000:]
    before = exact(world)
    status, printed = dbench(place)
    assert status == 0, printed[-2000:]
    told = printed.replace("failed to create barrier semaphore", "")  # it does without
    assert not re.search(r"(?i)error|failed|warning", told), printed[-2000:]
    assert exact(world) == before
    return str(re.findall(r"Throughput .*", printed)[0])


BATCH: Final = 20
REFUSALS_MIN: Final = 5
NO_ROOM: Final = r"database or disk is full|disk I/O error"  # the latter where a flush fails


class Ledger:
    """A database whose transactions are whole: BATCH rows each, of which each tells its digest."""

    def __init__(self, path: Path, mode: str) -> None:
        self._path = path
        self._mode = mode
        self._chance = random.Random(path.name)
        self.done: list[int] = []  # committed
        self.maybe: list[int] = []  # refused; whether its last write arrived only SQLite knows
        with closing(self.open()) as base:
            base.execute("CREATE TABLE rows (batch, number, data BLOB, digest)")

    def open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        assert base.execute(f"PRAGMA journal_mode={self._mode}").fetchone() == (self._mode,)
        return base

    def add(self, base: sqlite3.Connection) -> str:
        """Commit one transaction; what SQLite says if it cannot."""
        number = len(self.done) + len(self.maybe)
        try:
            base.execute("BEGIN IMMEDIATE")
            for row in range(BATCH):
                data = self._chance.randbytes(900 if row else 30_000)
                entry = (number, row, data, hashlib.sha256(data).hexdigest())
                base.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", entry)
            base.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self.maybe.append(number)
            if base.in_transaction:
                base.execute("ROLLBACK")
            return str(error)
        self.done.append(number)
        return ""

    def check(self, base: sqlite3.Connection) -> None:
        """Fail unless the database is sound, has all that was committed, and whole batches only."""
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found: dict[int, int] = {}
        for batch, data, digest in base.execute("SELECT batch, data, digest FROM rows"):
            assert hashlib.sha256(data).hexdigest() == digest
            found[batch] = found.get(batch, 0) + 1
        assert set(found.values()) == {BATCH}
        assert set(self.done) <= found.keys() <= {*self.done, *self.maybe}


def sqlite(mode: str, mount: str) -> None:
    def fact(world: World) -> str:
        place = world.folder / mount / "ledger.db"
        refused: dict[str, int] = {}
        with ballast(world, 4 * MIB):
            ledger = Ledger(place, mode)
            with closing(ledger.open()) as base:
                deadline = time.monotonic() + SECONDS
                while sum(refused.values()) < REFUSALS_MIN or time.monotonic() < deadline:
                    if complaint := ledger.add(base):
                        assert re.search(NO_ROOM, complaint), complaint
                        refused[complaint] = refused.get(complaint, 0) + 1
                        time.sleep(0.05)
                ledger.check(base)
            committed = len(ledger.done)
            assert committed > 2
            (world.folder / "plain" / "ballast").write_bytes(b"")
            with closing(ledger.open()) as base:
                ledger.check(base)
                for _ in range(10):
                    assert not ledger.add(base)
                ledger.check(base)
            with closing(ledger.open()) as base:
                ledger.check(base)
            for path in place.parent.glob("ledger.db*"):
                path.unlink()
        return f"{committed} transactions, then refused {refused}, then 10 more"

    fact.__name__ = f"sqlite with journal mode {mode} loses nothing on a full disk, on {mount}"
    scenario.fact(fact)


sqlite("wal", "mapped")
sqlite("delete", "mapped")
sqlite("delete", "plain")


class Writer(threading.Thread):
    """Appends to one file without a pause; it tries again when there is no room."""

    PIECE: Final = b"w" * (64 << 10)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb", buffering=0)
        self.is_over = threading.Event()
        self.written_bytes = 0
        self.refused = 0
        self.wrong = ""

    def run(self) -> None:
        with self._file as file:
            while not self.is_over.is_set() and not self.wrong:
                written = attempt(file.write, self.PIECE)
                if isinstance(written, int):
                    self.written_bytes += written
                elif written == "ENOSPC":
                    self.refused += 1
                    self.is_over.wait(0.005)
                else:
                    self.wrong = str(written)

    def holds(self) -> None:
        """Wait until it is refused for some time; fail if it writes meanwhile."""
        until(lambda before=self.refused: self.refused > before, "the writer is refused")
        written_bytes, refused = self.written_bytes, self.refused
        time.sleep(SECONDS / 3)
        assert self.written_bytes == written_bytes
        assert self.refused > refused
        assert not self.wrong, self.wrong

    def goes_on(self, count_bytes: int, since_bytes: int) -> None:
        """Wait until it has written so much more than it had at some time."""
        wanted = since_bytes + count_bytes
        until(lambda: self.written_bytes >= wanted or self.wrong, "the writer goes on")
        assert not self.wrong, self.wrong


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


@contextmanager
def writing(world: World) -> Iterator[Writer]:
    """A writer that runs; what it wrote is whole in the end, and gone."""
    path = world.folder / "plain" / "growing"
    writer = Writer(path)
    writer.start()
    try:
        yield writer
    finally:
        writer.is_over.set()
        writer.join()
        data = path.read_bytes()
        path.unlink()
    assert len(data) == writer.written_bytes
    assert data.count(b"w") == len(data)


@scenario.fact
def growing_while_a_writer_runs_lets_it_go_on(world: World) -> str:
    before = exact(world)
    with writing(world) as writer:
        sizes = [SIZE_MIB + 32 * step for step in range(1, 6 if FULL else 3)]
        for size in sizes:
            writer.holds()
            written_bytes = writer.written_bytes
            resize(world, f"{size}MiB", "--inodes", str(INODES + size))
            for mount in CACHES:
                seen = os.statvfs(world.folder / mount)
                assert seen.f_blocks * BLOCK_BYTES == size * MIB, mount
                assert seen.f_files == INODES + size, mount
            writer.goes_on(24 * MIB, written_bytes)
        writer.holds()
        assert os.statvfs(world.folder / "plain").f_bavail < len(Writer.PIECE) // BLOCK_BYTES
    assert exact(world) == before
    return f"{writer.written_bytes / MIB:.1f} MiB written, up to {sizes[-1]} MiB"


@scenario.fact
def shrinking_while_a_writer_runs_holds_it_and_loses_nothing(world: World) -> str:
    mount = world.folder / "plain"
    before = exact(world)
    resize(world, f"{SIZE_MIB}MiB", "--inodes", str(INODES))
    assert exact(world) == before
    for number in range(4):
        (mount / f"old-{number}").write_bytes(os.urandom(MIB) * 12)
    with writing(world) as writer:
        writer.goes_on(16 * MIB, 0)
        told = resize(world, "50MiB", "--inodes", "10")
        seen = os.statvfs(mount)
        assert "more is used" in told, told
        assert (seen.f_bavail, seen.f_ffree) == (0, 0)
        assert seen.f_blocks == standing(world)["used_bytes"] // BLOCK_BYTES
        writer.holds()
        held_bytes = writer.written_bytes
        exact(world)
        assert attempt(os.mkdir, mount / "more") == "ENOSPC"
        assert digests(mount / "kept") == digests(world.folder / "originals")
        used = [exact(world)[0]]
        for number in range(4):
            (mount / f"old-{number}").unlink()
            used.append(standing(world)["used_bytes"])
            assert used[-1] < used[-2]
        writer.goes_on(MIB, held_bytes)
        written_bytes = writer.written_bytes
        resize(world, f"{SIZE_MIB}MiB", "--inodes", str(INODES))
        assert os.statvfs(mount).f_blocks * BLOCK_BYTES == SIZE_MIB * MIB
        writer.goes_on(8 * MIB, written_bytes)
    assert exact(world) == before
    return f"{used[0] / MIB:.1f} MiB used of 50, {writer.refused} refusals"


@scenario.fact
def memory_comes_back(world: World) -> str:
    return world.server.has_given_back(all_but_mib=32, seconds_max=60)
