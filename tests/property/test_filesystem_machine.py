"""The file system against a model of it, on a volume so small that it is full half of the time."""

import stat
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.model import Model, Node

from ram9.storage.check import check
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File, Inode, Special, Symlink
from ram9.storage.limits import (
    DENTRY_BYTES,
    DIRECTORY_BYTES,
    FILE_BYTES,
    FIRST_RUN_BYTES,
    FIRST_XATTR_BYTES,
    INODE_BYTES,
    RUN_BYTES,
    SECTOR_BYTES,
    XATTR_BYTES,
    Limits,
)

LIMITS = Limits(size_bytes=20_000, inodes=12, links=4, file_bytes=9_000)

choices = st.integers(0, 63)
odd_names = [b".", b"..", b"", b"x/y", b"x\0", b"n" * 255, b"n" * 256]
names = st.sampled_from([b"a", b"b", b"c", b"a longer name"] * 6 + odd_names)
known_names = st.one_of(st.integers(0, 7), st.integers(0, 7), names)  # an int: one that is there
modes = st.sampled_from([0o644, 0o2755, 0o1777, 0o4711, 0])
offsets = st.one_of(
    st.sampled_from([0, 511, 512, 513, 4096, 8999, 9000, 9001, 2**63 - 1]), st.integers(0, 9000)
)
counts = st.one_of(st.integers(0, 40), st.integers(0, 5000))
values = st.binary(max_size=40)
xattr_names = st.sampled_from([b"user.a", b"user.b", b"trusted.a", b"security.a"])
ids = st.one_of(st.none(), st.integers(0, 2000))


class FileSystemMachine(RuleBasedStateMachine):
    """The same operations on both give the same results, errnos, trees, attributes and times."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 10**18
        self.filesystem = FileSystem(LIMITS, lambda: self.now_ns)
        self.model = Model(LIMITS, self.now_ns)
        self.pairs: dict[Inode, Node] = {self.filesystem.root: self.model.root}
        self.held: list[Inode] = []
        self.patterns = 0

    # Names

    @rule(directory=choices, name=known_names)
    def lookup(self, directory: int, name: bytes | int) -> None:
        parent, node = self.pick_directory(directory)
        name = self.named(node, name)
        found = self.both(
            lambda: self.filesystem.lookup(parent, name), lambda: self.model.lookup(node, name), 0
        )
        if found is not None:
            assert self.pairs[found[0]] is found[1]

    @initialize()
    def populate(self) -> None:
        for name, kind in ((b"a", 3), (b"b", 3), (b"c", 0)):
            self.make(0, name, 0o755, kind)
        self.make(8, b"a", 0o755, 3)
        self.make(8, b"b", 0o644, 0)

    @rule(directory=choices, name=names, mode=modes)
    def create(self, directory: int, name: bytes, mode: int) -> None:
        self.make(directory, name, mode, 0)

    @rule(directory=choices, name=names, mode=modes)
    def mkdir(self, directory: int, name: bytes, mode: int) -> None:
        self.make(directory, name, mode, 3)

    @rule(directory=choices, name=names, mode=modes, kind=st.integers(7, 9))
    def make(self, directory: int, name: bytes, mode: int, kind: int) -> None:
        parent, node = self.pick_directory(directory)
        make = self.filesystem
        cost = INODE_BYTES + DENTRY_BYTES + len(name)
        if kind < 3:
            full = stat.S_IFREG | mode
            made = self.both(
                lambda: make.create(parent, name, mode, 1, 2),
                lambda: self.model.make(node, name, full, 1, 2),
                cost + FILE_BYTES,
                inodes=1,
            )
        elif kind < 7:
            full = stat.S_IFDIR | mode
            made = self.both(
                lambda: make.mkdir(parent, name, mode, 1, 2),
                lambda: self.model.make(node, name, full, 1, 2),
                cost + DIRECTORY_BYTES,
                inodes=1,
            )
        elif kind < 8:
            target = b"to" * (mode % 7 + 1)
            made = self.both(
                lambda: make.symlink(parent, name, target, 1, 2),
                lambda: self.model.make(node, name, stat.S_IFLNK | 0o777, 1, 2, target),
                cost + len(target),
                inodes=1,
            )
        else:
            full = (stat.S_IFBLK if kind == 8 else stat.S_IFIFO) | mode
            made = self.both(
                lambda: make.mknod(parent, name, full, 1, 2, 3, 4),
                lambda: self.model.make(node, name, full, 1, 2, rdev=(3, 4)),
                cost,
                inodes=1,
            )
        if made is not None:
            self.pairs[made[0]] = made[1]

    @rule(inode=choices, directory=choices, name=names)
    def link(self, inode: int, directory: int, name: bytes) -> None:
        what, what_node = self.pick(inode)
        parent, node = self.pick_directory(directory)
        self.both(
            lambda: self.filesystem.link(what, parent, name),
            lambda: self.model.link(what_node, node, name),
            DENTRY_BYTES + len(name),
        )

    @rule(directory=choices, name=known_names)
    def unlink(self, directory: int, name: bytes | int) -> None:
        parent, node = self.pick_directory(directory)
        name = self.named(node, name)
        self.both(
            lambda: self.filesystem.unlink(parent, name), lambda: self.model.unlink(node, name), 0
        )

    @rule(directory=choices, name=known_names)
    def rmdir(self, directory: int, name: bytes | int) -> None:
        parent, node = self.pick_directory(directory)
        name = self.named(node, name)
        self.both(
            lambda: self.filesystem.rmdir(parent, name), lambda: self.model.rmdir(node, name), 0
        )

    @rule(source=choices, name=known_names, goal=choices, new_name=known_names)
    def rename(self, source: int, name: bytes | int, goal: int, new_name: bytes | int) -> None:
        old, old_node = self.pick_directory(source)
        new, new_node = self.pick_directory(goal)
        name, new_name = self.named(old_node, name), self.named(new_node, new_name)
        self.both(
            lambda: self.filesystem.rename(old, name, new, new_name),
            lambda: self.model.rename(old_node, name, new_node, new_name),
            max(0, len(new_name) - len(name)),
        )

    # Data and attributes

    @precondition(lambda self: self.files())
    @rule(file=choices, offset=offsets, count=counts)
    def read(self, file: int, offset: int, count: int) -> None:
        inode, node = self.pick_file(file)
        assert self.filesystem.read(inode, offset, count) == self.model.read(node, offset, count)

    @precondition(lambda self: self.files())
    @rule(file=choices, offset=offsets, count=counts)
    def write(self, file: int, offset: int, count: int) -> None:
        inode, node = self.pick_file(file)
        data = self.pattern(count)
        self.store(node, offset, data, lambda: self.filesystem.write(inode, offset, data))

    @precondition(lambda self: self.files())
    @rule(file=choices, offset=offsets, count=counts)
    def land(self, file: int, offset: int, count: int) -> None:
        inode, node = self.pick_file(file)
        landing = self.filesystem.land(inode, offset, count)
        if landing is None:
            return
        data = self.pattern(count)
        for view in landing.views:
            view[:] = data[: len(view)]
        assert check(self.filesystem, [landing.claim]) == []
        commit = lambda: self.filesystem.commit(inode, landing)  # noqa: E731
        self.store(node, offset, data, commit)

    @rule(inode=choices, size=offsets)
    def truncate(self, inode: int, size: int) -> None:
        what, node = self.pick(inode)
        self.both(
            lambda: self.filesystem.set_attributes(what, size_bytes=size),
            lambda: self.model.truncate(node, size),
            0,
        )

    @rule(inode=choices, mode=st.one_of(st.none(), modes), uid=ids, gid=ids, times=ids)
    def set_attributes(
        self, inode: int, mode: int | None, uid: int | None, gid: int | None, times: int | None
    ) -> None:
        what, node = self.pick(inode)
        self.tick()
        self.filesystem.set_attributes(
            what, mode=mode, uid=uid, gid=gid, atime_ns=times, mtime_ns=times
        )
        node.mode = node.mode if mode is None else stat.S_IFMT(node.mode) | mode
        node.uid = node.uid if uid is None else uid
        node.gid = node.gid if gid is None else gid
        if times is not None:
            node.atime_ns = node.mtime_ns = times
        node.ctime_ns = self.now_ns

    @rule(inode=choices, name=xattr_names, value=values)
    def set_xattr(self, inode: int, name: bytes, value: bytes) -> None:
        what, node = self.pick(inode)
        cost = XATTR_BYTES + len(name) + len(value) + (0 if node.xattrs else FIRST_XATTR_BYTES)
        if name in node.xattrs:
            cost = max(0, len(value) - len(node.xattrs[name]))
        self.both(
            lambda: self.filesystem.set_xattr(what, name, value),
            lambda: self.model.set_xattr(node, name, value),
            cost,
        )

    @rule(inode=choices, name=xattr_names)
    def remove_xattr(self, inode: int, name: bytes) -> None:
        what, node = self.pick(inode)
        self.both(
            lambda: self.filesystem.remove_xattr(what, name),
            lambda: self.model.remove_xattr(node, name),
            0,
        )

    # Lives

    @rule(inode=choices)
    def hold(self, inode: int) -> None:
        what, _ = self.pick(inode)
        self.filesystem.hold(what)
        self.held.append(what)

    @precondition(lambda self: self.held)
    @rule(number=choices)
    def release(self, number: int) -> None:
        self.filesystem.release(self.held.pop(number % len(self.held)))

    @rule(days=st.integers(1, 2))
    def sleep(self, days: int) -> None:
        self.now_ns += days * 43_200 * 10**9
        self.model.now_ns = self.now_ns

    # Comparing

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert check(self.filesystem) == []

    @invariant()
    def trees_agree(self) -> None:
        for inode, node in self.alive():
            assert described(inode) == [
                *[node.mode, node.uid, node.gid, node.nlink, node.size_bytes],
                *[node.atime_ns, node.mtime_ns, node.ctime_ns, node.btime_ns, node.xattrs],
            ]
            if isinstance(inode, Directory):
                assert self.pairs[inode.parent] is node.parent
                listed = [(name, self.pairs[child]) for name, child in inode.entries]
                assert listed == list(node.names.items())
            elif isinstance(inode, File):
                assert inode.content.read(0, LIMITS.file_bytes + 1) == node.data
            elif isinstance(inode, Symlink):
                assert inode.target == node.data
            else:
                assert isinstance(inode, Special)
                assert (inode.major, inode.minor) == node.rdev

    def both(
        self, real: Callable[[], Any], modelled: Callable[[], Any], cost: int, inodes: int = 0
    ) -> tuple[Any, Any] | None:
        """Run an operation on both; what each returned, or None when it was refused."""
        self.tick()
        budget = self.filesystem.budget
        lacking = cost > budget.available_bytes or inodes > budget.available_inodes
        before = self.trace()
        refused, returned = outcome(real)
        assert refused is None or self.trace() == before
        if refused is Errno.ENOSPC:
            assert lacking
            return None
        refused_too, expected = outcome(modelled)
        assert refused is refused_too
        if refused is not None:
            return None
        assert not lacking or not cost
        return returned, expected

    def store(self, node: Node, offset: int, data: bytes, write: Callable[[], int]) -> None:
        """Write to both, as much as there is room for."""
        self.tick()
        before = self.trace()
        limit = LIMITS.file_bytes
        refused, written = outcome(write)
        if refused is not None:
            assert refused is (Errno.EFBIG if offset >= limit else Errno.ENOSPC)
            assert refused is Errno.EFBIG or self.is_full()
            assert data
            assert self.trace() == before or before[0] > self.filesystem.budget.used_bytes
            return
        assert written > 0 or not data
        assert written == min(len(data), max(0, limit - offset)) or self.is_full()
        self.model.write(node, offset, data[:written])

    def pattern(self, count: int) -> bytes:
        """Bytes that no other write has, none of them 0: what is left behind must show."""
        self.patterns = self.patterns % 255 + 1
        return bytes([self.patterns]) * count

    def is_full(self) -> bool:
        cost_bytes = SECTOR_BYTES + RUN_BYTES + FIRST_RUN_BYTES
        return self.filesystem.budget.available_bytes < cost_bytes

    def tick(self) -> None:
        self.now_ns += 1
        self.model.now_ns = self.now_ns

    def alive(self) -> list[tuple[Inode, Node]]:
        return [pair for pair in self.pairs.items() if pair[0].nlink or pair[0].holds]

    def pick(self, choice: int) -> tuple[Inode, Node]:
        alive = self.alive()
        return alive[choice % len(alive)]

    def pick_directory(self, choice: int) -> tuple[Inode, Node]:
        """A directory, most of the time."""
        if choice % 8 == 7:
            return self.pick(choice // 8)
        directories = [pair for pair in self.alive() if pair[1].is_directory]
        return directories[choice // 8 % len(directories)]

    def named(self, node: Node, name: bytes | int) -> bytes:
        """A name, or one of those that are there."""
        if isinstance(name, bytes):
            return name
        return list(node.names)[name % len(node.names)] if node.names else b"a"

    def files(self) -> list[tuple[File, Node]]:
        return [(inode, node) for inode, node in self.alive() if isinstance(inode, File)]

    def pick_file(self, choice: int) -> tuple[File, Node]:
        files = self.files()
        return files[choice % len(files)]

    def trace(self) -> tuple[int, object]:
        """All that a refusal must leave as it was, times and the order of names included."""
        inodes = [
            (
                described(inode),
                inode.version,
                list(inode.entries.after(0)) if isinstance(inode, Directory) else None,
                inode.content.runs if isinstance(inode, File) else None,
            )
            for inode, _ in self.alive()
        ]
        return self.filesystem.budget.used_bytes, inodes


def outcome(operation: Callable[[], Any]) -> tuple[Errno | None, Any]:
    """With what an operation was refused, or what it returned."""
    try:
        return None, operation()
    except FileSystemError as refusal:
        return refusal.errno, None


def described(inode: Inode) -> list[object]:
    return [
        *[inode.mode, inode.uid, inode.gid, inode.nlink, inode.size_bytes],
        *[inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.btime_ns, inode.xattrs or {}],
    ]


TestFileSystemMachine = FileSystemMachine.TestCase
TestFileSystemMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
