"""Answers that come between requests: to those who wait for locks."""

from pathlib import Path

import pytest
from tests.hostile.clock import Clock
from tests.running_server import RunningServer, running
from tests.socket_client import READ_BYTES_MAX, SocketClient

from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import (
    LOCK_BLOCKED,
    LOCK_FLAGS_BLOCK,
    LOCK_SUCCESS,
    LOCK_TYPE_UNLCK,
    LOCK_TYPE_WRLCK,
)
from ram9.protocol.messages import Rflush, Rlock, Rread, Rwalk, Tflush, Tlock, Tread, Twalk
from ram9.server import waiting
from ram9.server.transport import FRAME_SECONDS_MAX

UNIX = 1
WAITING_TAG = 500
WAIT = Tlock(1, LOCK_TYPE_WRLCK, LOCK_FLAGS_BLOCK, 0, 0, 7, b"host")
TAKE = Tlock(1, LOCK_TYPE_WRLCK, 0, 0, 0, 7, b"host")
GIVE_BACK = Tlock(1, LOCK_TYPE_UNLCK, 0, 0, 0, 7, b"host")
GRANTED = Rlock(LOCK_SUCCESS)


def client_with_file(server: RunningServer, where: int = 0) -> SocketClient:
    client = server.client(where)
    client.create(1, b"file")
    return client


@pytest.fixture
def holder(server: RunningServer) -> SocketClient:
    """A client that holds the lock."""
    client = client_with_file(server)
    assert client.ask(TAKE, Rlock) == GRANTED
    return client


@pytest.fixture
def waiter(server: RunningServer, holder: SocketClient) -> SocketClient:
    """A client that waits for it."""
    assert holder is not None
    client = client_with_file(server, UNIX)
    client.send(WAIT, WAITING_TAG)
    server.wait_for_waiting(1)
    return client


def test_one_that_waits_goes_on_and_is_answered_when_the_lock_is_free(
    holder: SocketClient, waiter: SocketClient
) -> None:
    assert waiter.write(1, 0, b"meanwhile") == 9
    assert waiter.read(1, 0, 9) == b"meanwhile"
    assert holder.ask(GIVE_BACK, Rlock) == GRANTED
    assert waiter.reply(Rlock, WAITING_TAG) == GRANTED
    assert holder.ask(TAKE, Rlock) == Rlock(LOCK_BLOCKED)


def test_requests_that_all_wait_send_nothing(server: RunningServer, holder: SocketClient) -> None:
    client = client_with_file(server)
    before = server.call(lambda: server.counters.sent_bytes)
    client.send_all([WAIT] * 10, WAITING_TAG)
    server.wait_for_waiting(10)
    assert server.call(lambda: server.counters.sent_bytes) == before
    holder.close()
    for tag in range(WAITING_TAG, WAITING_TAG + 10):
        assert client.reply(Rlock, tag) == GRANTED


def test_one_that_is_gone_makes_room(holder: SocketClient, waiter: SocketClient) -> None:
    holder.close()
    assert waiter.reply(Rlock, WAITING_TAG) == GRANTED


def test_one_that_went_while_it_waited_gets_nothing(
    server: RunningServer, holder: SocketClient, waiter: SocketClient
) -> None:
    waiter.close()
    server.wait_for_waiting(0)
    assert holder.ask(GIVE_BACK, Rlock) == GRANTED
    assert holder.ask(TAKE, Rlock) == GRANTED


def test_one_that_went_just_when_it_was_granted_holds_nothing(
    server: RunningServer, holder: SocketClient
) -> None:
    """Its answer cannot be sent, and it must not be left with the lock."""
    for _ in range(50):
        client = client_with_file(server, UNIX)
        client.send(WAIT, WAITING_TAG)
        server.wait_for_waiting(1)
        holder.send(GIVE_BACK, 1)
        client.close()
        assert holder.reply(Rlock, 1) == GRANTED
        again = frame(WAIT, 2)
        holder.send_bytes(again)
        assert holder.reply(Rlock, 2) == GRANTED


def test_a_flush_and_the_answer_that_it_is_for_may_cross(
    holder: SocketClient, waiter: SocketClient
) -> None:
    """After Rflush its tag is free: what comes with that tag then must be for the next request."""
    for _ in range(200):
        holder.send(GIVE_BACK, 1)
        waiter.send_all([Tflush(WAITING_TAG)], 600)
        waiter.send(Twalk(0, 9, ()), WAITING_TAG)
        replies: list[tuple[int, Message]] = [waiter.receive()]
        while replies[-1] != (WAITING_TAG, Rwalk(())):
            replies.append(waiter.receive())
        late = [(WAITING_TAG, GRANTED)] if len(replies) == 3 else []
        assert replies == [*late, (600, Rflush()), (WAITING_TAG, Rwalk(()))]
        assert holder.reply(Rlock, 1) == GRANTED
        if late:
            assert waiter.ask(GIVE_BACK, Rlock) == GRANTED
        assert holder.ask(TAKE, Rlock) == GRANTED
        waiter.send(WAIT, WAITING_TAG)
        assert waiter.refusal(Twalk(0, 9, (b"no such file",)))  # and WAIT has arrived


def test_an_answer_waits_behind_replies_that_are_not_read(
    server: RunningServer, holder: SocketClient, waiter: SocketClient
) -> None:
    """It must not get between the pieces of another reply."""
    data = bytes(READ_BYTES_MAX - 12)
    waiter.write(1, 0, data)
    waiter.send_all([Tread(1, 0, READ_BYTES_MAX)] * 3)
    server.wait_for_paused(1)
    assert holder.ask(GIVE_BACK, Rlock) == GRANTED
    server.wait_for_waiting(0)
    server.call(lambda: None)
    assert server.hub.held_bytes > 0
    replies = dict(waiter.receive() for _ in range(4))
    assert replies.pop(WAITING_TAG) == GRANTED
    assert replies == dict.fromkeys((1, 2, 3), Rread(data))


def test_one_that_reads_no_answers_makes_the_server_hold_little(
    server: RunningServer, holder: SocketClient
) -> None:
    """Each of its requests waits, and each of the answers is small: all of them have a bound."""
    client = client_with_file(server, UNIX)
    for _ in range(20):
        client.send_all([WAIT] * (2 * waiting.WAITING_MAX), WAITING_TAG)
        server.wait_for_waiting(waiting.WAITING_MAX)
        assert holder.ask(GIVE_BACK, Rlock) == GRANTED
        server.wait_for_waiting(0)
        client.send(GIVE_BACK, 1)
        for _ in range(2 * waiting.WAITING_MAX + 1):
            client.receive()
        assert holder.ask(TAKE, Rlock) == GRANTED
    assert server.call(lambda: server.hub.held_bytes) == 0


def test_one_that_waits_is_not_late(
    server: RunningServer, holder: SocketClient, waiter: SocketClient, clock: Clock
) -> None:
    clock.pass_seconds(3 * FRAME_SECONDS_MAX)
    assert holder.ask(GIVE_BACK, Rlock) == GRANTED
    assert waiter.reply(Rlock, WAITING_TAG) == GRANTED
    assert server.counters.protocol_errors == {}


def test_one_that_has_waited_for_long_is_told_to_ask_again(tmp_path: Path) -> None:
    """T12: only then signals reach the process that waits."""
    (tmp_path / "other").mkdir()
    with running(tmp_path / "other", lock_wait_seconds=1) as server:
        holder, waiter = client_with_file(server), client_with_file(server)
        assert holder.ask(TAKE, Rlock) == GRANTED
        waiter.send(WAIT, WAITING_TAG)
        assert waiter.reply(Rlock, WAITING_TAG) == Rlock(LOCK_BLOCKED)
        assert server.counters.waiting_locks == 0


def test_nobody_is_held_where_that_is_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with running(tmp_path / "other", lock_wait_seconds=0) as server:
        holder, waiter = client_with_file(server), client_with_file(server)
        assert holder.ask(TAKE, Rlock) == GRANTED
        assert waiter.ask(WAIT, Rlock) == Rlock(LOCK_BLOCKED)
