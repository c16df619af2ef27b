"""A process that makes calls for another one, as its own user, below a directory of its own.

python -m tests.oracle.process DESCRIPTOR TOP UID GID[,GROUP...]
"""

import os
import sys
from multiprocessing.connection import Connection

from tests.oracle.posix import Posix


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
        if call is None:
            process.reset()
            connection.send(None)
        else:
            connection.send(process.perform(call))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
