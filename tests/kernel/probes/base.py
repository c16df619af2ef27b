"""Small programs that a POSIX file system must treat as any other does.

Each gets an empty directory and returns what it saw, errnos by name; the same program in a tmpfs
directory says what is right.
"""

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

PROBES: Final[dict[str, Callable[[Path], object]]] = {}
MAPPED: Final[dict[str, Callable[[Path], object]]] = {}
"""Those that need shared writable mappings, which v9fs has with cache=mmap and above."""

USER: Final = 1234
STRANGER: Final = 4321


def probe(function: Callable[[Path], object]) -> Callable[[Path], object]:
    PROBES[function.__name__.replace("_", " ")] = function
    return function


def mapped(function: Callable[[Path], object]) -> Callable[[Path], object]:
    MAPPED[function.__name__.replace("_", " ")] = function
    return function


def attempt(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What the call returns, or the name of its errno."""
    try:
        return function(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def in_child(function: Callable[[], object], uid: int = 0) -> Any:
    """What *function* returns in a process of its own, which belongs to *uid*."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        answer = b'"crashed"'
        try:
            if uid:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            answer = json.dumps(function()).encode()
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer)


def write(path: Path, data: bytes = b"data") -> Path:
    path.write_bytes(data)
    return path


def shape(path: Path) -> list[object]:
    """What stat(2) says that does not depend on the file system."""
    seen = path.lstat()
    size = 0 if stat.S_ISDIR(seen.st_mode) else seen.st_size
    return [stat.filemode(seen.st_mode), seen.st_nlink, seen.st_uid, seen.st_gid, size]
