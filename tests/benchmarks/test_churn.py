"""Churn over several volumes: what it does, what it plots, and that a check that finds something
is told."""

import json
from pathlib import Path

import pytest
from benchmarks import churn_volumes
from benchmarks.__main__ import parser
from benchmarks.churn_volumes import Lying, Mixed, Plan, Point, ViolationsError, run_volumes
from benchmarks.report import Report, machine
from benchmarks.servers import Peer
from benchmarks.watched import answer, layout
from tests.running_server import RunningServer

from ram9.server.config import Config
from ram9.server.config_file import parse_config
from ram9.storage.check import check

MIB = 1 << 20


def test_churn_renames_sets_attributes_and_knows_what_it_has(
    server: RunningServer, peer: Peer
) -> None:
    with peer.connect("unix") as client:
        churn = Mixed(client, 1, 4 * MIB, "small")
        for _ in range(2500):
            churn.step()
        root = server.filesystem.root
        found = dict(root.entries)
        assert {name: inode.size_bytes for name, inode in found.items()} == dict(churn._files)
        assert churn._held_bytes == sum(size for _, size in churn._files)
        kept = {name: set(inode.xattrs) for name, inode in found.items() if inode.xattrs}
        assert kept == {name: those for name, those in churn._attributes.items() if those}
        assert kept
        assert any(name.startswith(b"moved-") for name in found)
        assert check(server.filesystem) == []


def test_a_layout_says_in_how_many_runs_files_lie(server: RunningServer, peer: Peer) -> None:
    with peer.connect("unix") as client:
        for fid, name in (1, b"a"), (2, b"b"), (3, b"empty"):
            client.create(fid, name)
        client.make_directory(4, b"d")
        client.create(5, b"below", directory=4)
        client.write(1, 0, b"x" * 600)
        client.write(1, MIB, b"x")
        client.write(5, 0, b"x")
        told = layout(server.filesystem)
        assert (told["files_with_data"], told["file_runs"]) == (2, 3)


def test_what_is_wrong_is_answered(server: RunningServer) -> None:
    assert answer(b"check", server.server.volumes) == {}
    server.filesystem.budget.used_inodes += 1
    assert answer(b"check", server.server.volumes) == {"": ["1 inodes are used, the budget says 2"]}
    server.filesystem.budget.used_inodes -= 1


def test_a_plan_declares_its_volumes_and_a_template() -> None:
    plan = Plan(5, 1.0, 1)
    config = parse_config(plan.tables, "churn.toml", lambda: 1 << 40)
    assert isinstance(config, Config)
    assert [volume.name for volume in config.volumes] == [
        *("mixed-1", "small-2", "large-3", "mixed-4", "small-5")
    ]
    assert sum(volume.size_bytes for volume in config.volumes) <= churn_volumes.TOTAL_BYTES
    assert [template.name for template in config.templates] == ["scratch"]


def test_churn_over_volumes_ends_with_a_check_and_a_series(tmp_path: Path) -> None:
    report = Report("", "", machine())
    run_volumes(Plan(3, 1.5, 5, scratch_seconds=0.3, total_bytes=24 * MIB), report)
    assert "the check finds nothing wrong in 3 volumes and the scratch volumes" in report.notes
    assert len(report.raw) == 5
    for point in report.raw:
        assert point["operations_a_second"] > 0
        assert point["resident_bytes"] > point["used_bytes"] // 2 > 0
        assert list(point["volumes"]) == ["mixed-1", "small-2", "large-3"]
        assert all(volume["runs_a_file"] >= 1 for volume in point["volumes"].values())
    (table,) = report.tables
    assert len(table.rows) == 4 + 2 * 3
    assert all(len(row) == len(table.columns) == 6 for row in table.rows)
    assert [len(chart.series) for chart in report.charts] == [1, 2, 3, 3]
    assert int(report.notes[0].split()[-3]) >= 2  # scratch volumes
    report.write(tmp_path)
    assert len(json.loads((tmp_path / "report.json").read_text())["raw"]) == 5


def test_a_check_that_finds_something_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = churn_volumes.told

    def wrong(peer: Peer, question: str = "layout") -> dict[str, object]:
        found: dict[str, object] = told(peer, question)
        return {"mixed-1": ["runs overlap"]} if question == "check" else found

    monkeypatch.setattr(churn_volumes, "told", wrong)
    report = Report("", "", machine())
    with pytest.raises(ViolationsError, match="runs overlap"):
        run_volumes(Plan(1, 0.1, 1, total_bytes=8 * MIB), report)
    assert report.tables
    assert not any("finds nothing" in note for note in report.notes)


def test_the_trend_is_the_last_quarter_to_the_second() -> None:
    series = [
        Point(10.0 * n, 100.0 * n, 5.0, n * MIB, 2 * MIB, {"a": Lying(MIB, 3 * n, 1.0 + n / 8)})
        for n in range(1, 9)
    ]
    report = Report("", "", machine())
    churn_volumes.conclude(series, report)
    (table,) = report.tables
    assert table.columns[1:5] == ["20 s", "40 s", "60 s", "80 s"]
    rows = {str(row[0]): row[1:] for row in table.rows}
    assert rows["operations a second"] == pytest.approx([150, 350, 550, 750, 750 / 350])
    assert rows["resident, MiB"][-1] == 1.0
    assert rows["runs a file, a"][-1] == pytest.approx(1.9375 / 1.4375)
    assert rows["free runs, a"][0] == 4.5


@pytest.mark.parametrize("text", ["0", "17", "-1", "four", "1.5", ""])
def test_a_number_of_volumes_that_is_none_is_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["churn", f"--volumes={text}"])
    assert "from 1 to 16 volumes" in capsys.readouterr().err
