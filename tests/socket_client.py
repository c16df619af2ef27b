"""A plain blocking client: one socket, messages in and out, no opinion about what is allowed."""

import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Final, Self, TypeVar

from ram9.protocol.codec import CODECS, Message, frame
from ram9.protocol.constants import NOFID, NOTAG, O_RDWR, VERSION_9P2000_L
from ram9.protocol.frames import HEADER
from ram9.protocol.messages import (
    Rattach,
    Rlcreate,
    Rlerror,
    Rlopen,
    Rread,
    Rversion,
    Rwalk,
    Rwrite,
    Tattach,
    Tlcreate,
    Tlopen,
    Tread,
    Tversion,
    Twalk,
    Twrite,
)
from ram9.server.config import Address
from ram9.storage.errors import Errno

PATIENCE_SECONDS: Final = 20.0
"""How long anything may take before a test gives up; nothing waits that long when all is well."""

MSIZE: Final = 1 << 20
READ_BYTES_MAX: Final = MSIZE - 11
WRITE_BYTES_MAX: Final = MSIZE - 23

R = TypeVar("R", bound=Message)


def pattern(count: int, seed: int) -> bytes:
    """Bytes of which every 8 tell where they are, and of which file."""
    return b"".join(struct.pack("<II", seed, at) for at in range(0, count, 8))[:count]


class RefusedError(Exception):
    """The server answered Rlerror."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    """Return when *condition* holds; fail if it does not in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what or condition}"
        time.sleep(0.002)


def version_frame(msize: int = MSIZE) -> bytes:
    return frame(Tversion(msize, VERSION_9P2000_L), NOTAG)


def attach_frame(fid: int = 0, uname: bytes = b"test", aname: bytes = b"") -> bytes:
    return frame(Tattach(fid, NOFID, uname, aname, 0), 0)


class SocketClient:
    """One connection; it times out rather than wait for ever."""

    def __init__(self, address: Address, *, receive_buffer_bytes: int = 0) -> None:
        if address.path:
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
        self.socket.settimeout(PATIENCE_SECONDS)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            self.socket.connect(address.path or (address.host, address.port))
        except BaseException:
            self.socket.close()
            raise
        self._held = bytearray()  # received behind the frames that were taken

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def send_bytes(self, data: bytes | memoryview) -> None:
        self.socket.sendall(data)

    def send(self, message: Message, tag: int = 1) -> None:
        self.socket.sendall(frame(message, tag))

    def send_all(self, messages: Iterable[Message], first_tag: int = 1) -> None:
        """Send *messages* with one call, tagged one after the other."""
        self.socket.sendall(b"".join(frame(each, first_tag + n) for n, each in enumerate(messages)))

    def receive(self) -> tuple[int, Message]:
        """The next reply as (tag, message); ConnectionError if there will be none."""
        size, number, tag = HEADER.unpack(self._take(HEADER.size))
        assert HEADER.size <= size <= MSIZE
        body = self._take(size - HEADER.size)
        return tag, CODECS[number].decode(memoryview(body), 0, len(body))

    def _take(self, count: int) -> bytearray:
        """The next *count* bytes; a large body is received where it is to be."""
        taken, self._held = self._held[:count], self._held[count:]
        done = len(taken)
        taken.extend(bytes(count - done))
        while done < count:
            if count - done >= 65536:
                with memoryview(taken) as view:
                    received = self.socket.recv_into(view[done:])
            else:
                data = self.socket.recv(65536)
                received = len(data)
                taken[done:count] = data[: count - done]
                self._held += data[count - done :]
            if not received:
                raise ConnectionError("closed by the server")
            done = min(count, done + received)
        return taken

    def reply(self, expected: type[R], tag: int = 1) -> R:
        """The next reply, which must have *tag* and be *expected*; RefusedError for Rlerror."""
        found_tag, message = self.receive()
        assert found_tag == tag
        if isinstance(message, Rlerror):
            raise RefusedError(Errno(message.ecode))
        assert isinstance(message, expected), message
        return message

    def ask(self, request: Message, expected: type[R], tag: int = 1) -> R:
        self.send(request, tag)
        return self.reply(expected, tag)

    def refusal(self, request: Message) -> Errno:
        """The errno with which *request* is refused."""
        try:
            answer = self.ask(request, Message)
        except RefusedError as refused:
            return refused.errno
        raise AssertionError(f"{request} was answered with {answer}")

    def is_cut_off(self) -> bool:
        """Whether the server has closed the connection, once what it sent before is read."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except ConnectionError:
            pass
        return True

    # What most tests begin with

    def version(self, msize: int = MSIZE) -> Rversion:
        return self.ask(Tversion(msize, VERSION_9P2000_L), Rversion, NOTAG)

    def attach(self, fid: int = 0, uname: bytes = b"test", aname: bytes = b"") -> Rattach:
        return self.ask(Tattach(fid, NOFID, uname, aname, 0), Rattach)

    def walk(self, fid: int, newfid: int, *names: bytes) -> Rwalk:
        return self.ask(Twalk(fid, newfid, names), Rwalk)

    def create(self, fid: int, name: bytes, flags: int = O_RDWR) -> None:
        """Let *fid* stand for the file *name* of the root, new or not, open for *flags*."""
        self.walk(0, fid)
        self.ask(Tlcreate(fid, name, flags, 0o644, 0), Rlcreate)

    def open(self, fid: int, name: bytes, flags: int = O_RDWR) -> None:
        self.walk(0, fid, name)
        self.ask(Tlopen(fid, flags), Rlopen)

    def write(self, fid: int, offset: int, data: bytes) -> int:
        return self.ask(Twrite(fid, offset, data), Rwrite).count

    def read(self, fid: int, offset: int, count: int) -> bytes:
        return bytes(self.ask(Tread(fid, offset, count), Rread).data)

    def read_all(self, fid: int, count: int) -> bytes:
        """The first *count* bytes of a file, in as many reads as the server makes of it."""
        data = b""
        while len(data) < count:
            piece = self.read(fid, len(data), count - len(data))
            assert piece
            data += piece
        return data
