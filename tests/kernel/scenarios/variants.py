"""Every way to mount: transports, access modes, message sizes, caches; content each time."""

import hashlib
import os
import random
from pathlib import Path

from tests.kernel.probes.base import in_child
from tests.kernel.scenario import Scenario
from tests.kernel.world import World

SOCKET = "/run/ram9-kernel-test.socket"
MESSAGE_SIZES = (4096, 8192, 131096, 1048576)
CACHES = ("none", "readahead", "mmap", "loose")

scenario = Scenario(
    "variants",
    arguments=["--listen", "127.0.0.1:564", "--listen", "[::1]:5640", "--listen", f"unix:{SOCKET}"],
)


def use(place: Path, seed: int) -> dict[str, str]:
    """Make files of many sizes, long names and links; what must be found there afterwards."""
    chance = random.Random(seed)
    top = place / f"tree {seed}"
    top.mkdir()
    wanted = {}
    for size in 0, 1, 4072, 4073, 8168, 8169, 70_001, 300_000:
        data = chance.randbytes(size)
        (top / str(size)).write_bytes(data)
        wanted[str(size)] = hashlib.sha256(data).hexdigest()
    for number in range(30):
        (top / f"{number:03d}{'long' * 60}").touch()
    os.rename(top / "1", top / "renamed")
    wanted["renamed"] = wanted.pop("1")
    os.symlink("70001", top / "link")
    os.link(top / "8168", top / "hard")
    wanted["link"], wanted["hard"] = wanted["70001"], wanted["8168"]
    with (top / "300000").open("r+b") as file:
        file.seek(99_999)
        file.write(b"in the middle")
        file.truncate(250_000)
        file.seek(0)
        wanted["300000"] = hashlib.sha256(file.read()).hexdigest()
    with (top / "4072").open("ab") as file:
        file.write(b"appended")
    wanted["4072"] = hashlib.sha256((top / "4072").read_bytes()).hexdigest()
    os.setxattr(top / "0", "user.kind", b"empty")
    (top / "0").chmod(0o600)
    compare(top, wanted)
    return wanted


def compare(top: Path, wanted: dict[str, str]) -> None:
    found = {
        name: hashlib.sha256((top / name).read_bytes()).hexdigest()
        for name in os.listdir(top)
        if "long" not in name
    }
    assert found == wanted, {name for name in wanted if found.get(name) != wanted[name]}
    assert len(os.listdir(top)) == len(wanted) + 30
    assert os.getxattr(top / "0", "user.kind") == b"empty"
    assert (top / "0").stat().st_mode & 0o777 == 0o600
    assert (top / "300000").stat().st_size == 250_000
    assert (top / "hard").stat().st_nlink == 2


@scenario.fact
def there_is_a_plain_mount_to_compare_with(world: World) -> None:
    world.mount("plain")


def variant(name: str, options: str, source: str = "127.0.0.1") -> None:
    def fact(world: World) -> None:
        mount = world.mount("variant", f"version=9p2000.L,{options}", source)
        try:
            seed = sum(name.encode())
            wanted = use(mount, seed)
        finally:
            world.unmount(mount)
        compare(world.folder / "plain" / f"tree {seed}", wanted)

    fact.__name__ = f"content is right with {name}"
    scenario.fact(fact)


variant("IPv6", "trans=tcp,port=5640", "::1")
variant("a unix socket", "trans=unix", SOCKET)
variant("an aname and a uname", "trans=tcp,uname=somebody,aname=/")
variant("access user", "trans=tcp,access=user")
variant("access any", "trans=tcp,access=any")
variant("access 0", "trans=tcp,access=0")
variant("access lists", "trans=tcp,access=client,posixacl")
for cache in CACHES:
    for msize in MESSAGE_SIZES:
        variant(f"cache {cache} and msize {msize}", f"trans=tcp,cache={cache},msize={msize}")


def owner_with(access: str, expected_uid: int) -> None:
    def fact(world: World) -> None:
        mount = world.mount("variant", f"trans=tcp,access={access}")
        try:
            mount.chmod(0o1777)
            file = mount / f"of a user with {access}"
            assert in_child(lambda: file.write_bytes(b"mine"), 1234) == 4
            assert file.stat().st_uid == expected_uid, file.stat()
            assert (world.folder / "plain" / file.name).stat().st_uid == expected_uid
        finally:
            world.unmount(mount)

    fact.__name__ = f"a file has the right owner with access={access}"
    scenario.fact(fact)


owner_with("user", 1234)
owner_with("client", 1234)
owner_with("any", 65534)


@scenario.fact
def two_mounts_of_two_kinds_see_each_other(world: World) -> None:
    one = world.mount("one", "trans=unix", SOCKET)
    two = world.mount("two", "trans=tcp,port=5640", "::1")
    for number in range(20):
        here, there = (one, two) if number % 2 else (two, one)
        (here / "file").write_bytes(b"%d" % number * 1000)
        assert (there / "file").read_bytes() == b"%d" % number * 1000
        (there / "file").rename(there / "moved")
        assert not (here / "file").exists()
        (here / "moved").unlink()
        assert not (there / "moved").exists()
