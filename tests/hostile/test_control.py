"""Whoever may ask the control socket, and does so badly."""

import gc
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.running_server import RunningServer
from tests.socket_client import SocketClient, wait_until

from ram9.server import control
from ram9.server.config import Address
from ram9.server.control import CLIENTS_MAX, REQUEST_BYTES_MAX

STATUS = b'{"command": "status"}\n'


@pytest.fixture
def path(tmp_path: Path, server: RunningServer) -> Path:
    place = tmp_path / "control"
    server.answer_control(Address(path=str(place)))
    return place


@pytest.fixture
def clients(path: Path) -> Iterator[list[socket.socket]]:
    """As many as may ask at once, who say nothing."""
    found = []
    for _ in range(CLIENTS_MAX):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(str(path))
        found.append(client)
    yield found
    for client in found:
        client.close()


def answer(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # it has heard enough
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 100 + b"\n",
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b"null\n",
        b'{"command": 7}\n',
        b'{"command": "status", "command": null}\n',
        b"[" * 4000 + b"\n",
        b'{"a":' * 800 + b"\n",
        b'{"command": "\\ud800"}\n',
        b'{"command": "status"',
        b'{"command": "resize", "volume": 1, "size": "1GiB"}\n',
        b'{"command": "resize", "volume": "/"}\n',
        b'{"command": "resize", "volume": "\\ud800", "size": "1GiB"}\n',
        b'{"command": "resize", "volume": "/", "size": "-1"}\n',
        b'{"command": "resize", "volume": "/", "size": "0"}\n',
        b'{"command": "resize", "volume": "/", "size": "127TiB"}\n',
        b'{"command": "resize", "volume": "/", "size": "1GiB", "inodes": 5}\n',
        b'{"command": "resize", "volume": "/", "size": "1GiB", "inodes": "0"}\n',
    ],
    ids=range(19),
)
def test_what_is_no_request_is_refused_in_one_line(
    server: RunningServer, path: Path, request_: bytes
) -> None:
    before = server.filesystem.budget.limit_bytes
    (line,) = answer(path, request_).splitlines()
    assert set(json.loads(line)) == {"error"}
    assert server.filesystem.budget.limit_bytes == before
    assert answer(path, STATUS).endswith(b'{"done": true}\n')


def test_one_that_says_nothing_gets_nothing(path: Path) -> None:
    assert answer(path, b"") == b""


def test_a_line_without_an_end_is_cut_off(path: Path) -> None:
    said = answer(path, b"x" * (REQUEST_BYTES_MAX * 100))
    assert said == b"" or b"at most" in said
    assert answer(path, STATUS).endswith(b'{"done": true}\n')


def test_many_at_once_are_told_to_come_back(path: Path, clients: list[socket.socket]) -> None:
    def refused() -> bool:
        return b"too many ask at once" in answer(path, STATUS)

    wait_until(refused, "there are too many")
    clients.pop().close()
    wait_until(lambda: answer(path, STATUS).endswith(b'{"done": true}\n'), "there is room")


def test_who_does_not_ask_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_SECONDS_MAX", 0.05)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(b'{"command"')
        assert client.recv(100) == b""


def test_who_does_not_read_is_closed_and_holds_little(
    server: RunningServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is made while it is read: one about thousands of clients is never there whole."""
    monkeypatch.setattr(control, "ANSWER_SECONDS_MAX", 0.3)
    made = 0

    def endless() -> Iterator[dict[str, object]]:
        nonlocal made
        while True:
            made += 1
            yield {"kind": "x" * 1000}

    served = server.server._control
    assert served is not None
    monkeypatch.setitem(served._commands, "endless", lambda _request, _peer: endless())
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(b'{"command": "endless"}\n')
        wait_until(lambda: made, "it is being answered")
        wait_until(lambda: server.call(lambda: not served._asking), "it is closed")
    assert made < 2000


def test_requests_of_files_go_on_meanwhile(
    server: RunningServer, path: Path, bystander: SocketClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = server.server._control
    assert served is not None
    lines = ({"kind": "x" * 100} for _ in range(20_000))
    monkeypatch.setitem(served._commands, "long", lambda _request, _peer: lines)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(b'{"command": "long"}\n')
        assert client.recv(10)
        assert bystander.read(1, 0, 6) == b"before"
        assert read_all(client).endswith(b'{"done": true}\n')


def test_asking_leaves_nothing_behind(server: RunningServer, path: Path) -> None:
    """The server runs with garbage collection off."""
    for request in STATUS, b"garbage\n", b"", b"x" * 9000:
        answer(path, request)
    server.call(gc.collect)
    gc.disable()
    try:
        for _ in range(25):
            for request in STATUS, b"garbage\n", b"", b"x" * 9000:
                answer(path, request)
        served = server.server._control
        assert served is not None
        wait_until(lambda: server.call(lambda: not served._asking), "all are gone")
        assert server.call(gc.collect) == 0
    finally:
        gc.enable()
