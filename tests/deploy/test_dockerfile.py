"""The image is built from what exists, and runs as somebody who may do nothing."""

import re

import pytest
from tests.deploy.files import DEPLOY, ROOT, dockerfile, only, words_of


def copied() -> list[str]:
    """What the build takes from the repository."""
    copies = [arguments.split() for name, arguments in dockerfile() if name == "COPY"]
    return [
        source for words in copies if not words[0].startswith("--from") for source in words[:-1]
    ]


def test_it_starts_from_the_python_that_we_test_with() -> None:
    bases = [arguments.split()[0] for name, arguments in dockerfile() if name == "FROM"]
    assert set(bases) == {"python:3.11-slim"}


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists(source: str) -> None:
    assert (ROOT / source).exists()


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_is_sent_to_the_builder(source: str) -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines.index("*") < lines.index(f"!{source}")


def test_every_package_is_copied() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert packages
    assert packages <= set(copied())


def test_the_last_stage_has_the_result_and_not_the_sources() -> None:
    instructions = dockerfile()
    last = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    copies = [arguments for name, arguments in instructions[last:] if name == "COPY"]
    assert copies == ["--from=build /opt/ram9 /opt/ram9"]


def test_it_does_not_run_as_root() -> None:
    user, _, group = only("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_it_is_stopped_by_the_signal_that_ram9_waits_for() -> None:
    assert only("STOPSIGNAL") == "SIGTERM"


def test_no_shell_stands_between_the_signal_and_ram9() -> None:
    assert words_of(only("ENTRYPOINT")) == ["ram9"]


def test_it_is_asked_whether_it_is_well() -> None:
    options, _, command = only("HEALTHCHECK").partition("CMD")
    assert words_of(command)[:2] == ["ram9", "ping"]
    assert set(re.findall(r"--([a-z-]+)=", options)) == {
        "interval",
        "timeout",
        "start-period",
        "retries",
    }
