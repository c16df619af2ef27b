"""Where the server checks permissions: what Linux clients need all the same, and what they cannot
have. tests/property/test_permissions_against_tmpfs.py compares the rules with Linux's own."""

import stat
from collections.abc import Callable, Generator

import pytest
from tests.access_lists import access_list
from tests.client import GID, ROOT, Client, Server, set_attributes

from ram9.protocol.constants import (
    NOFID,
    NONUNAME,
    O_EXCL,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
)
from ram9.protocol.messages import (
    CODECS,
    Tattach,
    Tclunk,
    Tlcreate,
    Tlopen,
    Tmkdir,
    Tmknod,
    Tremove,
    Trename,
    Tsetattr,
    Tsymlink,
    Tunlinkat,
    Twalk,
    Twrite,
    Txattrcreate,
    Txattrwalk,
)
from ram9.server.connection import GUARDED, UNVERSIONED, VERSIONED
from ram9.server.dispatch import GUARDS, HANDLERS
from ram9.server.volumes import DEFAULT_NAME, Policy
from ram9.storage.acls import ACCESS, DEFAULT, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ
from ram9.storage.errors import Errno
from ram9.storage.permissions import Credentials

OWNER, MEMBER, STRANGER = 1000, 2000, 3000
GROUPS = {OWNER: {GID}, MEMBER: {2000, GID}, STRANGER: {3000}}
REPLACE = 2

# What Linux sends for chmod(2), chown(2), utimensat(2), truncate(2), ftruncate(2), and before a
# write to what has set-ID bits (fs/9p/vfs_inode_dotl.c).
CHMOD, CHOWN, CHGRP = 0x41, 0x42, 0x44
TOUCH, TOUCH_ATIME, SET_TIMES = 0x70, 0x50, 0x1F0
TRUNCATE, FTRUNCATE, DROP_PRIVILEGES = 0x8, 0x68, 0x1

UNGUARDED = {
    "Tversion": "nobody has attached yet",
    "Tattach": "anybody may attach as anybody; it looks at the way to aname itself",
    "Tflush": "it changes nothing",
    "Twalk": "it looks at each directory on the way itself",
    "Tread": "decided when it was opened",
    "Twrite": "decided when it was opened",
    "Tfsync": "everybody may",
    "Treaddir": "decided when it was opened",
    "Tgetattr": "whoever gets there may",
    "Tstatfs": "everybody may",
    "Treadlink": "whoever gets there may",
    "Tlock": "decided when it was opened; flock(2) locks what is open for reading",
    "Tgetlock": "decided when it was opened",
}


def credentials_of(uid: int) -> Credentials:
    groups = GROUPS.get(uid, set())
    return Credentials(uid, next(iter(sorted(groups - {GID})), GID), frozenset(groups))


@pytest.fixture
def server() -> Generator[Server]:
    server = Server(credentials_of=credentials_of)
    yield server
    server.verify()


@pytest.fixture
def owner(server: Server) -> Client:
    return server.connect(uid=OWNER)


@pytest.fixture
def member(server: Server) -> Client:
    return server.connect(uid=MEMBER)


@pytest.fixture
def stranger(server: Server) -> Client:
    return server.connect(uid=STRANGER)


@pytest.fixture
def root(server: Server) -> Client:
    return server.connect(uid=0)


def test_every_request_is_guarded_or_needs_no_guard() -> None:
    assert {request.__name__ for request in GUARDS} | UNGUARDED.keys() == {
        request.__name__ for request in HANDLERS
    }
    assert not {request.__name__ for request in GUARDS} & UNGUARDED.keys()


def test_trust_costs_nothing_and_reading_and_writing_never_do() -> None:
    for request, handler in HANDLERS.items():
        assert VERSIONED[request.number][1] is handler
        assert (GUARDED[request.number][1] is handler) == (request not in GUARDS)


def test_guards_see_what_is_decoded_as_ever() -> None:
    assert [decode for decode, _ in GUARDED] == [decode for decode, _ in VERSIONED]
    assert GUARDED is not VERSIONED
    assert UNVERSIONED is not VERSIONED


def test_a_trusting_server_checks_nothing() -> None:
    client = Server().connect(uid=OWNER)
    client.make(b"file", mode=0)
    other = client.server.connect(uid=STRANGER)
    other.open(b"file", flags=O_RDWR)


# Getting there


def test_a_walk_ends_where_the_user_may_not_search(owner: Client, stranger: Client) -> None:
    owner.mkdir(b"open")
    owner.mkdir(b"closed", mode=0o700, at=owner.walk(b"open"))
    owner.mkdir(b"below", at=owner.walk(b"open", b"closed"))
    names = (b"open", b"closed", b"below")
    assert len(stranger.call(Twalk(ROOT, 5, names)).wqid) == 2
    closed = stranger.walk(b"open", b"closed")
    assert stranger.refused(Twalk(closed, 6, (b"below",))) is Errno.EACCES
    assert stranger.refused(Twalk(closed, 6, (b"..",))) is Errno.EACCES
    assert stranger.refused(Twalk(closed, 6, (b"n" * 256,))) is Errno.EACCES
    assert owner.walk(*names)


def test_a_tree_is_attached_by_those_who_may_go_there(owner: Client, stranger: Client) -> None:
    owner.mkdir(b"closed", mode=0o700)
    owner.mkdir(b"below", mode=0o777, at=owner.walk(b"closed"))
    attach = Tattach(9, NOFID, b"", b"closed/below", STRANGER)
    assert stranger.refused(attach) is Errno.EACCES
    assert stranger.server.reports[-1][0] == "attach refused"
    owner.attach(9, b"closed/below", OWNER)


def test_whoever_attaches_without_a_number_is_nobody(server: Server, owner: Client) -> None:
    """T15: Linux mounts so. Nobody sees what is for everybody, and owns nothing."""
    owner.make(b"public", b"data", mode=0o644)
    owner.make(b"private", b"data", mode=0o660)
    nobody = server.connect(uid=NONUNAME)
    assert nobody.read(nobody.open(b"public")) == b"data"
    assert nobody.refused(Tlopen(nobody.walk(b"private"), O_RDONLY)) is Errno.EACCES


def test_users_of_one_connection_are_told_apart(owner: Client) -> None:
    owner.make(b"private", b"data", mode=0o600)
    owner.attach(1, b"", STRANGER)
    assert owner.refused(Tlopen(owner.walk(b"private", fid=1), O_RDONLY)) is Errno.EACCES
    assert owner.read(owner.open(b"private")) == b"data"


# Opening, and what was opened


def test_what_was_opened_is_not_asked_again(owner: Client, stranger: Client) -> None:
    """T13, T28: a client writes back with whatever fid it has, be the mode what it is by now."""
    file = owner.create(b"file", mode=0o606)
    opened = stranger.open(b"file", flags=O_RDWR)
    owner.setattr(file, CHMOD, mode=0)
    assert stranger.write(opened, b"written") == 7
    assert stranger.read(opened) == b"written"
    stranger.setattr(opened, FTRUNCATE, size=3)
    assert stranger.refused(Tlopen(stranger.walk(b"file"), O_WRONLY)) is Errno.EACCES


def test_what_was_made_is_written_to_whatever_its_mode(owner: Client) -> None:
    """T13: git makes its objects read-only, and then writes them."""
    file = owner.create(b"file", mode=0o444)
    assert owner.write(file, b"data") == 4
    owner.setattr(file, FTRUNCATE, size=2)
    assert owner.refused(Tlopen(owner.walk(b"file"), O_RDWR)) is Errno.EACCES


def test_what_is_open_for_reading_is_truncated_by_who_may_write(
    owner: Client, stranger: Client
) -> None:
    """T13: O_RDONLY | O_TRUNC comes as an open for reading, and then a size."""
    owner.make(b"file", b"data", mode=0o604)
    owner.setattr(owner.open(b"file"), FTRUNCATE, size=0)
    reading = stranger.open(b"file")
    assert stranger.refused(set_attributes(reading, FTRUNCATE, size=5)) is Errno.EACCES
    assert stranger.refused(Tlopen(stranger.walk(b"file"), O_TRUNC)) is Errno.EACCES


def test_an_existing_file_is_no_way_around_its_mode(owner: Client, stranger: Client) -> None:
    owner.make(b"file", mode=0o644)
    fid = stranger.walk()
    for flags, errno in ((O_RDWR, Errno.EACCES), (O_RDWR | O_EXCL, Errno.EEXIST)):
        assert stranger.refused(Tlcreate(fid, b"file", flags, 0o666, 3000)) is errno
    stranger.call(Tlcreate(fid, b"file", O_RDONLY, 0o666, 3000))


def test_a_program_that_may_be_run_is_read_for_that(owner: Client, stranger: Client) -> None:
    owner.make(b"program", b"code", mode=0o711)
    assert stranger.read(stranger.open(b"program")) == b"code"
    fid = stranger.walk()
    assert stranger.refused(Tlcreate(fid, b"program", O_RDONLY, 0o666, 3000)) is Errno.EACCES


def test_an_open_fid_is_busy_before_it_is_forbidden(owner: Client, stranger: Client) -> None:
    owner.make(b"file", mode=0o604)
    opened = stranger.open(b"file")
    assert stranger.refused(Tlopen(opened, O_WRONLY)) is Errno.EBUSY
    assert stranger.refused(Tlcreate(opened, b"new", O_WRONLY, 0, 0)) is Errno.EBUSY


# Making and removing


def test_what_is_made_has_a_group_that_its_user_is_in(
    stranger: Client, member: Client, root: Client
) -> None:
    """Nobody makes files of foreign groups; Linux sends one where the groups of the client's host
    and of ours differ, and expects no error."""
    member.make(b"file")
    assert member.stat(b"file").gid == GID
    stranger.call(Tlcreate(stranger.walk(), b"theirs", O_RDWR, 0o2775, GID))
    stranger.call(Tmkdir(ROOT, b"directory", 0o755, GID))
    stranger.call(Tsymlink(ROOT, b"link", b"target", GID))
    stranger.call(Tmknod(ROOT, b"fifo", stat.S_IFIFO | 0o644, 0, 0, GID))
    for name in b"theirs", b"directory", b"link", b"fifo":
        assert stranger.stat(name).gid == 3000
    root.call(Tmkdir(ROOT, b"of root", 0o755, 12345))
    assert root.stat(b"of root").gid == 12345


def test_a_user_whom_nobody_knows_makes_files_of_no_group_but_no_setgid_programs(
    server: Server,
) -> None:
    unknown = server.connect(uid=4000)
    unknown.make(b"file", mode=0o2775)
    made = unknown.stat(b"file")
    assert (made.uid, made.mode) == (4000, 0o100775)


def test_remove_clunks_even_what_may_not_be_removed(owner: Client, stranger: Client) -> None:
    owner.make(b"file")
    fid = stranger.walk(b"file")
    assert stranger.refused(Tremove(fid)) is Errno.EPERM  # the root is sticky
    assert stranger.refused(Tremove(fid)) is Errno.EBADF
    assert stranger.refused(Tunlinkat(ROOT, b"file", 0)) is Errno.EPERM
    assert stranger.refused(Tunlinkat(ROOT, b"file", 7)) is Errno.EINVAL
    owner.call(Tremove(owner.walk(b"file")))


def test_rename_by_a_fid_is_guarded_like_rename_by_name(owner: Client, stranger: Client) -> None:
    owner.make(b"file")
    assert stranger.refused(Trename(stranger.walk(b"file"), ROOT, b"new")) is Errno.EPERM
    owner.call(Trename(owner.walk(b"file"), ROOT, b"new"))
    assert owner.names() == [b"new"]


def test_devices_are_for_root(owner: Client, root: Client) -> None:
    device = stat.S_IFCHR | 0o666
    assert owner.refused(Tmknod(ROOT, b"null", device, 1, 3, GID)) is Errno.EPERM
    owner.call(Tmknod(ROOT, b"whiteout", device, 0, 0, GID))
    root.call(Tmknod(ROOT, b"null", device, 1, 3, 0))
    assert owner.refused(Tmknod(ROOT, b"null", device, 1, 3, GID)) is Errno.EEXIST
    assert owner.refused(Tmknod(ROOT, b"x", stat.S_IFDIR, 0, 0, GID)) is Errno.EPERM


# Attributes


def test_a_writer_takes_set_id_bits_away(owner: Client, stranger: Client) -> None:
    """T14: Linux sends it before the write, by a fid that it walked to and not by the open one."""
    file = owner.create(b"file", mode=0o6757)
    path = stranger.walk(b"file")
    stranger.setattr(path, DROP_PRIVILEGES, mode=0o100757)
    assert owner.getattr(file).mode == 0o100757
    stranger.setattr(path, DROP_PRIVILEGES, mode=0o100757)  # a second writer, as late as that


def test_a_writer_takes_set_id_bits_away_though_the_mode_has_changed(
    owner: Client, stranger: Client
) -> None:
    file = owner.create(b"file", mode=0o606)
    opened = stranger.open(b"file", flags=O_WRONLY)
    owner.setattr(file, CHMOD, mode=0o4700)
    path = stranger.walk(b"file")
    stranger.setattr(path, DROP_PRIVILEGES, mode=0o100700)
    owner.setattr(file, CHMOD, mode=0o4700)
    stranger.clunk(opened)
    drop = set_attributes(path, DROP_PRIVILEGES, mode=0o100700)
    assert stranger.refused(drop) is Errno.EPERM


@pytest.mark.parametrize(
    ("valid", "mode"),
    [
        (CHMOD, 0o0757),  # chmod(2) itself
        (DROP_PRIVILEGES, 0o0777),
        (DROP_PRIVILEGES, 0o0755),
        (DROP_PRIVILEGES | CHGRP, 0o0757),
    ],
)
def test_a_writer_changes_no_other_bits(
    owner: Client, stranger: Client, valid: int, mode: int
) -> None:
    owner.make(b"file", mode=0o6757)
    path = stranger.walk(b"file")
    request = set_attributes(path, valid, mode=mode, gid=3000)
    assert stranger.refused(request) is Errno.EPERM


def test_a_truncation_takes_set_id_bits_away(owner: Client, stranger: Client) -> None:
    """T14: with the size comes a mode; where it does not, they go all the same."""
    file = owner.create(b"file", b"data", mode=0o6757)
    opened = stranger.open(b"file", flags=O_WRONLY)
    stranger.setattr(opened, FTRUNCATE | DROP_PRIVILEGES, size=2, mode=0o100757)
    assert owner.getattr(file).mode == 0o100757
    owner.setattr(file, CHMOD, mode=0o6757)
    stranger.setattr(stranger.walk(b"file"), TRUNCATE, size=0)
    assert owner.getattr(file).mode == 0o100757


def test_a_writer_outside_of_the_group_takes_its_bit_even_from_what_is_no_program(
    owner: Client, stranger: Client, member: Client
) -> None:
    file = owner.create(b"file", mode=0o2666)
    member.call(Twrite(member.open(b"file", flags=O_WRONLY), 0, b"x"))
    assert owner.getattr(file).mode == 0o102666
    stranger.call(Twrite(stranger.open(b"file", flags=O_WRONLY), 0, b"x"))
    assert owner.getattr(file).mode == 0o100666


def test_nothing_may_be_set_by_anybody(owner: Client, stranger: Client) -> None:
    """T14: that is what Linux sends to take privileges away that are none."""
    owner.make(b"file", mode=0o600)
    stranger.setattr(stranger.walk(b"file"), 0)
    assert stranger.refused(set_attributes(stranger.walk(b"file"), 0x200)) is Errno.EINVAL


def test_the_owner_alone_changes_the_mode(owner: Client, member: Client) -> None:
    owner.make(b"file", mode=0o666)
    chmod = set_attributes(member.walk(b"file"), CHMOD, mode=0o644)
    assert member.refused(chmod) is Errno.EPERM
    owner.setattr(owner.walk(b"file"), CHMOD, mode=0o644)
    owner.symlink(b"link", b"target")
    chmod = set_attributes(member.walk(b"link"), CHMOD, mode=0o644)
    assert member.refused(chmod) is Errno.EOPNOTSUPP


def test_the_owner_outside_of_the_group_does_not_set_its_bit(root: Client, owner: Client) -> None:
    root.make(b"file")
    root.setattr(root.walk(b"file"), CHOWN | CHGRP, uid=OWNER, gid=5)
    owner.setattr(owner.walk(b"file"), CHMOD, mode=0o6755)
    assert owner.stat(b"file").mode == 0o104755
    root.setattr(root.walk(b"file"), CHMOD, mode=0o6755)
    assert owner.stat(b"file").mode == 0o106755


def test_setting_an_access_list_is_changing_the_mode(root: Client, owner: Client) -> None:
    """It takes set-group-ID where the owner is not in the group (posix_acl_update_mode)."""
    root.make(b"file")
    root.setattr(root.walk(b"file"), CHOWN | CHGRP, uid=OWNER, gid=5)
    root.setattr(root.walk(b"file"), CHMOD, mode=0o2755)
    value = access_list((USER_OBJ, 7), (USER, 5, 1), (GROUP_OBJ, 5), (MASK, 5), (OTHER, 5))
    owner.setxattr(owner.walk(b"file"), ACCESS, value)
    assert owner.stat(b"file").mode == 0o100755
    root.setattr(root.walk(b"file"), CHMOD, mode=0o2755)
    root.setxattr(root.walk(b"file"), ACCESS, value)
    assert owner.stat(b"file").mode == 0o102755


def test_an_access_list_lets_in_whom_it_names(owner: Client, stranger: Client) -> None:
    owner.make(b"file", b"data", mode=0o600)
    assert stranger.refused(Tlopen(stranger.walk(b"file"), O_RDONLY)) is Errno.EACCES
    value = access_list((USER_OBJ, 6), (USER, 4, STRANGER), (GROUP_OBJ, 0), (MASK, 4), (OTHER, 0))
    owner.setxattr(owner.walk(b"file"), ACCESS, value)
    assert stranger.read(stranger.open(b"file")) == b"data"
    owner.setattr(owner.walk(b"file"), CHMOD, mode=0o600)  # which is the mask now
    assert stranger.refused(Tlopen(stranger.walk(b"file"), O_RDONLY)) is Errno.EACCES


def test_both_times_become_now_for_whoever_may_write(
    owner: Client, member: Client, stranger: Client
) -> None:
    """Any other time, or one of them alone, is for the owner (utimensat(2))."""
    owner.make(b"file", mode=0o660)
    path, other = member.walk(b"file"), stranger.walk(b"file")
    member.setattr(path, TOUCH)
    assert stranger.refused(set_attributes(other, TOUCH)) is Errno.EACCES
    stranger.setattr(other, 0x40)  # chown(2) of nothing
    for valid in TOUCH_ATIME, SET_TIMES:
        assert member.refused(set_attributes(path, valid)) is Errno.EPERM
        owner.setattr(owner.walk(b"file"), valid)


def test_to_truncate_is_to_modify_and_not_to_have_read(owner: Client, member: Client) -> None:
    """With a size came any of the two times. Linux sends that of modification, and asks for the
    owner where a call names the access time alone (ATTR_TIMES_SET of vfs_utimes, fs/utimes.c)."""
    owner.make(b"file", b"data", mode=0o660)
    path, before = member.walk(b"file"), owner.stat(b"file")
    for valid in TRUNCATE | TOUCH_ATIME, TRUNCATE | SET_TIMES, TRUNCATE | 0x120:
        assert member.refused(set_attributes(path, valid, size=2)) is Errno.EPERM
    assert owner.stat(b"file") == before
    member.setattr(path, FTRUNCATE, size=2)
    member.setattr(path, TRUNCATE | TOUCH, size=1)
    owner.setattr(owner.walk(b"file"), TRUNCATE | TOUCH_ATIME, size=0)


def test_who_could_write_when_opening_truncates_and_touches_no_more(
    owner: Client, member: Client
) -> None:
    file = owner.create(b"file", b"data", mode=0o660)
    opened = member.open(b"file", flags=O_WRONLY)
    owner.setattr(file, CHMOD, mode=0o600)
    assert member.refused(set_attributes(opened, TRUNCATE | TOUCH, size=2)) is Errno.EACCES
    member.setattr(opened, FTRUNCATE, size=2)


def test_what_has_no_size_is_refused_for_that(owner: Client, stranger: Client) -> None:
    owner.mkdir(b"directory", mode=0o700)
    fid = stranger.walk(b"directory")
    assert stranger.refused(set_attributes(fid, TRUNCATE, size=1)) is Errno.EISDIR


def test_owners_give_files_to_their_groups(owner: Client, member: Client, root: Client) -> None:
    """T14: with the group comes a mode without set-ID bits."""
    member.make(b"file", mode=0o2775)
    file = member.walk(b"file")
    member.setattr(file, CHGRP | DROP_PRIVILEGES, gid=2000, mode=0o100775)
    assert (member.getattr(file).gid, member.getattr(file).mode) == (2000, 0o100775)
    give_away = set_attributes(file, CHOWN, uid=OWNER)
    assert member.refused(give_away) is Errno.EPERM
    assert owner.refused(set_attributes(owner.walk(b"file"), CHGRP, gid=GID)) is Errno.EPERM
    root.setattr(root.walk(b"file"), CHOWN, uid=OWNER)
    assert owner.getattr(owner.walk(b"file")).uid == OWNER


def test_a_mode_that_may_be_set_is_passed_on_with_all_else(root: Client, owner: Client) -> None:
    root.make(b"file")
    root.setattr(root.walk(b"file"), CHOWN | CHGRP, uid=OWNER, gid=5)
    file = owner.walk(b"file")
    owner.call(Tsetattr(file, 0x1F9 & ~0x8, 0o2600, 1, 2, 3, 10, 11, 20, 21))
    found = owner.getattr(file)
    assert (found.mode, found.uid, found.gid) == (0o100600, OWNER, 5)
    assert (found.atime_s, found.atime_ns, found.mtime_s, found.mtime_ns) == (10, 11, 20, 21)


# Extended attributes


def test_a_writer_takes_capabilities_away(root: Client, stranger: Client, owner: Client) -> None:
    """T14: Linux does so before a write, by an empty value that replaces (cap_inode_killpriv)."""
    owner.make(b"file", mode=0o606)
    root.setxattr(root.walk(b"file"), b"security.capability", b"all")
    name = b"security.capability"
    stranger.setxattr(stranger.walk(b"file"), name, b"", REPLACE)
    assert stranger.refused(Txattrcreate(stranger.walk(b"file"), name, 3, 0)) is Errno.EPERM
    assert stranger.refused(Txattrcreate(stranger.walk(b"file"), name, 0, 0)) is Errno.EPERM
    root.setxattr(root.walk(b"file"), name, b"all")
    owner.setattr(owner.walk(b"file"), CHMOD, mode=0o604)
    removal = Txattrcreate(stranger.walk(b"file"), name, 0, REPLACE)
    assert stranger.refused(removal) is Errno.EPERM


def test_a_writer_sets_the_list_again_that_is_there(owner: Client, stranger: Client) -> None:
    """With ``posixacl``, Linux does when a write takes set-ID bits away (v9fs_acl_chmod): opening
    such a file to truncate it was EPERM."""
    owner.make(b"file", mode=0o600)
    entries = [(USER_OBJ, 7), (USER, 6, STRANGER), (GROUP_OBJ, 0), (MASK, 7), (OTHER, 0)]
    owner.setxattr(owner.walk(b"file"), ACCESS, access_list(*entries))
    owner.setattr(owner.walk(b"file"), CHMOD, mode=0o4770)
    path = stranger.walk(b"file")
    stranger.setattr(path, DROP_PRIVILEGES, mode=0o100770)
    value = owner.getxattr(owner.walk(b"file"), ACCESS)
    stranger.setxattr(path, ACCESS, value)
    writer = stranger.writer(path, ACCESS, len(value))
    stranger.write(writer, access_list(*entries[:1], (USER, 7, STRANGER), *entries[2:]))
    assert stranger.refused(Tclunk(writer)) is Errno.EPERM
    assert stranger.refused(Tclunk(writer)) is Errno.EBADF
    assert owner.getxattr(owner.walk(b"file"), ACCESS) == value
    assert stranger.refused(Txattrcreate(path, ACCESS, 0, 0)) is Errno.EPERM
    owner.setattr(owner.walk(b"file"), CHMOD, mode=0o700)
    assert stranger.refused(Txattrcreate(path, ACCESS, len(value), 0)) is Errno.EPERM


CAPABILITY = b"security.capability"


@pytest.mark.parametrize(
    "change",
    [
        lambda user, _root: user.write(user.open(b"file", flags=O_WRONLY), b"code"),
        lambda user, _root: (
            user.land(Twrite(user.open(b"file", flags=O_WRONLY), 0, b"x" * 40_000))
            and user.arrive()
        ),
        lambda user, _root: user.setattr(user.walk(b"file"), TRUNCATE, size=2),
        lambda user, _root: user.call(Tlopen(user.walk(b"file"), O_WRONLY | O_TRUNC)),
        lambda user, _root: user.call(Tlcreate(user.walk(), b"file", O_WRONLY | O_TRUNC, 0, 0)),
        lambda _user, root: root.setattr(root.walk(b"file"), CHOWN, uid=STRANGER),
    ],
    ids=["write", "large write", "truncate", "open", "create", "chown"],
)
def test_capabilities_do_not_outlive_what_they_were_given_to(
    root: Client, stranger: Client, change: Callable[[Client, Client], object]
) -> None:
    """Who spoke to the server without Linux put code of their own behind a file's capabilities."""
    root.make(b"file", mode=0o777)
    root.setxattr(root.walk(b"file"), CAPABILITY, b"all")
    change(stranger, root)
    assert root.getxattr(root.walk(b"file"), b"") == b""


@pytest.mark.parametrize("name", [b"file", b"fifo", b"link"])
def test_capabilities_of_anything_but_a_directory_end_with_its_owner(
    root: Client, owner: Client, name: bytes
) -> None:
    """Only those of regular files did. Linux sends the removal itself, as whoever calls chown(2):
    to an owner who may not write it was EPERM."""
    root.make(b"file", mode=0o400)
    root.mknod(b"fifo", stat.S_IFIFO | 0o400)
    root.symlink(b"link", b"target")
    root.mkdir(b"directory", mode=0o400)
    for each in name, b"directory":
        fid = root.walk(each)
        root.setxattr(fid, CAPABILITY, b"all")
        root.setattr(fid, CHOWN | CHGRP, uid=OWNER, gid=5)
    assert root.getxattr(root.walk(name), b"") == b""
    assert root.getxattr(root.walk(b"directory"), CAPABILITY) == b"all"
    root.setxattr(root.walk(name), CAPABILITY, b"all")
    owner.setxattr(owner.walk(name), CAPABILITY, b"", REPLACE)
    removal = Txattrcreate(owner.walk(b"directory"), CAPABILITY, 0, REPLACE)
    assert owner.refused(removal) is Errno.EPERM
    root.setxattr(root.walk(name), CAPABILITY, b"all")
    owner.setattr(owner.walk(name), CHGRP, gid=GID)
    assert root.getxattr(root.walk(name), b"") == b""


@pytest.mark.parametrize("name", [DEFAULT, b"user.name"])
def test_what_was_once_allowed_is_asked_again_when_a_value_is_set(
    root: Client, owner: Client, name: bytes
) -> None:
    """Who had owned a directory gave it a list that let them into what others made in it later."""
    owner.mkdir(b"directory", mode=0o700)
    value = access_list((USER_OBJ, 7), (GROUP_OBJ, 0), (OTHER, 7))
    writer = owner.writer(owner.walk(b"directory"), name, len(value))
    owner.write(writer, value)
    root.setattr(root.walk(b"directory"), CHOWN, uid=STRANGER)
    assert owner.refused(Tclunk(writer)) in (Errno.EPERM, Errno.EACCES)
    assert owner.refused(Tclunk(writer)) is Errno.EBADF
    assert root.getxattr(root.walk(b"directory"), b"") == b""


def test_the_group_of_a_directory_is_kept_by_who_makes_files_in_it(
    owner: Client, stranger: Client
) -> None:
    """A write takes such bits away from files only; anybody could take them from directories."""
    owner.mkdir(b"directory", mode=0o2777)
    owner.setattr(owner.walk(b"directory"), CHMOD, mode=0o2777)
    path = stranger.walk(b"directory")
    for valid in (DROP_PRIVILEGES, CHMOD):
        request = set_attributes(path, valid, mode=0o40777)
        assert stranger.refused(request) is Errno.EPERM
    value = access_list((USER_OBJ, 7), (USER, 7, STRANGER), (GROUP_OBJ, 7), (MASK, 7), (OTHER, 7))
    owner.setxattr(owner.walk(b"directory"), ACCESS, value)
    value = owner.getxattr(owner.walk(b"directory"), ACCESS)
    assert stranger.refused(Txattrcreate(path, ACCESS, len(value), 0)) is Errno.EPERM
    assert owner.stat(b"directory").mode & 0o7777 == 0o2777


def test_a_directory_is_not_made_with_set_id_bits(owner: Client) -> None:
    """mkdir(2) has none; that of the group is the parent's, which Linux clients send."""
    owner.mkdir(b"directory", mode=0o7777)
    assert owner.stat(b"directory").mode & 0o7777 == 0o1777
    owner.setattr(owner.walk(b"directory"), CHMOD, mode=0o2777)
    owner.mkdir(b"below", mode=0o6777, at=owner.walk(b"directory"))
    assert owner.stat(b"directory", b"below").mode & 0o7777 == 0o2777


def test_nobody_comes_in_while_the_user_database_does_not_answer(server: Server) -> None:
    """They were in no group then, which may let in whom a list keeps out."""
    client = server.connect(uid=OWNER)

    def fail(_uid: int) -> Credentials:
        raise OSError("the directory service does not answer")

    server.volumes.named[DEFAULT_NAME].policy = Policy(fail)
    assert client.refused(Tattach(9, NOFID, b"", b"", MEMBER)) is Errno.EIO
    assert server.reports[-1][0] == "attach refused"


def test_capabilities_are_read_by_everybody(owner: Client, stranger: Client) -> None:
    """Linux asks before each write."""
    owner.make(b"file", mode=0o600)
    walk = Txattrwalk(stranger.walk(b"file"), 5, b"security.capability")
    assert stranger.refused(walk) is Errno.ENODATA
    for name in (b"system.posix_acl_access", b"system.posix_acl_default"):
        assert stranger.refused(Txattrwalk(stranger.walk(b"file"), 5, name)) is Errno.ENODATA
    assert stranger.getxattr(stranger.walk(b"file"), b"") == b""
    assert stranger.refused(Txattrwalk(stranger.walk(b"file"), 5, b"user.a")) is Errno.EACCES


def test_what_no_attribute_can_be_is_refused_for_that(owner: Client, stranger: Client) -> None:
    owner.make(b"file", mode=0o600)
    file = stranger.walk(b"file")
    long_name = b"user." + b"n" * 251
    assert stranger.refused(Txattrcreate(file, long_name, 1, 0)) is Errno.ERANGE
    assert stranger.refused(Txattrcreate(file, b"user.a", 65537, 0)) is Errno.E2BIG
    assert stranger.refused(Txattrcreate(file, b"user.a", 1, 0)) is Errno.EACCES


def test_every_number_has_one_row() -> None:
    assert len(GUARDED) == len(VERSIONED) == 256
    assert {request.number for request in GUARDS} <= CODECS.keys()
