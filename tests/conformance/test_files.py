"""Tlopen, Tlcreate, Tread, Twrite, Tfsync: open files and their bytes."""

import pytest
from tests.client import GID, ROOT, UID, Client, Server

from ram9.protocol.codec import Message
from ram9.protocol.constants import (
    O_APPEND,
    O_CREAT,
    O_DIRECT,
    O_DIRECTORY,
    O_EXCL,
    O_NOACCESS,
    O_NOFOLLOW,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
)
from ram9.protocol.messages import (
    Rread,
    Tfsync,
    Tlcreate,
    Tlopen,
    Tread,
    Treaddir,
    Twrite,
    Txattrcreate,
)
from ram9.storage.errors import Errno
from ram9.storage.limits import Limits

OPEN_FLAGS_OF_LINUX = [
    0o2101,  # ``>>`` of a file that is there
    0o4501,  # touch
    0o14002,  # what is left of O_SYNC|O_NONBLOCK|O_DIRECT|O_NOATIME|O_RDWR since 6.4
    0x8002,  # O_LARGEFILE
    O_DIRECT | O_RDWR,
    O_CREAT | O_EXCL | O_RDWR,
    O_NOFOLLOW | O_RDWR,
    0o27540002,  # all that means nothing to a server
]


# Open


@pytest.mark.parametrize("flags", OPEN_FLAGS_OF_LINUX, ids=oct)
def test_flags_that_mean_something_to_the_client_alone_are_ignored(
    client: Client, flags: int
) -> None:
    client.make(b"file", b"data")
    file = client.walk(b"file")
    assert client.call(Tlopen(file, flags)).iounit == 0
    assert client.write(file, b"more") == 4


def test_what_an_open_file_is_for_depends_on_its_flags_alone(client: Client) -> None:
    """T28: reading what was opened to be written is EBADF, whatever the mode allows."""
    client.make(b"file", b"data", mode=0o777)
    reader = client.open(b"file", flags=O_RDONLY)
    writer = client.open(b"file", flags=O_WRONLY)
    both = client.open(b"file", flags=O_RDWR)
    neither = client.open(b"file", flags=O_NOACCESS)
    assert client.refused(Twrite(reader, 0, b"x")) is Errno.EBADF
    assert client.refused(Tread(writer, 0, 1)) is Errno.EBADF
    assert client.refused(Twrite(neither, 0, b"x")) is Errno.EBADF
    assert client.refused(Tread(neither, 0, 1)) is Errno.EBADF
    assert client.write(writer, b"D") == client.write(both, b"a", 1) == 1
    assert client.read(reader) == client.read(both) == b"Data"


@pytest.mark.parametrize("request_", [Tread(5, 0, 1), Twrite(5, 0, b"x"), Treaddir(5, 0, 100)])
def test_what_is_not_open_cannot_be_used(client: Client, request_: Message) -> None:
    client.make(b"file")
    client.attach(5)
    assert client.refused(request_) is Errno.EBADF


def test_a_fid_is_opened_once(client: Client) -> None:
    file = client.create(b"file")
    assert client.refused(Tlopen(file, O_RDONLY)) is Errno.EBUSY
    assert client.refused(Tlcreate(file, b"x", 0, 0, 0)) is Errno.EBUSY
    directory = client.open()
    assert client.refused(Tlcreate(directory, b"x", 0, 0, 0)) is Errno.EBUSY


@pytest.mark.parametrize(
    "flags", [O_WRONLY, O_RDWR, O_NOACCESS, O_TRUNC, O_WRONLY | O_TRUNC], ids=oct
)
def test_a_directory_is_opened_to_be_read_only(client: Client, flags: int) -> None:
    assert client.refused(Tlopen(ROOT, flags)) is Errno.EISDIR


def test_a_directory_is_asked_for_and_given(client: Client) -> None:
    client.make(b"file")
    assert client.refused(Tlopen(client.walk(b"file"), O_DIRECTORY)) is Errno.ENOTDIR
    client.call(Tlopen(ROOT, O_DIRECTORY))


def test_a_symbolic_link_cannot_be_opened(client: Client) -> None:
    client.symlink(b"link", b"target")
    for flags in (O_RDONLY, O_NOFOLLOW):
        assert client.refused(Tlopen(client.walk(b"link"), flags)) is Errno.ELOOP
    # do_open looks at O_DIRECTORY before may_open looks at links (fs/namei.c).
    for flags in (O_DIRECTORY, O_DIRECTORY | O_NOFOLLOW):
        assert client.refused(Tlopen(client.walk(b"link"), flags)) is Errno.ENOTDIR


@pytest.mark.parametrize("kind", [0o010000, 0o140000, 0o020000, 0o060000], ids=oct)
def test_what_only_the_client_can_open_is_enxio(client: Client, kind: int) -> None:
    client.mknod(b"node", kind | 0o666, 1, 3)
    assert client.refused(Tlopen(client.walk(b"node"), O_RDWR)) is Errno.ENXIO


@pytest.mark.parametrize("flags", [O_TRUNC | O_WRONLY, O_TRUNC | O_RDWR, O_TRUNC], ids=oct)
def test_trunc_empties_the_file(client: Client, flags: int) -> None:
    client.make(b"file", b"x" * 5000)
    before = client.stat(b"file")
    after = client.getattr(client.open(b"file", flags=flags))
    assert (after.size, after.blocks) == (0, 0)
    assert after.mtime_s > before.mtime_s
    assert after.ctime_s > before.ctime_s
    assert after.data_version != before.data_version


def test_an_open_that_is_refused_empties_nothing(client: Client) -> None:
    client.make(b"file", b"data")
    flags = O_TRUNC | O_DIRECTORY | O_WRONLY
    assert client.refused(Tlopen(client.walk(b"file"), flags)) is Errno.ENOTDIR


# Create


def test_a_created_file_is_the_users_and_of_the_group_that_was_named(client: Client) -> None:
    before = client.getattr(ROOT)
    fid = client.walk()
    reply = client.call(Tlcreate(fid, b"file", 0x8042, 0o100644, 7))
    file, after = client.getattr(fid), client.getattr(ROOT)
    assert reply.iounit == 0
    assert file.qid == reply.qid == client.qid(b"file")
    assert (file.mode, file.uid, file.gid, file.nlink) == (0o100644, UID, 7, 1)
    assert (file.size, file.blocks, file.rdev) == (0, 0, 0)
    assert file.atime_s == file.mtime_s == file.ctime_s == file.btime_s == after.mtime_s
    assert after.mtime_s == after.ctime_s > before.mtime_s
    assert after.nlink == before.nlink


@pytest.mark.parametrize("mode", [0o100644, 0o644, 0xFFFF0000 | 0o644])
def test_only_the_permissions_of_a_mode_count(client: Client, mode: int) -> None:
    """Before Linux 6.4 the mode came with its type."""
    client.make(b"file", mode=mode)
    assert client.stat(b"file").mode == 0o100644


@pytest.mark.parametrize("mode", [0, 0o444, 0o400, 0o7777])
def test_a_created_file_is_open_for_what_was_asked_whatever_its_mode(
    client: Client, mode: int
) -> None:
    """T13: ``open(..., O_CREAT|O_RDWR, 0444)`` and then writing must work: git does it."""
    file = client.create(b"file", b"data", mode=mode)
    assert client.read(file) == b"data"
    client.setattr(file, 0x68, size=2)
    assert client.getattr(file).size == 2


@pytest.mark.parametrize("flags", [0x8041, 0x8042, 0o2101, 0o104101, O_WRONLY], ids=oct)
def test_the_flags_of_create_are_linuxs_own(client: Client, flags: int) -> None:
    """The flags of Tlcreate are not masked by any kernel: 0x8041 arrives."""
    file = client.create(b"file", flags=flags)
    assert client.write(file, b"data") == 4


def test_a_directory_fid_becomes_the_file(client: Client) -> None:
    client.mkdir(b"a")
    directory = client.walk(b"a")
    client.call(Tlcreate(directory, b"file", O_RDWR, 0o644, GID))
    assert client.refused(Treaddir(directory, 0, 100)) is Errno.ENOTDIR
    assert client.names(b"a") == [b"file"]


def test_an_existing_file_is_opened_as_it_is(client: Client) -> None:
    client.make(b"file", b"data", mode=0o600)
    before = client.stat(b"file")
    file = client.create(b"file", flags=O_RDWR | O_CREAT, mode=0o777)
    assert client.getattr(file) == before
    assert client.read(file) == b"data"


def test_an_existing_file_is_emptied_when_asked(client: Client) -> None:
    client.make(b"file", b"data", mode=0o600)
    file = client.create(b"file", flags=O_RDWR | O_TRUNC, mode=0o777)
    assert client.getattr(file).size == 0
    assert client.getattr(file).mode == 0o100600


def test_an_existing_file_is_not_created_exclusively(client: Client) -> None:
    client.make(b"file", b"data")
    flags = O_RDWR | O_EXCL | O_TRUNC
    assert client.refused(Tlcreate(ROOT, b"file", flags, 0o644, GID)) is Errno.EEXIST


@pytest.mark.parametrize(
    ("name", "flags", "errno"),
    [
        (b"", 2, Errno.ENOENT),
        (b".", 2, Errno.EEXIST),
        (b"..", 2, Errno.EEXIST),
        (b"a/b", 2, Errno.EINVAL),
        (b"a\0b", 2, Errno.EINVAL),
        (b"n" * 256, 2, Errno.ENAMETOOLONG),
        (b"link", 2, Errno.ELOOP),
        (b"link", O_EXCL, Errno.EEXIST),
        (b"directory", 2, Errno.EISDIR),
        (b"directory", 0, Errno.EISDIR),
        (b"fifo", 2, Errno.ENXIO),
        (b"file", O_DIRECTORY, Errno.ENOTDIR),
    ],
)
def test_what_cannot_be_created_is_refused(
    client: Client, name: bytes, flags: int, errno: Errno
) -> None:
    client.symlink(b"link", b"target")
    client.mkdir(b"directory")
    client.mknod(b"fifo", 0o010644)
    client.make(b"file")
    assert client.refused(Tlcreate(ROOT, name, flags, 0o644, GID)) is errno


def test_nothing_is_created_in_what_is_no_directory(client: Client) -> None:
    client.make(b"file")
    file = client.walk(b"file")
    assert client.refused(Tlcreate(file, b"x", 2, 0o644, GID)) is Errno.ENOTDIR


def test_nothing_is_created_in_a_removed_directory(client: Client) -> None:
    client.mkdir(b"a")
    directory = client.walk(b"a")
    client.rmdir(b"a")
    assert client.refused(Tlcreate(directory, b"x", 2, 0o644, GID)) is Errno.ENOENT


def test_a_fid_of_an_attribute_creates_nothing(client: Client) -> None:
    """What was written of the attribute would be forgotten, and its bytes counted for ever."""
    writer = client.writer(ROOT, b"user.a", 4)
    client.write(writer, b"data")
    assert client.refused(Tlcreate(writer, b"x", 2, 0o644, GID)) is Errno.EBUSY


def test_no_object_is_left_behind_when_the_inodes_are_used_up() -> None:
    """T21: ENOSPC is decided before anything changes."""
    server = Server(Limits(size_bytes=1 << 20, inodes=3))
    client = server.connect()
    client.make(b"one")
    client.make(b"two")
    assert client.refused(Tlcreate(ROOT, b"three", 2, 0o644, GID)) is Errno.ENOSPC
    assert client.statfs().ffree == 0
    client.unlink(b"one")
    assert client.statfs().ffree == 1
    client.make(b"three")
    server.verify()


# Read


def test_reading_gives_what_is_there(client: Client) -> None:
    file = client.create(b"file", b"0123456789")
    assert client.read(file, 0, 100) == b"0123456789"
    assert client.read(file, 3, 4) == b"3456"
    assert client.read(file, 8, 4) == b"89"
    assert client.read(file, 0, 0) == b""


@pytest.mark.parametrize("offset", [10, 11, 1 << 40, 2**63 - 1, 2**63, 2**64 - 1])
def test_reading_behind_the_end_gives_no_bytes(client: Client, offset: int) -> None:
    file = client.create(b"file", b"0123456789")
    assert client.read(file, offset, 0xFFFFFFFF) == b""


def test_a_hole_reads_as_zeros(client: Client) -> None:
    file = client.create(b"file")
    client.write(file, b"end", 5000)
    assert client.read(file) == bytes(5000) + b"end"
    assert client.getattr(file).blocks == 1


@pytest.mark.parametrize("msize", [4096, 8192, 65536])
def test_no_reply_is_larger_than_msize(server: Server, msize: int) -> None:
    """T4: what is longer than the client's buffer ends its mount."""
    client = server.connect(msize=msize)
    file = client.create(b"file")
    for offset in range(0, 100_000, 4000):
        client.write(file, b"x" * 4000, offset)
    assert len(client.read(file, 0, 100_000)) == msize - 11
    assert len(client.read(file, 0, 0xFFFFFFFF)) == msize - 11


def test_after_a_smaller_msize_replies_are_smaller(client: Client) -> None:
    """T24: a second Tversion may lower msize; reads were as long as the first one allowed."""
    client.make(b"file", b"x" * 50_000)
    client.version(4096)
    client.attach(ROOT)
    file = client.open(b"file")
    assert len(client.read(file, 0, 50_000)) == 4096 - 11


def test_a_directory_is_not_read(client: Client) -> None:
    assert client.refused(Tread(client.open(), 0, 100)) is Errno.EISDIR


def test_reading_is_noted_once_after_a_change(client: Client) -> None:
    file = client.create(b"file", b"data")
    written = client.getattr(file)
    client.read(file)
    first = client.getattr(file)
    client.read(file)
    assert first.atime_s > written.atime_s
    assert (first.mtime_s, first.ctime_s) == (written.mtime_s, written.ctime_s)
    assert client.getattr(file).atime_s == first.atime_s


def test_a_large_read_is_a_view_of_the_file(client: Client) -> None:
    file = client.create(b"file", b"x" * 100_000)
    reply = client.call(Tread(file, 0, 100_000))
    assert isinstance(reply, Rread)
    assert bytes(reply.data) == b"x" * 100_000


# Write


def test_writing_changes_what_it_covers_and_the_times(client: Client) -> None:
    file = client.create(b"file", b"0123456789")
    before = client.getattr(file)
    assert client.write(file, b"ab", 3) == 2
    after = client.getattr(file)
    assert client.read(file) == b"012ab56789"
    assert after.mtime_s == after.ctime_s > before.mtime_s
    assert after.atime_s == before.atime_s
    assert after.data_version != before.data_version


@pytest.mark.parametrize("offset", [0, 100, 2**64 - 1])
def test_writing_no_bytes_changes_nothing(client: Client, offset: int) -> None:
    """T1: only no bytes are answered by 0."""
    file = client.create(b"file", b"data", mode=0o4755)
    with client.server.unchanged():
        assert client.write(file, b"", offset) == 0


def test_a_full_volume_takes_what_fits_and_then_refuses() -> None:
    """T1, T21: a Linux client that is told that nothing was written asks again for ever."""
    server = Server(Limits(size_bytes=64 << 10, inodes=10))
    client = server.connect()
    file = client.create(b"file")
    written = client.write(file, b"x" * 100_000)
    assert 0 < written < 64 << 10
    assert client.refused(Twrite(file, written, b"x" * 100)) is Errno.ENOSPC
    assert client.getattr(file).size == written
    assert client.statfs().bfree == 0
    client.setattr(file, 0x8, size=0)
    assert client.statfs().bfree > 12
    server.verify()


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, 2**64 - 1])
def test_no_file_is_longer_than_an_offset_can_say(client: Client, offset: int) -> None:
    """T18: offset and count must not overflow when they are added."""
    file = client.create(b"file")
    assert client.refused(Twrite(file, offset, b"xx")) is Errno.EFBIG


def test_a_write_across_the_largest_size_is_cut(client: Client) -> None:
    """T1: part of it first; then EFBIG, and never 0."""
    server = Server(Limits(size_bytes=1 << 20, inodes=10, file_bytes=1000))
    client = server.connect()
    file = client.create(b"file")
    assert client.write(file, b"x" * 20, 990) == 10
    assert client.refused(Twrite(file, 1000, b"x")) is Errno.EFBIG
    server.verify()


def test_what_was_cut_off_is_gone(client: Client) -> None:
    file = client.create(b"file", b"x" * 1000)
    client.setattr(file, 0x8, size=10)
    client.setattr(file, 0x8, size=1000)
    assert client.read(file) == b"x" * 10 + bytes(990)


def test_nobody_reads_what_another_file_left_behind(client: Client) -> None:
    client.make(b"secret", b"S" * 100_000)
    client.unlink(b"secret")
    file = client.create(b"file")
    for offset in range(100, 100_000, 1000):
        client.write(file, b"x", offset)
    assert b"S" not in client.read(file)


def test_append_goes_to_the_end_whatever_the_offset(client: Client, other: Client) -> None:
    """T11: a client's idea of the end may be old."""
    client.make(b"log")
    one = client.open(b"log", flags=O_WRONLY | O_APPEND)
    two = other.open(b"log", flags=0o2101)
    client.write(one, b"one ", 0)
    other.write(two, b"two ", 0)
    client.write(one, b"three", 2**64 - 1)
    assert client.read(client.open(b"log")) == b"one two three"


def test_append_with_reading_goes_where_the_offset_says(client: Client) -> None:
    """T11: a caching client writes whole pages back through such a fid: appended, they double."""
    client.make(b"log", b"0123456789")
    file = client.open(b"log", flags=O_RDWR | O_APPEND)
    client.write(file, b"ab", 0)
    assert client.read(file) == b"ab23456789"
    created = client.create(b"new", flags=0o2102)
    client.write(created, b"xy", 5)
    assert client.getattr(created).size == 7


def test_a_write_by_another_user_than_root_takes_privileges_away(client: Client) -> None:
    file = client.create(b"file", mode=0o6755)
    client.write(file, b"x")
    assert client.getattr(file).mode == 0o100755


def test_set_group_id_of_what_is_no_program_stays(client: Client) -> None:
    file = client.create(b"file", mode=0o6745)
    client.write(file, b"x")
    assert client.getattr(file).mode == 0o102745


def test_a_write_by_root_leaves_privileges(root: Client) -> None:
    file = root.create(b"file", b"x", mode=0o6755)
    assert root.getattr(file).mode == 0o106755


def test_a_write_that_is_refused_leaves_privileges(client: Client) -> None:
    """T21: they were taken away before it was known whether there is room."""
    file = client.create(b"file", mode=0o6755)
    assert client.refused(Twrite(file, 2**63 - 1, b"xx")) is Errno.EFBIG
    assert client.getattr(file).mode == 0o106755


def test_writers_of_one_file_do_not_mix(client: Client, other: Client) -> None:
    """T22: each write and truncation is whole, whoever else works on the file."""
    client.make(b"file")
    one, two = client.open(b"file", flags=O_RDWR), other.open(b"file", flags=O_RDWR)
    client.write(one, b"1" * 5000)
    other.write(two, b"2" * 5000, 2500)
    client.setattr(one, 0x8, size=3000)
    other.write(two, b"3" * 10, 2995)
    assert client.read(one) == b"1" * 2500 + b"2" * 495 + b"3" * 10


# Open and unlinked


def test_an_unlinked_file_lives_while_it_is_open(client: Client, other: Client) -> None:
    """T6: there is no silly rename; reading, writing, stat and all the rest go on."""
    file = client.create(b"file", b"data")
    number = client.getattr(file).qid.path
    other.unlink(b"file")
    assert not client.exists(b"file")
    assert client.read(file) == b"data"
    assert client.write(file, b"more", 4) == 4
    client.setattr(file, 0x68, size=6)
    client.setattr(file, 0x41, mode=0o100600)
    client.setattr(file, 0x1F0, atime_s=1, mtime_s=2)
    client.setxattr(file, b"user.a", b"value")
    found = client.getattr(file)
    assert (found.nlink, found.size, found.mode, found.mtime_s) == (0, 6, 0o100600, 2)
    assert found.qid.path == number
    assert client.getxattr(file, b"user.a") == b"value"
    client.call(Tfsync(file, 0))


def test_a_file_that_another_was_renamed_over_lives_while_it_is_open(client: Client) -> None:
    """T6"""
    file = client.create(b"file", b"old")
    client.make(b"new", b"new")
    client.rename(b"new", b"file")
    assert client.read(file) == b"old"
    assert client.getattr(file).nlink == 0
    assert client.read(client.open(b"file")) == b"new"


def test_an_unlinked_file_is_counted_until_the_last_fid_of_anybody(
    client: Client, other: Client
) -> None:
    """T21"""
    before = client.statfs()
    file = client.create(b"file", b"x" * 50_000)
    also = other.open(b"file")
    client.unlink(b"file")
    client.clunk(file)
    assert client.statfs().bfree < before.bfree
    assert other.read(also) == b"x" * 50_000
    other.clunk(also)
    assert client.statfs() == before


# Fsync


@pytest.mark.parametrize("datasync", [0, 1, 2**32 - 1])
def test_anything_can_be_synced(client: Client, datasync: int) -> None:
    client.make(b"file")
    for fid in (client.open(), client.open(b"file"), client.walk(b"file")):
        with client.server.unchanged():
            client.call(Tfsync(fid, datasync))


def test_an_attribute_cannot_be_opened(client: Client) -> None:
    fid = client.walk()
    client.call(Txattrcreate(fid, b"user.a", 0, 0))
    assert client.refused(Tlopen(fid, O_RDONLY)) is Errno.EBUSY
