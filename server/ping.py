"""Asks a server for its version and says what came back: the whole of a health check."""

import socket
import sys
import time
from typing import Final

from ram9.protocol.codec import frame
from ram9.protocol.constants import NOTAG, VERSION_9P2000_L
from ram9.protocol.errors import ProtocolError
from ram9.protocol.messages import Rversion, Tversion
from ram9.protocol.wire import HEADER
from ram9.server.config import Address
from ram9.server.logs import printable

MSIZE: Final = 8192

TIMEOUT_SECONDS: Final = 3.0
"""For the whole conversation; less than the patience of the health checks in deploy/."""


class PingError(Exception):
    """The server does not answer as it should; the text says what it did, after its address."""


def ping(address: Address, timeout_seconds: float = TIMEOUT_SECONDS) -> int:
    """The exit status: 0 if the server at *address* answers 9P2000.L, which stdout then says.

    Otherwise 1, and stderr has one sentence about it.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        with _connected(address, timeout_seconds) as connection:
            answer = ask_version(connection, deadline)
    except TimeoutError:
        sys.stderr.write(f"ram9: {address} does not answer within {timeout_seconds:g} seconds\n")
    except OSError as error:
        sys.stderr.write(f"ram9: {address} does not answer: {error.strerror or error}\n")
    except PingError as error:
        sys.stderr.write(f"ram9: {address} {error}\n")
    else:
        sys.stdout.write(f"{address} answers {printable(answer.version)}, msize {answer.msize}\n")
        return 0
    return 1


def ask_version(connection: socket.socket, deadline: float) -> Rversion:
    """What the other end of *connection* answers to our version.

    Raises PingError if that is not 9P2000.L, TimeoutError if *deadline* passes, which is a time of
    the monotonic clock in seconds, and another OSError if the connection breaks.
    """
    connection.settimeout(_remaining(deadline))
    connection.sendall(frame(Tversion(msize=MSIZE, version=VERSION_9P2000_L), NOTAG))
    size, number, tag = HEADER.unpack(_receive(connection, HEADER.size, deadline))
    if number != Rversion.number or tag != NOTAG or not HEADER.size <= size <= MSIZE:
        raise PingError("answers, but not as a 9P server does")
    body = _receive(connection, size - HEADER.size, deadline)
    try:
        answer = Rversion.codec.decode(memoryview(body), 0, len(body))
    except ProtocolError as error:
        raise PingError(f"answers, but not as a 9P server does: {error}") from error
    assert isinstance(answer, Rversion)
    if answer.version != VERSION_9P2000_L:
        raise PingError(
            f"answers {printable(answer.version)} and not {printable(VERSION_9P2000_L)}"
        )
    return answer


def _connected(address: Address, timeout_seconds: float) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host, address.port), timeout_seconds)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(address.path)
    except BaseException:
        connection.close()
        raise
    return connection


def _receive(connection: socket.socket, size_bytes: int, deadline: float) -> bytes:
    """Exactly *size_bytes*, however many pieces they come in."""
    received = bytearray()
    while len(received) < size_bytes:
        connection.settimeout(_remaining(deadline))
        piece = connection.recv(size_bytes - len(received))
        if not piece:
            raise PingError("closes the connection without an answer")
        received += piece
    return bytes(received)


def _remaining(deadline: float) -> float:
    """The seconds until *deadline*; TimeoutError once it is over, as recv() would have it."""
    remaining_seconds = deadline - time.monotonic()
    if remaining_seconds <= 0:
        raise TimeoutError
    return remaining_seconds
