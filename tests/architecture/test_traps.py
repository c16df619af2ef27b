"""Each trap that v9fs sets for servers is cited by a test that keeps us out of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent.parent
TRAPS = {f"T{number}" for number in range(1, 31)}

# What no test can show, and why.
UNTESTED = {
    "T16": "each look-up and each write asks for attributes: a matter of speed, for benchmarks",
}


def docstrings() -> Iterator[str]:
    """Those of all tests, and of the modules and classes that they are in."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def cited() -> set[str]:
    """The traps that docstrings begin with: ``T2: ...`` or ``T2, T24: ...``."""
    found = set()
    for docstring in docstrings():
        beginning = re.match(r"(T\d+(, )?)+(:|$)", docstring)
        if beginning:
            found |= set(re.findall(r"T\d+", beginning.group()))
    return found


def test_every_trap_is_cited_by_a_test() -> None:
    assert TRAPS - cited() == set(UNTESTED)


def test_no_other_trap_is_cited() -> None:
    assert cited() <= TRAPS
