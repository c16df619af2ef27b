"""Log lines that people and programs can trust: an event and its fields, one line each.

    2026-11-21T02:09:08Z INFO listening address=127.0.0.1:564 size=1GiB

What a peer sends (names, addresses, the text of an exception) may hold anything. So nothing but
printable ASCII leaves here, the rest is escaped: no value can start a line, add a field, move a
cursor or reverse the direction of a text. A traceback follows its line, each row indented.
"""

import json
import logging
import math
import re
import sys
import time
from typing import Final

VALUE_CHARACTERS_MAX: Final = 256
"""What is shown of one value or one row of a traceback: a uname alone may have 64 KiB."""

TRACEBACK_ROWS_MAX: Final = 200

_UNPRINTABLE: Final = re.compile(r"[^ -~]")

_BARE: Final = re.compile(r"[!#-<>-\[\]-~]+")
"""Values that need no quotes: printable, without space, quote, equals sign and backslash."""

_RESERVED: Final = frozenset({"time", "level", "event", "traceback"})


def configure(level: str, format: str) -> None:
    """Send every log record of *level* and above to stderr, *format* being `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def event(
    logger: logging.Logger,
    level: int,
    name: str,
    /,
    *,
    exception: BaseException | None = None,
    **fields: object,
) -> None:
    """Log that *name* happened, with *fields*, and with the traceback of *exception* if given."""
    assert _RESERVED.isdisjoint(fields), f"fields of {name} use a reserved word"
    logger.log(level, name, exc_info=exception, extra={"fields": fields})


def printable(value: object) -> str:
    """*value* as printable ASCII on one line, of bounded length; the rest is escaped."""
    return _UNPRINTABLE.sub(lambda match: json.dumps(match[0])[1:-1], _text(value))


class TextFormatter(logging.Formatter):
    """Lines for people: time, level, event, then the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), record.levelname, printable(record.getMessage())]
        words += [f"{name}={_quoted(value)}" for name, value in _fields(record).items()]
        rows = [f"    {printable(row)}" for row in _traceback(record)]
        return "\n".join([" ".join(words), *rows])


class JsonFormatter(logging.Formatter):
    """Lines for programs: one JSON object with time, level, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "event": _text(record.getMessage()),
        }
        entry.update((name, _json_value(value)) for name, value in _fields(record).items())
        if rows := _traceback(record):
            entry["traceback"] = [_text(row) for row in rows]
        return json.dumps(entry)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields that event() left; records of other libraries have none."""
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    # The text of an exception may come from a peer, so it may have any number of rows.
    rows = logging.Formatter().formatException(record.exc_info).splitlines()
    return rows[:TRACEBACK_ROWS_MAX]


def _text(value: object) -> str:
    """*value* as text of bounded length; bytes that are not UTF-8 become \\x escapes."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if len(text) > VALUE_CHARACTERS_MAX:
        text = f"{text[:VALUE_CHARACTERS_MAX]}... ({len(text)} characters)"
    # Half a surrogate pair is text to Python but to nobody else.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _quoted(value: object) -> str:
    text = _text(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _json_value(value: object) -> object:
    """*value* where JSON has it, otherwise its text: JSON knows no bytes, no NaN, no address."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _text(value)
