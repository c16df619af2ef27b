"""How much memory this process may use: the machine's, or less if a control group says so.

The limits of a group hold for everything below it, so the least one on the way from our group up
to the root counts. A namespace or a bind mount may hide the upper part of a group's path; the way
up then still ends at the root of the mount, which is our own group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import aiofiles

from ram9.server.config import ConfigError

_PROC: Final = Path("/proc")
_CGROUP: Final = Path("/sys/fs/cgroup")

_V2_FILES: Final = ("memory.max", "memory.high")
_V1_FILES: Final = ("memory.limit_in_bytes",)

_UNLIMITED_BYTES_MIN: Final = 1 << 62
"""Version 1 has no word for "no limit": it shows 2**63 rounded down to a page."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """*size_bytes* of memory, as *source* says: the file that they were read from."""

    size_bytes: int
    source: str


async def memory_limit(proc: Path = _PROC, cgroup: Path = _CGROUP) -> MemoryLimit:
    """The least of what this machine has and what our control groups allow.

    `memory.high` counts like `memory.max`: a process above it is not killed but made to crawl.
    Raises ConfigError if nothing says how much it is, or if a file that says it is unreadable.
    """
    found = await _machine(proc / "meminfo")
    groups = await _read(proc / "self" / "cgroup") or ""
    for path in _limit_files(groups, cgroup):
        if (limit := await _group(path)) is not None:
            found.append(limit)
    if not found:
        raise _unknown(f"{proc / 'meminfo'} has no MemTotal and no control group has a limit")
    return min(found, key=lambda limit: limit.size_bytes)


def _limit_files(groups: str, cgroup: Path) -> Iterator[Path]:
    """Every file that may hold a limit, given the lines of /proc/self/cgroup; see cgroups(7)."""
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        is_v2 = not controllers
        if not is_v2 and "memory" not in controllers.split(","):
            continue
        root = cgroup if is_v2 else cgroup / "memory"
        # A path such as /../other belongs to a group outside our namespace: only the root is ours.
        below = PurePosixPath("." if ".." in PurePosixPath(path).parts else path.lstrip("/"))
        for group in (below, *below.parents):
            for name in _V2_FILES if is_v2 else _V1_FILES:
                yield root / group / name


async def _machine(path: Path) -> list[MemoryLimit]:
    for line in (await _read(path) or "").splitlines():
        if line.startswith("MemTotal:"):
            kibibytes = line.removeprefix("MemTotal:").removesuffix("kB")
            return [MemoryLimit(_number(path, kibibytes) * 1024, str(path))]
    return []


async def _group(path: Path) -> MemoryLimit | None:
    text = await _read(path)
    if text is None or text.strip() == "max":
        return None
    size_bytes = _number(path, text)
    return MemoryLimit(size_bytes, str(path)) if size_bytes < _UNLIMITED_BYTES_MIN else None


async def _read(path: Path) -> str | None:
    """What the file holds, None if there is no such file."""
    try:
        async with aiofiles.open(path, encoding="utf-8", errors="replace") as file:
            return await file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # A limit that exists but cannot be read must not be taken for no limit.
        raise _unknown(f"{path} is unreadable: {error.strerror}") from error


def _number(path: Path, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _unknown(f"{path} holds {text.strip()!r}, which is not a number") from None


def _unknown(reason: str) -> ConfigError:
    return ConfigError(
        f"cannot tell how much memory this process may use, because {reason}: "
        "give --size in bytes, such as --size 1GiB"
    )
