"""What promtool, which is the authority, says of the configuration and of the alerts."""

import re
import subprocess
from pathlib import Path

from tests.deploy.files import DEPLOY, load, tool

RULE_TESTS = Path(__file__).parent / "alerts.test.yaml"


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("promtool"), *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_configuration_and_its_rules_are_valid() -> None:
    checked = promtool("check", "config", str(DEPLOY / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alerts_do_what_they_say() -> None:
    tested = promtool("test", "rules", str(RULE_TESTS))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_for_raising() -> None:
    alerts = {rule["alert"] for rule in load("alerts.yml")["groups"][0]["rules"]}
    raised = re.findall(r"alertname: (\w+)\n +exp_alerts:", RULE_TESTS.read_text())
    assert alerts == set(raised)
