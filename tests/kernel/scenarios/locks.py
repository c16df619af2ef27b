"""Processes on two mounts that lock each other out, and wait for each other.

One that is told that its lock is taken sleeps for 30 seconds in the kernel. So whoever gets a lock
much sooner was woken by the server.
"""

import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.kernel.client import Client
from tests.kernel.scenario import FULL, Scenario
from tests.kernel.world import World

from ram9.protocol.codec import frame
from ram9.protocol.constants import LOCK_FLAGS_BLOCK, LOCK_TYPE_WRLCK
from ram9.protocol.messages import Tlock, Tlopen, Twalk

LOCK_WAIT_SECONDS: Final = 10
WOKEN_SECONDS_MAX: Final = 15
"""Far above what being woken takes, and far below what sleeping takes."""

scenario = Scenario("locks", arguments=["--lock-wait", str(LOCK_WAIT_SECONDS)])

# Does what its standard input says, and answers each line with one: "ok", or an errno.
LOCKER = """
import errno, fcntl, signal, sys, time
file = open(sys.argv[1], "r+b", buffering=0)
kinds = {"read": fcntl.LOCK_SH, "write": fcntl.LOCK_EX, "no": fcntl.LOCK_UN}
signals = []
signal.signal(signal.SIGALRM, lambda *_: signals.append(" and a signal"))
print("ready", flush=True)
for line in sys.stdin:
    verb, kind, *place = line.split()
    answer = "ok"
    try:
        if verb == "flock":
            fcntl.flock(file, kinds[kind])
        else:
            start, length = map(int, place)
            at_once = fcntl.LOCK_NB if verb == "try" and kind != "no" else 0
            signal.alarm(3 if verb == "alarm" else 0)  # surely while it waits
            fcntl.lockf(file, kinds[kind] | at_once, length, start)
    except OSError as error:
        answer = errno.errorcode[error.errno]
    time.sleep(0)  # handlers run
    print(answer, *signals, sep="", flush=True)
"""

# Adds 1 to the number in a file, many times, while it has the lock.
COUNTER = """
import fcntl, os, sys
path, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = os.open(path, os.O_RDWR)
for _ in range(count):
    if kind == "flock":
        fcntl.flock(file, fcntl.LOCK_EX)
    else:
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 100)
    number = int(os.pread(file, 20, 0) or b"0") + 1
    os.pwrite(file, b"%020d" % number, 0)
    if kind == "flock":
        fcntl.flock(file, fcntl.LOCK_UN)
    else:
        fcntl.lockf(file, fcntl.LOCK_UN, 10, 100)
"""


class Locker:
    """A process that has a file open, and locks it as it is told."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOCKER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self.answer() == "ready"

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def answer(self, seconds_max: float = WOKEN_SECONDS_MAX) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], seconds_max)[0], "no answer in time"
        return self.process.stdout.readline().decode().strip()

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.answer()

    def wait_for(self, line: str, world: World, waiting: int = 1) -> None:
        """Tell it to wait for a lock; return when the server has it wait, with others or alone."""
        self.tell(line)
        wait_for_waiting(world, waiting)

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(20)
        for pipe in self.process.stdin, self.process.stdout:
            assert pipe is not None
            pipe.close()


def wait_for_waiting(world: World, count: int) -> None:
    deadline = time.monotonic() + WOKEN_SECONDS_MAX
    while world.server.check()["waiting_locks"] != count:
        assert time.monotonic() < deadline, f"not {count} requests that wait"


@contextmanager
def lockers(world: World, *mounts: str) -> Iterator[list[Locker]]:
    """Processes, each of one mount, that have one file open until the block ends."""
    processes = [Locker(world.folder / mount / "file") for mount in mounts]
    try:
        yield processes
    finally:
        for process in processes:
            process.end()


@scenario.fact
def there_are_two_mounts(world: World) -> None:
    world.tmpfs("tmpfs")
    for name in "here", "there":
        world.mount(name)
    (world.folder / "here" / "file").write_bytes(bytes(100))
    (world.folder / "tmpfs" / "file").write_bytes(bytes(100))


RELEASES: dict[str, tuple[str, str, Callable[[Locker], object]]] = {
    "a range is unlocked": (
        "try write 10 5",
        "wait write 12 100",
        lambda holder: holder.ask("try no 10 5"),
    ),
    "a flock is unlocked": (
        "flock write",
        "flock write",
        lambda holder: holder.ask("flock no"),
    ),
    "a writer reads on": (
        "try write 0 0",
        "wait read 12 1",
        lambda holder: holder.ask("try read 0 0"),
    ),
    "the holder ends": (
        "try write 10 5",
        "wait write 12 1",
        lambda holder: holder.end(signal.SIGTERM),
    ),
    "the holder of a flock is killed": (
        "flock write",
        "flock read",
        lambda holder: holder.end(signal.SIGKILL),
    ),
}


def woken_when(how: str) -> None:
    take, wait, release = RELEASES[how]

    def fact(world: World) -> str:
        with lockers(world, "here", "there") as (holder, waiter):
            assert holder.ask(take) == "ok"
            waiter.wait_for(wait, world)
            start = time.monotonic()
            release(holder)
            assert waiter.answer() == "ok"
            return f"{(time.monotonic() - start) * 1000:.0f} ms"

    fact.__name__ = f"one that waits on another mount gets its lock when {how}"
    scenario.fact(fact)


for how in RELEASES:
    woken_when(how)


@scenario.fact
def readers_get_it_together_and_then_a_writer(world: World) -> None:
    with lockers(world, "here", "there", "there", "there") as (holder, writer, *readers):
        assert holder.ask("try write 0 10") == "ok"
        for number, reader in enumerate(readers):
            reader.wait_for("wait read 0 5", world, number + 1)
        assert holder.ask("try no 0 0") == "ok"
        assert [reader.answer() for reader in readers] == ["ok", "ok"]
        holder.wait_for("wait write 0 1", world)
        for reader in readers:
            assert writer.ask("try write 4 1") == "EAGAIN"
            assert reader.ask("try no 0 0") == "ok"
        assert holder.answer() == "ok"
        assert writer.ask("try write 0 5") == "EAGAIN"
        assert writer.ask("try write 1 4") == "ok"


def outcomes(world: World, mounts: Sequence[str], seed: int, count: int) -> list[str]:
    """What processes get that lock one file at random, each through one of *mounts*."""
    chance = random.Random(seed)
    found = []
    with lockers(world, *mounts) as processes:
        for _ in range(count):
            number = chance.randrange(len(processes))
            kind = chance.choice(["read", "read", "write", "write", "no"])
            line = f"try {kind} {chance.randrange(12)} {chance.randrange(8)}"
            found.append(f"{number} {line}: {processes[number].ask(line)}")
    return found


@scenario.fact
def ranges_split_and_merge_between_mounts_as_on_a_tmpfs(world: World) -> str:
    """Also those of two processes of one mount; upgrades and downgrades are among them."""
    mounts = ("here", "there", "here")
    refused = 0
    for seed in range(20 if FULL else 5):
        right = outcomes(world, ["tmpfs"] * len(mounts), seed, 150)
        found = outcomes(world, mounts, seed, 150)
        assert found == right, [pair for pair in zip(right, found, strict=True) if len({*pair}) > 1]
        refused += sum("EAGAIN" in outcome for outcome in right)
    assert refused
    return f"{refused} refused"


@scenario.fact
def one_that_is_killed_while_it_waits_leaves_nothing(world: World) -> None:
    with lockers(world, "here", "there", "there") as (holder, waiter, third):
        for take, wait in ("try write 0 9", "wait write 5 9"), ("flock write", "flock write"):
            assert holder.ask(take) == "ok"
            killed = Locker(world.folder / "there" / "file")
            killed.wait_for(wait, world)
            killed.end()
            wait_for_waiting(world, 0)
            waiter.wait_for(wait, world)
            assert holder.ask("try no 0 0") == "ok"
            assert holder.ask("flock no") == "ok"
            assert waiter.answer() == "ok"
            assert waiter.ask("try no 0 0") == "ok"
            assert waiter.ask("flock no") == "ok"
            assert third.ask("try write 0 0") == "ok"
            assert third.ask("try no 0 0") == "ok"


@scenario.fact
def a_client_that_vanishes_gives_up_its_locks_and_its_waiting(world: World) -> None:
    wanted = Tlock(2, LOCK_TYPE_WRLCK, LOCK_FLAGS_BLOCK, 0, 0, 7, b"vanishing")
    opening = [Twalk(0, 2, (b"file",)), Tlopen(2, 2)]
    with lockers(world, "there") as (waiter,):
        holding, waiting = Client(("127.0.0.1", 564)), Client(("127.0.0.1", 564))
        for client in holding, waiting:
            client.ask(opening)
        holding.ask([wanted])
        waiter.wait_for("wait write 0 10", world)
        waiting.send(frame(wanted, 3))
        wait_for_waiting(world, 2)
        waiting.close()
        wait_for_waiting(world, 1)
        holding.close()
        assert waiter.answer() == "ok"


@scenario.fact
def two_that_would_wait_for_each_other_get_an_error(world: World) -> None:
    with lockers(world, "here", "there") as (one, two):
        assert one.ask("try write 0 1") == "ok"
        assert two.ask("try write 1 1") == "ok"
        one.wait_for("wait write 1 1", world)
        assert two.ask("wait write 0 1") == "EDEADLOCK"  # as Python calls EDEADLK
        assert two.ask("try no 0 0") == "ok"
        assert one.answer() == "ok"


@scenario.fact
def two_that_read_under_flock_and_both_want_to_write_do_not_hang(world: World) -> None:
    """Linux would give up what they have to read; here it may be of fcntl, which must keep it."""
    with lockers(world, "here", "there") as (one, two):
        assert [one.ask("flock read"), two.ask("flock read")] == ["ok", "ok"]
        one.wait_for("flock write", world)
        assert two.ask("flock write") == "EDEADLOCK"
        two.end()
        assert one.answer() == "ok"


@scenario.fact
def an_alarm_ends_the_waiting_when_the_server_has_it_ask_again(world: World) -> str:
    """Its handler does not run before: a process that waits for an answer can only be killed."""
    with lockers(world, "here", "there") as (holder, waiter):
        assert holder.ask("try write 0 1") == "ok"
        start = time.monotonic()
        waiter.tell("alarm write 0 1")
        answer = waiter.answer(28)
        seconds = time.monotonic() - start
        assert answer == "EAGAIN and a signal", answer
    return f"{answer}, {seconds:.1f} s"


@scenario.fact
def one_that_is_told_to_ask_again_does_so_when_the_mount_says(world: World) -> None:
    impatient = world.mount("impatient", "trans=tcp,version=9p2000.L,locktimeout=1")
    with lockers(world, "here", "impatient") as (holder, waiter):
        assert holder.ask("try write 0 1") == "ok"
        waiter.wait_for("wait write 0 1", world)
        wait_for_waiting(world, 0)
        assert holder.ask("try no 0 0") == "ok"
        assert waiter.answer() == "ok"
    world.unmount(impatient)


def counted(kind: str) -> None:
    def fact(world: World) -> str:
        count = 100 if FULL else 25
        (world.folder / "here" / "number").write_bytes(b"")
        start = time.monotonic()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", COUNTER, world.folder / mount / "number", kind, str(count)]
            )
            for mount in ("here", "there", "here", "there")
        ]
        assert [process.wait(250) for process in processes] == [0] * 4
        seconds = time.monotonic() - start
        assert int((world.folder / "there" / "number").read_bytes()) == 4 * count
        return f"{4 * count} times in {seconds:.1f} s"

    fact.__name__ = f"processes on two mounts that count under {kind} lose nothing"
    scenario.fact(fact)


counted("flock")
counted("fcntl")
