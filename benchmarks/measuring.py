"""Measures one case against one server: connects, prepares, runs, tidies up."""

import gc
import multiprocessing
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.cases import Case, Seat
from benchmarks.load import LoadError, Tally, Window, run
from benchmarks.servers import Peer

_runs = count(1)
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Setting:
    """How a case is measured: over what, with how many connections and requests in flight."""

    transport: str = "tcp"
    connections: int = 1
    depth: int = 1
    seconds: float = 0.5
    span_bytes: int = 256 << 20
    processes: int = 1


@dataclass(slots=True)
class Sample:
    """What came of one measurement; *payload_bytes* is what each request moved.

    *requests_each* made up what is counted.
    """

    tally: Tally
    payload_bytes: int
    requests_each: int = 1

    @property
    def rate(self) -> float:
        """How many of what is counted were done a second."""
        return self.tally.rate / self.requests_each

    @property
    def megabytes_a_second(self) -> float:
        return self.tally.rate * self.payload_bytes / 1e6


def generator_processes(connections: int) -> int:
    """So many processes share the connections: half of the processors are for the server."""
    return max(1, min(connections, len(os.sched_getaffinity(0)) // 2))


def measure(peer: Peer, case: Case, setting: Setting) -> Sample:
    """Let the load of a case on a server, from as many processes as are asked for."""
    number = next(_runs)
    seats = [
        Seat(index, setting.connections, setting.depth, setting.span_bytes, number)
        for index in range(setting.connections)
    ]
    shares = [seats[number :: setting.processes] for number in range(setting.processes)]
    if len(shares) == 1:
        return measure_seats(peer, case, setting, shares[0], None)
    barrier = _fork.Barrier(len(shares))
    pipes, children = [], []
    for share in shares:
        mine, theirs = _fork.Pipe(duplex=False)
        child = _fork.Process(target=_child, args=(theirs, peer, case, setting, share, barrier))
        child.start()
        theirs.close()
        pipes.append(mine)
        children.append(child)
    found = [pipe.recv() for pipe in pipes]
    for child in children:
        child.join()
    if errors := [each for each in found if isinstance(each, LoadError)]:
        raise max(errors, key=lambda error: len(str(error)))  # those who only waited say nothing
    whole: Sample = found[0]
    for sample in found[1:]:
        whole.tally.add(sample.tally)
    return whole


def _child(
    pipe: Any, peer: Peer, case: Case, setting: Setting, seats: Sequence[Seat], barrier: Any
) -> None:
    try:
        pipe.send(measure_seats(peer, case, setting, seats, barrier))
    except Exception as error:
        barrier.abort()
        pipe.send(LoadError(str(error)))


def measure_seats(
    peer: Peer, case: Case, setting: Setting, seats: Sequence[Seat], barrier: Any
) -> Sample:
    """The load of some connections, from this process."""
    with ExitStack() as stack:
        clients = [stack.enter_context(peer.connect(setting.transport)) for _ in seats]
        pairs = list(zip(clients, seats, strict=True))
        prepared = [case.prepare(client, seat) for client, seat in pairs]
        windows = [
            Window(client.socket, each.phases, setting.depth)
            for client, each in zip(clients, prepared, strict=True)
        ]
        if barrier is not None:
            barrier.wait()
        tally = _without_collection(windows, setting.seconds)
        for client, seat in pairs:
            client.socket.settimeout(None)
            case.clean(client, seat)
        return Sample(tally, prepared[0].payload_bytes, prepared[0].requests_each)


def _without_collection(windows: Sequence[Window], seconds: float) -> Tally:
    """Run while Python's collector stands still, which would show up as latency."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return run(windows, seconds)
    finally:
        if was_enabled:
            gc.enable()
