"""What a scenario is: facts about a mounted server, found out one after another in one boot."""

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

FULL: Final = os.environ.get("RAM9_KERNEL_FULL") == "1"
"""Whether everything is done at the length that a release wants, and not at that of every day."""

ENDINGS: Final = (
    "everything unmounts",
    "the server stops with status 0",
    "the server logs no complaint",
    "the kernel logs no complaint",
    "the check of the file system finds nothing",
)
"""What must be true at the end of each scenario."""

# It gets the World of the run. What it returns is shown with the result: figures.
Function = Callable[..., str | None]


@dataclass(frozen=True)
class Fact:
    name: str
    find_out: Function
    seconds_max: int


@dataclass
class Scenario:
    """The facts of one boot, and what they need.

    *arguments* are those of ``ram9 serve``; a *configuration*, if there is one, stands for them and
    for *size*. *expected_log* are regular expressions of the lines
    at WARNING or above that belong to the scenario. *tools* are the programs that it calls.
    """

    name: str
    size: str = "256MiB"
    arguments: Sequence[str] = ()
    configuration: str = ""
    memory_mib: int = 1024
    tools: Sequence[str] = ()
    expected_log: Sequence[str] = ()
    expected_kernel_log: Sequence[str] = ()
    seconds_max: int = 900
    facts: list[Fact] = field(default_factory=list)

    def fact(self, function: Function, seconds_max: int = 300) -> Function:
        """Let *function*, whose name is a sentence, be the next fact."""
        self.facts.append(Fact(function.__name__.replace("_", " "), function, seconds_max))
        return function

    def names(self) -> list[str]:
        return [*(fact.name for fact in self.facts), *ENDINGS]


def run(*command: object, **options: object) -> str:
    """What *command* prints; AssertionError with all of that if it does not exit with 0."""
    argv = [os.fspath(part) if isinstance(part, os.PathLike) else str(part) for part in command]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options
    )
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(argv)}: status {done.returncode}\n{output[-3000:]}"
    return output
