"""Waiting awake is given up where it does not pay, and taken up again where it does."""

import os

import pytest

from ram9.server.lingering import LINGER_NS, SKIPS_MAX, Lingering, has_spare_processor


def occasions_until_worth_it(lingering: Lingering) -> int:
    return next(count for count in range(SKIPS_MAX + 2) if lingering.is_worth_it())


SOON_NS = LINGER_NS // 3


def miss(lingering: Lingering) -> None:
    lingering.note(LINGER_NS + 1)


def test_it_is_worth_a_try() -> None:
    assert Lingering().is_worth_it()


def test_what_pays_is_done_every_time() -> None:
    lingering = Lingering()
    for _ in range(100):
        assert lingering.is_worth_it()
        lingering.note(SOON_NS)


def test_each_time_that_nothing_came_twice_as_many_occasions_are_skipped() -> None:
    lingering = Lingering()
    skipped = []
    for _ in range(12):
        miss(lingering)
        skipped.append(occasions_until_worth_it(lingering))
    assert skipped == [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023, 1023]


def test_what_pays_again_is_done_again_soon() -> None:
    lingering = Lingering()
    for _ in range(5):
        miss(lingering)
    assert occasions_until_worth_it(lingering) == 31
    lingering.note(SOON_NS)
    assert occasions_until_worth_it(lingering) == 31
    lingering.note(SOON_NS)
    assert lingering.is_worth_it()


def test_a_client_that_mostly_thinks_is_seldom_waited_for() -> None:
    """One request in three that came at once had the server wait awake for the two that did not:
    every success made it forget all that had come to nothing."""
    lingering = Lingering()
    lingered = 0
    for number in range(3000):
        if lingering.is_worth_it():
            lingered += 1
            if number % 3:
                miss(lingering)
            else:
                lingering.note(SOON_NS)
    assert lingered < 100


def test_what_comes_only_just_before_sleeping_would_have_been_cheaper_is_not_punished() -> None:
    lingering = Lingering()
    for _ in range(10):
        lingering.note(LINGER_NS)
        assert lingering.is_worth_it()


@pytest.mark.parametrize(("processors", "spare"), [({0}, False), ({0, 1}, True)])
def test_on_one_processor_a_client_could_not_ask(
    monkeypatch: pytest.MonkeyPatch, processors: set[int], spare: object
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: processors)
    assert has_spare_processor() is spare
