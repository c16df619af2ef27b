"""Draws sequences of calls from a seed.

The names, descriptors, sizes and owners are few, so that the calls of a sequence meet. Each
sequence uses only some of the calls (A. Groce and others, "Swarm testing", 2012): what one call
always undoes would otherwise hide what the others can do together.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.oracle import sketch
from tests.oracle.calls import LONG_NAME, NAMES, NOW, ODD_NAME, OMIT, SPECIAL_NAMES, Call

SLOTS: Final = 4
O_RDWR: Final = os.O_RDWR
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
OPEN_FLAGS: Final = (
    *(os.O_RDONLY, os.O_WRONLY, O_RDWR, O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT),
    *(O_RDWR | os.O_CREAT | os.O_EXCL, O_RDWR | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC),
    *(os.O_RDONLY | os.O_CREAT, O_RDWR | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC),
    *(os.O_WRONLY | os.O_APPEND, O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    *(DIRECTORY, DIRECTORY, os.O_RDONLY | os.O_NOFOLLOW, O_RDWR | os.O_NOFOLLOW | os.O_CREAT),
    *(O_RDWR | os.O_SYNC, O_RDWR | os.O_DIRECT, O_RDWR | os.O_CREAT | os.O_DIRECT),
    *(os.O_WRONLY | os.O_DIRECTORY, DIRECTORY | os.O_NOFOLLOW, O_RDWR | os.O_DSYNC),
    os.O_RDONLY | os.O_CREAT | os.O_DIRECTORY,
)
PATH_FLAGS: Final = (os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_PATH | os.O_DIRECTORY)
MODES: Final = (0o644, 0o600, 0o755, 0o777, 0o000, 0o4755, 0o2755, 0o6711, 0o1777, 0o2770, 0o444)
SIZES: Final = (0, 1, 5, 511, 512, 513, 4095, 4096, 4097, 9000, 20_000)
COUNTS: Final = (0, 1, 7, 100, 512, 4096, 5000, 12_000)
EDGES: Final = (2**63 - 1, 2**63 - 2, 2**63 - 4097, -1, 2**40, 2**32, 70_000)
TARGETS: Final = ("a", "b/c", ".", "..", "../a", "c", "missing/x", "/a", "a/", "t" * 4095, "")
ATTRIBUTES: Final = ("user.a", "user.b", "trusted.t", "security.s", "user." + "n" * 250)
ODD_ATTRIBUTES: Final = ("user.", "other.a", "user." + "n" * 251, "system.x", "nonsense")
VALUE_COUNTS: Final = (0, 1, 20, 300, 65_536, 65_537)
IDS: Final = (0, 1234, 4321, 50, -1)
KINDS: Final = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
OTHER_KINDS: Final = (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, 0o070000)
LOCKING: Final = ("open", "lock", "lock", "lock", "get_lock", "get_lock", "dup", "close")
KNOWN_BY_ONE_NAME: Final = frozenset(
    ["chmod", "fchmod", "chown", "lchown", "fchown", "flock", "lock", "get_lock"]
)
ABOUT_LOCKS: Final = 0.15  # of the sequences; in others locks seldom meet
LIST_OF_A_MODE: Final = "u::7 g::5 o::0"
LISTS: Final = (
    *(LIST_OF_A_MODE, "u::7 u1234:7 g::5 m::7 o::0", "u::6 g::0 g50:6 m::4 o::0"),
    *("u::7 u4321:0 g::7 m::7 o::7", "u::4 u1234:2 u4321:6 g::1 g50:7 m::5 o::3", ""),
)
WRONG_LISTS: Final = ("u::7 u1234:7 g::5 o::0", "g::5 o::0", "u::8 g::5 o::0", "g::5 u::7 o::0")


@dataclass(frozen=True)
class Surface:
    """What may be drawn for one pair of sides."""

    processes: int
    without: frozenset[str] = frozenset()
    odd_paths: bool = False  # trailing slashes, ".." and what else the kernel alone looks at
    path_descriptors: bool = False  # O_PATH
    whole_seconds: bool = False
    edges: bool = True  # offsets and sizes at the limit of what a file can have
    append_shared: bool = True  # O_RDWR|O_APPEND, and F_SETFL of O_APPEND
    sees_atime: bool = True
    relates_times: bool = True
    empty_reads: bool = True
    sticky: bool = True
    links_by_root: bool = False
    set_id: bool = True
    same_sizes: bool = True  # files are truncated to the size that they have, too
    minimal_lists: bool = True  # access lists that say no more than a mode
    names_apart: bool = False  # one name of a file does not know what was changed by another
    rename_flags: tuple[int, ...] = (0, 1, 2, 3, 4, 8)
    reads_what_locks: tuple[int, ...] = (fcntl.F_RDLCK, fcntl.F_WRLCK)


class Generator:
    """Draws one sequence after the other."""

    def __init__(self, seed: str, surface: Surface) -> None:
        self.random = Random(seed)
        self._surface = surface
        self._draws: dict[str, Callable[[], Sequence[Any]]] = {
            name: draw for name, draw in draws(self).items() if name not in surface.without
        }

    def sequence(self, length: int) -> list[Call]:
        """Calls of some of the kinds, after a few that make something to work on."""
        names = list(self._draws)
        some = self.random.sample(names, self.random.randint(6, len(names)))
        # A sequence locks in one of the two ways: they are the same to a 9P server.
        excluded = self.random.choice([{"flock"}, {"lock", "get_lock"}])
        if self._surface.names_apart:
            excluded = excluded | self.random.choice([{"link"}, KNOWN_BY_ONE_NAME])
        some = [name for name in some if name not in excluded] or ["open"]
        self._sketch = sketch.Sketch()
        begun: list[Call] = []
        if self.random.random() < ABOUT_LOCKS:
            some = [name for name in LOCKING if name in self._draws]
            begun = self._one_file_for_all()
        weights = [self.random.choice((1, 1, 2, 4)) for _ in some]
        makers = ["mkdir", "open", "open", "open"]
        chosen = self.random.choices(some, weights, k=length - len(begun))
        for index in range(len(chosen)):
            if (index < 4 and not begun) or self.random.random() < 0.2:
                chosen[index] = makers[index % 4]
        return begun + [self._call(name) for name in chosen]

    def _one_file_for_all(self) -> list[Call]:
        """Every process has the same file open, to read and to write."""
        name, flags = NAMES[0], os.O_RDWR | os.O_CREAT
        opened = [
            Call(process, "open", (0, name, flags, 0o666))
            for process in range(self._surface.processes)
        ]
        for call in opened:
            self._sketch.note(call)
        return [Call(0, "umask", (0,)), *opened]

    def _call(self, name: str) -> Call:
        process = self.random.randrange(self._surface.processes)
        if self.random.random() < 0.5 or (name == "link" and self._surface.links_by_root):
            process = 0
        self._process = process
        call = Call(process, name, tuple(self._draws[name]()))
        self._sketch.note(call)
        return call

    # What arguments may be

    def one(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    def mode(self) -> int:
        mode: int = self.one(MODES)
        if not self._surface.set_id:
            mode &= ~(stat.S_ISUID | stat.S_ISGID)
        return mode if self._surface.sticky else mode & ~stat.S_ISVTX

    def slot(self, *kinds: str) -> int:
        """A descriptor: most often one that the process has opened, to one of *kinds* if any."""
        opened = self._sketch.opened.get(self._process, {})
        fitting = [slot for slot, kind in opened.items() if not kinds or kind in kinds]
        if fitting and self.random.random() < 0.9:
            return self.one(fitting)
        return self.random.randrange(SLOTS)

    def path(self, names: tuple[str, ...] = NAMES) -> str:
        """A path, most often of what is there."""
        there = self._sketch.paths(names)
        if there and self.random.random() < 0.75:
            return self._from_descriptor(self.one(there))
        return self.new_path(names)

    def new_path(self, names: tuple[str, ...] = NAMES) -> str:
        """A path in a directory, most often one that is there."""
        chance = self.random.random()
        last = self.one(names)
        if chance < 0.03:
            last = self.one((LONG_NAME, ODD_NAME, LONG_NAME + "n", ".", "..", ""))
        parents = [each for each in self.one(self._sketch.directories()).split("/") if each]
        if chance > 0.9:
            parents.append(self.one(NAMES))
        if self._surface.odd_paths and chance > 0.97:
            parents.insert(self.random.randint(0, len(parents)), self.one((".", "..", "")))
        path = "/".join([*parents, last] if last else [last])
        if self._surface.odd_paths and 0.95 < chance < 0.97:
            path += "/"
        path = path.lstrip("/")
        return path if last in (".", "..") else self._from_descriptor(path)

    def _from_descriptor(self, path: str) -> str:
        """The path, or sometimes its last name from an open directory."""
        if self.random.random() < 0.92:
            return path
        return f"@{self.slot(sketch.DIRECTORY)}/{path.rpartition('/')[2] or path}"

    def any_path(self) -> str:
        """A path that may be one of a device or FIFO."""
        return self.path(SPECIAL_NAMES if self.random.random() < 0.15 else NAMES)

    def two_paths(self) -> tuple[str, str]:
        names = SPECIAL_NAMES if self.random.random() < 0.15 else NAMES
        target = self.new_path if self.random.random() < 0.6 else self.path
        return self.path(names), target(names)

    def opening(self) -> tuple[int, str, int, int]:
        flags = self.flags()
        path = self.new_path() if flags & os.O_CREAT and self.random.random() < 0.5 else self.path()
        if flags & os.O_DIRECTORY and self.random.random() < 0.8:
            path = self.one(self._sketch.directories()) or "."
        return self.random.randrange(SLOTS), path, flags, self.mode()

    def flags(self) -> int:
        if self._surface.path_descriptors and self.random.random() < 0.05:
            return self.one(PATH_FLAGS)
        flags: int = self.one(OPEN_FLAGS)
        if flags & os.O_APPEND and flags & O_RDWR and not self._surface.append_shared:
            flags &= ~os.O_APPEND
        return flags

    def offset(self) -> int:
        if self._surface.edges and self.random.random() < 0.04:
            return self.one(EDGES)
        return self.one(SIZES) if self.random.random() < 0.5 else self.random.randrange(15_000)

    def size(self) -> int:
        if not self._surface.same_sizes:
            return self.random.randrange(1, 20_000)  # which nothing else is likely to lead to
        return self.one((self.offset(), self.one(COUNTS)))

    def read_count(self) -> int:
        count: int = self.one(COUNTS)
        return count if self._surface.empty_reads else count or 1

    def time(self) -> int | str:
        if self.random.random() < 0.4:
            return self.one((NOW, OMIT))
        seconds = self.one((0, 1, 10**9, 2**31 + 7, 2**32))
        if self._surface.whole_seconds:
            return seconds * 10**9
        return self.one((seconds * 10**9, seconds * 10**9 + 123_456_789, -seconds * 10**9 + 1))

    def attribute(self) -> str:
        return self.one(ODD_ATTRIBUTES if self.random.random() < 0.1 else ATTRIBUTES)

    def value(self) -> tuple[Any, ...]:
        flags = self.one((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE))
        count = self.one(VALUE_COUNTS)
        # An empty value to replace another removes it (empty-replacement).
        return (
            self.attribute(),
            self.random.randrange(256),
            count or int(flags == os.XATTR_REPLACE),
            flags,
        )

    def access_list(self) -> tuple[str, str]:
        kind = self.one(("access", "default"))
        lists = LISTS if self.random.random() < 0.85 else WRONG_LISTS
        if kind == "access" and not self._surface.minimal_lists:
            lists = tuple(each for each in lists if each != LIST_OF_A_MODE)
        return kind, self.one(lists)

    def byte_range(self) -> tuple[int, int]:
        return self.one((0, 1, 5, 10, 100)), self.one((0, 1, 5, 10, 100))


def draws(draw: Generator) -> dict[str, Callable[[], Sequence[Any]]]:
    """How the arguments of each call are drawn."""
    return {**descriptor_draws(draw), **name_draws(draw), **attribute_draws(draw)}


def descriptor_draws(draw: Generator) -> dict[str, Callable[[], Sequence[Any]]]:
    one, slot, offset = draw.one, draw.slot, draw.offset
    most = (sketch.FILE,)
    return {
        "open": draw.opening,
        "close": lambda: (slot(),),
        "dup": lambda: (slot(), draw.random.randrange(SLOTS)),
        "read": lambda: (slot(*most), draw.read_count()),
        "write": lambda: (slot(*most), one(range(1, 256)), one(COUNTS)),
        "pread": lambda: (slot(*most), draw.read_count(), offset()),
        "pwrite": lambda: (slot(*most), one(range(1, 256)), one(COUNTS), offset()),
        "lseek": lambda: (slot(*most), one((offset(), -offset())), one((0, 0, 1, 2, 9))),
        "truncate": lambda: (draw.path(), draw.size()),
        "ftruncate": lambda: (slot(*most), draw.size()),
        "fsync": lambda: (slot(),),
        "fdatasync": lambda: (slot(),),
        "set_flags": lambda: (slot(), one((0, os.O_APPEND, os.O_NONBLOCK))),
        "copy_file_range": lambda: (slot(*most), slot(*most), one(COUNTS), one(SIZES), one(SIZES)),
        "read_mapped": lambda: (slot(*most), one(SIZES), one(SIZES)),
        "write_mapped": lambda: (slot(*most), one(range(1, 256)), one(SIZES), one(SIZES)),
        "getdents": lambda: (slot(sketch.DIRECTORY), one((24, 56, 100, 300, 4096))),
        "rewind": lambda: (slot(sketch.DIRECTORY),),
        "fchmod": lambda: (slot(), draw.mode()),
        "fchown": lambda: (slot(), one(IDS), one(IDS)),
        "futimens": lambda: (slot(), draw.time(), draw.time()),
        "fsetxattr": lambda: (slot(), *draw.value()),
        "fgetxattr": lambda: (slot(), draw.attribute()),
        "flock": lambda: (slot(), one((fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN))),
        "lock": lambda: (
            slot(),
            one((fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK)),
            *draw.byte_range(),
        ),
        "get_lock": lambda: (slot(), one(draw._surface.reads_what_locks), *draw.byte_range()),
    }


def name_draws(draw: Generator) -> dict[str, Callable[[], Sequence[Any]]]:
    one, path, any_path = draw.one, draw.path, draw.any_path
    return {
        "link": draw.two_paths,
        "symlink": lambda: (one(TARGETS), draw.new_path()),
        "readlink": lambda: (path(),),
        "rename": draw.two_paths,
        "renameat2": lambda: (*draw.two_paths(), one(draw._surface.rename_flags)),
        "unlink": lambda: (any_path(),),
        "mkdir": lambda: (draw.new_path(), draw.mode()),
        "rmdir": lambda: (path(),),
        "mknod": lambda: draw_node(draw),
        "listdir": lambda: (path(),),
        "stat": lambda: (any_path(),),
        "lstat": lambda: (any_path(),),
        "statfs": lambda: (path(),),
    }


def draw_node(draw: Generator) -> Sequence[Any]:
    mode, minor = draw.mode(), draw.one((0, 3, 300))
    if draw.random.random() < 0.3:
        return draw.new_path(), draw.one(OTHER_KINDS) | mode, minor
    return draw.new_path(SPECIAL_NAMES), draw.one(KINDS) | mode, minor


def attribute_draws(draw: Generator) -> dict[str, Callable[[], Sequence[Any]]]:
    one, path, any_path = draw.one, draw.path, draw.any_path
    return {
        "access": lambda: (any_path(), one(range(8))),
        "chmod": lambda: (any_path(), draw.mode()),
        "chown": lambda: (path(), one(IDS), one(IDS)),
        "lchown": lambda: (any_path(), one(IDS), one(IDS)),
        "utimens": lambda: (any_path(), draw.time(), draw.time()),
        "setxattr": lambda: (path(), *draw.value()),
        "getxattr": lambda: (path(), draw.attribute()),
        "listxattr": lambda: (path(),),
        "removexattr": lambda: (path(), draw.attribute()),
        "set_acl": lambda: (path(), *draw.access_list()),
        "get_acl": lambda: (path(), one(("access", "default"))),
        "umask": lambda: (one((0, 0o022, 0o077)),),
    }
