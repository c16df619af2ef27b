"""What the log is told of a volume, and how often."""

import pytest

from ram9.server.telling import tell
from ram9.server.volumes import Volume
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

INODES = 20


@pytest.fixture
def volume() -> Volume:
    return Volume(b"small", FileSystem(Limits(size_bytes=1 << 20, inodes=INODES), lambda: 1))


def fill(volume: Volume) -> None:
    """Make files until there are no more inodes."""
    filesystem = volume.filesystem
    missing = INODES - filesystem.budget.used_inodes
    for number in range(INODES - missing, INODES):
        filesystem.create(filesystem.root, b"%d" % number, 0o644, 0, 0)
    with pytest.raises(FileSystemError, match="ENOSPC"):
        filesystem.create(filesystem.root, b"more", 0o644, 0, 0)


def remove(volume: Volume, count: int) -> None:
    for number in range(INODES - count, INODES):
        volume.filesystem.unlink(volume.filesystem.root, b"%d" % number)


def test_that_there_are_no_more_inodes_is_told_until_there_were_some(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    tell(volume)
    assert caplog.messages == []
    for removed, told in ((1, 1), (5, 1), (5, 2)):
        fill(volume)
        for _ in range(3):
            tell(volume)
        assert caplog.messages == ["out of space"] * told
        remove(volume, removed)
        tell(volume)
    fields = caplog.records[0].__dict__["fields"]
    assert (fields["volume"], fields["used_inodes"]) == (b"small", INODES)


def test_that_something_was_not_wiped_is_told_once(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that did not take the zeros was no news, and `wipe` a promise."""
    for unwiped_bytes in (512, 1024):
        volume.filesystem.disk.unwiped_bytes = unwiped_bytes
        tell(volume)
    assert caplog.messages == ["not wiped"]
    assert caplog.records[0].__dict__["fields"] == {"volume": b"small", "unwiped_bytes": 512}
