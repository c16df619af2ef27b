"""Tsymlink, Treadlink, Tlink, Tmknod."""

import stat

import pytest
from tests.client import GID, ROOT, UID, Client, Server
from tests.conformance.names import BAD_NAMES

from ram9.protocol.messages import Tlink, Tmknod, Treadlink, Tsymlink
from ram9.storage.errors import Errno
from ram9.storage.limits import Limits

# Symbolic links


@pytest.mark.parametrize("target", [b"x", b"/a/b", b"../..", b"\xff\xfe", b"x" * 4095])
def test_a_symbolic_link_keeps_its_target(client: Client, target: bytes) -> None:
    """T26: any bytes but NUL, up to PATH_MAX."""
    qid = client.symlink(b"link", target)
    link = client.walk(b"link")
    found = client.getattr(link)
    assert client.readlink(link) == target
    assert found.qid == qid
    assert (found.mode, found.uid, found.gid, found.nlink) == (0o120777, UID, GID, 1)
    assert found.size == len(target)


@pytest.mark.parametrize(
    ("target", "errno"),
    [(b"", Errno.ENOENT), (b"x" * 4096, Errno.ENAMETOOLONG), (b"a\0b", Errno.EINVAL)],
)
def test_what_is_no_target_is_refused(client: Client, target: bytes, errno: Errno) -> None:
    """T26: longer than 4095 bytes, no client could read it."""
    assert client.refused(Tsymlink(ROOT, b"link", target, GID)) is errno


@pytest.mark.parametrize(("name", "errno"), BAD_NAMES)
def test_what_is_no_free_name_makes_no_symbolic_link(
    client: Client, name: bytes, errno: Errno
) -> None:
    client.make(b"there")
    assert client.refused(Tsymlink(ROOT, name, b"target", GID)) is errno


def test_a_target_that_does_not_fit_into_msize_is_refused(server: Server, client: Client) -> None:
    """T26: the reply of 4,104 bytes would end the mount of a client whose msize is 4,096."""
    client.symlink(b"long", b"x" * 4088)
    client.symlink(b"longest", b"x" * 4087)
    small = server.connect(msize=4096)
    assert small.refused(Treadlink(small.walk(b"long"))) is Errno.ENAMETOOLONG
    assert len(small.readlink(small.walk(b"longest"))) == 4087


def test_reading_a_link_is_noted(client: Client) -> None:
    client.symlink(b"link", b"x")
    link = client.walk(b"link")
    before = client.getattr(link)
    client.readlink(link)
    assert client.getattr(link).atime_s > before.atime_s


def test_only_a_symbolic_link_has_a_target(client: Client) -> None:
    client.make(b"file")
    for fid in (ROOT, client.walk(b"file")):
        assert client.refused(Treadlink(fid)) is Errno.EINVAL


# Links


def test_a_link_is_noted_at_the_file_and_the_directory(client: Client) -> None:
    client.make(b"a", b"data")
    file = client.walk(b"a")
    before = client.getattr(file)
    client.link(file, b"b")
    after, root = client.getattr(file), client.getattr(ROOT)
    assert client.qid(b"b") == before.qid
    assert after.nlink == 2
    assert after.ctime_s == root.mtime_s == root.ctime_s > before.ctime_s
    assert after.mtime_s == before.mtime_s


def test_the_symbolic_link_itself_gets_the_name(client: Client) -> None:
    qid = client.symlink(b"link", b"a")
    client.link(client.walk(b"link"), b"also")
    assert client.qid(b"also") == qid


def test_special_files_can_have_more_names(client: Client) -> None:
    client.mknod(b"fifo", 0o010600)
    client.link(client.walk(b"fifo"), b"also")
    assert client.stat(b"also").nlink == 2


def test_a_directory_has_one_name(client: Client) -> None:
    client.mkdir(b"a")
    assert client.refused(Tlink(ROOT, client.walk(b"a"), b"b")) is Errno.EPERM
    assert client.refused(Tlink(client.walk(b"a"), ROOT, b"b")) is Errno.EPERM


@pytest.mark.parametrize(("name", "errno"), BAD_NAMES)
def test_what_is_no_free_name_makes_no_link(client: Client, name: bytes, errno: Errno) -> None:
    client.make(b"there")
    assert client.refused(Tlink(ROOT, client.walk(b"there"), name)) is errno


def test_what_has_lost_its_last_name_gets_no_other(client: Client) -> None:
    file = client.create(b"file")
    client.unlink(b"file")
    assert client.refused(Tlink(ROOT, file, b"new")) is Errno.ENOENT


def test_links_are_made_in_directories_that_are_there(client: Client) -> None:
    """T23"""
    client.make(b"file")
    client.mkdir(b"a")
    file, gone = client.walk(b"file"), client.walk(b"a")
    client.rmdir(b"a")
    assert client.refused(Tlink(file, file, b"x")) is Errno.ENOTDIR
    assert client.refused(Tlink(gone, file, b"x")) is Errno.ENOENT


def test_links_are_limited() -> None:
    server = Server(Limits(size_bytes=1 << 20, inodes=10, links=3))
    client = server.connect()
    client.make(b"1")
    file = client.walk(b"1")
    client.link(file, b"2")
    client.link(file, b"3")
    assert client.refused(Tlink(ROOT, file, b"4")) is Errno.EMLINK
    server.verify()


# Nodes


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK], ids=oct)
def test_a_node_is_the_users_and_of_the_group_that_was_named(client: Client, kind: int) -> None:
    before = client.getattr(ROOT)
    qid = client.call(Tmknod(ROOT, b"node", kind | 0o6640, 7, 300, 7)).qid
    found, root = client.stat(b"node"), client.getattr(ROOT)
    is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
    assert found.qid == qid
    assert qid.type == 0
    assert (found.mode, found.uid, found.gid, found.nlink) == (kind | 0o6640, UID, 7, 1)
    assert found.rdev == (1050412 if is_device else 0)
    assert root.mtime_s == found.btime_s > before.mtime_s


@pytest.mark.parametrize(
    ("major", "minor", "rdev"),
    [(0, 0, 0), (1, 3, 0x103), (7, 300, 1050412), (4095, 1048575, 2**32 - 1)],
)
def test_devices_have_numbers_as_linux_encodes_them(
    client: Client, major: int, minor: int, rdev: int
) -> None:
    """The client does new_decode_dev; overlayfs makes 0:0 for what it hides."""
    client.mknod(b"node", stat.S_IFCHR | 0o600, major, minor)
    assert client.stat(b"node").rdev == rdev


@pytest.mark.parametrize("mode", [0o644, stat.S_IFREG | 0o644])
def test_mknod_makes_files(client: Client, mode: int) -> None:
    client.mknod(b"file", mode, 7, 300)
    found = client.stat(b"file")
    assert (found.mode, found.rdev, found.size) == (stat.S_IFREG | 0o644, 0, 0)
    assert client.write(client.open(b"file", flags=2), b"data") == 4


@pytest.mark.parametrize(
    ("mode", "errno"),
    [
        (stat.S_IFDIR | 0o755, Errno.EPERM),
        (stat.S_IFLNK | 0o777, Errno.EINVAL),
        (0o170000, Errno.EINVAL),
    ],
)
def test_mknod_makes_nothing_else(client: Client, mode: int, errno: Errno) -> None:
    assert client.refused(Tmknod(ROOT, b"node", mode, 0, 0, GID)) is errno


@pytest.mark.parametrize(("name", "errno"), BAD_NAMES)
def test_what_is_no_free_name_makes_no_node(client: Client, name: bytes, errno: Errno) -> None:
    client.make(b"there")
    assert client.refused(Tmknod(ROOT, name, stat.S_IFIFO, 0, 0, GID)) is errno
