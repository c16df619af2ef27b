"""A disk that is filled until nothing goes, and emptied again."""

import hashlib
import os
import random
import subprocess
from pathlib import Path

from tests.kernel.probes.base import attempt
from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World

SIZE_MIB = 400 if FULL else 200
KEPT_FILES = 60

scenario = Scenario(
    "space",
    size=f"{SIZE_MIB}MiB",
    arguments=["--inodes", "1500", "--keep-warm", "1"],
    memory_mib=1600,
    expected_log=[r"WARNING out of space "],
)


def free(place: Path) -> tuple[int, ...]:
    """What df shows: size, used and available bytes, and the same of inodes."""
    seen = os.statvfs(place)
    used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize
    available = seen.f_bavail * seen.f_frsize
    assert used + available == seen.f_blocks * seen.f_frsize == SIZE_MIB << 20
    return used, available, seen.f_files, seen.f_files - seen.f_ffree


def digests(place: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.iterdir())]


@scenario.fact
def files_are_there_before(world: World) -> None:
    mount = world.mount("mount", "trans=tcp,version=9p2000.L,msize=1044504")
    chance = random.Random(3)
    for name in "kept", "originals":
        (mount if name == "kept" else world.folder).joinpath(name).mkdir()
    for number in range(KEPT_FILES):
        data = chance.randbytes(chance.randrange(100_000))
        for place in mount / "kept", world.folder / "originals":
            (place / f"{number:02d}").write_bytes(data)
    (world.folder / "blob").write_bytes(os.urandom(9_000_001))


def fill(world: World) -> str:
    """Copy until it is full; how far that went."""
    mount = world.folder / "mount"
    before, used_before = free(mount), world.server.check()["used_bytes"]
    (mount / "filling").mkdir()
    rest = (mount / "filling" / "rest").open("wb", buffering=0)  # while there is room for a name
    copies, error = 0, ""
    while not error and copies < 100:
        copied = subprocess.run(
            ["cp", world.folder / "blob", mount / "filling" / str(copies)],
            stderr=subprocess.PIPE,
            check=False,
        )
        error = copied.stderr.decode()
        assert bool(error) == bool(copied.returncode)
        copies += 1
    assert "No space left on device" in error, error
    sizes = 0
    with rest:
        for size in 4096, 512, 1:
            while isinstance(written := attempt(rest.write, b"r" * size), int):
                sizes += written
            assert written == "ENOSPC"
    full = free(mount)
    for copy in (mount / "filling").iterdir():
        data = copy.read_bytes()
        wanted = b"r" * sizes if copy.name == "rest" else (world.folder / "blob").read_bytes()
        assert data == wanted[: len(data)], copy.name
        assert len(data) == len(wanted) or copy.name == str(copies - 1), copy.name
    finding = world.server.check()
    assert finding["violations"] == [], finding
    assert digests(mount / "kept") == digests(world.folder / "originals")
    run("rm", "-rf", mount / "filling")
    assert free(mount) == before
    assert world.server.check()["used_bytes"] == used_before
    return f"{copies - 1} whole copies, used when full: {full[0]} of {SIZE_MIB << 20}"


@scenario.fact
def it_fills_to_the_last_sector_and_is_as_empty_as_before_when_emptied(world: World) -> str:
    return fill(world)


@scenario.fact
def it_does_so_again(world: World) -> str:
    return fill(world)


@scenario.fact
def inodes_run_out_and_come_back(world: World) -> str:
    mount = world.folder / "mount"
    before = free(mount)
    (mount / "many").mkdir()
    made = 0
    while made < 2000 and not (refused := attempt(os.mknod, mount / "many" / f"{made}")):
        made += 1
    assert refused == "ENOSPC"
    left = before[2] - before[3] - 1
    assert made == min(left, 2000), (made, before)
    run("rm", "-rf", mount / "many")
    assert free(mount) == before
    return f"{made} files"


@scenario.fact
def the_rest_of_the_files_is_whole(world: World) -> None:
    assert digests(world.folder / "mount" / "kept") == digests(world.folder / "originals")


@scenario.fact
def the_server_gives_the_memory_back(world: World) -> str:
    return world.server.has_given_back(all_but_mib=64, seconds_max=30)
