"""Twalk, Tclunk, Tremove, and what a fid is."""

import tracemalloc

import pytest
from tests.client import ROOT, Client, Server, set_attributes

from ram9.protocol.codec import Message
from ram9.protocol.constants import NOFID, O_RDWR
from ram9.protocol.messages import (
    Tclunk,
    Tfsync,
    Tgetattr,
    Tgetlock,
    Tlcreate,
    Tlink,
    Tlock,
    Tlopen,
    Tmkdir,
    Tmknod,
    Tread,
    Treaddir,
    Treadlink,
    Tremove,
    Trename,
    Trenameat,
    Tstatfs,
    Tsymlink,
    Tunlinkat,
    Twalk,
    Twrite,
    Txattrcreate,
    Txattrwalk,
)
from ram9.storage.errors import Errno

FREE = 77  # a fid that nobody made

EVERY_OPERAND = [
    Tstatfs,
    lambda fid: Tlopen(fid, 0),
    lambda fid: Tlcreate(fid, b"new", 0, 0, 0),
    lambda fid: Tsymlink(fid, b"new", b"target", 0),
    lambda fid: Tmknod(fid, b"new", 0, 0, 0, 0),
    lambda fid: Trename(fid, ROOT, b"new"),
    lambda fid: Trename(ROOT, fid, b"new"),
    Treadlink,
    lambda fid: Tgetattr(fid, 0),
    lambda fid: set_attributes(fid, 0),
    lambda fid: Txattrwalk(fid, 5, b""),
    lambda fid: Txattrcreate(fid, b"user.a", 0, 0),
    lambda fid: Treaddir(fid, 0, 100),
    lambda fid: Tfsync(fid, 0),
    lambda fid: Tlock(fid, 0, 0, 0, 0, 0, b""),
    lambda fid: Tgetlock(fid, 0, 0, 0, 0, b""),
    lambda fid: Tlink(fid, ROOT, b"new"),
    lambda fid: Tlink(ROOT, fid, b"new"),
    lambda fid: Tmkdir(fid, b"new", 0, 0),
    lambda fid: Trenameat(fid, b"a", ROOT, b"b"),
    lambda fid: Trenameat(ROOT, b"a", fid, b"b"),
    lambda fid: Tunlinkat(fid, b"a", 0),
    lambda fid: Twalk(fid, 5, ()),
    lambda fid: Twalk(fid, 5, (b"a",)),
    lambda fid: Twalk(fid, fid, ()),
    lambda fid: Tread(fid, 0, 1),
    lambda fid: Twrite(fid, 0, b"x"),
    Tclunk,
    Tremove,
]


@pytest.mark.parametrize("fid", [FREE, NOFID])
def test_a_fid_that_is_not_there_is_ebadf_whatever_is_asked(client: Client, fid: int) -> None:
    """T25: NOFID as an operand is EBADF, like every number that stands for nothing."""
    for request in EVERY_OPERAND:
        assert client.refused(request(fid)) is Errno.EBADF


@pytest.mark.parametrize(
    "request_", [Twalk(ROOT, NOFID, ()), Twalk(ROOT, NOFID, (b"a",)), Txattrwalk(ROOT, NOFID, b"")]
)
def test_nofid_cannot_become_a_fid(client: Client, request_: Message) -> None:
    """T25: it would be a fid that could never be named again."""
    client.mkdir(b"a")
    assert client.refused(request_) is Errno.EBADF


def test_no_names_make_a_second_fid_of_the_same_file(client: Client) -> None:
    client.make(b"file", b"data")
    file = client.walk(b"file")
    clone = client.walk(fid=file)
    client.clunk(file)
    assert client.getattr(clone).size == 4


def test_no_names_and_the_same_fid_change_nothing(client: Client) -> None:
    file = client.create(b"file")
    assert client.call(Twalk(file, file, ())).wqid == ()
    assert client.write(file, b"still open") == 10


def test_the_clone_of_an_open_fid_is_not_open(client: Client) -> None:
    """Linux 5.11 to 5.16 walk from open fids."""
    file = client.create(b"file")
    clone = client.walk(fid=file)
    assert client.refused(Tread(clone, 0, 1)) is Errno.EBADF
    client.call(Tlopen(clone, O_RDWR))
    assert client.write(clone, b"x") == 1


def test_what_has_lost_its_name_can_be_cloned(client: Client) -> None:
    file = client.create(b"file", b"data")
    client.unlink(b"file")
    clone = client.walk(fid=file)
    client.clunk(file)
    assert client.getattr(clone).nlink == 0
    client.call(Tlopen(clone, O_RDWR))
    assert client.read(clone) == b"data"


def deep(client: Client, depth: int) -> tuple[bytes, ...]:
    names = tuple(b"%d" % level for level in range(depth))
    directory = client.walk()
    for name in names:
        client.mkdir(name, at=directory)
        client.call(Twalk(directory, directory, (name,)))
    return names


def test_sixteen_names_are_walked_at_once(client: Client) -> None:
    names = deep(client, 16)
    wqid = client.call(Twalk(ROOT, 5, names)).wqid
    assert len({qid.path for qid in wqid}) == 16
    assert client.getattr(5).qid == wqid[-1]


def test_seventeen_names_are_too_many(client: Client) -> None:
    """T18: MAXWELEM is 16, and a server that trusts nwname walks as far as the client likes."""
    assert client.refused(Twalk(ROOT, 5, deep(client, 17))) is Errno.EINVAL


def test_a_longer_path_is_walked_on_the_same_fid(client: Client) -> None:
    """Linux: ``Twalk(new, new, ...)`` for what is behind the sixteenth name."""
    names = deep(client, 20)
    fid = client.walk(*names[:16])
    client.call(Twalk(fid, fid, names[16:]))
    assert client.getattr(fid).qid == client.qid(*names[16:], fid=client.walk(*names[:16]))


def test_the_first_name_that_is_not_found_is_an_error(client: Client) -> None:
    assert client.refused(Twalk(ROOT, 5, (b"none",))) is Errno.ENOENT
    assert client.refused(Twalk(ROOT, 5, (b"none", b"none"))) is Errno.ENOENT


def test_a_later_name_that_is_not_found_ends_the_walk_without_a_fid(client: Client) -> None:
    """T7: the client then clunks the fid that it does not have: a plain EBADF."""
    qid = client.mkdir(b"a")
    assert client.call(Twalk(ROOT, 5, (b"a", b"none", b"none"))).wqid == (qid,)
    assert client.refused(Tclunk(5)) is Errno.EBADF


def test_a_walk_that_ends_early_does_not_move_the_fid(client: Client) -> None:
    """T7: newfid may be fid; it moves for a whole walk only."""
    client.mkdir(b"a")
    fid = client.walk()
    before = client.getattr(fid)
    assert len(client.call(Twalk(fid, fid, (b"a", b"none"))).wqid) == 1
    assert client.getattr(fid).qid == before.qid


def test_a_walk_that_ends_early_leaves_a_newfid_in_use_alone(client: Client) -> None:
    """T7"""
    client.mkdir(b"a")
    file = client.create(b"file", b"data")
    assert len(client.call(Twalk(ROOT, file, (b"a", b"none"))).wqid) == 1
    assert client.read(file) == b"data"


def test_walking_to_a_newfid_in_use_clunks_what_it_was(client: Client) -> None:
    """T3: answering "in use" would make every later look-up of a Linux mount fail."""
    file = client.create(b"file", b"x" * 8192)
    client.unlink(b"file")
    free = client.statfs().bfree
    client.call(Twalk(ROOT, file, ()))
    assert client.getattr(file).mode >> 12 == 4
    assert client.statfs().bfree > free
    assert client.server.counters.protocol_errors["fid in use"] == 1


def test_a_fid_may_be_replaced_by_what_only_it_keeps_alive(client: Client) -> None:
    """T3: the clone is held before the old fid is let go."""
    file = client.create(b"file", b"data")
    client.unlink(b"file")
    reader = client.new()
    client.call(Txattrwalk(file, reader, b""))
    client.clunk(file)
    client.call(Twalk(reader, 5, ()))
    client.call(Twalk(5, reader, ()))
    assert client.getattr(reader).size == 4


def test_an_open_fid_cannot_move(client: Client) -> None:
    client.mkdir(b"a")
    directory = client.open()
    assert client.refused(Twalk(directory, directory, (b"a",))) is Errno.EINVAL


def test_a_fid_that_takes_a_value_cannot_move(client: Client) -> None:
    """It would forget what was written to it, and say that all is well."""
    client.mkdir(b"a")
    writer = client.writer(ROOT, b"user.a", 1)
    assert client.refused(Twalk(writer, writer, (b"a",))) is Errno.EINVAL


def test_only_a_directory_can_be_walked_from(client: Client) -> None:
    client.make(b"file")
    client.symlink(b"link", b"file")
    for name in (b"file", b"link"):
        fid = client.walk(name)
        assert client.refused(Twalk(fid, 5, (b"x",))) is Errno.ENOTDIR
        assert client.refused(Twalk(fid, 5, (b"..",))) is Errno.ENOTDIR
        assert len(client.call(Twalk(ROOT, 5, (name, b"x"))).wqid) == 1


def test_a_symbolic_link_is_not_followed(client: Client) -> None:
    client.mkdir(b"a")
    client.make(b"file", at=client.walk(b"a"))
    qid = client.symlink(b"link", b"a")
    assert qid.type == 0x02
    assert client.call(Twalk(ROOT, 5, (b"link", b"file"))).wqid == (qid,)


@pytest.mark.parametrize(
    ("name", "errno"),
    [
        (b"", Errno.ENOENT),
        (b"a/b", Errno.EINVAL),
        (b"a\0", Errno.EINVAL),
        (b"n" * 255, Errno.ENOENT),
        (b"n" * 256, Errno.ENAMETOOLONG),
    ],
)
def test_what_is_no_name_leads_nowhere(client: Client, name: bytes, errno: Errno) -> None:
    assert client.refused(Twalk(ROOT, 5, (name,))) is errno


@pytest.mark.parametrize("name", [b"\xff\xfe", b"caf\xe9", b"e\xcc\x81", b"\xc3\xa9", b"\n", b" "])
def test_names_are_bytes(client: Client, name: bytes) -> None:
    """T17: neither UTF-8 nor normal forms mean anything, and case matters."""
    client.make(name)
    assert client.names() == [name]
    assert client.exists(name)
    assert not client.exists(name + b"x")


def test_case_matters(client: Client) -> None:
    """T17"""
    client.make(b"a", b"lower")
    client.make(b"A", b"upper")
    assert client.names() == [b"a", b"A"]


# Upwards


def test_the_dots_lead_where_they_say(client: Client) -> None:
    client.mkdir(b"a")
    client.mkdir(b"b", at=client.walk(b"a"))
    assert client.qid(b"a", b"b", b"..") == client.qid(b"a")
    assert client.qid(b"a", b".", b"b", b".") == client.qid(b"a", b"b")


def test_above_the_root_is_the_root(client: Client) -> None:
    root = client.getattr(ROOT).qid
    assert client.call(Twalk(ROOT, 5, (b"..", b"..", b".."))).wqid == (root, root, root)


def test_nobody_climbs_above_what_was_attached(server: Server, client: Client) -> None:
    """T27: the tree goes on above an attached directory; ``..`` stops there."""
    client.mkdir(b"a")
    client.mkdir(b"b", at=client.walk(b"a"))
    qid = client.qid(b"a")
    inside = server.connect(aname=b"/a")
    assert inside.call(Twalk(ROOT, 5, (b"..", b".."))).wqid == (qid, qid)
    assert inside.qid(b"b", b"..", b"..", b"b") == client.qid(b"a", b"b")
    assert not inside.exists(b"..", b"a")


def test_nobody_climbs_out_of_a_directory_that_was_moved_away(
    server: Server, client: Client
) -> None:
    """T27: ``..`` of a directory that was moved out of what is attached is ENOENT.

    It led to the directory it was moved to, and from there to the root of the tree. Linux had that
    hole in bind mounts (path_connected, fs/namei.c).
    """
    client.mkdir(b"a")
    client.mkdir(b"b", at=client.walk(b"a"))
    inside = server.connect(aname=b"/a")
    moved = inside.walk(b"b")
    client.rename(b"b", b"b", at=client.walk(b"a"))
    assert inside.refused(Twalk(moved, 5, (b"..",))) is Errno.ENOENT
    inside.call(Tlopen(moved, 0))
    dots = inside.readdir(moved)
    assert dots[0].qid == dots[1].qid
    assert client.call(Twalk(client.walk(b"b"), 5, (b"..",)))


def test_above_a_moved_directory_is_its_new_parent(client: Client) -> None:
    """T23"""
    client.mkdir(b"a")
    client.mkdir(b"b")
    directory = client.walk(b"b")
    client.rename(b"b", b"c", to=client.walk(b"a"))
    assert client.qid(b"..", fid=directory) == client.qid(b"a")


def test_nothing_is_found_in_a_removed_directory(client: Client) -> None:
    """T23: what was removed can be held, and leads nowhere but up."""
    client.mkdir(b"a")
    directory = client.walk(b"a")
    client.rmdir(b"a")
    assert client.refused(Twalk(directory, 5, (b"x",))) is Errno.ENOENT
    assert client.refused(Tmkdir(directory, b"x", 0o755, 0)) is Errno.ENOENT
    assert client.qid(b"..", fid=directory) == client.getattr(ROOT).qid
    assert client.getattr(directory).nlink == 0


def test_above_a_removed_directory_lives_as_long_as_it_does(client: Client) -> None:
    """T23: ``..`` of the removed leads to what may be removed itself by now."""
    client.mkdir(b"a")
    parent = client.walk(b"a")
    qid = client.mkdir(b"b", at=parent)
    child = client.walk(b"a", b"b")
    client.rmdir(b"b", at=parent)
    client.rmdir(b"a")
    client.clunk(parent)
    assert client.qid(b"..", fid=child).path == qid.path - 1
    client.clunk(child)
    assert not client.server.filesystem.orphans


# Fids are inodes


def test_a_fid_follows_what_it_stands_for(client: Client, other: Client) -> None:
    """T6: it is no path: names may change under it."""
    file = client.create(b"old", b"data")
    other.rename(b"old", b"new")
    other.make(b"old", b"another")
    assert client.read(file) == b"data"
    assert client.getattr(file).qid == client.qid(b"new")
    other.unlink(b"new")
    assert client.read(file) == b"data"


def test_numbers_are_never_used_twice(client: Client) -> None:
    """T10: Linux would take the new file for the old one."""
    seen = set()
    for _ in range(5):
        file = client.create(b"file")
        seen.add(client.getattr(file).qid.path)
        client.unlink(b"file")
        client.clunk(file)
    assert len(seen) == 5


# Clunk and remove


def test_clunk_frees_the_number(client: Client) -> None:
    fid = client.walk()
    client.clunk(fid)
    assert client.refused(Tclunk(fid)) is Errno.EBADF


def test_clunk_frees_what_has_no_name_at_once(client: Client) -> None:
    """T21: df in a loop sees it."""
    before = client.statfs()
    file = client.create(b"file", b"x" * 100_000)
    client.unlink(b"file")
    assert client.statfs().bfree < before.bfree
    client.clunk(file)
    assert client.statfs() == before


@pytest.mark.parametrize("is_open", [False, True])
def test_remove_removes_and_clunks(client: Client, *, is_open: bool) -> None:
    client.make(b"file")
    fid = client.open(b"file") if is_open else client.walk(b"file")
    client.call(Tremove(fid))
    assert client.names() == []
    assert client.refused(Tclunk(fid)) is Errno.EBADF


def test_remove_removes_an_empty_directory(client: Client) -> None:
    client.mkdir(b"a")
    client.call(Tremove(client.walk(b"a")))
    assert client.names() == []


def test_remove_clunks_even_if_it_cannot_remove(client: Client) -> None:
    """T30: Linux forgets the fid in either case."""
    client.mkdir(b"a")
    client.make(b"file", at=client.walk(b"a"))
    fid = client.walk(b"a")
    assert client.refused(Tremove(fid)) is Errno.ENOTEMPTY
    assert client.refused(Tclunk(fid)) is Errno.EBADF
    assert client.names(b"a") == [b"file"]


def test_the_root_cannot_be_removed(server: Server, client: Client) -> None:
    client.mkdir(b"a")
    assert client.refused(Tremove(ROOT)) is Errno.EBUSY
    inside = server.connect(aname=b"a")
    assert inside.refused(Tremove(ROOT)) is Errno.EBUSY


def test_remove_removes_the_name_that_was_walked_to(client: Client) -> None:
    """T6: of several names of one file, the fid's."""
    client.make(b"one")
    client.link(client.walk(b"one"), b"two")
    client.call(Tremove(client.walk(b"two")))
    assert client.names() == [b"one"]


def test_a_name_that_leads_elsewhere_by_now_is_not_removed(client: Client) -> None:
    """T6: the new file of the old name must not be the one that goes."""
    client.make(b"file")
    fid = client.walk(b"file")
    client.unlink(b"file")
    client.make(b"file")
    assert client.refused(Tremove(fid)) is Errno.ENOENT
    assert client.names() == [b"file"]


def test_a_directory_is_removed_wherever_it_was_moved(client: Client) -> None:
    client.mkdir(b"a")
    fid = client.walk(b"a")
    client.rename(b"a", b"b")
    client.call(Tremove(fid))
    assert client.names() == []


def test_a_directory_walked_to_by_dots_is_removed_by_its_name(client: Client) -> None:
    client.mkdir(b"a")
    client.call(Tremove(client.walk(b"a", b".")))
    assert client.names() == []


def test_what_was_created_is_removed_by_the_name_that_it_was_created_by(client: Client) -> None:
    client.call(Tremove(client.create(b"file")))
    assert client.names() == []


def test_a_file_whose_directory_was_moved_is_removed(client: Client) -> None:
    client.mkdir(b"a")
    client.make(b"file", at=client.walk(b"a"))
    fid = client.walk(b"a", b"file")
    client.rename(b"a", b"b")
    client.call(Tremove(fid))
    assert client.names(b"b") == []


def test_what_another_file_was_moved_over_is_not_removed(client: Client) -> None:
    """T6: the one that was moved there has the place of the other in the listing."""
    client.make(b"old")
    client.make(b"new")
    fid = client.walk(b"old")
    client.rename(b"new", b"old")
    assert client.refused(Tremove(fid)) is Errno.ENOENT
    assert client.names() == [b"old"]


def test_walking_a_fid_onward_is_no_error(client: Client) -> None:
    """A deep path is walked in steps of 16 names with one fid (fs/9p/fid.c). It was counted as a
    number that the client had lost track of."""
    client.mkdir(b"a")
    client.make(b"file", at=client.walk(b"a"))
    fid = client.walk(b"a")
    client.call(Twalk(fid, fid, (b"file",)))
    client.call(Tremove(fid))
    assert client.names(b"a") == []
    assert not client.server.counters.protocol_errors


def test_fids_of_long_names_take_no_more_memory_than_others(client: Client) -> None:
    """Each fid kept a copy of its name, which no limit in bytes knew of: half a kilobyte."""
    long_name = b"n" * 255
    client.make(long_name)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            client.walk(long_name)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 200 < 280
