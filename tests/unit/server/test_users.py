"""Groups of users, from the user database of this host."""

import os
import pwd

import pytest

from ram9.server import users
from ram9.server.users import LIFETIME_SECONDS, NOBODY_GID, NOBODY_UID, Users, find_groups


class Database:
    """Knows user 5, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.groups = [50, 7]
        self.now = 100.0

    def find(self, uid: int) -> tuple[int, list[int]]:
        self.asked.append(uid)
        if uid == 6:
            raise OSError("the directory service does not answer")
        if uid < 5:
            raise KeyError(uid)
        return self.groups[0], self.groups


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def known(database: Database) -> Users:
    return Users(lambda: database.now, database.find)


def test_a_user_is_in_the_groups_that_the_database_tells(known: Users) -> None:
    user = known.credentials(5)
    assert (user.uid, user.gid, user.groups) == (5, 50, {50, 7})


def test_somebody_unknown_is_in_no_group(known: Users) -> None:
    user = known.credentials(1)
    assert (user.uid, user.gid, user.groups) == (1, NOBODY_GID, frozenset())
    assert not user.is_in(NOBODY_GID)


def test_a_database_that_does_not_answer_is_not_one_that_knows_nobody(
    known: Users, database: Database
) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="does not answer"):
            known.credentials(6)
    assert database.asked == [6, 6]


def test_root_and_nobody_are_known_without_asking(known: Users, database: Database) -> None:
    """A mount begins as nobody: it must not wait for a directory service."""
    assert known.credentials(0).is_in(12345)
    assert known.credentials(NOBODY_UID).groups == frozenset()
    assert database.asked == []


def test_the_database_is_asked_once_a_minute(known: Users, database: Database) -> None:
    before = known.credentials(5)
    database.groups = [50, 8]
    database.now += LIFETIME_SECONDS - 1
    assert known.credentials(5) is before
    database.now += 1
    assert known.credentials(5).groups == {50, 8}
    assert database.asked == [5, 5]


def test_only_so_many_are_remembered(
    known: Users, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may attach as anybody: the one that was asked for the longest ago is forgotten."""
    monkeypatch.setattr(users, "USERS_MAX", 3)
    for uid in (10, 11, 12, 10, 13):
        known.credentials(uid)
    assert database.asked == [10, 11, 12, 13]
    for uid in (11, 12, 13):
        known.credentials(uid)
    assert database.asked == [10, 11, 12, 13]
    known.credentials(10)
    assert database.asked[4:] == [10]


def test_the_database_is_that_of_this_host() -> None:
    user = pwd.getpwuid(os.geteuid())
    gid, groups = find_groups(user.pw_uid)
    assert gid == user.pw_gid
    assert set(groups) == set(os.getgrouplist(user.pw_name, user.pw_gid))


def test_this_host_does_not_know_everybody() -> None:
    with pytest.raises(KeyError):
        find_groups(2**32 - 2)
