"""Contents that compete for the sectors of one small disk, each against a bytearray."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ram9.storage.backing import Backing
from ram9.storage.check import check
from ram9.storage.content import Content
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.landing import Landing, land
from ram9.storage.limits import (
    FIRST_RUN_BYTES,
    PAGE_SECTORS,
    RUN_BYTES,
    SECTOR_BYTES,
    Limits,
)
from ram9.storage.space import FreeSpace

FILES = 3
CAPACITY_SECTORS = 90
WARM_SECTORS_MAX = 24
ELSEWHERE_SECTORS_MIN = 4
SIZE_MAX = 48 * SECTOR_BYTES

files = st.integers(0, FILES - 1)
near_sector_edges = st.builds(
    lambda sector, beside: max(0, sector * SECTOR_BYTES + beside),
    st.integers(0, SIZE_MAX // SECTOR_BYTES),
    st.integers(-2, 2),
)
offsets = st.one_of(near_sector_edges, st.integers(0, SIZE_MAX))
counts = st.one_of(st.integers(1, 4 * SECTOR_BYTES), st.integers(0, 600), near_sector_edges)


def patched(before: bytes, offset: int, data: bytes) -> bytes:
    """*before* with *data* at *offset*, zeros between."""
    if not data:
        return before
    return before[:offset].ljust(offset, b"\0") + data + before[offset + len(data) :]


def fill(views: list[memoryview], data: bytes) -> None:
    """Receive *data* into *views*."""
    for view in views:
        view[:], data = data[: len(view)], data[len(view) :]


class Lender:
    """Somebody who sends a range of a file later, and copies it when asked to."""

    def __init__(self, content: Content, offset: int, count: int, expected: bytes) -> None:
        self.pieces = content.lend(offset, count)
        self.expected = expected
        self.asked = False

    def copy(self) -> None:
        assert not self.asked
        self.pieces = bytes(self.pieces)
        self.asked = True


class ContentMachine(RuleBasedStateMachine):
    """Contents stay equal to bytearrays, and every sector is held once, whatever is done."""

    backing = Backing()

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(CAPACITY_SECTORS * SECTOR_BYTES, FILES + 1)
        self.filesystem = FileSystem(limits, lambda: 0, backing=self.backing)
        self.disk = self.filesystem.disk
        memory = self.filesystem.budget.memory
        memory.bytes_max = CAPACITY_SECTORS * SECTOR_BYTES * 9 // 8  # so that it matters
        self.disk.space = FreeSpace(
            self.disk.arena, WARM_SECTORS_MAX, memory, ELSEWHERE_SECTORS_MIN
        )
        if not self.backing.wipe:  # every sector was another's once
            self.disk.view[:] = b"\xaa" * len(self.disk.view)
        self.contents = [
            self.filesystem.create(self.filesystem.root, b"%d" % number, 0o600, 0, 0).content
            for number in range(FILES)
        ]
        self.models = [b""] * FILES
        self.landings: list[tuple[int, int, bytes, Landing]] = []
        self.lenders: list[Lender] = []
        self.patterns = 0

    @rule(file=files, offset=offsets, count=counts)
    def write(self, file: int, offset: int, count: int) -> None:
        data = self.pattern(count)
        self.store(file, offset, data, lambda: self.contents[file].write(offset, data))

    @rule(file=files, count=st.integers(0, 1500))
    def append(self, file: int, count: int) -> None:
        self.write(file, len(self.models[file]), count)

    @rule(file=files, size=offsets)
    def truncate(self, file: int, size: int) -> None:
        self.contents[file].truncate(size)
        self.models[file] = self.models[file][:size].ljust(size, b"\0")

    @rule(file=files, offset=offsets, count=counts)
    def read(self, file: int, offset: int, count: int) -> None:
        expected = self.models[file][offset : offset + count]
        assert self.contents[file].read(offset, count) == expected
        assert self.contents[file].lend(offset, count) == expected

    @rule(file=files, offset=offsets, count=counts)
    def lend(self, file: int, offset: int, count: int) -> None:
        expected = self.models[file][offset : offset + count]
        lender = Lender(self.contents[file], offset, count, expected)
        self.lenders.append(lender)
        self.disk.lent[lender.copy] = None

    @rule(file=files, offset=offsets, count=counts)
    def begin_landing(self, file: int, offset: int, count: int) -> None:
        before = self.trace()
        landing = land(self.disk, self.contents[file], offset, count)
        if landing is None:
            assert self.trace() == before
            return
        data = self.pattern(count)
        assert sum(len(view) for view in landing.views) == landing.count == count
        fill(landing.views, data)
        self.landings.append((file, offset, data, landing))

    @rule(number=st.integers(0, 5))
    def commit_landing(self, number: int) -> None:
        if self.landings:
            file, offset, data, landing = self.landings.pop(number % len(self.landings))
            self.store(file, offset, data, landing.commit, landing)

    @rule(number=st.integers(0, 5))
    def abort_landing(self, number: int) -> None:
        if self.landings:
            *_, landing = self.landings.pop(number % len(self.landings))
            landing.abort()

    @rule(file=files)
    def give_back_reserve(self, file: int) -> None:
        self.contents[file].give_back_reserve()
        assert self.contents[file].reserve is None

    @rule()
    def cool(self) -> None:
        self.disk.space.cool()

    @rule(periods=st.integers(1, 3), part=st.integers(1, 4))
    def give_surplus_back(self, periods: int, part: int) -> None:
        space = self.disk.space
        before, surplus = space.warm.sectors, space.surplus(periods)
        assert surplus <= before
        given = space.give_back(max(0, surplus) // part)
        assert before - space.warm.sectors == given < max(0, surplus) // part + PAGE_SECTORS

    @invariant()
    def contents_agree(self) -> None:
        for content, model in zip(self.contents, self.models, strict=True):
            assert content.size_bytes == len(model)
            assert content.read(0, 1 << 20) == model

    @invariant()
    def every_sector_is_held_once_and_charged(self) -> None:
        assert check(self.filesystem, [landing.claim for *_, landing in self.landings]) == []

    @invariant()
    def lent_bytes_have_not_changed(self) -> None:
        for lender in self.lenders:
            assert lender.pieces == lender.expected
        self.lenders = [lender for lender in self.lenders if not lender.asked]

    def pattern(self, count: int) -> bytes:
        """Bytes that no other write has, none of them 0: what is left behind must show."""
        self.patterns = self.patterns % 255 + 1
        return bytes([self.patterns]) * count

    def store(
        self,
        file: int,
        offset: int,
        data: bytes,
        write: Callable[[], int],
        landing: Landing | None = None,
    ) -> None:
        """Run *write* and let the model follow; refusals leave no trace and have a reason."""
        before = self.trace()
        refused: Errno | None = None
        try:
            written = write()
        except FileSystemError as refusal:
            refused, written = refusal.errno, 0
        if refused is not None:
            assert refused is Errno.ENOSPC
            assert self.trace() == before or landing is not None
            assert data
        assert written > 0 or written == len(data) or self.is_full(file)
        assert written == len(data) or self.is_full(file)
        self.models[file] = patched(self.models[file], offset, data[:written])

    def is_full(self, file: int) -> bool:
        """Whether another sector might not fit, in a run of its own."""
        first_run_bytes = 0 if self.contents[file].sectors else FIRST_RUN_BYTES
        cost_bytes = SECTOR_BYTES + RUN_BYTES + first_run_bytes
        return self.filesystem.budget.available_bytes < cost_bytes

    def trace(self) -> object:
        """All that a refused write must leave as it was."""
        return self.filesystem.budget.used_bytes, [content.runs for content in self.contents]


TestContentMachine = ContentMachine.TestCase
TestContentMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class WipedContentMachine(ContentMachine):
    """And where sectors are wiped, those that are free are zeros (check() looks at them)."""

    backing = Backing(wipe=True)


TestWipedContentMachine = WipedContentMachine.TestCase
TestWipedContentMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
