"""A file system that was full of small things is small again, and the same."""

import random
import sys
from typing import Any

import pytest

from ram9.storage.check import check
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits
from ram9.storage.shrinking import shrink

MANY = 20_000


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(256 << 20, MANY + 10), lambda: 1000)


def fill_and_empty(filesystem: FileSystem) -> None:
    """Many files of a sector come and go in no order; one stays, and a directory with names."""
    root = filesystem.root
    for number in range(MANY):
        filesystem.write(filesystem.create(root, b"%d" % number, 0o644, 0, 0), 0, b"x")
    numbers = list(range(1, MANY))
    random.Random(7).shuffle(numbers)
    for number in numbers:
        filesystem.unlink(root, b"%d" % number)


def table_bytes(table: Any) -> int:
    return sys.getsizeof(table)


def test_tables_of_free_runs_and_names_become_small(filesystem: FileSystem) -> None:
    fill_and_empty(filesystem)
    warm = filesystem.disk.space.warm
    assert table_bytes(warm._count_at) > 50_000  # runs lay everywhere, before they were joined
    shrink(filesystem)
    for table in (warm._count_at, warm._start_of, filesystem.root.entries._by_name):
        assert table_bytes(table) < 2000
    assert check(filesystem) == []


def test_what_is_there_stays(filesystem: FileSystem) -> None:
    fill_and_empty(filesystem)
    before = sorted(filesystem.disk.space.warm)
    listed = list(filesystem.root.entries.after(0))
    shrink(filesystem)
    assert sorted(filesystem.disk.space.warm) == before
    assert list(filesystem.root.entries.after(0)) == listed
    file = filesystem.create(filesystem.root, b"new", 0o644, 0, 0)
    filesystem.write(file, 0, b"x" * 100_000)
    assert check(filesystem) == []


def test_a_reader_of_the_directory_goes_on_where_it_was(filesystem: FileSystem) -> None:
    for number in range(10):
        filesystem.create(filesystem.root, b"%d" % number, 0o644, 0, 0)
    entries = filesystem.root.entries
    cookie = entries.cookie_of(b"4")
    filesystem.unlink(filesystem.root, b"4")
    shrink(filesystem)
    assert [name for _, name, _ in entries.after(cookie)] == [b"5", b"6", b"7", b"8", b"9"]


def test_files_without_a_name_that_were_many_leave_a_small_table(filesystem: FileSystem) -> None:
    files = [filesystem.create(filesystem.root, b"%d" % i, 0o644, 0, 0) for i in range(MANY)]
    for number, file in enumerate(files):
        filesystem.hold(file)
        filesystem.unlink(filesystem.root, b"%d" % number)
    for file in files[1:]:
        filesystem.release(file)
    shrink(filesystem)
    assert filesystem.orphans == {files[0]}
    assert table_bytes(filesystem.orphans) < 2000
    assert check(filesystem) == []
