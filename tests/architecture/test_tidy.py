"""What reviews found, as rules that a program can check."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("protocol", "storage", "server")
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 59
LONG_FILES = {"protocol/messages.py"}  # one declaration after the other
EDGES = {"server/__main__.py", "server/ping.py", "server/app.py"}  # which talk to people

BANNED = {
    r"\bTODO\b|\bFIXME\b|\bXXX\b": "a row in the list of known gaps",
    r"\bTYPE_CHECKING\b": "a module that both can import",
    r"\bbreakpoint\(|\bpdb\b": "a test",
    r"/work/|/tmp/|/home/": "a path that is given",
}
# Where one of these is what it is about.
EXCEPTIONS = {("server/config.py", r"/work/|/tmp/|/home/")}

SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)
BENCHMARKS = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks").glob("*.py")
)
TESTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("name", [*SOURCES, *BENCHMARKS])
def test_a_file_is_short(name: str) -> None:
    lines = (ROOT / name).read_text().count("\n")
    assert lines <= FILE_LINES_MAX or name in LONG_FILES


@pytest.mark.parametrize("name", [*SOURCES, *BENCHMARKS, *TESTS])
def test_a_function_is_short(name: str) -> None:
    for node in ast.walk(ast.parse((ROOT / name).read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("name", [*SOURCES, *BENCHMARKS])
def test_nothing_is_there_that_was_agreed_not_to_be(name: str) -> None:
    text = (ROOT / name).read_text()
    for pattern, instead in BANNED.items():
        if (name, pattern) not in EXCEPTIONS:
            assert not re.search(pattern, text), f"{pattern}: rather {instead}"


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_not_implemented_is_not_there(name: str) -> None:
    """But for Message.encode, which each declared message gets its own of."""
    expected = 1 if name == "protocol/codec.py" else 0
    assert (ROOT / name).read_text().count("NotImplemented") == expected


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_edges_print(name: str) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / name).read_bytes()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not calls or name in EDGES


@pytest.mark.parametrize("name", [*SOURCES, *BENCHMARKS])
def test_a_module_says_what_it_holds(name: str) -> None:
    assert ast.get_docstring(ast.parse((ROOT / name).read_bytes()))


# Whose tests have another name, and why.
TESTED_ELSEWHERE = {
    "server/__main__.py": "tests/deploy/test_command_lines.py",
    "server/version.py": "tests/deploy/test_command_lines.py",
}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in SOURCES
        if not name.endswith("__init__.py") and not name.startswith("server/operations/")
    ],
)
def test_a_module_has_a_test_of_its_own(name: str) -> None:
    package, module = name.split("/", 1)
    expected = TESTED_ELSEWHERE.get(name, f"tests/unit/{package}/test_{module}")
    assert (ROOT / expected).is_file()


@pytest.mark.parametrize("name", [name for name in SOURCES if "/operations/" in name])
def test_a_family_of_operations_has_a_conformance_test(name: str) -> None:
    family = name.rsplit("/", 1)[1]
    if family != "__init__.py":
        assert (ROOT / "tests" / "conformance" / f"test_{family}").is_file()
