"""What systemd-analyze, which is the authority, says of the unit."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.deploy.files import DEPLOY, tool, unit


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with a program that exists in the place of ram9: systemd looks for it."""
    program = shutil.which("true")
    assert program
    text = (DEPLOY / "systemd/ram9.service").read_text()
    path = tmp_path / "ram9.service"
    path.write_text(text.replace("ExecStart=/opt/ram9/bin/ram9", f"ExecStart={program}"))
    return path


def systemd_analyze(*words: str) -> str:
    """What it complains about, which is nothing if all is well."""
    checked = subprocess.run(
        [tool("systemd-analyze"), *words], capture_output=True, text=True, timeout=60, check=False
    )
    return "" if checked.returncode == 0 else checked.stdout + checked.stderr


def test_the_unit_is_valid(installed: Path) -> None:
    assert systemd_analyze("verify", "--man=no", str(installed)) == ""


def test_the_unit_may_do_next_to_nothing(installed: Path) -> None:
    # Of 100, in tenths of what `systemd-analyze security` shows: a unit without any protection
    # has 96, ours 16; versions differ a little in what they count.
    complaint = systemd_analyze("security", "--offline=true", "--threshold=25", str(installed))
    assert complaint == ""


def test_every_setting_is_made_once() -> None:
    names = [name for name, _ in unit() if name != "SystemCallFilter"]
    assert len(names) == len(set(names))


def test_the_port_needs_the_only_capability_that_it_has() -> None:
    settings = dict(unit())
    assert settings["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert settings["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"


def test_the_memory_of_the_machine_stays_readable() -> None:
    assert dict(unit()).get("ProcSubset", "all") == "all"
