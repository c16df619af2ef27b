"""Scratch volumes: made by the first who names them, and gone some time after the last.

    aname=scratch/job-42?size=2GiB&ttl=1h

asks for the volume ``job-42`` of the template ``scratch``. All who name it share it. The template
bounds what can be asked for. A volume ends when nobody has used it for the template's grace, which
is for those who come back after a connection broke, or when its time (``ttl``) is up, whoever
uses it.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from ram9.server.config import (
    ConfigError,
    TemplateConfig,
    VolumeConfig,
    default_inodes,
    parse_duration,
    parse_size,
    parse_volume_name,
)
from ram9.server.volumes import AttachError, Place, Policy, Tenure, Volume
from ram9.storage.errors import Errno

SIZE_BYTES_MIN: Final = 4096  # with less, there would be no room for the root
PARAMETERS: Final = ("size", "ttl")
QUERY_BYTES_MAX: Final = 256

TIME_IS_UP: Final = "its time is up"
NOBODY_CAME_BACK: Final = "nobody uses it"

Make = Callable[[VolumeConfig, Policy], Volume]


class Asked(NamedTuple):
    """What an aname asks for, where it asks: bytes, and seconds to live."""

    size_bytes: int | None
    ttl_seconds: int | None


class Over(NamedTuple):
    """A volume that is to end, and why."""

    volume: Volume
    reason: str


class Template:
    """The volumes of one template: those that are there, and what all take that are not gone yet.

    *make* makes a volume, or raises ConfigError; *clock* tells the time in seconds.
    """

    def __init__(
        self,
        config: TemplateConfig,
        policy: Policy,
        make: Make,
        named: dict[bytes, Volume],
        clock: Callable[[], float],
    ) -> None:
        self.config = config
        self._policy = policy
        self._make = make
        self._named = named
        self._clock = clock
        self._volumes: dict[Tenure, Volume] = {}
        self._idle: dict[Tenure, float] = {}  # when they end, the first first
        self._deadlines: list[tuple[float, int, Tenure]] = []  # a heap, with some that are gone
        self._made = 0
        self.count = 0
        self.total_bytes = 0

    def __iter__(self) -> Iterator[Volume]:
        """Those that are there, as they are now."""
        return iter(list(self._volumes.values()))

    def place(self, names: list[bytes], query: bytes | None) -> Place:
        """Where the aname of these *names* and parameters leads; see AttachError.

        A volume that is not there yet is made when the place is opened.
        """
        if len(names) < 2:
            raise AttachError(Errno.ENOENT, f"say which: {self.config.name}/NAME")
        name = _name(names[1])
        asked = asked_for(query)
        full_name = names[0] + b"/" + name.encode()
        volume = self._named.get(full_name)
        if volume is not None:
            _check_same(volume, asked)
            return Place(volume.policy, full_name, names[2:], lambda: volume)
        self._check_bounds(asked)
        if len(names) > 2:
            raise AttachError(Errno.ENOENT, "a new volume has no directories")
        return Place(self._policy, full_name, [], lambda: self._open(full_name, asked))

    def over(self) -> Over | None:
        """A volume that is to end now, if there is one; ``end`` is to be called for it."""
        now = self._clock()
        while self._deadlines and self._deadlines[0][2] not in self._volumes:
            heappop(self._deadlines)
        if self._deadlines and self._deadlines[0][0] <= now:
            return Over(self._volumes[self._deadlines[0][2]], TIME_IS_UP)
        for tenure, deadline in self._idle.items():
            return Over(self._volumes[tenure], NOBODY_CAME_BACK) if deadline <= now else None
        return None

    def end(self, volume: Volume) -> None:
        """From now on a volume is not there: who names it gets a new one."""
        tenure = volume.tenure
        assert tenure is not None
        volume.has_ended = True
        del self._named[volume.name]
        del self._volumes[tenure]
        self._idle.pop(tenure, None)
        if len(self._deadlines) > 2 * len(self._volumes) + 64:
            self._deadlines = [entry for entry in self._deadlines if entry[2] in self._volumes]
            heapify(self._deadlines)

    def forget(self, tenure: Tenure) -> None:
        """A volume that has ended takes nothing any more."""
        self.count -= 1
        self.total_bytes -= tenure.size_bytes

    def _check_bounds(self, asked: Asked) -> None:
        config, size_bytes, ttl_seconds = self.config, self._size(asked), self._ttl(asked)
        if size_bytes > config.size_bytes_max:
            raise AttachError(
                Errno.EPERM, f"size {size_bytes} is more than size-max {config.size_bytes_max}"
            )
        if size_bytes < SIZE_BYTES_MIN:
            raise AttachError(Errno.EPERM, f"size {size_bytes} is less than {SIZE_BYTES_MIN}")
        if ttl_seconds > config.ttl_seconds_max:
            raise AttachError(
                Errno.EPERM, f"ttl {ttl_seconds} is more than ttl-max {config.ttl_seconds_max}"
            )
        if self.count >= config.count_max:
            raise AttachError(Errno.ENOSPC, f"there are count-max {config.count_max} already")
        left_bytes = config.total_bytes_max - self.total_bytes
        if size_bytes > left_bytes:
            raise AttachError(
                Errno.ENOSPC,
                f"size {size_bytes} is more than the {left_bytes} that are left of total-max "
                f"{config.total_bytes_max}",
            )

    def _open(self, name: bytes, asked: Asked) -> Volume:
        size_bytes, ttl_seconds = self._size(asked), self._ttl(asked)
        config = VolumeConfig(
            size_bytes,
            default_inodes(size_bytes),
            name.decode(),
            self.config.rules,
            self.config.backing,
        )
        try:
            volume = self._make(config, self._policy)
        except ConfigError as error:
            raise AttachError(Errno.ENOMEM, str(error)) from error
        deadline = self._clock() + ttl_seconds
        volume.tenure = tenure = Tenure(size_bytes, ttl_seconds, deadline, self._on_use)
        self._made += 1
        self.count += 1
        self.total_bytes += size_bytes
        self._named[name] = self._volumes[tenure] = volume
        heappush(self._deadlines, (deadline, self._made, tenure))
        return volume

    def _on_use(self, tenure: Tenure) -> None:
        """Somebody begins to use a volume that nobody used, or the last one has gone."""
        self._idle.pop(tenure, None)
        if not tenure.users and tenure in self._volumes:
            self._idle[tenure] = self._clock() + self.config.grace_seconds

    def _size(self, asked: Asked) -> int:
        return self.config.size_bytes if asked.size_bytes is None else asked.size_bytes

    def _ttl(self, asked: Asked) -> int:
        return self.config.ttl_seconds if asked.ttl_seconds is None else asked.ttl_seconds


def asked_for(query: bytes | None) -> Asked:
    """What the parameters behind the question mark ask for, each of them once; ENOENT."""
    if query is None:
        return Asked(None, None)
    if len(query) > QUERY_BYTES_MAX:
        raise AttachError(Errno.ENOENT, f"parameters of more than {QUERY_BYTES_MAX} bytes")
    values: dict[str, str] = {}
    for parameter in query.decode("ascii", "backslashreplace").split("&"):
        key, equals, value = parameter.partition("=")
        if key not in PARAMETERS or not equals or key in values:
            raise AttachError(
                Errno.ENOENT,
                f"parameter {parameter!r} is none: write size=SIZE and ttl=TIME, each once",
            )
        values[key] = value
    try:
        size, ttl = values.get("size"), values.get("ttl")
        return Asked(
            None if size is None else parse_size(size, _no_memory),
            None if ttl is None else parse_duration("ttl", ttl),
        )
    except ConfigError as error:
        raise AttachError(Errno.ENOENT, str(error)) from error


def _name(name: bytes) -> str:
    text = name.decode("ascii", "backslashreplace")
    try:
        return parse_volume_name(text)
    except ConfigError as error:
        raise AttachError(Errno.ENOENT, str(error)) from error


def _no_memory() -> int:
    raise ConfigError("a size that is a share of the memory is for the configuration alone")


def _check_same(volume: Volume, asked: Asked) -> None:
    """Refuse to share a volume with somebody who asks for another (EPERM)."""
    tenure = volume.tenure
    assert tenure is not None
    for what, wanted, there in (
        ("size", asked.size_bytes, tenure.size_bytes),
        ("ttl", asked.ttl_seconds, tenure.ttl_seconds),
    ):
        if wanted not in (None, there):
            raise AttachError(Errno.EPERM, f"it was made with {what} {there} and not {wanted}")
