"""Tables of a TOML file; what a configuration makes of them is tested in test_config_file.py."""

from typing import Any

import pytest

from ram9.server.config import ConfigError
from ram9.server.toml_tables import File, KindError, Table

TEXT = """\
one = 1
many = [1, 2,
  "three"]

[[inner]]
one = 1

[[inner]]
on = 1
"""


@pytest.fixture
def table() -> Table:
    return File(TEXT, "file").table()


def integer(value: Any) -> int:
    if not isinstance(value, int):
        raise KindError("an integer", value)
    if value > 5:
        raise ConfigError(f"{value} is too much")
    return value


def test_a_key_is_taken_or_has_a_default(table: Table) -> None:
    assert table.take("one", integer, 7) == table.need("one", integer) == 1
    assert table.take("two", integer, 7) == 7
    assert "one" in table
    assert "two" not in table


def test_what_must_be_there_is_missed_with_its_table(table: Table) -> None:
    with pytest.raises(ConfigError, match=r"^file:1: the configuration has no two$"):
        table.need("two", integer)
    second = table.tables("inner")[1]
    with pytest.raises(ConfigError, match=r"^file:8: \[\[inner\]\] has no one$"):
        second.need("one", integer)


def test_each_of_an_array_has_its_line(table: Table) -> None:
    assert table.each("one", integer, ()) == (1,)
    assert table.each("two", integer, (9,)) == (9,)
    with pytest.raises(ConfigError, match=r"^file:3: many must be an integer, and is a string$"):
        table.each("many", integer, ())


def test_what_was_not_taken_is_unknown(table: Table) -> None:
    first, second = table.tables("inner")
    for inner in first, second:
        inner.take("one", integer, 0)
    first.end()
    with pytest.raises(ConfigError, match=r"^file:9: .* has no key 'on': is one meant\?$"):
        second.end()
    table.take("many", str, "")
    with pytest.raises(ConfigError, match=r"^file:1: the configuration has no key 'one'"):
        table.end()


def test_lines_are_those_of_keys_or_of_their_tables(table: Table) -> None:
    first, second = table.tables("inner")
    assert [first.line("one"), first.line("two"), second.line("one")] == [6, 5, 8]
    assert table.line("many") == 2
