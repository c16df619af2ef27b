"""A process that belongs to another user and makes system calls for a test.

    python -m tests.other_user UID GID...

It reads one call a line, as JSON, and answers each with one line: what it returned, or the name of
its errno.
"""

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.oracle.posix import AT_SYMLINK_NOFOLLOW, LIBC, NS, Timespec, checked, timespec

AT_FDCWD: Final = -100
REPOSITORY: Final = Path(__file__).parents[1]


def create(path: str, flags: int, mode: int) -> None:
    """Open what may have to be made, and use what that is for."""
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    try:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            os.write(fd, b"written")
            os.ftruncate(fd, 3)
    finally:
        os.close(fd)


def open_(path: str, flags: int) -> None:
    """Open what is there, and write if it is open for that."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            os.write(fd, b"more")
    finally:
        os.close(fd)


def mknod(path: str, mode: int, major: int, minor: int) -> None:
    os.mknod(path, mode, os.makedev(major, minor))


def link(path: str, new_path: str) -> None:
    os.link(path, new_path, follow_symlinks=False)


def set_times(path: str, seconds: int | None) -> None:
    times = None if seconds is None else (seconds, seconds)
    os.utime(path, times, follow_symlinks=False)


def set_each_time(path: str, atime: int | str, mtime: int | str) -> None:
    """Seconds for each, or what utimensat(2) calls "now" and "omit"."""
    times = (Timespec * 2)(*(timespec(NS * t if isinstance(t, int) else t) for t in (atime, mtime)))
    checked(LIBC.utimensat(AT_FDCWD, os.fsencode(path), times, AT_SYMLINK_NOFOLLOW))


def get_xattr(path: str, name: str) -> str:
    return os.getxattr(path, name, follow_symlinks=False).hex()


def set_xattr(path: str, name: str, value: str) -> None:
    os.setxattr(path, name, bytes.fromhex(value), follow_symlinks=False)


def remove_xattr(path: str, name: str) -> None:
    os.removexattr(path, name, follow_symlinks=False)


def list_xattrs(path: str) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def look(path: str) -> list[int]:
    found = os.lstat(path)
    return [stat.S_IFMT(found.st_mode)]


def run(path: str) -> int:
    """The exit status of a program."""
    return subprocess.run([path], check=False).returncode


def read(path: str) -> str:
    return Path(path).read_text()


def append(path: str, text: str) -> None:
    with Path(path).open("a") as file:
        file.write(text)


CALLS: Final[dict[str, Callable[..., Any]]] = {
    "look": look,
    "create": create,
    "open": open_,
    "mkdir": os.mkdir,
    "mknod": mknod,
    "symlink": os.symlink,
    "link": link,
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "rename": os.rename,
    "listdir": lambda path: sorted(os.listdir(path)),
    "chmod": os.chmod,
    "chown": os.lchown,
    "truncate": os.truncate,
    "set_times": set_times,
    "set_each_time": set_each_time,
    "get_xattr": get_xattr,
    "set_xattr": set_xattr,
    "remove_xattr": remove_xattr,
    "list_xattrs": list_xattrs,
    "run": run,
    "read": read,
    "append": append,
}


def attempt(name: str, arguments: Sequence[Any]) -> list[Any]:
    """``[errno, result]``, of which one is null."""
    try:
        return [None, CALLS[name](*arguments)]
    except OSError as refusal:
        name = errno.errorcode[refusal.errno or 0]
        return ["EOPNOTSUPP" if name == "ENOTSUP" else name, None]


def serve(uid: int, groups: Sequence[int]) -> None:
    """Become that user, who need not be able to read these files, and answer until the end."""
    os.setgroups(groups)
    os.setresgid(groups[0], groups[0], groups[0])
    os.setresuid(uid, uid, uid)
    os.umask(0)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        sys.stdout.write(json.dumps(attempt(name, arguments)) + "\n")
        sys.stdout.flush()


class OtherUser:
    """A running process of a user who is in *groups*; the first is the user's own. Takes root."""

    def __init__(self, uid: int, groups: Sequence[int]) -> None:
        self.uid = uid
        self.groups = groups
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.other_user", *map(str, [uid, *groups])],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, name: str, *arguments: Any) -> tuple[str | None, Any]:
        """The name of the errno, or what the call returned."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        refusal, result = json.loads(self._process.stdout.readline())
        return refusal, result

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]), [int(gid) for gid in sys.argv[2:]])
