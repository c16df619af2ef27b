"""Every ram9 command in deploy/ is one that ram9 understands, and fits its surroundings."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from tests.deploy.files import (
    DEPLOY,
    ROOT,
    containers,
    load,
    only,
    readme_commands,
    tool,
    unit,
    words_of,
)

from ram9.server.arguments import Ping, parse_arguments
from ram9.server.config import Address, Config
from ram9.server.config_file import parse_config
from ram9.server.memory import MemoryLimit, require_memory
from ram9.server.version import VERSION

IMAGE = f"ram9:{VERSION}"
MOUNT_OPTIONS = re.compile(r"mount -t 9p -o (\S+) (\S+) (\S+)")


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Where each command is written, and its words after `ram9`."""
    yield "Dockerfile CMD", words_of(only("CMD"))
    yield "Dockerfile HEALTHCHECK", words_of(only("HEALTHCHECK").partition("CMD")[2])[1:]
    service = load("compose.yaml")["services"]["ram9"]
    yield "compose.yaml command", service["command"]
    yield "compose.yaml healthcheck", service["healthcheck"]["test"][2:]
    sidecar = containers()["ram9"]
    yield "sidecar.yaml args", sidecar["args"]
    for probe in ("startupProbe", "readinessProbe"):
        yield f"sidecar.yaml {probe}", sidecar[probe]["exec"]["command"][1:]
    for line in re.findall(r"(?<=ram9 )ping [^;\s]+", containers()["mount"]["args"][0]):
        yield "sidecar.yaml mount", line.split()
    yield "ram9.service", dict(unit())["ExecStart"].split()[1:]
    for words in readme_commands():
        if words[:2] == ["docker", "run"] and words[-1] != IMAGE:
            yield "README.md docker run", words[words.index(IMAGE) + 1 :]


LINES = list(command_lines())


@pytest.mark.parametrize(("source", "words"), LINES, ids=[source for source, _ in LINES])
def test_a_command_is_understood(source: str, words: list[str]) -> None:
    asked = parse_arguments(words, lambda: 1 << 30)
    assert isinstance(asked, Ping if words[0] == "ping" else Config), source


def test_the_example_of_a_configuration_is_understood() -> None:
    config = parse_config((DEPLOY / "ram9.toml").read_text(), "ram9.toml", lambda: 1 << 30)
    require_memory(config, MemoryLimit(1 << 30, "/proc/meminfo"))
    assert [volume.name for volume in config.volumes] == ["", "builds", "public"]


def test_no_command_is_overlooked() -> None:
    """A command that a new file brings is to be added to command_lines()."""
    assert sorted({source for source, _ in LINES}) == [
        "Dockerfile CMD",
        "Dockerfile HEALTHCHECK",
        "README.md docker run",
        "compose.yaml command",
        "compose.yaml healthcheck",
        "ram9.service",
        "sidecar.yaml args",
        "sidecar.yaml mount",
        "sidecar.yaml readinessProbe",
        "sidecar.yaml startupProbe",
    ]


def config(source: str) -> Config:
    parsed = parse_arguments(dict(LINES)[source], lambda: 1 << 30)
    assert isinstance(parsed, Config)
    return parsed


@pytest.mark.parametrize(
    ("serve", "file"),
    [
        ("Dockerfile CMD", "Dockerfile"),
        ("compose.yaml command", "compose.yaml"),
        ("sidecar.yaml args", "sidecar.yaml"),
    ],
)
def test_health_checks_ask_where_the_server_listens(serve: str, file: str) -> None:
    pings = [words for source, words in LINES if source.startswith(file) and words[0] == "ping"]
    port = config(serve).listen[0].port
    assert pings
    for words in pings:
        assert parse_arguments(words, lambda: 0) == Ping(Address("127.0.0.1", port))


def test_the_image_exposes_what_it_serves() -> None:
    served = config("Dockerfile CMD")
    assert served.metrics is not None
    assert only("EXPOSE").split() == [str(served.listen[0].port), str(served.metrics.port)]


def test_compose_publishes_what_it_serves() -> None:
    served = config("compose.yaml command")
    assert served.metrics is not None
    ports = load("compose.yaml")["services"]["ram9"]["ports"]
    assert [port.rpartition(":")[2] for port in ports] == [
        str(served.listen[0].port),
        str(served.metrics.port),
    ]


def test_prometheus_scrapes_the_metrics_of_compose() -> None:
    served = config("compose.yaml command")
    assert served.metrics is not None
    (job,) = load("prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"ram9:{served.metrics.port}"]}]


def test_the_sidecar_announces_its_metrics() -> None:
    served = config("sidecar.yaml args")
    assert served.metrics is not None
    annotations = load("kubernetes/sidecar.yaml")["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(served.metrics.port)
    assert containers()["ram9"]["ports"] == [
        {"name": "metrics", "containerPort": served.metrics.port}
    ]


def test_the_sidecar_serves_its_pod_only() -> None:
    assert all(address.is_local for address in config("sidecar.yaml args").listen)


def test_the_sidecar_mounts_what_it_serves() -> None:
    found = MOUNT_OPTIONS.search(containers()["mount"]["args"][0])
    assert found is not None
    listen = config("sidecar.yaml args").listen[0]
    assert found[2] == listen.host
    assert f"port={listen.port}" in found[1].split(",")


def test_the_mount_is_shared_from_its_container_to_the_application() -> None:
    (ours,) = containers()["mount"]["volumeMounts"]
    (theirs,) = containers()["application"]["volumeMounts"]
    assert (ours["mountPropagation"], theirs["mountPropagation"]) == (
        "Bidirectional",
        "HostToContainer",
    )
    assert ours["name"] == theirs["name"]
    assert f"target={ours['mountPath']}/ram\n" in containers()["mount"]["args"][0]
    assert (
        f" {ours['mountPath']}/ram 9p " in containers()["mount"]["startupProbe"]["exec"]["command"]
    )
    assert f"{theirs['mountPath']}/ram" in containers()["application"]["command"][-1]


def test_sidecars_start_in_the_order_in_which_they_need_each_other() -> None:
    assert list(containers()) == ["ram9", "mount", "application"]


def test_only_the_mount_is_privileged() -> None:
    privileged = [
        name for name, it in containers().items() if "privileged" in it["securityContext"]
    ]
    assert privileged == ["mount"]


@pytest.mark.parametrize("name", ["mount", "application"])
def test_the_scripts_of_the_pod_are_shell(name: str) -> None:
    container = containers()[name]
    script = (container["command"] + container.get("args", []))[2]
    subprocess.run([tool("sh"), "-n", "-c", script], check=True, timeout=10)


@pytest.mark.parametrize("name", ["README.md", "kubernetes/sidecar.yaml"])
def test_mounts_name_version_and_msize(name: str) -> None:
    mounts = MOUNT_OPTIONS.findall((DEPLOY / name).read_text())
    assert mounts
    for options, _, _ in mounts:
        assert {"trans=tcp", "version=9p2000.L", "msize=1044504"} <= set(options.split(","))


@pytest.mark.parametrize(
    "name", ["Dockerfile", "README.md", "compose.yaml", "kubernetes/sidecar.yaml"]
)
def test_images_of_ram9_have_its_version(name: str) -> None:
    assert set(re.findall(r"\bram9:[0-9][^\s\"]*", (DEPLOY / name).read_text())) == {IMAGE}


@pytest.mark.parametrize(
    "name", ["Dockerfile", "README.md", "compose.yaml", "kubernetes/sidecar.yaml"]
)
def test_files_that_are_named_exist(name: str) -> None:
    named = re.findall(r"\bdeploy/[\w./-]*\w", (DEPLOY / name).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_what_compose_mounts_exists() -> None:
    services = load("compose.yaml")["services"].values()
    mounts = [volume for service in services for volume in service.get("volumes", [])]
    sources = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert sources
    assert [source for source in sources if not (DEPLOY / source).exists()] == []


def test_grafana_finds_its_dashboards_and_its_data() -> None:
    grafana = load("compose.yaml")["services"]["grafana"]
    (provider,) = load("grafana/provisioning/dashboards/ram9.yaml")["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/ram9.json"
    (source,) = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    published = load("compose.yaml")["services"]["prometheus"]["ports"][0].split(":")
    assert source["url"] == f"http://prometheus:{published[-1]}"
