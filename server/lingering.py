"""When it pays to wait awake for a client's next request, instead of sleeping until it comes.

A client that asks, waits for the answer and asks again leaves the server idle for less time than it
takes a processor to fall asleep and be woken. On a machine with nothing else to do, being woken was
four fifths of the time of such a request (measured: 8,000 requests a second when sleeping between
them, 26,000 when not). So the server goes on asking the socket for a moment, as long as being woken
would cost, but only where that pays: a request that comes soon earns the difference, and one that
does not come costs it all. While that leaves a debt, twice as many occasions are skipped each time
that nothing comes. So a client that thinks between its requests costs no more than sleeping does.
"""

import os
import socket
from typing import Final

LINGER_NS: Final = 40_000  # about what being woken costs, with what is cold after it
LINGER_REQUESTS_MAX: Final = 16  # in a row, before others get their turn
SKIPS_MAX: Final = 1023


class Lingering:
    """Whether to linger for one client, by what that has earned of late."""

    __slots__ = ("_backoff", "_earned_ns", "_skips")

    def __init__(self) -> None:
        self._backoff = 0  # occasions to skip after the next time that nothing came
        self._earned_ns = 0  # of late: bounded, so that soon it is as the client is now
        self._skips = 0  # occasions still to skip

    def is_worth_it(self) -> bool:
        """Ask on every occasion."""
        if self._skips:
            self._skips -= 1
            return False
        return True

    def note(self, spent_ns: int) -> None:
        """Note how long we lingered: up to LINGER_NS if a request came, longer if none did."""
        came = spent_ns <= LINGER_NS
        earned_ns = self._earned_ns + (LINGER_NS if came else 0) - spent_ns
        self._earned_ns = max(-LINGER_NS, min(LINGER_NS, earned_ns))
        if earned_ns > 0:
            self._backoff = 0
        elif not came:
            self._backoff = min(2 * self._backoff + 1, SKIPS_MAX)
        self._skips = self._backoff


def has_spare_processor() -> bool:
    """Whether a client on this machine can run while we linger."""
    return len(os.sched_getaffinity(0)) > 1


def has_more(client: socket.socket) -> bool:
    """Whether more has arrived from a client: then it is nobody who asks one after the other."""
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
