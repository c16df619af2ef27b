"""A plain blocking client that prepares what is to be measured, and checks that answers are right.

It takes every reply apart with the project's own codec, so it is slow; `load.py` is what measures.
"""

import socket
import struct
from errno import EOPNOTSUPP, errorcode
from typing import Final, Self, TypeVar

from ram9.protocol.codec import CODECS, Message, frame
from ram9.protocol.constants import NOFID, NOTAG, O_RDWR, VERSION_9P2000_L, XATTR_REPLACE
from ram9.protocol.frames import HEADER
from ram9.protocol.messages import (
    Rattach,
    Rclunk,
    Rlcreate,
    Rlerror,
    Rlopen,
    Rmkdir,
    Rread,
    Rremove,
    Rrenameat,
    Rstatfs,
    Runlinkat,
    Rversion,
    Rwalk,
    Rwrite,
    Rxattrcreate,
    Tattach,
    Tclunk,
    Tlcreate,
    Tlopen,
    Tmkdir,
    Tread,
    Tremove,
    Trenameat,
    Tstatfs,
    Tunlinkat,
    Tversion,
    Twalk,
    Twrite,
    Txattrcreate,
)
from ram9.server.config import Address

PATIENCE_SECONDS: Final = 60
ROOT: Final = 0  # the fid that every client attaches first
MSIZE: Final = 1 << 20
IO_HEADER_BYTES: Final = 24  # P9_IOHDRSZ, what Linux takes off the msize for a read or a write
PAGE_BYTES: Final = 4096

R = TypeVar("R", bound=Message)


class RefusedError(Exception):
    """The server answered Rlerror with the error number *ecode*."""

    def __init__(self, request: str, ecode: int) -> None:
        self.ecode = ecode
        super().__init__(f"{request} was refused with {errorcode.get(ecode, ecode)}")


class Client:
    """One connection that has attached the root as fid 0."""

    def __init__(self, address: Address, aname: str = "", msize: int = MSIZE) -> None:
        self.socket = dial(address)
        self.msize = MSIZE
        try:
            self.msize = self.ask(Tversion(msize, VERSION_9P2000_L), Rversion, NOTAG).msize
            self.ask(Tattach(ROOT, NOFID, b"root", aname.encode(), 0), Rattach)
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def payload_max(self, wanted_bytes: int) -> int:
        """*wanted_bytes*, or the whole pages that one message of this server has room for."""
        room_bytes = self.msize - IO_HEADER_BYTES
        return wanted_bytes if wanted_bytes <= room_bytes else room_bytes // PAGE_BYTES * PAGE_BYTES

    def send(self, message: Message, tag: int = 1) -> None:
        self.socket.sendall(frame(message, tag))

    def receive(self) -> tuple[int, Message]:
        """The next reply as (tag, message)."""
        size, number, tag = HEADER.unpack(self._take(HEADER.size))
        if not HEADER.size <= size <= self.msize or number not in CODECS:
            raise ConnectionError(f"a reply of {size} bytes and type {number}")
        body = self._take(size - HEADER.size)
        return tag, CODECS[number].decode(memoryview(body), 0, len(body))

    def _take(self, count: int) -> bytearray:
        taken = bytearray(count)
        view = memoryview(taken)
        while view:
            received = self.socket.recv_into(view)
            if not received:
                raise ConnectionError("closed by the server")
            view = view[received:]
        return taken

    def ask(self, request: Message, expected: type[R], tag: int = 1) -> R:
        """The reply to *request*; RefusedError if it is Rlerror."""
        self.send(request, tag)
        found, reply = self.receive()
        if isinstance(reply, Rlerror):
            raise RefusedError(type(request).__name__, reply.ecode)
        if found != tag or not isinstance(reply, expected):
            raise ConnectionError(f"{type(request).__name__} was answered with {reply}")
        return reply

    # What preparations consist of

    def walk(self, fid: int, newfid: int, *names: bytes) -> None:
        self.ask(Twalk(fid, newfid, names), Rwalk)

    def clunk(self, fid: int) -> None:
        self.ask(Tclunk(fid), Rclunk)

    def create(self, fid: int, name: bytes, directory: int = ROOT) -> None:
        """Let *fid* stand for the new file *name*, open for reading and writing."""
        self.walk(directory, fid)
        self.ask(Tlcreate(fid, name, O_RDWR, 0o644, 0), Rlcreate)

    def open(self, fid: int, name: bytes, flags: int = O_RDWR) -> None:
        self.walk(ROOT, fid, name)
        self.ask(Tlopen(fid, flags), Rlopen)

    def make_directory(self, fid: int, name: bytes, parent: int = ROOT) -> None:
        """Make the directory *name* and let *fid* stand for it."""
        self.ask(Tmkdir(parent, name, 0o755, 0), Rmkdir)
        self.walk(parent, fid, name)

    def remove(self, fid: int) -> None:
        self.ask(Tremove(fid), Rremove)

    def has_unlinkat(self) -> bool:
        """Whether the server knows Tunlinkat; where it does not, Linux walks and sends Tremove."""
        try:
            self.unlink(ROOT, b"bench-nothing")
        except RefusedError as refusal:
            return refusal.ecode != EOPNOTSUPP
        return True

    def unlink(self, directory: int, name: bytes, flags: int = 0) -> None:
        self.ask(Tunlinkat(directory, name, flags), Runlinkat)

    def remove_name(self, fid: int, name: bytes, directory: int = ROOT) -> None:
        """Remove a file or an empty directory, by way of *fid*."""
        self.walk(directory, fid, name)
        self.remove(fid)

    def write(self, fid: int, offset: int, data: bytes | memoryview) -> None:
        reply = self.ask(Twrite(fid, offset, data), Rwrite)
        if reply.count != len(data):
            raise ConnectionError(f"{reply.count} of {len(data)} bytes were written")

    def read(self, fid: int, offset: int, count: int) -> bytes:
        return bytes(self.ask(Tread(fid, offset, count), Rread).data)

    def rename(self, name: bytes, new_name: bytes, directory: int = ROOT) -> None:
        self.ask(Trenameat(directory, name, directory, new_name), Rrenameat)

    def set_attribute(self, fid: int, name: bytes, attribute: bytes, value: bytes) -> None:
        """Give a file of the root an extended attribute, by way of *fid*."""
        self._attribute(fid, name, Txattrcreate(fid, attribute, len(value), 0), value)

    def remove_attribute(self, fid: int, name: bytes, attribute: bytes) -> None:
        """Remove one, as Linux does: by an empty value in its place."""
        self._attribute(fid, name, Txattrcreate(fid, attribute, 0, XATTR_REPLACE), b"")

    def _attribute(self, fid: int, name: bytes, request: Txattrcreate, value: bytes) -> None:
        self.walk(ROOT, fid, name)
        self.ask(request, Rxattrcreate)
        if value:
            self.write(fid, 0, value)
        self.clunk(fid)

    def statfs(self) -> Rstatfs:
        return self.ask(Tstatfs(ROOT), Rstatfs)

    def fill(self, fid: int, size_bytes: int) -> None:
        """Write pattern() into the first *size_bytes* of an open file."""
        step = self.payload_max(MSIZE)
        for offset in range(0, size_bytes, step):
            self.write(fid, offset, pattern(offset, min(step, size_bytes - offset)))


def dial(address: Address) -> socket.socket:
    """A connected socket that sends at once and gives up after a minute.

    The kernel is asked to give up: a timeout of Python's own costs one more call for each other.
    """
    family = socket.AF_UNIX if address.path else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    for option in socket.SO_RCVTIMEO, socket.SO_SNDTIMEO:
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", PATIENCE_SECONDS, 0))
    try:
        connection.connect(address.path or (address.host, address.port))
        if not address.path:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


_PATTERN_BYTES: Final = 1 << 20
_PATTERN: Final = struct.pack(f"<{_PATTERN_BYTES // 4}I", *range(_PATTERN_BYTES // 4)) * 3


def pattern(offset: int, count: int) -> memoryview:
    """What the bytes [offset, offset + count) of a file that was filled are; at most 2 MiB.

    Every four tell where they are, modulo 1 MiB.
    """
    start = offset % _PATTERN_BYTES
    return memoryview(_PATTERN)[start : start + count]
