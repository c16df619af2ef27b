"""Runs a scenario under a kernel that has v9fs, or says why it cannot."""

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kernel.inside import MARKER
from tests.kernel.scenario import Scenario

REPOSITORY = Path(__file__).parents[2]
Results = dict[str, dict[str, str]]


def missing(scenario: Scenario) -> str:
    """What this machine lacks for a scenario, as a sentence; nothing if it can run."""
    lacking = [tool for tool in scenario.tools if shutil.which(tool) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    if guest := os.environ.get("RAM9_GUEST"):
        program = shlex.split(guest)[0]
        return "" if shutil.which(program) else f"RAM9_GUEST: {program} is not there to be run"
    if os.geteuid() != 0:
        return "only root can mount, and RAM9_GUEST does not say what runs a command as root"
    if not has_9p() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "9p"], check=False, capture_output=True)
    if not has_9p():
        return "this kernel has no 9p, and RAM9_GUEST does not say what runs a command under one"
    return ""


def has_9p() -> bool:
    return "9p" in Path("/proc/filesystems").read_text().split()


def require(scenario: Scenario) -> None:
    """Skip the test if its scenario cannot run; where CI is set it must."""
    if reason := missing(scenario):
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"kernel tests must run here, but: {reason}")
        pytest.skip(reason)


def results_of(scenario: Scenario, folder: Path) -> Results:
    """What a run of the scenario found: one run, whichever process of the test run asks first."""
    kept = folder / f"{scenario.name}.json"
    with (folder / f"{scenario.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(json.dumps(_run(scenario)))
    results: Results = json.loads(kept.read_text())
    return results


def _run(scenario: Scenario) -> Results:
    inside = [sys.executable, "-m", "tests.kernel.inside", scenario.name]
    if guest := os.environ.get("RAM9_GUEST"):
        limits = ["-m", str(scenario.memory_mib), "-t", str(scenario.seconds_max)]
        command = [*shlex.split(guest), *limits, "--", *inside]
    else:
        command = ["unshare", "--mount", "--propagation", "private", *inside]
    done = subprocess.run(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    output = done.stdout.decode(errors="replace")
    results: Results = {}
    for line in output.splitlines():
        if line.startswith(MARKER):
            result = json.loads(line.removeprefix(MARKER))
            results[result["fact"]] = result
    rest = [line for line in output.splitlines() if not line.startswith(MARKER)]
    for name in scenario.names():
        wrong = "\n".join([f"not found out; the guest's status is {done.returncode}", *rest[-60:]])
        results.setdefault(name, {"fact": name, "wrong": wrong})
    return results
