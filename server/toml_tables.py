"""A TOML file as tables whose keys are taken one by one; a mistake is told with its line."""

import difflib
import re
import tomllib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ram9.server.config import ConfigError
from ram9.server.toml_lines import Path, lines_of

# What a server may be asked to read while it serves. tomllib takes time that grows with the square
# of the number of dots in a key, which ends with its line.
CONFIG_BYTES_MAX: Final = 256 << 10
LINE_CHARACTERS_MAX: Final = 1024

_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

T = TypeVar("T")

# What TOML calls the types that tomllib makes of it.
_KINDS: Final = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    list: "an array",
    dict: "a table",
}


class File:
    """The text of a configuration, and what it means to TOML."""

    def __init__(self, text: str, path: str) -> None:
        self._text = text
        self._path = path
        self._lines: dict[Path, int] | None = None
        self._check_size()
        try:
            self._values = tomllib.loads(text)
        except RecursionError:
            raise ConfigError(f"{path}: arrays and tables are nested too deeply") from None
        except ValueError as error:  # also of numbers that are too long
            raise self._syntax_error(str(error)) from None

    def table(self) -> "Table":
        """The whole."""
        return Table(self, (), self._values)

    def mistake(self, path: Path, sentence: str) -> ConfigError:
        """A refusal of what is at *path*, or else of what it is in."""
        return ConfigError(f"{self._path}:{self.line(path)}: {sentence}")

    def line(self, path: Path) -> int:
        """On which line is what is at *path*, or else what it is in."""
        if self._lines is None:
            self._lines = lines_of(self._text)
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _check_size(self) -> None:
        if len(self._text) > CONFIG_BYTES_MAX:
            raise ConfigError(f"{self._path}: is larger than {CONFIG_BYTES_MAX} bytes")
        for number, line in enumerate(self._text.split("\n"), start=1):
            if len(line) > LINE_CHARACTERS_MAX:
                raise ConfigError(
                    f"{self._path}:{number}: the line is longer than {LINE_CHARACTERS_MAX} "
                    "characters"
                )

    def _syntax_error(self, sentence: str) -> ConfigError:
        where = _WHERE.search(sentence)
        line = self._text.count("\n") + 1
        if where is not None:
            sentence = sentence[: where.start()]
            if where[1]:
                line = int(where[1])
                sentence += f" at column {where[2]}"
        return ConfigError(f"{self._path}:{line}: this is not TOML: {sentence}")


class Table:
    """One table of the file, whose keys are taken one by one; ``end`` refuses what is left."""

    def __init__(self, file: File, path: Path, values: dict[str, Any]) -> None:
        self._file = file
        self._path = path
        self._values = values
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, read: Callable[[Any], T], default: T) -> T:
        """What *read* makes of the value of *key*, which may refuse it; *default* without one."""
        self._known.add(key)
        return self._read((key,), self._values[key], read) if key in self else default

    def need(self, key: str, read: Callable[[Any], T]) -> T:
        """As take, of what must be there."""
        if key not in self:
            raise self.mistake(key, f"{self._title()} has no {key}")
        self._known.add(key)
        return self._read((key,), self._values[key], read)

    def each(self, key: str, read: Callable[[Any], T], default: tuple[T, ...]) -> tuple[T, ...]:
        """As take, of one value or of an array of them."""
        values = self.take(key, lambda value: value, None)
        if values is None or values == []:
            return default
        if not isinstance(values, list):
            return (self._read((key,), values, read),)
        return tuple(self._read((key, index), value, read) for index, value in enumerate(values))

    def tables(self, key: str) -> list["Table"]:
        """The tables of an array, which may be none."""
        none: list[dict[str, Any]] = []
        return [
            Table(self._file, (*self._path, key, index), values)
            for index, values in enumerate(self.take(key, _tables, none))
        ]

    def mistake(self, key: str, sentence: str) -> ConfigError:
        """A refusal of *key*, or of the table that should have it."""
        return self._file.mistake((*self._path, key), sentence)

    def line(self, key: str) -> int:
        """On which line *key* is, or else the table that should have it."""
        return self._file.line((*self._path, key))

    def end(self) -> None:
        """Refuse the first key that was not taken."""
        for key in self._values:
            if key not in self._known:
                close = difflib.get_close_matches(key, sorted(self._known), 1)
                hint = f": is {close[0]} meant?" if close else ""
                raise self.mistake(key, f"{self._title()} has no key {key[:64]!r}{hint}")

    def _read(self, path: Path, value: Any, read: Callable[[Any], T]) -> T:
        try:
            return read(value)
        except KindError as error:
            sentence = f"{path[0]} must be {error}"
        except ConfigError as error:
            sentence = str(error)
        raise self._file.mistake((*self._path, *path), sentence)

    def _title(self) -> str:
        return f"[[{self._path[0]}]]" if self._path else "the configuration"


class KindError(Exception):
    """A value is of another type than its key has; the text says what it must be and is."""

    def __init__(self, wanted: str, value: object) -> None:
        super().__init__(f"{wanted}, and is {_KINDS.get(type(value), 'a date or time')}")


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(inner, dict) for inner in value):
        raise KindError("tables, each with its name in two brackets", value)
    return value
