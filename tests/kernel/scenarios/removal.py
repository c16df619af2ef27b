"""A directory of very many files, listed and removed."""

import os
import time

from tests.kernel.client import Client
from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World

FILES = 100_000 if FULL else 10_000

scenario = Scenario(
    "removal", size="512MiB", arguments=["--inodes", "200000"], memory_mib=1500, seconds_max=1500
)


@scenario.fact
def a_directory_is_filled_by_another_client(world: World) -> str:
    mount = world.mount("mount")
    (mount / "many").mkdir()
    client = Client(("127.0.0.1", 564))
    start = time.monotonic()
    client.create(b"many", (b"file %06d" % number for number in range(FILES)))
    client.close()
    return f"{FILES / (time.monotonic() - start):.0f} files/s"


@scenario.fact
def a_listing_has_each_name_once(world: World) -> str:
    start = time.monotonic()
    names = os.listdir(world.folder / "mount" / "many")
    seconds = time.monotonic() - start
    assert sorted(names) == [f"file {number:06d}" for number in range(FILES)]
    return f"{FILES / seconds:.0f} names/s"


def remove_everything(world: World) -> str:
    start, cpu_seconds = time.monotonic(), world.server.cpu_seconds()
    run("rm", "-rf", world.folder / "mount" / "many")
    seconds = time.monotonic() - start
    assert os.listdir(world.folder / "mount") == []
    finding = world.server.check()
    assert finding["violations"] == []
    assert finding["used_inodes"] == 1, finding
    cpu_us = (world.server.cpu_seconds() - cpu_seconds) / FILES * 1e6
    return f"{seconds:.1f} s, {FILES / seconds:.0f} files/s, server {cpu_us:.0f} us of CPU for each"


scenario.fact(remove_everything, 900)
