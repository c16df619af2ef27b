"""Listening sockets, what is refused and how, and what a client's socket is given."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ram9.server import listening
from ram9.server.config import Address, ConfigError
from ram9.server.listening import Listener, peer_of, prepare_client

LOCAL = Address("127.0.0.1", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def listener(path: Path) -> Iterator[Listener]:
    listener = Listener(Address(path=str(path)))
    yield listener
    listener.close()


def refusal(address: Address) -> str:
    with pytest.raises(ConfigError) as caught:
        Listener(address).close()
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_port_0_becomes_the_port_that_the_system_chose(host: str) -> None:
    listener = Listener(Address(host, 0))
    try:
        assert listener.address == Address(host, listener.socket.getsockname()[1])
        assert listener.address.port
        assert not listener.socket.getblocking()
        with socket.create_connection(listener.socket.getsockname()[:2]):
            client, _ = listener.socket.accept()
            client.close()
    finally:
        listener.close()


def test_ipv6_takes_nothing_that_comes_by_ipv4() -> None:
    listener = Listener(Address("::", 0))
    try:
        again = Listener(Address("0.0.0.0", listener.address.port))
        again.close()
    finally:
        listener.close()


def test_a_name_of_both_kinds_is_listened_on_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost was ::1 where that comes first, and the mount line said 127.0.0.1."""

    def both(*_arguments: Any, **_options: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    listener = Listener(Address("localhost", 0))
    assert listener.socket.family == socket.AF_INET
    listener.close()


def test_a_port_in_use_is_refused() -> None:
    listener = Listener(LOCAL)
    try:
        assert refusal(listener.address) == (
            f"cannot listen on {listener.address}: Address already in use"
        )
    finally:
        listener.close()


def test_an_address_of_another_host_is_refused() -> None:
    sentence = "cannot listen on 192.0.2.1:0: Cannot assign requested address"
    assert refusal(Address("192.0.2.1", 0)) == sentence


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: Any, **_options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert refusal(Address("nowhere", 1)) == (
        "cannot listen on nowhere:1: Name or service not known"
    )


def test_only_its_owner_may_connect_to_a_unix_socket(listener: Listener, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert listener.address == Address(path=str(path))


def test_the_umask_is_as_it_was(listener: Listener) -> None:
    assert listener.socket.fileno() > 0
    mask = os.umask(0o22)
    os.umask(mask)
    assert mask != 0o177


def test_closing_removes_the_unix_socket(listener: Listener, path: Path) -> None:
    listener.close()
    assert not path.exists()


def test_closing_leaves_what_somebody_else_put_there(listener: Listener, path: Path) -> None:
    path.unlink()
    other = Listener(Address(path=str(path)))
    path.with_name("kept").hardlink_to(path)  # so that the inodes differ
    listener.close()
    assert path.exists()
    other.close()


def test_closing_again_leaves_a_socket_that_got_the_same_inode(
    listener: Listener, path: Path
) -> None:
    """A server that took long to stop removed the socket of the one that had followed it."""
    kept = path.with_name("kept")
    kept.hardlink_to(path)
    listener.close()
    kept.rename(path)
    listener.close()
    assert path.exists()


def test_closing_is_well_when_the_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    listener = Listener(Address(path=str(folder / "s")))
    (folder / "s").unlink()
    folder.rmdir()
    folder.write_text("")  # ENOTDIR now
    listener.close()


def test_a_stale_unix_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    before = path.stat().st_ino
    listener = Listener(Address(path=str(path)))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    assert before


def test_a_live_unix_socket_is_refused_and_lives_on(listener: Listener, path: Path) -> None:
    assert refusal(listener.address) == f"cannot listen on unix:{path}: Address already in use"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_unix_socket_whose_queue_is_full_is_refused(path: Path) -> None:
    """Asking whether it lives waited for ever, for a server that was busy or stopped."""
    waiting: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        try:
            for _ in range(100):
                client = socket.socket(socket.AF_UNIX)
                waiting.append(client)
                client.settimeout(0)
                client.connect(str(path))
        except BlockingIOError:
            pass
        assert refusal(Address(path=str(path))) == (
            f"cannot listen on unix:{path}: Address already in use"
        )
        assert path.exists()
        for client in waiting:
            client.close()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_what_is_no_socket_is_refused_and_kept(path: Path, make: Any) -> None:
    make(path)
    assert refusal(Address(path=str(path))) == (
        f"cannot listen on unix:{path}: Address already in use"
    )
    assert path.exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no" / "s"
    assert refusal(Address(path=str(path))) == (
        f"cannot listen on unix:{path}: No such file or directory"
    )


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            Address("127.0.0.1", 564),
            "cannot listen on 127.0.0.1:564: a port below 1024 takes a right that this user has "
            "not; choose another, such as --listen 127.0.0.1:5640 (and mount with port=5640), "
            "or grant CAP_NET_BIND_SERVICE",
        ),
        (Address(path="/x/s"), "cannot listen on unix:/x/s: no right to write in its folder"),
    ],
)
def test_a_missing_right_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, address: Address, sentence: str
) -> None:
    def forbidden(_where: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listening, "_tcp_socket", forbidden)
    monkeypatch.setattr(listening, "_unix_socket", forbidden)
    assert refusal(address) == sentence


def test_a_client_by_tcp_gets_replies_at_once_and_is_looked_after() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as peer,
    ):
        client, _ = server.accept()
        with client:
            prepare_client(client)
            assert not client.getblocking()
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000
            assert peer_of(client) == f"127.0.0.1:{peer.getsockname()[1]}"


def test_a_client_by_unix_socket_is_known_by_its_process(listener: Listener, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        client, _ = listener.socket.accept()
        with client:
            prepare_client(client)
            assert not client.getblocking()
            assert peer_of(client) == f"unix:pid={os.getpid()},uid={os.getuid()}"


def test_a_client_by_ipv6_is_shown_in_brackets() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server,
        socket.create_connection(server.getsockname()[:2]) as peer,
    ):
        client, _ = server.accept()
        with client:
            assert peer_of(client) == f"[::1]:{peer.getsockname()[1]}"
