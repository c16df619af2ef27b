"""What Linux 5.15, 6.1 and 6.12 send that newer ones do not, as the bytes that they send.

Which kernel does what is known from the history of net/9p and fs/9p; what a kernel that is named
here sends is in its client.c.
"""

import struct
from typing import Any

import pytest
from tests.client import GID, ROOT, Client, Server, messages_of
from tests.conformance.kernel_frames import request

from ram9.protocol.constants import NOFID, NONUNAME, NOTAG
from ram9.protocol.messages import (
    Rattach,
    Rclunk,
    Rflush,
    Rfsync,
    Rgetattr,
    Rgetlock,
    Rlcreate,
    Rlerror,
    Rlopen,
    Rread,
    Rreaddir,
    Rremove,
    Rrename,
    Rsetattr,
    Rwalk,
    Rwrite,
    Rxattrcreate,
    Rxattrwalk,
    decode_entries,
)
from ram9.storage.errors import Errno

O_RDWR_APPEND = 0o2002
LARGEFILE = 0o100000  # set by every open(2) of a 64-bit program, and sent before 6.4
DEFAULT_MSIZES = {"5.14": 8192, "5.15": 131072, "6.4": 131096}
TCP_MSIZES = {"5.14": 65536, "5.15": 1048576}


def ask(client: Client, name: str, letters: str, *values: object) -> Any:
    return client.exchange(request(name, 5, letters, *values), 5)


def walk(client: Client, fid: int, newfid: int, *names: bytes) -> Any:
    return ask(client, "Twalk", "ddT", fid, newfid, list(names))


def mounted(server: Server, msize: int) -> Client:
    """A client that mounted as every Linux does: as nobody, then as root by number."""
    client = server.stranger()
    client.exchange(request("Tversion", NOTAG, "ds", msize, b"9P2000.L"), NOTAG)
    attach = request("Tattach", 0, "ddssd", 0, NOFID, b"nobody", b"", NONUNAME)
    assert isinstance(client.exchange(attach, 0), Rattach)
    assert isinstance(ask(client, "Tattach", "ddssd", 1, NOFID, b"", b"", 0), Rattach)
    return client


@pytest.mark.parametrize("msize", [*DEFAULT_MSIZES.values(), *TCP_MSIZES.values()])
def test_every_default_and_largest_message_size_is_agreed_on(server: Server, msize: int) -> None:
    sent = struct.pack("<IBHIH8s", 21, 100, NOTAG, msize, 8, b"9P2000.L")
    answered = server.stranger().send(sent)
    assert answered == struct.pack("<IBHIH8s", 21, 101, NOTAG, msize, 8, b"9P2000.L")


@pytest.mark.parametrize("msize", [4096, *DEFAULT_MSIZES.values()])
def test_no_reply_is_as_long_as_msize(server: Server, client: Client, msize: int) -> None:
    """Up to 6.0, trans_fd.c refused a frame of msize bytes or more, and with it the connection."""
    client.make(b"file", bytes(2 * msize))
    for number in range(msize // 200 + 5):
        client.make(b"%05d " % number + b"n" * 180)
    old = mounted(server, msize)
    for kind, fid, names in ("Tread", 2, [b"file"]), ("Treaddir", 3, []):
        walk(old, 1, fid, *names)
        ask(old, "Tlopen", "dd", fid, LARGEFILE)
        answered = old.send(request(kind, 9, "dqd", fid, 0, msize - 24))
        assert msize - 24 - 300 < len(answered) < msize


def test_an_open_fid_is_cloned_and_worked_on(client: Client) -> None:
    """5.11 to 5.16.7 look for a fid of an inode among the open ones first, and walk, stat, change
    and list attributes from what they find; servers that refused had to be worked around."""
    client.make(b"file", b"content")
    walk(client, ROOT, 1, b"file")
    assert isinstance(ask(client, "Tlopen", "dd", 1, LARGEFILE | 2), Rlopen)
    assert isinstance(walk(client, 1, 2), Rwalk)
    assert isinstance(ask(client, "Tlopen", "dd", 2, LARGEFILE), Rlopen)
    assert bytes(ask(client, "Tread", "dqd", 2, 0, 100).data) == b"content"
    assert isinstance(ask(client, "Tgetattr", "dq", 1, 0x17FF), Rgetattr)
    truncate = ask(client, "Tsetattr", "ddddd" + "q" * 5, 1, 0x68, 0, 0, 0, 3, 0, 0, 0, 0)
    assert isinstance(truncate, Rsetattr)
    assert isinstance(ask(client, "Txattrwalk", "dds", 1, 3, b""), Rxattrwalk)
    assert isinstance(walk(client, 1, 4), Rwalk)
    created = ask(client, "Txattrcreate", "dsqd", 4, b"user.a", 0, 0)
    assert isinstance(created, Rxattrcreate)
    assert isinstance(ask(client, "Tclunk", "d", 4), Rclunk)
    assert bytes(ask(client, "Tread", "dqd", 1, 0, 100).data) == b"con"


def test_names_are_walked_from_an_open_directory(client: Client) -> None:
    client.mkdir(b"folder")
    client.make(b"file", at=client.walk(b"folder"))
    walk(client, ROOT, 1, b"folder")
    assert isinstance(ask(client, "Tlopen", "dd", 1, 0o200000 | LARGEFILE), Rlopen)
    assert len(walk(client, 1, 2, b"file").wqid) == 1
    assert isinstance(ask(client, "Treaddir", "dqd", 1, 0, 8168), Rreaddir)


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (LARGEFILE | 0o2000000, "O_CLOEXEC"),
        (LARGEFILE | 0o1000000, "O_NOATIME"),
        (LARGEFILE | 0o400000, "O_NOFOLLOW"),
        (LARGEFILE | 0o40000, "O_DIRECT"),
        (LARGEFILE | 0o4010000, "O_SYNC"),
        (LARGEFILE | 0o20000, "O_ASYNC"),
        (LARGEFILE | 0o4000 | 0o400, "O_NONBLOCK and O_NOCTTY"),
        (LARGEFILE | 0o2101, "what the shell's >> opens a file with that exists"),
        (LARGEFILE | 0o4501, "what touch opens a file with that exists"),
    ],
)
def test_all_flags_of_open_arrive(client: Client, flags: int, what: str) -> None:
    """6.4 began to mask them (P9L_MODE_MASK): before, programs' own flags came through."""
    client.make(b"file", b"content")
    fid = client.walk(b"file")
    assert isinstance(ask(client, "Tlopen", "dd", fid, flags), Rlopen), what
    assert client.stat(b"file").size == 7


def test_a_created_file_has_its_type_in_the_mode(client: Client) -> None:
    """Before 6.4 Tlcreate says S_IFREG | mode, as its callers got it from the VFS."""
    fid = client.walk()
    flags = LARGEFILE | 0o1102
    reply = ask(client, "Tlcreate", "dsddd", fid, b"new", flags, 0o100640, GID)
    assert isinstance(reply, Rlcreate)
    assert client.stat(b"new").mode == 0o100640
    assert isinstance(ask(client, "Twrite", "dqV", fid, 0, b"data"), Rwrite)


def test_pages_are_written_back_at_their_places_in_a_file_open_to_append(client: Client) -> None:
    """6.4 to 6.12.62 with cache=mmap open a file for >> to read, write and append, and write whole
    pages back at their own offsets; a server that appends those doubles the file. 7.2 still does
    so where the program itself asked for O_RDWR | O_APPEND."""
    client.make(b"log", b"first line\n")
    fid = client.walk(b"log")
    ask(client, "Tlopen", "dd", fid, O_RDWR_APPEND)
    page = b"first line\nsecond line\n"
    assert ask(client, "Twrite", "dqV", fid, 0, page).count == len(page)
    assert client.read(fid) == page


def test_a_file_that_is_only_appended_to_grows_at_its_end(client: Client) -> None:
    """Without a cache all kernels leave O_WRONLY | O_APPEND, and their offset may be old."""
    client.make(b"log", b"first\n")
    fid = client.walk(b"log")
    ask(client, "Tlopen", "dd", fid, LARGEFILE | 0o2001)
    client.write(client.open(b"log", flags=1), b"from another\n", 6)
    assert ask(client, "Twrite", "dqV", fid, 6, b"second\n").count == 7
    assert client.read(client.open(b"log")) == b"first\nfrom another\nsecond\n"


def test_pages_are_written_one_by_one_and_the_last_ends_with_the_file(client: Client) -> None:
    """Up to 6.7 v9fs_vfs_writepage sends each page by itself, in any order."""
    fid = client.create(b"file")
    data = bytes(range(256)) * 40
    for start in 8192, 0, 4096:
        page = data[start : start + 4096]
        assert ask(client, "Twrite", "dqV", fid, start, page).count == len(page)
    assert client.read(fid) == data


@pytest.mark.parametrize("offset", [7, 8, 4096, 1 << 40])
def test_reading_at_the_end_and_behind_it_gives_no_bytes(client: Client, offset: int) -> None:
    """6.8 to 6.11.1 read on behind the end of a file until they get nothing."""
    fid = client.create(b"file", b"content")
    assert bytes(ask(client, "Tread", "dqd", fid, offset, 131072).data) == b""


@pytest.mark.parametrize("mask", [0x7FF, 0x17FF, 0x3FFF])
def test_all_basic_attributes_come_whatever_is_asked_for(client: Client, mask: int) -> None:
    """A kernel that gets fewer than P9_STATS_BASIC leaves what is missing as it was."""
    reply = ask(client, "Tgetattr", "dq", ROOT, mask)
    assert isinstance(reply, Rgetattr)
    assert reply.valid & 0x7FF == 0x7FF
    assert reply.valid & ~0x7FF & ~mask == 0


def test_fsync_without_datasync(client: Client) -> None:
    """Before 2.6.38 Tfsync was a fid and nothing else; the kernel sends datasync since."""
    fid = client.create(b"file")
    assert isinstance(ask(client, "Tfsync", "d", fid), Rfsync)
    assert isinstance(ask(client, "Tfsync", "dd", fid, 1), Rfsync)


def test_rename_as_it_was_before_renameat(client: Client) -> None:
    """Before 3.1, and wherever a server refuses Trenameat with EOPNOTSUPP."""
    client.make(b"old", b"content")
    client.mkdir(b"folder")
    file, folder = client.walk(b"old"), client.walk(b"folder")
    assert isinstance(ask(client, "Trename", "dds", file, folder, b"new"), Rrename)
    assert client.names(b"folder") == [b"new"]
    assert client.names() == [b"folder"]
    assert isinstance(ask(client, "Trename", "dds", file, ROOT, b"back"), Rrename)
    assert sorted(client.names()) == [b"back", b"folder"]


def test_remove_as_it_was_before_unlinkat(client: Client) -> None:
    """Before 3.1, and wherever a server refuses Tunlinkat with EOPNOTSUPP: on a clone."""
    client.mkdir(b"folder")
    client.make(b"file")
    for name in b"folder", b"file":
        walk(client, ROOT, 1, name)
        walk(client, 1, 2)
        assert isinstance(ask(client, "Tremove", "d", 2), Rremove)
        assert isinstance(ask(client, "Tclunk", "d", 1), Rclunk)
        assert ask(client, "Tclunk", "d", 2) == Rlerror(Errno.EBADF)
    assert client.names() == []


def test_a_walk_that_found_too_little_is_clunked_all_the_same(client: Client) -> None:
    """p9_client_walk sends Tclunk for a newfid that the walk did not make."""
    client.mkdir(b"folder")
    assert len(walk(client, ROOT, 1, b"folder", b"absent", b"more").wqid) == 1
    assert ask(client, "Tclunk", "d", 1) == Rlerror(Errno.EBADF)
    assert isinstance(walk(client, ROOT, 1, b"folder"), Rwalk)


def test_a_fid_that_a_kernel_lost_is_used_again(client: Client) -> None:
    """Several kernels forget a fid when a signal ends their walk, and take its number again."""
    client.make(b"one", b"1")
    client.make(b"two", b"2")
    walk(client, ROOT, 1, b"one")
    ask(client, "Tlopen", "dd", 1, LARGEFILE)
    assert isinstance(walk(client, ROOT, 1, b"two"), Rwalk)
    ask(client, "Tlopen", "dd", 1, LARGEFILE)
    assert bytes(ask(client, "Tread", "dqd", 1, 0, 9).data) == b"2"
    assert client.server.counters.protocol_errors["fid in use"] == 1


def test_a_request_is_answered_before_its_flush(client: Client) -> None:
    """A killed process flushes its walk; a reply that comes first is used, fid and all."""
    client.make(b"file")
    frames = request("Twalk", 7, "ddT", ROOT, 1, [b"file"]) + request("Tflush", 8, "w", 7)
    answered = messages_of(client.send(frames))
    assert [(type(reply), tag) for reply, tag in answered] == [(Rwalk, 7), (Rflush, 8)]
    assert isinstance(ask(client, "Tclunk", "d", 1), Rclunk)


def test_a_listing_of_8192_bytes_goes_on_from_its_last_entry(server: Server, root: Client) -> None:
    """What 5.14 and older ask for by default, and what they use: the cookie of the last entry
    that they gave to the program, which need not be the last one that came."""
    names = [b"%04d " % number + b"name" * 20 for number in range(300)]
    for name in names:
        root.make(name)
    old = mounted(server, 8192)
    walk(old, 1, 2)
    ask(old, "Tlopen", "dd", 2, 0o304000)
    seen: list[bytes] = []
    offset = 0
    while entries := decode_entries(ask(old, "Treaddir", "dqd", 2, offset, 8168).data):
        used = entries[: max(len(entries) - 3, 1)]
        seen += [entry.name for entry in used]
        offset = used[-1].offset
    assert seen == [b".", b"..", *names]


def test_a_lock_is_asked_for_by_the_type_unlck(client: Client, other: Client) -> None:
    """All kernels send F_UNLCK in Tgetlock whatever fcntl(2) asked (v9fs_file_getlock)."""
    client.make(b"file")
    fid = client.open(b"file", flags=2)
    held = ask(client, "Tlock", "dbdqqds", fid, 1, 1, 10, 5, 77, b"one")
    assert held.status == 0
    other_fid = other.open(b"file", flags=2)
    found = ask(other, "Tgetlock", "dbqqds", other_fid, 2, 0, 0, 78, b"two")
    assert found == Rgetlock(1, 10, 5, 77, b"one")
    assert ask(client, "Tlock", "dbdqqds", fid, 2, 0, 0, 0, 99, b"one").status == 0
    assert ask(other, "Tgetlock", "dbqqds", other_fid, 2, 0, 0, 78, b"two").type == 1


def test_reads_are_no_longer_than_asked_for(client: Client) -> None:
    """Up to 6.0 replies had a buffer of msize; since, one of what was asked for: a longer reply
    ends the connection (net/9p/trans_fd.c)."""
    fid = client.create(b"file", bytes(100_000))
    for count in 1, 512, 4072, 65536:
        reply = ask(client, "Tread", "dqd", fid, 0, count)
        assert isinstance(reply, Rread)
        assert len(reply.data) == count
