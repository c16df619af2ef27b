"""Operations on names and lives; the machines in tests/property do the rest."""

import stat
from itertools import count

import pytest

from ram9.storage.check import check
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File, Inode
from ram9.storage.limits import Limits


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(1 << 20, 3000), lambda: 1000)


@pytest.fixture
def root(filesystem: FileSystem) -> Directory:
    return filesystem.root


@pytest.fixture
def file(filesystem: FileSystem, root: Directory) -> File:
    made = filesystem.create(root, b"file", 0o644, 1, 2)
    filesystem.write(made, 0, b"data")
    return made


@pytest.fixture
def directory(filesystem: FileSystem, root: Directory) -> Directory:
    return filesystem.mkdir(root, b"directory", 0o755, 1, 2)


def test_numbers_count_up_from_the_first() -> None:
    filesystem = FileSystem(Limits(1 << 20, 10), lambda: 0, count(1 << 40))
    assert filesystem.root.number == 1 << 40
    assert filesystem.mkdir(filesystem.root, b"a", 0o755, 0, 0).number == (1 << 40) + 1


def test_a_number_is_never_used_again(filesystem: FileSystem, root: Directory) -> None:
    first = filesystem.create(root, b"a", 0o644, 0, 0).number
    filesystem.unlink(root, b"a")
    assert filesystem.create(root, b"a", 0o644, 0, 0).number > first


def test_a_volume_without_room_for_its_root_is_refused() -> None:
    with pytest.raises(FileSystemError, match="ENOSPC"):
        FileSystem(Limits(100, 10), lambda: 0)


def test_the_root_is_above_itself(filesystem: FileSystem, root: Directory) -> None:
    assert filesystem.lookup(root, b"..") is root


def test_the_dots_lead_here_and_up(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    assert filesystem.lookup(directory, b".") is directory
    assert filesystem.lookup(directory, b"..") is root


def test_what_cannot_be_a_name_is_not_looked_for(filesystem: FileSystem, root: Directory) -> None:
    for name, errno in ((b"missing", "ENOENT"), (b"n" * 256, "ENAMETOOLONG")):
        with pytest.raises(FileSystemError, match=errno):
            filesystem.lookup(root, name)


def test_only_the_permissions_of_a_mode_are_taken(filesystem: FileSystem, root: Directory) -> None:
    made = filesystem.create(root, b"a", stat.S_IFIFO | 0o7777, 0, 0)
    assert made.mode == stat.S_IFREG | 0o7777


def test_a_directory_below_a_set_group_id_one_is_one(
    filesystem: FileSystem, directory: Directory
) -> None:
    filesystem.set_attributes(directory, mode=0o2755)
    assert filesystem.mkdir(directory, b"a", 0o700, 1, 2).mode == stat.S_IFDIR | 0o2700


@pytest.mark.parametrize("kind", [0, stat.S_IFREG])
def test_mknod_makes_files_too(filesystem: FileSystem, root: Directory, kind: int) -> None:
    assert isinstance(filesystem.mknod(root, b"a", kind | 0o644, 0, 0), File)


@pytest.mark.parametrize(
    ("name", "errno"),
    [
        (b"", "ENOENT"),
        (b".", "EEXIST"),
        (b"..", "EEXIST"),
        (b"file", "EEXIST"),
        (b"a/b", "EINVAL"),
        (b"a\0", "EINVAL"),
        (b"n" * 256, "ENAMETOOLONG"),
    ],
)
@pytest.mark.usefixtures("file")
def test_names_that_cannot_be_made(
    filesystem: FileSystem, root: Directory, name: bytes, errno: str
) -> None:
    with pytest.raises(FileSystemError, match=f"^{errno}$"):
        filesystem.mkdir(root, name, 0o755, 0, 0)
    assert check(filesystem) == []


@pytest.mark.parametrize("target", [b"", b"a\0b", b"t" * 4096])
def test_a_link_to_nothing_meaningful_is_refused(
    filesystem: FileSystem, root: Directory, target: bytes
) -> None:
    with pytest.raises(FileSystemError):
        filesystem.symlink(root, b"a", target, 0, 0)


@pytest.mark.parametrize(("mode", "errno"), [(stat.S_IFDIR, "EPERM"), (stat.S_IFLNK, "EINVAL")])
def test_mknod_makes_only_nodes(
    filesystem: FileSystem, root: Directory, mode: int, errno: str
) -> None:
    with pytest.raises(FileSystemError, match=errno):
        filesystem.mknod(root, b"a", mode | 0o644, 0, 0)


def test_nothing_is_found_in_a_file(filesystem: FileSystem, file: File) -> None:
    with pytest.raises(FileSystemError, match="ENOTDIR"):
        filesystem.lookup(file, b".")
    with pytest.raises(FileSystemError, match="ENOTDIR"):
        filesystem.unlink(file, b".")
    with pytest.raises(FileSystemError, match="ENOTDIR"):
        filesystem.mkdir(file, b"a", 0o755, 0, 0)


@pytest.mark.parametrize("name", [b".", b".."])
def test_the_dots_cannot_be_unlinked(filesystem: FileSystem, root: Directory, name: bytes) -> None:
    """Linux says EISDIR; we said EINVAL, until the same was done on a tmpfs."""
    with pytest.raises(FileSystemError, match="EISDIR"):
        filesystem.unlink(root, name)


@pytest.mark.parametrize(("name", "errno"), [(b".", "EINVAL"), (b"..", "ENOTEMPTY")])
def test_the_dots_cannot_be_removed(
    filesystem: FileSystem, root: Directory, name: bytes, errno: str
) -> None:
    with pytest.raises(FileSystemError, match=errno):
        filesystem.rmdir(root, name)


@pytest.mark.parametrize("name", [b"missing", b"file", b"."])
@pytest.mark.usefixtures("file")
def test_nothing_becomes_a_dot(filesystem: FileSystem, root: Directory, name: bytes) -> None:
    """Linux looks at the dots before it looks for the name (found against a tmpfs)."""
    with pytest.raises(FileSystemError, match="EBUSY"):
        filesystem.rename(root, name, root, b"..")


def test_renaming_into_a_file_is_refused_before_looking(
    filesystem: FileSystem, root: Directory, file: File
) -> None:
    with pytest.raises(FileSystemError, match="ENOTDIR"):
        filesystem.rename(root, b"missing", file, b"a")


def test_nothing_is_made_in_a_removed_directory(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    filesystem.hold(directory)
    filesystem.rmdir(root, b"directory")
    for name in (b"a", b"n" * 256):
        with pytest.raises(FileSystemError, match="ENOENT"):
            filesystem.mkdir(directory, name, 0o755, 0, 0)
        with pytest.raises(FileSystemError, match="ENOENT"):
            filesystem.lookup(directory, name)


def test_an_unlinked_file_is_read_while_it_is_held(
    filesystem: FileSystem, root: Directory, file: File
) -> None:
    filesystem.hold(file)
    filesystem.unlink(root, b"file")
    assert filesystem.read(file, 0, 10) == b"data"
    assert check(filesystem) == []


def test_a_file_is_gone_with_its_last_hold(
    filesystem: FileSystem, root: Directory, file: File
) -> None:
    used = filesystem.budget.used_inodes
    filesystem.hold(file)
    filesystem.unlink(root, b"file")
    filesystem.release(file)
    assert filesystem.budget.used_inodes == used - 1
    assert check(filesystem) == []


def test_a_file_without_names_gets_none(
    filesystem: FileSystem, root: Directory, file: File
) -> None:
    filesystem.hold(file)
    filesystem.unlink(root, b"file")
    with pytest.raises(FileSystemError, match="ENOENT"):
        filesystem.link(file, root, b"again")


def test_releasing_what_is_not_held_is_a_mistake(filesystem: FileSystem, file: File) -> None:
    with pytest.raises(AssertionError):
        filesystem.release(file)


def test_a_reserve_is_given_back_when_a_file_is_closed(filesystem: FileSystem, file: File) -> None:
    filesystem.hold(file)
    for _ in range(10):
        filesystem.write(file, file.size_bytes, b"x" * 1000)
    assert file.content.reserve is not None
    filesystem.release(file)
    assert file.content.reserve is None


def test_what_is_above_a_removed_directory_lives_as_long_as_that(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    """``..`` of a held and removed directory led to one that was gone: whoever held and released
    that one destroyed it again, and its inode was given back to the budget twice."""
    below = filesystem.mkdir(directory, b"below", 0o755, 0, 0)
    filesystem.hold(below)
    filesystem.rmdir(directory, b"below")
    filesystem.rmdir(root, b"directory")
    above = filesystem.lookup(below, b"..")
    assert above is directory
    filesystem.hold(above)
    filesystem.release(above)
    assert check(filesystem) == []
    filesystem.release(below)
    assert filesystem.budget.used_inodes == 1
    assert check(filesystem) == []


def test_only_what_is_no_directory_is_unlinked(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    with pytest.raises(FileSystemError, match="EISDIR"):
        filesystem.unlink(root, b"directory")
    assert filesystem.lookup(root, b"directory") is directory


@pytest.mark.usefixtures("file")
def test_only_an_empty_directory_is_removed(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    with pytest.raises(FileSystemError, match="ENOTDIR"):
        filesystem.rmdir(root, b"file")
    filesystem.mkdir(directory, b"below", 0o755, 0, 0)
    with pytest.raises(FileSystemError, match="ENOTEMPTY"):
        filesystem.rmdir(root, b"directory")


@pytest.mark.usefixtures("file", "directory")
def test_files_and_directories_do_not_replace_each_other(
    filesystem: FileSystem, root: Directory
) -> None:
    with pytest.raises(FileSystemError, match="EISDIR"):
        filesystem.rename(root, b"file", root, b"directory")
    with pytest.raises(FileSystemError, match="ENOTDIR"):
        filesystem.rename(root, b"directory", root, b"file")


def test_a_directory_replaces_an_empty_one_only(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    other = filesystem.mkdir(root, b"other", 0o755, 0, 0)
    filesystem.mkdir(other, b"below", 0o755, 0, 0)
    with pytest.raises(FileSystemError, match="ENOTEMPTY"):
        filesystem.rename(root, b"directory", root, b"other")
    filesystem.rename(root, b"other", root, b"directory")
    assert filesystem.lookup(root, b"directory") is other
    assert directory.nlink == 0
    assert check(filesystem) == []


def test_a_directory_has_one_name(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    with pytest.raises(FileSystemError, match="EPERM"):
        filesystem.link(directory, root, b"other")


def test_a_file_with_another_name_stays(
    filesystem: FileSystem, root: Directory, file: File
) -> None:
    filesystem.link(file, root, b"other")
    filesystem.unlink(root, b"file")
    assert (file.nlink, filesystem.lookup(root, b"other")) == (1, file)


def test_a_long_chain_of_removed_directories_goes_at_once(
    filesystem: FileSystem, root: Directory
) -> None:
    chain = [root]
    for _ in range(1000):
        chain.append(filesystem.mkdir(chain[-1], b"d", 0o755, 0, 0))
    filesystem.hold(chain[-1])
    for directory in reversed(chain[:-1]):
        filesystem.rmdir(directory, b"d")
    assert filesystem.budget.used_inodes == 1001
    filesystem.release(chain[-1])
    assert filesystem.budget.used_inodes == 1
    assert check(filesystem) == []


def test_a_directory_does_not_move_below_itself(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    below = filesystem.mkdir(directory, b"below", 0o755, 0, 0)
    with pytest.raises(FileSystemError, match="EINVAL"):
        filesystem.rename(root, b"directory", below, b"a")


def test_nothing_replaces_a_directory_above_it(
    filesystem: FileSystem, root: Directory, directory: Directory
) -> None:
    filesystem.create(directory, b"a", 0o644, 0, 0)
    with pytest.raises(FileSystemError, match="ENOTEMPTY"):
        filesystem.rename(directory, b"a", root, b"directory")


def test_two_names_of_one_file_both_stay(
    filesystem: FileSystem, root: Directory, file: File
) -> None:
    filesystem.link(file, root, b"other")
    filesystem.rename(root, b"file", root, b"other")
    assert filesystem.lookup(root, b"file") is filesystem.lookup(root, b"other") is file


def test_a_replaced_file_lives_while_it_is_held(
    filesystem: FileSystem, root: Directory, file: File
) -> None:
    filesystem.hold(file)
    filesystem.create(root, b"new", 0o644, 0, 0)
    filesystem.rename(root, b"new", root, b"file")
    assert filesystem.orphans == {file}
    assert check(filesystem) == []


def test_a_shorter_name_fits_a_full_volume(filesystem: FileSystem, root: Directory) -> None:
    filesystem.mkdir(root, b"long name", 0o755, 0, 0)
    filesystem.budget.limit_bytes = filesystem.budget.used_bytes
    filesystem.rename(root, b"long name", root, b"name")
    with pytest.raises(FileSystemError, match="ENOSPC"):
        filesystem.rename(root, b"name", root, b"longer name")
    assert check(filesystem) == []


@pytest.mark.parametrize(("what", "errno"), [(b"d", "EISDIR"), (b"s", "EINVAL")])
def test_only_files_have_a_size_to_set(
    filesystem: FileSystem, root: Directory, what: bytes, errno: str
) -> None:
    filesystem.mkdir(root, b"d", 0o755, 0, 0)
    filesystem.symlink(root, b"s", b"target", 0, 0)
    with pytest.raises(FileSystemError, match=errno):
        filesystem.set_attributes(filesystem.lookup(root, what), size_bytes=0)


def test_the_size_that_a_file_has_changes_no_time() -> None:
    now_ns = 1000
    filesystem = FileSystem(Limits(1 << 20, 10), lambda: now_ns)
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    now_ns = 2000
    filesystem.set_attributes(file, size_bytes=0)
    assert (file.mtime_ns, file.ctime_ns) == (1000, 1000)
    filesystem.set_attributes(file, size_bytes=0, mtime_ns=5)
    assert (file.mtime_ns, file.ctime_ns) == (5, 2000)


def test_owner_mode_and_times_are_set(filesystem: FileSystem, file: File) -> None:
    filesystem.set_attributes(file, mode=stat.S_IFDIR | 0o4711, uid=7, gid=8, atime_ns=9)
    assert file.mode == stat.S_IFREG | 0o4711
    assert (file.uid, file.gid, file.atime_ns) == (7, 8, 9)


def test_what_is_lent_is_what_is_read(filesystem: FileSystem, file: File) -> None:
    assert filesystem.lend(file, 1, 10) == filesystem.read(file, 1, 10) == b"ata"


def test_a_landed_write_is_a_change_of_the_file(filesystem: FileSystem, file: File) -> None:
    version = file.version
    landing = filesystem.land(file, 512, 9000)
    assert landing is not None
    assert file.version == version
    assert filesystem.commit(file, landing) == 9000
    assert file.version == version + 1


def test_everything_removed_costs_nothing(filesystem: FileSystem, root: Directory) -> None:
    used_bytes = filesystem.budget.used_bytes
    made: list[Inode] = [
        filesystem.create(root, b"file", 0o644, 0, 0),
        filesystem.symlink(root, b"symlink", b"target", 0, 0),
        filesystem.mknod(root, b"fifo", stat.S_IFIFO, 0, 0),
    ]
    filesystem.mkdir(root, b"directory", 0o755, 0, 0)
    for inode in made:
        filesystem.set_xattr(inode, b"user.a", b"value")
    for name in (b"file", b"symlink", b"fifo"):
        filesystem.unlink(root, name)
    filesystem.rmdir(root, b"directory")
    assert filesystem.budget.used_bytes == used_bytes
