"""Clients that make scratch volumes, and ask for more than they can have."""

import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.running_server import RunningServer, running
from tests.socket_client import RefusedError, SocketClient, attach_frame, version_frame, wait_until

from ram9.protocol.messages import Rattach, Rlerror, Rversion, Tgetattr
from ram9.server import app
from ram9.server.config import TemplateConfig
from ram9.storage.errors import Errno

MIB = 1 << 20
CLIENTS = 1000
TEMPLATE = TemplateConfig("scratch", 4 * MIB, 100 * MIB, 60, 3600, 1, 2 * MIB, 3600)


@pytest.fixture
def server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningServer]:
    """One with a template, that ends its volumes soon after nobody uses them."""
    caplog.set_level(logging.INFO, "ram9")
    monkeypatch.setattr(app, "SWEEP_SECONDS", 0.1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 8192), before[1]))
    with running(tmp_path, templates=(TEMPLATE,)) as server:
        yield server
        server.hang_up()
        wait_until(lambda: not scratch(server), "all scratch volumes are gone")
        template = server.server.volumes.templates[b"scratch"]
        wait_until(lambda: template.total_bytes == 0, "their memory is back")  # type: ignore[attr-defined]
        assert server.counters.fids == 0
        assert server.counters.internal_errors == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


def scratch(server: RunningServer) -> list[bytes]:
    return [volume.name for volume in server.server.volumes if volume.tenure is not None]


def test_a_thousand_clients_at_once_stay_within_the_total(server: RunningServer) -> None:
    """Each of another name, and all of them ask before anybody reads an answer."""
    clients = [SocketClient(server.addresses[1]) for _ in range(CLIENTS)]
    try:
        for number, client in enumerate(clients):
            aname = b"scratch/job%d?size=2MiB" % number
            client.send_bytes(version_frame() + attach_frame(0, aname=aname))
        refused = made = 0
        for client in clients:
            client.reply(Rversion, 0xFFFF)
            _, answer = client.receive()
            if isinstance(answer, Rlerror):
                assert Errno(answer.ecode) is Errno.ENOSPC
                refused += 1
            else:
                assert isinstance(answer, Rattach)
                made += 1
        assert (made, refused) == (50, CLIENTS - 50)
        assert len(scratch(server)) == 50
    finally:
        for client in clients:
            client.close()


def test_a_thousand_clients_of_one_name_share_it(server: RunningServer) -> None:
    clients = [SocketClient(server.addresses[1]) for _ in range(CLIENTS)]
    try:
        for client in clients:
            client.send_bytes(version_frame() + attach_frame(0, aname=b"scratch/job"))
        for client in clients:
            client.reply(Rversion, 0xFFFF)
            assert isinstance(client.receive()[1], Rattach)
        assert scratch(server) == [b"scratch/job"]
    finally:
        for client in clients:
            client.close()


def mappings() -> int:
    return Path("/proc/self/maps").read_bytes().count(b"\n")


def test_who_is_refused_again_and_again_costs_nothing(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = server.client()
    before, counted = mappings(), server.counters.fids
    for number in range(2000):
        query = (b"size=5MiB", b"ttl=2h", b"colour=red", b"size=1KiB", b"size=2MiB&size=2MiB")
        with pytest.raises(RefusedError):
            client.attach(7, aname=b"scratch/job%d?%s" % (number, query[number % 5]))
    assert mappings() <= before + 2
    assert server.counters.fids == counted
    assert not scratch(server)
    shown = [record for record in caplog.records if record.getMessage() == "attach refused"]
    assert len(shown) == 1


def test_volumes_that_come_and_go_leave_nothing_behind(server: RunningServer) -> None:
    come_and_go(server, 5)  # the C library keeps some stacks of threads
    before = mappings()
    come_and_go(server, 5)
    wait_until(lambda: mappings() <= before + 4, "their memory is unmapped")


def come_and_go(server: RunningServer, rounds: int) -> None:
    for _ in range(rounds):
        clients = [server.client() for _ in range(20)]
        for number, client in enumerate(clients):
            client.attach(7, aname=b"scratch/job%d" % number)
            client.walk(7, 8)
            client.create(8, b"file")
            assert client.write(8, 0, bytes(300_000)) == 300_000
            client.close()
        wait_until(lambda: not scratch(server), "they are gone")


def test_one_whose_time_is_up_is_told_while_the_others_go_on(server: RunningServer) -> None:
    client, other = server.client(), server.client()
    client.attach(7, aname=b"scratch/brief?ttl=1s")
    other.attach(7, aname=b"scratch/job")
    wait_until(lambda: scratch(server) == [b"scratch/job"], "its time is up")
    assert client.refusal(Tgetattr(7, 0)) is Errno.ESTALE
    other.walk(7, 8)
    other.create(8, b"file")
    client.walk(0, 9)
    client.create(9, b"file")
