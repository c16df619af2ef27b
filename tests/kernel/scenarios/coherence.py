"""Two mounts: what each cache mode lets one see of what the other does, as ram9 is by default."""

import os

from tests.kernel.client_losses import append, hidden, lost
from tests.kernel.coherence import MAPPED_QUESTIONS, QUESTIONS, answers
from tests.kernel.scenario import Scenario
from tests.kernel.world import World

WRITABLE_MAPPINGS = ("mmap", "loose", "fscache")

# With these, v9fs asks once for a name, and keeps size, mode and mappings of what it found.
KEPT_BY_LOOSE = {
    "the size of a file held open",
    "the size and the mode of a file",
    "a mapping made anew",
    "a new name",
    "a name that is gone",
    "a file that replaced another",
}
NOT_SEEN = {
    "none": set[str](),
    "readahead": set[str](),
    "mmap": {"memory before anything else"},
    "loose": KEPT_BY_LOOSE | {"memory before anything else"},
    "fscache": KEPT_BY_LOOSE | {"memory before anything else"},
}

scenario = Scenario("coherence")


def expect(world: World, cache: str, not_seen: set[str]) -> None:
    """Fail unless just *not_seen* is what a mount with *cache* does not see, or is not seen of."""
    other = world.mount("other")
    here = world.mount("here", f"trans=tcp,version=9p2000.L,cache={cache}")
    try:
        questions = QUESTIONS | (MAPPED_QUESTIONS if cache in WRITABLE_MAPPINGS else {})
        (other / cache).mkdir()
        found = answers(here / cache, other / cache, questions)
    finally:
        world.unmount(here)
        world.unmount(other)
    assert {name for name, seen in found.items() if not seen} == not_seen


def promise(cache: str) -> None:
    def fact(world: World) -> None:
        expect(world, cache, NOT_SEEN[cache])

    fact.__name__ = f"two mounts see of each other what cache {cache} promises"
    scenario.fact(fact)


for cache in NOT_SEEN:
    promise(cache)

for cache in WRITABLE_MAPPINGS:
    hidden(scenario, cache)
lost(scenario, "mmap,ignoreqv")
for cache in "none", "readahead":
    append(scenario, cache, os.O_WRONLY, lost=False)
for cache in WRITABLE_MAPPINGS:
    append(scenario, cache, os.O_WRONLY, lost=True)
append(scenario, "none", os.O_RDWR, lost=True)
