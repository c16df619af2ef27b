"""The control socket: where it is, what is asked, who may change something."""

import json
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.running_server import MIB, RunningServer, running
from tests.socket_client import wait_until

from ram9.server.config import USUAL_PLACE, Address, ConfigError
from ram9.server.control import control_paths, open_listener


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def server(tmp_path: Path, path: Path) -> Iterator[RunningServer]:
    with running(tmp_path) as server:
        server.answer_control(Address(path=str(path)))
        yield server


def answer(path: Path, request: bytes) -> list[dict[str, Any]]:
    """The lines that answer *request*, which is sent as it is."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        data = b""
        while piece := client.recv(65536):
            data += piece
    return [json.loads(line) for line in data.splitlines()]


def ask(path: Path, **request: object) -> list[dict[str, Any]]:
    return answer(path, json.dumps(request).encode() + b"\n")


@pytest.mark.usefixtures("server")
def test_an_answer_ends_with_a_line_that_says_so(path: Path) -> None:
    lines = ask(path, command="status")
    assert [line.get("kind") for line in lines] == ["server", "volume", None]
    assert lines[-1] == {"done": True}


def test_a_volume_is_resized_at_once(server: RunningServer, path: Path) -> None:
    client = server.client()
    line, end = ask(path, command="resize", volume="/", size="128MiB", inodes="5000")
    assert end == {"done": True}
    assert (line["size_bytes"], line["size_inodes"]) == (128 * MIB, 5000)
    assert server.filesystem.budget.standing().limit_bytes == 128 * MIB
    client.close()


@pytest.mark.usefixtures("server")
def test_a_refusal_says_what_to_do(path: Path) -> None:
    (line,) = ask(path, command="resize", volume="builds", size="1GiB")
    assert line == {"error": "there is no volume 'builds': choose one of /"}
    (line,) = ask(path, command="format")
    assert "there is no command 'format'" in line["error"]


def test_only_its_user_may_connect(server: RunningServer, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.stop()
    assert not path.exists()


# Asks as another user, for whom the socket was opened.
OTHER = """
import json, os, socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
again = socket.socket(socket.AF_UNIX)
again.connect("/proc/self/fd/" + sys.argv[2])
again.sendall(sys.argv[3].encode() + b"\\n")
print(again.makefile().read())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_whoever_else_may_look_may_change_nothing(
    server: RunningServer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ram9")
    path.chmod(0o666)
    place = os.open(path, os.O_PATH)  # its folder is not open to others
    try:
        told = {
            name: subprocess.run(
                [sys.executable, "-c", OTHER, path, str(place), json.dumps(request)],
                pass_fds=[place],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for name, request in {
                "status": {"command": "status"},
                "resize": {"command": "resize", "volume": "/", "size": "1MiB"},
            }.items()
        }
    finally:
        os.close(place)
    assert '"done": true' in told["status"]
    assert "only root and the user whom the server runs as" in told["resize"]
    assert server.filesystem.budget.limit_bytes == 64 * MIB
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.getMessage() == "change refused"
    assert record.__dict__["fields"]["peer"].endswith(",uid=65534")


def test_a_change_is_logged_with_who_made_it(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ram9")
    with running(tmp_path) as server:
        server.answer_control(Address(path=str(path)))
        ask(path, command="resize", volume="", size="1MiB")
    (record,) = [each for each in caplog.records if each.getMessage() == "resized"]
    assert record.__dict__["fields"]["by"] == f"unix:pid={os.getpid()},uid={os.getuid()}"


def test_a_bug_is_told_and_lived_through(
    server: RunningServer,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(type(server.filesystem.budget), "standing", None)
    lines = ask(path, command="status")
    assert lines[-1] == {"error": "a bug of the server, which its log tells of"}
    monkeypatch.undo()
    assert ask(path, command="status")[-1] == {"done": True}
    assert server.counters.internal_errors == 1
    assert caplog.messages == ["internal error"]


# Where it is


@pytest.mark.parametrize(
    ("environment", "uid", "expected"),
    [
        ({}, 0, ["/run/ram9/control"]),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, ["/run/ram9/control"]),
        ({}, 1000, ["/run/ram9/control"]),
        (
            {"XDG_RUNTIME_DIR": "/run/user/1000"},
            1000,
            ["/run/user/1000/ram9/control", "/run/ram9/control"],
        ),
        (
            {"RUNTIME_DIRECTORY": "/run/files:/run/other"},
            0,
            ["/run/files/control", "/run/other/control", "/run/ram9/control"],
        ),
    ],
)
def test_the_usual_place_depends_on_who_serves(
    environment: dict[str, str], uid: int, expected: list[str]
) -> None:
    assert control_paths(environment, uid) == expected


def test_a_usual_place_that_another_server_has_is_no_reason_not_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ram9")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "ram9"))
    first = open_listener(USUAL_PLACE)
    assert first is not None
    assert first.address.path == str(tmp_path / "ram9" / "control")
    assert open_listener(USUAL_PLACE) is None
    assert caplog.messages == ["control", "no control"]
    first.close()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(first.address.path)
    second = open_listener(USUAL_PLACE)  # in the place of a stale one
    assert second is not None
    second.close()


def test_a_place_that_was_asked_for_must_be_had(server: RunningServer, path: Path) -> None:
    with pytest.raises(ConfigError, match="Address already in use"):
        open_listener(Address(path=str(path)))
    assert ask(path, command="status")[-1] == {"done": True}
    assert server.counters.internal_errors == 0


def test_none_is_nowhere() -> None:
    assert open_listener(None) is None


def test_a_server_that_stops_answers_nobody(server: RunningServer, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        wait_until(lambda: server.call(lambda: server.server._control is not None), "control")
        server.stop()
        waiting.settimeout(20)
        assert waiting.recv(100) == b""
