"""Requests in, replies out, for one client: bytes without a socket."""

from collections.abc import Callable
from typing import Final

from ram9.protocol.codec import Message
from ram9.protocol.constants import HEADER_BYTES, WRITE_OVERHEAD_BYTES
from ram9.protocol.errors import ProtocolError
from ram9.protocol.frames import HEADER, frame_end
from ram9.protocol.messages import Rlerror, Tattach, Tread, Tversion, Twrite
from ram9.protocol.partial import write_head
from ram9.server import enforcement, read_only
from ram9.server.counters import Counters
from ram9.server.dispatch import Row, rows
from ram9.server.operations import attributes, directories, links, locks, version, walk, xattrs
from ram9.server.operations.files import LandingWrite, land_write
from ram9.server.pieces import Piece
from ram9.server.session import Session
from ram9.storage.errors import Errno, FileSystemError

# A frame of this size or more that is not all there gets a place of its own to arrive in.
# Of smaller ones several are received at once and copied: that costs less than calls for each.
LARGE_FRAME_BYTES: Final = 128 << 10
# Replies are sent once they come to this, or answer so many requests.
BATCH_BYTES_MAX: Final = 256 << 10
BATCH_REQUESTS_MAX: Final = 64

TREAD: Final = Tread.number
TWRITE: Final = Twrite.number
BEGINNINGS: Final = frozenset((Tversion.number, Tattach.number))
UNVERSIONED: Final = rows(versioned=False)
VERSIONED: Final = rows(versioned=True)
GUARDED: Final = rows(versioned=True, guarded=True)
PROTECTED: Final = rows(versioned=True, guarded=True, protected=True)

# The families of operations that are imported only so that they register.
FAMILIES: Final = (
    attributes,
    directories,
    enforcement,
    links,
    locks,
    read_only,
    version,
    walk,
    xattrs,
)

_unpack_header: Final = HEADER.unpack_from


def _rows(session: Session) -> list[Row]:
    """Who answers the requests of a session as it is now."""
    if not session.versioned:
        return UNVERSIONED
    if session.protected:
        return PROTECTED
    return GUARDED if session.guarded else VERSIONED


class Arrival:
    """A large frame that is still arriving: ``views`` are where its missing bytes go, in order.

    It is either a write that lands in the sectors where it will live, or any frame in a buffer.
    """

    __slots__ = ("frame", "tag", "views", "write")

    def __init__(
        self,
        tag: int,
        views: list[memoryview],
        frame: memoryview | None = None,
        write: LandingWrite | None = None,
    ) -> None:
        self.tag = tag
        self.views = views
        self.frame = frame
        self.write = write

    def fill(self, data: memoryview) -> None:
        """Put bytes that are there already into their places."""
        while data:
            count = min(len(data), len(self.views[0]))
            self.views[0][:count] = data[:count]
            self.arrived(count)
            data = data[count:]

    def arrived(self, count: int) -> bool:
        """Note that *count* bytes were put into the first view; True when that was the last."""
        view = self.views[0]
        if count < len(view):
            self.views[0] = view[count:]
            return False
        del self.views[0]
        return not self.views


class Connection:
    """The frames of one client and their answers; each call is one step of the transport's loop.

    *batch_bytes_max* bounds the replies of one step: what a client can make us hold that does not
    read them. A step also ends soon after *clock_ns* has passed ``turn_ends_ns``.
    """

    __slots__ = (
        "_clock_ns",
        "_counters",
        "arrival",
        "batch_bytes_max",
        "session",
        "turn_ends_ns",
    )

    def __init__(self, session: Session, clock_ns: Callable[[], int] = lambda: 0) -> None:
        self.session = session
        self._clock_ns = clock_ns
        self.turn_ends_ns = 0
        self.arrival: Arrival | None = None
        self.batch_bytes_max = BATCH_BYTES_MAX
        self._counters: Counters = session.counters

    def answer(self, view: memoryview, start: int, end: int, replies: list[Piece]) -> int:
        """Answer the whole frames in view[start:end]; return where the unanswered bytes begin.

        Stops early when *replies* are many, or have views of a file's sectors, which are good only
        until a request is answered that is not to read: they are to be sent first. Also stops at
        bytes that are no frame, which is for ``expects`` to say.
        """
        session = self.session
        requests = self._counters.requests
        room_bytes = self.batch_bytes_max
        is_lent = False
        msize, rows = session.msize, _rows(session)
        for number in range(BATCH_REQUESTS_MAX):
            if end - start < HEADER_BYTES:
                break
            if number & 7 == 7 and self._clock_ns() > self.turn_ends_ns:
                break
            size, kind, tag = _unpack_header(view, start)
            stop = start + size
            if stop > end or size < HEADER_BYTES or size > msize:
                break
            if is_lent and kind != TREAD:
                break
            requests[kind] += 1
            decode, handler = rows[kind]
            data: Piece | None = None
            try:
                request = decode(view, start + HEADER_BYTES, stop)
            except ProtocolError:
                head = self._malformed(kind).encode(tag)
            else:
                try:
                    reply = handler(session, request)
                    head = reply.encode(tag)
                    if reply.has_data:
                        data = reply.data
                except FileSystemError as refusal:
                    self._counters.errors[kind, refusal.errno] += 1
                    head = Rlerror(refusal.errno).encode(tag)
                except Exception as error:
                    head = self._failure(kind, error).encode(tag)
            start = stop
            replies.append(head)
            room_bytes -= len(head)
            if data is not None:
                replies.append(data)
                room_bytes -= len(data)
                is_lent = is_lent or type(data) is memoryview
            # The limits that hold for the next frame may be others, and who answers it.
            if room_bytes <= 0 or kind in BEGINNINGS:
                break
        return start

    def expects(self, view: memoryview, start: int, end: int) -> int:
        """The size of the incomplete frame that view[start:end] begins; 0 if it is not known yet.

        ProtocolError if that is no size that a frame can have.
        """
        if frame_end(view, start, end, self.session.msize):
            return 0  # it is complete: the replies before it are to be sent first
        if end - start < HEADER_BYTES:
            return 0
        size: int = _unpack_header(view, start)[0]
        return size

    def begin_arrival(
        self, view: memoryview, start: int, end: int, buffer: bytearray | None
    ) -> Arrival | None:
        """Prepare to receive the rest of a large frame, of which view[start:end] is there.

        None if it cannot land in its file and *buffer* is None; *buffer* is used otherwise.
        """
        size, kind, tag = _unpack_header(view, start)
        arrival = None
        have = view[start:end]
        if kind == TWRITE and end - start >= WRITE_OVERHEAD_BYTES:
            arrival = self._land(view, start, size, tag)
            have = have[WRITE_OVERHEAD_BYTES:]
        if arrival is None:
            if buffer is None:
                return None
            frame = memoryview(buffer)[:size]
            arrival = Arrival(tag, [frame], frame=frame)
            have = view[start:end]
        arrival.fill(have)
        self.arrival = arrival
        return arrival

    def finish_arrival(self, replies: list[Piece]) -> None:
        """Answer the frame whose last byte has arrived."""
        arrival = self.arrival
        assert arrival is not None
        self.arrival = None
        if arrival.frame is not None:
            self.answer(arrival.frame, 0, len(arrival.frame), replies)
            return
        assert arrival.write is not None
        self._counters.requests[TWRITE] += 1
        reply: Message
        try:
            reply = arrival.write.finish()
        except FileSystemError as refusal:
            self._counters.errors[TWRITE, refusal.errno] += 1
            reply = Rlerror(refusal.errno)
        except Exception as error:
            arrival.write.landing.abort()
            reply = self._failure(TWRITE, error)
        replies.append(reply.encode(arrival.tag))

    def close(self) -> None:
        """The client is gone: a write that did not arrive never was, and nothing is held."""
        self.let_go()
        self.session.close()

    def let_go(self) -> None:
        """As close, but that the session's fids are left."""
        if self.arrival is not None and self.arrival.write is not None:
            self.arrival.write.landing.abort()
        self.arrival = None
        self.session.let_go()

    def _land(self, view: memoryview, start: int, size: int, tag: int) -> Arrival | None:
        """An arrival straight into the file's sectors, if this write can have one."""
        count = size - WRITE_OVERHEAD_BYTES
        fid, offset, announced = write_head(view, start + HEADER_BYTES)
        if announced != count or not self.session.versioned:
            return None
        write = land_write(self.session, fid, offset, count)
        if write is None:
            return None
        # A list of its own: the landing still needs all of them.
        return Arrival(tag, list(write.landing.views), write=write)

    def _malformed(self, kind: int) -> Rlerror:
        """What a request gets whose body is not what its type says: the frames are still whole."""
        self._counters.protocol_errors["malformed message"] += 1
        self._counters.errors[kind, Errno.EINVAL] += 1
        return Rlerror(Errno.EINVAL)

    def _failure(self, kind: int, error: Exception) -> Rlerror:
        """What a request gets that met a bug of ours."""
        self._counters.internal_errors += 1
        self._counters.errors[kind, Errno.EIO] += 1
        if self.session.on_bug is not None:
            self.session.on_bug(error)
        return Rlerror(Errno.EIO)
