"""What the log is told of volumes."""

import logging
from typing import Final

from ram9.server.logs import event
from ram9.server.volumes import Volume

log = logging.getLogger("ram9")

FULL_AGAIN: Final = 0.9  # below this share of its limit, a volume that was full is no longer


def tell(volume: Volume) -> None:
    """What is new of a volume that is there."""
    _tell_fullness(volume)
    tell_wiping(volume)


def tell_wiping(volume: Volume) -> None:
    """Log once that what was to be overwritten was not, for the disk below did not take it."""
    unwiped_bytes = volume.filesystem.disk.unwiped_bytes
    if unwiped_bytes and not volume.is_unwiped:
        volume.is_unwiped = True
        event(log, logging.ERROR, "not wiped", volume=volume.name, unwiped_bytes=unwiped_bytes)


def _tell_fullness(volume: Volume) -> None:
    """Log when a volume first turns something away, and again after it had room."""
    budget = volume.filesystem.budget
    standing = budget.standing()
    if budget.refusals != volume.refusals_seen:
        volume.refusals_seen = budget.refusals
        if not volume.is_full:
            volume.is_full = True
            event(
                log,
                logging.WARNING,
                "out of space",
                volume=volume.name,
                used_bytes=standing.used_bytes,
                limit_bytes=standing.limit_bytes,
                limit_from=standing.limited_by,
                used_inodes=standing.used_inodes,
                limit_inodes=standing.limit_inodes,
            )
    elif volume.is_full and (
        standing.used_bytes < FULL_AGAIN * standing.limit_bytes
        and standing.used_inodes < FULL_AGAIN * standing.limit_inodes
    ):
        volume.is_full = False
