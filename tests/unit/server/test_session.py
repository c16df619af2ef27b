"""One client's state."""

import stat
import sys

import pytest
from tests.client import ROOT, Client, Server

from ram9.protocol.constants import LOCK_TYPE_WRLCK, NOFID, O_WRONLY
from ram9.protocol.messages import Tlock, Twalk
from ram9.server import session
from ram9.server.fids import Attachment, Fid
from ram9.server.session import directory_of, ignore
from ram9.server.volumes import DEFAULT_NAME
from ram9.server.waiting import WaitingLocks
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.locks import OFFSET_MAX


@pytest.fixture
def client() -> Client:
    return Server().connect()


def test_fids_are_limited(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIDS_MAX", 3)
    client.walk()
    last = client.walk()
    assert client.refused(Twalk(ROOT, 50, ())) is Errno.EMFILE
    client.call(Twalk(ROOT, last, ()))
    client.clunk(last)
    client.walk()
    client.server.verify()


def test_nofid_is_never_put(client: Client) -> None:
    root = client.server.filesystem.root
    with pytest.raises(FileSystemError) as refusal:
        client.session.put(
            NOFID, Fid(root, Attachment(client.server.volumes.named[DEFAULT_NAME], root, 0))
        )
    assert refusal.value.errno is Errno.EBADF
    client.server.verify()


def test_clunking_gives_the_fid(client: Client) -> None:
    fid = client.session.fids[ROOT]
    assert client.session.clunk(ROOT) is fid
    with pytest.raises(FileSystemError):
        client.session.clunk(ROOT)
    client.server.verify()


def test_a_table_of_fids_becomes_small_once_most_are_gone(client: Client) -> None:
    file = client.create(b"file")
    for number in range(100_000, 110_000):
        client.call(Twalk(ROOT, number, ()))
    for number in range(100_000, 110_000):
        client.clunk(number)
    before_bytes, fids = sys.getsizeof(client.session.fids), dict(client.session.fids)
    client.session.shrink()
    assert sys.getsizeof(client.session.fids) < before_bytes / 100
    assert dict(client.session.fids) == fids
    assert client.refused(Twalk(50, 51, ())) is Errno.EBADF
    client.clunk(file)
    client.server.verify()


def test_closing_twice_is_closing_once(client: Client) -> None:
    client.create(b"file")
    client.session.close()
    client.session.close()
    assert client.server.counters.fids == 0
    client.server.verify()


def test_only_an_open_fid_is_opened(client: Client) -> None:
    with pytest.raises(FileSystemError) as refusal:
        client.session.opened(ROOT)
    assert refusal.value.errno is Errno.EBADF
    number = client.open()
    assert client.session.opened(number) is client.session.fids[number]


def test_only_a_directory_is_a_directory(client: Client) -> None:
    assert directory_of(client.session.fids[ROOT]) is client.server.filesystem.root
    with pytest.raises(FileSystemError) as refusal:
        directory_of(client.session.fids[client.create(b"file")])
    assert refusal.value.errno is Errno.ENOTDIR


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(stat.S_IFDIR, 0x80), (stat.S_IFLNK, 0x02), (stat.S_IFREG, 0), (stat.S_IFSOCK, 0)],
)
def test_the_type_of_a_qid_is_that_of_the_mode(client: Client, mode: int, kind: int) -> None:
    inode = client.server.filesystem.root
    inode.mode = mode | 0o755
    assert client.session.qid(inode).type == kind


def test_replies_hold_no_more_than_msize_and_the_limit(client: Client) -> None:
    client.session.limit_replies(5000)
    assert client.session.data_bytes_max == 5000
    client.session.agree(4096, versioned=True)
    assert client.session.data_bytes_max == 4096 - 11


def test_nobody_need_be_told() -> None:
    ignore("event", {})


def test_fids_are_forgotten_in_portions_and_locks_at_once(client: Client) -> None:
    """A client that went with a million fids kept everybody waiting until all were clunked."""
    file = client.create(b"file")
    client.unlink(b"file")
    client.call(Tlock(file, LOCK_TYPE_WRLCK, 0, 0, 10, 1, b"host"))
    for _ in range(9):
        client.walk()
    count = len(client.session.fids)
    client.session.let_go()
    assert client.server.counters.locks == 0
    assert len(client.session.fids) == count
    assert not client.session.forget(count - 1)
    assert client.server.counters.fids == 1
    assert client.session.forget(count)
    client.server.verify()


def test_fids_of_all_are_limited_by_what_there_is_memory_for(client: Client) -> None:
    filesystem, counters = client.server.filesystem, client.server.counters
    bounded = session.Session(client.server.volumes, counters, fids_total_max=counters.fids + 1)
    attachment = Attachment(client.server.volumes.named[DEFAULT_NAME], filesystem.root, 0)
    bounded.put(1, Fid(filesystem.root, attachment))
    with pytest.raises(FileSystemError, match="ENFILE"):
        bounded.put(2, Fid(filesystem.root, attachment))
    bounded.close()


def test_writers_are_known_by_user(client: Client) -> None:
    file = client.create(b"file")
    inode = client.session.fids[file].inode
    again = client.open(b"file", flags=O_WRONLY)
    client.open(b"file")
    uid = client.session.fids[file].attachment.uid
    assert client.session.writes(inode, uid)
    assert not client.session.writes(inode, uid + 1)
    client.clunk(file)
    assert client.session.writes(inode, uid)
    client.clunk(again)
    assert not client.session.writes(inode, uid)


def test_who_waits_is_looked_at_once_when_a_client_goes(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two thousand owners of locks gone, a thousand that waited were looked at as often."""
    file = client.create(b"file")
    for process in range(20):
        client.lock(file, start=process, length=1, process=process)
    woken: list[tuple[int, int]] = []
    monkeypatch.setattr(
        WaitingLocks, "wake", lambda _self, _inode, start, last: woken.append((start, last))
    )
    client.session.let_go()
    assert woken == [(0, OFFSET_MAX)]
    assert client.server.counters.locks == 0
    client.server.verify()
