"""A whole server: who may come, what its log says, how full it says it is."""

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.running_server import MIB, RunningServer, config_of, running
from tests.socket_client import RefusedError, wait_until

from ram9.protocol.constants import NOFID, NOTAG, O_TRUNC, O_WRONLY
from ram9.protocol.messages import (
    Rattach,
    Rlopen,
    Rversion,
    Tattach,
    Tlopen,
    Tversion,
    Twalk,
    Twrite,
)
from ram9.server import app
from ram9.server.app import mount_line
from ram9.server.config import Address, ConfigError, Rules, VolumeConfig
from ram9.server.heap import Heap
from ram9.server.logs import JsonFormatter, TextFormatter
from ram9.server.session import FID_BYTES
from ram9.storage.errors import Errno

LOCAL = Address("127.0.0.1", 0)
Events = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ram9")


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Events:
    """The fields of the events of one name, once there is one."""

    def found(name: str) -> list[dict[str, Any]]:
        return [
            {"level": record.levelname, **record.__dict__["fields"]}
            for record in list(caplog.records)
            if record.getMessage() == name
        ]

    def of(name: str) -> list[dict[str, Any]]:
        wait_until(lambda: found(name), f"{name} is logged")
        return found(name)

    return of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running(tmp_path, size_bytes=MIB) as server:
        yield server


@pytest.mark.parametrize(
    ("address", "options", "what"),
    [
        (Address("127.0.0.1", 564), "tcp", "127.0.0.1"),
        (Address("127.0.0.1", 5640), "tcp,port=5640", "127.0.0.1"),
        (Address("localhost", 564), "tcp", "127.0.0.1"),
        (Address("0.0.0.0", 5640), "tcp,port=5640", "HOST"),
        (Address("::", 564), "tcp", "HOST"),
        (Address("::1", 564), "tcp", "::1"),
        (Address("host.example", 5640), "tcp,port=5640", "host.example"),
        (Address(path="/run/ram9/socket"), "unix", "/run/ram9/socket"),
    ],
    ids=str,
)
def test_the_line_that_mounts_is_exact(address: Address, options: str, what: str) -> None:
    assert mount_line(address) == (
        f"mount -t 9p -o trans={options},version=9p2000.L,msize=1044504 {what} /mnt/ram"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_address_serves_the_same_files(tmp_path: Path, host: str) -> None:
    listen = (
        Address(host, 0),
        Address(path=str(tmp_path / "a")),
        Address(path=str(tmp_path / "b")),
    )
    server = RunningServer(config_of(*listen))
    try:
        for where in range(3):
            client = server.client(where)
            client.create(1, b"shared")
            client.write(1, where, b"x")
            assert client.read(1, 0, 10) == b"x" * (where + 1)
        assert server.counters.connections == server.counters.accepted == 3
    finally:
        server.close()


@pytest.mark.parametrize(("policy", "expected"), [("trust", None), ("enforce", Errno.EACCES)])
def test_the_policy_says_who_checks_permissions(
    tmp_path: Path, policy: str, expected: Errno | None
) -> None:
    """Fid 0 is root's; 2**31 is nobody whom a host knows."""
    volume = VolumeConfig(1 << 20, 100, rules=Rules(policy=policy))
    config = replace(config_of(Address(path=str(tmp_path / "s"))), volumes=(volume,))
    server = RunningServer(config)
    refused = None
    try:
        client = server.client()
        client.create(1, b"file")
        client.ask(Tattach(5, NOFID, b"", b"", 2**31), Rattach)
        client.walk(5, 6, b"file")
        try:
            client.ask(Tlopen(6, O_WRONLY), Rlopen)
        except RefusedError as refusal:
            refused = refusal.errno
    finally:
        server.close()
    assert refused is expected


def test_what_is_accepted_is_set_up_for_replies_at_once(server: RunningServer) -> None:
    server.client()
    (transport,) = server.hub.transports
    assert transport._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert transport._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_an_address_that_cannot_be_had_frees_those_before(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = config_of(Address(path=str(path)), Address(*taken.getsockname()))
        with pytest.raises(ConfigError, match="Address already in use"):
            RunningServer(config)
    assert not path.exists()


def test_a_client_is_logged_when_it_mounts_and_when_it_goes(
    server: RunningServer, events: Events
) -> None:
    client = server.connect()
    peer = f"127.0.0.1:{client.socket.getsockname()[1]}"
    client.version()
    client.attach(0, b"alice", b"/")
    client.attach(1, b"bob")
    client.close()
    assert events("connected") == [{"level": "DEBUG", "peer": peer}]
    assert events("mounted") == [
        {"level": "INFO", "peer": peer, "uname": b"alice", "uid": 0, "aname": b"/"}
    ]
    assert events("attached") == [
        {"level": "DEBUG", "peer": peer, "uname": b"bob", "uid": 0, "aname": b""}
    ]
    assert events("gone") == [{"level": "INFO", "peer": peer, "reason": "closed by the client"}]


def test_each_address_is_logged(tmp_path: Path, events: Events) -> None:
    with running(tmp_path) as server:
        listening = [{"level": "INFO", "address": address} for address in server.addresses]
        assert events("listening") == listening


def test_a_client_of_a_unix_socket_is_logged_by_its_process(
    server: RunningServer, events: Events
) -> None:
    server.client(1)
    assert events("mounted")[0]["peer"] == f"unix:pid={os.getpid()},uid={os.getuid()}"


def test_a_refusal_is_logged_with_its_reason_once_for_each_client(
    server: RunningServer, events: Events
) -> None:
    """A client that asked again and again wrote a line each time, as fast as it could send."""
    for _ in range(2):
        client = server.connect()
        for _ in range(5):
            client.ask(Tversion(8192, b"9P2000.z"), Rversion, NOTAG)
        client.version()
        for _ in range(5):
            assert client.refusal(Tattach(0, NOFID, b"", b"no/such", 0)) is Errno.ENOENT
        client.attach()
    for name in ("version refused", "attach refused"):
        assert [each["level"] for each in events(name)] == (["WARNING"] + ["DEBUG"] * 4) * 2
    assert events("attach refused")[0]["reason"] == "no such directory"
    assert len(events("mounted")) == 2


FORGED = b'root\n2026-01-01T00:00:00Z INFO forged x=1\r\x1b[2J"\xff\0'


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=type)
def test_what_a_client_sends_cannot_forge_a_line(
    server: RunningServer,
    events: Events,
    caplog: pytest.LogCaptureFixture,
    formatter: logging.Formatter,
) -> None:
    client = server.client()
    client.attach(0, FORGED)
    assert client.refusal(Tattach(0, NOFID, FORGED, FORGED, 0)) is Errno.ENOENT
    client.ask(Tversion(8192, FORGED), Rversion, NOTAG)
    client.send_bytes(b"\n\n\n\n")
    assert client.is_cut_off()
    assert len(events("gone")) == 1
    for record in caplog.records:
        line = formatter.format(record)
        assert line.isascii()
        assert line.isprintable()
        if isinstance(formatter, JsonFormatter):
            assert json.loads(line)["event"] == record.getMessage()


def test_out_of_space_is_logged_once_until_there_was_room_again(
    server: RunningServer, events: Events
) -> None:
    client = server.client()
    client.create(1, b"file")

    def fill() -> None:
        for _ in range(3):
            offset = 0
            while True:
                try:
                    offset += client.write(1, offset, bytes(300_000))
                except RefusedError:
                    break
            server.call(lambda: list(server.server._watch_volumes()))

    def empty() -> None:
        client.create(1, b"file", O_WRONLY | O_TRUNC)
        server.call(lambda: list(server.server._watch_volumes()))

    fill()
    (logged,) = events("out of space")
    assert logged["level"] == "WARNING"
    assert logged["volume"] == b""
    assert logged["limit_bytes"] == MIB
    assert 0 < MIB - logged["used_bytes"] < 4096
    assert server.counters.errors[Twrite.number, Errno.ENOSPC] == 3
    empty()
    fill()
    assert len(events("out of space")) == 2


def test_when_files_run_out_clients_wait_until_there_are_some(
    server: RunningServer, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMFILE from accept(2) comes again and again, and the client stays in the queue."""
    before = server.client()

    class Listening:
        """A socket whose accept says that there are no more files."""

        def __init__(self, real: socket.socket) -> None:
            self.real = real
            self.tries = 0

        def accept(self) -> tuple[socket.socket, Any]:
            self.tries += 1
            if self.tries < 3:
                raise OSError(24, "Too many open files")
            return self.real.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    monkeypatch.setattr(app, "ACCEPT_AGAIN_SECONDS", 0.01)
    listener = server.server.listeners[0]
    real = listener.socket
    fake = Listening(real)
    listener.socket = fake  # type: ignore[assignment]
    try:
        late = server.connect()
        late.version()
        late.attach()
    finally:
        listener.socket = real
    assert fake.tries >= 3
    assert [each["reason"] for each in events("clients have to wait")] == [
        "Too many open files"
    ] * 2
    before.create(1, b"file")


def test_a_bug_in_an_operation_is_logged_with_its_story_and_lived_through(
    server: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = server.client()
    monkeypatch.setattr(type(server.filesystem), "lookup", None)
    assert client.refusal(walk_to(b"file")) is Errno.EIO
    monkeypatch.undo()
    assert client.refusal(walk_to(b"file")) is Errno.ENOENT
    assert server.counters.internal_errors == 1
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == "internal error"
    assert record.exc_info is not None


def walk_to(name: bytes) -> Twalk:
    return Twalk(0, 9, (name,))


def test_clients_share_what_volumes_leave_also_after_these_were_resized(tmp_path: Path) -> None:
    """What clients may hold was a part of what the volumes left when the server began."""
    with running(tmp_path) as found:
        found.client()
        server = found.server
        (connected,) = server.clients.values()
        found.call(lambda: server._note_sizes((2 << 30) - 400 * MIB, 2 << 30))
        assert found.hub.held_bytes_max == 100 * MIB
        assert connected.session.fids_total_max == 100 * MIB // FID_BYTES


def test_the_page_tells_what_clients_did(tmp_path: Path) -> None:
    with running(tmp_path, metrics=True) as server:
        client = server.client()
        client.create(1, b"file")
        for _ in range(5):
            client.write(1, 0, b"data")
        assert client.refusal(walk_to(b"missing")) is Errno.ENOENT
        address = server.server.metrics_address
        assert address is not None
        server.call(lambda: None)  # what was sent is counted once it is: the step must have ended
        page = page_of(address)
        for line in (
            'ram9_requests_total{operation="write"} 5.0',
            'ram9_errors_total{errno="ENOENT",operation="walk"} 1.0',
            "ram9_connections 1.0",
            "ram9_fids 2.0",
            'ram9_used_inodes{volume=""} 2.0',
            f"ram9_received_bytes_total {float(server.counters.received_bytes)}",
            f"ram9_sent_bytes_total {float(server.counters.sent_bytes)}",
        ):
            assert f"\n{line}\n" in page
        with socket.create_connection((address.host, address.port)) as slow:
            slow.sendall(b"GET /met")
            client.write(1, 0, b"more")
            assert client.read(1, 0, 4) == b"more"


def page_of(address: Address) -> str:
    with socket.create_connection((address.host, address.port), 20) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        page = b""
        while data := client.recv(65536):
            page += data
    return page.decode()


def test_freed_memory_goes_back_when_the_server_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SWEEP_SECONDS", 0.01)
    with running(tmp_path) as server:
        client = server.client()
        client.create(1, b"file")
        client.write(1, 0, bytes(500_000))
        client.create(1, b"file", O_WRONLY | O_TRUNC)
        warm = server.filesystem.disk.space.warm
        wait_until(lambda: server.call(lambda: warm.sectors) < 64, "memory is given back")


def test_what_the_heap_holds_goes_back_a_volume_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand volumes were one step of 78 ms, in which nobody was answered."""
    volumes = tuple(VolumeConfig(MIB, 10, name=f"v{number}") for number in range(5))
    config = replace(config_of(Address(path=str(tmp_path / "s"))), volumes=volumes)
    done: list[str] = []
    monkeypatch.setattr(app, "SWEEP_SECONDS", 1000)  # not by itself
    monkeypatch.setattr(app, "shrink", lambda _filesystem: done.append("volume"))
    monkeypatch.setattr(Heap, "give_back", lambda _heap: done.append("heap"))
    server = RunningServer(config)
    try:
        seen = server.call(lambda: [len(done) for _ in server.server._give_back_heap()])
    finally:
        server.close()
    assert seen == [0, 1, 2, 3, 4]
    assert done == ["volume"] * 5 + ["heap"]
