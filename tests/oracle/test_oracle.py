"""The server over the wire does what a tmpfs does, and the oracle that says so can be trusted."""

import fcntl
import itertools
import os
import re
import sys
import time
from collections.abc import Generator as Iteration
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.client import Client
from tests.oracle import surfaces
from tests.oracle.calls import VOCABULARY, Attributes, Call, Outcome, calls
from tests.oracle.compare import Comparison, Eye
from tests.oracle.differences import DIFFERENCES
from tests.oracle.generator import Generator, Surface
from tests.oracle.obstacles import Obstacle, obstacles
from tests.oracle.reading import Entry, Names, Verdict
from tests.oracle.search import SEED, DifferenceFoundError, budget, fresh_seed, search
from tests.oracle.shrink import shrink
from tests.oracle.side import ROOT, PosixSide
from tests.oracle.soak import LIMITS, SHARED_MEMORY, USERS, search_as, search_wire
from tests.oracle.surfaces import KERNEL, LISTS, LOCAL, MAPPED, WIRE, WIRE_USERS
from tests.oracle.wire import WireSide

from ram9.protocol.constants import LOCK_TYPE_UNLCK
from ram9.protocol.messages import Rgetlock, Rstatfs, Tstatfs
from ram9.server.operations import locks as locks_of_server
from ram9.storage import permissions
from ram9.storage.content import Content

SECONDS = 60.0 if os.environ.get("RAM9_KERNEL_FULL") == "1" else 8.0
CALLS = 3_000  # are made however slow a loaded machine is


def is_tmpfs(path: Path) -> bool:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return any(mount[1] == str(path) and mount[2] == "tmpfs" for mount in mounts)


needs_tmpfs = pytest.mark.skipif(
    os.geteuid() != 0 or not is_tmpfs(SHARED_MEMORY),
    reason="only root can confine processes to a directory (chroot) of a tmpfs",
)


@pytest.fixture
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iteration[Comparison]:
    top = SHARED_MEMORY / f"ram9-oracle-{os.getpid()}-{tmp_path_factory.mktemp('oracle').name}"
    top.mkdir()
    with ExitStack() as endings:
        endings.callback(top.rmdir)
        right = PosixSide(top, [ROOT] * WIRE.processes)
        endings.callback(right.end)
        endings.callback(right.clear)
        ours = WireSide([ROOT] * WIRE.processes, LIMITS)
        endings.callback(ours.end)
        yield Comparison(right, ours)


@needs_tmpfs
def test_random_calls_give_over_the_wire_what_they_give_on_tmpfs() -> None:
    reports: list[str] = []
    found = search_wire(fresh_seed(), *budget(SECONDS, CALLS), reports.append)
    sys.stdout.write(found + "\n")


FOUND: dict[str, list[Call]] = {
    # Linux looks whether it is a directory (do_open) before it looks whether it is a link
    # (may_open, both fs/namei.c); the server said ELOOP.
    "a_link_that_is_to_be_a_directory_is_refused_as_none": calls(
        (0, "mkdir", "a", 0o777),
        (0, "symlink", ".", "a/b"),
        (0, "open", 2, "a/b", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, 0),
    ),
    # The client of these tests forgot the slash behind a link, and opened the file.
    "a_slash_behind_a_link_asks_for_a_directory": calls(
        (0, "open", 0, "a", os.O_RDWR | os.O_CREAT, 0o644),
        (0, "symlink", "a", "b"),
        (0, "symlink", "b/", "c"),
        (0, "open", 1, "c", os.O_RDWR, 0),
        (0, "open", 1, "c", os.O_RDONLY | os.O_CREAT, 0o644),
        (0, "stat", "c"),
        (0, "truncate", "c", 5),
        (0, "mkdir", "b/", 0o755),
        (0, "chmod", "c", 0o600),
    ),
    "a_slash_behind_a_link_to_a_directory_changes_nothing": calls(
        (0, "mkdir", "a", 0o755),
        (0, "symlink", "a", "b"),
        (0, "symlink", "b/", "c"),
        (0, "open", 1, "c", os.O_RDONLY | os.O_DIRECTORY, 0),
        (0, "listdir", "c"),
        (0, "open", 1, "c", os.O_RDONLY | os.O_CREAT, 0o644),
    ),
    # shmem_setattr calls shmem_truncate_range, which notes the time, also if no page is freed.
    "a_size_that_a_file_with_data_has_is_noted": calls(
        (0, "open", 1, "a", os.O_RDWR | os.O_CREAT, 0o2755),
        (0, "write", 1, 199, 4096),
        (0, "truncate", "a", 4096),
    ),
    "a_size_that_a_file_without_data_has_is_not_noted": calls(
        (0, "open", 1, "a", os.O_RDWR | os.O_CREAT, 0o644),
        (0, "truncate", "a", 5000),
        (0, "truncate", "a", 5000),
    ),
}


@needs_tmpfs
@pytest.mark.parametrize("sequence", FOUND.values(), ids=FOUND)
def test_what_the_oracle_found_stays_found(sequence: list[Call], comparison: Comparison) -> None:
    assert comparison.run_patiently(sequence) is None


# The oracle itself


class Pretended:
    """A side whose calls all succeed, but for every third one, if it is *wrong*."""

    def __init__(self, *, wrong: bool) -> None:
        self._wrong = wrong
        self._made = 0

    def perform(self, call: Call) -> Outcome:
        self._made += call.name == "mkdir"
        return Outcome("EIO" if self._wrong and self._made == 3 else None)

    def look(self, path: str) -> Attributes | None:
        return None if path else Attributes(1, 0o40755, 0, 0, 2, 40, 0, 0, 1, 1, 1)

    def content(self, path: str) -> tuple[object, ...]:
        return (path,)

    def verify(self) -> str:
        return ""

    def clear(self) -> None:
        self._made = 0

    def end(self) -> None:
        self.clear()


def test_a_difference_is_told_in_its_shortest_form_with_its_seed() -> None:
    pretended = Comparison(Pretended(wrong=False), Pretended(wrong=True))
    with pytest.raises(DifferenceFoundError) as found:
        search(pretended, Surface(processes=2), "chosen", 60.0)
    story = str(found.value)
    told = story[story.index("[") : story.index("]") + 1]
    assert [call[1] for call in eval(told)] == ["mkdir"] * 3
    assert "RAM9_ORACLE_SEED=chosen:" in story
    name = story.rpartition("=")[2]
    with pytest.raises(DifferenceFoundError, match=name):
        search(pretended, Surface(processes=2), name, 60.0)


class Broken(Pretended):
    """A side that is alike, but after three directories it cannot go on, or must not be so."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__(wrong=False)
        self._raises = raises

    def perform(self, call: Call) -> Outcome:
        outcome = super().perform(call)
        if self._raises and self._made == 3:
            raise KeyError(call.name)
        return outcome

    def verify(self) -> str:
        return "three are too many" if self._made >= 3 else ""


@pytest.mark.parametrize(
    ("broken", "told"),
    [(Broken(raises=True), "KeyError: 'mkdir'"), (Broken(raises=False), "three are too many")],
)
def test_a_side_that_is_broken_is_told_like_a_difference(broken: Broken, told: str) -> None:
    """What broke was seen when the next sequence began, and without the seed and the calls."""
    pretended = Comparison(Pretended(wrong=False), broken)
    with pytest.raises(DifferenceFoundError, match=told) as found:
        search(pretended, Surface(processes=2), "chosen", 60.0)
    story = str(found.value)
    assert story.count("'mkdir'") - ("KeyError" in told) == 3
    assert "RAM9_ORACLE_SEED=chosen:" in story


@needs_tmpfs
def test_bytes_that_come_back_are_told_with_the_calls_that_brought_them(
    monkeypatch: pytest.MonkeyPatch, comparison: Comparison
) -> None:
    """What is cut off is not zeroed: the file system's own check sees it before any call does."""
    monkeypatch.setattr(Content, "_zero", lambda *_: None)
    with pytest.raises(DifferenceFoundError, match="bytes beyond the end are not zero") as found:
        search_wire("d", 60.0, CALLS, list[str]().append)
    story = str(found.value)
    told = calls(*eval(story[story.index("[") : story.index("\n]") + 2]))
    again = comparison.run(told)
    assert again is not None
    assert again.certain
    assert list(again.calls) == told
    assert "RAM9_ORACLE_SEED=d:" in story


def test_a_change_whose_two_times_are_not_the_same_is_seen() -> None:
    """Both moved, and all that was compared was that they did."""
    state = Attributes(1, 0o100644, 0, 0, 1, 0, 0, 0, atime=5, mtime=5, ctime=5)
    changes = {
        "as one": replace(state, mtime=9, ctime=9),
        "apart": replace(state, mtime=8, ctime=9),
        "ctime went back": replace(state, ctime=4),
        "": replace(state, ctime=9),
    }
    seen = {}
    for name, change in changes.items():
        eye = Eye()
        eye.see(state)
        seen[name] = eye.see(change)
    assert all(shown and name in shown for name, shown in seen.items())
    assert len(set(map(repr, seen.values()))) == len(changes)


class Filled(Pretended):
    """A side with one file, which takes so many blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__(wrong=False)
        self._blocks = blocks

    def look(self, path: str) -> Attributes | None:
        if path == "a":
            return Attributes(2, 0o100644, 0, 0, 1, 9000, 0, self._blocks, 1, 1, 1)
        return super().look(path)


@pytest.mark.parametrize(
    ("blocks", "told"), [(2, True), (3, False), (18, False), (24, False), (25, True)]
)
def test_blocks_are_those_of_the_sectors_in_the_pages_of_tmpfs(blocks: int, *, told: bool) -> None:
    """That there were too many was all that was seen: none at all were well, too."""
    sides = Filled(24), Filled(blocks)
    difference = Comparison(*sides).run([Call(0, "write", (0, 1, 9000))])
    assert (difference is not None and "blocks of a" in difference.what) == told


def locked_bytes(locks: Sequence[tuple[int, int, int]], start: int, count: int) -> list[Obstacle]:
    """What is told of a range by one who tells the first of *locks* that is in the way."""

    def ask(start: int, count: int) -> tuple[int, int, int] | None:
        end = start + count if count else 2**63
        in_the_way = [lock for lock in locks if lock[1] < end and start < lock[1] + lock[2]]
        return in_the_way[0] if in_the_way else None

    return obstacles(ask, start, count)


def test_locks_are_the_same_whichever_is_told_first() -> None:
    locks = [(fcntl.F_RDLCK, 0, 10), (fcntl.F_RDLCK, 5, 20), (fcntl.F_WRLCK, 25, 5)]
    for order in itertools.permutations(locks):
        assert locked_bytes(order, 3, 0) == [("shared", 3, 24), ("exclusive", 25, 29)]
        assert locked_bytes(order, 24, 2) == [("shared", 24, 24), ("exclusive", 25, 25)]
        assert locked_bytes(order, 30, 0) == []


def test_a_lock_that_is_not_in_the_way_is_not_taken_for_one_that_is() -> None:
    assert obstacles(lambda *_: (fcntl.F_WRLCK, 50, 5), 0, 10) == [("elsewhere", 50, 54)]


@needs_tmpfs
def test_a_lock_of_the_wrong_length_is_found_among_random_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Locks met once in some thousand calls, and all that was compared was whether they did."""

    def longer(kind: int, start: int, length: int, *whose: Any) -> Rgetlock:
        return Rgetlock(kind, start, length + (length > 0 and kind != LOCK_TYPE_UNLCK), *whose)

    monkeypatch.setattr(locks_of_server, "Rgetlock", longer)
    with pytest.raises(DifferenceFoundError, match="'get_lock'"):
        search_wire("lengths", 60.0, CALLS, list[str]().append)


@needs_tmpfs
def test_a_permission_that_is_not_asked_for_is_found_among_random_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All who spoke over the wire were root, who may do everything."""
    monkeypatch.setattr(permissions, "check_chown", lambda *_: None)
    with pytest.raises(DifferenceFoundError, match="'EPERM'") as found:
        search_as(USERS, WIRE_USERS, "owners-users", 0.0, CALLS, list[str]().append)
    name = str(found.value).rpartition("=")[2]
    assert name.startswith("owners-users:")
    with pytest.raises(DifferenceFoundError, match="'EPERM'"):
        search_wire(name, 60.0, CALLS, list[str]().append)


@needs_tmpfs
def test_room_that_does_not_come_back_is_told(
    monkeypatch: pytest.MonkeyPatch, comparison: Comparison
) -> None:
    """Of statfs(2) the length of names was compared, and that no more is free than there is."""
    made = calls((0, "mkdir", "a", 0o777), (0, "setxattr", "a", "user.a", 7, 300, 0))
    assert comparison.run(made) is None
    seen = itertools.count()

    def shrinking(self: Client) -> Rstatfs:
        state: Rstatfs = self.call(Tstatfs(0))
        return replace(state, bfree=state.bfree - next(seen))

    monkeypatch.setattr(Client, "statfs", shrinking)
    difference = comparison.run(made)
    assert difference is not None
    assert "room:" in difference.what


@needs_tmpfs
def test_a_process_that_breaks_is_told_with_its_call(comparison: Comparison) -> None:
    difference = comparison.run(calls((0, "mkdir", "a", 0o777), (1, "mkdir", 7, 0o777)))
    assert difference is not None
    assert difference.certain
    assert "AttributeError" in difference.what
    assert len(difference.calls) == 2
    assert comparison.run(calls((1, "mkdir", "a", 0o777))) is None


def test_what_is_below_is_looked_at_before_what_leads_there() -> None:
    """The way to a name led through a link, whose access time moved after it had been looked at:
    the clock of tmpfs had not gone on, and that of a mount had."""
    looked: list[str] = []

    class Watched(Pretended):
        def look(self, path: str) -> Attributes | None:
            looked.append(path)
            return super().look(path)

    sides = Watched(wrong=False), Pretended(wrong=False)
    Comparison(*sides, looks_at_all=False).run([Call(0, "mkdir", ("link/name", 0o755))])
    assert looked.index("link/name") < looked.index("link")


A, B = ("a", 1), ("b", 2)


@pytest.mark.parametrize(
    ("looks", "pieces", "told"),
    [
        ([{A: 5, B: 5}] * 3, [[A], [B], []], "read"),
        ([{A: 5, B: 5}] * 2, [[A], []], "{'missed': [('b', 2)]}"),
        ([{A: 5, B: 5}] * 3, [[A], [A, B], []], "{'twice': [('a', 1)]}"),
        ([{A: 5}] * 2, [[A, B], []], "{'invented': [('b', 2)]}"),
        ([{A: 5, B: 5}, {A: 5}, {A: 5}], [[A], [], []], "read"),  # removed
        ([{A: 5, B: 5}, {A: 5}, {A: 5}], [[A], [B], []], "read"),  # listed ahead
        ([{A: 5, B: 5}, {A: 5, B: 9}, {A: 5, B: 9}], [[A], [], []], "read"),  # moved and back
        ([{A: 5, B: 5}, {A: 9, B: 5}, {A: 9, B: 5}], [[A], [A], []], "{'missed': [('b', 2)]}"),
        ([{A: 5}, {A: 5, B: 7}, {A: 5, B: 7}], [[A], [], []], "read"),  # came late
    ],
)
def test_what_stayed_in_a_directory_is_read_once(
    looks: list[Names], pieces: list[list[Entry]], told: str
) -> None:
    verdict = Verdict(looks[0])
    found = [
        verdict.read(there, piece, end=not piece)
        for there, piece in zip(looks, pieces, strict=True)
    ]
    assert next((each for each in found if each != "read"), "read") == told


def test_two_sides_that_are_alike_have_no_difference() -> None:
    alike = Comparison(Pretended(wrong=False), Pretended(wrong=False))
    assert search(alike, Surface(processes=2), "chosen", 0.0) == "seed chosen: 60 calls are alike"


def test_shrinking_keeps_what_is_needed_in_its_order() -> None:
    def differs(part: Any) -> bool:
        return [each for each in part if each in (3, 20, 41)] == [3, 20, 41]

    assert shrink(list(range(60)), differs) == [3, 20, 41]
    assert shrink([], lambda _: True) == []


def test_a_seed_always_draws_the_same() -> None:
    one, other = (Generator("seed", KERNEL).sequence(200) for _ in range(2))
    assert one == other
    assert Generator("other", KERNEL).sequence(200) != one


class Recorded(Pretended):
    """A side that notes which calls it is asked to make, and takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(wrong=False)
        self._seconds = seconds
        self.made: list[str] = []

    def perform(self, call: Call) -> Outcome:
        time.sleep(self._seconds)
        self.made.append(str(call))
        return super().perform(call)


def test_where_a_seed_is_asked_for_all_calls_are_the_same_however_long_they_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gate judges the change and not the draw: how far a seed went depended on the machine."""
    monkeypatch.setenv(SEED, "pinned")
    made = []
    for seconds in (0.0, 0.001):
        side = Recorded(seconds)
        comparison = Comparison(Pretended(wrong=False), side)
        search(comparison, WIRE, fresh_seed(), *budget(0.05, 150))
        made.append(side.made)
    assert made[0] == made[1]
    assert len(made[0]) == 180
    monkeypatch.delenv(SEED)
    assert budget(0.05, 150) == (0.05, 150)
    assert fresh_seed() != fresh_seed()


def test_what_is_printed_is_what_was_called() -> None:
    for call in Generator("printed", Surface(processes=3, path_descriptors=True)).sequence(300):
        assert calls(*eval(f"[{call}]")) == [call]


def test_everything_in_the_vocabulary_is_drawn_somewhere() -> None:
    drawn = set()
    for number in range(60):
        sequence = Generator(f"all:{number}", Surface(processes=3)).sequence(100)
        drawn.update(call.name for call in sequence)
    assert drawn == set(VOCABULARY)
    assert len(VOCABULARY) >= 40
    assert all(
        hasattr(WireSide([ROOT] * 3, LIMITS)._made[0], name) for name in set(VOCABULARY) - LOCAL
    )


def test_every_call_is_made_on_some_mount() -> None:
    assert not set.intersection(*(set(each.without) for each in (KERNEL, MAPPED, LISTS)))


def test_what_is_left_out_is_left_out_for_a_known_difference() -> None:
    reasons = re.findall(r"# ([a-z, -]+)$", Path(surfaces.__file__).read_text(), re.MULTILINE)
    named = {name for reason in reasons for name in reason.split(", ")}
    assert len(named) >= 9
    assert named <= {each.name for each in DIFFERENCES}


def test_known_differences_have_names_of_their_own() -> None:
    names = [each.name for each in DIFFERENCES]
    assert len(set(names)) == len(names)
    for each in DIFFERENCES:
        assert each.sentence.endswith(".")
        assert not re.search(r"\b[a-z_]+\.[a-z_]", each.sentence), "a name of Python's"
        assert ".c" in each.source
        assert each.on_tmpfs != each.on_mount
