"""docs/compatibility.md names tests that exist, every limit, and every difference of the oracle."""

import ast
import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest
from tests.kernel.scenario import Scenario

from ram9.server import session, waiting
from ram9.server.operations import locks
from ram9.storage import limits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text()
MODULES = (limits, session, waiting, locks)
ORACLE = "tests.oracle.differences"


def rows(section: str) -> list[list[str]]:
    """The cells of the tables below a heading, but for the heads of the tables."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in lines]


DIFFERENCES = rows("What the client does differently")
LIMITS = rows("Limits of ram9")
SHOWN_BY = [row[3] for row in DIFFERENCES if len(row) == 4] + [row[3] for row in LIMITS]


@pytest.mark.parametrize("name", SHOWN_BY)
def test_what_shows_it_exists(name: str) -> None:
    if name.startswith("kernel: "):
        _, scenario_name, fact = name.split(": ")
        scenario: Scenario = importlib.import_module(
            f"tests.kernel.scenarios.{scenario_name}"
        ).scenario
        assert fact in scenario.names()
        return
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_is_whole() -> None:
    assert len(DIFFERENCES) > 20
    for row in DIFFERENCES:
        assert re.search(r"\b(fs|net)/\w+/\w+\.c:\d+", row[2]), row[0]
    assert all(len(row) == 4 for row in LIMITS)
    names = [row[0] for row in DIFFERENCES + LIMITS]
    assert len(set(names)) == len(names)


def test_every_limit_is_listed() -> None:
    named = {
        name
        for module in MODULES
        for name in vars(module)
        if name.endswith("_MAX") and name not in ("MSIZE_MAX", "OFFSET_MAX")
    }
    named |= {field.name for field in fields(limits.Limits)}
    assert {row[0].strip("`") for row in LIMITS} == named


@pytest.mark.parametrize(
    "row", [row for row in LIMITS if row[0].strip("`").isupper()], ids=lambda row: row[0]
)
def test_a_limit_is_as_large_as_the_page_says(row: list[str]) -> None:
    name = row[0].strip("`")
    value = next(getattr(module, name) for module in MODULES if hasattr(module, name))
    assert row[1].startswith((f"{value:,} ", f"{value >> 20} MiB "))


def test_limits_of_files_are_as_large_as_the_page_says() -> None:
    said = {row[0].strip("`"): row[1] for row in LIMITS}
    default = limits.Limits(size_bytes=1, inodes=1)
    assert said["links"].startswith(f"{default.links:,} ")
    assert said["file_bytes"].startswith(f"{default.file_bytes:,} ")


def test_the_page_has_the_differences_of_the_oracle() -> None:
    known = {difference.name for difference in importlib.import_module(ORACLE).DIFFERENCES}
    assert {row[0].strip("`") for row in DIFFERENCES if len(row) == 3} == known
