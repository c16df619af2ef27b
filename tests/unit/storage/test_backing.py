"""Kinds of memory, and the file without a name that can hold sectors."""

import errno
import os
from pathlib import Path

import pytest

from ram9.storage.backing import CHUNK_SECTORS, Backing, BackingFile, Kind
from ram9.storage.limits import SECTOR_BYTES

CHUNK_BYTES = CHUNK_SECTORS * SECTOR_BYTES


@pytest.fixture
def file(tmp_path: Path) -> BackingFile:
    return BackingFile(str(tmp_path), 8 * CHUNK_SECTORS)


def held_bytes(file: BackingFile) -> int:
    """What the disk keeps for it."""
    return os.fstat(file.number).st_blocks * 512


def test_only_a_file_has_a_directory() -> None:
    assert Backing() == Backing(Kind.PAGEABLE, "", wipe=False)
    with pytest.raises(ValueError, match="needs a directory"):
        Backing(Kind.FILE)
    with pytest.raises(ValueError, match="others take none"):
        Backing(Kind.LOCKED, "/var")


@pytest.mark.parametrize("kind", Kind)
def test_all_but_files_are_memory_of_the_machine(kind: Kind) -> None:
    backing = Backing(kind, "/var" if kind is Kind.FILE else "")
    assert backing.is_in_memory is (kind is not Kind.FILE)


def test_a_file_has_no_name_and_takes_nothing(file: BackingFile, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(file.number).st_nlink == 0
    assert os.fstat(file.number).st_size == 8 * CHUNK_BYTES
    assert held_bytes(file) == 0


def test_a_file_is_closed_with_its_last_reference(tmp_path: Path) -> None:
    file = BackingFile(str(tmp_path), 8)
    number = file.number
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_the_disk_keeps_room_for_what_is_allocated(file: BackingFile) -> None:
    assert file.allocate([(CHUNK_SECTORS - 1, 2), (7 * CHUNK_SECTORS, 1)])
    assert held_bytes(file) == 3 * CHUNK_BYTES
    assert file.allocate([(0, 8 * CHUNK_SECTORS)])
    assert held_bytes(file) == 8 * CHUNK_BYTES


def test_what_is_allocated_is_not_asked_for_again(
    file: BackingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fallocate", lambda _, *where: asked.append(where))
    for _ in range(2):
        assert file.allocate([(CHUNK_SECTORS, 1), (0, 3 * CHUNK_SECTORS)])
    assert asked == [(CHUNK_BYTES, CHUNK_BYTES), (0, CHUNK_BYTES), (2 * CHUNK_BYTES, CHUNK_BYTES)]


def test_what_became_a_hole_is(file: BackingFile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert file.allocate([(0, 3 * CHUNK_SECTORS)])
    file.note_hole(CHUNK_SECTORS + 8, 8)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fallocate", lambda _, *where: asked.append(where))
    assert file.allocate([(0, 3 * CHUNK_SECTORS)])
    assert asked == [(CHUNK_BYTES, CHUNK_BYTES)]


def test_a_last_chunk_that_is_not_whole_does_not_make_the_file_longer(tmp_path: Path) -> None:
    file = BackingFile(str(tmp_path), CHUNK_SECTORS + 8)
    assert file.allocate([(CHUNK_SECTORS, 8)])
    assert os.fstat(file.number).st_size == (CHUNK_SECTORS + 8) * SECTOR_BYTES


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_where_the_disk_has_no_room_nothing_is_allocated(
    file: BackingFile, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        assert not file.allocate([(0, 1)])
    assert file.allocate([(0, 1)])


def test_zeros_are_put_as_often_as_it_takes(
    file: BackingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write near the end of the room of a disk may be a short one: the rest stayed."""
    os.pwrite(file.number, b"x" * 9000, 0)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda number, data, at: write(number, data[:1000], at))
    assert file.overwrite(100, memoryview(bytes(8800))) == 0
    assert os.pread(file.number, 9001, 0) == b"x" * 100 + bytes(8800) + b"x" * 100 + b"\0"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_zeros_that_are_not_put_are_told_where_there_is_something(
    file: BackingFile, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """All that went wrong was taken for a hole on a full disk."""
    page = 4096
    os.pwrite(file.number, b"x" * page, 4 * page)
    write = os.pwrite

    def refuse(file_number: int, data: memoryview, at: int) -> int:
        if at >= 4 * page + 100:
            raise OSError(number, os.strerror(number))
        return write(file_number, data[:100], at)

    monkeypatch.setattr(os, "pwrite", refuse)
    zeros = memoryview(bytes(page))
    assert file.overwrite(4 * page, zeros) == page - 100
    assert file.overwrite(5 * page, zeros) == 0
    assert file.overwrite(9 * page, zeros) == 0
    assert os.pread(file.number, page, 4 * page) == bytes(100) + b"x" * (page - 100)


def test_a_disk_that_writes_and_tells_nothing_has_everything(
    file: BackingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "lseek", refuse)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    assert file.overwrite(0, memoryview(bytes(4096))) == 4096


def test_a_file_system_without_nameless_files_gives_one_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse(path: str, flags: int, *mode: int, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return opened(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", refuse)
    file = BackingFile(str(tmp_path), 8)
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(file.number).st_nlink == 0


def test_without_a_directory_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        BackingFile(str(tmp_path / "nowhere"), 8)
