"""Every configuration file says only what its format, and our own rules, allow."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.deploy.files import DEPLOY, load, load_schema

FILES = {
    "compose.yaml": "compose.yaml",
    "prometheus.yml": "prometheus.yaml",
    "alerts.yml": "alerts.yaml",
    "kubernetes/sidecar.yaml": "pod.yaml",
    "grafana/provisioning/datasources/prometheus.yaml": "datasources.yaml",
    "grafana/provisioning/dashboards/ram9.yaml": "dashboards.yaml",
    "grafana/dashboards/ram9.json": "dashboard.yaml",
}


def complaints(document: Any, schema: str) -> list[str]:
    validator = Draft202012Validator(load_schema(schema))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("schema", sorted(set(FILES.values())))
def test_a_schema_is_a_schema(schema: str) -> None:
    Draft202012Validator.check_schema(load_schema(schema))


@pytest.mark.parametrize("name", FILES)
def test_a_file_fits_its_schema(name: str) -> None:
    assert complaints(load(name), FILES[name]) == []


def test_every_configuration_file_has_a_schema() -> None:
    found = {
        str(path.relative_to(DEPLOY))
        for pattern in ("*.yaml", "*.yml", "*.json")
        for path in DEPLOY.rglob(pattern)
    }
    assert found == set(FILES)


def expose_to_all(compose: Any) -> None:
    compose["services"]["ram9"]["ports"] = ["5640:5640"]


def forget_the_limit(compose: Any) -> None:
    del compose["services"]["ram9"]["mem_limit"]


def forget_the_version(compose: Any) -> None:
    compose["services"]["grafana"]["image"] = "grafana/grafana"


def misspell(compose: Any) -> None:
    compose["services"]["ram9"]["comand"] = ["serve"]


def share_with_an_application(pod: Any) -> None:
    pod["spec"]["containers"][0]["volumeMounts"][0]["mountPropagation"] = "Bidirectional"


def forget_to_keep_running(pod: Any) -> None:
    del pod["spec"]["initContainers"][0]["restartPolicy"]


def forget_the_startup_probe(pod: Any) -> None:
    del pod["spec"]["initContainers"][1]["startupProbe"]


def forget_the_memory_limit(pod: Any) -> None:
    del pod["spec"]["initContainers"][0]["resources"]["limits"]["memory"]


def name_a_data_source(dashboard: Any) -> None:
    dashboard["panels"][0]["datasource"]["uid"] = "prometheus"


def forget_the_instance(dashboard: Any) -> None:
    dashboard["panels"][0]["targets"][0]["expr"] = "ram9_used_bytes"


def forget_whom_it_is_about(alerts: Any) -> None:
    alerts["groups"][0]["rules"][0]["annotations"]["summary"] = "ram9 is down"


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("compose.yaml", expose_to_all),
        ("compose.yaml", forget_the_limit),
        ("compose.yaml", forget_the_version),
        ("compose.yaml", misspell),
        ("kubernetes/sidecar.yaml", share_with_an_application),
        ("kubernetes/sidecar.yaml", forget_to_keep_running),
        ("kubernetes/sidecar.yaml", forget_the_startup_probe),
        ("kubernetes/sidecar.yaml", forget_the_memory_limit),
        ("grafana/dashboards/ram9.json", name_a_data_source),
        ("grafana/dashboards/ram9.json", forget_the_instance),
        ("alerts.yml", forget_whom_it_is_about),
    ],
)
def test_a_schema_notices(name: str, spoil: Callable[[Any], None]) -> None:
    document = copy.deepcopy(load(name))
    spoil(document)
    assert complaints(document, FILES[name])
