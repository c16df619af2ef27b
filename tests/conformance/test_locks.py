"""Tlock, Tgetlock: POSIX byte-range locks, among all clients."""

import pytest
from tests.client import ROOT, Client, Server

from ram9.protocol.messages import Rgetlock, Tgetlock, Tlock
from ram9.server import session
from ram9.server.operations import locks
from ram9.storage.errors import Errno
from ram9.storage.locks import OFFSET_MAX

RDLCK, WRLCK, UNLCK = 0, 1, 2
SUCCESS, BLOCKED = 0, 1


@pytest.fixture
def file(client: Client) -> int:
    """The client's fid of an open file that is there for everybody."""
    return client.create(b"file", b"x" * 100, mode=0o666)


def held(client: Client, fid: int) -> list[tuple[int, int, int, int]]:
    """(process, first, last, type) of what anybody holds, from the lowest byte on."""
    found = client.session.fids[fid].inode.locks
    assert found is None or len(found), "an empty table is kept"
    return sorted(
        (lock.owner[1], lock.start, lock.last, int(lock.exclusive))  # type: ignore[index]
        for lock in (found.held if found is not None else ())
    )


def test_readers_share_and_writers_do_not(client: Client, other: Client, file: int) -> None:
    theirs = other.open(b"file")
    assert client.lock(file, RDLCK) == SUCCESS
    assert other.lock(theirs, RDLCK) == SUCCESS
    assert other.lock(theirs, WRLCK) == BLOCKED
    assert client.lock(file, UNLCK) == SUCCESS
    assert other.lock(theirs, WRLCK) == SUCCESS
    assert client.lock(file, RDLCK) == BLOCKED


def test_who_would_wait_is_told_to_ask_again(client: Client, other: Client, file: int) -> None:
    """T12: where nobody is left waiting, so that signals reach the process."""
    client.lock(file, WRLCK)
    theirs = other.open(b"file")
    assert other.lock(theirs, WRLCK, flags=1) == BLOCKED
    client.lock(file, UNLCK)
    assert other.lock(theirs, WRLCK, flags=1) == SUCCESS


def test_reclaiming_is_locking(client: Client, file: int) -> None:
    assert client.lock(file, WRLCK, flags=2) == SUCCESS


def test_owners_are_processes_of_hosts_of_sessions(
    client: Client, other: Client, file: int
) -> None:
    """T12: not fids; and two mounts of one host may share host names and process numbers."""
    again, theirs = client.open(b"file"), other.open(b"file")
    assert client.lock(file, WRLCK, process=1) == SUCCESS
    assert client.lock(again, WRLCK, process=1) == SUCCESS
    assert client.lock(file, WRLCK, process=2) == BLOCKED
    assert other.lock(theirs, WRLCK, process=1) == BLOCKED
    assert client.call(Tlock(file, WRLCK, 0, 0, 0, 1, b"another")).status == BLOCKED


def test_who_has_no_lock_may_give_it_back(client: Client, other: Client, file: int) -> None:
    """T12: Linux unlocks whenever any process closes the file; refusing makes close noisy."""
    theirs = other.open(b"file")
    assert other.lock(theirs, UNLCK) == SUCCESS
    client.lock(file, WRLCK)
    assert other.lock(theirs, UNLCK) == SUCCESS
    assert client.lock(file, UNLCK, process=2) == SUCCESS
    assert len(held(client, file)) == 1


@pytest.mark.parametrize("flags", [0, 1, 2])
def test_any_way_of_being_open_will_do(client: Client, file: int, flags: int) -> None:
    for kind in (RDLCK, WRLCK, UNLCK):
        assert client.lock(client.open(b"file", flags=flags), kind) == SUCCESS
    client.lock(file, UNLCK)


def test_what_is_not_open_cannot_be_locked(client: Client, file: int) -> None:
    assert client.refused(Tlock(client.walk(b"file"), WRLCK, 0, 0, 0, 1, b"")) is Errno.EBADF
    assert client.refused(Tlock(ROOT, UNLCK, 0, 0, 0, 1, b"")) is Errno.EBADF
    assert client.lock(file) == SUCCESS


def test_locks_are_split_and_joined(client: Client, file: int) -> None:
    client.lock(file, WRLCK, 0, 100)
    client.lock(file, UNLCK, 40, 20)
    assert held(client, file) == [(1, 0, 39, 1), (1, 60, 99, 1)]
    client.lock(file, WRLCK, 40, 20)
    assert held(client, file) == [(1, 0, 99, 1)]
    client.lock(file, WRLCK, 100, 0)
    assert held(client, file) == [(1, 0, OFFSET_MAX, 1)]


def test_a_lock_replaces_what_its_owner_had(client: Client, file: int) -> None:
    client.lock(file, RDLCK, 0, 100)
    client.lock(file, WRLCK, 40, 20)
    assert held(client, file) == [(1, 0, 39, 0), (1, 40, 59, 1), (1, 60, 99, 0)]
    client.lock(file, RDLCK, 0, 0)
    assert held(client, file) == [(1, 0, OFFSET_MAX, 0)]


def test_an_upgrade_in_the_way_of_another_leaves_what_was_held(
    client: Client, other: Client, file: int
) -> None:
    client.lock(file, RDLCK, 0, 100)
    other.lock(other.open(b"file"), RDLCK, 50, 10, process=2)
    with client.server.unchanged():
        assert client.lock(file, WRLCK, 0, 100) == BLOCKED
    assert client.lock(file, WRLCK, 0, 50) == SUCCESS


def test_bytes_beside_each_other_do_not_conflict(client: Client, other: Client, file: int) -> None:
    theirs = other.open(b"file")
    client.lock(file, WRLCK, 10, 10)
    assert other.lock(theirs, WRLCK, 0, 10) == SUCCESS
    assert other.lock(theirs, WRLCK, 20, 0) == SUCCESS
    assert other.lock(theirs, WRLCK, 19, 1) == BLOCKED


@pytest.mark.parametrize(
    ("kind", "flags", "start", "length", "errno"),
    [
        (3, 0, 0, 0, Errno.EINVAL),
        (255, 0, 0, 0, Errno.EINVAL),
        (WRLCK, 4, 0, 0, Errno.EINVAL),
        (UNLCK, 0x80000000, 0, 0, Errno.EINVAL),
        (WRLCK, 0, 2**63, 0, Errno.EINVAL),
        (WRLCK, 0, 2**64 - 1, 2, Errno.EINVAL),
        (WRLCK, 0, 2**63 - 1, 2, Errno.EOVERFLOW),
        (WRLCK, 0, 1, 2**63, Errno.EOVERFLOW),
        (UNLCK, 0, 0, 2**64 - 1, Errno.EOVERFLOW),
    ],
)
def test_what_is_no_lock_is_refused(
    client: Client, file: int, kind: int, flags: int, start: int, length: int, errno: Errno
) -> None:
    assert client.refused(Tlock(file, kind, flags, start, length, 1, b"host")) is errno


def test_the_last_byte_can_be_locked(client: Client, file: int) -> None:
    assert client.lock(file, WRLCK, 2**63 - 1, 1) == SUCCESS
    assert client.lock(file, WRLCK, 0, 2**63 - 1) == SUCCESS


# What stands in the way


@pytest.mark.parametrize("kind", [RDLCK, WRLCK, UNLCK])
def test_nothing_in_the_way_is_unlck_and_what_was_asked(
    client: Client, file: int, kind: int
) -> None:
    """T12: Linux always asks with the type UNLCK; refusing that broke sqlite."""
    client.lock(file, WRLCK)
    found = client.getlock(file, kind, 5, 6)
    assert found == Rgetlock(UNLCK, 5, 6, 1, b"host")


def test_the_lock_in_the_way_is_told(client: Client, other: Client, file: int) -> None:
    """T12: as for a lock to write, since Linux does not say which it wants."""
    theirs = other.open(b"file")
    other.lock(theirs, RDLCK, 10, 10, process=7)
    assert client.getlock(file, UNLCK) == Rgetlock(RDLCK, 10, 10, 7, b"host")
    assert client.getlock(file, WRLCK) == Rgetlock(RDLCK, 10, 10, 7, b"host")
    assert client.getlock(file, RDLCK).type == UNLCK
    assert client.getlock(file, UNLCK, 0, 10).type == UNLCK
    other.lock(theirs, WRLCK, 50, 0, process=8)
    assert client.getlock(file, UNLCK) == Rgetlock(WRLCK, 50, 0, 8, b"host")


def test_asking_needs_an_open_file_and_changes_nothing(client: Client, file: int) -> None:
    """Whoever got to a file could find out which process of which host had locked it."""
    with client.server.unchanged():
        assert client.getlock(file).type == UNLCK
    assert client.refused(Tgetlock(file, UNLCK, 2**63, 0, 1, b"")) is Errno.EINVAL
    assert client.refused(Tgetlock(file, UNLCK, 1, 2**63, 1, b"")) is Errno.EOVERFLOW
    assert client.refused(Tgetlock(ROOT, UNLCK, 0, 0, 1, b"")) is Errno.EBADF


def test_a_host_name_that_would_not_fit_into_a_reply_is_refused(client: Client, file: int) -> None:
    """T4: another client asks who stands in the way, and a reply beyond its msize ends its mount.

    Nor may anybody fill the memory with host names: they are kept with every lock.
    """
    name = b"h" * locks.CLIENT_ID_BYTES_MAX
    assert client.refused(Tlock(file, WRLCK, 0, 0, 0, 1, name + b"h")) is Errno.EINVAL
    assert client.call(Tlock(file, WRLCK, 0, 0, 0, 1, name)).status == SUCCESS
    small = client.server.connect(msize=4096)
    assert small.getlock(small.open(b"file")).client_id == name


# The end of locks


def test_locks_end_with_the_last_open_fid_of_the_session(
    client: Client, other: Client, file: int
) -> None:
    """T20: for clients that do not unlock before they close."""
    theirs = other.open(b"file")
    again = client.open(b"file")
    client.lock(file, WRLCK)
    client.clunk(file)
    assert other.lock(theirs, WRLCK) == BLOCKED
    client.clunk(client.walk(b"file"))
    assert other.lock(theirs, WRLCK) == BLOCKED
    client.clunk(again)
    assert other.lock(theirs, WRLCK) == SUCCESS
    assert not client.session.locked


def test_locks_end_with_the_session(client: Client, other: Client, file: int) -> None:
    """T20, T24: on Tversion, and when the connection is lost."""
    theirs = other.open(b"file")
    client.lock(file, WRLCK)
    client.version()
    assert other.lock(theirs, WRLCK) == SUCCESS
    other.connection.close()
    client.attach(ROOT)
    assert client.lock(client.open(b"file"), WRLCK) == SUCCESS


def test_a_session_that_ends_takes_nobody_elses_locks(
    client: Client, other: Client, file: int
) -> None:
    """T20"""
    client.lock(file, RDLCK, process=1)
    other.lock(other.open(b"file"), RDLCK, process=2)
    other.connection.close()
    assert held(client, file) == [(1, 0, OFFSET_MAX, 0)]


def test_a_file_that_was_unlocked_is_not_remembered(
    client: Client, other: Client, file: int
) -> None:
    """The session kept every inode that it had ever locked, also after the file was gone."""
    client.lock(file, WRLCK)
    client.lock(file, UNLCK)
    assert not client.session.locked
    theirs = other.open(b"file")
    client.lock(file, RDLCK)
    other.lock(theirs, RDLCK)
    client.lock(file, UNLCK)
    other.lock(theirs, UNLCK)
    assert not client.session.locked
    assert not other.session.locked


def test_an_unlinked_file_can_be_locked(client: Client, file: int) -> None:
    client.unlink(b"file")
    assert client.lock(file, WRLCK) == SUCCESS
    client.clunk(file)
    assert not client.session.locked


def test_locks_of_one_file_are_limited(
    client: Client, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving back the middle of a lock makes two of one: that was not limited."""
    assert session.LOCKS_MAX > 1000
    monkeypatch.setattr(session, "LOCKS_MAX", 3)
    client.lock(file, WRLCK, 0, 100)
    client.lock(file, UNLCK, 10, 10)
    client.lock(file, UNLCK, 30, 10)
    assert client.refused(Tlock(file, UNLCK, 0, 50, 10, 1, b"host")) is Errno.ENOLCK
    assert client.refused(Tlock(file, WRLCK, 0, 200, 10, 1, b"host")) is Errno.ENOLCK
    assert client.lock(file, UNLCK, 90, 10) == SUCCESS
    assert client.lock(file, UNLCK) == SUCCESS
    assert held(client, file) == []


def test_clients_that_come_and_go_leave_no_locks(server: Server, client: Client) -> None:
    """T20"""
    client.make(b"file")
    for process in range(5):
        guest = server.connect()
        assert guest.lock(guest.open(b"file"), WRLCK, process=process) == SUCCESS
        guest.connection.close()
    assert client.server.filesystem.root.entries.get(b"file").locks is None  # type: ignore[union-attr]
