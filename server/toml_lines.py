"""On which line each key of a TOML text stands: tomllib does not tell.

The text has been read by tomllib before, so that it is known to be valid: what is left is to tell
keys, strings, comments and brackets apart. See https://toml.io/en/v1.0.0 for their forms.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Final

Path = tuple[str | int, ...]
"""What leads to a value: keys of tables, and the places of those in arrays, from 0."""

# The first alternative that matches; a string of several lines may end in five quotes.
_TOKEN: Final = re.compile(
    r'"""(?:\\[\s\S]|(?!""")[^\\])*"{3,5}'
    r"|'''(?:(?!''')[\s\S])*'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n"
    r"|[\[\]{}=,.]"
    r"|[^\s\[\]{}=,.\"'\#]+"
)

OPENING: Final = ("[", "{")
CLOSING: Final = ("]", "}")


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of each key, of each table's header, and of each value in an array."""
    return _Lines(text).found


class _Lines:
    """Goes through the tokens of a text once; ``found`` is what it saw."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {(): 1}
        self._tables: dict[Path, int] = {}  # how many of each array of tables there were
        self._tokens = _split(text)
        self._token, self._line = next(self._tokens)
        table: Path = ()
        while self._token:
            if self._token == "\n":
                self._advance()
            elif self._token == "[":
                table = self._header()
            else:
                path = (*table, *self._key())
                self.found.setdefault(path, self._line)
                self._value(path)

    def _advance(self) -> None:
        self._token, self._line = next(self._tokens)

    def _header(self) -> Path:
        """The table that `[a.b]` or `[[a.b]]` begins."""
        line = self._line
        self._advance()
        is_array = self._token == "["
        if is_array:
            self._advance()
        path: Path = ()
        for name in self._key():
            if path in self._tables:
                path = (*path, self._tables[path] - 1)  # the last one
            path = (*path, name)
        if is_array:
            count = self._tables.get(path, 0)
            self._tables[path] = count + 1
            self.found.setdefault(path, line)
            path = (*path, count)
            self._advance()
        self._advance()
        self.found.setdefault(path, line)
        return path

    def _key(self) -> list[str]:
        """A key with its dots, up to what is behind it: `=` or `]`."""
        names = []
        while self._token not in ("=", "]"):
            if self._token != ".":
                names.append(_name(self._token))
            self._advance()
        return names

    def _value(self, path: Path) -> None:
        """Go behind the value of a key, which may have keys and values in it."""
        self._advance()
        within: list[Path] = []  # of arrays and inline tables that are open, the place that is next
        while self._token and (self._token != "\n" or within):
            if self._token in OPENING:
                self._place(path)
                within.append(path)
                path = (*path, 0) if self._token == "[" else path
            elif self._token in CLOSING:
                path = within.pop()
            elif self._token == ",":
                path = self._after(path, within[-1])
            elif self._token != "\n":
                path = self._plain(path, within)
                continue
            self._advance()

    def _after(self, path: Path, outer: Path) -> Path:
        """What comes behind a comma: the next value of an array, or another key of a table."""
        last = path[len(outer)] if len(path) > len(outer) else None
        return (*outer, last + 1) if isinstance(last, int) else outer

    def _plain(self, path: Path, within: list[Path]) -> Path:
        """A value without brackets; or a key, which only an inline table has."""
        if within and path == within[-1]:
            line = self._line
            path = (*path, *self._key())
            self.found.setdefault(path, line)
            self._advance()
            return path
        self._place(path)
        while self._token not in ("", "\n", ",", *CLOSING):
            self._advance()
        return path

    def _place(self, path: Path) -> None:
        self.found.setdefault(path, self._line)


def _split(text: str) -> Iterator[tuple[str, int]]:
    """Tokens without comments, and the lines on which they begin; at the end, empty ones."""
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        if not token.startswith("#"):
            yield token, line
        line += token.count("\n")
    while True:
        yield "", line


def _name(token: str) -> str:
    """What a part of a key says, which may be a string."""
    if token[0] not in "\"'":
        return token
    (name,) = tomllib.loads(f"{token} = 0")
    return name
