"""Asks a server that runs here, over its control socket: ``ram9 status``, ``ram9 resize``.

The exit status is 0 if it was done, 1 if the server does not answer or refuses, with one sentence
about it on stderr.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from ram9.server.config import Address
from ram9.server.control import control_paths
from ram9.server.tables import resize_text, status_text

TIMEOUT_SECONDS: Final = 30.0  # for the whole answer
LINE_BYTES_MAX: Final = 1 << 20

Line = dict[str, Any]


class AskError(Exception):
    """There is no answer; the text is one sentence that says what to do."""


def status(address: Address | None, *, is_json: bool) -> int:
    """Print how the server is: a table, or one JSON object."""
    try:
        lines = list(ask(address, {"command": "status"}))
    except AskError as error:
        return _complain(error)
    told = {
        "server": next(line for line in lines if line["kind"] == "server"),
        "volumes": [line for line in lines if line["kind"] == "volume"],
        "clients": [line for line in lines if line["kind"] == "client"],
    }
    sys.stdout.write(
        json.dumps(told, indent=2) + "\n" if is_json else status_text(told, time.time())
    )
    return 0


def resize(address: Address | None, volume: str, size: str, inodes: str | None) -> int:
    """Have a volume hold more or less, and print what it holds now."""
    request = {"command": "resize", "volume": volume, "size": size, "inodes": inodes}
    try:
        (line,) = ask(address, request)
    except AskError as error:
        return _complain(error)
    sys.stdout.write(resize_text(line))
    return 0


def ask(address: Address | None, request: Line) -> Iterator[Line]:
    """The lines of the answer. Raises AskError."""
    path = _path(address)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            yield from _lines(connection, deadline)
    except TimeoutError as error:
        raise AskError(f"{path} does not answer within {TIMEOUT_SECONDS:g} seconds") from error
    except FileNotFoundError as error:
        raise AskError(f"{path} is not there: {_HINT}") from error
    except PermissionError as error:
        raise AskError(
            f"{path} may be asked by root and by the user whom the server runs as: use sudo"
        ) from error
    except ConnectionRefusedError as error:
        raise AskError(f"nobody answers at {path}: the server has ended; start it again") from error
    except OSError as error:
        raise AskError(f"{path} does not answer: {error.strerror or error}") from error


_HINT: Final = (
    "no server runs, or it was told another place; give that with --control unix:/PATH "
    "(its log has a line 'control')"
)


def _lines(connection: socket.socket, deadline: float) -> Iterator[Line]:
    """What comes, line by line, until one says that it is the last."""
    rest = b""
    while True:
        *whole, rest = rest.split(b"\n")
        for text in whole:
            line = _parsed(text)
            if "error" in line:
                raise AskError(str(line["error"]))
            if line.get("done"):
                return
            yield line
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        data = connection.recv(1 << 16)
        if not data or len(rest) > LINE_BYTES_MAX:
            raise AskError("the answer is not whole: the server has ended, or is another program")
        rest += data


def _parsed(text: bytes) -> Line:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise AskError("what answers is no ram9 server, or of another version")
    return line


def _path(address: Address | None) -> str:
    if address is not None:
        return address.path
    paths = control_paths(os.environ, os.geteuid())
    return next((path for path in paths if os.path.exists(path)), paths[0])


def _complain(error: AskError) -> int:
    sys.stderr.write(f"ram9: {error}\n")
    return 1
