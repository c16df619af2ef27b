"""SIGHUP: the configuration file is read again, and a mistake in it changes nothing."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.running_server import Program
from tests.socket_client import SocketClient, wait_until
from tests.unit.server.test_changes import CONFIG, Running

from ram9.protocol.messages import Rstatfs, Tstatfs
from ram9.server.config import Address
from ram9.server.memory import MemoryFiles
from ram9.server.reloading import Reloading

MIB = 1 << 20


class Reloaded:
    """A server's file, and what became of it."""

    def __init__(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.path = path
        self._caplog = caplog
        self.running = Running()
        self.running.changes.config = replace(CONFIG, path=str(path))

    def reload(self, text: str) -> str:
        """Let the file hold *text*; what the log says in the end."""
        self.path.write_text(text)
        asyncio.run(Reloading(self.running.changes, MemoryFiles()).reload())
        record = self._caplog.records[-1]
        fields = record.__dict__["fields"]
        return f"{record.levelname} {record.getMessage()} {fields.get('reason', '')}".strip()


@pytest.fixture
def reloaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Reloaded:
    caplog.set_level(logging.INFO, "ram9")
    return Reloaded(tmp_path / "ram9.toml", caplog)


GOOD = """
listen = "127.0.0.1:564"
metrics = "none"
[[volume]]
size = "32MiB"
[[volume]]
name = "builds"
size = "16MiB"
inodes = 700
"""


def test_what_the_file_says_is_so(reloaded: Reloaded) -> None:
    assert reloaded.reload(GOOD) == "INFO reloaded"
    assert reloaded.running.limits(b"builds") == (16 * MIB, 700)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "colour = 1\n", ":10: "),
        (GOOD.replace('"32MiB"', '"many"'), ":5: "),
        (GOOD.replace('"32MiB"', '"1GiB"'), "more than the"),
        ("[[volume", ":1: "),
        ("", "there is no [[volume]]"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    reloaded: Reloaded, text: str, said: str
) -> None:
    before = reloaded.running.limits(b""), reloaded.running.limits(b"builds")
    answer = reloaded.reload(text)
    assert answer.startswith(f"ERROR reload refused {reloaded.path}")
    assert said in answer
    assert (reloaded.running.limits(b""), reloaded.running.limits(b"builds")) == before


def test_a_file_that_is_gone_changes_nothing(
    reloaded: Reloaded, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(Reloading(reloaded.running.changes, MemoryFiles()).reload())
    assert caplog.messages == ["reload refused"]
    assert reloaded.running.limits(b"builds") == (128 * MIB, 5000)


def test_what_changes_while_it_is_read_is_read_again(
    reloaded: Reloaded, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloading = Reloading(reloaded.running.changes, MemoryFiles())
    texts = [GOOD.replace('"32MiB"', '"many"'), GOOD]

    async def text_of(_path: str) -> str:
        if len(texts) == 2:
            reloading.ask()
        return texts.pop(0)

    async def ask() -> None:
        reloading.ask()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    monkeypatch.setattr("ram9.server.reloading.text_of", text_of)
    asyncio.run(ask())
    assert not texts
    assert caplog.messages[0] == "reload refused"
    assert caplog.messages[-1] == "reloaded"
    assert reloaded.running.limits(b"builds") == (16 * MIB, 700)


# The program


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Program, Path]]:
    path = tmp_path / "ram9.toml"
    path.write_text(
        f'listen = "unix:{tmp_path}/s"\nmetrics = "none"\ncontrol = "none"\n'
        '[[volume]]\nsize = "64MiB"\n'
    )
    program = Program([f"--config={path}"], tmp_path / "log", listens=1)
    yield program, path
    program.close()


def test_sighup_has_df_show_another_size(served: tuple[Program, Path], tmp_path: Path) -> None:
    program, path = served
    with SocketClient(Address(path=str(tmp_path / "s"))) as client:
        client.version()
        client.attach()

        def size() -> int:
            seen = client.ask(Tstatfs(0), Rstatfs)
            return seen.blocks * seen.bsize

        assert size() == 64 * MIB
        path.write_text(path.read_text().replace("64MiB", "96MiB"))
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: size() == 96 * MIB, "df shows it")
        path.write_text(path.read_text().replace("96MiB", "many"))
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload refused" in program.log(), "the mistake is logged")
        assert f"{path}:5: " in program.log()
        assert size() == 96 * MIB
    assert program.stop(signal.SIGTERM) == 0


def test_without_a_file_sighup_ends_nothing(tmp_path: Path) -> None:
    arguments = [f"--listen=unix:{tmp_path}/s", "--metrics=none", "--control=none", "--size=1MiB"]
    program = Program(arguments, tmp_path / "log")
    try:
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "nothing to reload" in program.log(), "it is logged")
        assert program.stop(signal.SIGTERM) == 0
    finally:
        program.close()
