"""The checker reports each way in which a file system can be broken: one that cannot fail is no
checker. Each test breaks a good one by hand."""

from array import array
from collections.abc import Callable

import pytest
from tests.access_lists import LIST

from ram9.storage.acls import ACCESS, DEFAULT
from ram9.storage.backing import Backing
from ram9.storage.check import check
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File
from ram9.storage.limits import Limits
from ram9.storage.runs import FreeRuns, Run


class Sample:
    """A small file system with one of each."""

    def __init__(self) -> None:
        self.filesystem = FileSystem(Limits(1 << 20, 100), lambda: 1000)
        self.root = self.filesystem.root
        self.directory = self.filesystem.mkdir(self.root, b"directory", 0o755, 0, 0)
        self.child = self.filesystem.mkdir(self.directory, b"child", 0o755, 0, 0)
        self.file = self.filesystem.create(self.directory, b"file", 0o644, 0, 0)
        self.filesystem.write(self.file, 0, b"x" * 700)
        self.filesystem.write(self.file, 5000, b"x" * 700)
        self.filesystem.symlink(self.root, b"symlink", b"target", 0, 0)
        self.filesystem.set_xattr(self.file, b"user.a", b"value")
        self.orphan = self.filesystem.create(self.root, b"orphan", 0o644, 0, 0)
        self.filesystem.hold(self.orphan)
        self.filesystem.unlink(self.root, b"orphan")
        self.gone = self.filesystem.mkdir(self.directory, b"gone", 0o755, 0, 0)
        self.filesystem.hold(self.gone)
        self.filesystem.rmdir(self.directory, b"gone")


@pytest.fixture
def sample() -> Sample:
    return Sample()


def test_nothing_is_wrong_with_a_good_one(sample: Sample) -> None:
    assert check(sample.filesystem) == []


def test_nothing_is_wrong_while_a_write_lands(sample: Sample) -> None:
    landing = sample.filesystem.land(sample.file, 100_000, 9000)
    assert landing is not None
    assert check(sample.filesystem, [landing.claim]) == []
    assert check(sample.filesystem) != []


def test_nothing_is_wrong_with_a_file_that_grows(sample: Sample) -> None:
    for _ in range(5):
        sample.filesystem.write(sample.orphan, sample.orphan.size_bytes, b"x" * 600)
    assert sample.orphan.content.reserve is not None
    assert check(sample.filesystem) == []


def lose_a_run(sample: Sample) -> None:
    content = sample.file.content
    del content._starts[1], content._places[1], content._counts[1]


def overlap_runs(sample: Sample) -> None:
    sample.file.content._starts[1] = 1


def split_a_run(sample: Sample) -> None:
    content = sample.file.content
    place = content._places[0]
    content._starts, content._counts = array("q", [0, 1, 9]), array("q", [1, 1, 3])
    content._places = array("q", [place, place + 1, content._places[1]])


def empty_a_run(sample: Sample) -> None:
    sample.file.content._counts[1] = 0


def shrink(sample: Sample) -> None:
    sample.file.content.size_bytes = 5001


def leave_old_bytes(sample: Sample) -> None:
    sample.file.content.size_bytes -= 1


def free_a_used_sector(sample: Sample) -> None:
    sample.filesystem.disk.space.free(sample.file.content.runs[0][1].place, 1)


def lose_free_sectors(sample: Sample) -> None:
    sample.filesystem.disk.space.cold = FreeRuns()


def lose_sectors_in_between(sample: Sample) -> None:
    sample.filesystem.disk.space.take_at(sample.filesystem.disk.arena.sectors - 1000, 8)
    assert sample.filesystem.disk.space.take(8) != [Run(0, 0)]


def forget_reserve(sample: Sample) -> None:
    sample.filesystem.write(sample.orphan, 0, b"x" * 600)
    sample.filesystem.write(sample.orphan, 600, b"x" * 600)
    assert sample.orphan.content.reserve is not None
    sample.orphan.content._reserve = None


def name_a_directory_twice(sample: Sample) -> None:
    sample.root.entries.add(b"again", sample.child)


def name_an_orphan(sample: Sample) -> None:
    sample.root.entries.add(b"again", sample.orphan)


def fill_a_removed_directory(sample: Sample) -> None:
    sample.gone.entries.add(b"file", sample.file)


def reorder_cookies(sample: Sample) -> None:
    sample.directory.entries._cookies.reverse()


def use_the_dots_cookie(sample: Sample) -> None:
    sample.directory.entries._cookies[0] = 1


def reuse_cookies(sample: Sample) -> None:
    sample.directory.entries.last_cookie -= 2


def unlist_a_name(sample: Sample) -> None:
    sample.directory.entries._names[0] = b""


def set_attribute(path: str, value: object) -> Callable[[Sample], None]:
    def break_it(sample: Sample) -> None:
        owner: object = sample
        *steps, name = path.split(".")
        for step in steps:
            owner = getattr(owner, step)
        setattr(owner, name, value)

    return break_it


def adopt_elsewhere(sample: Sample) -> None:
    sample.child.parent = sample.root


def move_the_root(sample: Sample) -> None:
    sample.root.parent = sample.directory


BREAKS: list[tuple[Callable[[Sample], None], str]] = [
    (lose_a_run, "held by nobody"),
    (lose_a_run, "says 5 sectors"),
    (lose_a_run, "bytes are used, the budget says"),
    (overlap_runs, "runs overlap at sector 1"),
    (split_a_run, "runs are not joined at sector 1"),
    (empty_a_run, "an empty run"),
    (shrink, "sectors beyond the end"),
    (leave_old_bytes, "bytes beyond the end are not zero"),
    (free_a_used_sector, "held twice"),
    (lose_free_sectors, "on are held by nobody"),
    (lose_sectors_in_between, "held by nobody"),
    (forget_reserve, "held by nobody"),
    (name_a_directory_twice, "has two names"),
    (name_an_orphan, "has the name b'again'"),
    (fill_a_removed_directory, "was removed and has entries"),
    (reorder_cookies, "cookies out of order"),
    (use_the_dots_cookie, "cookies out of order"),
    (reuse_cookies, "a cookie will be used twice"),
    (unlist_a_name, "the listing misses names"),
    (adopt_elsewhere, "does not know its parent"),
    (move_the_root, "the root's parent is not the root"),
    (set_attribute("file.nlink", 2), "has 1 links and says 2"),
    (set_attribute("directory.nlink", 2), "has 3 links and says 2"),
    (set_attribute("gone.nlink", 1), "has 0 links and says 1"),
    (set_attribute("orphan.holds", 0), "lives and nothing keeps it"),
    (set_attribute("file.holds", -1), "lives and nothing keeps it"),
    (set_attribute("directory.holds", 0), "what its '..' leads to is not kept"),
    (set_attribute("file.version", 0), "has version 0"),
    (set_attribute("file.version", 2**32), "has version"),
    (set_attribute("file.ctime_ns", 999), "changed before it was made"),
    (set_attribute("root.xattrs", {}), "keeps an empty table of attributes"),
    (set_attribute("file.xattrs", {ACCESS: b"list"}), "is no access control list"),
    (set_attribute("file.xattrs", {DEFAULT: LIST[:-8]}), "is no access control list"),
    (set_attribute("file.xattrs", {ACCESS: LIST}), "its access list says otherwise"),
    (set_attribute("file.number", 1), "inode number 1 is used twice"),
    (set_attribute("filesystem.budget.used_bytes", 0), "the budget says 0"),
    (set_attribute("filesystem.budget.used_inodes", 0), "the budget says 0"),
    (set_attribute("filesystem.budget.limit_bytes", 100), "of 100 bytes are used"),
    (set_attribute("filesystem.budget.limit_inodes", 2), "of 2 inodes are used"),
    (set_attribute("filesystem.budget.memory._noted_bytes", 7), "others were drawn"),
    (set_attribute("filesystem.budget.limit_bytes", 1 << 40), "the limit is beyond the 16777216"),
    (set_attribute("filesystem.disk.space.cold.sectors", 7), "cold sectors are miscounted"),
    (set_attribute("filesystem.disk.space.warm.sectors", 7777), "warm sectors are miscounted"),
]


@pytest.mark.parametrize(("break_it", "complaint"), BREAKS)
def test_a_broken_one_is_reported(
    sample: Sample, break_it: Callable[[Sample], None], complaint: str
) -> None:
    break_it(sample)
    assert any(complaint in violation for violation in check(sample.filesystem))


def test_what_was_not_wiped_is_reported() -> None:
    filesystem = FileSystem(Limits(1 << 20, 100), lambda: 1000, backing=Backing(wipe=True))
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    filesystem.write(file, 0, b"x" * 700)
    assert check(filesystem) == []
    filesystem.unlink(filesystem.root, b"file")
    assert check(filesystem) == []
    (place, _), *_ = filesystem.disk.space.warm
    filesystem.disk.view[512 * place] = 1
    assert check(filesystem) == [f"free sectors at {place} were not wiped"]


def test_the_samples_are_of_the_kinds_they_say(sample: Sample) -> None:
    assert isinstance(sample.file, File)
    assert isinstance(sample.gone, Directory)
    assert sample.filesystem.orphans == {sample.orphan, sample.gone}
