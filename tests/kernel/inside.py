"""Finds out the facts of one scenario, as root under a kernel that has v9fs.

    python -m tests.kernel.inside SCENARIO

Each result is one line: a marker and then JSON. The rest of the output is for people.
"""

import importlib
import json
import signal
import sys
import time
import traceback
from types import FrameType
from typing import Final

from tests.kernel.scenario import Scenario
from tests.kernel.world import World

MARKER: Final = "RAM9-FACT "


def report(name: str, wrong: str, figures: str = "", seconds: float = 0.0) -> None:
    result = {"fact": name, "wrong": wrong, "figures": figures, "seconds": round(seconds, 1)}
    sys.stdout.write(MARKER + json.dumps(result) + "\n")
    sys.stdout.flush()


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError("the fact takes too long")


def main(name: str) -> int:
    scenario: Scenario = importlib.import_module(f"tests.kernel.scenarios.{name}").scenario
    signal.signal(signal.SIGALRM, _too_long)
    world = World(scenario)
    for fact in scenario.facts:
        start = time.monotonic()
        wrong, figures = "", None
        signal.alarm(fact.seconds_max)
        try:
            figures = fact.find_out(world)
        except Exception:
            wrong = traceback.format_exc()
        finally:
            signal.alarm(0)
        report(fact.name, wrong, figures or "", time.monotonic() - start)
    for ending, wrong in world.endings().items():
        report(ending, wrong)
    sys.stdout.write("".join(f"log: {line}\n" for line in world.server.complaints()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
