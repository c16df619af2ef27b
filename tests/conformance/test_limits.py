"""What all clients together may make the server hold: at the limit, and one past it."""

import pytest
from tests.client import ROOT, Server

from ram9.protocol.constants import LOCK_SUCCESS, LOCK_TYPE_UNLCK
from ram9.protocol.messages import Tlock, Twalk, Twrite
from ram9.server import session
from ram9.server.operations import locks
from ram9.storage.errors import Errno


def test_fids_of_all_connections_are_limited() -> None:
    server = Server()
    one, two = server.connect(), server.connect()
    one.session.fids_total_max = two.session.fids_total_max = 4
    fid = one.walk()
    two.walk()
    assert two.refused(Twalk(ROOT, 50, ())) is Errno.ENFILE
    assert one.refused(Twalk(ROOT, 50, ())) is Errno.ENFILE
    one.clunk(fid)
    two.walk()
    server.verify()


def test_locks_of_all_files_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    client = server.connect()
    first, second = client.create(b"first"), client.create(b"second")
    for module in session, locks:
        monkeypatch.setattr(module, "LOCKS_TOTAL_MAX", 2, raising=False)
    client.lock(first, start=0, length=10)
    client.lock(second, start=0, length=10)
    assert client.refused(Tlock(second, 1, 0, 20, 10, 1, b"host")) is Errno.ENOLCK
    assert client.lock(first, LOCK_TYPE_UNLCK) == LOCK_SUCCESS
    assert client.lock(second, start=20, length=10) == LOCK_SUCCESS
    server.verify()


def test_values_over_all_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    one, two = server.connect(), server.connect()
    file = one.create(b"file")
    monkeypatch.setattr(session, "VALUES_TOTAL_BYTES_MAX", 100)
    writer = one.writer(file, b"user.a", 60)
    one.write(writer, b"v" * 60)
    another = two.writer(two.walk(b"file"), b"user.b", 60)
    assert two.refused(Twrite(another, 0, b"v" * 60)) is Errno.ENOMEM
    one.clunk(writer)
    two.write(another, b"v" * 60)
    two.clunk(another)
    server.verify()
