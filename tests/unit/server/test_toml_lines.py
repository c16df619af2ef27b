"""Where keys of a configuration stand."""

import gc
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ram9.server.toml_lines import Path, lines_of

TEXT = '''\
listen = [  # a comment with "quotes" and [brackets]
  "127.0.0.1:564",

  "unix:/run/ram9/socket", # another, = with
]
log-level = "info"
"quoted.key" = 1.5
literal = \'a # no comment [\'
text = """
[[volume]]
name = "not a volume" \\"""
"""
other = \'\'\'
[table]
\'\'\'\'\'

[[volume]]
name = "one"

[[volume]]  # here
size = "1GiB"
root = { uid = 1, "mode" = "0755", deep = { x = [1, 2] } }
date = 1979-05-27T07:32:00Z
[volume.extra]
key.with.dots = [[1],
 [2, 3]]
[[volume.inner]]
a = 1
[[volume.inner]]
b = 1
[  spaced . "out"  ]
c = [ ]
d = { }
e = [
  { f = 1 },
  { g = 2 },
]'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("listen",), 1),
        (("listen", 0), 2),
        (("listen", 1), 4),
        (("log-level",), 6),
        (("quoted.key",), 7),
        (("literal",), 8),
        (("text",), 9),
        (("other",), 13),
        (("volume",), 17),
        (("volume", 0), 17),
        (("volume", 0, "name"), 18),
        (("volume", 1), 20),
        (("volume", 1, "size"), 21),
        (("volume", 1, "root"), 22),
        (("volume", 1, "root", "mode"), 22),
        (("volume", 1, "root", "deep", "x", 1), 22),
        (("volume", 1, "date"), 23),
        (("volume", 1, "extra"), 24),
        (("volume", 1, "extra", "key", "with", "dots"), 25),
        (("volume", 1, "extra", "key", "with", "dots", 0, 0), 25),
        (("volume", 1, "extra", "key", "with", "dots", 1, 1), 26),
        (("volume", 1, "inner", 0, "a"), 28),
        (("volume", 1, "inner", 1), 29),
        (("volume", 1, "inner", 1, "b"), 30),
        (("spaced", "out"), 31),
        (("spaced", "out", "c"), 32),
        (("spaced", "out", "d"), 33),
        (("spaced", "out", "e", 0, "f"), 35),
        (("spaced", "out", "e", 1, "g"), 36),
    ],
)
def test_each_key_has_its_line(path: Path, line: int) -> None:
    assert lines_of(TEXT)[path] == line


def paths_in(value: Any, path: Path = ()) -> set[Path]:
    """The paths to everything that a parsed text holds."""
    found = {path}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths_in(inner, (*path, index))
    return found


def test_everything_is_found_but_tables_that_only_dots_made() -> None:
    dotted: set[Path] = {("volume", 1, "extra", "key"), ("volume", 1, "extra", "key", "with")}
    assert paths_in(tomllib.loads(TEXT)) - lines_of(TEXT).keys() == dotted | {("spaced",)}
    assert lines_of(TEXT).keys() <= paths_in(tomllib.loads(TEXT))


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "\n\n# x\n\n"])
def test_where_nothing_is_said_the_whole_is_on_line_one(text: str) -> None:
    assert lines_of(text) == {(): 1}


def test_lines_may_end_as_on_windows() -> None:
    assert lines_of('a = 1\r\n[[b]]\r\nc = """x\r\n"""\r\nd = 2\r\n')[("b", 0, "d")] == 5


KEYS = st.sampled_from(["a", "b-2", '"c.d"', "'#'", '"\\u0041"'])
STRINGS = st.sampled_from(['"x"', "'#['", '"""a\n"b" \\\n c"""', "'''\n]'''", '"\\""', "''"])
PLAIN = STRINGS | st.sampled_from(["1", "-1.5e3", "true", "2024-01-01", "[]", "{}", "1_000"])
SPACE = st.sampled_from(["", " ", "\n", " # ]\n", "\n\n"])
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(st.tuples(SPACE, inner, SPACE), min_size=1, max_size=3).map(
            lambda items: "[" + ",".join(map("".join, items)) + "]"
        )
        | inner.filter(lambda text: "\n" not in text).map(lambda text: f"{{ k = {text}, l.m = 1 }}")
    ),
    max_leaves=6,
)
STATEMENTS = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join),
    KEYS.map(lambda key: f"[{key}]"),
    KEYS.map(lambda key: f"[[{key}]] # x"),
    st.tuples(KEYS, KEYS).map(lambda keys: f"[[ {keys[0]} . {keys[1]} ]]"),
    st.just("# comment = 1"),
    st.just(""),
)


@given(st.lists(STATEMENTS, max_size=8).map("\n".join))
def test_whatever_is_valid_is_found(text: str) -> None:
    """All keys, on the line on which the text begins that gives them, if it ends there."""
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = lines_of(text)
    assert found.keys() <= paths_in(parsed)
    shallow = {path for path in paths_in(parsed) if len(path) == 1}
    assert {
        path for path in shallow if not isinstance(parsed[path[0]], dict | list)
    } <= found.keys()
    rows = text.split("\n")
    for path, line in found.items():
        last = path[-1] if path else 0
        if isinstance(last, str):
            names = {last, '"c.d"' if last == "c.d" else last, '"\\u0041"' if last == "A" else last}
            assert any(name in rows[line - 1] for name in names)


def test_nothing_is_left_of_looking_for_lines() -> None:
    """What splits the text knew who asked for its tokens, who knew it: each mistake in a file that
    was read again stayed in memory, where nobody collects garbage."""
    gc.collect()
    gc.disable()
    try:
        lines_of(TEXT)
        assert not [
            each for each in gc.get_objects() if type(each).__module__ == lines_of.__module__
        ]
    finally:
        gc.enable()
