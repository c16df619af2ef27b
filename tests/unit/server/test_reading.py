"""Reading the configuration file."""

import asyncio
import os
from pathlib import Path

import pytest

from ram9.server.config import ConfigError
from ram9.server.reading import text_of
from ram9.server.toml_tables import CONFIG_BYTES_MAX


def text(path: Path) -> str:
    return asyncio.run(text_of(str(path)))


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        text(path)
    return str(refused.value).replace(str(path), "FILE")


def test_the_text_is_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "ram9.toml"
    path.write_bytes("ä\r\nb\n".encode())
    assert text(path) == "ä\r\nb\n"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "FILE cannot be read: No such file or directory"
    assert refusal(tmp_path) == "FILE cannot be read: Is a directory"
    assert refusal(Path("\0")) == "FILE cannot be read: embedded null byte"


def test_what_is_no_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ram9.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    assert refusal(path) == "FILE:2: this is not UTF-8"


def test_no_more_is_read_than_a_configuration_may_have(tmp_path: Path) -> None:
    assert len(text(Path("/dev/zero"))) == CONFIG_BYTES_MAX + 1
    path = tmp_path / "ram9.toml"
    path.write_bytes(b"a" + "ä".encode() * CONFIG_BYTES_MAX)
    assert len(text(path)) > CONFIG_BYTES_MAX // 2


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not text(tmp_path / "pipe")
