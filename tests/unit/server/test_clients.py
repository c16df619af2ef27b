"""What the log is told of a client, and what is remembered for status."""

import logging
import socket

import pytest

from ram9.server.clients import MOUNTS_MAX, Journal, moved_bytes


def test_a_journal_names_the_first_attach_the_mount(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ram9")
    journal = Journal("peer")
    for _ in range(2):
        journal.report("attached", {"uid": 0})
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("INFO", "mounted"),
        ("DEBUG", "attached"),
    ]


def test_mounts_are_remembered_up_to_a_bound() -> None:
    """A client may attach as a million users."""
    journal = Journal("peer")
    for uid in range(MOUNTS_MAX + 5):
        for _ in range(2):
            journal.report("attached", {"uid": uid, "aname": b"builds", "uname": b"alice"})
    assert len(journal.mounts) == MOUNTS_MAX
    assert journal.mounts[b"builds", 3] == b"alice"
    assert journal.mounts_count == 2 * (MOUNTS_MAX + 5)


def test_the_kernel_counts_what_a_client_moved() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as peer,
    ):
        client, _ = server.accept()
        with client:
            peer.sendall(b"x" * 1000)
            assert client.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
            client.sendall(b"y" * 300)
            peer.recv(300, socket.MSG_WAITALL)
            moved = moved_bytes(client)
            assert moved is not None
            assert moved[0] == 1000
            assert moved[1] in (300, 301, 0, 1)  # acknowledged, and the first SYN
        assert moved_bytes(client) is None


def test_of_a_unix_socket_it_does_not() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert moved_bytes(one) is None
