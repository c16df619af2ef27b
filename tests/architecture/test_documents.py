"""What the documents say is what the code does."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from benchmarks.__main__ import COMMANDS
from benchmarks.__main__ import parser as benchmarks_parser

from ram9.server.app import DRAIN_SECONDS_MAX, mount_line
from ram9.server.arguments import AskResize, AskStatus, Ping, parse_arguments
from ram9.server.config import DEFAULT_KEEP_WARM_SECONDS, DEFAULT_LOCK_WAIT_SECONDS, Address, Config
from ram9.server.config_file import parse_config
from ram9.server.hub import HELD_BYTES_MAX, SCARCE_BATCH_BYTES
from ram9.server.listening import (
    KEEPALIVE_IDLE_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    KEEPALIVE_PROBES,
)
from ram9.server.metrics import METRICS
from ram9.server.operations.locks import CLIENT_ID_BYTES_MAX
from ram9.server.session import (
    FIDS_MAX,
    FIDS_TOTAL_MAX,
    LOCKS_MAX,
    LOCKS_TOTAL_MAX,
    UNVERSIONED_FRAME_BYTES_MAX,
    VALUES_BYTES_MAX,
    VALUES_TOTAL_BYTES_MAX,
)
from ram9.server.toml_tables import CONFIG_BYTES_MAX, LINE_CHARACTERS_MAX
from ram9.server.transport import FRAME_SECONDS_MAX
from ram9.server.users import USERS_MAX
from ram9.server.waiting import WAITING_MAX, WAITING_TOTAL_MAX
from ram9.storage.limits import (
    NAME_BYTES_MAX,
    SYMLINK_BYTES_MAX,
    XATTR_VALUE_BYTES_MAX,
)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPERATING = (ROOT / "docs" / "operating.md").read_text()
VOLUMES = (ROOT / "docs" / "volumes.md").read_text()
(EXAMPLE,) = re.findall(r"^```toml\n(.*?)^```$", VOLUMES, re.MULTILINE | re.DOTALL)
DOCUMENTS = [
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", "build"} & set(path.relative_to(ROOT).parts)
]


def commands(text: str) -> list[str]:
    """The ram9 command lines that a document shows, in code or between backquotes."""
    shown = re.findall(
        r"(?:^[#$] |`)(ram9 (?:serve|ping|status|resize [^V])[^`\n&]*)", text, re.MULTILINE
    )
    return [command.strip() for command in shown if "--help" not in command]


def logged_events() -> set[str]:
    """The names of events in the sources: what is given to event() and to report()."""
    names = set()
    for path in (ROOT / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                function = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                function = node.func.id if isinstance(node.func, ast.Name) else function
                where = {"event": 2, "report": 0}.get(function)
                if where is not None and isinstance(name := node.args[where], ast.Constant):
                    names.add(str(name.value))
    return names


@pytest.mark.parametrize("command", commands(README + OPERATING + VOLUMES))
def test_a_command_that_is_shown_can_be_typed(command: str) -> None:
    request = parse_arguments(shlex.split(command)[1:], lambda: 8 << 30, lambda _: EXAMPLE)
    assert isinstance(request, Config | Ping | AskStatus | AskResize)


def test_the_configuration_that_is_shown_can_be_read() -> None:
    config = parse_config(EXAMPLE, "ram9.toml", lambda: 8 << 30)
    assert [volume.name for volume in config.volumes] == ["", "builds", "public"]


def test_every_key_of_the_configuration_is_documented_with_its_default() -> None:
    source = (ROOT / "server" / "config_file.py").read_text()
    taken = set(re.findall(r'\.(?:take|need|each|tables)\(\s*"([a-z-]+)"', source))
    rows = re.findall(
        r"^\| (`[a-z`, -]+`) \| (?:the file|a volume|a template) \|", VOLUMES, re.MULTILINE
    )
    assert {key for row in rows for key in re.findall("[a-z-]+", row)} == taken
    text = '[[volume]]\nsize = "1GiB"\n'
    usual = parse_config(text, "", lambda: 0)
    values = re.findall(
        r"^\| (`[a-z`, -]+`) \| (the file|a volume) \|.*\| (`[^|]*`) \|$", VOLUMES, re.MULTILINE
    )
    assert len(values) >= 12
    for keys, table, defaults in values:
        names, said = re.findall("[a-z-]+", keys), re.findall("`([^`]*)`", defaults)
        said *= len(names) if len(said) == 1 else 1
        for name, value in zip(names, said, strict=True):
            squash = 'squash = "all"\n' if name.startswith("squash-") else ""
            line = f"{name} = {value}\n"
            same = parse_config(
                line + text if table == "the file" else text + squash + line, "", lambda: 0
            )
            expected = parse_config(text + squash, "", lambda: 0) if squash else usual
            assert same == expected, line


def test_benchmarks_that_are_shown_can_be_typed() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    shown = re.findall(r"python -m benchmarks ([a-z][^`\n]*)", text)
    assert set(map(str.strip, shown)) >= set(COMMANDS) - {"all"}
    for command in shown:
        assert benchmarks_parser().parse_args(shlex.split(command)).command in COMMANDS


def test_commands_are_shown() -> None:
    assert len(commands(README)) >= 2


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", README, re.MULTILINE))
    assert targets == {"serve", "test", "bench"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_readme_mounts_what_make_serve_serves() -> None:
    listen = re.search(r"^LISTEN \?= (\S+):(\d+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listen is not None
    assert mount_line(Address(listen[1], int(listen[2]))) in README


def test_every_event_is_documented() -> None:
    table = re.findall(r"^\| ([a-z ,]+) \| [A-Z, ]+ \|", OPERATING, re.MULTILINE)
    documented = {name for row in table for name in row.split(", ")}
    # The first attach of a client is logged by another name.
    assert documented == logged_events() | {"mounted"}


def test_every_metric_is_documented() -> None:
    documented = set(re.findall(r"`(ram9_\w+)", OPERATING))
    assert documented == set(METRICS)


@pytest.mark.parametrize(
    "said",
    [
        f"| {NAME_BYTES_MAX} bytes, any but `/` and NUL |",
        f"| {SYMLINK_BYTES_MAX} bytes |",
        f"value {XATTR_VALUE_BYTES_MAX} bytes",
        f"{UNVERSIONED_FRAME_BYTES_MAX} bytes before that",
        f"{FRAME_SECONDS_MAX:.0f} seconds, also for the first one",
        f"| {FIDS_MAX:,} | EMFILE |",
        f"| {LOCKS_MAX:,} | ENOLCK |",
        f"| {FIDS_TOTAL_MAX:,} | ENFILE |",
        f"| {LOCKS_TOTAL_MAX:,} | ENOLCK |",
        f"of a connection | {WAITING_MAX:,} |",
        f"in all | {WAITING_TOTAL_MAX:,} |",
        f"`--lock-wait` ({DEFAULT_LOCK_WAIT_SECONDS} seconds; up to one more)",
        f"`--keep-warm` ({DEFAULT_KEEP_WARM_SECONDS} seconds; up to two more)",
        f"over one connection | {VALUES_BYTES_MAX >> 20} MiB | ENOMEM |",
        f"over all connections | {VALUES_TOTAL_BYTES_MAX >> 20} MiB | ENOMEM |",
        f"| users whose groups are remembered | {USERS_MAX:,}, for a minute |",
        f"| {CLIENT_ID_BYTES_MAX} bytes | EINVAL |",
        f"{HELD_BYTES_MAX >> 20} MiB, or a quarter of the memory that `--size` leaves",
        f"then clients get replies in pieces of {SCARCE_BATCH_BYTES >> 10} KiB",
    ],
)
def test_a_limit_is_what_the_manual_says(said: str) -> None:
    assert said in OPERATING


def test_how_large_a_configuration_may_be_is_said() -> None:
    said = f"at most {CONFIG_BYTES_MAX >> 10} KiB and {LINE_CHARACTERS_MAX:,} characters a line"
    assert said in VOLUMES


def test_times_are_what_the_manual_says() -> None:
    noticed = KEEPALIVE_IDLE_SECONDS + KEEPALIVE_INTERVAL_SECONDS * KEEPALIVE_PROBES
    assert noticed <= 120
    assert "within two minutes" in OPERATING
    assert DRAIN_SECONDS_MAX == 5
    assert "up to five seconds" in OPERATING


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target
