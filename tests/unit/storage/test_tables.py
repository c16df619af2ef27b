"""Tables that were large once are told from others."""

import sys

from ram9.storage.tables import SMALL_MAX, is_oversized

MANY = 100_000


def test_a_table_that_is_full_is_not_oversized() -> None:
    assert not is_oversized(dict.fromkeys(range(MANY)))
    assert not is_oversized(set(range(MANY)))


def test_a_table_of_which_most_has_gone_is() -> None:
    table = dict.fromkeys(range(MANY))
    numbers = set(range(MANY))
    for number in range(MANY - SMALL_MAX - 1):
        del table[number]
        numbers.remove(number)
    assert is_oversized(table)
    assert is_oversized(numbers)
    assert sys.getsizeof(dict(table.items())) < sys.getsizeof(table) / 100


def test_a_table_of_which_half_has_gone_is_not() -> None:
    table = dict.fromkeys(range(MANY))
    for number in range(MANY // 2):
        del table[number]
    assert not is_oversized(table)


def test_a_small_table_is_made_anew_in_any_case() -> None:
    assert is_oversized({})
    assert is_oversized(dict.fromkeys(range(SMALL_MAX)))
    assert not is_oversized(dict.fromkeys(range(SMALL_MAX + 1)))
