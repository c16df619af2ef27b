"""The servers that are compared start, answer, tell their processor time, and end."""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.cases import CASES, make_files
from benchmarks.churn import Churn, told
from benchmarks.measuring import Setting, measure
from benchmarks.outside import status
from benchmarks.servers import (
    Needs,
    UnavailableError,
    compile_responder,
    processor_ns,
    ram9,
    responder,
    running,
)
from benchmarks.verifying import verify

MIB = 1 << 20
SPAN = 4 * MIB


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for the path of a unix socket."""
    with tempfile.TemporaryDirectory() as found:
        yield Path(found)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("name", CASES)
def test_the_responder_answers_every_case_as_the_codec_wants_it(folder: Path, name: str) -> None:
    with responder(folder, Needs()) as peer:
        with peer.connect() as client:
            make_files(client, SPAN)
        for transport in "tcp", "unix":
            verify(peer, CASES[name], transport, SPAN)
            setting = Setting(transport, 3, 32, 0.02, SPAN)
            assert measure(peer, CASES[name], setting).tally.requests > 0


def test_without_a_compiler_the_responder_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UnavailableError, match="C compiler"):
        compile_responder(folder)
    with running(["responder"], Needs()) as (peers, absent):
        assert peers == []
        assert absent == ["the responder needs a C compiler (cc)"]


def test_ram9_starts_tells_what_it_takes_and_ends(folder: Path) -> None:
    with ram9(folder, Needs(size_bytes=64 * MIB, inodes=1000)) as peer:
        verify(peer, CASES["metadata"], "tcp", SPAN)
        assert peer.resident_bytes() > MIB
        found = status([peer], ["diod is not installed"])
        assert found["peers"]["ram9"]["port"] == peer.addresses["tcp"].port
        assert len(found["peers"]["ram9"]["seconds"]) == 2
        assert abs(sum(peer.processor_seconds()) - peer.processor_ns() / 1e9) < 0.5
        assert found["absent"] == ["diod is not installed"]
    assert peer.process.returncode is not None


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    with pytest.raises(UnavailableError, match="error"), ram9(folder, Needs(size_bytes=1)):
        pass


def test_a_watched_server_tells_how_its_memory_lies(folder: Path) -> None:
    program = (sys.executable, "-m", "benchmarks.watched")
    needs = Needs(size_bytes=64 * MIB, inodes=1000)
    with ram9(folder, needs, program=program) as peer, peer.connect() as client:
        empty = told(peer)[""]
        assert empty["cold_runs"] == 1
        churn = Churn(client)
        for _ in range(60):
            churn.step()
        found = told(peer)[""]
        assert churn.operations == 60
        assert found["used_bytes"] >= empty["used_bytes"] + sum(size for _, size in churn._files)
        assert 0 < found["largest_run_bytes"] <= empty["largest_run_bytes"]


def test_the_processor_time_is_that_of_all_threads() -> None:
    """Those that had ended were left out, so that it became less; and one that ended meanwhile was
    an error."""

    def work() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        worked.set()
        may_end.wait(10)

    worked, may_end = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    before = processor_ns(os.getpid())
    thread.start()
    assert worked.wait(10)
    now = processor_ns(os.getpid())
    assert now - before >= 50e6
    may_end.set()
    thread.join()
    assert processor_ns(os.getpid()) >= now
