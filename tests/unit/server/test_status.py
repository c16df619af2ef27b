"""What status tells is what df and the metrics tell."""

from pathlib import Path
from typing import Any

from tests.running_server import MIB, running
from tests.unit.server.test_control import ask

from ram9.protocol.messages import Rstatfs, Tstatfs
from ram9.server.config import Address
from ram9.server.metrics import ServerCollector
from ram9.server.status import Status
from ram9.server.version import VERSION


def told(path: Path) -> dict[str, list[dict[str, Any]]]:
    lines = ask(path, command="status")
    kinds = ("server", "volume", "client")
    return {kind: [line for line in lines if line.get("kind") == kind] for kind in kinds}


def test_df_metrics_and_status_agree_to_the_byte(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.answer_control(Address(path=str(tmp_path / "control")))
        server.server.allotment.set_left(5 * MIB, "/proc/meminfo")
        client = server.client()
        client.create(1, b"file")
        client.write(1, 0, bytes(1_000_001))
        client.write(1, 1_000_001, b"more")
        (volume,) = told(tmp_path / "control")["volume"]
        seen = client.ask(Tstatfs(0), Rstatfs)
        collector = ServerCollector(server.server.volumes, server.counters, server.server.allotment)
        page = {
            sample.name: sample.value for family in collector.collect() for sample in family.samples
        }
        for name in "limit", "used", "available":
            assert volume[f"{name}_bytes"] == page[f"ram9_{name}_bytes"]
            assert volume[f"{name}_inodes"] == page[f"ram9_{name}_inodes"]
        assert volume["limit_bytes"] == volume["used_bytes"] + volume["available_bytes"]
        assert volume["limit_bytes"] < 6 * MIB < volume["size_bytes"] == 64 * MIB
        assert volume["limited_by"] == "/proc/meminfo"
        assert seen.blocks == volume["limit_bytes"] // seen.bsize
        assert seen.bfree == volume["available_bytes"] // seen.bsize
        assert seen.files == volume["limit_inodes"]


def test_clients_are_told_with_what_they_mounted(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.answer_control(Address(path=str(tmp_path / "control")))
        tcp, unix = server.client(0), server.client(1)
        tcp.attach(1, b"alice")
        tcp.create(2, b"file")
        tcp.write(2, 0, bytes(100_000))
        first, second = told(tmp_path / "control")["client"]
        assert first["peer"] == f"127.0.0.1:{tcp.socket.getsockname()[1]}"
        assert first["fids"] == 3
        assert [mount["uname"] for mount in first["mounts"]] == ["test"]  # both are uid 0
        assert first["attaches"] == 2
        assert first["received_bytes"] > 100_000
        assert second["peer"].startswith("unix:pid=")
        assert second["received_bytes"] is second["sent_bytes"] is None
        unix.close()
        server.wait_for_connections(1)
        assert len(told(tmp_path / "control")["client"]) == 1


def test_clients_may_come_and_go_meanwhile(tmp_path: Path) -> None:
    """An answer of more lines than are made at once was broken off, as by a bug of the server, when
    somebody connected before it was whole."""
    with running(tmp_path) as server:
        server.answer_control(Address(path=str(tmp_path / "control")))
        clients = [server.client(1) for _ in range(40)]
        status = Status(
            server.server.volumes,
            server.server.clients.values,
            server.hub,
            server.counters,
            server.server.allotment,
            [],
            "",
            lambda: 0,
        )
        lines = status.lines()
        kinds = [server.call(lambda: next(lines)["kind"]) for _ in range(3)]
        assert kinds == ["server", "volume", "client"]
        clients.pop().close()
        server.wait_for_connections(39)
        server.client(1)
        assert server.call(lambda: len(list(lines))) == 39


def test_the_process_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.answer_control(Address(path=str(tmp_path / "control")), path="/etc/ram9.toml")
        (process,) = told(tmp_path / "control")["server"]
        assert process["version"] == VERSION
        assert process["config"] == "/etc/ram9.toml"
        assert process["listen"] == [str(address) for address in server.addresses]
        assert process["memory"]["resident_bytes"] > MIB
        assert process["memory"]["held_bytes"] == server.server.allotment.held_bytes
        assert process["memory"]["left_bytes"] is None
