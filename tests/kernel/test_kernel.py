"""What programs see on a mount by a real Linux kernel: one boot for each scenario."""

import importlib
import os
import sys
from pathlib import Path

import pytest
from tests.kernel.guest import require, results_of
from tests.kernel.scenario import Scenario

SCENARIOS: list[Scenario] = [
    importlib.import_module(f"tests.kernel.scenarios.{path.stem}").scenario
    for path in sorted((Path(__file__).parent / "scenarios").glob("[!_]*.py"))
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all the processes of one test run share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place = shared / "kernel"
    place.mkdir(exist_ok=True)
    return place


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("scenario", "fact"),
    [
        pytest.param(scenario, name, id=f"{scenario.name}: {name}")
        for scenario in SCENARIOS
        for name in scenario.names()
    ],
)
def test_kernel(scenario: Scenario, fact: str, folder: Path) -> None:
    require(scenario)
    result = results_of(scenario, folder)[fact]
    if result.get("figures"):
        sys.stdout.write(f"{result['figures']} ({result['seconds']} s)\n")
    if result["wrong"]:
        pytest.fail(result["wrong"], pytrace=False)
