"""ram9, which also tells how its memory lies: for the churn series.

    python -m benchmarks.watched serve ...

It takes the options of ram9. For each line that comes on standard input it prints one JSON object,
made between two requests. The end of the input ends it.
"""

import gc
import json
import os
import sys

import uvloop

from ram9.server.app import Server
from ram9.server.arguments import parse_arguments
from ram9.server.config import Config
from ram9.server.volumes import DEFAULT_NAME
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import SECTOR_BYTES


def layout(filesystem: FileSystem) -> dict[str, int]:
    """How the sectors lie: free ones as runs, warm (in memory) and cold, and what is used."""
    space = filesystem.disk.space
    warm = [run.sectors for run in space.warm]
    cold = [run.sectors for run in space.cold]
    return {
        "used_bytes": filesystem.budget.used_bytes,
        "warm_runs": len(warm),
        "warm_bytes": SECTOR_BYTES * sum(warm),
        "cold_runs": len(cold),
        "largest_run_bytes": SECTOR_BYTES * max([*warm, *cold], default=0),
    }


def main() -> None:
    """Serve until the input ends."""
    config = parse_arguments(sys.argv[1:], lambda: os.sysconf("SC_PHYS_PAGES") * 4096)
    assert isinstance(config, Config)
    loop = uvloop.new_event_loop()
    server = Server(config, loop)

    def tell() -> None:
        lines = os.read(0, 4096)
        if not lines:
            loop.stop()
        for _ in range(lines.count(b"\n")):
            os.write(
                1,
                json.dumps(layout(server.volumes.named[DEFAULT_NAME].filesystem)).encode() + b"\n",
            )

    gc.collect()
    gc.freeze()
    gc.disable()  # as the server has it
    server.start()
    loop.add_reader(0, tell)
    loop.run_forever()
    loop.run_until_complete(server.stop())


if __name__ == "__main__":
    main()
