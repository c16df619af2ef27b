"""Directories of a million entries, and ten thousand of them below each other.

What is counted is work: names that a listing passes by, lines that a lookup runs. Every day
there are fewer entries than where RAM9_KERNEL_FULL is 1.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from tests.client import GID, ROOT, Client, Server

from ram9.protocol.messages import DirectoryEntry, Tclunk, Tlcreate, Tmkdir, Tunlinkat, Twalk
from ram9.storage.directories import Entries
from ram9.storage.inodes import Inode
from ram9.storage.limits import Limits

FULL: Final = os.environ.get("RAM9_KERNEL_FULL") == "1"
MANY: Final = 1_000_000 if FULL else 20_000
DEEP: Final = 10_000
LIMITS: Final = Limits(size_bytes=2 << 30, inodes=MANY + DEEP + 10)
PASSED_MAX: Final = 3  # names passed by for each name listed, whatever is removed meanwhile
REPLY_BYTES: Final = 100_000
LISTINGS: Final = 500  # of a directory that is listed from the beginning again and again


@pytest.fixture
def server() -> Server:
    return Server(LIMITS)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many names each listing passed by, those that are gone included."""
    counts: list[int] = []

    class CountingNames(list[bytes]):
        def __getitem__(self, index: Any) -> Any:
            counts[-1] += 1
            return super().__getitem__(index)

    after = Entries.after

    def counted(entries: Entries[Inode], cookie: int) -> Iterator[tuple[int, bytes, Inode]]:
        counts.append(0)
        names, entries._names = entries._names, CountingNames(entries._names)
        try:
            yield from after(entries, cookie)
        finally:
            entries._names = names

    monkeypatch.setattr(Entries, "after", counted)
    return counts


def fill(client: Client, count: int, first: int = 0) -> None:
    """Make files, which are called by their numbers from *first* to below *count*."""
    for number in range(first, count):
        client.call(Twalk(ROOT, 1, ()))
        client.call(Tlcreate(1, b"%d" % number, 0, 0o644, GID))
        client.call(Tclunk(1))


def listing(
    client: Client,
    fid: int,
    step: Callable[[list[DirectoryEntry]], int],
    reply_bytes: int = REPLY_BYTES,
) -> list[bytes]:
    """All names; *step* is told each reply and says where to go on."""
    names: list[bytes] = []
    cookie = 0
    while entries := client.readdir(fid, cookie, reply_bytes):
        named = [entry for entry in entries if entry.name not in (b".", b"..")]
        if not named:
            break
        names += [entry.name for entry in named]
        cookie = step(named)
    return names


def remove(client: Client, entries: list[DirectoryEntry]) -> None:
    for entry in entries:
        client.call(Tunlinkat(ROOT, entry.name, 0))


def test_listing_passes_by_each_name_once(server: Server, passed: list[int]) -> None:
    client = server.connect()
    fill(client, MANY)
    fid = client.open()
    names = listing(client, fid, lambda entries: entries[-1].offset)
    assert names == [b"%d" % number for number in range(MANY)]
    assert sum(passed) <= MANY + 2 * len(passed)


def test_removing_while_listing_misses_nothing(server: Server, passed: list[int]) -> None:
    client = server.connect()
    fill(client, MANY)

    def remove_and_go_on(entries: list[DirectoryEntry]) -> int:
        remove(client, entries)
        return entries[-1].offset

    names = listing(client, client.open(), remove_and_go_on)
    assert names == [b"%d" % number for number in range(MANY)]
    assert client.names() == []
    assert sum(passed) <= PASSED_MAX * MANY


def test_removing_and_beginning_anew_passes_by_nothing_that_is_gone(
    server: Server, passed: list[int]
) -> None:
    """A listing from the beginning passed by every name that had been removed before it: to empty
    a directory that way took steps as the square of its size.
    """
    client = server.connect()
    fill(client, MANY)

    def remove_and_begin_anew(entries: list[DirectoryEntry]) -> int:
        remove(client, entries)
        return 0

    names = listing(client, client.open(), remove_and_begin_anew, MANY * 30 // LISTINGS)
    assert names == [b"%d" % number for number in range(MANY)]
    assert sum(passed) <= PASSED_MAX * MANY


def steps_of(function: Callable[[], object]) -> int:
    """How many lines of Python *function* runs."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def test_looking_up_a_name_takes_no_longer_among_many(server: Server) -> None:
    client = server.connect()
    fill(client, 10)
    among_few = steps_of(lambda: client.exists(b"5"))
    fill(client, MANY, first=10)
    for number in 5, MANY // 2, MANY - 1:
        assert steps_of(lambda name=b"%d" % number: client.exists(name)) == among_few


def test_ten_thousand_directories_below_each_other(server: Server) -> None:
    client = server.connect()
    client.mkdir(b"top")
    client.mkdir(b"elsewhere")
    fid = client.walk(b"top")
    for _ in range(DEEP - 1):
        client.call(Tmkdir(fid, b"d", 0o755, GID))
        client.call(Twalk(fid, fid, (b"d",)))
    bottom = client.walk(fid=fid)
    client.make(b"file", b"far down", at=bottom)
    client.rename(b"top", b"moved", to=client.walk(b"elsewhere"))
    assert client.read(client.open(b"file", fid=bottom)) == b"far down"
    up = client.walk(fid=bottom)
    for _ in range(DEEP // 16):
        client.call(Twalk(up, up, (b"..",) * 16))
    client.call(Twalk(up, up, (b"..",) * (DEEP % 16)))
    assert client.getattr(up).qid == client.qid(b"elsewhere")
    below_the_root = client.walk(b"elsewhere")
    near = steps_of(lambda: client.names(fid=below_the_root))
    assert steps_of(lambda: client.names(fid=bottom)) == near
    client.unlink(b"file", at=bottom)
    for _ in range(DEEP - 1):
        client.call(Twalk(bottom, bottom, (b"..",)))
        client.rmdir(b"d", at=bottom)
    server.verify()
