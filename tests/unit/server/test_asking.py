"""ram9 status and ram9 resize: what they print, and what they say if nobody answers."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.running_server import Program

from ram9.server import asking
from ram9.server.asking import AskError, ask
from ram9.server.config import Address


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The control socket of a server with 64 MiB."""
    control = f"unix:{tmp_path}/control"
    arguments = [f"--listen=unix:{tmp_path}/s", "--metrics=none", "--size=64MiB"]
    program = Program([*arguments, f"--control={control}"], tmp_path / "log")
    yield control
    assert program.stop(signal.SIGTERM) == 0
    program.close()
    assert not (tmp_path / "control").exists()


def ram9(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command."""
    command = [sys.executable, "-m", "ram9.server", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_a_server_is_shown_resized_and_shown(served: str) -> None:
    status, out, complaint = ram9("status", "--control", served)
    assert (status, complaint) == (0, "")
    assert "\nno clients\n" in out
    assert ram9("resize", "/", "96MiB", "--control", served) == (
        0,
        "/: 96.0 MiB and 24576 inodes, 576 B used, 96.0 MiB available\n",
        "",
    )
    status, out, _ = ram9("status", "--json", "--control", served)
    (volume,) = json.loads(out)["volumes"]
    assert volume["limit_bytes"] == 96 << 20
    assert volume["used_bytes"] + volume["available_bytes"] == volume["limit_bytes"]
    assert ram9("resize", "no", "1GiB", "--control", served) == (
        1,
        "",
        "ram9: there is no volume 'no': choose one of /\n",
    )
    assert ram9("resize", "/", "--control", served)[0] == 2


class Answering(threading.Thread):
    """Answers one who asks with *data*."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._data = data
        self.start()

    def run(self) -> None:
        client, _ = self._listener.accept()
        with client:
            client.recv(1000)
            client.sendall(self._data)
        self._listener.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the answer is not whole"),
        (b'{"kind": "server"}\n', "the answer is not whole"),
        (b"HTTP/1.1 400\r\n", "is no ram9 server"),
        (b"[]\n", "is no ram9 server"),
        (b'{"error": "because"}\n', "^because$"),
    ],
)
def test_an_answer_that_is_none_is_told(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "c"
    answering = Answering(path, data)
    with pytest.raises(AskError, match=said):
        list(ask(Address(path=str(path)), {"command": "status"}))
    answering.join()


def test_where_nobody_is_what_to_do_is_said(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(AskError, match=r"is not there: no server runs, or .* --control unix:/PATH"):
        list(ask(Address(path=str(path)), {}))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(AskError, match="the server has ended; start it again"):
        list(ask(Address(path=str(path)), {}))


def test_one_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT_SECONDS", 0.05)
    path = tmp_path / "c"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(AskError, match=r"does not answer within 0\.05 seconds"):
            list(ask(Address(path=str(path)), {}))


def test_without_an_address_the_usual_places_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    answering = Answering(tmp_path / "control", b'{"kind": "x"}\n{"done": true}\n')
    assert list(ask(None, {"command": "status"})) == [{"kind": "x"}]
    answering.join()
