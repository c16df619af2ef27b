"""Treaddir, Tmkdir, Tunlinkat, Trename, Trenameat: names."""

import pytest
from tests.client import GID, ROOT, UID, Client, Server
from tests.conformance.names import BAD_NAMES

from ram9.protocol.constants import AT_REMOVEDIR, NOFID
from ram9.protocol.messages import (
    Tgetattr,
    Tmkdir,
    Treaddir,
    Tremove,
    Trename,
    Trenameat,
    Tunlinkat,
)
from ram9.storage.errors import Errno

# Readdir


def test_a_new_directory_lists_the_dots(client: Client) -> None:
    """T8: Linux does not add them itself."""
    client.mkdir(b"a")
    directory = client.open(b"a")
    dot, dotdot = client.readdir(directory)
    assert (dot.name, dot.qid, dot.type) == (b".", client.qid(b"a"), 4)
    assert (dotdot.name, dotdot.qid.path) == (b"..", client.getattr(ROOT).qid.path)
    assert client.readdir(directory, dotdot.offset) == []


@pytest.mark.parametrize("aname", [b"", b"/a"])
def test_above_what_was_attached_the_dots_are_equal(
    server: Server, client: Client, aname: bytes
) -> None:
    """T27"""
    client.mkdir(b"a")
    inside = server.connect(aname=aname)
    dot, dotdot = inside.readdir(inside.open())[:2]
    assert dot.qid == dotdot.qid == inside.getattr(ROOT).qid


def test_entries_say_what_they_are(client: Client) -> None:
    client.make(b"file")
    client.mkdir(b"directory")
    client.symlink(b"link", b"x")
    for name, kind in ((b"fifo", 1), (b"chr", 2), (b"blk", 6), (b"socket", 12)):
        client.mknod(name, kind << 12 | 0o600)
    listed = client.readdir(client.open())[2:]
    assert [(entry.name, entry.type) for entry in listed] == [
        (b"file", 8),
        (b"directory", 4),
        (b"link", 10),
        (b"fifo", 1),
        (b"chr", 2),
        (b"blk", 6),
        (b"socket", 12),
    ]
    for entry in listed:
        assert entry.qid == client.qid(entry.name)


@pytest.mark.parametrize("count", [4085, 300, 279, 1000])
def test_a_long_directory_is_listed_in_parts(client: Client, count: int) -> None:
    """T8: whole entries only, each once, none missing, and no bytes at the end alone."""
    names = [b"%03d" % index + b"x" * (index % 252) for index in range(300)]
    for name in names:
        client.mkdir(name)
    directory = client.open()
    listed, cookies, offset = [], [0], 0
    while data := client.call(Treaddir(directory, offset, count)).data:
        assert len(data) <= count
        entries = client.readdir(directory, offset, count)
        listed += [entry.name for entry in entries]
        cookies += [entry.offset for entry in entries]
        offset = cookies[-1]
    assert listed == [b".", b"..", *names]
    assert cookies == sorted(set(cookies))
    assert cookies[-1] < 2**31


def test_listing_goes_on_from_any_entry(client: Client) -> None:
    """T8: seekdir(3) goes back to where telldir(3) was."""
    for name in (b"a", b"b", b"c"):
        client.mkdir(name)
    directory = client.open()
    entries = client.readdir(directory)
    for index, entry in reversed(list(enumerate(entries))):
        assert client.readdir(directory, entry.offset) == entries[index + 1 :]


@pytest.mark.parametrize("count", [0, 1, 24])
def test_a_count_without_room_for_an_entry_is_refused(client: Client, count: int) -> None:
    """T8: no bytes would say that there is nothing more; and no access is noted."""
    client.mkdir(b"a")
    directory = client.open()
    assert client.refused(Treaddir(directory, 0, count)) is Errno.EINVAL
    assert [entry.name for entry in client.readdir(directory, 0, 25)] == [b"."]


@pytest.mark.parametrize("count", [0, 1, 100])
def test_at_the_end_any_count_gives_no_bytes(client: Client, count: int) -> None:
    directory = client.open()
    for offset in (client.readdir(directory)[-1].offset, 2**31, 2**63 - 1, 2**64 - 1):
        assert client.readdir(directory, offset, count) == []


def test_removing_while_listing_skips_nothing(client: Client) -> None:
    """T8: rm -rf removes what it was told before it asks for more."""
    names = [b"%d" % index for index in range(200)]
    for name in names:
        client.mkdir(name)
    directory = client.open()
    offset, removed = 0, []
    while entries := client.readdir(directory, offset, 500):
        for entry in entries:
            if entry.name not in (b".", b".."):
                client.rmdir(entry.name)
                removed.append(entry.name)
        offset = entries[-1].offset
    assert removed == names
    assert client.names() == []


def test_renaming_while_listing_ends(client: Client, other: Client) -> None:
    """T8: somebody renames as fast as another reads."""
    for index in range(10):
        client.make(b"%d" % index)
    directory = client.open()
    offset, steps = 0, 0
    while entries := client.readdir(directory, offset, 60):
        offset = entries[-1].offset
        steps += 1
        other.rename(b"%d" % (steps % 10), b"new")
        other.rename(b"new", b"%d" % (steps % 10))
        assert steps < 20


def test_listing_from_the_beginning_shows_what_is_there_now(client: Client) -> None:
    """T8: rewinddir(3) on the same fid."""
    directory = client.open()
    client.readdir(directory)
    client.make(b"new")
    assert [entry.name for entry in client.readdir(directory)] == [b".", b"..", b"new"]


def test_a_name_keeps_its_place_when_it_is_replaced(client: Client) -> None:
    """T8: a name that is there all the time is listed once."""
    client.make(b"a")
    client.make(b"b")
    directory = client.open()
    offset = client.readdir(directory)[2].offset
    client.make(b"c")
    client.rename(b"c", b"a")
    assert [entry.name for entry in client.readdir(directory, offset)] == [b"b"]


def test_a_removed_directory_lists_nothing(client: Client) -> None:
    """T23"""
    client.mkdir(b"a")
    directory = client.open(b"a")
    client.rmdir(b"a")
    assert client.readdir(directory) == []
    assert client.call(Treaddir(directory, 0, 0)).data == b""


def test_only_an_open_directory_is_listed(client: Client) -> None:
    client.make(b"file")
    assert client.refused(Treaddir(ROOT, 0, 1000)) is Errno.EBADF
    assert client.refused(Treaddir(client.open(b"file"), 0, 1000)) is Errno.ENOTDIR


def test_a_listing_fits_into_msize(server: Server, client: Client) -> None:
    """T4: a reply beyond msize ends a Linux mount."""
    small = server.connect(msize=4096)
    for index in range(200):
        client.make(b"%d" % index)
    data = small.call(Treaddir(small.open(), 0, 0xFFFFFFFF)).data
    assert 4096 - 11 - 30 < len(data) <= 4096 - 11


def test_listing_is_noted(client: Client) -> None:
    client.make(b"file")
    before = client.getattr(ROOT)
    client.names()
    assert client.getattr(ROOT).atime_s > before.atime_s


# Mkdir


def test_a_made_directory_is_the_users_and_of_the_group_that_was_named(client: Client) -> None:
    before = client.getattr(ROOT)
    qid = client.call(Tmkdir(ROOT, b"a", 0o040755, 7)).qid
    found, after = client.stat(b"a"), client.getattr(ROOT)
    assert found.qid == qid
    assert qid.type == 0x80
    assert (found.mode, found.uid, found.gid, found.nlink) == (0o040755, UID, 7, 2)
    assert after.nlink == before.nlink + 1
    assert after.mtime_s == after.ctime_s == found.btime_s > before.mtime_s


def test_set_group_id_is_inherited(client: Client) -> None:
    client.mkdir(b"a", mode=0o2755)
    client.mkdir(b"b", mode=0o755, at=client.walk(b"a"))
    assert client.stat(b"a", b"b").mode == 0o042755


@pytest.mark.parametrize(("name", "errno"), BAD_NAMES)
def test_what_is_no_free_name_makes_no_directory(client: Client, name: bytes, errno: Errno) -> None:
    client.symlink(b"there", b"x")
    assert client.refused(Tmkdir(ROOT, name, 0o755, GID)) is errno


def test_a_directory_is_made_in_a_directory(client: Client) -> None:
    client.make(b"file")
    assert client.refused(Tmkdir(client.walk(b"file"), b"x", 0o755, GID)) is Errno.ENOTDIR


# Unlinkat


def test_unlinking_a_name_is_noted_at_what_had_it_and_where_it_was(client: Client) -> None:
    client.make(b"a")
    file = client.walk(b"a")
    client.link(file, b"b")
    before = client.getattr(file)
    client.unlink(b"a")
    after, root = client.getattr(file), client.getattr(ROOT)
    assert (before.nlink, after.nlink) == (2, 1)
    assert after.ctime_s == root.mtime_s == root.ctime_s > before.ctime_s
    assert after.mtime_s == before.mtime_s


def test_removing_a_directory_takes_its_parents_link(client: Client) -> None:
    before = client.getattr(ROOT).nlink
    client.mkdir(b"a")
    directory = client.walk(b"a")
    client.rmdir(b"a")
    assert client.getattr(ROOT).nlink == before
    assert client.getattr(directory).nlink == 0


@pytest.mark.parametrize(
    ("name", "flags", "errno"),
    [
        (b"directory", 0, Errno.EISDIR),
        (b"file", AT_REMOVEDIR, Errno.ENOTDIR),
        (b"link", AT_REMOVEDIR, Errno.ENOTDIR),
        (b"full", AT_REMOVEDIR, Errno.ENOTEMPTY),
        (b"full", 0, Errno.EISDIR),
        (b"none", 0, Errno.ENOENT),
        (b"none", AT_REMOVEDIR, Errno.ENOENT),
        (b"", 0, Errno.ENOENT),
        (b"", AT_REMOVEDIR, Errno.ENOENT),
        (b".", AT_REMOVEDIR, Errno.EINVAL),
        (b"..", AT_REMOVEDIR, Errno.ENOTEMPTY),
        (b".", 0, Errno.EISDIR),
        (b"..", 0, Errno.EISDIR),
        (b"n" * 256, 0, Errno.ENAMETOOLONG),
        (b"a/b", 0, Errno.EINVAL),
        (b"file", 1, Errno.EINVAL),
        (b"directory", AT_REMOVEDIR | 0x400, Errno.EINVAL),
        (b"none", 0x80000000, Errno.EINVAL),
    ],
)
def test_what_cannot_be_unlinked_is_refused(
    client: Client, name: bytes, flags: int, errno: Errno
) -> None:
    client.make(b"file")
    client.symlink(b"link", b"directory")
    client.mkdir(b"directory")
    client.mkdir(b"full")
    client.make(b"x", at=client.walk(b"full"))
    assert client.refused(Tunlinkat(ROOT, name, flags)) is errno


def test_names_are_unlinked_from_a_directory(client: Client) -> None:
    client.make(b"file")
    file = client.walk(b"file")
    assert client.refused(Tunlinkat(file, b"x", 0)) is Errno.ENOTDIR
    assert client.refused(Tunlinkat(file, b".", AT_REMOVEDIR)) is Errno.ENOTDIR


# Rename


def test_renaming_is_noted_at_what_moved_and_at_both_parents(client: Client) -> None:
    client.mkdir(b"a")
    client.mkdir(b"b")
    a, b = client.walk(b"a"), client.walk(b"b")
    client.make(b"file", at=a)
    before = client.stat(b"a", b"file")
    client.rename(b"file", b"new", at=a, to=b)
    after = client.stat(b"b", b"new")
    times = {client.getattr(fid).mtime_s for fid in (a, b)}
    times |= {client.getattr(fid).ctime_s for fid in (a, b)}
    assert times == {after.ctime_s}
    assert after.ctime_s > before.ctime_s
    assert (after.mtime_s, after.qid) == (before.mtime_s, before.qid)
    assert client.names(b"a") == []


def test_two_names_of_one_file_are_not_renamed(client: Client) -> None:
    """rename(2) says that nothing happens; both names stay."""
    client.make(b"a")
    client.link(client.walk(b"a"), b"b")
    with client.server.unchanged():
        client.call(Trenameat(ROOT, b"a", ROOT, b"b"))
        client.call(Trenameat(ROOT, b"a", ROOT, b"a"))
    assert client.names() == [b"a", b"b"]


def test_renaming_over_a_file_replaces_it_at_once(client: Client) -> None:
    client.make(b"a", b"a")
    client.make(b"b", b"x" * 9000)
    old = client.walk(b"b")
    client.rename(b"a", b"b")
    assert client.getattr(old).nlink == 0
    assert client.names() == [b"b"]
    assert client.stat(b"b").size == 1


def test_renaming_over_an_empty_directory_replaces_it(client: Client) -> None:
    client.mkdir(b"a")
    client.make(b"file", at=client.walk(b"a"))
    client.mkdir(b"b")
    before = client.getattr(ROOT).nlink
    client.rename(b"a", b"b")
    assert client.names(b"b") == [b"file"]
    assert client.getattr(ROOT).nlink == before - 1


@pytest.mark.parametrize(
    ("name", "new_name", "errno"),
    [
        (b"none", b"new", Errno.ENOENT),
        (b"none", b"file", Errno.ENOENT),
        (b"directory", b"file", Errno.ENOTDIR),
        (b"file", b"directory", Errno.EISDIR),
        (b"file", b"full", Errno.EISDIR),
        (b"directory", b"full", Errno.ENOTEMPTY),
        (b".", b"new", Errno.EBUSY),
        (b"..", b"new", Errno.EBUSY),
        (b"file", b".", Errno.EBUSY),
        (b"file", b"..", Errno.EBUSY),
        (b"", b"new", Errno.ENOENT),
        (b"file", b"", Errno.ENOENT),
        (b"file", b"a/b", Errno.EINVAL),
        (b"file", b"n" * 256, Errno.ENAMETOOLONG),
    ],
)
@pytest.mark.parametrize("by_fid", [False, True])
def test_what_cannot_be_renamed_is_refused(
    client: Client, name: bytes, new_name: bytes, errno: Errno, *, by_fid: bool
) -> None:
    client.make(b"file")
    client.mkdir(b"directory")
    client.mkdir(b"full")
    client.make(b"x", at=client.walk(b"full"))
    if not by_fid:
        assert client.refused(Trenameat(ROOT, name, ROOT, new_name)) is errno
    elif name in (b"file", b"directory"):
        assert client.refused(Trename(client.walk(name), ROOT, new_name)) is errno


def test_a_directory_is_not_moved_below_itself(client: Client, other: Client) -> None:
    """Two clients move each other's target: the tree as it is now decides."""
    client.mkdir(b"a")
    client.mkdir(b"b")
    a, b = client.walk(b"a"), client.walk(b"b")
    assert client.refused(Trenameat(ROOT, b"a", a, b"x")) is Errno.EINVAL
    other.rename(b"a", b"a", to=other.walk(b"b"))
    assert client.refused(Trenameat(ROOT, b"b", a, b"b")) is Errno.EINVAL
    assert client.refused(Trename(b, a, b"b")) is Errno.EINVAL


def test_moving_a_directory_moves_a_link_of_its_parents(client: Client) -> None:
    client.mkdir(b"a")
    client.mkdir(b"b")
    client.mkdir(b"c", at=client.walk(b"a"))
    client.rename(b"c", b"c", at=client.walk(b"a"), to=client.walk(b"b"))
    assert [client.stat(name).nlink for name in (b"a", b"b")] == [2, 3]


def test_nothing_is_moved_into_a_removed_directory(client: Client) -> None:
    """T23"""
    client.make(b"file")
    client.mkdir(b"a")
    gone = client.walk(b"a")
    client.rmdir(b"a")
    assert client.refused(Trenameat(ROOT, b"file", gone, b"file")) is Errno.ENOENT
    assert client.refused(Trenameat(gone, b"file", ROOT, b"new")) is Errno.ENOENT


def test_names_are_moved_between_directories(client: Client) -> None:
    client.make(b"file")
    file = client.walk(b"file")
    assert client.refused(Trenameat(file, b"x", ROOT, b"y")) is Errno.ENOTDIR
    assert client.refused(Trenameat(ROOT, b"file", file, b"y")) is Errno.ENOTDIR
    assert client.refused(Trename(file, file, b"y")) is Errno.ENOTDIR


def test_attachments_of_one_tree_share_names(server: Server, client: Client) -> None:
    """T27: they are one file system, so that nothing is EXDEV."""
    client.mkdir(b"a")
    client.make(b"file")
    client.attach(5, b"a", UID)
    client.link(client.walk(b"file"), b"linked", at=5)
    client.rename(b"file", b"moved", to=5)
    assert server.connect(aname=b"a").names() == [b"linked", b"moved"]


# Trename


def test_a_fid_is_renamed(client: Client) -> None:
    client.make(b"file")
    client.mkdir(b"a")
    file = client.walk(b"file")
    client.call(Trename(file, client.walk(b"a"), b"new"))
    assert client.names(b"a") == [b"new"]
    client.call(Trename(file, ROOT, b"back"))
    client.call(Tremove(file))
    assert client.names() == [b"a"]


def test_the_name_that_was_walked_to_is_renamed(client: Client) -> None:
    client.make(b"one")
    client.link(client.walk(b"one"), b"two")
    client.call(Trename(client.walk(b"two"), ROOT, b"three"))
    assert client.names() == [b"one", b"three"]


def test_a_directory_is_renamed_wherever_it_was_moved(client: Client) -> None:
    client.mkdir(b"a")
    fid = client.walk(b"a")
    client.rename(b"a", b"b")
    client.call(Trename(fid, ROOT, b"c"))
    assert client.names() == [b"c"]


def test_the_root_cannot_be_renamed(client: Client) -> None:
    assert client.refused(Trename(ROOT, ROOT, b"x")) is Errno.EBUSY


def test_what_has_lost_its_name_cannot_be_renamed(client: Client) -> None:
    client.make(b"file")
    client.mkdir(b"a")
    file, directory = client.walk(b"file"), client.walk(b"a")
    client.unlink(b"file")
    client.rmdir(b"a")
    assert client.refused(Trename(file, ROOT, b"x")) is Errno.ENOENT
    assert client.refused(Trename(directory, ROOT, b"x")) is Errno.ENOENT
    assert client.refused(Tgetattr(NOFID, 0)) is Errno.EBADF
