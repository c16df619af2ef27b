"""What ping says of servers that answer, and of those that do anything else."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ram9.protocol.codec import frame
from ram9.protocol.constants import NOTAG
from ram9.protocol.messages import Rlerror, Rversion, Tversion
from ram9.server.config import Address
from ram9.server.ping import PingError, ask_version, ping

QUESTION = frame(Tversion(msize=8192, version=b"9P2000.L"), NOTAG)
ANSWER = frame(Rversion(msize=8192, version=b"9P2000.L"), NOTAG)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def asked(ours: socket.socket) -> Rversion:
    return ask_version(ours, deadline=time.monotonic() + 10)


def test_the_question_is_one_version_message(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(ANSWER)
    assert asked(ours) == Rversion(msize=8192, version=b"9P2000.L")
    assert theirs.recv(8192) == QUESTION


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"", "closes the connection without an answer"),
        (ANSWER[:3], "closes the connection without an answer"),
        (ANSWER[:-1], "closes the connection without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answers, but not as a 9P server does"),
        (frame(Rlerror(ecode=5), NOTAG), "answers, but not as a 9P server does"),
        (ANSWER[:5] + b"\0\0" + ANSWER[7:], "answers, but not as a 9P server does"),
        (b"\6\0\0\0" + ANSWER[4:], "answers, but not as a 9P server does"),
        (b"\xff\xff\xff\xff" + ANSWER[4:], "answers, but not as a 9P server does"),
        (frame(Rversion(8192, b"unknown"), NOTAG), "answers unknown and not 9P2000.L"),
        (frame(Rversion(8192, b"\x1b[2J\n"), NOTAG), r"answers \u001b[2J\n and not 9P2000.L"),
    ],
)
def test_any_other_answer_is_described(
    ends: tuple[socket.socket, socket.socket], answer: bytes, sentence: str
) -> None:
    ours, theirs = ends
    theirs.sendall(answer)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(PingError) as caught:
        asked(ours)
    assert str(caught.value) == sentence


def test_a_malformed_answer_says_what_is_wrong_with_it(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    theirs.sendall(b"\x13\0\0\0" + ANSWER[4:7] + ANSWER[7:13] + b"9P2000")
    with pytest.raises(PingError, match=r"^answers, but not as a 9P server does: Rversion is "):
        asked(ours)


def test_silence_ends_at_the_deadline(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(ANSWER[:9])
    with pytest.raises(TimeoutError):
        ask_version(ours, deadline=time.monotonic() + 0.05)


def test_a_deadline_that_is_over_is_not_waited_for(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(TimeoutError):
        ask_version(ends[0], deadline=time.monotonic() - 1)


class Server:
    """Answers one connection with *answer* as soon as the question is there."""

    def __init__(self, listener: socket.socket, answer: bytes) -> None:
        self.answer = answer
        self.listener = listener
        self.listener.settimeout(10)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.recv(8192)
            connection.sendall(self.answer)


@pytest.fixture
def serve() -> Iterator[Callable[[socket.socket, bytes], None]]:
    servers: list[Server] = []
    yield lambda listener, answer: servers.append(Server(listener, answer))
    for server in servers:
        server.thread.join()
        server.listener.close()


def test_a_server_on_tcp_answers(
    serve: Callable[[socket.socket, bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    serve(listener, ANSWER)
    assert ping(Address("127.0.0.1", port), timeout_seconds=30) == 0
    captured = capsys.readouterr()
    assert captured.out == f"127.0.0.1:{port} answers 9P2000.L, msize 8192\n"
    assert captured.err == ""


def test_a_server_on_a_unix_socket_answers(
    serve: Callable[[socket.socket, bytes], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A relative path stays below the 107 bytes that the path of a unix socket may have.
    monkeypatch.chdir(tmp_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    listener.listen()
    serve(listener, ANSWER)
    assert ping(Address(path="socket"), timeout_seconds=30) == 0
    assert capsys.readouterr().out == "unix:socket answers 9P2000.L, msize 8192\n"


def test_a_server_that_speaks_something_else_is_not_well(
    serve: Callable[[socket.socket, bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    serve(listener, frame(Rversion(8192, b"unknown"), NOTAG))
    assert ping(Address("127.0.0.1", port), timeout_seconds=30) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"ram9: 127.0.0.1:{port} answers unknown and not 9P2000.L\n"


def test_a_server_that_is_not_there_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    # Bound and not listening: nobody else can have the port, and every connection is refused.
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        assert ping(Address("127.0.0.1", port), timeout_seconds=30) == 1
    assert capsys.readouterr().err == (
        f"ram9: 127.0.0.1:{port} does not answer: Connection refused\n"
    )


def test_a_unix_socket_that_is_not_there_does_not_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ping(Address(path="/nonexistent/socket")) == 1
    assert capsys.readouterr().err == (
        "ram9: unix:/nonexistent/socket does not answer: No such file or directory\n"
    )


def test_a_server_that_is_silent_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert ping(Address("127.0.0.1", port), timeout_seconds=0.05) == 1
    assert capsys.readouterr().err == (
        f"ram9: 127.0.0.1:{port} does not answer within 0.05 seconds\n"
    )
