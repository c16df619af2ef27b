"""diod's tools, a client that shares nothing with Linux: its own library, in user space."""

import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.running_server import RunningServer, running

from ram9.protocol.messages import Rmkdir, Rsymlink, Tclunk, Tmkdir, Tsymlink

LARGE = bytes(range(251)) * 1000
SECONDS_MAX = 60


def tool(name: str) -> str:
    """Where a tool is, which Debian keeps beside the tools of administrators."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt install diod)")
    return found


@pytest.fixture
def server(tmp_path: Path) -> Generator[RunningServer]:
    """A server with a directory, a large file below it, a small one, and a link."""
    with running(tmp_path) as server:
        client = server.client()
        client.ask(Tmkdir(0, b"folder", 0o750, 7), Rmkdir)
        client.ask(Tsymlink(0, b"link", b"folder/large", 0), Rsymlink)
        client.create(1, b"small")
        client.write(1, 0, b"a line\n")
        client.send(Tclunk(1))
        client.receive()
        client.walk(0, 2, b"folder")
        client.create(3, b"large")
        for start in range(0, len(LARGE), 50_000):
            client.write(3, start, LARGE[start : start + 50_000])
        for number in range(300):
            client.ask(Tmkdir(2, b"%03d " % number + b"n" * 100, 0o700, 0), Rmkdir)
        yield server
        server.hang_up()
        assert server.counters.internal_errors == 0
        assert not server.counters.protocol_errors
        assert server.violations() == []


def run(server: RunningServer, name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    address = server.addresses[0]
    return subprocess.run(
        [tool(name), "-s", f"{address.host}:{address.port}", "-a", "", *arguments],
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def test_diodls_lists_the_root(server: RunningServer) -> None:
    done = run(server, "diodls")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.decode().split()) == ["folder", "large", "link", "small"]


def test_diodls_shows_what_files_are(server: RunningServer) -> None:
    done = run(server, "diodls", "-l")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[-1]: line.split() for line in done.stdout.decode().splitlines()}
    assert rows["small"][0].rstrip(".") == "-rw-r--r--"
    assert rows["small"][4] == "7"
    assert rows["large"][4] == str(len(LARGE))
    assert rows["folder"][0].rstrip(".") == "drwxr-x---"
    assert rows["folder"][1] == "302"


@pytest.mark.parametrize("msize", [4096, 8192, 65536])
def test_diodls_lists_a_long_directory(server: RunningServer, msize: int) -> None:
    done = run(server, "diodls", "-m", str(msize), "folder")
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^(\d{3}) n{100}$", done.stdout.decode(), re.MULTILINE)
    assert sorted(names) == [f"{number:03d}" for number in range(300)]


@pytest.mark.parametrize("msize", [4096, 8192, 65536])
def test_diodcat_prints_files(server: RunningServer, msize: int) -> None:
    done = run(server, "diodcat", "-m", str(msize), "small", "large")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"a line\n" + LARGE


def test_diodcat_says_what_is_not_there(server: RunningServer) -> None:
    done = run(server, "diodcat", "absent")
    assert done.returncode != 0
    assert b"No such file or directory" in done.stderr
