"""ram9, which also tells how its memory lies: for the churn series.

    python -m benchmarks.watched serve ...

It takes the options of ram9. For each line that comes on standard input it prints one JSON object,
made between two requests: for ``layout`` how each volume lies, by its name, and for ``check`` what
is wrong with all of them. The end of the input ends it.
"""

import gc
import json
import os
import sys
from pathlib import Path

import uvloop

from ram9.server.app import Server
from ram9.server.arguments import parse_arguments
from ram9.server.config import Config
from ram9.server.volumes import Volumes
from ram9.storage.check import check
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File
from ram9.storage.limits import SECTOR_BYTES


def layout(filesystem: FileSystem) -> dict[str, int]:
    """How the sectors lie: free ones as runs, warm (in memory) and cold, and what is used.

    Also how many runs the data of all files lies in, and how many files have data.
    """
    space = filesystem.disk.space
    warm = [run.sectors for run in space.warm]
    cold = [run.sectors for run in space.cold]
    runs = file_runs(filesystem)
    return {
        "used_bytes": filesystem.budget.used_bytes,
        "warm_runs": len(warm),
        "warm_bytes": SECTOR_BYTES * sum(warm),
        "cold_runs": len(cold),
        "largest_run_bytes": SECTOR_BYTES * max([*warm, *cold], default=0),
        "files_with_data": len(runs),
        "file_runs": sum(runs),
    }


def file_runs(filesystem: FileSystem) -> list[int]:
    """Of each file with data, in how many runs it lies; a file with two names is there twice."""
    found: list[int] = []
    todo = [filesystem.root]
    while todo:
        for _, inode in todo.pop().entries:
            if isinstance(inode, Directory):
                todo.append(inode)
            elif isinstance(inode, File) and inode.content.sectors:
                found.append(len(inode.content.runs))
    return found


def answer(question: bytes, volumes: Volumes) -> dict[str, object]:
    """What is printed for one line."""
    if question == b"check":
        found = {volume.name.decode(): check(volume.filesystem) for volume in volumes}
        return {name: violations for name, violations in found.items() if violations}
    return {volume.name.decode(): layout(volume.filesystem) for volume in volumes}


def main() -> None:
    """Serve until the input ends."""
    config = parse_arguments(
        sys.argv[1:],
        lambda: os.sysconf("SC_PHYS_PAGES") * 4096,
        lambda path: Path(path).read_text(),
    )
    assert isinstance(config, Config)
    loop = uvloop.new_event_loop()
    server = Server(config, loop)

    def tell() -> None:
        questions = os.read(0, 4096)
        if not questions:
            loop.stop()
        for question in questions.splitlines():
            os.write(1, json.dumps(answer(question, server.volumes)).encode() + b"\n")

    gc.collect()
    gc.freeze()
    gc.disable()  # as the server has it
    server.start()
    loop.add_reader(0, tell)
    loop.run_forever()
    loop.run_until_complete(server.stop())


if __name__ == "__main__":
    main()
