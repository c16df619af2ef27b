"""What is changed while the server runs: the limits of a volume, and a configuration that is read
again. Either all of it can be done, or nothing is."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Final

from ram9.server.config import (
    Config,
    ConfigError,
    VolumeConfig,
    default_inodes,
    parse_inodes,
    parse_size,
)
from ram9.server.logs import event, printable
from ram9.server.memory import MemoryLimit, require_memory
from ram9.server.volumes import Volume, Volumes
from ram9.storage.dismantling import discard

log = logging.getLogger("ram9")

NAMED_MAX: Final = 8  # volumes, in a refusal

MakeVolume = Callable[[VolumeConfig], Volume]


class Changes:
    """Changes *volumes*, which *config* had made; ``config`` is what is in force by now.

    *limit* says how much memory this process may use, or raises ConfigError. *make* makes a volume.
    *on_sizes* is called with what all of them may take of memory once that may be another, and with
    what *limit* says then, if it does; *on_read_only* when one became read only.
    """

    def __init__(
        self,
        volumes: Volumes,
        config: Config,
        limit: Callable[[], MemoryLimit],
        make: MakeVolume,
        on_sizes: Callable[[int, int | None], None],
        on_read_only: Callable[[], None],
    ) -> None:
        self._volumes = volumes
        self.config = config
        self._limit = limit
        self._make = make
        self._on_sizes = on_sizes
        self._on_read_only = on_read_only

    def resize(self, request: Mapping[str, Any], peer: str) -> Iterator[dict[str, Any]]:
        """Give a volume another size, as the command of that name asks for; ConfigError."""
        name = _text(request, "volume").strip("/")
        volume = self._volumes.named.get(name.encode(errors="replace"))
        if volume is None:
            raise ConfigError(f"there is no volume {name!r}: choose one of {self._names()}")
        if volume.tenure is not None:
            raise ConfigError(f"{name!r} is a scratch volume: these keep the size they were given")
        size_bytes = parse_size(_text(request, "size"), lambda: self._limit().size_bytes)
        inodes = volume.filesystem.budget.limit_inodes
        if request.get("inodes") is not None:
            inodes = parse_inodes(_text(request, "inodes"))
        elif inodes == default_inodes(volume.filesystem.budget.limit_bytes):
            inodes = default_inodes(size_bytes)  # nobody has chosen it
        self._require_room(volume, size_bytes)
        coming = _resized(self.config, name, size_bytes, inodes)
        if coming.memory_bytes > self.config.memory_bytes:  # less is better, if still too much
            self._require_memory(coming)
        self._set_limits(volume, size_bytes, inodes, peer)
        self.config = coming
        self._tell_sizes()
        standing = volume.filesystem.budget.standing()
        yield {
            "kind": "resized",
            "name": printable(volume.name),
            "size_bytes": size_bytes,
            "size_inodes": inodes,
            **standing._asdict(),
        }

    def reload(self, new: Config) -> None:
        """Make of *new* what can be made while the server runs, and log what cannot.

        ConfigError, and nothing is changed, if a volume cannot be had, or if there is no memory for
        what would be in force then.
        """
        have = {volume.name.decode(): volume for volume in self._volumes if volume.tenure is None}
        for wanted in new.volumes:
            if wanted.name in have:
                self._require_room(have[wanted.name], wanted.size_bytes)
            elif wanted.name.encode() in self._volumes.templates:
                raise ConfigError(
                    f"the name {wanted.name!r} is that of scratch volumes until the server is "
                    "restarted: choose another, or restart it"
                )
        coming = _reloaded(self.config, new)
        self._require_memory(coming)
        made = self._made([config for config in coming.volumes if config.name not in have])
        for volume in made:
            self._volumes.named[volume.name] = volume
            event(log, logging.INFO, "volume added", volume=volume.name)
        for config in coming.volumes:
            if config.name in have:
                self._change(have[config.name], config)
        _report_kept(new, coming)
        self.config = coming
        self._tell_sizes()

    def _made(self, configs: Iterable[VolumeConfig]) -> list[Volume]:
        """New volumes, all of them or none: ConfigError."""
        made: list[Volume] = []
        try:
            made.extend(map(self._make, configs))
        except ConfigError:
            for volume in made:
                discard(volume.filesystem)
            raise
        return made

    def _change(self, volume: Volume, new: VolumeConfig) -> None:
        budget = volume.filesystem.budget
        if (budget.limit_bytes, budget.limit_inodes) != (new.size_bytes, new.inodes):
            self._set_limits(volume, new.size_bytes, new.inodes, self.config.path)
        if volume.read_only != new.rules.read_only:
            volume.read_only = new.rules.read_only
            event(log, logging.INFO, "read only", volume=volume.name, read_only=volume.read_only)
            if volume.read_only:
                self._on_read_only()

    def _set_limits(self, volume: Volume, size_bytes: int, inodes: int, by: str) -> None:
        budget = volume.filesystem.budget
        before_bytes = budget.limit_bytes
        volume.filesystem.disk.resize(size_bytes, inodes)
        event(
            log,
            logging.INFO,
            "resized",
            volume=volume.name,
            size_bytes=size_bytes,
            before_bytes=before_bytes,
            inodes=inodes,
            used_bytes=budget.used_bytes,
            by=by,
        )

    def _require_room(self, volume: Volume, size_bytes: int) -> None:
        room_bytes = volume.filesystem.disk.room_bytes
        if size_bytes > room_bytes:
            raise ConfigError(
                f"the volume {printable(volume.name) or '/'} can have {room_bytes} bytes at most "
                "while the server runs: choose less, or restart it with that size"
            )

    def _require_memory(self, coming: Config) -> None:
        if not coming.overcommit:
            require_memory(coming, self._limit())

    def _tell_sizes(self) -> None:
        memory_bytes = None
        with suppress(ConfigError):  # sizes in bytes can be had where nobody can tell
            memory_bytes = self._limit().size_bytes
        self._on_sizes(self.config.memory_bytes, memory_bytes)

    def _names(self) -> str:
        names = sorted(printable(volume.name) or "/" for volume in self._volumes)
        others = f" and {len(names) - NAMED_MAX} others" if len(names) > NAMED_MAX else ""
        return ", ".join(names[:NAMED_MAX]) + others


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise ConfigError(f"the request says no {key}")
    return value


def _resized(config: Config, name: str, size_bytes: int, inodes: int) -> Config:
    """*config* with other limits of the volume *name*."""
    volumes = [
        replace(volume, size_bytes=size_bytes, inodes=inodes) if volume.name == name else volume
        for volume in config.volumes
    ]
    return replace(config, volumes=tuple(volumes))


def _reloaded(old: Config, new: Config) -> Config:
    """What is in force once *new* was read where *old* is: what takes a restart stays."""
    volumes = {volume.name: volume for volume in old.volumes}
    for volume in new.volumes:
        there = volumes.get(volume.name, volume)
        rules = replace(there.rules, read_only=volume.rules.read_only)
        volumes[volume.name] = replace(volume, rules=rules, backing=there.backing)
    return replace(old, overcommit=new.overcommit, volumes=tuple(volumes.values()))


def _report_kept(new: Config, coming: Config) -> None:
    """Log what of *new* takes a restart: what is otherwise in *coming*, which is in force."""
    wanted = {volume.name: volume for volume in new.volumes}
    for volume in coming.volumes:
        if volume.name not in wanted:
            _report("volume", volume.name, "volumes are removed by a restart")
            continue
        if volume.rules != wanted[volume.name].rules:
            _report("rules of volume", volume.name, "they take a restart")
        if volume.backing != wanted[volume.name].backing:
            _report("memory of volume", volume.name, "it takes a restart")
    for field in fields(Config):
        if field.name != "volumes" and getattr(coming, field.name) != getattr(new, field.name):
            _report("setting", field.name, "this takes a restart")


def _report(what: str, name: str, reason: str) -> None:
    event(log, logging.WARNING, "not reloaded", what=what, name=name, reason=reason)
