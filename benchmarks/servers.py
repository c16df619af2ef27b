"""The servers that are compared: started here, asked how much processor time they took, ended.

Each listens on a TCP port and, where it can, on a unix socket.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.client import Client
from ram9.server.config import Address
from ram9.server.version import VERSION

START_SECONDS_MAX: Final = 20.0
TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
RESPONDER_SOURCE: Final = Path(__file__).with_name("responder.c")
LOCAL: Final = "127.0.0.1"


class UnavailableError(Exception):
    """A server cannot be had on this machine; the text says why."""


@dataclass(slots=True)
class Peer:
    """A running server. *aname* is the tree that it wants clients to attach."""

    name: str
    version: str
    process: subprocess.Popen[bytes]
    addresses: dict[str, Address]  # by transport: tcp, unix
    aname: str = ""
    keeps_data: bool = True

    def connect(self, transport: str = "tcp") -> Client:
        return Client(self.addresses[transport], self.aname)

    def processor_ns(self) -> int:
        """Processor time that it took so far."""
        return processor_ns(self.process.pid)

    def processor_seconds(self) -> tuple[float, float]:
        """The same as (user, system) seconds, to the hundredth: see proc_pid_stat(5)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) / TICKS_A_SECOND, int(fields[12]) / TICKS_A_SECOND

    def resident_bytes(self) -> int:
        """Memory that it holds: RssAnon and RssShmem of proc_pid_status(5)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * sum(
            map(int, re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", text, re.MULTILINE))
        )


def processor_ns(pid: int) -> int:
    """Processor time of a process and all threads that it has or had: clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


@dataclass(frozen=True, slots=True)
class Needs:
    """How large the servers have to be, and where they listen.

    *volumes* are those of ram9 in its place, as tables of TOML; *aname* is that of one of them.
    """

    size_bytes: int = 4 << 30
    inodes: int = 1 << 20
    host: str = LOCAL
    volumes: str = ""
    aname: str = ""


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the process, and wait for it, when the block is left."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def free_port(host: str) -> int:
    """A TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _await(peer: Peer, log: Path) -> Peer:
    """Wait until the server answers; UnavailableError with what it logged if it does not."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while peer.process.poll() is None and time.monotonic() < deadline:
        try:
            peer.connect().close()
        except OSError:
            time.sleep(0.05)
        else:
            return peer
    said = log.read_text(errors="replace").strip().splitlines()
    raise UnavailableError(f"{peer.name} does not answer: {said[-1] if said else 'no message'}")


@contextmanager
def ram9(
    folder: Path, needs: Needs, name: str = "ram9", program: Sequence[str] = ()
) -> Iterator[Peer]:
    """The ram9 of this checkout; *program* is what is run in the place of its command."""
    port, path, log = free_port(needs.host), folder / f"{name}.socket", folder / f"{name}.log"
    listen = [f"{needs.host}:{port}", f"unix:{path}"]
    if needs.volumes:
        arguments = _configured(folder / f"{name}.toml", listen, needs.volumes)
    else:
        arguments = [
            *(f"--listen={address}" for address in listen),
            *("--metrics=none", "--log-level=warning"),
            *(f"--size={needs.size_bytes}", f"--inodes={needs.inodes}"),
            *(() if needs.host == LOCAL else ("--allow-remote",)),
        ]
    command = [*(program or (sys.executable, "-m", "ram9.server")), "serve", *arguments]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
    with _ended(process):
        addresses = {"tcp": Address(needs.host, port), "unix": Address(path=str(path))}
        yield _await(Peer(name, VERSION, process, addresses, needs.aname), log)


def _configured(path: Path, listen: Sequence[str], volumes: str) -> list[str]:
    """The options for a server of these volumes, which a file at *path* declares."""
    keys = {"listen": listen, "metrics": "none", "control": "none", "log-level": "warning"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    path.write_text("\n".join([*lines, volumes, ""]))
    return ["--config", str(path)]


@contextmanager
def diod(folder: Path, needs: Needs) -> Iterator[Peer]:
    """diod over a tmpfs: one that is mounted for it, or a folder of /dev/shm."""
    program = shutil.which("diod", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise UnavailableError("diod is not installed")
    with ExitStack() as stack:
        tree = stack.enter_context(tmpfs(folder))
        port, path, log = free_port(needs.host), folder / "diod.socket", folder / "diod.log"
        command = [
            *(program, "-f", "-n", "-N", "-U", "root", "-c", os.devnull, "-e", str(tree)),
            *("-l", f"{needs.host}:{port}", "-l", str(path), "-L", "stderr"),
        ]
        if needs.host != LOCAL:
            command = _knowing_neighbours(folder, needs.host, command)
        with log.open("wb") as stderr:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
        stack.enter_context(_ended(process))
        addresses = {"tcp": Address(needs.host, port), "unix": Address(path=str(path))}
        peer = Peer("diod", _diod_version(), process, addresses, str(tree))
        yield _await(peer, log)


def _knowing_neighbours(folder: Path, host: str, command: Sequence[str]) -> list[str]:
    """The command, run where /etc/hosts has names for the network of *host*.

    diod turns everybody away whose name it cannot find out, and a network of its own has nobody to
    ask. Only the command sees the file.
    """
    hosts = folder / "hosts"
    network = host.rpartition(".")[0]
    lines = [f"{network}.{number} host{number}" for number in range(1, 255)]
    hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    bound = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", bound, "sh", *command]


def _diod_version() -> str:
    """The version of the package, for diod does not say its own."""
    if shutil.which("dpkg-query") is None:
        return "unknown"
    query = ["dpkg-query", "--show", "--showformat=${Version}", "diod"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "unknown"


@contextmanager
def tmpfs(folder: Path) -> Iterator[Path]:
    """An empty folder on a tmpfs: mounted below *folder* if that is allowed, else in /dev/shm."""
    place = folder / "tmpfs"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "mode=0777", "none", str(place)]
    may_mount = os.geteuid() == 0 and shutil.which("mount") is not None
    if may_mount and not subprocess.run(mount, check=False, capture_output=True).returncode:
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as shared:
            yield Path(shared)


def compile_responder(folder: Path) -> Path:
    """The do-nothing responder as a program in *folder*."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise UnavailableError("the responder needs a C compiler (cc)")
    binary = folder / "responder"
    command = [compiler, "-O2", "-o", str(binary), str(RESPONDER_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"the responder does not compile: {done.stderr.strip()}")
    return binary


@contextmanager
def responder(folder: Path, _needs: Needs) -> Iterator[Peer]:
    """What answers without doing anything: the most that the sockets allow."""
    binary, path = compile_responder(folder), folder / "responder.socket"
    process = subprocess.Popen(
        [binary, "0", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    with _ended(process):
        assert process.stdout is not None
        port = process.stdout.readline()
        if not port:
            raise UnavailableError("the responder does not start")
        addresses = {"tcp": Address(LOCAL, int(port)), "unix": Address(path=str(path))}
        yield Peer("responder", "1", process, addresses, keeps_data=False)


PEERS: Final = {"responder": responder, "diod": diod, "ram9": ram9}
"""In the order of tables: the ceiling, the one to beat, and ours."""


@contextmanager
def running(names: Sequence[str], needs: Needs) -> Iterator[tuple[list[Peer], list[str]]]:
    """The servers that can be had of those named, and a sentence for each that cannot."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        peers: list[Peer] = []
        absent: list[str] = []
        for name in names:
            try:
                peers.append(stack.enter_context(PEERS[name](folder, needs)))
            except UnavailableError as error:
                absent.append(str(error))
        yield peers, absent
