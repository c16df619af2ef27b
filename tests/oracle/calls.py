"""The vocabulary: each call by its name, and what each of its arguments is.

A call is ``(process, name, *arguments)``. A path is relative to the top of the tree, or, written
``@2/a``, to the directory that is open as descriptor 2. Descriptors are those that the sequence
numbers itself, so that a sequence of which some calls were taken away still means something.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

PATH: Final = "path"
SLOT: Final = "descriptor"
OCTAL: Final = "octal"
PLAIN: Final = "plain"

VOCABULARY: Final[dict[str, tuple[str, ...]]] = {
    "open": (SLOT, PATH, OCTAL, OCTAL),
    "close": (SLOT,),
    "dup": (SLOT, SLOT),
    "read": (SLOT, PLAIN),
    "write": (SLOT, PLAIN, PLAIN),
    "pread": (SLOT, PLAIN, PLAIN),
    "pwrite": (SLOT, PLAIN, PLAIN, PLAIN),
    "lseek": (SLOT, PLAIN, PLAIN),
    "truncate": (PATH, PLAIN),
    "ftruncate": (SLOT, PLAIN),
    "fsync": (SLOT,),
    "fdatasync": (SLOT,),
    "set_flags": (SLOT, OCTAL),
    "copy_file_range": (SLOT, SLOT, PLAIN, PLAIN, PLAIN),
    "read_mapped": (SLOT, PLAIN, PLAIN),
    "write_mapped": (SLOT, PLAIN, PLAIN, PLAIN),
    "link": (PATH, PATH),
    "symlink": (PLAIN, PATH),
    "readlink": (PATH,),
    "rename": (PATH, PATH),
    "renameat2": (PATH, PATH, PLAIN),
    "unlink": (PATH,),
    "mkdir": (PATH, OCTAL),
    "rmdir": (PATH,),
    "mknod": (PATH, OCTAL, PLAIN),
    "listdir": (PATH,),
    "getdents": (SLOT, PLAIN),
    "rewind": (SLOT,),
    "stat": (PATH,),
    "lstat": (PATH,),
    "statfs": (PATH,),
    "access": (PATH, PLAIN),
    "chmod": (PATH, OCTAL),
    "fchmod": (SLOT, OCTAL),
    "chown": (PATH, PLAIN, PLAIN),
    "lchown": (PATH, PLAIN, PLAIN),
    "fchown": (SLOT, PLAIN, PLAIN),
    "utimens": (PATH, PLAIN, PLAIN),
    "futimens": (SLOT, PLAIN, PLAIN),
    "setxattr": (PATH, PLAIN, PLAIN, PLAIN, PLAIN),
    "getxattr": (PATH, PLAIN),
    "listxattr": (PATH,),
    "removexattr": (PATH, PLAIN),
    "fsetxattr": (SLOT, PLAIN, PLAIN, PLAIN, PLAIN),
    "fgetxattr": (SLOT, PLAIN),
    "set_acl": (PATH, PLAIN, PLAIN),
    "get_acl": (PATH, PLAIN),
    "flock": (SLOT, PLAIN),
    "lock": (SLOT, PLAIN, PLAIN, PLAIN),
    "get_lock": (SLOT, PLAIN, PLAIN, PLAIN),
    "umask": (OCTAL,),
}

# What a time may be, beside nanoseconds since 1970.
NOW: Final = "now"
OMIT: Final = "omit"

SPECIAL: Final = "special"
NO_DESCRIPTOR: Final = "no descriptor"

# The names that anything may have, and those of what open(2) would wait for or give to a driver.
NAMES: Final = ("a", "b", "c")
SPECIAL_NAMES: Final = ("p", "q")
LONG_NAME: Final = "n" * 255
ODD_NAME: Final = os.fsdecode(bytes([0xFF, 10, 1, 0x80]))
KNOWN_NAMES: Final = (*NAMES, *SPECIAL_NAMES, LONG_NAME, ODD_NAME)


@dataclass(frozen=True, slots=True)
class Call:
    process: int
    name: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        kinds = VOCABULARY[self.name]
        pairs = zip(kinds, self.arguments, strict=True)
        shown = [f"0o{value:o}" if kind == OCTAL else spelled(value) for kind, value in pairs]
        return f"({', '.join([str(self.process), repr(self.name), *shown])}),"

    def of_kind(self, kind: str) -> list[Any]:
        """Its arguments of one kind, in order."""
        kinds = VOCABULARY[self.name]
        return [each for k, each in zip(kinds, self.arguments, strict=True) if k == kind]


def spelled(value: object) -> str:
    """A value as Python reads it, however long a name is."""
    text = repr(value)
    for byte in "nt":
        for length in (4096, 4095, 256, 255, 251, 250):
            text = text.replace(byte * length, f"' + '{byte}' * {length} + '")
    return text


def calls(*sequence: Iterable[Any]) -> list[Call]:
    """A sequence as it is printed: one tuple for each call."""
    return [
        Call(process, name, tuple(arguments)) for process, name, *arguments in map(tuple, sequence)
    ]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What stat(2) tells; times in nanoseconds, *blocks* of 512 bytes."""

    number: int
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    rdev: int
    blocks: int
    atime: int
    mtime: int
    ctime: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave, or the name of its errno; and the descriptors it named, as they are now."""

    result: Any
    descriptors: tuple[Attributes | None, ...] = ()


class BrokenProcessError(Exception):
    """A process did not get as far as an outcome; says where it was."""


def fill(byte: int, count: int) -> bytes:
    """The data that a write of *count* bytes writes."""
    return bytes([byte]) * count


def above(path: str) -> str:
    """The directory in which *path* stands."""
    return path.rstrip("/").rpartition("/")[0]
