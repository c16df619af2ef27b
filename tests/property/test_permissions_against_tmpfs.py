"""The same calls by the same users over the wire, where the server checks them, and on a tmpfs of
the kernel's: each is allowed or refused alike, and leaves the same behind."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.access_lists import valid_lists
from tests.client import Client, Server, set_attributes
from tests.oracle.calls import NOW, OMIT
from tests.other_user import OtherUser

from ram9.protocol.codec import Message
from ram9.protocol.constants import (
    AT_REMOVEDIR,
    NOFID,
    O_ACCMODE,
    O_DIRECTORY,
    O_EXCL,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    SETATTR_ATIME,
    SETATTR_ATIME_SET,
    SETATTR_CTIME,
    SETATTR_GID,
    SETATTR_MODE,
    SETATTR_MTIME,
    SETATTR_MTIME_SET,
    SETATTR_SIZE,
    SETATTR_UID,
)
from ram9.protocol.messages import (
    Rlerror,
    Tclunk,
    Tlcreate,
    Tlink,
    Tlopen,
    Tmkdir,
    Tmknod,
    Tread,
    Treaddir,
    Trenameat,
    Tsymlink,
    Tunlinkat,
    Twalk,
    Twrite,
    Txattrcreate,
    Txattrwalk,
    decode_entries,
)
from ram9.storage.errors import Errno
from ram9.storage.inodes import Directory, File, Inode, Symlink
from ram9.storage.permissions import EXECUTE, Credentials, may

SHM = Path("/dev/shm")
GROUPS = {0: [0], 1001: [101, 200], 1002: [102, 200], 1003: [103]}
UIDS = list(GROUPS)
GIDS = [0, 101, 102, 103, 200]
ANY_NAME = ("p", "q", "a", "b")
PLACES = [("p",), ("p", "q"), ("q",), ("p", "a"), ("a",)]
EACH_TIME = (OMIT, OMIT, NOW, 1000)
REPLACE = 2


def reason_to_skip() -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    if not any(mount[1] == str(SHM) and mount[2] == "tmpfs" for mount in mounts):
        return "/dev/shm is no tmpfs on this host"
    if os.geteuid():
        return "only root can make calls as several users"
    with tempfile.NamedTemporaryFile(dir=SHM) as file:
        for name in b"user.a", b"trusted.a", b"security.a":
            try:
                os.setxattr(file.fileno(), name, b"")
            except OSError as refusal:
                return f"{name.decode()} cannot be set on /dev/shm: {refusal.strerror}"
    return ""


SKIPPED = reason_to_skip()
pytestmark = pytest.mark.skipif(bool(SKIPPED), reason=SKIPPED)

PROTECTED_HARDLINKS = Path("/proc/sys/fs/protected_hardlinks")

users = st.sampled_from(UIDS)
groups = st.sampled_from(GIDS)
paths = st.builds(
    lambda above, name: (*above, name),
    st.lists(st.sampled_from(["p", "q"]), max_size=2),
    st.sampled_from(ANY_NAME),
)
modes = st.integers(0, 0o7777) | st.sampled_from([0o777, 0o755, 0o1777, 0o3777, 0o2771, 0o6777])
flags = st.sampled_from([O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_TRUNC])
xattr_names = st.sampled_from(
    ["user.a", "trusted.a", "security.a", "system.posix_acl_access", "system.posix_acl_default"]
)


@pytest.fixture(scope="module", autouse=True)
def processes() -> Iterator[None]:
    """One process for each user, which all examples share."""
    if SKIPPED:
        yield
        return
    PermissionMachine.processes = {uid: OtherUser(uid, GROUPS[uid]) for uid in UIDS}
    yield
    for process in PermissionMachine.processes.values():
        process.close()


class RefusedError(Exception):
    """The server refused; the argument is the name of the errno."""


@dataclass(frozen=True)
class Change:
    """Attributes that *uid* sets at once: those of *parts*, which are bits, and two times."""

    uid: int
    path: tuple[str, ...]
    parts: frozenset[int]
    atime: int | str
    mtime: int | str
    size: int
    mode: int
    owner: int
    gid: int

    def request(self, fid: int) -> Message:
        valid = sum(self.parts) | SETATTR_CTIME
        seconds = []
        for time, now, given in (
            (self.atime, SETATTR_ATIME, SETATTR_ATIME_SET),
            (self.mtime, SETATTR_MTIME, SETATTR_MTIME_SET),
        ):
            valid |= 0 if time == OMIT else now if time == NOW else now | given
            seconds.append(time if isinstance(time, int) else 0)
        return set_attributes(
            fid,
            valid,
            mode=self.mode,
            uid=self.owner,
            gid=self.gid,
            size=self.size,
            atime_s=seconds[0],
            mtime_s=seconds[1],
        )

    def steps(self) -> list[list[Any]]:
        """The same as calls, in an order in which none decides whether a later one is allowed."""
        steps: list[list[Any]] = []
        is_truncation = SETATTR_SIZE in self.parts
        if is_truncation:
            steps.append(["truncate", self.size])
        times = self.atime, self.mtime
        if times != (OMIT, OMIT) and not (is_truncation and times == (OMIT, NOW)):
            steps.append(["set_each_time", *times])
        if self.parts & {SETATTR_UID, SETATTR_GID}:
            uid = self.owner if SETATTR_UID in self.parts else -1
            gid = self.gid if SETATTR_GID in self.parts else -1
            steps.append(["chown", uid, gid])
        if SETATTR_MODE in self.parts:
            steps.append(["chmod", self.mode])
        return steps


changes = st.builds(
    Change,
    uid=users,
    path=st.sampled_from(PLACES),
    parts=st.frozensets(
        st.sampled_from([SETATTR_SIZE, SETATTR_MODE, SETATTR_UID, SETATTR_GID]), max_size=2
    ),
    atime=st.sampled_from(EACH_TIME),
    mtime=st.sampled_from(EACH_TIME),
    size=st.sampled_from([0, 5, 4096]),
    mode=modes,
    owner=users,
    gid=groups,
)


class PermissionMachine(RuleBasedStateMachine):
    """Users who do anything to a few names, each with a fid of the root as Linux has."""

    processes: dict[int, OtherUser]

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(credentials_of=credentials_of)
        self.client: Client = self.server.connect(uid=UIDS[0])
        for number, uid in enumerate(UIDS[1:], 1):
            self.client.attach(number, b"", uid)
        self.path = tempfile.mkdtemp(dir=SHM, prefix="ram9-")
        os.chmod(self.path, 0o1777)

    def teardown(self) -> None:
        shutil.rmtree(self.path)
        self.server.verify()
        assert len(self.client.session.fids) == len(UIDS)

    @initialize(
        made=st.lists(st.tuples(users, groups, modes), min_size=5, max_size=5),
        root_mode=st.sampled_from([0o777, 0o1777, 0o2777, 0o755]),
    )
    def begin(self, made: Sequence[tuple[int, int, int]], root_mode: int) -> None:
        """Something to work on, which belongs to several users."""
        self.chmod(0, (), root_mode)
        for path, (uid, gid, mode) in zip(PLACES, made, strict=True):
            if path[-1] == "a":
                self.create(0, path, O_RDWR, 0o600, exclusive=True)
            else:
                self.mkdir(0, path, 0o700)
            self.chown(0, path, uid, gid)
            self.chmod(0, path, mode if path[-1] == "a" else mode | 0o011)

    # What is compared

    @rule(uid=users, path=paths)
    def look(self, uid: int, path: Sequence[str]) -> None:
        self.compare(uid, "look", [path], lambda: [stat.S_IFMT(self.attributes(uid, path).mode)])

    @rule(uid=users, path=paths, flags=flags, mode=modes, exclusive=st.booleans())
    def create(
        self, uid: int, path: Sequence[str], flags: int, mode: int, *, exclusive: bool
    ) -> None:
        """T13: what was made is written to and cut, whatever its mode."""
        flags |= O_EXCL if exclusive else 0
        existing = self.find(path)
        if existing is not None and not isinstance(existing, File | Directory | Symlink):
            return

        def ours() -> None:
            with self.directory(uid, path) as (fid, name):
                opened = self.clone(fid)
                try:
                    gid = self.group(uid, path)
                    self.ask(Tlcreate(opened, name, flags, stat.S_IFREG | mode, gid))
                    if flags & O_ACCMODE != O_RDONLY:
                        self.ask(Twrite(opened, 0, b"written"))
                        valid = SETATTR_SIZE | SETATTR_MTIME | SETATTR_CTIME
                        self.ask(set_attributes(opened, valid, size=3))
                finally:
                    self.client.clunk(opened)

        self.compare(uid, "create", [path, flags, mode], ours)

    @rule(uid=users, path=paths, flags=flags | st.just(O_DIRECTORY))
    def open(self, uid: int, path: Sequence[str], flags: int) -> None:
        """T28: by the mode when it is opened, and never asked again."""
        existing = self.find(path)
        if existing is not None and not isinstance(existing, File | Directory):
            return  # a client follows links, and opens the others by itself

        def ours() -> None:
            with self.fid(uid, path) as fid:
                self.ask(Tlopen(fid, flags))
                if flags & O_ACCMODE != O_RDONLY:
                    self.ask(Twrite(fid, 0, b"more"))

        if flags == O_RDONLY and isinstance(existing, File):
            user = credentials_of(uid)
            if may(user, existing, EXECUTE) and not may(user, existing, 4):
                return  # to run it, a client reads it
        self.compare(uid, "open", [path, flags], ours)

    @rule(uid=users, path=paths, mode=modes)
    def mkdir(self, uid: int, path: Sequence[str], mode: int) -> None:
        mode &= 0o1777  # mkdir(2)

        def ours() -> None:
            with self.directory(uid, path) as (fid, name):
                self.ask(Tmkdir(fid, name, mode, self.group(uid, path)))

        self.compare(uid, "mkdir", [path, mode], ours)

    @rule(
        uid=users,
        path=paths,
        mode=modes,
        kind=st.sampled_from([stat.S_IFREG, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK]),
        minor=st.sampled_from([0, 3]),
    )
    def mknod(self, uid: int, path: Sequence[str], mode: int, kind: int, minor: int) -> None:
        def ours() -> None:
            with self.directory(uid, path) as (fid, name):
                self.ask(Tmknod(fid, name, kind | mode, 0, minor, self.group(uid, path)))

        self.compare(uid, "mknod", [path, kind | mode, 0, minor], ours)

    @rule(uid=users, path=paths)
    def symlink(self, uid: int, path: Sequence[str]) -> None:
        def ours() -> None:
            with self.directory(uid, path) as (fid, name):
                self.ask(Tsymlink(fid, name, b"target", self.group(uid, path)))

        process = self.processes[uid]
        if self.is_straight(path):
            theirs, _ = process.call("symlink", "target", self.there(path))
            self.same(theirs, None, ours)

    @rule(uid=users, path=paths, new_path=paths)
    def link(self, uid: int, path: Sequence[str], new_path: Sequence[str]) -> None:
        inode = self.find(path)
        if inode is not None and uid not in (0, inode.uid):
            return  # it depends on a setting of the kernel: protected_hardlinks of proc(5)

        def ours() -> None:
            with self.fid(uid, path) as fid, self.directory(uid, new_path) as (at, name):
                self.ask(Tlink(at, fid, name))

        self.compare(uid, "link", [path, new_path], ours)

    @rule(uid=users, path=paths, is_directory=st.booleans())
    def remove(self, uid: int, path: Sequence[str], *, is_directory: bool) -> None:
        def ours() -> None:
            with self.directory(uid, path) as (fid, name):
                self.ask(Tunlinkat(fid, name, AT_REMOVEDIR if is_directory else 0))

        self.compare(uid, "rmdir" if is_directory else "unlink", [path], ours)

    @rule(uid=users, path=paths, new_path=paths)
    def rename(self, uid: int, path: Sequence[str], new_path: Sequence[str]) -> None:
        def ours() -> None:
            with (
                self.directory(uid, path) as (source, name),
                self.directory(uid, new_path) as (target, new_name),
            ):
                self.ask(Trenameat(source, name, target, new_name))

        self.compare(uid, "rename", [path, new_path], ours)

    @rule(uid=users, path=paths)
    def listdir(self, uid: int, path: Sequence[str]) -> None:
        def ours() -> list[str]:
            with self.fid(uid, path) as fid:
                self.ask(Tlopen(fid, O_RDONLY | O_DIRECTORY))
                entries = decode_entries(self.ask(Treaddir(fid, 0, 1 << 20)).data)
                return sorted(entry.name.decode() for entry in entries[2:])

        if not isinstance(self.find(path), Symlink):
            self.compare(uid, "listdir", [path], ours)

    @rule(uid=users, path=paths | st.just(()), mode=modes)
    def chmod(self, uid: int, path: Sequence[str], mode: int) -> None:
        if not path:
            uid, mode = 0, mode | 0o701  # so that all can go on
        if not isinstance(self.find(path), Symlink):
            self.set(uid, path, "chmod", [mode], SETATTR_MODE | SETATTR_CTIME, mode=mode)

    @rule(uid=users, path=paths | st.just(()), owner=users | st.just(-1), gid=groups | st.just(-1))
    def chown(self, uid: int, path: Sequence[str], owner: int, gid: int) -> None:
        """T14: with the owner, Linux sends a mode without set-user-ID."""
        if owner == gid == -1:
            return
        valid = SETATTR_CTIME
        valid |= (SETATTR_UID if owner >= 0 else 0) | (SETATTR_GID if gid >= 0 else 0)
        values = {"uid": owner & 0xFFFFFFFF, "gid": gid & 0xFFFFFFFF}
        inode = self.find(path)
        if inode is not None and not uid and not isinstance(inode, Directory | Symlink):
            valid |= SETATTR_MODE
            cleared = 0o6000 if inode.mode & stat.S_IXGRP else 0o4000
            values["mode"] = inode.mode & ~cleared
        self.set(uid, path, "chown", [owner, gid], valid, **values)

    @rule(uid=users, path=paths, seconds=st.sampled_from([None, 1000]))
    def set_times(self, uid: int, path: Sequence[str], seconds: int | None) -> None:
        valid = SETATTR_ATIME | SETATTR_MTIME | SETATTR_CTIME
        if seconds is not None:
            valid |= SETATTR_ATIME_SET | SETATTR_MTIME_SET
        times = {"atime_s": seconds or 0, "mtime_s": seconds or 0}
        self.set(uid, path, "set_times", [seconds], valid, **times)

    @rule(changes=st.lists(changes, min_size=1, max_size=10))
    def set_several(self, changes: Sequence["Change"]) -> None:
        """What no call of Linux sends at once, but anybody may who speaks 9P: allowed if each part
        is, and none of it done if one is not."""
        for change in changes:
            self.set_at_once(change)

    def set_at_once(self, change: "Change") -> None:
        path, inode = change.path, self.find(change.path)
        if isinstance(inode, Symlink):
            change = replace(change, parts=change.parts - {SETATTR_SIZE, SETATTR_MODE})
        if inode is not None and not (inode.mode ^ change.mode) & 0o1777:
            # It may be what a write takes away, which is a writer's to send (T14).
            change = replace(change, mode=change.mode ^ 0o1)
        steps = change.steps()
        if not steps or not self.is_straight(path):
            return

        def ours() -> None:
            with self.fid(change.uid, path) as fid:
                self.ask(change.request(fid))

        self.same(self.all_or_nothing(change.uid, self.there(path), steps), None, ours)

    def all_or_nothing(self, uid: int, path: str, steps: list[list[Any]]) -> str | None:
        """Make calls on one path until one is refused, and undo those before it; the errno."""
        before = os.lstat(path) if os.path.lexists(path) else None
        for name, *arguments in steps:
            refusal, _ = self.processes[uid].call(name, path, *arguments)
            if refusal is not None:
                if before is not None:
                    put_back(path, before)
                return refusal
        return None

    @rule(uid=users, path=paths, size=st.sampled_from([0, 5, 4096]))
    def truncate(self, uid: int, path: Sequence[str], size: int) -> None:
        if not isinstance(self.find(path), Symlink):
            self.set(uid, path, "truncate", [size], SETATTR_SIZE, size=size)

    @rule(uid=users, path=paths, name=xattr_names)
    def get_xattr(self, uid: int, path: Sequence[str], name: str) -> None:
        def ours() -> str:
            return self.value(uid, path, name).hex()

        if isinstance(self.find(path), Symlink) and name.startswith("system."):
            return  # EOPNOTSUPP there, which ENODATA is to Linux here
        self.compare(uid, "get_xattr", [path, name], ours)

    @rule(uid=users, path=paths)
    def list_xattrs(self, uid: int, path: Sequence[str]) -> None:
        def ours() -> list[str]:
            return sorted(self.value(uid, path, "").decode().split("\0")[:-1])

        self.compare(uid, "list_xattrs", [path], ours)

    @rule(uid=users, path=paths, name=xattr_names, data=st.data())
    def set_xattr(self, uid: int, path: Sequence[str], name: str, data: st.DataObject) -> None:
        ids = groups | users
        is_list = name.startswith("system.")
        value = data.draw(valid_lists(ids) if is_list else st.sampled_from([b"", b"value"]))
        self.compare(
            uid,
            "set_xattr",
            [path, name, value.hex()],
            lambda: self.write_value(uid, path, name, value, 0),
        )

    @rule(uid=users, path=paths, name=xattr_names)
    def remove_xattr(self, uid: int, path: Sequence[str], name: str) -> None:
        is_list = name.startswith("system.")
        self.compare(
            uid,
            "remove_xattr",
            [path, name],
            lambda: self.write_value(uid, path, name, b"", 0 if is_list else REPLACE),
        )

    @invariant()
    def both_hold_the_same(self) -> None:
        ours = dict(described(self.server.filesystem.root, self.path))
        theirs = dict(described_there(self.path))
        assert ours == theirs

    # How

    def compare(self, uid: int, name: str, arguments: list[Any], ours: Any) -> None:
        if not all(self.is_straight(path) for path in arguments if isinstance(path, tuple)):
            return
        there = [self.there(each) if isinstance(each, tuple) else each for each in arguments]
        theirs, returned = self.processes[uid].call(name, *there)
        self.same(theirs, returned, ours)

    def same(self, refusal: str | None, returned: Any, ours: Any) -> None:
        refused = result = None
        try:
            result = ours()
        except RefusedError as error:
            refused = str(error)
        assert (refused, result) == (refusal, returned)

    def set(
        self,
        user: int,
        path: Sequence[str],
        name: str,
        arguments: list[Any],
        valid: int,
        **values: int,
    ) -> None:
        def ours() -> None:
            with self.fid(user, path) as fid:
                self.ask(set_attributes(fid, valid, **values))

        self.compare(user, name, [tuple(path), *arguments], ours)

    def ask(self, request: Message) -> Any:
        reply = self.client.answer(request)
        if isinstance(reply, Rlerror):
            raise RefusedError(Errno(reply.ecode).name)
        return reply

    def clone(self, fid: int) -> int:
        clone = self.client.new()
        self.ask(Twalk(fid, clone, ()))
        return clone

    def fid(self, uid: int, path: Sequence[str]) -> "Walked":
        return Walked(self, uid, path)

    def directory(self, uid: int, path: Sequence[str]) -> "WalkedAbove":
        return WalkedAbove(self, uid, path)

    def attributes(self, uid: int, path: Sequence[str]) -> Any:
        with self.fid(uid, path) as fid:
            return self.client.getattr(fid)

    def value(self, uid: int, path: Sequence[str], name: str) -> bytes:
        with self.fid(uid, path) as fid:
            reader = self.client.new()
            size = self.ask(Txattrwalk(fid, reader, name.encode())).size
            value = bytes(self.ask(Tread(reader, 0, size)).data)
            self.client.clunk(reader)
            return value

    def write_value(
        self, uid: int, path: Sequence[str], name: str, value: bytes, flags: int
    ) -> None:
        with self.fid(uid, path) as fid:
            writer = self.clone(fid)
            try:
                self.ask(Txattrcreate(writer, name.encode(), len(value), flags))
                if value:
                    self.ask(Twrite(writer, 0, value))
            except RefusedError:
                self.client.clunk(writer)
                raise
            self.ask(Tclunk(writer))

    def there(self, path: Sequence[str]) -> str:
        return os.path.join(self.path, *path)

    def find(self, path: Sequence[str]) -> Inode | None:
        inode: Inode | None = self.server.filesystem.root
        for name in path:
            if not isinstance(inode, Directory):
                return None
            inode = inode.entries.get(name.encode())
        return inode

    def group(self, uid: int, path: Sequence[str]) -> int:
        """The group that a new file is to have: as Linux asks for root, whose word is taken."""
        above = self.find(path[:-1])
        if not uid and above is not None and above.mode & stat.S_ISGID:
            return above.gid
        return GROUPS[uid][0]

    def is_straight(self, path: Sequence[str]) -> bool:
        """Whether no symbolic link is on the way, which the client follows and not the server."""
        return not any(
            isinstance(self.find(path[:length]), Symlink) for length in range(1, len(path))
        )


class Walked:
    """A fid of what a path leads to, walked to by one name after the other as Linux does."""

    def __init__(self, machine: PermissionMachine, uid: int, path: Sequence[str]) -> None:
        self.machine = machine
        self.uid = uid
        self.path = path

    def __enter__(self) -> Any:
        machine = self.machine
        self.number = machine.clone(UIDS.index(self.uid))
        for name in self.path:
            try:
                machine.ask(Twalk(self.number, self.number, (name.encode(),)))
            except RefusedError:
                machine.client.clunk(self.number)
                raise
        return self.number

    def __exit__(self, *_: object) -> None:
        self.machine.client.clunk(self.number)


class WalkedAbove(Walked):
    """A fid of the directory that a path's last name is in, and that name.

    A client looks whether the directory may be searched before it goes on to a second path.
    """

    def __init__(self, machine: PermissionMachine, uid: int, path: Sequence[str]) -> None:
        super().__init__(machine, uid, path[:-1])
        self.name = path[-1].encode()

    def __enter__(self) -> Any:
        number = super().__enter__()
        try:
            self.machine.ask(Twalk(number, NOFID - 1, (b"..",)))
        except RefusedError:
            self.machine.client.clunk(number)
            raise
        self.machine.client.clunk(NOFID - 1)
        return number, self.name


def credentials_of(uid: int) -> Credentials:
    return Credentials(uid, GROUPS[uid][0], frozenset(GROUPS[uid]))


def put_back(path: str, state: os.stat_result) -> None:
    """Give what is there its size, owners and mode again."""
    if stat.S_ISREG(state.st_mode):
        os.truncate(path, state.st_size)
    os.lchown(path, state.st_uid, state.st_gid)
    if not stat.S_ISLNK(state.st_mode):
        os.chmod(path, stat.S_IMODE(state.st_mode))


def described(inode: Inode, path: str) -> Iterator[tuple[str, object]]:
    """What is below *inode*, by the path that it has on the tmpfs."""
    size = 0 if isinstance(inode, Directory) else inode.size_bytes
    attributes = oct(inode.mode), inode.uid, inode.gid, inode.nlink, size
    yield path, (attributes, inode.xattrs or {})
    if isinstance(inode, Directory):
        for name, child in inode.entries:
            yield from described(child, os.path.join(path, name.decode()))


def described_there(path: str) -> Iterator[tuple[str, object]]:
    found = os.lstat(path)
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    names = os.listxattr(path, follow_symlinks=False)
    values = {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names}
    attributes = oct(found.st_mode), found.st_uid, found.st_gid, found.st_nlink, size
    yield path, (attributes, values)
    if stat.S_ISDIR(found.st_mode):
        for name in os.listdir(path):
            yield from described_there(os.path.join(path, name))


TestPermissions = PermissionMachine.TestCase
TestPermissions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
