"""Inside the guest: a server, its mounts, and what both say at the end."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.kernel.scenario import ENDINGS, Scenario, run

START_SECONDS_MAX: Final = 30
STOP_SECONDS_MAX: Final = 60

KERNEL_NEWS: Final = (
    "netfs: FS-Cache loaded",
    "9pnet: Installing 9P2000 support",
    "9p: Installing v9fs 9p2000 file system support",
)
KERNEL_COMPLAINTS: Final = re.compile(r"9p|netfs|v9fs|WARNING|BUG|Oops|Call Trace|blocked for more")


class RunningServer:
    """A server process, its log, and the findings of its checks."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.log = folder / "log"
        self._findings = folder / "findings"
        self._findings.touch()
        command = [sys.executable, "-m", "tests.kernel.checked_server", str(self._findings)]
        command += ["serve", *_arguments(scenario, folder)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS_MAX
        while b" listening " not in self.log.read_bytes():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        self.rss_at_start_kib = self.rss_kib()

    @property
    def pid(self) -> int:
        return self.process.pid

    def rss_kib(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    def has_given_back(self, all_but_mib: int, seconds_max: int) -> str:
        """Wait until no more than *all_but_mib* are resident beyond those at the start."""
        deadline = time.monotonic() + seconds_max
        while self.rss_kib() > self.rss_at_start_kib + (all_but_mib << 10):
            assert time.monotonic() < deadline, f"{self.rss_kib()} KiB are still resident"
            time.sleep(0.2)
        return f"{self.rss_at_start_kib} KiB at the start, {self.rss_kib()} now"

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self) -> dict[str, object]:
        """What a check finds now; nothing may be on its way to the server."""
        before = self._findings.read_bytes().count(b"\n")
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while self._findings.read_bytes().count(b"\n") == before:
            assert time.monotonic() < deadline, "no check"
            time.sleep(0.05)
        return self.last_finding()

    def last_finding(self) -> dict[str, object]:
        lines = self._findings.read_text().splitlines()
        assert lines, "the server did not get as far as its check"
        finding: dict[str, object] = json.loads(lines[-1])
        return finding

    def stop(self) -> int:
        """Stop it as systemd does; its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def complaints(self) -> list[str]:
        """What it logged at WARNING or above, and what does not look like its log at all."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if not re.match(r"\S+ (INFO|DEBUG) ", line)]


def _arguments(scenario: Scenario, folder: Path) -> list[str]:
    if not scenario.configuration:
        return ["--metrics", "none", "--size", scenario.size, *scenario.arguments]
    path = folder / "ram9.toml"
    path.write_text(scenario.configuration)
    return ["--config", str(path)]


class World:
    """A server that runs, and mounts of it; made and taken down for one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.folder = Path(tempfile.mkdtemp(prefix="ram9-", dir="/run"))
        self.folder.chmod(0o755)
        self._mounted: list[Path] = []
        self._kernel_lines_before = len(kernel_log())
        self.server = RunningServer(self.folder, scenario)

    def mount(self, name: str, options: str = "trans=tcp", source: str = "127.0.0.1") -> Path:
        return self._mount(name, "-t", "9p", "-o", options, source)

    def tmpfs(self, name: str) -> Path:
        return self._mount(name, "-t", "tmpfs", "tmpfs")

    def _mount(self, name: str, *arguments: str) -> Path:
        place = self.folder / name
        place.mkdir()
        run("mount", *arguments, place)
        self._mounted.append(place)
        return place

    def unmount(self, place: Path) -> None:
        run("umount", place)
        self._mounted.remove(place)
        place.rmdir()

    def unmount_all(self) -> None:
        for place in reversed(self._mounted.copy()):
            self.unmount(place)

    def endings(self) -> dict[str, str]:
        """The facts of ENDINGS, each with what is wrong, which is nothing if it is true."""
        found = dict.fromkeys(ENDINGS, "")
        unmounts, stops, logs, kernel, checked = ENDINGS
        for ending, step in (unmounts, self.unmount_all), (stops, self._expect_stop):
            try:
                step()
            except Exception as error:
                found[ending] = str(error) or repr(error)
        found[logs] = "\n".join(
            line
            for line in self.server.complaints()
            if not any(re.search(pattern, line) for pattern in self.scenario.expected_log)
        )
        found[kernel] = "\n".join(self._kernel_complaints())
        found[checked] = self._findings_at_the_end()
        return found

    def _expect_stop(self) -> None:
        status = self.server.stop()
        assert status == 0, f"status {status}; {self.server.log.read_text()[-2000:]}"

    def _kernel_complaints(self) -> list[str]:
        lines = kernel_log()
        expected = (*map(re.escape, KERNEL_NEWS), *self.scenario.expected_kernel_log)
        return [
            line
            for line in lines[min(self._kernel_lines_before, len(lines)) :]
            if KERNEL_COMPLAINTS.search(line)
            and not any(re.search(pattern, line) for pattern in expected)
        ]

    def _findings_at_the_end(self) -> str:
        try:
            finding = self.server.last_finding()
        except AssertionError as error:
            return str(error)
        nothing = ("internal_errors", "connections", "orphans", "locks", "waiting_locks")
        wanted = {"violations": [], **dict.fromkeys(nothing, 0)}
        wrong = {key: finding[key] for key, value in wanted.items() if finding[key] != value}
        return json.dumps(wrong) if wrong else ""


def kernel_log() -> list[str]:
    return run("dmesg").splitlines()
