"""How much memory this process may use, and how much of that is left.

The machine has some, and control groups may allow less. The limits of a group hold for everything
below it, so the least one on the way from our group up to the root counts. A namespace or a bind
mount may hide the upper part of a group's path; the way up then still ends at the root of the
mount, which is our own group.

All is read from small files that the kernel makes up: a whole look takes some 0.1 ms (measured),
so that it can be taken between two requests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ram9.server.config import Config, ConfigError

PAGE_BYTES: Final = 4096

# What is left alone of a limit: page tables, buffers of sockets, stacks of the kernel, and
# whatever else grows beside what is counted. (Version 1 counts the memory of TCP by itself.)
RESERVE_SHARE: Final = 16
RESERVE_BYTES_MIN: Final = 32 << 20
RESERVE_BYTES_MAX: Final = 1 << 30

TERMS_MAX: Final = 8  # of a sum that is shown

_UNLIMITED_BYTES_MIN: Final = 1 << 62
"""Version 1 has no word for "no limit": it shows 2**63 rounded down to a page."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """*size_bytes* of memory, as *source* says: the file that they were read from."""

    size_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class MemoryLeft:
    """*left_bytes* of memory are left to take, less than 0 if too much is taken already.

    *source* is the file that holds the limit.
    """

    left_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class _Names:
    """What the files of a version of control groups are called, and their fields."""

    limits: tuple[str, ...]
    usage: str
    cache: tuple[str, ...]  # of files, that the kernel may drop
    unwritten: tuple[str, ...]  # of that, what has to be written to a disk first


# `memory.high` counts like `memory.max`: a process above it is not killed but made to crawl.
_V2: Final = _Names(
    limits=("memory.max", "memory.high"),
    usage="memory.current",
    cache=("inactive_file", "active_file"),
    unwritten=("file_dirty", "file_writeback"),
)
_V1: Final = _Names(
    limits=("memory.limit_in_bytes",),
    usage="memory.usage_in_bytes",
    cache=("total_inactive_file", "total_active_file"),
    unwritten=("total_dirty", "total_writeback"),
)


class MemoryFiles:
    """The files that say how much memory there is: those of *proc* and *cgroup*."""

    __slots__ = ("_cgroup", "_proc")

    def __init__(self, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._cgroup = cgroup

    def limit(self) -> MemoryLimit:
        """The least of what this machine has and what our control groups allow.

        Raises ConfigError if nothing says how much it is, or if a file that says it is unreadable.
        """
        found = [limit for limit, _, _ in self._group_limits()]
        meminfo = self._proc / "meminfo"
        total_bytes = _machine(meminfo).get("MemTotal")
        if total_bytes is not None:
            found.append(MemoryLimit(total_bytes, str(meminfo)))
        if not found:
            raise _unknown(f"{meminfo} has no MemTotal and no control group has a limit")
        return min(found, key=lambda limit: limit.size_bytes)

    def left(self) -> MemoryLeft:
        """The least that any of them has left, without its reserve.

        Of a group that is what it does not use, and half of what it uses for files that are on a
        disk as well: the kernel takes that back before it kills anybody. Of the machine it is what
        the kernel calls available. Raises ConfigError like ``limit``.
        """
        found: list[MemoryLeft] = []
        for limit, group, names in self._group_limits():
            used_bytes = _usage(group, names)
            left_bytes = limit.size_bytes - used_bytes - reserve_bytes(limit.size_bytes)
            found.append(MemoryLeft(left_bytes, limit.source))
        meminfo = self._proc / "meminfo"
        machine = _machine(meminfo)
        if "MemTotal" in machine and "MemAvailable" in machine:
            left_bytes = machine["MemAvailable"] - reserve_bytes(machine["MemTotal"])
            found.append(MemoryLeft(left_bytes, str(meminfo)))
        if not found:
            raise _unknown(f"{meminfo} has no MemAvailable and no control group has a limit")
        return min(found, key=lambda left: left.left_bytes)

    def anonymous_bytes(self) -> int:
        """The memory of this process that is no file's; 0 if that cannot be told."""
        resident_bytes, shared_bytes = self._statm()
        return resident_bytes - shared_bytes

    def resident_bytes(self) -> int:
        """All memory that this process has; 0 if that cannot be told."""
        return self._statm()[0]

    def pressure_paths(self) -> Iterator[Path]:
        """The files that may tell of stalls for want of memory, that of our own group first."""
        for root, below, names in self._hierarchies():
            if names is _V2:
                yield root / below / "memory.pressure"
        yield self._proc / "pressure" / "memory"

    def _statm(self) -> tuple[int, int]:
        """What is resident, and what of that is shared, in bytes; see proc(5)."""
        try:
            fields = (_read(self._proc / "self" / "statm") or "").split()
            return int(fields[1]) * PAGE_BYTES, int(fields[2]) * PAGE_BYTES
        except (ConfigError, IndexError, ValueError):
            return 0, 0

    def _group_limits(self) -> Iterator[tuple[MemoryLimit, Path, _Names]]:
        """Every limit on the way up, with the folder of its group."""
        for root, below, names in self._hierarchies():
            for group in (below, *below.parents):
                for name in names.limits:
                    path = root / group / name
                    text = _read(path)
                    if text is None or text.strip() == "max":
                        continue
                    size_bytes = _number(path, text)
                    if size_bytes < _UNLIMITED_BYTES_MIN:
                        yield MemoryLimit(size_bytes, str(path)), root / group, names

    def _hierarchies(self) -> Iterator[tuple[Path, PurePosixPath, _Names]]:
        """Each root of groups that may limit memory, and our group below it; see cgroups(7)."""
        for line in (_read(self._proc / "self" / "cgroup") or "").splitlines():
            _, controllers, path = line.split(":", 2)
            is_v2 = not controllers
            if not is_v2 and "memory" not in controllers.split(","):
                continue
            # A path such as /../other belongs to a group outside our namespace: only the root is
            # ours.
            is_outside = ".." in PurePosixPath(path).parts
            below = PurePosixPath("." if is_outside else path.lstrip("/"))
            yield self._cgroup if is_v2 else self._cgroup / "memory", below, _V2 if is_v2 else _V1


def reserve_bytes(limit_bytes: int) -> int:
    """How much of a limit is left alone."""
    return min(max(limit_bytes // RESERVE_SHARE, RESERVE_BYTES_MIN), RESERVE_BYTES_MAX)


def _machine(path: Path) -> dict[str, int]:
    """What of /proc/meminfo counts, in bytes."""
    found: dict[str, int] = {}
    for line in (_read(path) or "").splitlines():
        name, _, kibibytes = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            found[name] = _number(path, kibibytes.removesuffix("kB")) * 1024
    return found


def _usage(group: Path, names: _Names) -> int:
    """What a group uses, without half of what the kernel may drop."""
    path = group / names.usage
    text = _read(path)
    if text is None:
        raise _unknown(f"{path} is not there")
    fields: dict[str, int] = {}
    stat = group / "memory.stat"
    for line in (_read(stat) or "").splitlines():
        name, _, number = line.partition(" ")
        if name in names.cache or name in names.unwritten:
            fields[name] = _number(stat, number)
    cache_bytes = sum(fields.get(name, 0) for name in names.cache)
    cache_bytes -= sum(fields.get(name, 0) for name in names.unwritten)
    return _number(path, text) - max(0, cache_bytes) // 2


def _read(path: Path) -> str | None:
    """What the file holds, None if there is no such file."""
    try:
        # Not in text mode: each time, Python would put another copy of the name of a method in its
        # cache of methods, and that holds the piece of 1 MiB in which it came to lie.
        with path.open("rb", buffering=0) as file:
            return file.read().decode(errors="replace")
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


def require_memory(config: Config, limit: MemoryLimit) -> None:
    """Refuse volumes that come to more than *limit*, unless *config* says that they may."""
    if config.overcommit or config.memory_bytes <= limit.size_bytes:
        return
    largest = sorted(config.in_memory, reverse=True)
    terms = [f"{size_bytes} ({name})" for size_bytes, name in largest[:TERMS_MAX]]
    others = largest[TERMS_MAX:]
    if others:
        terms.append(f"{sum(size_bytes for size_bytes, _ in others)} ({len(others)} others)")
    raise ConfigError(
        f"{config.path}: the sizes {' + '.join(terms)} = {config.memory_bytes} bytes are more than "
        f"the {limit.size_bytes} that this process may use, as {limit.source} says: "
        "choose smaller ones, or write overcommit = true"
    )
