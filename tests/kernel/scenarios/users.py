"""Several users, whose permissions their client checks."""

import os

from tests.kernel.scenario import Scenario
from tests.kernel.users import GROUPS, NOBODY, UNKNOWN_GROUP, declare
from tests.kernel.world import World
from tests.other_user import OtherUser

scenario = Scenario("users", arguments=["--policy", "trust"], tools=["setfacl", "getfacl"])
declare(scenario)


@scenario.fact
def groups_are_those_of_the_client(world: World) -> None:
    top = world.folder / "client" / "groups"
    top.mkdir()
    top.chmod(0o777)
    (top / "file").write_text("data")
    os.chown(top / "file", 0, UNKNOWN_GROUP)
    (top / "file").chmod(0o060)
    user = OtherUser(1001, [UNKNOWN_GROUP, *GROUPS[1001]])
    try:
        assert user.call("read", str(top / "file")) == (None, "data")
        assert user.call("append", str(top / "made"), "x")[0] is None
    finally:
        user.close()
    assert (top / "made").stat().st_gid == UNKNOWN_GROUP


@scenario.fact
def a_mount_for_any_user_does_what_its_client_allows(world: World) -> None:
    place = world.mount("any", "trans=tcp,access=any")
    (place / "file").write_text("data")
    (place / "file").chmod(0o600)
    os.chown(place / "file", 1001, 101)
    user = OtherUser(1001, GROUPS[1001])
    try:
        assert user.call("read", str(place / "file")) == (None, "data")
        assert user.call("create", str(place / "made"), os.O_RDWR, 0o600)[0] is None
    finally:
        user.close()
    assert (place / "made").stat().st_uid == NOBODY
    world.unmount(place)
