"""A control group of the test's own that limits memory, as version 1 has them.

    python tests/memory/group.py FOLDER

ends what is in the group FOLDER and removes it, once its standard input ends: so it is gone also
when the test was killed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import pytest

MOUNT = Path("/sys/fs/cgroup/memory")


class Group:
    """A group below our own, with *limit_bytes*."""

    def __init__(self, limit_bytes: int) -> None:
        """Skips the test where there can be no such group."""
        self.folder = MOUNT / own_path().lstrip("/") / f"ram9-test-{os.getpid()}-{time.time_ns()}"
        try:
            self.folder.mkdir()
        except OSError as error:
            pytest.skip(f"{self.folder.parent} takes no group of ours: {error.strerror}")
        janitor = [sys.executable, __file__, str(self.folder)]
        self._janitor = subprocess.Popen(janitor, stdin=subprocess.PIPE, start_new_session=True)
        self._processes: list[subprocess.Popen[str]] = []
        try:
            self._write("memory.limit_in_bytes", str(limit_bytes))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(
        self, command: Sequence[str], stderr: IO[bytes] | None = None
    ) -> subprocess.Popen[str]:
        """Start *command* in the group; its standard output is a pipe."""
        enter = 'echo $$ > "$0" && exec "$@"'
        process = subprocess.Popen(
            ["sh", "-c", enter, str(self.folder / "cgroup.procs"), *command],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self._processes.append(process)
        return process

    def read(self, name: str) -> int:
        return int((self.folder / name).read_text())

    def kills(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        fields = dict(
            line.split() for line in (self.folder / "memory.oom_control").read_text().splitlines()
        )
        assert fields["under_oom"] == "0"
        return int(fields["oom_kill"])

    def close(self) -> None:
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        assert self._janitor.wait(30) == 0, f"{self.folder} is still there"
        for process in self._processes:
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


def own_path() -> str:
    """The group of this process."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return path
    pytest.skip("control groups of version 1 do not limit memory here")


def remove(folder: Path) -> bool:
    """End what is in the group and remove it; whether it is gone."""
    for _ in range(100):
        for process in (folder / "cgroup.procs").read_text().split():
            os.kill(int(process), signal.SIGKILL)
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


if __name__ == "__main__":
    sys.stdin.read()
    sys.exit(not remove(Path(sys.argv[1])))
