"""Every cache mode with every message size: one file exercised at random and compared.

RAM9_KERNEL_FULL=1 does 100,000 operations for each cache and message size, half of them mapped.
Where no cachefilesd runs, fscache is what it is without a cache on disk.
"""

from pathlib import Path

from tests.kernel.exerciser import Mapping, exercise
from tests.kernel.scenario import FULL, Scenario
from tests.kernel.world import World

CACHES = {
    "none": Mapping.READ,
    "readahead": Mapping.READ,
    "mmap": Mapping.WRITE,
    "loose": Mapping.WRITE,
    "fscache": Mapping.WRITE,
}
"""What v9fs lets programs map, for each cache mode: fs/9p/vfs_file.c, v9fs_file_mmap_prepare."""

MESSAGE_SIZES = (4096, 131096, 1044504, 1048576)
SEEDS = (1, 2, 3, 4) if FULL else (5,)
COUNT = 12_500 if FULL else 150

# Linux forgets to drop the last page of a file that O_APPEND writes to: docs/compatibility.md,
# "append-mapped".
LEFT_OUT_WHEN_MAPPED = ("append",)

scenario = Scenario("exercise", seconds_max=20_000 if FULL else 900)


def cell(cache: str, msize: int, mapping: Mapping) -> None:
    without = () if mapping is Mapping.NONE else LEFT_OUT_WHEN_MAPPED

    def fact(world: World) -> str:
        mount = world.mount("mount", f"trans=tcp,version=9p2000.L,cache={cache},msize={msize}")
        try:
            rates = [
                exercise(Path(mount, f"seed {seed}"), seed, COUNT, mapping, without)
                for seed in SEEDS
            ]
        finally:
            world.unmount(mount)
        return ", ".join(rates)

    mapped = "" if mapping is Mapping.NONE else f", mapped to {mapping.value}"
    fact.__name__ = f"a file is what was written to it with cache {cache}, msize {msize}{mapped}"
    scenario.fact(fact, 4000 if FULL else 300)


for cache, mappable in CACHES.items():
    for msize in MESSAGE_SIZES:
        cell(cache, msize, Mapping.NONE)
        cell(cache, msize, mappable)
