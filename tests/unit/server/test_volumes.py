"""Volumes by name, and the way from their roots."""

import pytest

from ram9.server.volumes import DEFAULT_NAME, Volume, Volumes
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits


def volume(name: bytes) -> Volume:
    return Volume(name, FileSystem(Limits(1 << 20, 10), lambda: 0))


DEFAULT, BUILDS = volume(DEFAULT_NAME), volume(b"builds")
VOLUMES = Volumes([DEFAULT, BUILDS])


@pytest.mark.parametrize(
    ("aname", "expected"),
    [
        (b"", (DEFAULT, [])),
        (b"/", (DEFAULT, [])),
        (b"builds", (BUILDS, [])),
        (b"/builds/", (BUILDS, [])),
        (b"./builds/./today", (BUILDS, [b"today"])),
        (b"builds/today/now", (BUILDS, [b"today", b"now"])),
        (b"builds/builds", (BUILDS, [b"builds"])),
        (b"Builds", (DEFAULT, [b"Builds"])),
        (b"other/builds", (DEFAULT, [b"other", b"builds"])),
        (b"../builds", (DEFAULT, [b"..", b"builds"])),
    ],
)
def test_the_first_name_is_a_volume_or_leads_into_the_default_one(
    aname: bytes, expected: tuple[Volume, list[bytes]]
) -> None:
    place = VOLUMES.find(aname)
    assert (place.open(), place.way) == expected
    assert (place.name, place.policy) == (expected[0].name, expected[0].policy)


@pytest.mark.parametrize("aname", [b"", b"/", b"other", b"other/builds"])
def test_without_a_default_volume_other_names_are_not_there(aname: bytes) -> None:
    with pytest.raises(FileSystemError) as refusal:
        Volumes([BUILDS]).find(aname)
    assert refusal.value.errno is Errno.ENOENT


def test_no_two_volumes_have_one_name() -> None:
    with pytest.raises(ValueError, match="two volumes have the name b'builds'"):
        Volumes([BUILDS, DEFAULT, volume(b"builds")])


def test_volumes_may_come_and_go_while_all_are_looked_at() -> None:
    volumes = Volumes([DEFAULT, BUILDS])
    for each in volumes:
        del volumes.named[each.name]
    assert list(volumes) == []
