"""Volumes that share the memory of a machine never take more of it than there was."""

import random

import pytest

from ram9.storage.budget import Allotment
from ram9.storage.check import check
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import File
from ram9.storage.limits import PAGE_SECTORS, SECTOR_BYTES, Limits

MIB = 1 << 20
VOLUME_BYTES = 16 * MIB
PIECE_BYTES = PAGE_SECTORS * SECTOR_BYTES
SLACK_BYTES = 64 << 10  # parts of pages at the ends of runs, and what runs in them cost


class Volumes:
    """Some volumes, and the calls of whoever does anything with them."""

    def __init__(self, seed: int, left_bytes: int) -> None:
        self.chance = random.Random(seed)
        self.allotment = Allotment(left_bytes, "meminfo")
        self.systems = [
            FileSystem(Limits(VOLUME_BYTES, 5000), lambda: 1, allotment=self.allotment)
            for _ in range(3)
        ]
        self.files: list[tuple[FileSystem, bytes, File]] = []
        self.made = 0

    def step(self) -> bool:
        """Do something; whether there was room for it."""
        try:
            self.chance.choice([self.create, self.write, self.write, self.write, self.remove])()
        except FileSystemError as refusal:
            if refusal.errno is not Errno.ENOSPC:
                raise
            return False
        return True

    def create(self) -> None:
        system, name = self.chance.choice(self.systems), b"%05d" % self.made
        self.made += 1
        self.files.append((system, name, system.create(system.root, name, 0o644, 0, 0)))

    def write(self) -> None:
        if self.files:
            system, _, file = self.chance.choice(self.files)
            count = self.chance.choice([1, 500, 5000, PIECE_BYTES, 100_000, 700_000])
            system.write(file, self.chance.choice([0, file.size_bytes]), bytes(count))

    def remove(self) -> None:
        if self.files and self.chance.random() < 0.3:
            system, name, _ = self.files.pop(self.chance.randrange(len(self.files)))
            system.unlink(system.root, name)

    def held_bytes(self) -> int:
        return sum(system.budget.memory.held_bytes for system in self.systems)


@pytest.mark.parametrize("seed", range(4))
def test_they_never_take_more_than_was_left(seed: int) -> None:
    left_bytes = 8 * MIB
    volumes = Volumes(seed, left_bytes)
    before_bytes = volumes.held_bytes()
    left_bytes = volumes.allotment.left_bytes
    refused = 0
    for _ in range(1500):
        refused += not volumes.step()
        grown_bytes = volumes.held_bytes() - before_bytes
        assert grown_bytes == left_bytes - volumes.allotment.left_bytes
        assert volumes.held_bytes() == volumes.allotment.held_bytes
        assert grown_bytes <= left_bytes + SLACK_BYTES
        for system in volumes.systems:
            standing = system.budget.standing()
            assert standing.used_bytes + standing.available_bytes == standing.limit_bytes
    assert refused
    for system in volumes.systems:
        assert check(system) == []


def fill(system: FileSystem, file: File) -> None:
    """Write on until there is no room."""
    for _ in range(VOLUME_BYTES):
        try:
            system.write(file, file.size_bytes, bytes(100_000))
        except FileSystemError as refusal:
            if refusal.errno is not Errno.ENOSPC:
                raise
            return
    raise AssertionError("there is always room")


def test_when_memory_becomes_less_nothing_is_lost_and_it_comes_back() -> None:
    volumes = Volumes(5, 64 * MIB)
    system = volumes.systems[0]
    file = system.create(system.root, b"file", 0o644, 0, 0)
    data = random.Random(6).randbytes(4 * MIB)
    assert system.write(file, 0, data) == len(data)
    volumes.allotment.set_left(-MIB, "meminfo")
    fill(system, file)
    assert file.content.read(0, len(data)) == data
    assert check(system) == []
    system.unlink(system.root, b"file")
    shed_bytes = 0
    while step_bytes := system.disk.space.shed(VOLUME_BYTES):
        shed_bytes += step_bytes
    assert shed_bytes >= 4 * MIB
    other = volumes.systems[1]
    assert other.budget.available_bytes >= shed_bytes - MIB - SLACK_BYTES
    assert check(system) == []


def test_a_volume_takes_all_that_there_is_to_the_page() -> None:
    allotment = Allotment(10 * MIB, "meminfo")
    system = FileSystem(Limits(VOLUME_BYTES, 100), lambda: 1, allotment=allotment)
    limit_bytes = system.budget.standing().limit_bytes
    assert limit_bytes == 10 * MIB
    file = system.create(system.root, b"file", 0o644, 0, 0)
    fill(system, file)
    standing = system.budget.standing()
    assert standing.available_bytes < PIECE_BYTES
    assert abs(standing.limit_bytes - limit_bytes) <= SLACK_BYTES
    assert check(system) == []
