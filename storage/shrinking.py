"""What lives as long as a file system is made small again, once little is left of much."""

from ram9.storage.filesystem import FileSystem
from ram9.storage.tables import is_oversized


def shrink(filesystem: FileSystem) -> None:
    """Make tables smaller of which little is used."""
    filesystem.disk.shrink()
    filesystem.root.entries.shrink()
    if is_oversized(filesystem.orphans):
        filesystem.orphans = set(filesystem.orphans)
