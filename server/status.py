"""What the server tells of itself: one object for the process, each volume and each client.

All of one object is of one moment; between two of them, requests may have been answered.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from ram9.server.clients import Client, moved_bytes
from ram9.server.config import Address
from ram9.server.counters import Counters
from ram9.server.hub import Hub
from ram9.server.logs import printable
from ram9.server.version import VERSION
from ram9.server.volumes import Volume, Volumes
from ram9.storage.budget import Allotment
from ram9.storage.limits import SECTOR_BYTES


class Status:
    """Tells of the server that has all this.

    *listen* are its addresses, *path* is its configuration file or empty, *resident_bytes* says
    what the process takes of the machine.
    """

    def __init__(
        self,
        volumes: Volumes,
        clients: Callable[[], Iterable[Client]],
        hub: Hub,
        counters: Counters,
        allotment: Allotment,
        listen: Collection[Address],
        path: str,
        resident_bytes: Callable[[], int],
    ) -> None:
        self._volumes = volumes
        self._clients = clients
        self._hub = hub
        self._counters = counters
        self._allotment = allotment
        self._listen = listen
        self._path = path
        self._resident_bytes = resident_bytes
        self._since = time.time()

    def lines(self) -> Iterator[dict[str, Any]]:
        """The process, then its volumes, then its clients."""
        yield self._process()
        for volume in self._volumes:
            yield _volume(volume)
        for client in list(self._clients()):  # they come and go meanwhile
            yield _client(client)

    def _process(self) -> dict[str, Any]:
        counters = self._counters
        allotment = self._allotment
        return {
            "kind": "server",
            "version": VERSION,
            "pid": os.getpid(),
            "since": int(self._since),
            "config": self._path,
            "listen": [str(address) for address in self._listen],
            "connections": counters.connections,
            "fids": counters.fids,
            "locks": counters.locks,
            "waiting_locks": counters.waiting_locks,
            "received_bytes": counters.received_bytes,
            "sent_bytes": counters.sent_bytes,
            "memory": {
                "resident_bytes": self._resident_bytes(),
                "held_bytes": allotment.held_bytes,
                "left_bytes": allotment.left_bytes if allotment.source else None,
                "limited_by": allotment.source or None,
                "clients_bytes": self._hub.held_bytes,
                "clients_bytes_max": self._hub.held_bytes_max,
                "stalls": counters.stalls,
            },
        }


def _volume(volume: Volume) -> dict[str, Any]:
    filesystem = volume.filesystem
    budget, space = filesystem.budget, filesystem.disk.space
    return {
        "kind": "volume",
        "name": printable(volume.name),
        "size_bytes": budget.limit_bytes,
        **budget.standing()._asdict(),
        "held_bytes": budget.memory.held_bytes,
        "warm_bytes": space.warm.sectors * SECTOR_BYTES,
        "room_bytes": filesystem.disk.room_bytes,
    }


def _client(client: Client) -> dict[str, Any]:
    journal, session, socket = client
    moved = moved_bytes(socket)
    return {
        "kind": "client",
        "peer": journal.peer,
        "since": int(journal.since),
        "mounts": [
            {"aname": printable(aname), "uid": uid, "uname": printable(uname)}
            for (aname, uid), uname in journal.mounts.items()
        ],
        "attaches": journal.mounts_count,
        "fids": len(session.fids),
        "locked_files": len(session.locked),
        "waiting_locks": len(session.waiting),
        "received_bytes": moved[0] if moved else None,
        "sent_bytes": moved[1] if moved else None,
    }
