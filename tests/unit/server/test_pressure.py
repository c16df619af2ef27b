"""How much memory is left, looked at by a loop that stands still, and by one that runs."""

import asyncio
import logging
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.socket_client import wait_until

from ram9.server import pressure
from ram9.server.counters import Counters
from ram9.server.memory import MemoryFiles
from ram9.server.pressure import (
    LOOK_NEAR_SECONDS,
    LOOK_SECONDS,
    NEAR_BYTES,
    SHED_BELOW_BYTES,
    SHED_STEP_BYTES,
    SUFFICES_SECONDS,
    Pressure,
    StallTrigger,
)
from ram9.server.volumes import Volume
from ram9.storage.budget import Allotment
from ram9.storage.check import check
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import File
from ram9.storage.limits import Limits

MIB = 1 << 20
RESERVE_BYTES = 64 * MIB  # of 1 GiB


class StillLoop(asyncio.AbstractEventLoop):
    """A loop in which nothing happens until the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.later: list[float] = []

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, **_context: Any) -> Any:
        self.soon.append((callback, args))

    def call_later(self, delay: float, callback: Any, *args: Any, **_context: Any) -> Any:
        self.later.append(delay)
        return asyncio.TimerHandle(delay, callback, args, self)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nobody counts them."""

    def run(self) -> int:
        """Do what is to be done soon, and what follows from it; how many steps that took."""
        steps = 0
        while self.soon:
            callback, args = self.soon.pop(0)
            callback(*args)
            steps += 1
        return steps


class Clients:
    held_bytes = 0
    held_bytes_max = 0


class World:
    """A machine of 1 GiB as its files tell, a process of 50 MiB, and two volumes in it."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        (self.proc / "self").mkdir(parents=True)
        self.available(1024)
        self.anonymous(50)
        self.loop = StillLoop()
        self.allotment = Allotment()
        self.systems = [
            FileSystem(Limits(512 * MIB, 1000), lambda: 1, allotment=self.allotment)
            for _ in range(2)
        ]
        self.volumes = [Volume(b"%d" % i, it) for i, it in enumerate(self.systems)]
        self.clients = Clients()
        self.counters = Counters()
        files = MemoryFiles(self.proc, root / "cgroup")
        self.pressure = Pressure(
            self.loop, files, self.allotment, self.volumes, self.clients, self.counters
        )

    def available(self, mib: int) -> None:
        """Let so much of the machine's memory be available, beside the reserve."""
        kib = (mib * MIB + RESERVE_BYTES) // 1024
        (self.proc / "meminfo").write_text(f"MemTotal: 1048576 kB\nMemAvailable: {kib} kB\n")

    def anonymous(self, mib: float) -> None:
        (self.proc / "self" / "statm").write_text(f"9 {int(mib * 256) + 100} 100 1 0 9 0\n")

    def file(self, which: int, size_bytes: int) -> File:
        system = self.systems[which]
        file = system.create(system.root, b"file", 0o644, 0, 0)
        assert system.write(file, 0, bytes(size_bytes)) == size_bytes
        return file

    def unlink(self, which: int) -> None:
        system = self.systems[which]
        system.unlink(system.root, b"file")

    def warm_bytes(self, which: int) -> int:
        return self.systems[which].disk.space.warm.sectors * 512


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_available_is_what_volumes_may_take(world: World) -> None:
    world.pressure.look()
    assert world.allotment.left_bytes == 1024 * MIB
    assert world.allotment.source == str(world.proc / "meminfo")


def test_what_clients_may_still_make_us_hold_is_kept_for_them(world: World) -> None:
    world.clients.held_bytes_max, world.clients.held_bytes = 100 * MIB, 30 * MIB
    world.anonymous(80)
    world.pressure.look()
    assert world.allotment.left_bytes == (1024 - 70) * MIB


def test_what_was_taken_and_not_yet_written_is_not_left(world: World) -> None:
    """The kernel knows of a page once it is written: growing files hold some behind their end."""
    before_bytes = world.allotment.held_bytes
    world.file(0, 4 * MIB)
    held_bytes = world.allotment.held_bytes - before_bytes
    assert held_bytes > 4 * MIB
    world.anonymous(50 + 3)
    world.available(1000)
    world.pressure.look()
    assert world.allotment.left_bytes == 1003 * MIB - held_bytes
    world.anonymous(50 + 100)  # what else this process has is no room that others may take
    world.pressure.look()
    assert world.allotment.left_bytes == 1000 * MIB
    assert world.allotment.held_bytes == before_bytes + held_bytes


def test_what_others_take_makes_the_limit_less_and_loses_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    file = world.file(0, 4 * MIB)
    world.anonymous(60)
    world.available(2)
    world.pressure.look()
    budget = world.systems[0].budget
    assert budget.standing().limited_by.endswith("meminfo")
    assert budget.available_bytes <= 3 * MIB
    world.available(-10)
    world.pressure.look()
    world.loop.run()
    standing = budget.standing()
    assert (standing.available_bytes, standing.limit_bytes) == (0, standing.used_bytes)
    assert file.content.read(0, 4 * MIB) == bytes(4 * MIB)
    with pytest.raises(FileSystemError, match="ENOSPC"):
        world.systems[0].write(file, 4 * MIB, b"more")
    world.available(500)
    world.pressure.look()
    assert world.systems[0].write(file, 4 * MIB, b"more") == 4
    assert check(world.systems[0]) == []
    assert caplog.messages == ["memory is short"]


def test_near_the_limit_it_is_looked_at_more_often(world: World) -> None:
    world.pressure.start()
    world.available(NEAR_BYTES // MIB - 1)
    world.pressure._look_again()
    assert world.loop.later == [LOOK_SECONDS, LOOK_NEAR_SECONDS]
    world.pressure.close()


@pytest.mark.parametrize(("took", "wait"), [(0.001, LOOK_SECONDS), (0.03, 3), (1, 5)])
def test_a_look_that_takes_long_is_taken_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch, took: float, wait: float
) -> None:
    """By the time of the processor, and within bounds: a process above its memory.high, which was
    held up for two seconds while it looked, did not look again for 200."""
    times = iter([0.0, took])
    monkeypatch.setattr(pressure.time, "thread_time", lambda: next(times))
    world.pressure._look_again()
    assert world.loop.later == [wait]


def test_what_nobody_uses_is_given_back_first_in_steps(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.file(0, 60 * MIB)
    world.unlink(0)
    world.file(1, 10 * MIB)
    world.anonymous(170)
    warm_bytes = world.warm_bytes(0)
    assert warm_bytes > 2 * SHED_STEP_BYTES
    world.available(-20)
    world.pressure.look()
    assert world.allotment.left_bytes == -20 * MIB
    steps = world.loop.run()
    assert steps >= (20 * MIB + SHED_BELOW_BYTES) // SHED_STEP_BYTES
    assert world.allotment.left_bytes >= SHED_BELOW_BYTES
    assert warm_bytes - world.warm_bytes(0) <= 20 * MIB + SHED_BELOW_BYTES + SHED_STEP_BYTES
    assert all(check(system) == [] for system in world.systems)
    assert caplog.messages == ["memory is short"]


def test_news_of_stalls_have_everything_given_back(world: World) -> None:
    world.file(0, 60 * MIB)
    world.unlink(0)
    world.file(1, 30 * MIB)
    world.unlink(1)
    world.pressure._stalled()
    world.loop.run()
    assert world.warm_bytes(0) + world.warm_bytes(1) < MIB
    assert world.counters.stalls == 1
    world.file(0, 60 * MIB)
    world.unlink(0)
    world.pressure.look()
    world.loop.run()
    assert world.warm_bytes(0) > 2 * SHED_STEP_BYTES  # once, and no longer


def test_a_volume_that_became_smaller_gives_back_what_it_may_not_hold(world: World) -> None:
    world.file(0, 60 * MIB)
    world.unlink(0)
    budget = world.systems[0].budget
    budget.resize(8 * MIB, 1000)
    assert budget.memory.excess_bytes > 0
    world.pressure.shed()
    world.loop.run()
    assert budget.memory.excess_bytes <= 0
    assert world.warm_bytes(0) > 0


def test_what_cannot_be_read_is_logged_once_and_changes_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.pressure.look()
    before = world.allotment.left_bytes
    (world.proc / "meminfo").write_text("MemTotal: much\n")
    for _ in range(3):
        world.pressure.look()
    assert world.allotment.left_bytes == before
    world.file(0, MIB)
    assert world.allotment.left_bytes < before
    assert caplog.messages == ["memory unknown"]
    world.available(5)
    world.pressure.look()
    assert world.allotment.left_bytes < 6 * MIB


def test_the_log_says_that_memory_is_short_and_when_it_suffices(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ram9")
    world.pressure.look()
    world.available(1)
    world.anonymous(60)
    with pytest.raises(FileSystemError, match="ENOSPC"):
        world.systems[0].budget.reserve_sectors(2048 * MIB)  # too large for the volume
    for _ in range(3):
        world.pressure.look()
    assert caplog.messages == []
    file = world.file(0, 1000)
    world.systems[0].write(file, 0, bytes(4 * MIB))
    with pytest.raises(FileSystemError, match="ENOSPC"):
        world.systems[0].write(file, 4 * MIB, bytes(MIB))
    for _ in range(3):
        world.pressure.look()
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("memory is short", "WARNING")
    assert record.__dict__["fields"]["memory_from"] == str(world.proc / "meminfo")
    world.available(500)
    world.loop.now = SUFFICES_SECONDS / 2
    world.pressure.look()
    assert len(caplog.records) == 1
    world.loop.now = SUFFICES_SECONDS
    world.pressure.look()
    assert caplog.messages == ["memory is short", "memory suffices"]


# What the kernel tells


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_news_of_the_kernel_wake_any_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come with POLLPRI, as urgent data does, which stands for them here."""
    news: list[bytes] = []
    loop = new_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        reader, _ = server.accept()
    with peer, reader:
        descriptor = os.dup(reader.fileno())
        monkeypatch.setattr(pressure.os, "open", lambda *_: descriptor)

        def told() -> None:
            news.append(reader.recv(1, socket.MSG_OOB))
            loop.stop()

        trigger = StallTrigger(loop, Path("memory.pressure"), told)
        monkeypatch.undo()
        for letter in b"ab":
            peer.send(bytes([letter]), socket.MSG_OOB)
            loop.call_later(20, loop.stop)
            loop.run_forever()
        assert news == [b"a", b"b"]
        trigger.close()
        trigger.close()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)
    loop.close()


def test_a_group_that_is_gone_tells_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    reader, writer = os.pipe()
    monkeypatch.setattr(pressure.os, "open", lambda *_: writer)
    trigger = StallTrigger(loop, Path("memory.pressure"), lambda: pytest.fail("no news"))
    monkeypatch.undo()
    os.close(reader)  # EPOLLERR
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert trigger._epoll.closed
    loop.close()


def test_what_is_no_pressure_file_is_refused_and_closed(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    path = tmp_path / "memory.pressure"
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="No such file"):
            StallTrigger(loop, path, lambda: None)
    path.write_text("")
    with pytest.raises(OSError, match="Operation not permitted"):  # epoll_ctl: no such news
        StallTrigger(loop, path, lambda: None)
    assert len(os.listdir("/proc/self/fd")) == before
    loop.close()


def test_this_kernel_takes_what_is_asked_of_it() -> None:
    path = Path("/proc/pressure/memory")
    if not path.exists() or not os.access(path, os.W_OK):
        pytest.skip("this kernel tells no pressure, or not to this user")
    loop = asyncio.new_event_loop()
    trigger = StallTrigger(loop, path, lambda: None)
    poll = select.poll()
    poll.register(trigger._epoll.fileno(), select.POLLIN)
    assert poll.poll(0) in ([], [(trigger._epoll.fileno(), select.POLLIN)])
    trigger.close()
    loop.close()
    wait_until(lambda: trigger._epoll.closed, "it is closed")
