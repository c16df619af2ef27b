"""Log lines in both formats, above all with values that a hostile peer chose."""

import json
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ram9.server.config import Address
from ram9.server.logs import (
    TRACEBACK_ROWS_MAX,
    JsonFormatter,
    TextFormatter,
    configure,
    event,
    printable,
)

FORGED = b"root\n2026-11-21T02:09:08Z INFO forged"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ [ -~]+")


@pytest.fixture(autouse=True)
def _root_logger_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(name: str, *, error: BaseException | None = None, **fields: object) -> logging.LogRecord:
    """What event() hands to a formatter, at a known time."""
    made = logging.makeLogRecord({"msg": name, "levelname": "INFO", "fields": fields})
    made.created = 1795226948.5
    made.exc_info = (type(error), error, error.__traceback__) if error else None
    return made


def as_text(name: str, *, error: BaseException | None = None, **fields: object) -> str:
    return TextFormatter().format(record(name, error=error, **fields))


def as_json(
    name: str, *, error: BaseException | None = None, **fields: object
) -> dict[str, object]:
    line = JsonFormatter().format(record(name, error=error, **fields))
    assert re.fullmatch(r"[ -~]+", line)
    entry: dict[str, object] = json.loads(line)
    return entry


def raised(text: str) -> Exception:
    """An exception with a traceback."""
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        return error


def test_text_is_time_level_event_and_fields() -> None:
    line = as_text("listening", address=Address("127.0.0.1", 564), size="1GiB", inodes=1024)
    assert line == (
        "2026-11-21T02:09:08Z INFO listening address=127.0.0.1:564 size=1GiB inodes=1024"
    )


def test_json_is_one_object_with_the_same() -> None:
    entry = as_json("listening", address=Address("127.0.0.1", 564), size="1GiB", inodes=1024)
    assert list(entry.items()) == [
        ("time", "2026-11-21T02:09:08Z"),
        ("level", "INFO"),
        ("event", "listening"),
        ("address", "127.0.0.1:564"),
        ("size", "1GiB"),
        ("inodes", 1024),
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"alice", "alice"),
        ("unix:/run/a", "unix:/run/a"),
        (True, "True"),
        (None, "None"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ("é", r'"\u00e9"'),
        (b"\xc3\xa9", r'"\u00e9"'),
        (b"\xff", r'"\\xff"'),
        ("\udcff", r'"\\udcff"'),
        (FORGED, r'"root\n2026-11-21T02:09:08Z INFO forged"'),
        (b"a level=ERROR", '"a level=ERROR"'),
        (b"\x1b[2J\r\x00\x7f", r'"\u001b[2J\r\u0000\u007f"'),
        ("\u202egnp.exe\u2028\x85", r'"\u202egnp.exe\u2028\u0085"'),
    ],
)
def test_text_quotes_what_is_not_one_plain_word(value: object, shown: str) -> None:
    assert as_text("attached", uname=value).removeprefix("2026-11-21T02:09:08Z INFO ") == (
        f"attached uname={shown}"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7, 7),
        (0.5, 0.5),
        (True, True),
        (None, None),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (b"alice", "alice"),
        (b"\xff", r"\xff"),
        (FORGED, "root\n2026-11-21T02:09:08Z INFO forged"),
        (["a"], "['a']"),
    ],
)
def test_json_has_values_that_every_reader_of_json_takes(value: object, shown: object) -> None:
    assert as_json("attached", uname=value)["uname"] == shown


@settings(deadline=None)
@given(st.one_of(st.binary(), st.text(st.characters())))
def test_no_value_makes_a_second_line_or_a_second_field(value: object) -> None:
    line = as_text("attached", uname=value, fid=1)
    assert LINE.fullmatch(line)
    shown = re.fullmatch(r'[^ ]+ INFO attached uname=("(?:[^"\\]|\\.)*"|[^ "=\\]+) fid=1', line)
    assert shown is not None
    as_json("attached", uname=value)


@settings(deadline=None)
@given(st.text(st.characters()))
def test_a_message_of_another_library_stays_one_line(message: str) -> None:
    assert LINE.fullmatch(as_text(f"!{message}"))
    as_json(message)


def test_a_long_value_is_cut() -> None:
    assert printable("a" * 256) == "a" * 256
    assert printable(b"a" * 65535) == "a" * 256 + "... (65535 characters)"


def test_a_traceback_follows_indented() -> None:
    line, *rows = as_text("bug", error=raised("broken")).split("\n")
    assert line == "2026-11-21T02:09:08Z INFO bug"
    assert rows[0] == "    Traceback (most recent call last):"
    assert rows[-1] == "    RuntimeError: broken"


def test_a_traceback_is_a_list_in_json() -> None:
    rows = as_json("bug", error=raised("broken"))["traceback"]
    assert isinstance(rows, list)
    assert rows[-1] == "RuntimeError: broken"


def test_the_text_of_an_exception_cannot_forge_a_line() -> None:
    rows = as_text("bug", error=raised(FORGED.decode() + "\r\x1b[2J\u2028")).split("\n")[1:]
    assert all(re.fullmatch(r"    [ -~]*", row) for row in rows)


def test_the_text_of_an_exception_cannot_fill_the_disk() -> None:
    text = as_text("bug", error=raised("\n" * 65535))
    assert text.count("\n") == TRACEBACK_ROWS_MAX


def test_a_record_of_another_library_has_no_fields() -> None:
    made = record("slow %s")
    made.args = ("callback",)
    made.__dict__.pop("fields")
    assert TextFormatter().format(made) == "2026-11-21T02:09:08Z INFO slow callback"


def test_configured_text_goes_to_stderr_from_its_level_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "text")
    logger = logging.getLogger("ram9.test")
    event(logger, logging.DEBUG, "unseen")
    event(logger, logging.INFO, "attached", uname=FORGED)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert LINE.fullmatch(captured.err.removesuffix("\n"))
    assert "attached uname=" in captured.err


def test_configured_json_has_the_traceback_of_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug", "json")
    event(logging.getLogger("ram9.test"), logging.ERROR, "bug", exception=raised("broken"), tag=3)
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["event"], entry["tag"]) == ("ERROR", "bug", 3)
    assert entry["traceback"][-1] == "RuntimeError: broken"


def test_configuring_again_replaces_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "text")
    configure("info", "json")
    event(logging.getLogger("ram9.test"), logging.INFO, "once")
    assert json.loads(capsys.readouterr().err)["event"] == "once"


def test_a_field_cannot_replace_the_event() -> None:
    with pytest.raises(AssertionError, match="reserved"):
        event(logging.getLogger("ram9.test"), logging.INFO, "bug", event="other")
