"""The templates of a server: what is logged of their volumes, and how these end.

A volume may have a million files, and clients with a million fids in it: it goes in portions.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from ram9.server.chores import Chores
from ram9.server.config import Rules, TemplateConfig, VolumeConfig
from ram9.server.logs import event
from ram9.server.scratch import Over, Template
from ram9.server.telling import tell_wiping
from ram9.server.volumes import Policy, User, Volume, Volumes
from ram9.storage.dismantling import dismantle

log: Final = logging.getLogger("ram9")


class Maker(Protocol):
    """Makes volumes: see making.py."""

    def policy(self, rules: Rules) -> Policy:
        """Who users are, and whether they are checked."""

    def volume(self, config: VolumeConfig, policy: Policy | None = None) -> Volume:
        """A new volume; ConfigError."""


class Templates:
    """Has the volumes of templates made by *making*, and ends them; *clock* tells the seconds."""

    def __init__(
        self,
        configs: Iterable[TemplateConfig],
        volumes: Volumes,
        making: Maker,
        chores: Chores,
        clock: Callable[[], float],
    ) -> None:
        self._making = making
        self._chores = chores
        self._is_sweeping = False
        self._templates = [
            Template(config, making.policy(config.rules), self._made, volumes.named, clock)
            for config in configs
        ]
        for template in self._templates:
            volumes.templates[template.config.name.encode()] = template

    def sweep(self) -> None:
        """End the volumes whose time is up or that nobody uses; once a second."""
        if not self._is_sweeping:
            self._is_sweeping = True
            self._chores.add(self._sweep())

    def _sweep(self) -> Iterator[None]:
        try:
            for template in self._templates:
                while (over := template.over()) is not None:
                    self._end(template, over)
                    yield
        finally:
            self._is_sweeping = False

    def _made(self, config: VolumeConfig, policy: Policy) -> Volume:
        volume = self._making.volume(config, policy)
        event(
            log,
            logging.INFO,
            "scratch volume made",
            volume=volume.name,
            size_bytes=config.size_bytes,
        )
        return volume

    def _end(self, template: Template, over: Over) -> None:
        volume = over.volume
        template.end(volume)
        assert volume.tenure is not None
        users: list[User] = []
        for user in list(volume.sessions):
            if user.number in volume.tenure.users:
                user.note_ended(volume)
                users.append(user)
            else:
                user.leave(volume)  # it may be connected for long
        event(
            log,
            logging.INFO,
            "scratch volume ended",
            volume=volume.name,
            reason=over.reason,
            clients=len(users),
        )
        self._chores.add(_gone(template, volume, users))


def _gone(template: Template, volume: Volume, users: list[User]) -> Iterator[None]:
    """Have everybody let go of a volume, and give back what it holds."""
    while users:
        yield from users.pop().expire(volume)
    yield from dismantle(volume.filesystem)
    tell_wiping(volume)
    assert volume.tenure is not None
    template.forget(volume.tenure)
