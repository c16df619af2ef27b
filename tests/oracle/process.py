"""A process that makes calls for another one, as its own user, below a directory of its own.

python -m tests.oracle.process DESCRIPTOR TOP UID GID[,GROUP...]
"""

import os
import sys
import traceback
from multiprocessing.connection import Connection

from tests.oracle.calls import BrokenProcessError, Call, Outcome
from tests.oracle.posix import Posix


def answer(process: Posix, call: Call | None) -> Outcome | None:
    """What a call gives; of no call, everything is closed."""
    if call is not None:
        return process.perform(call)
    process.reset()
    return None


def main(descriptor: str, top: str, uid: str, groups: str) -> int:
    connection = Connection(int(descriptor))
    os.chroot(top)
    os.chdir("/")
    numbers = [int(group) for group in groups.split(",")]
    os.setgroups(numbers[1:])
    os.setresgid(numbers[0], numbers[0], numbers[0])
    os.setresuid(int(uid), int(uid), int(uid))
    process = Posix("/")
    connection.send("ready")
    while True:
        try:
            call = connection.recv()
        except EOFError:
            return 0
        try:
            connection.send(answer(process, call))
        except Exception:
            connection.send(BrokenProcessError(traceback.format_exc()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
