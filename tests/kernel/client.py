"""The least 9P client that can make many files fast: requests go out many at a time."""

import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from ram9.protocol.codec import CODECS, Message, frame
from ram9.protocol.constants import NOFID
from ram9.protocol.messages import Rlerror, Tattach, Tclunk, Tlcreate, Tversion, Twalk

FILES_AT_A_TIME: Final = 200


class Client:
    """One connection, attached as root; fid 0 is the root directory."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._socket = socket.create_connection(server)
        self._file = self._socket.makefile("rb")
        self.ask([Tversion(65536, b"9P2000.L")])
        self.ask([Tattach(0, NOFID, b"root", b"", 0)])

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send what gets no answer, or one that nobody waits for."""
        self._socket.sendall(data)

    def ask(self, requests: Sequence[Message]) -> list[Message]:
        """The replies to all requests, which are sent at once; AssertionError for a refusal."""
        self._socket.sendall(b"".join(frame(each, tag) for tag, each in enumerate(requests)))
        replies = [self._reply() for _ in requests]
        refusals = [reply for reply in replies if isinstance(reply, Rlerror)]
        assert not refusals, refusals[0]
        return replies

    def _reply(self) -> Message:
        size, number, _ = struct.unpack("<IBH", self._file.read(7))
        body = memoryview(self._file.read(size - 7))
        return CODECS[number].decode(body, 0, len(body))

    def create(self, folder: bytes, names: Iterable[bytes]) -> None:
        """Make empty files in a directory of the root."""
        self.ask([Twalk(0, 1, (folder,))])
        waiting: list[Message] = []
        for number, name in enumerate(names):
            fid = 2 + number % FILES_AT_A_TIME
            waiting += [Twalk(1, fid, ()), Tlcreate(fid, name, 1, 0o100644, 0), Tclunk(fid)]
            if len(waiting) == 3 * FILES_AT_A_TIME:
                self.ask(waiting)
                waiting.clear()
        self.ask([*waiting, Tclunk(1)])
