"""A client that thinks between its requests: what is asked, what is counted, what is shown."""

import time

import pytest
from benchmarks import pacing
from benchmarks.load import LoadError
from benchmarks.pacing import SEQUENCES, UNTAR, Cost, Pace, conclude, paced
from benchmarks.report import Report, machine
from benchmarks.servers import Peer
from tests.running_server import RunningServer

from ram9.protocol.messages import Tclunk


@pytest.mark.parametrize("title", SEQUENCES)
def test_each_sequence_is_answered_and_leaves_nothing(
    server: RunningServer, peer: Peer, title: str
) -> None:
    cost = paced(peer, SEQUENCES[title], 0, 0.02)
    assert cost.waited_us > 0
    assert not len(server.filesystem.root.entries)


def test_thought_is_not_waited_for(peer: Peer) -> None:
    began = time.monotonic()
    cost = paced(peer, SEQUENCES["getattr"], 100_000, 0.15)
    assert time.monotonic() - began >= 0.2  # two requests
    assert cost.waited_us < 100_000


def test_a_refusal_is_no_answer(peer: Peer) -> None:
    with pytest.raises(LoadError, match="Tclunk was refused with errno 9"):
        paced(peer, [Tclunk(99)], 0, 0.01)


def test_the_table_has_medians_and_ratios() -> None:
    pace = Pace(3, 1.0, (0, 100))
    found = {
        (title, thought_us, name): [Cost(us, 2 * us), Cost(us * 2, us * 4), Cost(us * 9, us)]
        for title in SEQUENCES
        for thought_us in pace.thoughts_us
        for name, us in (("diod", 10.0), ("ram9", 5.0))
    }
    report = Report("python -m benchmarks pacing", "Pacing", machine())
    conclude(found, ["diod", "ram9"], pace, report)
    (table,) = report.tables
    assert table.rows[-1] == [UNTAR, 100, 20, 10, 20, 10, 0.5, 0.5]
    assert len(table.rows) == 2 * len(SEQUENCES)
    assert len(table.columns) == 8
    conclude(found, ["ram9"], pace, report)
    assert report.tables[1].rows[0] == ["null (a walk of no names)", 0, 10, 10]


def test_all_of_it_runs_with_a_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "PEERS", ("ram9",))
    report = Report("python -m benchmarks pacing", "Pacing", machine())
    pacing.run_pacing(Pace(1, 0.01, (0,)), report)
    assert len(report.tables[0].rows) == len(SEQUENCES)
