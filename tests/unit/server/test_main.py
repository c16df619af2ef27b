"""The command: what it says, to whom, and with which status it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.running_server import program
from tests.socket_client import SocketClient

from ram9.server.config import Address
from ram9.server.version import VERSION

MOUNT = "mount it with: mount -t 9p -o trans={},version=9p2000.L,msize=1044504 {} /mnt/ram\n"


def ram9(*arguments: str, code: str = "") -> tuple[int, str, str]:
    """The exit status, stdout and stderr of a command that ends by itself."""
    start = ["-c", code] if code else ["-m", "ram9.server"]
    done = subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def serve(*arguments: str, code: str = "") -> str:
    """The one sentence with which ``ram9 serve`` refuses."""
    status, out, err = ram9("serve", "--size=1MiB", *arguments, code=code)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1, err
    return err


def test_version_is_said() -> None:
    assert ram9("--version") == (0, f"ram9 {VERSION}\n", "")


def test_help_names_every_option() -> None:
    status, out, err = ram9("serve", "--help")
    assert (status, err) == (0, "")
    options = set(re.findall(r"^  (--[a-z-]+)", out, re.MULTILINE))
    assert options == {
        "--client-cache",
        "--keep-warm",
        "--listen",
        "--lock-wait",
        "--allow-remote",
        "--size",
        "--inodes",
        "--metrics",
        "--control",
        "--policy",
        "--config",
        "--log-level",
        "--log-format",
    }


def test_a_port_in_use_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(*taken.getsockname())
        assert serve(f"--listen={address}", "--metrics=none") == (
            f"ram9: error: cannot listen on {address}: Address already in use\n"
        )


def test_a_metrics_port_in_use_ends_it_and_leaves_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(*taken.getsockname())
        assert serve(f"--listen=unix:{path}", f"--metrics={address}") == (
            f"ram9: error: cannot serve metrics on {address}: Address already in use; "
            "choose another --metrics address, or none\n"
        )
    assert not path.exists()


def unprivileged_port_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except FileNotFoundError:
        return 1024


# Run what follows without CAP_NET_BIND_SERVICE (10), which root loses with PR_CAPBSET_DROP (24).
WITHOUT_LOW_PORTS = (
    "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(24, 10, 0, 0, 0) == 0; "
    "os.execv(sys.executable, [sys.executable, '-m', 'ram9.server', *sys.argv[1:]])"
)


@pytest.mark.skipif(unprivileged_port_start() < 1024, reason="everybody may use low ports here")
def test_a_port_below_1024_without_the_right_says_what_to_do() -> None:
    code = WITHOUT_LOW_PORTS if os.getuid() == 0 else ""
    sentence = serve("--listen=127.0.0.1:1", "--metrics=none", code=code)
    assert sentence == (
        "ram9: error: cannot listen on 127.0.0.1:1: a port below 1024 takes a right that this user "
        "has not; choose another, such as --listen 127.0.0.1:5640 (and mount with port=5640), "
        "or grant CAP_NET_BIND_SERVICE\n"
    )


def test_a_missing_package_is_named() -> None:
    code = (
        "import runpy, sys; sys.modules['uvloop'] = None; sys.argv[0] = 'ram9'; "
        "runpy.run_module('ram9.server', run_name='__main__')"
    )
    assert serve("--metrics=none", code=code) == (
        "ram9: error: uvloop is missing; install ram9 and what it needs with: pip install ram9\n"
    )


def test_several_addresses_are_served_and_how_to_mount_them_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with program(
        "--listen=127.0.0.1:0",
        f"--listen=unix:{path}",
        "--listen=[::1]:0",
        "--metrics=127.0.0.1:0",
        "--control=none",
        log=tmp_path / "log",
    ) as started:
        tcp, unix, ipv6 = started.printed
        ports = [int(re.findall(r"port=(\d+)", line)[0]) for line in (tcp, ipv6)]
        assert tcp == MOUNT.format(f"tcp,port={ports[0]}", "127.0.0.1")
        assert unix == MOUNT.format("unix", path)
        assert ipv6 == MOUNT.format(f"tcp,port={ports[1]}", "::1")
        for number, address in enumerate(
            (Address("127.0.0.1", ports[0]), Address(path=str(path)), Address("::1", ports[1]))
        ):
            client = SocketClient(address)
            client.version()
            client.attach()
            client.create(1, b"shared")
            assert client.write(1, number, b"x") == 1
            assert client.read(1, 0, 10) == b"x" * (number + 1)
            client.close()
        assert started.stop(signal.SIGTERM) == 0
        events = re.findall(r"Z INFO ([a-z]+)", started.log())
        assert events[:5] == ["started", "serving", "listening", "listening", "listening"]
        assert events[-2:] == ["stopping", "stopped"]


def test_a_size_that_cannot_be_had_is_refused() -> None:
    sentence = serve("--size=127TiB", "--inodes=1000", "--metrics=none", "--listen=127.0.0.1:0")
    assert re.fullmatch(
        r"ram9: error: the volume '' of \d+ bytes and 1000 inodes cannot be made: .*; "
        r"choose another size or number of inodes\n",
        sentence,
    )


def test_the_metrics_page_knows_the_operations_whatever_was_imported_before() -> None:
    """All were shown as unknown where nobody else had imported the messages yet."""
    code = "from ram9.server.metrics import OPERATIONS; print(len(OPERATIONS))"
    status, out, _ = ram9(code=code)
    assert status == 0
    assert int(out) > 25
