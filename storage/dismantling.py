"""Takes a file system apart that nobody uses any more, a piece at a time.

Directories and what is in them know each other, so that they would stay for ever where no garbage
collector runs. And to let go of a million of them, or of gigabytes, takes a second in one go.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from ram9.storage.disk import Disk
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File, Inode

# One step of each takes a millisecond or less.
INODES_AT_ONCE: Final = 512
SECTORS_AT_ONCE: Final = (16 << 20) // 512


def dismantle(filesystem: FileSystem) -> Iterator[None]:
    """Free what a file system holds, as far as the next step each time.

    What somebody still has of it may be let go of meanwhile and afterwards (fids, a write that is
    arriving), and nothing else may be done with it. It is gone with the last one who knows it.
    """
    disk = filesystem.disk
    disk.settle()
    for count, reserve in enumerate(list(disk.reserved), start=1):
        reserve.give_back()
        if not count % INODES_AT_ONCE:
            yield
    for inodes in _taken_apart(filesystem):
        if disk.wipes:
            yield from _wiped(disk, inodes)
        yield
    if disk.wipes:
        yield from _wiped(disk, filesystem.orphans.copy())
    for place in range(0, disk.arena.sectors, SECTORS_AT_ONCE):
        disk.arena.give_back(place, min(SECTORS_AT_ONCE, disk.arena.sectors - place))
        yield
    discard(filesystem)


def discard(filesystem: FileSystem) -> None:
    """Let go of a file system in which there is nothing (more): it is gone with who knows it."""
    filesystem.disk.let_go()
    del filesystem.root.parent  # it is its own


def _taken_apart(filesystem: FileSystem) -> Iterator[list[Inode]]:
    """All that has a name, a few at a time; then it has none."""
    todo = [filesystem.root]
    found: list[Inode] = []
    while todo:
        directory = todo.pop()
        while taken := directory.entries.take_last(INODES_AT_ONCE):
            todo += [inode for inode in taken if isinstance(inode, Directory)]
            found += taken
            if len(found) >= INODES_AT_ONCE:
                del taken
                yield found
                found = []
    if found:
        yield found


def _wiped(disk: Disk, inodes: Iterable[Inode]) -> Iterator[None]:
    """Overwrite what files hold."""
    for inode in inodes:
        if isinstance(inode, File):
            for _, (place, count) in inode.content.runs:
                for start in range(place, place + count, SECTORS_AT_ONCE):
                    disk.wipe(start, min(SECTORS_AT_ONCE, place + count - start))
                    yield
