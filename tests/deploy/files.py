"""The files of deploy/ as data, and the tools that know their formats better than we do."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
SCHEMAS: Final = Path(__file__).parent / "schemas"


def load(name: str) -> Any:
    """The content of the YAML or JSON file *name* below deploy/."""
    return yaml.safe_load((DEPLOY / name).read_text())


def load_schema(name: str) -> Any:
    return yaml.safe_load((SCHEMAS / name).read_text())


def tool(name: str) -> str:
    """The path of the program *name*; without it the test is skipped, or fails where CI is true."""
    path = shutil.which(name)
    if path:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not on the PATH")
    pytest.skip(f"{name} is not on the PATH")


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile in their order, each with its arguments as one line."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.split(maxsplit=1) for line in text.replace("\\\n", " ").splitlines() if line]
    return [(name.upper(), arguments.strip()) for name, arguments in lines]


def only(instruction: str) -> str:
    """The arguments of *instruction*, of which the Dockerfile has exactly one."""
    (arguments,) = [arguments for name, arguments in dockerfile() if name == instruction]
    return arguments


def words_of(arguments: str) -> list[str]:
    """The words of an instruction in exec form, which is a JSON list."""
    words: list[str] = json.loads(arguments)
    return words


def readme_commands() -> list[list[str]]:
    """The commands that deploy/README.md tells to type, as words."""
    text = (DEPLOY / "README.md").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.startswith("    ")]


def containers() -> dict[str, Any]:
    """The containers of the pod by their names, sidecars first."""
    spec = load("kubernetes/sidecar.yaml")["spec"]
    return {each["name"]: each for each in spec["initContainers"] + spec["containers"]}


def unit() -> list[tuple[str, str]]:
    """The settings of ram9.service in their order."""
    lines = (DEPLOY / "systemd/ram9.service").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in pairs]
