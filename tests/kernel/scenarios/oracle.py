"""Sequences of calls that nobody thought of, and the few that are known to differ from tmpfs."""

import os
from collections.abc import Callable

from tests.kernel.scenario import FULL, Scenario
from tests.kernel.world import World
from tests.oracle.differences import DIFFERENCES, LISTED, MAPPED, PLAIN, Difference
from tests.oracle.search import budget, fresh_seed
from tests.oracle.soak import MOUNTS, search_mount

SECONDS = 120.0 if FULL else 5.0  # of each kind of mount
CALLS = 600

scenario = Scenario("oracle", size="64MiB")


def search_on(name: str) -> None:
    def same(world: World) -> str:
        return search_mount(world, name, fresh_seed(), *budget(SECONDS, CALLS))

    same.__name__ = f"random calls give what they give on tmpfs with {name}"
    scenario.fact(same, int(SECONDS) + 120)


for name in MOUNTS:
    search_on(name)


@scenario.fact
def there_are_mounts_to_show_the_differences_on(world: World) -> None:
    world.tmpfs("tmpfs")
    world.mount(PLAIN)
    world.mount(LISTED, "trans=tcp,version=9p2000.L,posixacl")
    world.mount(MAPPED, "trans=tcp,version=9p2000.L,cache=mmap")


def known(difference: Difference) -> Callable[[World], None]:
    def still_differs(world: World) -> None:
        for place, expected in (
            ("tmpfs", difference.on_tmpfs),
            (difference.mount, difference.on_mount),
        ):
            top = world.folder / place / difference.name
            os.mkdir(top)
            found = difference.show(top)
            assert found == expected, f"on {place}: {found!r} and not {expected!r}"

    still_differs.__name__ = f"a known difference is still there: {difference.name}"
    return still_differs


for difference in DIFFERENCES:
    scenario.fact(known(difference))
