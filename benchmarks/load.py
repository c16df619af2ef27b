"""The load generator: keeps a number of requests in flight, and counts replies by arithmetic.

What is measured must be the server, so this does next to nothing for each request. Frames are made
before the clock starts; while it runs, only offsets are put in. All replies of a phase are equally
long, so that the number of bytes received tells how many there were. Of each reply the type is
looked at, with one slice for all that one call received: a refusal is never counted as an answer.
"""

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

RECEIVE_BYTES: Final = 256 << 10
SIZE: Final = struct.Struct("<I")
TYPE_AT: Final = 4  # of a frame
RLERROR: Final = 7
IOV_MAX: Final = 1024  # limits.h: pieces of one sendmsg

# Where all connections receive to: nobody looks at the bytes later, so they stay in the cache.
_received = bytearray(RECEIVE_BYTES)
_view = memoryview(_received)

Pieces = list[memoryview]


class Phase(Protocol):
    """Some *requests* of one kind, whose replies have *reply_bytes* each."""

    requests: int
    reply_bytes: int
    reply_type: int

    def pieces(self, first: int, count: int) -> Pieces:
        """The frames of the requests [first, first + count)."""


class LoadError(Exception):
    """A reply was not what it had to be."""


@dataclass
class Tally:
    """How many *requests* were answered in how many *seconds*.

    *latencies* are pairs (nanoseconds, requests): those that one call received have one time.
    """

    requests: int = 0
    seconds: float = 0.0
    latencies: list[tuple[int, int]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0

    def percentile(self, fraction: float) -> float:
        """The latency in µs that *fraction* of the requests did not exceed."""
        total = sum(count for _, count in self.latencies)
        if not total:
            return 0.0
        seen = 0
        for nanoseconds, count in sorted(self.latencies):
            seen += count
            if seen >= fraction * total:
                return nanoseconds / 1000
        raise AssertionError("the counts do not come to their sum")

    def add(self, other: "Tally") -> None:
        """Count what another process did in the same time."""
        self.requests += other.requests
        self.seconds = max(self.seconds, other.seconds)
        self.latencies += other.latencies


class Window:
    """One connection with up to *depth* requests in flight, phase after phase.

    Replies may come in another order than requests: then the latencies are those of the n-th
    request and the n-th reply. A phase begins when all replies of the one before are there.
    """

    def __init__(self, connection: socket.socket, phases: Iterable[Phase], depth: int) -> None:
        self.socket = connection
        self.unsent: Pieces = []
        self.latencies: list[tuple[int, int]] = []
        self.answered = 0
        self._phases = iter(phases)
        self._depth = depth
        self._times: deque[tuple[int, int]] = deque()  # of what is in flight: (ns, requests)
        self._sent = self._done = self._bytes = 0  # of this phase
        self._is_stopping = False
        self.is_finished = False
        self._next_phase()

    def _next_phase(self) -> None:
        phase = next(self._phases, None)
        if phase is None:
            self.is_finished = True
            return
        self._phase = phase
        self._sent = self._done = self._bytes = 0

    def stop(self) -> bool:
        """Send nothing more; True if it is finished, else it is once all has been answered."""
        self._is_stopping = True
        if self._sent == self._done and not self.unsent:
            self.is_finished = True
        return self.is_finished

    def fill(self) -> None:
        """Send as many requests as may be in flight."""
        phase = self._phase
        count = min(self._depth - (self._sent - self._done), phase.requests - self._sent)
        if count <= 0 or self._is_stopping:
            return
        self._times.append((time.perf_counter_ns(), count))
        self.unsent += phase.pieces(self._sent, count)
        self._sent += count
        self.flush()

    def flush(self) -> None:
        """Send what is unsent, as far as the socket takes it."""
        unsent = self.unsent
        try:
            if len(unsent) == 1:
                sent = self.socket.send(unsent[0])
                if sent == len(unsent[0]):
                    unsent.clear()
                    return
                unsent[0] = unsent[0][sent:]
            while unsent:
                self._drop(self.socket.sendmsg(unsent[:IOV_MAX]))
        except BlockingIOError:
            pass

    def _drop(self, sent: int) -> None:
        unsent, whole = self.unsent, 0
        while whole < len(unsent) and sent >= len(unsent[whole]):
            sent -= len(unsent[whole])
            whole += 1
        del unsent[:whole]
        if sent:
            unsent[0] = unsent[0][sent:]

    def receive(self) -> int:
        """Count the replies of one recv, send as many requests; return the time."""
        phase = self._phase
        count = self.socket.recv_into(_view)
        now = time.perf_counter_ns()
        if not count:
            raise LoadError("the server closed the connection")
        before, reply_bytes = self._bytes, phase.reply_bytes
        self._verify((TYPE_AT - before) % reply_bytes, count)
        self._bytes = before + count
        done = self._bytes // reply_bytes
        answered = done - self._done
        if answered:
            self._note(now, answered)
            self._done = done
            if done == phase.requests and not self._is_stopping:
                self._next_phase()
                if self.is_finished:
                    return now
            self.fill()
        if self._is_stopping and self._sent == self._done:
            self.is_finished = True
        return now

    def _verify(self, at: int, count: int) -> None:
        """Look at the types of the replies in the first *count* received bytes."""
        phase = self._phase
        types = _received[at : count : phase.reply_bytes]
        if types.count(phase.reply_type) != len(types):
            raise LoadError(self._refusal(at, count))
        if TYPE_AT <= at < count and SIZE.unpack_from(_received, at - 4)[0] != phase.reply_bytes:
            raise LoadError(f"a reply of type {phase.reply_type} has another length than expected")

    def _refusal(self, at: int, count: int) -> str:
        for place in range(at, count, self._phase.reply_bytes):
            found = _received[place]
            if found == RLERROR and place + 7 <= count:
                return f"refused with errno {SIZE.unpack_from(_received, place + 3)[0]}"
            if found != self._phase.reply_type:
                return f"a reply of type {found} instead of {self._phase.reply_type}"
        raise AssertionError("all types are right")

    def _note(self, now: int, answered: int) -> None:
        times = self._times
        self.answered += answered
        while answered:
            began, count = times.popleft()
            if count > answered:
                times.appendleft((began, count - answered))
                count = answered
            self.latencies.append((now - began, count))
            answered -= count


def run(windows: Sequence[Window], seconds: float) -> Tally:
    """Let all windows do their phases, for at most *seconds*."""
    began = time.perf_counter_ns()
    until = began + int(seconds * 1e9)
    ended = _run_one(windows[0], until) if len(windows) == 1 else _run_several(windows, until)
    tally = Tally(seconds=(ended - began) / 1e9)
    for window in windows:
        tally.requests += window.answered
        tally.latencies += window.latencies
    return tally


def _run_one(window: Window, until: int) -> int:
    window.fill()
    now = time.perf_counter_ns()
    while not window.is_finished:
        now = window.receive()
        if now > until:
            window.stop()
    return now


def _run_several(windows: Sequence[Window], until: int) -> int:
    """As _run_one, with whichever connection is ready."""
    poll = select.epoll()
    by_descriptor = {window.socket.fileno(): window for window in windows}
    is_writing: set[int] = set()

    def watch(window: Window, descriptor: int) -> None:
        if bool(window.unsent) != (descriptor in is_writing):
            is_writing.symmetric_difference_update({descriptor})
            also = select.EPOLLOUT if window.unsent else 0
            poll.modify(descriptor, select.EPOLLIN | also)

    try:
        for descriptor, window in by_descriptor.items():
            window.socket.settimeout(0)
            poll.register(descriptor, select.EPOLLIN)
            window.fill()
            watch(window, descriptor)
        now = time.perf_counter_ns()
        left = len(windows)
        while left:
            for descriptor, events in poll.poll(PATIENCE_SECONDS) or _nobody():
                window = by_descriptor[descriptor]
                if events & select.EPOLLOUT:
                    window.flush()
                if events & ~select.EPOLLOUT:
                    now = window.receive()
                watch(window, descriptor)
                if window.is_finished:
                    poll.unregister(descriptor)
                    left -= 1
            if now > until:
                left -= _stop(by_descriptor, poll)
                until = now + int(PATIENCE_SECONDS * 1e9)
    finally:
        poll.close()
    return now


def _stop(windows: dict[int, Window], poll: select.epoll) -> int:
    """Stop all that still run; return how many had nothing in flight."""
    idle = 0
    for descriptor, window in windows.items():
        if not window.is_finished and window.stop():
            poll.unregister(descriptor)
            idle += 1
    return idle


PATIENCE_SECONDS: Final = 60.0


def _nobody() -> list[tuple[int, int]]:
    raise LoadError(f"no reply within {PATIENCE_SECONDS:.0f} s")
