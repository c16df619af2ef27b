"""Runs ``ram9 serve``, and checks the whole file system on SIGUSR1 and when it has stopped.

The first argument is the file that gets the findings, one line of JSON for each check.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from ram9.server import __main__ as command
from ram9.server import app
from ram9.server.config import Config
from ram9.server.volumes import DEFAULT_NAME
from ram9.storage.check import check


class CheckedServer(app.Server):
    """A server that says what is wrong with its file system."""

    last: "CheckedServer | None" = None
    findings = Path()

    def __init__(
        self, config: Config, loop: asyncio.AbstractEventLoop, memory_bytes: int | None = None
    ) -> None:
        super().__init__(config, loop, memory_bytes)
        CheckedServer.last = self
        loop.add_signal_handler(signal.SIGUSR1, self.report)

    def report(self) -> None:
        """Append what is wrong now, as one line that is there as a whole or not at all."""
        filesystem = self.volumes.named[DEFAULT_NAME].filesystem
        budget = filesystem.budget
        found = {
            "violations": [each for volume in self.volumes for each in check(volume.filesystem)],
            "internal_errors": self.counters.internal_errors,
            "connections": self.counters.connections,
            "used_bytes": budget.used_bytes,
            "used_inodes": budget.used_inodes,
            "refusals": budget.refusals,
            "limit_bytes": budget.limit_bytes,
            "orphans": sum(len(volume.filesystem.orphans) for volume in self.volumes),
            "locks": self.counters.locks,
            "waiting_locks": self.counters.waiting_locks,
            "flushes": self.counters.requests[108],
        }
        with self.findings.open("a") as file:
            file.write(json.dumps(found) + "\n")


def main() -> int:
    CheckedServer.findings = Path(sys.argv.pop(1))
    app.Server = CheckedServer  # type: ignore[misc]
    status = command.main()
    if CheckedServer.last is not None:
        CheckedServer.last.report()
    return status


if __name__ == "__main__":
    sys.exit(main())
