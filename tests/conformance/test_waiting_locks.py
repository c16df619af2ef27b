"""Tlock with the flag BLOCK, where somebody else's lock is in the way: the answer comes later."""

from collections.abc import Callable, Generator

import pytest
from tests.client import ROOT, Client, Server, messages_of

from ram9.protocol.codec import frame
from ram9.protocol.constants import LOCK_FLAGS_BLOCK
from ram9.protocol.messages import (
    Rflush,
    Rlerror,
    Rlock,
    Tflush,
    Tlock,
    Tremove,
    Twalk,
)
from ram9.server import session, waiting
from ram9.storage.errors import Errno
from ram9.storage.locks import OFFSET_MAX

RDLCK, WRLCK, UNLCK = 0, 1, 2
GRANTED, BLOCKED = Rlock(0), Rlock(1)
SECONDS = 1000


@pytest.fixture
def server() -> Generator[Server]:
    server = Server(lock_wait=SECONDS)
    yield server
    server.verify()
    for client in server.clients:
        client.connection.close()
    server.verify()
    assert server.counters.locks == server.counters.waiting_locks == 0
    assert not server.filesystem.orphans


@pytest.fixture
def file(client: Client) -> int:
    """The client's fid of an open file that is there for everybody."""
    return client.create(b"file", b"x" * 100, mode=0o666)


@pytest.fixture
def theirs(other: Client, file: int) -> int:
    """The other's fid of that file."""
    assert file
    return other.open(b"file")


def test_one_that_waits_is_answered_when_the_lock_is_free(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    client.lock(file)
    tag = other.wait_for_lock(theirs)
    assert other.late() == []
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, tag)]
    assert client.lock(file) == 1
    assert not other.session.waiting


def test_one_that_does_not_want_to_wait_is_answered_at_once(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    client.lock(file)
    assert other.lock(theirs) == 1
    assert other.lock(theirs, flags=2) == 1


def test_what_can_be_had_is_granted_at_once(client: Client, file: int) -> None:
    assert client.lock(file, flags=LOCK_FLAGS_BLOCK) == 0


def test_requests_behind_one_that_waits_are_answered(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """Also in the same bytes: nothing that a client asks for stands still."""
    client.lock(file)
    asked = (Twalk(ROOT, 50, ()), Tlock(theirs, WRLCK, 1, 0, 0, 1, b"host"), Twalk(50, 51, ()))
    answers = messages_of(other.send(b"".join(frame(each, 7 + n) for n, each in enumerate(asked))))
    assert [tag for _, tag in answers] == [7, 9]
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, 8)]


RELEASES: dict[str, Callable[[Client, int], object]] = {
    "unlocks it": lambda client, file: client.lock(file, UNLCK),
    "unlocks a part": lambda client, file: client.lock(file, UNLCK, 40, 20),
    "only reads from now on": lambda client, file: client.lock(file, RDLCK),
    "only reads a part": lambda client, file: client.lock(file, RDLCK, 49, 2),
    "closes": lambda client, file: client.clunk(file),
    "removes": lambda client, file: client.call(Tremove(file)),
    "begins anew": lambda client, _file: client.version(),
    "is gone": lambda client, _file: client.connection.close(),
}


@pytest.mark.parametrize("how", RELEASES)
def test_however_the_holder_gives_it_up(
    client: Client, other: Client, file: int, theirs: int, how: str
) -> None:
    """T20: also when the holder's connection is lost, which woke nobody."""
    client.lock(file)
    tag = other.wait_for_lock(theirs, RDLCK, 50, 1)
    RELEASES[how](client, file)
    assert other.late() == [(GRANTED, tag)]
    other.server.verify()


def test_what_others_unlock_elsewhere_wakes_nobody(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    client.lock(file, WRLCK, 0, 100)
    tag = other.wait_for_lock(theirs, WRLCK, 50, 10)
    client.lock(file, UNLCK, 0, 50)
    client.lock(file, UNLCK, 60, 0)
    assert other.late() == []
    client.lock(file, UNLCK, 50, 5)
    assert other.late() == []
    client.lock(file, UNLCK, 55, 5)
    assert other.late() == [(GRANTED, tag)]


def test_who_waits_keeps_what_it_has(client: Client, other: Client, file: int, theirs: int) -> None:
    """An upgrade that waits must not let go of what it is to replace (fcntl(2))."""
    client.lock(file, RDLCK)
    other.lock(theirs, RDLCK)
    tag = other.wait_for_lock(theirs, WRLCK, 10, 10)
    assert client.lock(file, WRLCK, 30, 1) == 1
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, tag)]
    assert client.lock(file, RDLCK, 0, 10) == 0
    assert client.lock(file, RDLCK, 10, 1) == 1


def test_one_after_the_other_in_the_order_in_which_they_came(
    server: Server, client: Client, file: int
) -> None:
    client.lock(file)
    others = [server.connect() for _ in range(5)]
    fids = [other.open(b"file") for other in others]
    tags = [other.wait_for_lock(fid) for other, fid in zip(others, fids, strict=True)]
    client.lock(file, UNLCK)
    for number, other in enumerate(others):
        assert [len(each.session.waiting) for each in others] == [0] * (number + 1) + [1] * (
            4 - number
        )
        assert other.late() == [(GRANTED, tags[number])]
        other.lock(fids[number], UNLCK)


def test_readers_are_granted_together_and_a_writer_between_them_waits(
    server: Server, client: Client, file: int
) -> None:
    """As on one Linux: only locks that are held stand in the way, not those that wait."""
    client.lock(file)
    others = [server.connect() for _ in range(4)]
    kinds = [RDLCK, RDLCK, WRLCK, RDLCK]
    fids = [other.open(b"file") for other in others]
    tags = [
        other.wait_for_lock(fid, kind) for other, fid, kind in zip(others, fids, kinds, strict=True)
    ]
    client.lock(file, UNLCK)
    assert [len(other.late()) for other in others] == [1, 1, 0, 1]
    assert client.lock(file, RDLCK) == 0
    for number in 0, 1, 3:
        others[number].lock(fids[number], UNLCK)
        assert others[2].late() == []
    client.lock(file, UNLCK)
    assert others[2].late() == [(GRANTED, tags[2])]


def test_a_grant_that_lets_go_of_something_grants_more(
    server: Server, client: Client, other: Client, file: int, theirs: int
) -> None:
    """One that waits to read more than it writes now frees bytes when it is granted."""
    client.lock(file, WRLCK, 20, 10)
    other.lock(theirs, WRLCK, 0, 10)
    third = server.connect()
    their_tag = other.wait_for_lock(theirs, RDLCK, 0, 30)
    tag = third.wait_for_lock(third.open(b"file"), RDLCK, 5, 2)
    assert third.late() == []
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, their_tag)]
    assert third.late() == [(GRANTED, tag)]


def test_processes_of_one_client_wait_for_each_other(client: Client, file: int) -> None:
    client.lock(file, process=1)
    tag = client.wait_for_lock(file, process=2)
    client.lock(file, UNLCK, process=1)
    assert client.late() == [(GRANTED, tag)]


def test_who_has_waited_for_long_is_told_to_ask_again(
    server: Server, client: Client, other: Client, file: int, theirs: int
) -> None:
    """T12: a server that waits for ever keeps signals from reaching the process."""
    client.lock(file)
    first = other.wait_for_lock(theirs, process=1)
    server.clock.now_ns += 10**9 * SECONDS // 2
    server.waiting_locks.expire()
    second = other.wait_for_lock(theirs, process=2)
    assert other.late() == []
    server.clock.now_ns += 10**9 * SECONDS // 2
    server.waiting_locks.expire()
    assert other.late() == [(BLOCKED, first)]
    server.clock.now_ns += 10**9 * SECONDS // 2
    server.waiting_locks.expire()
    assert other.late() == [(BLOCKED, second)]
    client.lock(file, UNLCK)
    assert other.late() == []
    assert client.lock(file) == 0


# Those who do not wait any more


def test_one_that_is_flushed_gets_no_answer_and_no_lock(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """T12, T2: SIGKILL of the process; its tag is used again after Rflush."""
    client.lock(file)
    tag = other.wait_for_lock(theirs)
    assert other.call(Tflush(tag)) == Rflush()
    client.lock(file, UNLCK)
    assert other.late() == []
    assert client.lock(file) == 0
    assert other.wait(Tlock(theirs, WRLCK, 1, 0, 0, 1, b"host"), tag) == tag
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, tag)]


def test_an_answer_never_comes_behind_its_flush(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """After Rflush the tag may be used again; the late answer would be taken for another's."""
    client.lock(file)
    tag = other.wait_for_lock(theirs)
    client.lock(file, UNLCK)
    answers = messages_of(other.send(frame(Tflush(tag), 700) + frame(Twalk(ROOT, 50, ()), tag)))
    assert [(type(reply), number) for reply, number in answers][:2] == [
        (Rlock, tag),
        (Rflush, 700),
    ]
    assert len(answers) == 3
    assert other.late() == []


def test_a_flush_of_something_else_is_none_of_theirs(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    client.lock(file)
    tag = other.wait_for_lock(theirs)
    other.call(Tflush(tag + 100))
    client.call(Tflush(tag))
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, tag)]


def test_closing_the_file_refuses_those_who_wait_through_it(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    client.lock(file)
    again = other.open(b"file")
    first = other.wait_for_lock(theirs, process=1)
    second = other.wait_for_lock(again, process=2)
    other.clunk(theirs)
    assert other.late() == [(Rlerror(Errno.EBADF), first)]
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, second)]


def test_beginning_anew_forgets_all_that_waits(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """T24: old tags mean nothing after Tversion, also those whose answers were on their way."""
    client.lock(file)
    other.wait_for_lock(theirs, WRLCK, 0, 10, process=1)
    other.wait_for_lock(theirs, WRLCK, 50, 10, process=2)
    client.lock(file, UNLCK, 50, 10)
    other.version()
    assert other.late() == []
    client.lock(file, UNLCK)
    assert other.late() == []
    assert client.lock(file) == 0


def test_a_client_that_is_gone_waits_no_more(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """T20"""
    client.lock(file)
    other.wait_for_lock(theirs)
    other.connection.close()
    client.lock(file, UNLCK)
    assert client.lock(file) == 0
    assert other.late() == []


# Bounds


def test_a_tag_waits_for_one_answer(client: Client, other: Client, file: int, theirs: int) -> None:
    """A broken client uses it again: the first answer is still to come, the second is not late."""
    client.lock(file)
    tag = other.wait_for_lock(theirs)
    again = frame(Tlock(theirs, WRLCK, 1, 0, 0, 2, b"host"), tag)
    assert messages_of(other.send(again)) == [(BLOCKED, tag)]
    assert other.server.counters.protocol_errors["tag in use"] == 1
    client.lock(file, UNLCK)
    assert other.late() == [(GRANTED, tag)]


@pytest.mark.parametrize("limit", ["WAITING_MAX", "WAITING_TOTAL_MAX"])
def test_only_so_many_wait(
    client: Client,
    other: Client,
    file: int,
    theirs: int,
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, limit, 3)
    client.lock(file)
    for process in range(3):
        other.wait_for_lock(theirs, process=process)
    assert other.lock(theirs, process=4, flags=LOCK_FLAGS_BLOCK) == 1
    client.lock(file, UNLCK)
    assert len(other.late()) == 1
    other.wait_for_lock(theirs, process=4)


def test_a_lock_too_many_is_refused_when_its_turn_comes(
    client: Client, other: Client, file: int, theirs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.lock(file, WRLCK, 0, 10)
    client.lock(file, WRLCK, 50, 10)
    tag = other.wait_for_lock(theirs, WRLCK, 0, 10)
    monkeypatch.setattr(session, "LOCKS_MAX", 1)
    client.lock(file, UNLCK, 0, 10)
    assert other.late() == [(Rlerror(Errno.ENOLCK), tag)]


def test_who_waits_is_counted(client: Client, other: Client, file: int, theirs: int) -> None:
    client.lock(file)
    other.wait_for_lock(theirs, process=1)
    tag = other.wait_for_lock(theirs, process=2)
    assert client.server.counters.waiting_locks == 2
    other.call(Tflush(tag))
    assert client.server.counters.waiting_locks == 1
    client.lock(file, UNLCK)
    assert client.server.counters.waiting_locks == 0


# Deadlocks


def refusal(client: Client, fid: int, kind: int, start: int, length: int) -> Errno:
    """Why a lock is refused that would be waited for."""
    return client.refused(Tlock(fid, kind, LOCK_FLAGS_BLOCK, start, length, 1, b"host"))


def test_two_that_would_wait_for_each_other_do_not(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """fcntl(2): EDEADLK for the second; the first goes on waiting, and gets its lock."""
    client.lock(file, WRLCK, 0, 1)
    other.lock(theirs, WRLCK, 1, 1)
    tag = client.wait_for_lock(file, WRLCK, 1, 1)
    assert refusal(other, theirs, WRLCK, 0, 1) is Errno.EDEADLK
    assert refusal(other, theirs, RDLCK, 0, 2) is Errno.EDEADLK
    assert other.lock(theirs, WRLCK, 0, 1) == 1
    other.lock(theirs, UNLCK)
    assert client.late() == [(GRANTED, tag)]


def test_a_deadlock_may_go_through_many_and_over_several_files(
    server: Server, client: Client
) -> None:
    names = [b"%d" % number for number in range(5)]
    for name in names:
        client.make(name, mode=0o666)
    clients = [server.connect() for _ in names]
    fids = [[each.open(name) for name in names] for each in clients]
    for number, each in enumerate(clients):
        each.lock(fids[number][number], WRLCK, 10, 1)
    for number in range(4):
        clients[number].wait_for_lock(fids[number][number + 1], WRLCK, 0, 20)
    assert refusal(clients[4], fids[4][0], WRLCK, 10, 1) is Errno.EDEADLK
    clients[4].lock(fids[4][4], UNLCK)
    assert len(clients[3].late()) == 1


def test_a_deadlock_may_be_with_any_of_those_in_the_way(
    server: Server, client: Client, other: Client, file: int, theirs: int
) -> None:
    third = server.connect()
    client.lock(file, RDLCK, 0, 10)
    other.lock(theirs, RDLCK, 0, 10)
    third.lock(third.open(b"file"), RDLCK, 0, 10)
    client.wait_for_lock(file, WRLCK, 0, 10)
    assert refusal(other, theirs, WRLCK, 0, 10) is Errno.EDEADLK


def test_two_readers_that_both_want_to_write_do_not_wait_for_each_other(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """Of the whole file, too: what flock(2) gives up then is kept here, as fcntl(2) wants it."""
    client.lock(file, RDLCK)
    other.lock(theirs, RDLCK)
    tag = client.wait_for_lock(file, WRLCK)
    assert refusal(other, theirs, WRLCK, 0, 0) is Errno.EDEADLK
    other.clunk(theirs)
    assert client.late() == [(GRANTED, tag)]


def test_whole_files_may_be_flock_which_knows_no_deadlock(
    client: Client, other: Client, file: int, theirs: int
) -> None:
    """Both wait, and are told to ask again in the end."""
    second = client.create(b"second", mode=0o666)
    client.lock(file)
    other.lock(other.open(b"second"))
    client.wait_for_lock(second)
    other.wait_for_lock(theirs)
    other.wait_for_lock(theirs, WRLCK, 5, 5)  # behind a wait that may be of flock
    assert other.late() == client.late() == []
    assert other.server.counters.waiting_locks == 3


def test_one_that_waits_for_who_waits_for_a_third_just_waits(
    server: Server, client: Client, other: Client, file: int, theirs: int
) -> None:
    third = server.connect()
    third.lock(third.open(b"file"), WRLCK, 20, 1)
    client.lock(file, WRLCK, 0, 1)
    client.wait_for_lock(file, WRLCK, 20, 1)
    tag = other.wait_for_lock(theirs, WRLCK, 0, 1)
    third.connection.close()
    assert len(client.late()) == 1
    assert other.late() == []
    client.lock(file, UNLCK, 0, OFFSET_MAX)
    assert other.late() == [(GRANTED, tag)]


def test_the_search_for_a_deadlock_ends(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a chain clients make, a request costs only so much; then it waits."""
    monkeypatch.setattr(waiting, "WAITS_FOLLOWED_MAX", 3)
    client.make(b"file", mode=0o666)
    clients = [server.connect() for _ in range(5)]
    fids = [each.open(b"file") for each in clients]
    for number, each in enumerate(clients):
        each.lock(fids[number], WRLCK, number, 1)
    for number in range(4):
        clients[number].wait_for_lock(fids[number], WRLCK, number + 1, 1)
    clients[4].wait_for_lock(fids[4], WRLCK, 0, 1)
    assert server.counters.waiting_locks == 5


# The end


def test_at_the_end_all_are_told_to_ask_again_and_nobody_waits_any_more(
    server: Server, client: Client, other: Client, file: int, theirs: int
) -> None:
    client.lock(file)
    tag = other.wait_for_lock(theirs)
    server.waiting_locks.end()
    assert other.late() == [(BLOCKED, tag)]
    assert other.lock(theirs, flags=LOCK_FLAGS_BLOCK) == 1
