"""The edge to those who operate the server: a unix socket that answers questions about it.

A request is one line of JSON, an object with the name of a "command" and what that needs. The
answer is lines of JSON, an object each; the last one has "done", or an "error" that says what to
do. One connection carries one request. The answer is made while it is sent, some lines at a time,
so that one about thousands of clients keeps nobody waiting; who does not read it is closed.

Whoever may connect may look. Only root and the user whom the server runs as may change anything,
whatever the permissions of the socket are made to be.
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from ram9.server.config import USUAL_PLACE, Address, ConfigError
from ram9.server.listening import Listener, peer_of, uid_of
from ram9.server.logs import event

log = logging.getLogger("ram9")

REQUEST_BYTES_MAX: Final = 4096
REQUEST_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 30.0  # for a whole conversation
CLIENTS_MAX: Final = 16
LINES_AT_ONCE: Final = 32  # before others get their turn
ROOT_UID: Final = 0

Line = dict[str, Any]
# It gets the request and who asks; ConfigError is its refusal.
Command = Callable[[Mapping[str, Any], str], Iterable[Line]]


class Control:
    """Answers on *listener* with what *commands* say; *changes* are the names of those that change
    something. *on_bug* is told of exceptions that should not have been."""

    def __init__(
        self,
        listener: Listener,
        commands: Mapping[str, Command],
        changes: frozenset[str],
        on_bug: Callable[[Exception], None],
    ) -> None:
        self.listener = listener
        self._commands = commands
        self._changes = changes
        self._on_bug = on_bug
        self._server: asyncio.AbstractServer | None = None
        self._asking: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_unix_server(
            self._serve, sock=self.listener.socket, limit=REQUEST_BYTES_MAX
        )

    def close(self) -> None:
        """Answer nobody any more, and remove the socket."""
        self.listener.close()
        if self._server is not None:
            self._server.close()
        for writer in self._asking:
            writer.transport.abort()  # what reads or writes it ends then

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._asking.add(writer)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                if len(self._asking) > CLIENTS_MAX:
                    await _send(writer, [_refusal("too many ask at once: try again")])
                else:
                    await self._converse(reader, writer)
        except (TimeoutError, OSError):
            pass  # it does not ask, does not read, or is gone
        finally:
            self._asking.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                line = await reader.readline()
        except ValueError:  # longer than the limit of the reader
            await _send(writer, [_refusal(f"a request has at most {REQUEST_BYTES_MAX} bytes")])
            return
        if not line:
            return
        try:
            peer, uid = _peer(writer)
            await _send(writer, self._answer(line, peer, uid))
        except ConfigError as refusal:
            await _send(writer, [_refusal(str(refusal))])
        except (OSError, TimeoutError):
            raise
        except Exception as error:
            self._on_bug(error)
            await _send(writer, [_refusal("a bug of the server, which its log tells of")])

    def _answer(self, line: bytes, peer: str, uid: int) -> Iterable[Line]:
        """The lines of the answer. Raises ConfigError before the first, or after some."""
        request = _request(line)
        name = request["command"]
        command = self._commands.get(name)
        if command is None:
            raise ConfigError(f"there is no command {name!r}: this server may be an older one")
        if name in self._changes and uid not in (ROOT_UID, os.geteuid()):
            event(log, logging.WARNING, "change refused", peer=peer, command=name)
            raise ConfigError(
                f"only root and the user whom the server runs as (uid {os.geteuid()}) may {name}"
            )
        yield from command(request, peer)
        yield {"done": True}


def control_paths(environment: Mapping[str, str], uid: int) -> list[str]:
    """The usual places of the socket, the first one first.

    systemd names a folder for a service; else it is that of root, or of the user.
    """
    folders = [it for it in environment.get("RUNTIME_DIRECTORY", "").split(":") if it]
    if uid and (own := environment.get("XDG_RUNTIME_DIR")):
        folders.append(f"{own}/ram9")
    return [f"{folder}/control" for folder in [*folders, "/run/ram9"]]


def open_listener(address: Address | None) -> Listener | None:
    """A socket at *address*; None for nowhere, and where the usual place is not to be had.

    Raises ConfigError for any other place that is not.
    """
    if address is None:
        return None
    if address != USUAL_PLACE:
        listener = Listener(address)
    else:
        path = control_paths(os.environ, os.geteuid())[0]
        try:
            with suppress(OSError):
                os.mkdir(os.path.dirname(path), 0o755)
            listener = Listener(Address(path=path))
        except ConfigError as error:  # another server may have it
            event(log, logging.INFO, "no control", reason=error)
            return None
    event(log, logging.INFO, "control", address=listener.address)
    return listener


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise ConfigError("a request is a line with a JSON object that names a command")
    return request


def _refusal(sentence: str) -> Line:
    return {"error": sentence}


async def _send(writer: asyncio.StreamWriter, lines: Iterable[Line]) -> None:
    """Send *lines* as they are made, as fast as they are read."""
    for number, line in enumerate(lines, 1):
        writer.write(json.dumps(line).encode() + b"\n")
        await writer.drain()
        if not number % LINES_AT_ONCE:
            await asyncio.sleep(0)
    await writer.drain()


def _peer(writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Who asks, for the log, and as which user."""
    number = os.dup(writer.get_extra_info("socket").fileno())
    with socket.socket(fileno=number) as client:
        return peer_of(client), uid_of(client)
