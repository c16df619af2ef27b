"""Two mounts of a server that counts versions of files, so that clients keep data.

And what Linux 7.2 loses of the data that it keeps: the reason why that is not the default.
"""

from tests.kernel.client_losses import kept, lost
from tests.kernel.exerciser import Mapping, exercise
from tests.kernel.scenario import FULL, Scenario
from tests.kernel.scenarios.coherence import KEPT_BY_LOOSE, expect
from tests.kernel.world import World

KEPT_WHILE_OPEN = {"a change to a file held open", "bytes added to a file held open"}
WRITTEN_LATER = {"ones own write before anything else", "memory before anything else"}
KEPT_FOR_EVER = {"a change to a file opened anew", "bytes added to a file opened anew"}

NOT_SEEN = {
    "none": set[str](),
    "readahead": KEPT_WHILE_OPEN,
    "mmap": KEPT_WHILE_OPEN | WRITTEN_LATER,
    "loose": KEPT_WHILE_OPEN | WRITTEN_LATER | KEPT_BY_LOOSE | KEPT_FOR_EVER,
    "fscache": KEPT_WHILE_OPEN | WRITTEN_LATER | KEPT_BY_LOOSE | KEPT_FOR_EVER,
}

COUNT = 20_000 if FULL else 300

scenario = Scenario("counted", arguments=["--client-cache"])


def promise(cache: str) -> None:
    def fact(world: World) -> None:
        expect(world, cache, NOT_SEEN[cache])

    fact.__name__ = f"clients that keep data see of each other what cache {cache} promises"
    scenario.fact(fact)


for cache in NOT_SEEN:
    promise(cache)


def exercised(cache: str) -> None:
    def fact(world: World) -> str:
        mount = world.mount("mount", f"trans=tcp,version=9p2000.L,cache={cache}")
        try:
            return ", ".join(
                exercise(mount / f"mapped to {kind.value}", 1, COUNT, kind, without=("append",))
                for kind in (Mapping.NONE, Mapping.READ)
            )
        finally:
            world.unmount(mount)

    fact.__name__ = f"a file is what was written to it where data is kept with cache {cache}"
    scenario.fact(fact, 1200)


for cache in "none", "readahead":
    kept(scenario, cache)
    exercised(cache)
for cache in "mmap", "loose", "fscache":
    lost(scenario, cache)
