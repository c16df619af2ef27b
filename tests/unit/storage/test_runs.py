"""Sets of free runs: the longest possible ones, the newest taken first."""

import random

import pytest

from ram9.storage.limits import PAGE_SECTORS
from ram9.storage.runs import FreeRuns, Run


@pytest.fixture
def runs() -> FreeRuns:
    return FreeRuns()


def test_runs_that_touch_become_one(runs: FreeRuns) -> None:
    runs.add(0, 4)
    runs.add(8, 4)
    runs.add(4, 4)
    assert list(runs) == [Run(0, 12)]
    assert runs.sectors == 12


def test_the_most_recently_freed_run_is_taken_first(runs: FreeRuns) -> None:
    for place in (0, 10, 20):
        runs.add(place, 2)
    assert [runs.take(2), runs.take(2), runs.take(2)] == [20, 10, 0]


def test_nothing_is_taken_where_no_run_is_long_enough(runs: FreeRuns) -> None:
    runs.add(0, 4)
    assert runs.take(5) is None
    assert runs.sectors == 4


def test_nothing_is_taken_from_nothing(runs: FreeRuns) -> None:
    assert runs.take(1) is None
    assert runs.take_piece(1) is None
    assert runs.take_at(0, 1) == 0


def test_a_run_begins_where_it_is_asked_to(runs: FreeRuns) -> None:
    runs.add(3, 400)
    assert runs.take(PAGE_SECTORS, align=PAGE_SECTORS) == PAGE_SECTORS
    assert sorted(runs) == [Run(3, 5), Run(16, 387)]
    assert runs.take(2, align=16) == 16


def test_a_run_that_is_long_enough_only_without_its_slack_is_not_cut(runs: FreeRuns) -> None:
    runs.add(1, 8)
    assert runs.take(8, align=8) is None
    assert list(runs) == [Run(1, 8)]


def test_a_piece_comes_from_the_largest_runs(runs: FreeRuns) -> None:
    runs.add(0, 3)
    runs.add(100, 50)
    assert runs.take_piece(60) == Run(100, 50)


def test_taking_at_a_place_takes_what_is_there(runs: FreeRuns) -> None:
    runs.add(10, 5)
    assert runs.take_at(10, 3) == 3
    assert runs.take_at(10, 3) == 0
    assert runs.take_at(13, 3) == 2
    assert runs.sectors == 0


def test_the_oldest_runs_of_a_size_come_first_and_then_others(runs: FreeRuns) -> None:
    for place, count in ((0, 16), (100, 15), (200, 64), (300, 17)):
        runs.add(place, count)
    assert runs.oldest(16, 9) == [Run(200, 64), Run(0, 16), Run(300, 17)]
    assert runs.oldest(16, 2) == [Run(200, 64), Run(0, 16)]
    assert runs.oldest(16, 2) == [Run(200, 64), Run(300, 17)]


def test_stale_places_do_not_pile_up(runs: FreeRuns) -> None:
    runs.add(500, 1)
    for _ in range(1000):
        runs.add(0, 1)
        runs.take_at(0, 1)
    assert sum(map(len, runs._stacks)) < 100


def test_any_order_of_freeing_ends_in_one_run(runs: FreeRuns) -> None:
    places = list(range(0, 4096, 4))
    random.Random(9).shuffle(places)
    for place in places:
        runs.add(place, 4)
    assert list(runs) == [Run(0, 4096)]


def test_what_is_gone_does_not_hide_what_there_is(runs: FreeRuns) -> None:
    """Forty places that were used again were looked at, and the two that were free not."""
    for place in range(0, 40 * 16, 16):
        runs.add(place, 8)
        runs.take_at(place, 8)
    runs.add(16, 8)
    runs.add(5000, 9)
    assert runs.oldest(8, 2) == [Run(16, 8), Run(5000, 9)]
    assert runs.oldest(8, 9) == [Run(16, 8), Run(5000, 9)]


def test_the_largest_runs_come_first(runs: FreeRuns) -> None:
    for place, count in ((0, 16), (100, 7), (200, 64), (300, 9)):
        runs.add(place, count)
    assert runs.largest(8, 9) == [Run(200, 64), Run(0, 16), Run(300, 9)]
    assert runs.largest(8, 2) == [Run(200, 64), Run(0, 16)]


def test_looking_for_runs_leaves_no_new_lists(runs: FreeRuns) -> None:
    """Each look at what may be given back made lists anew, while there was a large tree. Once that
    was gone, each of them was all that was left of a piece of 1 MiB."""
    before = list(runs._stacks)
    runs.add(0, 64)
    runs.oldest(8, 10)
    runs.largest(8, 10)
    runs.shrink()
    assert all(now is then for now, then in zip(runs._stacks, before, strict=True))


def test_to_shrink_looks_through_no_empty_classes(
    runs: FreeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked through all 64, of each volume: a thousand empty ones took 70 ms."""
    runs.add(0, 64)
    runs.add(100, 9)
    seen: list[int] = []
    compact = FreeRuns._compact

    def noted(runs: FreeRuns, size_class: int) -> list[int]:
        seen.append(size_class)
        return compact(runs, size_class)

    monkeypatch.setattr(FreeRuns, "_compact", noted)
    runs.shrink()
    assert seen == [4, 7]
    assert sorted(runs) == [(0, 64), (100, 9)]
