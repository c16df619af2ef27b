"""Several volumes of one server, mounted side by side."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.kernel.scenario import Scenario, run
from tests.kernel.world import World
from tests.other_user import OtherUser

MIB = 1 << 20
NOBODY = 65534

scenario = Scenario(
    "volumes",
    configuration="""
metrics = "none"

[[volume]]
size = "32MiB"

[[volume]]
name = "builds"
size = "16MiB"
inodes = 50
uid = 1001
gid = 101
mode = "0750"

[[volume]]
name = "public"
size = "8MiB"
squash = "root"

[[volume]]
name = "everybody"
size = "8MiB"
squash = "all"
squash-uid = 1001
squash-gid = 101

[[volume]]
name = "strict"
size = "8MiB"
policy = "enforce"

[[volume]]
name = "frozen"
size = "8MiB"
read-only = true

[[scratch]]
name = "scratch"
size-max = "16MiB"
total-max = "40MiB"
count-max = 4
ttl-max = "1h"
grace = "2s"
size = "4MiB"
""",
    expected_log=["attach refused", "out of space"],
)


def options(aname: str) -> str:
    return f"trans=tcp,version=9p2000.L,msize=1044504,aname={aname}"


def refused(number: int, step: Callable[[], object]) -> None:
    """Fail unless *step* is refused with that errno."""
    found = 0
    try:
        step()
    except OSError as error:
        found = error.errno or -1
    assert found == number, f"{errno.errorcode.get(found)} and not {errno.errorcode[number]}"


def not_mounted(world: World, aname: str, reason: str) -> None:
    """Fail unless mount says that it cannot mount *aname*, for this *reason*."""
    said = ""
    try:
        world.mount("none", options(aname))
    except AssertionError as refusal:
        said = str(refusal)
    assert reason in said, said or f"{aname} was mounted"
    (world.folder / "none").rmdir()


@scenario.fact
def each_volume_has_a_size_of_its_own(world: World) -> None:
    sizes = {"": 32, "builds": 16, "public": 8, "everybody": 8, "strict": 8, "frozen": 8}
    for name, size in sizes.items():
        place = world.mount(name or "mount", options(name) if name else "trans=tcp")
        seen = os.statvfs(place)
        assert seen.f_blocks * seen.f_frsize == size * MIB
        assert seen.f_bavail * seen.f_frsize > (size - 1) * MIB
        shown = run("df", "--block-size=1M", "--output=size", place).split()
        assert shown[-1] == str(size)
    assert os.statvfs(world.folder / "builds").f_files == 50


@scenario.fact
def a_root_belongs_to_whom_the_configuration_says(world: World) -> None:
    root = (world.folder / "builds").stat()
    assert (root.st_uid, root.st_gid, root.st_mode) == (1001, 101, 0o40750)
    assert (world.folder / "mount").stat().st_mode == 0o41777


@scenario.fact
def a_full_volume_leaves_the_others_their_room(world: World) -> None:
    full = world.folder / "builds" / "full"
    with full.open("wb", buffering=0) as file:
        refused(errno.ENOSPC, lambda: [file.write(bytes(MIB)) for _ in range(17)])
    (world.folder / "mount" / "file").write_bytes(bytes(8 * MIB))
    full.unlink()
    places = [world.folder / "builds" / str(number) for number in range(50)]
    refused(errno.ENOSPC, lambda: [place.touch() for place in places])
    (world.folder / "mount" / "other").touch()
    for place in places:
        place.unlink(missing_ok=True)


@scenario.fact
def a_directory_of_a_volume_can_be_mounted(world: World) -> None:
    (world.folder / "builds" / "today").mkdir()
    (world.folder / "builds" / "today" / "file").write_text("data")
    place = world.mount("today", options("builds/today"))
    assert (place / "file").read_text() == "data"
    assert sorted(os.listdir(place)) == ["file"]
    assert os.path.samestat(os.stat(place / ".."), os.stat(world.folder))
    (place / "made").write_text("there")
    assert (world.folder / "builds" / "today" / "made").read_text() == "there"
    world.unmount(place)
    shutil.rmtree(world.folder / "builds" / "today")


@scenario.fact
def what_is_not_there_is_not_mounted(world: World) -> None:
    for aname in ("builds/tomorrow", "nothing", "builds/.."):
        not_mounted(world, aname, "does not exist")


@scenario.fact
def names_do_not_lead_from_one_volume_to_another(world: World) -> None:
    here, there = world.folder / "mount" / "mine", world.folder / "strict" / "yours"
    here.write_text("data")
    refused(errno.EXDEV, lambda: os.link(here, there))
    refused(errno.EXDEV, lambda: here.rename(there))
    run("mv", here, there)
    assert there.read_text() == "data"
    there.unlink()


@scenario.fact
def squashed_root_is_nobody(world: World) -> None:
    """Its kernel lets it do everything: it is the server that refuses."""
    place = world.folder / "public"
    user = OtherUser(1001, [101])
    try:
        assert user.call("mkdir", str(place / "theirs"), 0o755)[0] is None
        assert user.call("create", str(place / "theirs" / "file"), os.O_RDWR, 0o644)[0] is None
    finally:
        user.close()
    (place / "mine").write_text("data")
    mine, theirs = (place / "mine").stat(), (place / "theirs" / "file").stat()
    assert (mine.st_uid, mine.st_gid) == (NOBODY, NOBODY)
    assert (theirs.st_uid, theirs.st_gid) == (1001, 101)
    file = place / "theirs" / "file"
    refused(errno.EPERM, lambda: os.chown(file, 0, 0))
    refused(errno.EPERM, lambda: os.chown(place / "mine", 0, 0))
    refused(errno.EPERM, lambda: file.chmod(0o777))
    refused(errno.EACCES, lambda: file.write_text("x"))
    refused(errno.EACCES, file.unlink)
    refused(errno.EACCES, (place / "theirs" / "new").touch)
    refused(errno.EPERM, lambda: os.mknod(place / "device", 0o60600, os.makedev(8, 0)))
    assert file.read_text() == "wri"
    (place / "mine").chmod(0o600)
    (place / "mine").unlink()


@scenario.fact
def everybody_can_be_somebody_else(world: World) -> None:
    place = world.folder / "everybody"
    user = OtherUser(1002, [102])
    try:
        assert user.call("create", str(place / "file"), os.O_RDWR, 0o666)[0] is None
    finally:
        user.close()
    (place / "other").write_text("data")
    for name in ("file", "other"):
        seen = (place / name).stat()
        assert (seen.st_uid, seen.st_gid) == (1001, 101)


@scenario.fact
def who_checks_permissions_is_up_to_each_volume(world: World) -> None:
    """As nobody, root of a client is root where the server trusts its kernel, and nobody else."""
    for name in ("mount", "strict"):
        (world.folder / name / "closed").write_text("data")
        (world.folder / name / "closed").chmod(0o600)
    trusted = world.mount("trusted", "trans=tcp,access=any")
    strict = world.mount("checked", options("strict") + ",access=any")
    assert (trusted / "closed").read_text() == "data"
    refused(errno.EACCES, (strict / "closed").read_text)
    world.unmount(trusted)
    world.unmount(strict)


@scenario.fact
def nothing_can_be_changed_on_a_volume_that_is_read_only(world: World) -> None:
    place = world.folder / "frozen"
    before = place.stat()
    for step in (
        (place / "file").touch,
        (place / "directory").mkdir,
        lambda: (place / "link").symlink_to("file"),
        lambda: os.mkfifo(place / "pipe"),
        lambda: place.chmod(0o700),
        lambda: os.chown(place, 1, 1),
        lambda: os.utime(place),
        lambda: os.setxattr(place, "user.a", b"value"),
    ):
        refused(errno.EROFS, step)
    refused(errno.ENOENT, (place / "file").unlink)
    assert os.listdir(place) == []
    assert place.stat() == before


@scenario.fact
def mounting_a_scratch_volume_makes_it(world: World) -> None:
    first = world.mount("first", options("scratch/job-42?size=16MiB&ttl=1h"))
    seen = os.statvfs(first)
    assert seen.f_blocks * seen.f_frsize == 16 * MIB
    (first / "file").write_text("data")
    second = world.mount("second", options("scratch/job-42"))
    assert (second / "file").read_text() == "data"
    user = OtherUser(1001, [101])
    try:
        assert user.call("create", str(first / "theirs"), os.O_RDWR, 0o644)[0] is None
    finally:
        user.close()
    assert (second / "theirs").stat().st_uid == 1001
    (first / "out").mkdir()
    below = world.mount("below", options("scratch/job-42/out"))
    (below / "made").touch()
    assert os.listdir(second / "out") == ["made"]
    for place in (below, second, first):
        world.unmount(place)


@scenario.fact
def who_mounts_again_at_once_finds_everything_and_later_nothing(world: World) -> None:
    place = world.mount("again", options("scratch/job-7?size=8MiB"))
    (place / "file").write_bytes(bytes(MIB))
    world.unmount(place)
    place = world.mount("again", options("scratch/job-7?size=8MiB"))
    assert (place / "file").stat().st_size == MIB
    world.unmount(place)
    time.sleep(4)
    place = world.mount("again", options("scratch/job-7?size=4MiB"))
    assert os.listdir(place) == []
    world.unmount(place)


@scenario.fact
def what_a_template_does_not_have_is_not_mounted(world: World) -> None:
    time.sleep(4)
    not_mounted(world, "scratch", "does not exist")
    not_mounted(world, "scratch/..", "does not exist")
    not_mounted(world, "scratch/job?colour=red", "does not exist")
    not_mounted(world, "scratch/job?size=17MiB", "permission denied")
    not_mounted(world, "scratch/job?ttl=2h", "permission denied")
    places = [world.mount(f"s{n}", options(f"scratch/job{n}?size=16MiB")) for n in range(2)]
    not_mounted(world, "scratch/job?size=9MiB", "No space left on device")
    not_mounted(world, "scratch/job1?size=9MiB", "permission denied")
    for place in places:
        world.unmount(place)


@scenario.fact
def a_mount_whose_time_is_up_is_stale(world: World) -> None:
    place = world.mount("stale", options("scratch/brief?ttl=2s"))
    (place / "file").write_text("data")
    with (place / "file").open("r+b", buffering=0) as file:
        time.sleep(5)
        refused(errno.ESTALE, lambda: os.listdir(place))
        refused(errno.ESTALE, lambda: file.write(b"more"))
        user = OtherUser(1002, [102])
        try:
            assert user.call("create", str(place / "new"), os.O_RDWR, 0o644)[0] == "ESTALE"
        finally:
            user.close()
    again = world.mount("fresh", options("scratch/brief"))
    assert os.listdir(again) == []
    world.unmount(again)
    world.unmount(place)


@scenario.fact
def memory_of_scratch_volumes_comes_back(world: World) -> None:
    time.sleep(4)
    before = world.server.rss_kib()
    for number in range(6):
        place = world.mount("job", options(f"scratch/memory{number}?size=16MiB"))
        (place / "file").write_bytes(os.urandom(12 * MIB))
        world.unmount(place)
        time.sleep(4)
    assert world.server.rss_kib() < before + 8 * 1024


def volumes_are_not_confused(world: World) -> None:
    """Numbers of inodes are used once for all of them."""
    places = [Path(world.folder / name) for name in ("mount", "strict", "everybody")]
    for place in places:
        for number in range(20):
            (place / f"numbered{number}").touch()
    numbers = [each.inode() for place in places for each in os.scandir(place)]
    assert len(numbers) == len(set(numbers)) >= 60


scenario.fact(volumes_are_not_confused)
