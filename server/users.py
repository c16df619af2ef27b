"""What groups a user is in, from the user database of the server's host.

It is asked when a user attaches and never else. getpwuid(3) and getgrouplist(3) read files, and
where nsswitch.conf(5) says so ask other hosts: the server answers nobody meanwhile.
"""

import os
import pwd
from collections.abc import Callable
from typing import Final

from ram9.server.config import NOBODY_ID
from ram9.storage.permissions import Credentials

ROOT_UID: Final = 0
NOBODY_UID: Final = NOBODY_ID
NOBODY_GID: Final = NOBODY_ID

USERS_MAX: Final = 4096  # remembered; a client may attach as any
LIFETIME_SECONDS: Final = 60.0

Find = Callable[[int], tuple[int, list[int]]]


def find_groups(uid: int) -> tuple[int, list[int]]:
    """The user's own group and all that it is in; KeyError if this host does not know it."""
    user = pwd.getpwuid(uid)
    return user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)


class Users:
    """Remembers the groups of users for a minute, so that many attaches ask the database once.

    *now* gives the time in seconds.
    """

    __slots__ = ("_find", "_known", "_now")

    def __init__(self, now: Callable[[], float], find: Find = find_groups) -> None:
        self._now = now
        self._find = find
        self._known: dict[int, tuple[float, Credentials]] = {}  # the oldest first

    def credentials(self, uid: int) -> Credentials:
        """Who *uid* is; somebody without groups if nobody knows."""
        now = self._now()
        asked, known = self._known.get(uid, (now, None))
        if known is None or now - asked >= LIFETIME_SECONDS:
            known = self._look_up(uid)
            self._known.pop(uid, None)
            if len(self._known) >= USERS_MAX:
                del self._known[next(iter(self._known))]
            self._known[uid] = now, known
        return known

    def _look_up(self, uid: int) -> Credentials:
        if uid == ROOT_UID:
            return Credentials(uid, 0)
        if uid == NOBODY_UID:
            return Credentials(uid, NOBODY_GID)
        try:
            gid, groups = self._find(uid)
        except KeyError:
            return Credentials(uid, NOBODY_GID)
        return Credentials(uid, gid, frozenset(groups))
