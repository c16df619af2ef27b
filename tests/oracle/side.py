"""Where a sequence of calls is made: several processes on one tree, and an eye that sees all."""

import ctypes
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Protocol

from tests.oracle.calls import KNOWN_NAMES, Attributes, BrokenProcessError, Call, Outcome
from tests.oracle.posix import LIBC, attributes_of, checked

SYS_OPENAT2: Final = 437  # the same on all architectures
RESOLVE_IN_ROOT: Final = 0x10
REPOSITORY: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    groups: tuple[int, ...]  # the first is the primary one


ROOT: Final = User(0, (0,))
ALICE: Final = User(1234, (1234, 50))
BOB: Final = User(4321, (4321, 50))

# What is in a file, behind a link, or in the attributes; of a directory also what it lists.
Content = tuple[object, ...]


class Side(Protocol):
    """One of the two that are compared."""

    def perform(self, call: Call) -> Outcome:
        """Make one call, in one of the processes."""

    def look(self, path: str) -> Attributes | None:
        """What stands at *path*, as root sees it, or None; moves no time stamp."""

    def content(self, path: str) -> Content:
        """What there is beside the attributes; may move the access time."""

    def verify(self) -> str:
        """What is wrong with it by itself, or nothing; ``clear`` is all that may follow."""

    def clear(self) -> None:
        """Close everything and remove everything."""

    def end(self) -> None:
        """Let go of the processes."""


class PosixSide:
    """Processes that make real calls below a directory, which is theirs alone."""

    def __init__(self, top: Path, users: Sequence[User]) -> None:
        self._top = top
        self._top_fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
        self._processes: list[tuple[subprocess.Popen[bytes], Connection]] = []
        for user in users:
            self._processes.append(start(top, user))
        for _, connection in self._processes:
            assert connection.recv() == "ready"
        self.clear()

    def perform(self, call: Call) -> Outcome:
        outcome: Outcome = self._ask(call.process, call)
        return outcome

    def _ask(self, process: int, question: Call | None) -> Outcome:
        connection = self._processes[process][1]
        connection.send(question)
        answer: Outcome | BrokenProcessError = connection.recv()
        if isinstance(answer, BrokenProcessError):
            raise answer
        return answer

    def look(self, path: str) -> Attributes | None:
        try:
            fd = opened_within(self._top_fd, path or ".")
        except OSError:
            return None
        try:
            return attributes_of(os.fstat(fd))
        finally:
            os.close(fd)

    def content(self, path: str) -> Content:
        place = self._top / path
        mode = os.lstat(place).st_mode
        names = sorted(os.listxattr(place, follow_symlinks=False))
        found: list[object] = [
            (name, os.getxattr(place, name, follow_symlinks=False)) for name in names
        ]
        if stat.S_ISLNK(mode):
            found.append(os.readlink(place))
        elif stat.S_ISDIR(mode):
            found.append(sorted(os.listdir(place)))
        elif stat.S_ISREG(mode):
            found.append(pieces_of(place))
        return tuple(found)

    def verify(self) -> str:
        return ""  # a kernel looks after itself

    def clear(self) -> None:
        for process in range(len(self._processes)):
            self._ask(process, None)
        for entry in list(os.scandir(self._top)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry)
            else:
                os.unlink(entry)
        for name in os.listxattr(self._top):
            os.removexattr(self._top, name)
        os.chown(self._top, 0, 0)
        os.chmod(self._top, 0o777)
        os.utime(self._top)

    def end(self) -> None:
        for process, connection in self._processes:
            connection.close()
            process.wait()
        os.close(self._top_fd)


class OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def opened_within(top: int, path: str) -> int:
    """A descriptor that names *path* as those see it for whom *top* is ``/``: openat2(2)."""
    how = OpenHow(os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT)
    arguments = os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    return checked(LIBC.syscall(SYS_OPENAT2, top, *arguments))


def start(top: Path, user: User) -> tuple[subprocess.Popen[bytes], Connection]:
    """A process of *user* that stands at *top*."""
    here, there = socket.socketpair()
    groups = ",".join(map(str, user.groups))
    arguments = [str(there.fileno()), str(top), str(user.uid), groups]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.oracle.process", *arguments],
        cwd=REPOSITORY,
        pass_fds=[there.fileno()],
    )
    there.close()
    return process, Connection(here.detach())


PIECE_BYTES: Final = 1 << 16


def pieces_of(path: Path) -> list[tuple[int, bytes]]:
    """A file's bytes, without the large holes that a sparse one has."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return [
            (at, os.pread(file.fileno(), min(PIECE_BYTES, size - at), at)) for at in places(size)
        ]


def places(size: int) -> list[int]:
    """Where to read a file: all of a small one, else where the calls may have written."""
    if size <= 4 * PIECE_BYTES:
        return list(range(0, size + 1, PIECE_BYTES))
    return [at for at in (0, PIECE_BYTES, 1 << 32, (1 << 40) - 4096, size - 4096) if at < size]


def tree(side: Side) -> dict[str, Attributes]:
    """Everything that has one of the known names, from the top down."""
    found: dict[str, Attributes] = {}
    todo = [""]
    while todo:
        path = todo.pop()
        state = side.look(path)
        if state is None:
            continue
        found[path] = state
        if stat.S_ISDIR(state.mode) and path.count("/") < DEPTH_MAX:
            todo += [f"{path}/{name}".lstrip("/") for name in reversed(KNOWN_NAMES)]
    return found


DEPTH_MAX: Final = 6
