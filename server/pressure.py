"""Watches how much memory is left, and has the volumes take no more.

Somebody else may take it: so it is looked at every second, and more often when little is left. What
volumes take between two looks is counted (see Allotment), so that they cannot run away meanwhile.
Where the kernel tells of processes that wait for memory (PSI), that is a reason to look at once.
When memory is short, what is kept warm is given back first, in steps between which requests are
answered.
"""

import asyncio
import logging
import os
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from ram9.server.config import ConfigError
from ram9.server.counters import Counters
from ram9.server.logs import event
from ram9.server.memory import MemoryFiles
from ram9.server.volumes import Volume
from ram9.storage.budget import Allotment

log = logging.getLogger("ram9")

LOOK_SECONDS: Final = 1.0
LOOK_NEAR_SECONDS: Final = 0.1
NEAR_BYTES: Final = 128 << 20  # with less left than this, it is looked at more often
LOOK_SHARE: Final = 100  # a look takes at most one in so many parts of the processor's time,
LOOK_SECONDS_MAX: Final = 5.0  # unless it would be taken less often than this
SUFFICES_SECONDS: Final = 10.0  # memory that was short is not, when it was not for so long

SHED_BELOW_BYTES: Final = 16 << 20  # with less left, what nobody uses is given back
SHED_STEP_BYTES: Final = 16 << 20  # some 1 ms
SHED_VOLUMES_MAX: Final = 256  # to look at in one step

# Waiting for 0.1 s within 2 s, which is the least that everybody may ask for; psi.rst of Linux.
STALLS: Final = b"some 100000 2000000\0"


class Clients(Protocol):
    """What clients make the server hold, and may."""

    held_bytes: int
    held_bytes_max: int


class StallTrigger:
    """Calls *on_stall* when processes wait for memory, as the pressure file *path* tells.

    Such a file has news with POLLPRI, which not every loop can wait for: an epoll that waits for
    it is readable then, and asking that takes the news away.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, path: Path, on_stall: Callable[[], None]
    ) -> None:
        """OSError if the system does not tell."""
        self._loop = loop
        self._on_stall = on_stall
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(self._file, STALLS)
            self._epoll = select.epoll()
            self._epoll.register(self._file, select.EPOLLPRI)
        except BaseException:
            os.close(self._file)
            raise
        loop.add_reader(self._epoll.fileno(), self._tell)

    def close(self) -> None:
        """Wait no longer."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            os.close(self._file)

    def _tell(self) -> None:
        if any(mask & select.EPOLLERR for _, mask in self._epoll.poll(0)):
            self.close()  # the control group is gone
        else:
            self._on_stall()


class Pressure:
    """Sets what is left in *allotment*, from what *files* say.


    Of what is left, clients may take the rest of their share. And what volumes have taken without
    writing it yet is not in use, for the kernel: it is what they hold more than this process has
    grown by since the start.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        files: MemoryFiles,
        allotment: Allotment,
        volumes: Iterable[Volume],
        clients: Clients,
        counters: Counters,
    ) -> None:
        self._loop = loop
        self._counters = counters
        self._files = files
        self.allotment = allotment
        self._volumes = volumes
        self._clients = clients
        self._timer: asyncio.TimerHandle | None = None
        self._trigger: StallTrigger | None = None
        self._to_shed: list[Volume] = []
        self._sheds_all = False
        self._anonymous_bytes = files.anonymous_bytes() - allotment.held_bytes - clients.held_bytes
        self._refusals_seen = allotment.refusals
        self._short_until = 0.0
        self._is_blind = False
        self.is_short = False

    def start(self) -> None:
        """Look now, and from now on."""
        for path in self._files.pressure_paths():
            try:
                self._trigger = StallTrigger(self._loop, path, self._stalled)
            except OSError:
                continue  # it is not there, or not ours to ask: looking every second will do
            break
        self._look_again()

    def close(self) -> None:
        """Look no more."""
        if self._trigger is not None:
            self._trigger.close()
        if self._timer is not None:
            self._timer.cancel()
        self._to_shed.clear()

    def look(self) -> None:
        """Find out what is left; where that cannot be, it is what was, less what was taken."""
        try:
            found = self._files.left()
        except ConfigError as error:
            if not self._is_blind:
                event(log, logging.WARNING, "memory unknown", reason=error)
            self._is_blind = True
            return
        self._is_blind = False
        allotment, clients = self.allotment, self._clients
        grown_bytes = self._files.anonymous_bytes() - self._anonymous_bytes - clients.held_bytes
        unwritten_bytes = max(0, allotment.held_bytes - max(0, grown_bytes))
        clients_bytes = max(0, clients.held_bytes_max - clients.held_bytes)
        allotment.set_left(found.left_bytes - unwritten_bytes - clients_bytes, found.source)
        self._note()
        if allotment.left_bytes < SHED_BELOW_BYTES:
            self.shed()

    def shed(self) -> None:
        """Begin to give back what volumes hold and do not use, as far as it is wanted."""
        if not self._to_shed:
            self._to_shed = list(self._volumes)
            self._loop.call_soon(self._shed_step)

    def _look_again(self) -> None:
        began = time.thread_time()  # not that in which a group above its memory.high is held up
        self.look()
        is_near = self.allotment.left_bytes < NEAR_BYTES
        seconds = LOOK_NEAR_SECONDS if is_near else LOOK_SECONDS
        seconds = max(seconds, LOOK_SHARE * (time.thread_time() - began))
        self._timer = self._loop.call_later(min(seconds, LOOK_SECONDS_MAX), self._look_again)

    def _stalled(self) -> None:
        """Somebody waits for memory: there is less than it seems."""
        self._counters.stalls += 1
        self._sheds_all = True
        self.look()
        self.shed()

    def _note(self) -> None:
        """Log that memory holds volumes back, and that it does so no more."""
        allotment, now = self.allotment, self._loop.time()
        is_short = allotment.left_bytes < 0 or allotment.refusals != self._refusals_seen
        self._refusals_seen = allotment.refusals
        if is_short:
            self._short_until = now + SUFFICES_SECONDS
        if is_short and not self.is_short:
            self.is_short = True
            event(
                log,
                logging.WARNING,
                "memory is short",
                memory_from=allotment.source,
                left_bytes=allotment.left_bytes,
                held_bytes=allotment.held_bytes,
            )
        elif self.is_short and now >= self._short_until:
            self.is_short = False
            event(log, logging.INFO, "memory suffices", left_bytes=allotment.left_bytes)

    def _shed_step(self) -> None:
        for _ in range(SHED_VOLUMES_MAX):
            if not self._to_shed:
                self._sheds_all = False
                return
            disk = self._to_shed[-1].filesystem.disk
            wanted_bytes = self._wanted_bytes(disk.budget.memory.excess_bytes)
            if wanted_bytes <= 0 or not disk.shed(min(wanted_bytes, SHED_STEP_BYTES)):
                self._to_shed.pop()
                continue
            break
        self._loop.call_soon(self._shed_step)

    def _wanted_bytes(self, excess_bytes: int) -> int:
        """How much is to be given back by a volume that holds *excess_bytes* too many."""
        if self._sheds_all:
            return SHED_STEP_BYTES
        return max(excess_bytes, SHED_BELOW_BYTES - self.allotment.left_bytes)
