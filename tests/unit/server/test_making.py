"""Volumes as they are made."""

import gc

import pytest

from ram9.server import making
from ram9.server.config import ConfigError, Rules, Squash, VolumeConfig
from ram9.server.making import Making
from ram9.storage.budget import Allotment, Budget
from ram9.storage.disk import Disk

MIB = 1 << 20


@pytest.fixture
def allotment() -> Allotment:
    return Allotment(1 << 40)


def test_a_volume_is_what_its_configuration_says(allotment: Allotment) -> None:
    rules = Rules(read_only=True, uid=1000, gid=100, mode=0o750)
    volume = Making(allotment).volume(VolumeConfig(4 * MIB, 100, "builds", rules))
    budget, root = volume.filesystem.budget, volume.filesystem.root
    assert (volume.name, volume.read_only, volume.tenure) == (b"builds", True, None)
    assert (budget.limit_bytes, budget.limit_inodes) == (4 * MIB, 100)
    assert (root.uid, root.gid, root.mode) == (1000, 100, 0o40750)


def test_volumes_share_numbers_lenders_and_memory(allotment: Allotment) -> None:
    made = Making(allotment)
    first, second = (made.volume(VolumeConfig(MIB, 10, name)) for name in ("a", "b"))
    assert first.filesystem.root.number + 1 == second.filesystem.root.number
    assert first.filesystem.disk.lent is second.filesystem.disk.lent is made.lenders
    assert allotment.left_bytes < 1 << 40
    del first, second


def test_users_are_checked_where_the_rules_say_so(allotment: Allotment) -> None:
    made = Making(allotment)
    assert made.policy(Rules()).user(5) == (5, None)
    uid, user = made.policy(Rules("enforce")).user(0)
    assert user is not None
    assert uid == user.uid == 0
    uid, user = made.policy(Rules(squash=Squash(1, 2))).user(0)
    assert user is not None
    assert (uid, user.uid, user.gid, user.groups) == (1, 1, 2, {2})
    assert made.volume(VolumeConfig(MIB, 10)).policy.user(5) == (5, None)


def test_one_policy_can_hold_for_many_volumes(allotment: Allotment) -> None:
    made = Making(allotment)
    policy = made.policy(Rules("enforce"))
    assert made.volume(VolumeConfig(MIB, 10), policy).policy is policy


def test_what_cannot_be_had_is_said(allotment: Allotment) -> None:
    with pytest.raises(ConfigError, match="the volume 'small' of 1 bytes and 10 inodes cannot be"):
        Making(allotment).volume(VolumeConfig(1, 10, "small"))
    with pytest.raises(ConfigError, match="the volume 'large' of 139637976727552 bytes and 10"):
        Making(allotment).volume(VolumeConfig(127 << 40, 10, "large"))
    assert allotment.left_bytes == 1 << 40


def test_a_volume_for_which_there_is_no_memory_leaves_nothing() -> None:
    """One whose root did not fit stayed for ever, with all of its address space: while memory was
    short, clients that tried again and again to make scratch volumes used up all that there is."""
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, Disk | Budget) for each in gc.get_objects())
        with pytest.raises(ConfigError, match="ENOSPC"):
            Making(Allotment(0)).volume(VolumeConfig(MIB, 10, "new"))
        assert sum(isinstance(each, Disk | Budget) for each in gc.get_objects()) == before
    finally:
        gc.enable()


def test_not_every_volume_has_a_thread(
    allotment: Allotment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "has_spare_processor", lambda: True)
    made = Making(allotment)
    assert made.volume(VolumeConfig(MIB, 10)).filesystem.disk.space.ahead is not None
    monkeypatch.setattr(making, "THREADS_MAX", 0)
    assert made.volume(VolumeConfig(MIB, 10)).filesystem.disk.space.ahead is None
