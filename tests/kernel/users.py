"""Facts about several users on mounts of each kind, which hold whoever checks permissions."""

import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.access_lists import access_list
from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World
from tests.oracle.side import ALICE, BOB
from tests.other_user import OtherUser

from ram9.storage.acls import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ

# Who is known to the server: the user's own group first. To the client, all are as well in group
# 300, which the server does not know of.
GROUPS: Final = {0: [0], 1001: [101, 200], 1002: [102, 200], 1003: [103]}
UNKNOWN_GROUP: Final = 300
NOBODY: Final = 65534

MOUNTS: Final = {
    "client": "trans=tcp,access=client",
    "user": "trans=tcp,access=user",
    "lists": "trans=tcp,access=client,posixacl",
    "mapped": "trans=tcp,version=9p2000.L,cache=mmap,posixacl",
}
NAMES: Final = ("p", "q", "a", "b")
GIDS: Final = (0, 101, 102, 103, 200)
ROUNDS: Final = 100 if FULL else 10
CALLS: Final = 60  # in each round

ACCESS_LISTS: Final = [
    access_list((USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 1)),
    access_list((USER_OBJ, 7), (USER, 7, 1002), (GROUP_OBJ, 0), (MASK, 5), (OTHER, 0)),
    access_list((USER_OBJ, 6), (GROUP_OBJ, 1), (GROUP, 7, 103), (MASK, 7), (OTHER, 3)),
    access_list((USER_OBJ, 7), (USER, 0, 1001), (GROUP_OBJ, 7), (MASK, 7), (OTHER, 7)),
]


def declare(scenario: Scenario) -> None:
    """Add the facts that hold with either policy."""
    scenario.fact(users_are_known)
    for name in MOUNTS:
        scenario.fact(calls_end_as_on_tmpfs(name))
    scenario.fact(setfacl_and_chmod_do_what_they_do_on_tmpfs)
    scenario.fact(lists_are_inherited_on_a_mount_that_does_not_know_them)
    scenario.fact(programs_run_and_lose_their_privileges_when_somebody_writes)
    scenario.fact(a_mount_for_one_user_is_nobodys_and_keeps_the_others_out)


def users_are_known(world: World) -> None:
    """Both databases are replaced for this namespace; the server looks when a user attaches."""
    passwd = ["root:x:0:0::/root:/bin/sh", "nobody:x:65534:65534::/:/bin/false"]
    group = ["root:x:0:", "nogroup:x:65534:", "team:x:200:user1001,user1002"]
    group.append(f"drawn:x:{ALICE.groups[1]}:user{ALICE.uid},user{BOB.uid}")
    everybody = GROUPS | {user.uid: list(user.groups) for user in (ALICE, BOB)}
    for uid, gids in everybody.items():
        if uid:
            passwd.append(f"user{uid}:x:{uid}:{gids[0]}::/:/bin/sh")
            group.append(f"group{gids[0]}:x:{gids[0]}:")
    for name, lines in (("passwd", passwd), ("group", group)):
        file = world.folder / name
        file.write_text("".join(line + "\n" for line in lines))
        run("mount", "--bind", file, f"/etc/{name}")
    world.tmpfs("tmpfs")
    for name, options in MOUNTS.items():
        world.mount(name, options)
    world.folder.chmod(0o755)


def calls_end_as_on_tmpfs(mount: str) -> Callable[[World], str]:
    def compare(world: World) -> str:
        chance = random.Random(mount)
        processes = {uid: OtherUser(uid, gids) for uid, gids in GROUPS.items()}
        refused = 0
        try:
            for number in range(ROUNDS):
                tops = [world.folder / place / f"{mount} {number}" for place in ("tmpfs", mount)]
                refused += one_round(
                    tops, processes, chance, with_lists=mount in ("lists", "mapped")
                )
                shutil.rmtree(tops[1])
        finally:
            for process in processes.values():
                process.close()
        return f"{ROUNDS * CALLS} calls, {refused} of them refused"

    compare.__name__ = f"calls of several users end as on tmpfs with {mount}"
    return compare


def one_round(
    tops: list[Path],
    processes: dict[int, OtherUser],
    chance: random.Random,
    *,
    with_lists: bool,
) -> int:
    """Make the same calls below both directories and compare; return how many were refused."""
    for top in tops:
        top.mkdir()
        top.chmod(0o1777)
    calls = list(beginning(chance))
    calls += [draw(chance, with_lists=with_lists) for _ in range(CALLS)]
    refused, history = 0, ""
    for number, (uid, name, arguments) in enumerate(calls, 1):
        there = [
            [os.path.join(top, *each) if isinstance(each, tuple) else each for each in arguments]
            for top in tops
        ]
        right, found = (processes[uid].call(name, *each) for each in there)
        history += f"\n{uid} {name} {arguments}: {right[0]}"
        assert right == found, f"{found} instead of {right}: {history}"
        refused += right[0] is not None
        if number % 20 == 0 or number == len(calls):
            right_shapes, found_shapes = map(shapes, tops)
            difference = sorted(set(right_shapes) ^ set(found_shapes))
            assert not difference, f"{difference}: {history}"
    return refused


Call = tuple[int, str, list[Any]]


def beginning(chance: random.Random) -> Iterator[Call]:
    """What makes the first files and directories, which belong to several users."""
    for path in [("p",), ("p", "q"), ("q",), ("p", "a"), ("a",)]:
        if path[-1] == "a":
            yield 0, "create", [path, os.O_RDWR, 0o600]
        else:
            yield 0, "mkdir", [path, 0o700]
        yield 0, "chown", [path, chance.choice(list(GROUPS)), chance.choice(GIDS)]
        yield 0, "chmod", [path, chance.choice([0o777, 0o775, 0o1777, 0o2775, 0o3777, 0o6771])]


def a_path(chance: random.Random) -> tuple[str, ...]:
    above = chance.choice([(), ("p",), ("p",), ("q",), ("p", "q")])
    return (*above, chance.choice(NAMES))


def draw(chance: random.Random, *, with_lists: bool) -> Call:
    """A user, a call and its arguments, of which tuples are paths."""
    flags = chance.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC])
    mode = chance.choice([0o777, 0o775, 0o750, 0o1777, 0o3777, 0o2771, 0o6777])
    if not chance.randrange(4):
        mode = chance.getrandbits(12)
    names = ["user.a", "trusted.a", "security.a"]
    value = b"value"
    if with_lists and chance.random() < 0.7:
        names = ["system.posix_acl_access", "system.posix_acl_default"]
        value = chance.choice(ACCESS_LISTS)
    xattr = chance.choice(names)
    kind = chance.choice([stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR])
    path, other = a_path(chance), a_path(chance)
    owner, gid = chance.choice([-1, *GROUPS]), chance.choice(GIDS)
    calls: list[tuple[str, list[Any]]] = [
        ("look", [path]),
        ("create", [path, flags, mode]),
        ("create", [path, flags | os.O_EXCL, mode]),
        ("open", [path, flags]),
        *[("mkdir", [path, mode])] * 2,
        ("mknod", [path, kind | mode, 0, 7]),
        ("symlink", ["a", path]),
        ("link", [path, other]),
        ("unlink", [path]),
        ("rmdir", [path]),
        *[("rename", [path, other])] * 2,
        ("listdir", [path]),
        *[("chmod", [path, mode])] * 2,
        ("chown", [path, owner, chance.choice([-1, gid])]),
        ("chown", [path, -1, gid]),
        ("truncate", [path, chance.choice([0, 5])]),
        ("set_times", [path, chance.choice([None, 1000])]),
        ("get_xattr", [path, xattr]),
        *[("set_xattr", [path, xattr, value.hex()])] * 2,
        ("remove_xattr", [path, xattr]),
        ("list_xattrs", [path]),
    ]
    return chance.choice(list(GROUPS)), *chance.choice(calls)


def shapes(top: Path) -> list[str]:
    return [f"{path.relative_to(top)}: {shape}" for path, shape in sorted(walk(top))]


def walk(path: Path) -> Iterator[tuple[Path, str]]:
    found = path.lstat()
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    owner = f"{found.st_uid}:{found.st_gid}"
    yield path, f"{stat.filemode(found.st_mode)} {owner} {found.st_nlink} links {size} bytes"
    if stat.S_ISDIR(found.st_mode):
        for name in os.listdir(path):
            yield from walk(path / name)


SETFACL: Final = """
umask 022
mkdir shared && chmod 2770 shared && chgrp 200 shared
setfacl -m u:1003:rwx,d:u:1003:rwx,d:g::rx,d:o::- shared
getfacl -n shared
touch shared/file && mkdir shared/below && touch shared/below/file && ln -s file shared/link
find shared ! -type l | sort | xargs getfacl -n
chmod 640 shared/file && getfacl -n shared/file
chmod g=x shared/below && getfacl -n shared/below
setfacl -m m::rwx shared/file && stat -c %A shared/file
setfacl -x u:1003 shared/file && getfacl -n shared/file
setfacl -b shared/file && getfacl -n shared/file
setfacl -k shared/below && getfacl -n shared/below
setfacl -m d:u::rwx shared/file || echo refused
cp -a shared copy && find copy ! -type l | sort | xargs getfacl -n
setfacl --set u::rw,u:1001:r,g::-,m::r,o::- copy/file && stat -c %A copy/file
"""


def setfacl_and_chmod_do_what_they_do_on_tmpfs(world: World) -> str:
    said = []
    for place in "tmpfs", "lists", "mapped":
        top = world.folder / place / f"setfacl {place}"
        top.mkdir()
        (world.folder / "script").write_text(SETFACL)
        said.append(run("sh", "-e", world.folder / "script", cwd=top))
    for found in said[1:]:
        assert found == said[0], f"on tmpfs: {said[0]}\nhere: {found}"
    return f"{len(said[0].splitlines())} lines"


def lists_are_inherited_on_a_mount_that_does_not_know_them(world: World) -> None:
    top = world.folder / "lists" / "inherited"
    top.mkdir()
    top.chmod(0o777)
    run("setfacl", "-m", "d:u:1003:rwx,d:g::rx,d:o::-", top)
    there = world.folder / "client" / "inherited"
    (there / "file").write_bytes(b"data")
    (there / "directory").mkdir()
    named = run("getfacl", "-cn", top / "file")
    assert "user:1003:rwx" in named, named
    assert "mask::r--" in named, named
    assert "default:user:1003:rwx" in run("getfacl", "-cn", top / "directory")
    assert (there / "file").stat().st_mode & 0o777 == 0o640


def programs_run_and_lose_their_privileges_when_somebody_writes(world: World) -> None:
    user = OtherUser(1003, GROUPS[1003])
    try:
        for place in "tmpfs", "client", "mapped":
            top = world.folder / place / f"programs {place}"
            top.mkdir()
            program = top / "program"
            shutil.copy("/bin/true", program)
            program.chmod(0o711)
            assert user.call("run", str(program)) == (None, 0), place
            assert user.call("open", str(program), os.O_RDONLY)[0] == "EACCES", place
            program.chmod(0o6777)
            os.setxattr(program, "security.capability", bytes.fromhex("01000002" + "00" * 16))
            assert user.call("append", str(program), "x") == (None, None), place
            assert stat.filemode(program.stat().st_mode) == "-rwxrwxrwx", place
            assert "security.capability" not in os.listxattr(program), place
            program.chmod(0o4777)
            assert user.call("truncate", str(program), 5) == (None, None), place
            assert stat.filemode(program.stat().st_mode) == "-rwxrwxrwx", place
    finally:
        user.close()


def a_mount_for_one_user_is_nobodys_and_keeps_the_others_out(world: World) -> None:
    """The number is never sent: with uname=, the server knows but a name."""
    place = world.mount("one", "trans=tcp,access=1001")
    top = world.folder / "client" / "one"
    top.mkdir()
    top.chmod(0o777)
    users = [OtherUser(uid, GROUPS[uid]) for uid in (1001, 1002)]
    try:
        made = [user.call("append", str(place / "one" / str(user.uid)), "x")[0] for user in users]
        assert made == [None, "EPERM"], made
    finally:
        for user in users:
            user.close()
        world.unmount(place)
    assert (top / "1001").stat().st_uid == NOBODY
