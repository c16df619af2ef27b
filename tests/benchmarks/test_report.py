"""Fixed figures give these tables, this JSON and these charts."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmarks import churn, kernel, wire
from benchmarks.__main__ import COMMANDS, main, parser
from benchmarks.budget import parse_calls
from benchmarks.cases import CASES
from benchmarks.charts import Chart, Series, draw
from benchmarks.load import Tally
from benchmarks.measuring import Sample
from benchmarks.report import Report, Table, machine, shown
from benchmarks.workloads import WORKLOADS

ITEMS = wire.full_plan(("null", "read-64k"), (1, 4), (1,), ("tcp",))


def sample(rate: float, payload_bytes: int = 0) -> Sample:
    """One second in which so many requests took 10 µs each, but for one in a hundred."""
    count = int(rate)
    slow = count // 50
    return Sample(Tally(count, 1.0, [(10_000, count - slow), (90_000, slow)]), payload_bytes)


def samples() -> wire.Samples:
    rates = {"responder": 4000, "diod": 1000, "ram9": 3000}
    return {
        (item, peer): [sample(rate / 2, 65536), sample(rate, 65536), sample(rate * 2, 65536)]
        for item in ITEMS
        for peer, rate in rates.items()
    }


def a_report() -> Report:
    report = Report("python -m benchmarks wire", "Wire", machine())
    peers = ["responder", "diod", "ram9"]
    report.tables += wire.tables(ITEMS, peers, samples())
    report.charts += wire.charts(ITEMS, peers, samples())
    report.raw.append({"case": "null"})
    return report


def test_the_table_at_the_wire_has_medians_and_ratios() -> None:
    table = a_report().tables[0]
    assert table.title == "1 connection, TCP"
    assert list(table.rows[0][:7]) == ["null (a walk of no names)", 1, 4000, 1000, 3000, 0.75, 3]
    assert list(table.rows[0][7:]) == [10, 90, 10, 90]
    assert table.rows[2][4] == pytest.approx(3000 * 65536 / 1e6)
    lines = table.markdown().splitlines()
    assert lines[2].startswith("| case | in flight | responder | diod | ram9 | ram9 / responder |")
    assert lines[4].startswith(
        "| null (a walk of no names) | 1 | 4,000 | 1,000 | 3,000 | 0.75 | 3.00 | 10.0 | 90.0 |"
    )


def test_a_server_that_is_not_there_has_no_column() -> None:
    table = wire.tables(ITEMS, ["ram9"], samples())[0]
    assert not [column for column in table.columns if "diod" in column or "responder" in column]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_numbers_are_shown_with_the_digits_that_count() -> None:
    cells: Sequence[Any] = [12345.6, 123.4, 12.34, 1.234, 7, "text", None]
    assert [shown(cell) for cell in cells[:6]] == ["12,346", "123", "12.3", "1.23", "7", "text"]
    assert shown(cells[6]) not in ("None", "0")


def test_json_holds_what_the_report_holds() -> None:
    report = a_report()
    found = json.loads(report.json())
    assert found["machine"]["processors"] >= 1
    assert found["machine"]["python"]
    assert found["raw"] == [{"case": "null"}]
    assert [table["title"] for table in found["tables"]] == ["1 connection, TCP"]


def test_a_report_names_the_machine_and_the_versions() -> None:
    report = a_report()
    report.machine["peers"] = {"diod": "1.0.24-5"}
    text = report.markdown()
    assert f"Python {report.machine['python']}" in text
    assert f"ram9 {report.machine['ram9']}, diod 1.0.24-5" in text


def test_charts_are_drawn_and_are_the_same_every_time(tmp_path: Path) -> None:
    written = a_report().write(tmp_path)
    pictures = [path for path in written if path.suffix == ".svg"]
    assert {path.stem for path in pictures} == {"wire-small-1", "wire-bulk"}
    before = pictures[0].read_text()
    assert "<svg" in before
    assert ">diod<" in before
    a_report().write(tmp_path)
    assert pictures[0].read_text() == before
    for path in pictures:
        assert f"]({path.name})" in (tmp_path / "report.md").read_text()


def test_lines_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    series = [Series("read", [1, 10, 100], [1.0, None, 1.1])]
    chart = Chart("lines", "Lines", "bytes", "cost", series, "lines", x_is_log=True)
    path = draw(chart, tmp_path)
    assert path is not None
    assert ">Lines<" in path.read_text()


def test_without_matplotlib_the_report_says_so_and_shows_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    a_report().write(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "matplotlib is not installed" in text
    assert ".svg" not in text


def kernel_raw() -> list[dict[str, Any]]:
    figures = []
    for mode in kernel.MODES:
        for server, seconds in (("diod", 4.0), ("ram9", 2.0)):
            for number in range(3):
                took = {"seconds": seconds + number, "user_seconds": 0.1, "system_seconds": 0.2}
                figures.append(
                    {"workload": "untar", "server": server, "mode": mode, "round": number} | took
                )
    figures.append({"workload": "untar", "server": "tmpfs", "mode": "", "round": 0, "seconds": 0.5})
    return figures


def test_the_table_through_the_kernel_has_times_and_server_times() -> None:
    plan = kernel.KernelPlan(workloads=["untar", "find"])
    table = kernel.kernel_table(plan, kernel_raw(), "mmap")
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert table.rows[0][:5] == ["untar", 0.5, 5.0, 3.0, 0.6]
    assert table.rows[0][5:] == pytest.approx([0.3, 0.3, 1.0])
    assert set(table.rows[1][1:]) == {None}  # find was not done
    assert len(kernel.kernel_charts(plan, kernel_raw())) == 2


def test_the_kernel_is_left_out_where_nobody_can_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAM9_GUEST", "no-such-program")
    assert "RAM9_GUEST" in kernel.why_not()
    monkeypatch.delenv("RAM9_GUEST")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "only root" in kernel.why_not()


def test_a_guest_is_told_to_run_the_servers_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAM9_GUEST", "guest --option")
    command = kernel.command_of(kernel.KernelPlan(), ["untar"])
    assert command[:2] == ["guest", "--option"]
    assert "benchmarks.outside" in command[command.index("-s") + 1]
    inside = kernel.command_of(kernel.KernelPlan(servers_inside=True), ["untar"])
    assert "-s" not in inside
    assert json.loads(inside[-1])["starts_servers"]


def test_churn_compares_the_last_quarter_to_the_second() -> None:
    series = [
        churn.Point(10.0 * n, 100.0 * n, 5.0, 50.0, 10, 1 << 20, 2 << 20, 3, 4, 1 << 20)
        for n in range(1, 9)
    ]
    report = Report("", "", machine())
    churn.conclude(series, report)
    rows = report.tables[0].rows
    assert [row[0] for row in rows] == ["20 s", "40 s", "60 s", "80 s", "last to second quarter"]
    assert rows[-1][1] == pytest.approx(750 / 350)
    assert len(report.charts) == 3
    assert len(report.raw) == 8


def test_calls_are_read_from_what_strace_prints() -> None:
    printed = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000123           1       120        20 recvfrom
 40.00    0.000050           1       100           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000173           1       220        20 total
"""
    calls, failed = parse_calls(printed)
    assert calls == {"recvfrom": 120, "sendto": 100}
    assert failed == {"recvfrom": 20}


def test_help_says_what_the_plans_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["wire", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    full, quick = wire.full_plan(), wire.quick_plan()
    assert f"{len(full)} rows, {wire.ROUNDS} rounds of {wire.SECONDS} s" in told
    assert f"{len(quick)} rows, {wire.QUICK_ROUNDS} round of {wire.QUICK_SECONDS} s" in told
    assert {item.case for item in full} == set(CASES)
    assert {item.depth for item in full} == {1, 4, 32}
    assert {item.connections for item in full} == {1, 8, 64}
    assert {item.transport for item in full} == {"tcp", "unix"}
    assert {(i.case, i.depth) for i in quick if (i.connections, i.transport) == (1, "tcp")} == {
        (case, depth) for case in CASES for depth in (1, 32)
    }
    others = {i.case for i in quick if (i.connections, i.transport) != (1, "tcp")}
    assert others == {"null", "read-4k", "write-4k"}


def test_the_quick_table_at_the_wire_is_planned_for_less_than_a_minute() -> None:
    plan = wire.Plan(
        wire.quick_plan(), wire.QUICK_ROUNDS, wire.QUICK_SECONDS, wire.QUICK_SPAN_BYTES
    )
    assert plan.seconds_planned < 60


def test_help_teaches_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert re.search(rf"^ +{name} ", told, re.MULTILINE)
        assert parser().parse_args([name, "--quick"]).quick
        assert text.splitlines()[0].endswith(".")
    assert "examples:" in told


def test_words_and_numbers_are_chosen_with_commas() -> None:
    options = parser().parse_args(["wire", "--cases", "null,getattr", "--in-flight", "1,32"])
    assert options.cases == ("null", "getattr")
    assert options.in_flight == (1, 32)
    chosen = parser().parse_args(["kernel", "--workloads", "untar", "--cache", "mmap,loose"])
    plan = kernel.KernelPlan(workloads=chosen.workloads, modes=chosen.cache)
    assert json.loads(kernel.command_of(plan, plan.workloads)[-1])["modes"] == ["mmap", "loose"]


@pytest.mark.parametrize(
    "wrong",
    [["wire", "--cases", "nul"], ["wire", "--in-flight", "0"], ["wire", "--in-flight", "x"], []],
)
def test_a_mistake_is_refused_with_a_sentence(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_every_workload_says_what_it_needs() -> None:
    assert all(work.tools and work.title for work in WORKLOADS.values())


def test_a_table_can_have_notes() -> None:
    text = Table("Title", ["a", "b"], [["x", 1]], ["Because."]).markdown()
    assert text == "### Title\n\n| a | b |\n|---|---:|\n| x | 1 |\n\nBecause.\n"
