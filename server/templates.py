"""The templates of a server: what is logged of their volumes, and how these end.

A volume may have a million files, and clients with a million fids in it: it goes in portions.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ram9.server.chores import Chores
from ram9.server.config import TemplateConfig, VolumeConfig
from ram9.server.logs import event
from ram9.server.scratch import Make, Over, Template
from ram9.server.volumes import Policy, User, Volume, Volumes
from ram9.storage.dismantling import dismantle

log: Final = logging.getLogger("ram9")

PolicyOf = Callable[[TemplateConfig], Policy]


class Templates:
    """Has the volumes of templates made by *make*, and ends them.

    *policy_of* gives the policy of a template, *clock* the time in seconds.
    """

    def __init__(
        self,
        configs: Iterable[TemplateConfig],
        volumes: Volumes,
        policy_of: PolicyOf,
        make: Make,
        chores: Chores,
        clock: Callable[[], float],
    ) -> None:
        self._make = make
        self._chores = chores
        self._is_sweeping = False
        self._templates = [
            Template(config, policy_of(config), self._made, volumes.named, clock)
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
        volume = self._make(config, policy)
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
        users = list(volume.sessions) if volume.tenure is not None and volume.tenure.users else []
        for user in users:
            user.note_ended(volume)
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
    assert volume.tenure is not None
    template.forget(volume.tenure)
