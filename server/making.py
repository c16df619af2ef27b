"""Makes the volumes of a server."""

import stat
import threading
import time
from itertools import count
from typing import Final

from ram9.server.config import ConfigError, Rules, VolumeConfig
from ram9.server.lingering import has_spare_processor
from ram9.server.users import Users
from ram9.server.volumes import Policy, Volume
from ram9.storage.budget import Allotment
from ram9.storage.disk import Lenders
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

THREADS_MAX: Final = 32  # beyond it, volumes have nobody who makes memory ready for them


class Making:
    """What the volumes of a server have in common, and how one is made.

    They take memory from *allotment*; ``lenders`` are those who send bytes of any of them.
    """

    __slots__ = ("_allotment", "_numbers", "_users", "lenders")

    def __init__(self, allotment: Allotment) -> None:
        self._allotment = allotment
        self._users = Users(time.monotonic)
        # Counting up from the microseconds since 1970, for all volumes: a later start never uses a
        # number again, which clients may still have in a cache.
        self._numbers = count(time.time_ns() // 1000)
        self.lenders: Lenders = {}

    def policy(self, rules: Rules) -> Policy:
        """Who users are, and whether they are checked."""
        checks = rules.policy == "enforce"
        return Policy(self._users.credentials if checks else None, rules.squash)

    def volume(self, config: VolumeConfig, policy: Policy | None = None) -> Volume:
        """A new volume, with a *policy* of its own unless it is given one. Raises ConfigError."""
        limits, rules = Limits(size_bytes=config.size_bytes, inodes=config.inodes), config.rules
        try:
            filesystem = FileSystem(
                limits,
                time.time_ns,
                self._numbers,
                self.lenders,
                self._allotment,
                backing=config.backing,
            )
        except (FileSystemError, OSError, OverflowError, ValueError) as error:
            raise ConfigError(
                f"the volume {config.name!r} of {config.size_bytes} bytes and {config.inodes} "
                f"inodes cannot be made: {error}; choose another size or number of inodes"
            ) from error
        if has_spare_processor() and threading.active_count() < THREADS_MAX:
            filesystem.disk.populate_ahead()
        root = filesystem.root
        root.uid, root.gid, root.mode = rules.uid, rules.gid, stat.S_IFDIR | rules.mode
        if policy is None:
            policy = self.policy(rules)
        return Volume(config.name.encode(), filesystem, policy, read_only=rules.read_only)
