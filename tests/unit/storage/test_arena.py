"""The arena takes memory when it is written, and gives all of it back."""

import ctypes
import errno
import mmap
from collections.abc import Callable
from pathlib import Path

import pytest

from ram9.storage import arena as arena_module
from ram9.storage.arena import ROOM_BYTES_MAX, Arena, room_sectors
from ram9.storage.backing import Backing, BackingError, Kind
from ram9.storage.content import Content
from ram9.storage.disk import Disk
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES, Limits
from ram9.storage.space import FreeSpace

MIB = 1 << 20


def resident_bytes(arena: Arena) -> int:
    """How much of an arena is in memory (mincore(2))."""
    size_bytes = arena.sectors * SECTOR_BYTES
    first = ctypes.c_char.from_buffer(arena.memory)
    pages = (ctypes.c_ubyte * (size_bytes // mmap.PAGESIZE))()
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    assert mincore(ctypes.byref(first), ctypes.c_size_t(size_bytes), pages) == 0
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


@pytest.fixture
def filesystem() -> FileSystem:
    return FileSystem(Limits(256 * MIB, 10_000), lambda: 0)


def test_an_arena_is_whole_pages() -> None:
    assert Arena(1).sectors == PAGE_SECTORS
    assert Arena(PAGE_SECTORS).sectors == PAGE_SECTORS
    assert Arena(PAGE_SECTORS + 1).sectors == 2 * PAGE_SECTORS


def test_the_view_and_the_memory_are_the_same_bytes() -> None:
    arena = Arena(PAGE_SECTORS)
    arena.view[3:6] = b"abc"
    assert arena.memory[2:7] == b"\0abc\0"


def test_an_arena_of_a_terabyte_takes_no_memory() -> None:
    assert Arena(1 << 31).sectors == 1 << 31


def test_nothing_is_resident_before_it_is_written(filesystem: FileSystem) -> None:
    assert resident_bytes(filesystem.disk.arena) == 0


def test_a_page_given_back_reads_as_zeros() -> None:
    arena = Arena(2 * PAGE_SECTORS)
    arena.view[:] = b"x" * len(arena.view)
    arena.give_back(PAGE_SECTORS, PAGE_SECTORS)
    assert arena.memory[:4096] == b"x" * 4096
    assert arena.memory[4096:] == bytes(4096)


def test_only_whole_pages_are_given_back() -> None:
    arena = Arena(2 * PAGE_SECTORS)
    with pytest.raises(AssertionError):
        arena.give_back(1, PAGE_SECTORS)
    with pytest.raises(AssertionError):
        arena.give_back(0, PAGE_SECTORS - 1)


def write_and_unlink(filesystem: FileSystem, sizes_bytes: list[int]) -> int:
    """Write files of these sizes and unlink them; what was resident between."""
    for number, size_bytes in enumerate(sizes_bytes):
        file = filesystem.create(filesystem.root, b"%d" % number, 0o644, 0, 0)
        for offset in range(0, size_bytes, MIB):
            filesystem.write(file, offset, b"x" * min(MIB, size_bytes - offset))
    resident = resident_bytes(filesystem.disk.arena)
    for number in range(len(sizes_bytes)):
        filesystem.unlink(filesystem.root, b"%d" % number)
    return resident


def test_memory_of_removed_files_goes_back_to_the_system(filesystem: FileSystem) -> None:
    """memefs keeps what deleted files held until it ends (its issue 12)."""
    assert 64 * MIB <= write_and_unlink(filesystem, [64 * MIB]) <= 68 * MIB  # had in batches
    filesystem.disk.space.cool()
    assert resident_bytes(filesystem.disk.arena) == 0


@pytest.mark.parametrize(
    "sizes_bytes",
    [[1], [400] * 1000, [4107] * 500, [64 * MIB + 1], [5 * MIB + 513, 1, 2 * MIB - 511, 9000]],
)
def test_no_page_is_kept_whatever_the_sizes_of_files(
    filesystem: FileSystem, sizes_bytes: list[int]
) -> None:
    """A page of which some sectors were used and some never were lay half in the warm set and
    half in the cold one, so that neither had it whole and it was never given back."""
    write_and_unlink(filesystem, sizes_bytes)
    filesystem.disk.space.cool()
    assert resident_bytes(filesystem.disk.arena) == 0


def test_free_memory_is_kept_up_to_the_watermark_only(filesystem: FileSystem) -> None:
    space = FreeSpace(filesystem.disk.arena, 64 * MIB // SECTOR_BYTES, filesystem.budget.memory)
    filesystem.disk.space = space
    write_and_unlink(filesystem, [MIB] * 100)
    space.give_back(space.surplus(9))
    assert resident_bytes(filesystem.disk.arena) == 64 * MIB


def test_a_populated_range_is_zeros_and_is_given_back_in_parts() -> None:
    arena = Arena(64 * PAGE_SECTORS)
    populated = arena.populate(PAGE_SECTORS, 32 * PAGE_SECTORS)
    assert arena.populates is populated
    assert resident_bytes(arena) == (32 * mmap.PAGESIZE if populated else 0)
    assert not any(arena.view)
    arena.memory[:] = b"x" * len(arena.view)
    arena.give_back(PAGE_SECTORS, 63 * PAGE_SECTORS)
    assert resident_bytes(arena) == mmap.PAGESIZE
    assert arena.memory[:4097] == b"x" * 4096 + b"\0"


def test_a_system_that_does_not_populate_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram9.storage.arena.MADV_POPULATE_WRITE", 9999)
    arena = Arena(PAGE_SECTORS)
    assert not arena.populate(0, PAGE_SECTORS)
    assert not arena.populates
    assert resident_bytes(arena) == 0


def test_files_that_share_a_page_take_one(filesystem: FileSystem) -> None:
    for name in b"abcdefgh":
        file = filesystem.create(filesystem.root, bytes([name]), 0o644, 0, 0)
        filesystem.write(file, 0, b"x")
    assert resident_bytes(filesystem.disk.arena) == mmap.PAGESIZE


@pytest.mark.parametrize("grow", [Content.truncate, lambda content, end: content.write(end, b"x")])
def test_a_hole_takes_no_memory(
    filesystem: FileSystem, grow: Callable[[Content, int], object]
) -> None:
    """memefs allocates every sector of a file that is extended."""
    content = Content(Disk(filesystem.budget))
    grow(content, 1 << 40)
    assert resident_bytes(content._disk.arena) <= mmap.PAGESIZE
    assert content.sectors <= 1


@pytest.fixture(params=Kind)
def any_arena(request: pytest.FixtureRequest, tmp_path: Path) -> Arena:
    """An arena of each kind of memory; locked ones are small enough for every user."""
    kind: Kind = request.param
    return Arena(64 * PAGE_SECTORS, Backing(kind, str(tmp_path) if kind is Kind.FILE else ""))


def test_whatever_holds_it_what_is_written_is_read_and_given_back(any_arena: Arena) -> None:
    if any_arena.file is not None:
        assert any_arena.file.allocate([(0, any_arena.sectors)])
    any_arena.view[:] = b"x" * len(any_arena.view)
    any_arena.give_back(PAGE_SECTORS, 62 * PAGE_SECTORS)
    assert any_arena.memory[:4096] == b"x" * 4096
    assert any_arena.memory[4096:-4096] == bytes(62 * 4096)
    assert any_arena.memory[-4096:] == b"x" * 4096
    any_arena.view[4096:8192] = b"y" * 4096
    assert any_arena.memory[4096:8192] == b"y" * 4096


def test_an_older_system_gives_locked_memory_back_unlocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arena_module, "MADV_DONTNEED_LOCKED", 9999)
    arena = Arena(4 * PAGE_SECTORS, Backing(Kind.LOCKED))
    arena.view[:] = b"x" * len(arena.view)
    arena.give_back(PAGE_SECTORS, 2 * PAGE_SECTORS)
    assert resident_bytes(arena) == 2 * mmap.PAGESIZE
    assert arena.memory[4096:-4096] == bytes(2 * 4096)


def test_holes_that_cannot_be_made_keep_what_they_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = Arena(4 * PAGE_SECTORS, Backing(Kind.FILE, str(tmp_path)))
    assert arena.file is not None
    assert arena.file.allocate([(0, arena.sectors)])
    arena.view[:] = b"x" * len(arena.view)
    monkeypatch.setattr(mmap, "MADV_REMOVE", 9999)
    arena.give_back(0, 2 * PAGE_SECTORS)
    arena.view[:4096] = b"y" * 4096  # the disk has kept the room
    assert arena.memory[:8192] == b"y" * 4096 + b"x" * 4096


def test_there_is_room_to_grow_where_the_system_grants_it() -> None:
    assert Arena(PAGE_SECTORS, room_sectors=5 * PAGE_SECTORS).sectors == 5 * PAGE_SECTORS
    assert Arena(5 * PAGE_SECTORS, room_sectors=PAGE_SECTORS).sectors == 5 * PAGE_SECTORS
    assert Arena(5 * PAGE_SECTORS, room_sectors=1 << 50).sectors == 5 * PAGE_SECTORS


def test_a_small_volume_has_room_for_16_of_it_and_a_large_one_for_two() -> None:
    mib, gib = MIB // SECTOR_BYTES, 1024 * MIB // SECTOR_BYTES
    assert room_sectors(MIB) == 16 * mib
    assert room_sectors(16 * 1024 * MIB) == ROOM_BYTES_MAX // SECTOR_BYTES == 64 * gib
    assert room_sectors(1 << 40) == 2048 * gib


def test_a_thousand_volumes_have_room() -> None:
    """Address space is not for everybody (47 bits): a thousand of the largest that have 16 of it"""
    backing = Backing()
    arenas = [Arena(8, backing, room_sectors(4 * 1024 * MIB)) for _ in range(1000)]
    assert {arena.sectors for arena in arenas} == {ROOM_BYTES_MAX // SECTOR_BYTES}


def test_where_address_space_is_charged_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: "2\n")
    assert room_sectors(MIB) == MIB // SECTOR_BYTES


def test_more_than_can_be_locked_is_refused_with_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_address: object, _size: object, _flags: int) -> int:
        ctypes.set_errno(errno.ENOMEM)
        return -1

    monkeypatch.setattr(arena_module._library, "mlock2", refuse)
    with pytest.raises(BackingError, match=r"8192 bytes cannot be locked .*ulimit -l"):
        Arena(2 * PAGE_SECTORS, Backing(Kind.LOCKED), 99 * PAGE_SECTORS)


def test_a_file_in_no_directory_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(BackingError, match=r"4096 bytes in .*/nowhere: No such file"):
        Arena(1, Backing(Kind.FILE, str(tmp_path / "nowhere")))
