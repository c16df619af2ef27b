"""Tgetattr, Tsetattr, Tstatfs: what stat, chmod, chown, utimensat, truncate and df see."""

import itertools
from collections.abc import Callable

import pytest
from tests.client import GID, NS, ROOT, UID, Client, Server, set_attributes

from ram9.protocol.constants import (
    NONUNAME,
    O_RDONLY,
    O_TRUNC,
    O_WRONLY,
    SETATTR_ATIME,
    SETATTR_CTIME,
    SETATTR_MTIME,
    V9FS_MAGIC,
)
from ram9.protocol.messages import Rstatfs, Rwrite, Tgetattr, Tlopen, Tmkdir, Tsetattr, Twrite
from ram9.storage.errors import Errno
from ram9.storage.limits import DENTRY_BYTES, DIRECTORY_BYTES, FILE_BYTES, INODE_BYTES, Limits
from ram9.storage.permissions import Credentials

# Getattr


@pytest.mark.parametrize("mask", [0, 0x1, 0x17FF, 0x3FFF, 2**64 - 1])
def test_all_basic_attributes_are_given_whatever_is_asked_for(client: Client, mask: int) -> None:
    """T9: Linux takes the basic ones only together, and a mode without its type is a bad one."""
    client.make(b"file", b"x" * 1000, mode=0o640)
    found = client.call(Tgetattr(client.walk(b"file"), mask))
    assert found.valid == mask & 0x3FFF | 0x7FF
    assert (found.mode, found.uid, found.gid, found.nlink) == (0o100640, UID, GID, 1)
    assert (found.size, found.blocks, found.blksize, found.rdev) == (1000, 2, 4096, 0)
    assert found.gen == 0


def test_links_of_what_has_a_name_are_never_none(client: Client) -> None:
    """T9: Linux takes an inode without links for a deleted one."""
    client.make(b"file")
    client.mkdir(b"directory")
    client.symlink(b"link", b"x")
    client.mknod(b"fifo", 0o010600)
    for name in client.names():
        assert client.stat(name).nlink >= 1
        assert client.stat(name).mode >> 12
    assert client.getattr(ROOT).nlink == 3


@pytest.mark.parametrize("client_cache", [False, True])
def test_a_client_keeps_data_only_where_it_may(*, client_cache: bool) -> None:
    """A version of 0 tells Linux to keep no data. With another, Linux 7.2 took what was appended to
    a file for a hole once it left the cache: a database on a mount with cache=mmap read zeros, and
    wrote them back. Everything but files is counted either way."""
    server = Server(client_cache=client_cache)
    client = server.connect()
    file = client.create(b"file", b"0123456789")
    client.mkdir(b"directory")
    client.write(file, b"more", 10)
    told = client.getattr(file)
    assert told.qid.version == (told.data_version if client_cache else 0)
    assert client.stat(b"directory").qid.version > 0
    listed = {entry.name: entry.qid for entry in client.readdir(client.open())}
    assert listed[b"file"] == told.qid
    assert listed[b"directory"] == client.stat(b"directory").qid


def test_a_hole_takes_no_blocks(client: Client) -> None:
    file = client.create(b"file")
    client.setattr(file, 0x8, size=1 << 40)
    assert (client.getattr(file).size, client.getattr(file).blocks) == (1 << 40, 0)
    client.write(file, b"x", 1 << 39)
    assert client.getattr(file).blocks == 1


# Chmod


@pytest.mark.parametrize("mode", [0o100755, 0o755, 0o040755, 0xFFFFF000 | 0o755])
def test_chmod_changes_the_permissions_alone(client: Client, mode: int) -> None:
    """Linux sends MODE|CTIME (0x41), and the mode with its type."""
    client.make(b"file", b"data")
    before = client.stat(b"file")
    client.setattr(client.walk(b"file"), 0x41, mode=mode)
    after = client.stat(b"file")
    assert after.mode == 0o100755
    assert after.ctime_s > before.ctime_s
    assert (after.mtime_s, after.atime_s) == (before.mtime_s, before.atime_s)
    assert after.qid == before.qid


def test_special_bits_are_kept(client: Client) -> None:
    client.setattr(ROOT, 0x41, mode=0o047777)
    assert client.getattr(ROOT).mode == 0o047777


def test_a_symbolic_link_has_no_permissions_to_change(client: Client) -> None:
    client.symlink(b"link", b"x")
    link = client.walk(b"link")
    assert client.refused(set_attributes(link, 0x41, mode=0o777)) is Errno.EOPNOTSUPP
    client.setattr(link, 0x46, uid=1, gid=2)
    client.setattr(link, 0x1F0, atime_s=3, mtime_s=4)
    found = client.getattr(link)
    assert (found.uid, found.gid, found.atime_s, found.mtime_s) == (1, 2, 3, 4)


def test_anybody_may_take_privileges_away(client: Client, other: Client) -> None:
    """T14: a writer's client sends MODE (0x1) with the bits removed before it writes."""
    client.make(b"file", b"data", mode=0o6777)
    file = other.open(b"file", flags=2)
    other.setattr(file, 0x1, mode=0o100777)
    assert other.write(file, b"x") == 1
    other.setattr(file, 0x69, mode=0o100770, size=2)
    found = other.getattr(file)
    assert (found.mode, found.size) == (0o100770, 2)


def test_nothing_named_is_nothing_changed(client: Client) -> None:
    """T14: valid 0 is what Linux sends to take a capability away."""
    client.make(b"file", b"data", mode=0o6755)
    with client.server.unchanged():
        client.call(Tsetattr(ROOT, 0, 0o777, 1, 1, 9, 9, 9, 9, 9))
        client.call(Tsetattr(ROOT, 0, 0, 0, 0, 0, 0, 2**64 - 1, 0, 2**64 - 1))


# Chown


@pytest.mark.parametrize(
    ("valid", "owner"), [(0x46, (5, 6)), (0x42, (5, GID)), (0x44, (UID, 6)), (0x6, (5, 6))]
)
def test_chown_changes_what_it_names(client: Client, valid: int, owner: tuple[int, int]) -> None:
    client.make(b"file")
    before = client.stat(b"file")
    client.setattr(client.walk(b"file"), valid, uid=5, gid=6)
    after = client.stat(b"file")
    assert (after.uid, after.gid) == owner
    assert after.ctime_s > before.ctime_s
    assert after.mtime_s == before.mtime_s


def test_chown_with_a_mode_sets_that_mode(client: Client) -> None:
    client.make(b"file", mode=0o6755)
    client.setattr(client.walk(b"file"), 0x47, uid=5, gid=6, mode=0o100755)
    assert client.stat(b"file").mode == 0o100755


@pytest.mark.parametrize("uid", [0, UID])
@pytest.mark.parametrize("valid", [0x42, 0x44, 0x46])
def test_chown_takes_privileges_away_whoever_does_it(server: Server, uid: int, valid: int) -> None:
    """chown_common, fs/open.c: of all but directories. A program that root gave to somebody, by a
    client that sends no mode with the owner, then ran as them; so did what is no regular file."""
    client = server.connect(uid=uid)
    client.make(b"file", mode=0o6755)
    client.make(b"data", mode=0o6745)
    client.mknod(b"fifo", 0o016755)
    client.mkdir(b"directory", mode=0o6755)
    modes = {b"file": 0o100755, b"data": 0o102745, b"fifo": 0o010755, b"directory": 0o046755}
    for name, mode in modes.items():
        client.setattr(client.walk(name), valid, uid=5, gid=6)
        assert client.stat(name).mode == mode


def test_truncation_takes_privileges_away_but_not_by_root(client: Client, root: Client) -> None:
    client.make(b"file", b"data", mode=0o6755)
    client.setattr(client.walk(b"file"), 0x41, mode=0o6755)
    root.setattr(root.walk(b"file"), 0x8, size=2)
    assert client.stat(b"file").mode == 0o106755
    client.setattr(client.walk(b"file"), 0x8, size=1)
    assert client.stat(b"file").mode == 0o100755


@pytest.mark.parametrize("valid", [0x2, 0x4, 0x46, 0x47])
def test_no_id_is_no_owner(client: Client, valid: int) -> None:
    request = set_attributes(ROOT, valid, mode=0o777, uid=NONUNAME, gid=NONUNAME)
    assert client.refused(request) is Errno.EINVAL


# Times


def test_now_is_the_servers(client: Client) -> None:
    """utimensat(NOW, NOW) is 0x70; atime alone 0x50, mtime alone 0x60."""
    client.make(b"file")
    file = client.walk(b"file")
    for valid, changed in ((0x70, "am"), (0x50, "a"), (0x60, "m")):
        before = client.getattr(file)
        client.setattr(file, valid, atime_s=1, mtime_s=1)
        after, now = client.getattr(file), client.server.clock.now_ns // NS - 1
        assert after.ctime_s == now
        assert after.atime_s == (now if "a" in changed else before.atime_s)
        assert after.mtime_s == (now if "m" in changed else before.mtime_s)


def test_given_times_are_kept_to_the_nanosecond(client: Client) -> None:
    file = client.create(b"file")
    before = client.getattr(file)
    client.setattr(file, 0x1F0, atime_s=11, atime_ns=12, mtime_s=13, mtime_ns=999_999_999)
    after = client.getattr(file)
    assert (after.atime_s, after.atime_ns) == (11, 12)
    assert (after.mtime_s, after.mtime_ns) == (13, 999_999_999)
    assert after.ctime_s > before.ctime_s


@pytest.mark.parametrize("valid", [0x160, 0x170])
def test_one_time_may_be_given_and_the_other_left_or_now(client: Client, valid: int) -> None:
    file = client.create(b"file")
    before = client.getattr(file)
    client.setattr(file, valid, atime_s=11, mtime_s=13)
    after = client.getattr(file)
    assert after.mtime_s == 13
    assert after.atime_s == (after.ctime_s if valid & 0x10 else before.atime_s)


@pytest.mark.parametrize("seconds", [0, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 11])
def test_seconds_are_signed_and_any(client: Client, seconds: int) -> None:
    file = client.create(b"file")
    client.setattr(file, 0x1F0, atime_s=seconds, atime_ns=7, mtime_s=seconds, mtime_ns=7)
    after = client.getattr(file)
    assert (after.atime_s, after.atime_ns) == (seconds, 7)
    assert (after.mtime_s, after.mtime_ns) == (seconds, 7)
    client.read(file)
    client.write(file, b"x")


def test_a_second_has_no_more_nanoseconds(client: Client) -> None:
    for name in ("atime_ns", "mtime_ns"):
        request = set_attributes(ROOT, 0x1F1, mode=0o700, **{name: NS})
        assert client.refused(request) is Errno.EINVAL


def test_a_time_that_is_not_named_is_not_looked_at(client: Client) -> None:
    client.setattr(ROOT, 0x41, mode=0o700, atime_ns=2**64 - 1, mtime_s=2**64 - 1)


def test_ctime_alone_becomes_now(client: Client) -> None:
    before = client.getattr(ROOT)
    client.setattr(ROOT, 0x40)
    after = client.getattr(ROOT)
    assert after.ctime_s > before.ctime_s
    assert (after.mtime_s, after.atime_s) == (before.mtime_s, before.atime_s)


@pytest.mark.parametrize("valid", [0x80, 0x100])
def test_a_set_bit_alone_sets_no_time(client: Client, valid: int) -> None:
    before = client.getattr(ROOT)
    client.setattr(ROOT, valid, atime_s=1, mtime_s=1)
    after = client.getattr(ROOT)
    assert (after.mtime_s, after.atime_s) == (before.mtime_s, before.atime_s)


@pytest.mark.parametrize("valid", [0x200, 0x80000000, 0x241, 0xFFFFFFFF])
def test_bits_that_mean_nothing_are_refused(client: Client, valid: int) -> None:
    assert client.refused(set_attributes(ROOT, valid, mode=0o700)) is Errno.EINVAL


# Size


def test_truncate_to_another_size_is_noted(client: Client) -> None:
    """truncate(2) is SIZE alone (0x8), on a fid that is not open."""
    client.make(b"file", b"x" * 1000)
    file = client.walk(b"file")
    for size in (10, 5000):
        before = client.getattr(file)
        client.setattr(file, 0x8, size=size)
        after = client.getattr(file)
        assert after.size == size
        assert after.mtime_s == after.ctime_s > before.mtime_s


def test_truncate_to_the_same_size_changes_nothing_where_there_is_no_data(client: Client) -> None:
    file = client.create(b"file")
    for size in 0, 5000:
        client.setattr(file, 0x8, size=size)
        with client.server.unchanged():
            client.setattr(file, 0x8, size=size)


def test_the_mode_that_a_truncation_to_the_same_size_leaves_is_not_noted(client: Client) -> None:
    """Of a file without data, tmpfs takes set-ID bits away and moves no time (shmem_setattr); the
    change time moved."""
    for valid, mode in ((0x8, 0), (0x9, 0o100777)):
        file = client.create(b"%d" % valid, mode=0o6777)
        before = client.getattr(file)
        client.server.clock.tick()
        client.setattr(file, valid, size=0, mode=mode)
        after = client.getattr(file)
        assert after.mode == 0o100777
        assert (after.mtime_s, after.ctime_s) == (before.mtime_s, before.ctime_s)
        client.setattr(file, 0x49, size=0, mode=0o644)
        assert client.getattr(file).ctime_s > before.ctime_s


def test_truncate_of_data_to_the_same_size_is_noted(client: Client) -> None:
    """Random calls on a mount found it: tmpfs looks for pages to free, and notes that it did."""
    client.make(b"file", b"data")
    file = client.walk(b"file")
    before = client.getattr(file)
    client.setattr(file, 0x8, size=4)
    after = client.getattr(file)
    assert after.mtime_s == after.ctime_s > before.mtime_s


def test_ftruncate_is_noted_even_to_the_same_size(client: Client) -> None:
    """ftruncate(2) and O_TRUNC are SIZE|MTIME|CTIME (0x68)."""
    file = client.create(b"file", b"data")
    before = client.getattr(file)
    client.setattr(file, 0x68, size=4)
    after = client.getattr(file)
    assert after.mtime_s == after.ctime_s > before.mtime_s


def test_ctime_is_noted_even_with_the_same_size(client: Client) -> None:
    file = client.create(b"file")
    before = client.getattr(file)
    client.setattr(file, 0x48, size=0)
    after = client.getattr(file)
    assert after.ctime_s > before.ctime_s
    assert after.mtime_s == before.mtime_s


def test_a_file_opened_to_be_read_can_be_truncated(client: Client) -> None:
    """T13: open(O_RDONLY|O_TRUNC) is Tlopen RDONLY and Tsetattr 0x68 on that fid."""
    client.make(b"file", b"data", mode=0o444)
    file = client.open(b"file", flags=O_RDONLY)
    client.setattr(file, 0x68, size=0)
    assert client.getattr(file).size == 0


def test_a_file_grows_by_zeros(client: Client) -> None:
    file = client.create(b"file", b"data")
    client.setattr(file, 0x68, size=2000)
    assert client.read(file) == b"data" + bytes(1996)


@pytest.mark.parametrize("valid", [0x8, 0x68, 0x69])
def test_only_files_have_a_size_to_set(client: Client, valid: int) -> None:
    client.symlink(b"link", b"x")
    client.mknod(b"fifo", 0o010600)
    assert client.refused(set_attributes(ROOT, valid, mode=0o700)) is Errno.EISDIR
    fifo = client.walk(b"fifo")
    assert client.refused(set_attributes(fifo, valid, mode=0o700)) is Errno.EINVAL
    link = client.walk(b"link")
    assert client.refused(set_attributes(link, valid & ~1)) is Errno.EINVAL


@pytest.mark.parametrize("size", [2**63, 2**64 - 1])
def test_a_size_is_an_offset(client: Client, size: int) -> None:
    """T18"""
    file = client.create(b"file")
    request = set_attributes(file, 0x69, size=size, mode=0o700)
    assert client.refused(request) is Errno.EINVAL


def test_a_size_past_the_largest_is_refused() -> None:
    server = Server(Limits(size_bytes=1 << 20, inodes=10, file_bytes=1000))
    client = server.connect()
    file = client.create(b"file")
    assert client.refused(set_attributes(file, 0x69, size=1001, mode=0)) is Errno.EFBIG
    client.setattr(file, 0x8, size=1000)


def test_all_or_nothing_of_what_is_named_is_set(client: Client) -> None:
    """T21: the last of several that is refused leaves the first as they were."""
    client.make(b"file", b"data", mode=0o600)
    file = client.walk(b"file")
    request = set_attributes(file, 0x1FF, mode=0o777, uid=1, gid=2, size=0, mtime_ns=NS)
    assert client.refused(request) is Errno.EINVAL


def test_ctime_never_goes_back(client: Client) -> None:
    file = client.create(b"file")
    before = client.getattr(file).ctime_s
    client.server.clock.now_ns -= 100 * NS
    client.setattr(file, 0x41, mode=0o600)
    assert client.getattr(file).ctime_s >= before


# Statfs


def test_df_is_exact() -> None:
    """T29: neither a block size nor a name length of 0; everything that is held counts."""
    server = Server(Limits(size_bytes=1 << 20, inodes=20))
    client = server.connect()
    used = server.filesystem.budget.used_bytes
    free = ((1 << 20) - used) // 4096
    fsid = client.statfs().fsid
    assert fsid != 0
    assert client.statfs() == Rstatfs(V9FS_MAGIC, 4096, 256, free, free, 20, 19, fsid, 255)
    client.make(b"file")
    used += INODE_BYTES + FILE_BYTES + DENTRY_BYTES + 4
    free = ((1 << 20) - used) // 4096
    assert client.statfs() == Rstatfs(V9FS_MAGIC, 4096, 256, free, free, 20, 18, fsid, 255)


def test_df_sees_at_once_what_was_given_back(client: Client) -> None:
    """T21"""
    empty = client.statfs()
    file = client.create(b"file", b"x" * 500_000)
    full = client.statfs()
    assert 122 <= empty.bfree - full.bfree <= 124
    client.setattr(file, 0x8, size=4096)
    assert client.statfs().bfree > full.bfree + 119
    client.unlink(b"file")
    client.clunk(file)
    assert client.statfs() == empty


def test_a_directory_is_not_made_where_there_is_no_room() -> None:
    """T21"""
    root_bytes = INODE_BYTES + DIRECTORY_BYTES
    file_bytes = INODE_BYTES + FILE_BYTES + DENTRY_BYTES + len(b"file")
    directory_bytes = INODE_BYTES + DIRECTORY_BYTES + DENTRY_BYTES + len(b"a")
    room_bytes = root_bytes + file_bytes + directory_bytes
    for short_bytes in 1, 0:
        server = Server(Limits(size_bytes=room_bytes - short_bytes, inodes=20))
        client = server.connect()
        client.make(b"file")
        if short_bytes:
            assert client.refused(Tmkdir(ROOT, b"a", 0o755, GID)) is Errno.ENOSPC
        else:
            client.mkdir(b"a")
        server.verify()


def test_a_change_has_one_time(server: Server, client: Client) -> None:
    """The clock was looked at twice, so that the change was later than what it changed."""
    file = client.create(b"file", b"data")
    server.filesystem.now_ns = itertools.count(2_000_000_000 * NS).__next__
    now = SETATTR_ATIME | SETATTR_MTIME | SETATTR_CTIME
    client.setattr(file, now)
    found = client.getattr(file)
    assert found.ctime_ns == found.mtime_ns == found.atime_ns
    client.call(Tlopen(client.walk(b"file"), O_WRONLY | O_TRUNC))
    found = client.getattr(file)
    assert found.ctime_ns == found.mtime_ns


CAPABILITY = b"security.capability"


def land(user: Client, request: Twrite) -> None:
    """Make a write whose bytes are received straight into the file."""
    assert user.land(request) is not None
    assert user.arrive() == Rwrite(len(request.data))


@pytest.mark.parametrize("uid", [0, UID])
@pytest.mark.parametrize(
    "change",
    [
        lambda user: user.write(user.open(b"file", flags=O_WRONLY), b"code"),
        lambda user: land(user, Twrite(user.open(b"file", flags=O_WRONLY), 4, b"x" * 40_000)),
        lambda user: user.setattr(user.walk(b"file"), 0x8, size=2),
        lambda user: user.call(Tlopen(user.walk(b"file"), O_WRONLY | O_TRUNC)),
    ],
    ids=["write", "large write", "truncate", "open"],
)
def test_what_goes_with_a_change_has_its_time(uid: int, change: Callable[[Client], object]) -> None:
    """The clock was looked at again for the set-ID bits and for the capabilities."""
    server = Server(credentials_of=lambda uid: Credentials(uid, GID))
    user, root = server.connect(uid=uid), server.connect(uid=0)
    root.make(b"file", b"data", mode=0o6777)
    root.setxattr(root.walk(b"file"), CAPABILITY, b"all")
    server.filesystem.now_ns = itertools.count(2_000_000_000 * NS).__next__
    change(user)
    found = root.stat(b"file")
    assert found.mode == (0o100777 if uid else 0o106777)
    assert root.getxattr(root.walk(b"file"), b"") == b""
    assert (found.ctime_s, found.ctime_ns) == (found.mtime_s, found.mtime_ns)
    assert found.mtime_s == 2_000_000_000
