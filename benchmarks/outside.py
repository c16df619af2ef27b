"""Runs the servers that a guest mounts, and tells it their ports and their processor time.

    python -m benchmarks.outside HOST PORT SIZE_BYTES NAME ...

Whoever connects to PORT gets one JSON object, and the connection is closed. SIGTERM ends it.
"""

import json
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

from benchmarks.servers import Needs, Peer, running

PATIENCE_SECONDS: Final = 60


def status(peers: Sequence[Peer], absent: Sequence[str]) -> dict[str, Any]:
    """What a guest has to know of the servers, just now."""
    found = {
        peer.name: {
            "port": peer.addresses["tcp"].port,
            "aname": peer.aname,
            "version": peer.version,
            "seconds": peer.processor_seconds(),
        }
        for peer in peers
    }
    return {"peers": found, "absent": list(absent)}


def ask(host: str, port: int) -> dict[str, Any]:
    """The status that is told at *host* and *port*."""
    with socket.create_connection((host, port), PATIENCE_SECONDS) as connection:
        found: dict[str, Any] = json.loads(connection.makefile().read())
        return found


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main(host: str, port: int, size_bytes: int, names: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, _end)
    needs = Needs(size_bytes=size_bytes, host=host)
    with running(names, needs) as (peers, absent), socket.create_server((host, port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(json.dumps(status(peers, absent)).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
