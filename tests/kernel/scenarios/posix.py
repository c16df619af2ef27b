"""The plain mount line, and small programs that must see there what they see on a tmpfs."""

import fcntl
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.kernel.probes import attributes, content, limits, listings, names
from tests.kernel.probes.base import MAPPED, PROBES, attempt, in_child
from tests.kernel.scenario import Scenario, run
from tests.kernel.world import World

scenario = Scenario("posix")

# The families of probes that are imported only so that they register.
FAMILIES = (names, content, attributes, listings, limits)


@scenario.fact
def the_plain_mount_line_gives_the_size_that_was_asked_for(world: World) -> str:
    plain = world.mount("plain")
    world.tmpfs("tmpfs")
    world.mount("mapped", "trans=tcp,version=9p2000.L,cache=mmap")
    line = run("df", "-B1", "--output=fstype,size,used,avail", plain).splitlines()[-1]
    kind, size, used, available = line.split()
    assert kind == "9p", line
    assert int(size) == 256 << 20, line
    assert int(used) + int(available) == int(size), line
    return line


def same_as_on_tmpfs(
    name: str, probe: Callable[[Path], object], mount: str
) -> Callable[[World], None]:
    def compare(world: World) -> None:
        seen = []
        for place in "tmpfs", mount:
            top = world.folder / place / f"{probe.__name__} {mount}"
            top.mkdir()
            seen.append(json.loads(json.dumps(probe(top))))
        right, found = seen
        assert found == right, f"on tmpfs: {right}\nhere: {found}\n{differences(right, found)}"

    compare.__name__ = f"{name} on {mount}"
    return compare


def differences(right: object, found: object) -> str:
    if not isinstance(right, list) or not isinstance(found, list) or len(right) != len(found):
        return ""
    pairs = zip(right, found, strict=True)
    return "\n".join(f"different: {one} / {other}" for one, other in pairs if one != other)


for name, probe in PROBES.items():
    for mount in "plain", "mapped":
        # Cached, v9fs knows of no other writer; and renames do not depend on the cache.
        if mount == "plain" or not name.startswith(("appending by", "renaming")):
            scenario.fact(same_as_on_tmpfs(name, probe, mount))
for name, probe in MAPPED.items():
    scenario.fact(same_as_on_tmpfs(name, probe, "mapped"))


@scenario.fact
def a_lock_of_one_mount_keeps_another_mount_out(world: World) -> None:
    other = world.mount("other")
    here, there = world.folder / "plain" / "lock", other / "lock"
    here.write_bytes(bytes(100))

    def tried(kind: int) -> object:
        with there.open("r+b") as file:
            return attempt(fcntl.lockf, file, kind | fcntl.LOCK_NB, 10, 5)

    with here.open("r+b") as held, there.open("r+b") as asking:
        fcntl.lockf(held, fcntl.LOCK_SH, 10, 0)
        assert in_child(lambda: tried(fcntl.LOCK_EX)) == "EAGAIN"
        assert in_child(lambda: tried(fcntl.LOCK_SH)) is None
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack("hhqqi4x", fcntl.fcntl(asking, fcntl.F_GETLK, asked))
        assert answer[0] == fcntl.F_RDLCK, answer
        assert answer[2:4] == (0, 10), answer
        fcntl.lockf(held, fcntl.LOCK_UN, 10, 0)
        assert in_child(lambda: tried(fcntl.LOCK_EX)) is None
        fcntl.flock(held, fcntl.LOCK_EX)
        with there.open("r+b") as file:
            assert attempt(fcntl.flock, file, fcntl.LOCK_SH | fcntl.LOCK_NB) == "EAGAIN"


@scenario.fact
def what_one_mount_writes_another_mount_reads(world: World) -> None:
    here, there = world.folder / "plain", world.folder / "other"
    with (here / "file").open("wb", buffering=0) as file:
        for round_ in range(50):
            file.write(b"%05d" % round_)
            assert (there / "file").read_bytes()[-5:] == b"%05d" % round_
    os.rename(there / "file", there / "moved")
    assert (here / "moved").stat().st_size == 250
    assert not (here / "file").exists()
