"""The dashboard and the alerts ask for metrics that exist, and show every one of ours."""

import re

from prometheus_client import ProcessCollector
from tests.deploy.files import load

from ram9.server.metrics import METRICS

LABELS = {
    "errno",
    "instance",
    "job",
    "limited_by",
    "operation",
    "python",
    "reason",
    "version",
    "volume",
}


def dashboard_texts(field: str) -> list[str]:
    panels = load("grafana/dashboards/ram9.json")["panels"]
    return [target[field] for panel in panels for target in panel["targets"]]


def alert_texts() -> list[str]:
    return [rule["expr"] for rule in load("alerts.yml")["groups"][0]["rules"]]


def named(expressions: list[str]) -> set[str]:
    return set(re.findall(r"\b(?:ram9|process)_[a-z_]+", " ".join(expressions)))


def served() -> set[str]:
    """Our metrics, and those that prometheus-client has of every process."""
    process = ProcessCollector(registry=None).collect()
    return {*METRICS, *(sample.name for family in process for sample in family.samples)}


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    variables = [
        str(it["query"]) for it in load("grafana/dashboards/ram9.json")["templating"]["list"]
    ]
    asked = named([*dashboard_texts("expr"), *variables])
    assert asked
    assert asked - served() == set()


def test_the_alerts_ask_for_metrics_that_exist() -> None:
    assert named(alert_texts())
    assert named(alert_texts()) - served() == set()


def test_every_metric_of_ours_is_shown() -> None:
    assert set(METRICS) - named([*dashboard_texts("expr"), *alert_texts()]) == set()


def test_labels_are_those_that_the_metrics_have() -> None:
    expressions = [*dashboard_texts("expr"), *alert_texts()]
    matched = re.findall(r"([a-z_]+)=~?\"", " ".join(expressions))
    grouped = re.findall(r"by \(([^)]*)\)", " ".join(expressions))
    shown = re.findall(r"\{\{([a-z_]+)\}\}", " ".join(dashboard_texts("legendFormat")))
    used = {*matched, *shown, *(label for group in grouped for label in group.split(", "))}
    assert used - LABELS == set()


def test_counters_are_asked_for_their_growth() -> None:
    """Shown as they are, counters only ever rise; internal errors are the exception: any is bad."""
    expressions = [*dashboard_texts("expr"), *alert_texts()]
    bare = [
        expression
        for expression in expressions
        if re.search(r"_total\b", expression) and not re.search(r"(rate|increase)\(", expression)
    ]
    assert bare == ['ram9_internal_errors_total{instance=~"$instance"}']


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = load("grafana/dashboards/ram9.json")["panels"]
    cells = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in panels}) == len(panels)
