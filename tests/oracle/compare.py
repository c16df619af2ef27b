"""Makes each call on both sides and compares everything that can be seen."""

import itertools
import stat
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.oracle.calls import PATH, Attributes, Call, above
from tests.oracle.side import Side, tree

TICK_CLOCK: Final = 5  # CLOCK_REALTIME_COARSE, which tmpfs takes access times from
NS: Final = 1_000_000_000
READS: Final = (
    *("read", "pread", "read_mapped", "copy_file_range", "listdir", "getdents", "readlink"),
    *("utimens", "futimens"),
)
"""The calls that move an access time."""

LEAVES_ZEROS: Final = ("truncate", "ftruncate", "read_mapped", "write_mapped", "copy_file_range")
PAGE_SECTORS: Final = 8

SHOWN_MAX: Final = 600
LOOK_AT_ALL_EVERY: Final = 16  # calls, where looking is slow


@dataclass(frozen=True)
class Difference:
    """What is not alike, after the last of *calls*; *certain* if no clock can be the reason."""

    calls: Sequence[Call]
    what: str
    certain: bool = False

    def __str__(self) -> str:
        shown = "\n".join(f"    {call}" for call in self.calls)
        return f"after\n[\n{shown}\n]\n{self.what}"


@dataclass
class Eye:
    """Tells inodes apart by the order in which they were met, and times by whether they moved, and
    if it *relates_times* by whether they moved as one.
    """

    sees_atime: bool = True
    relates_times: bool = True
    labels: dict[int, int] = field(default_factory=dict)
    times: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def see(self, state: Attributes | None) -> tuple[object, ...] | None:
        """What must be alike of an inode, since it was last seen."""
        if state is None:
            return None
        label = self.labels.setdefault(state.number, len(self.labels))
        now = state.atime if self.sees_atime else 0, state.mtime, state.ctime
        before = self.times.get(label)
        self.times[label] = now
        moved = "new" if before is None else moved_times(before, now)
        related = relation(before or (0, 0, 0), now) if self.relates_times else ""
        shown = [named_time(each) for each in now]
        mode = f"{stat.filemode(state.mode)}"
        owners = state.uid, state.gid
        return label, mode, owners, state.nlink, state.size, state.rdev, moved, related, shown


def moved_times(before: Sequence[int], now: Sequence[int]) -> str:
    names = zip(("atime", "mtime", "ctime"), before, now, strict=True)
    return " ".join(name for name, old, new in names if old != new)


def relation(before: Sequence[int], now: Sequence[int]) -> str:
    """Of a change of data, whether mtime and ctime have become the same (write(3p) marks both for
    update at once); and of any change, whether it seems to come before another that it followed.
    """
    (_, old_mtime, old_ctime), (_, mtime, ctime) = before, now
    if ctime < old_ctime:
        return "ctime went back"
    if mtime == old_mtime or ctime == old_ctime:
        return ""
    return "as one" if mtime == ctime else "apart"


def named_time(time_ns: int) -> object:
    """A time that was set; "now" for one that a clock gave."""
    return "now" if abs(time_ns - time.time_ns()) < 86_400 * NS else time_ns


def wait_for_tick() -> None:
    """Return once the clock of access times has gone on: what is read now differs from before."""
    until = time.clock_gettime_ns(time.CLOCK_REALTIME)
    while time.clock_gettime_ns(TICK_CLOCK) <= until:
        time.sleep(0.0005)


class Comparison:
    """Two sides that start empty.

    *looks_at_all* is whether everything is looked at each time, *sees_atime* whether access times
    count, *relates_times* whether mtime and ctime of one change must be as alike as on tmpfs.
    """

    def __init__(
        self,
        right: Side,
        ours: Side,
        *,
        looks_at_all: bool = True,
        sees_atime: bool = True,
        relates_times: bool = True,
    ) -> None:
        self._new_eye = partial(Eye, sees_atime, relates_times)
        self._sides = right, ours
        self._looks_at_all = looks_at_all
        self._is_patient = False
        self.compared = 0

    def run(self, sequence: Sequence[Call]) -> Difference | None:
        """Make all calls, from an empty tree; the first difference, if there is one.

        The clock of tmpfs may stand still from one call to the next, and a time that is set to
        what it was does not show. So a difference counts if it is there also when the clock goes
        on before each call, or if it is none between the two: a side that is broken.
        """
        difference = self._run(sequence)
        if difference is None or difference.certain:
            return difference
        return self.run_patiently(sequence)

    def run_patiently(self, sequence: Sequence[Call]) -> Difference | None:
        """The same; every change of a time shows."""
        self._is_patient = True
        try:
            return self._run(sequence)
        finally:
            self._is_patient = False

    def _run(self, sequence: Sequence[Call]) -> Difference | None:
        """An exception, of whatever kind, is a difference too: it has a seed and a sequence."""
        self._begun = 0
        try:
            what, broken = self._compare(sequence), self._verify()
        except Exception:
            what, broken = "", f"an exception\n{traceback.format_exc()}"
        told = "\n".join(filter(None, (what, broken)))
        return Difference(sequence[: self._begun], told, certain=bool(broken)) if told else None

    def _compare(self, sequence: Sequence[Call]) -> str:
        for side in self._sides:
            side.clear()
        self._eyes = self._new_eye(), self._new_eye()
        self._has_symlinks = self._has_zeros = False
        if what := self._see_all():
            return what
        for index, call in enumerate(sequence):
            self._begun += 1
            if what := self._step(call, index):
                return what
        return self._see_all() or self._contents()

    def _verify(self) -> str:
        for name, side in zip(("right", "ours"), self._sides, strict=True):
            if wrong := side.verify():
                return f"what must be true of {name} is not\n{wrong}"
        return ""

    def _step(self, call: Call, index: int) -> str:
        if self._is_patient or call.name in READS or self._has_symlinks:
            wait_for_tick()
        right, ours = [side.perform(call) for side in self._sides]
        self.compared += 1
        self._has_symlinks |= call.name == "symlink"
        self._has_zeros |= call.name in LEAVES_ZEROS
        if right.result != ours.result:
            return different("result", right.result, ours.result)
        for one, other in zip(right.descriptors, ours.descriptors, strict=True):
            if what := self._same("descriptor", one, other):
                return what
        if self._looks_at_all or not (index + 1) % LOOK_AT_ALL_EVERY:
            return self._see_all()
        return self._see_paths(call.of_kind(PATH))

    def _see_all(self) -> str:
        right, ours = map(tree, self._sides)
        if list(right) != list(ours):
            return different("names", list(right), list(ours))
        return next(filter(None, (self._same(path, right[path], ours[path]) for path in right)), "")

    def _see_paths(self, paths: Iterable[str]) -> str:
        # What is below first: to get there may move the access time of a link on the way, which the
        # clock of tmpfs may be too slow to show a second time.
        looked = sorted(
            {place for path in paths for place in (path, above(path)) if path[:1] != "@"},
            reverse=True,
        )
        for path in looked:
            if what := self._same(path, *[side.look(path) for side in self._sides]):
                return what
        return ""

    def _same(self, what: str, right: Attributes | None, ours: Attributes | None) -> str:
        one, other = self._eyes[0].see(right), self._eyes[1].see(ours)
        if one != other:
            return different(what or "the top", one, other)
        if right and ours and stat.S_ISREG(right.mode):
            # tmpfs has whole pages, of which ours has the sectors that were written to. What is cut
            # off, or only looked at, leaves a page of zeros on tmpfs, and nothing of ours.
            least = 0 if self._has_zeros else right.blocks // PAGE_SECTORS
            if not least <= ours.blocks <= right.blocks:
                return different(f"blocks of {what}", right.blocks, ours.blocks)
        return ""

    def _contents(self) -> str:
        for path in tree(self._sides[0]):
            right, ours = [side.content(path) for side in self._sides]
            if right != ours:
                return different(f"content of {path or 'the top'}", right, ours)
        return ""


def different(what: str, right: object, ours: object) -> str:
    return f"{what}\n  right: {shortened(right)}\n  ours:  {shortened(ours)}"


def shortened(value: object) -> str:
    text = repr(runs(value) if isinstance(value, bytes) else value)
    return text if len(text) < SHOWN_MAX else f"{text[:SHOWN_MAX]}... ({len(text)} characters)"


def runs(data: bytes) -> list[tuple[int, int]]:
    """Each byte of the data and how often it comes there in a row."""
    return [(byte, len(list(same))) for byte, same in itertools.groupby(data)]
