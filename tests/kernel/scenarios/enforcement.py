"""Several users, whose permissions the server checks too."""

import os

from tests.kernel.scenario import FULL, Scenario
from tests.kernel.users import GROUPS, NOBODY, UNKNOWN_GROUP, declare
from tests.kernel.world import World
from tests.oracle.search import budget, fresh_seed
from tests.oracle.soak import MOUNTS, search_mount
from tests.other_user import OtherUser

SECONDS = 60.0 if FULL else 5.0  # of each kind of mount
CALLS = 300

scenario = Scenario(
    "enforcement",
    arguments=["--policy", "enforce"],
    tools=["setfacl", "getfacl"],
    expected_log=["attach refused"],
)
declare(scenario)


def search_on(name: str) -> None:
    def same(world: World) -> str:
        return search_mount(world, name, fresh_seed(), *budget(SECONDS, CALLS))

    same.__name__ = f"random calls give what they give on tmpfs with {name}"
    scenario.fact(same, int(SECONDS) + 120)


for name in MOUNTS:
    search_on(name)


@scenario.fact
def groups_are_those_that_the_server_knows(world: World) -> None:
    top = world.folder / "client" / "groups"
    top.mkdir()
    top.chmod(0o777)
    for name, gid in (("unknown", UNKNOWN_GROUP), ("team", 200)):
        (top / name).write_text("data")
        os.chown(top / name, 0, gid)
        (top / name).chmod(0o060)
    user = OtherUser(1001, [UNKNOWN_GROUP, *GROUPS[1001]])
    try:
        assert user.call("read", str(top / "unknown"))[0] == "EACCES"
        assert user.call("read", str(top / "team")) == (None, "data")
        assert user.call("append", str(top / "made"), "x")[0] is None
    finally:
        user.close()
    assert (top / "made").stat().st_gid == GROUPS[1001][0]


@scenario.fact
def a_mount_for_any_user_may_do_what_nobody_may(world: World) -> None:
    """The client lets its root do everything; the server knows only that nobody asks."""
    closed = world.folder / "client" / "closed"
    closed.write_text("data")
    closed.chmod(0o600)
    place = world.mount("any", "trans=tcp,access=any")
    root, user = OtherUser(0, [0]), OtherUser(1001, GROUPS[1001])
    try:
        assert root.call("read", str(place / "closed"))[0] == "EACCES"
        assert root.call("chmod", str(place / "closed"), 0o666)[0] == "EPERM"
        assert user.call("create", str(place / "made"), os.O_RDWR, 0o600)[0] is None
        assert (place / "made").stat().st_uid == NOBODY
        world.unmount(place)
        place = world.mount("any", "trans=tcp,access=any,uname=root")
        assert root.call("read", str(place / "closed")) == (None, "data")
    finally:
        root.close()
        user.close()
    world.unmount(place)


@scenario.fact
def a_tree_that_nobody_can_get_to_is_mounted_by_root(world: World) -> None:
    top = world.folder / "client" / "hidden"
    top.mkdir()
    (top / "tree").mkdir()
    (top / "tree" / "file").write_text("data")
    top.chmod(0o700)
    try:
        world.mount("hidden", "trans=tcp,aname=hidden/tree")
    except AssertionError:
        (world.folder / "hidden").rmdir()
    else:
        raise AssertionError("nobody mounted it")
    place = world.mount("hidden", "trans=tcp,aname=hidden/tree,uname=root")
    assert (place / "file").read_text() == "data"
    world.unmount(place)


@scenario.fact
def a_removed_file_stays_usable_for_whom_it_was_open(world: World) -> None:
    """The fid that is open is the only way to it: nothing is looked up again."""
    top = world.folder / "client" / "removed"
    top.mkdir()
    file = top / "file"
    file.write_text("data")
    with file.open("r+") as opened:
        file.unlink()
        os.fchmod(opened.fileno(), 0)
        opened.write("written")
        opened.flush()
        os.ftruncate(opened.fileno(), 5)
        assert os.pread(opened.fileno(), 10, 0) == b"writt"
