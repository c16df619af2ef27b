"""Who is connected: what the log is told of a client, and what status shows of it."""

import logging
import socket
import struct
import time
from contextlib import suppress
from typing import Final, NamedTuple

from ram9.server.logs import event
from ram9.server.session import Session

log = logging.getLogger("ram9")

MOUNTS_MAX: Final = 16  # that are remembered of one client: others are counted only

# struct tcp_info of linux/tcp.h: bytes that were sent and acknowledged, and that were received.
_TCP_BYTES: Final = struct.Struct("=120xQQ")


class Journal:
    """Writes into the log what happens to one client.

    Of each kind of event, only the first: a client must not be able to fill the log. ``mounts``
    are those that it attached to, by aname and user; ``since`` is when it came, in seconds since
    1970.
    """

    __slots__ = ("_reported", "mounts", "mounts_count", "peer", "since")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.since = time.time()
        self.mounts: dict[tuple[object, object], object] = {}  # what the user is called there
        self.mounts_count = 0
        self._reported: set[str] = set()

    def report(self, name: str, fields: dict[str, object]) -> None:
        """Log an event of a session: the first attach is the mount, more are its users."""
        is_first = name not in self._reported
        self._reported.add(name)
        level = logging.DEBUG
        if is_first:
            level = logging.INFO if name == "attached" else logging.WARNING
        if name == "attached":
            self.mounts_count += 1
            if len(self.mounts) < MOUNTS_MAX:
                self.mounts.setdefault(
                    (fields.get("aname"), fields.get("uid")), fields.get("uname")
                )
            if is_first:
                name = "mounted"
        event(log, level, name, exception=None, **{"peer": self.peer, **fields})

    def report_bug(self, error: Exception) -> None:
        """Log a request that met a bug of ours."""
        event(log, logging.ERROR, "internal error", peer=self.peer, exception=error)


class Client(NamedTuple):
    """What there is of one connection."""

    journal: Journal
    session: Session
    socket: socket.socket


def moved_bytes(client: socket.socket) -> tuple[int, int] | None:
    """How many bytes a client sent us and received from us, where the kernel has counted that."""
    with suppress(OSError, struct.error):
        if client.family != socket.AF_UNIX:
            found = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_BYTES.size)
            acknowledged, received = _TCP_BYTES.unpack(found)
            return received, acknowledged
    return None
