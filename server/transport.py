"""The edge to one client: moves bytes between its socket and its connection.

It uses the socket itself, in a loop that says when there is something to do, for two reasons.
What one call receives goes where we choose: into a buffer that all connections share, or straight
into a file's sectors. And what one call sends is known to be sent: so bytes of the arena need no
copy, except where the kernel has no room for them.
"""

import errno
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ram9.protocol.constants import MSIZE_MAX, WRITE_OVERHEAD_BYTES
from ram9.protocol.errors import ProtocolError
from ram9.server.connection import BATCH_BYTES_MAX, LARGE_FRAME_BYTES, Connection
from ram9.server.hub import RECEIVE_BYTES, SCARCE_BATCH_BYTES, SCARCE_RECEIVE_BYTES, Hub
from ram9.server.lingering import LINGER_NS, LINGER_REQUESTS_MAX, Lingering, has_more
from ram9.server.pieces import Piece, behind, joined
from ram9.server.session import Session, keep

IOV_MAX: Final = 1024  # limits.h: pieces of one sendmsg
FEW_PIECES: Final = 2  # a reply and its data

# A frame that began must end within this time: 1 MiB at 9 KB/s. So must the first Tversion.
FRAME_SECONDS_MAX: Final = 120.0

# While memory for clients is short: who was given some for a frame must use it within the first,
# and who does not read the replies that it asked for must go on within the second.
SCARCE_FRAME_SECONDS_MAX: Final = 5.0
SCARCE_UNREAD_SECONDS_MAX: Final = 30.0

FIDS_AT_ONCE_MAX: Final = 4096  # clunked before others get their turn

# So long requests of one client are answered in a row; then others get their turn.
TURN_NS: Final = 500_000


class ClientTransport:
    """One client's socket.

    Reading stops while replies wait to be sent, so that a client that does not read is not read
    from, and what it can make us hold is bounded.
    """

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_begun",
        "_connection",
        "_counters",
        "_frame_buffer",
        "_hub",
        "_is_frugal",
        "_is_streaming",
        "_lingering",
        "_on_close",
        "_paused",
        "_rest",
        "_sent_at",
        "_session",
        "_socket",
        "is_closed",
        "peer",
    )

    def __init__(
        self,
        hub: Hub,
        sock: socket.socket,
        session: Session,
        peer: str,
        on_close: Callable[["ClientTransport", str], None],
    ) -> None:
        self._hub = hub
        self._socket = sock
        self._session = session
        self._connection = Connection(session, time.perf_counter_ns)
        self._counters = session.counters
        self._on_close = on_close
        self.peer = peer
        self.is_closed = False
        self._rest = b""  # received and not yet answered
        self._backlog: deque[Piece] = deque()  # answered and not yet sent
        self._backlog_bytes = 0
        self._frame_buffer: bytearray | None = None  # where the arriving frame goes, if not a file
        self._begun = time.monotonic()  # when the frame that is arriving began; 0.0: there is none
        self._sent_at = 0.0  # when the backlog last became shorter
        self._paused = False
        self._is_frugal = False
        self._is_streaming = False  # the last frame was a large one: the next may be, too
        self._lingering = Lingering()
        session.on_late = self._answer_late
        hub.transports[self] = None
        hub.loop.add_reader(sock, self._readable)

    def close(self, reason: str) -> None:
        """Close the socket and forget the client; *reason* is for the log."""
        if self.is_closed:
            return
        self.is_closed = True
        hub = self._hub
        hub.loop.remove_reader(self._socket)
        hub.loop.remove_writer(self._socket)
        hub.transports.pop(self, None)
        if hub.last_served is self:
            hub.last_served = None
        hub.lenders.pop(self._copy_backlog, None)
        self._socket.close()
        self._backlog.clear()
        held_bytes = self._backlog_bytes + len(self._rest)
        self._connection.let_go()
        self._forget()
        self._session.on_late = keep  # or the two would hold each other for ever
        held_bytes += self._drop_frame_buffer()
        self._rest, self._backlog_bytes = b"", 0
        hub.waiting.pop(self, None)
        self._on_close(self, reason)
        hub.release(held_bytes)

    def _forget(self) -> None:
        """Clunk the fids of a client that is gone, so many at a time: it may have had a million."""
        if not self._session.forget(FIDS_AT_ONCE_MAX):
            self._hub.loop.call_soon(self._forget)

    def shrink(self) -> None:
        """Make tables smaller of which little is used."""
        self._session.shrink()

    def close_if_late(self) -> None:
        """Close if what is arriving or being sent takes too long, or no version was ever sent.

        How long is too long depends on whether others need the memory that it holds.
        """
        now = time.monotonic()
        is_awaited = self._hub.is_scarce or bool(self._hub.waiting)
        if is_awaited and self._backlog and now - self._sent_at > SCARCE_UNREAD_SECONDS_MAX:
            self._counters.protocol_errors["unread replies"] += 1
            self.close(f"replies were not read for {SCARCE_UNREAD_SECONDS_MAX:.0f} s")
        if self._begun and not self._paused:
            # A peer that goes with a reply unread is an error to libuv, which tells us of it once:
            # the bytes that were before it are received then, and its end never is.
            self._readable()
        if self.is_closed:
            return
        is_short = is_awaited and self._frame_buffer is not None
        seconds_max = SCARCE_FRAME_SECONDS_MAX if is_short else FRAME_SECONDS_MAX
        if self._begun and now - self._begun > seconds_max and not self._paused:
            self._counters.protocol_errors["late frame"] += 1
            self.close(f"a request took more than {seconds_max:.0f} s to arrive")

    def drain(self) -> bool:
        """Answer more of what has arrived; True once that is all, and every reply on its way."""
        before = self._counters.received_bytes
        if not self.is_closed and not self._paused:
            self._readable()
        if self.is_closed:
            return True
        is_quiet = before == self._counters.received_bytes and not self._paused
        return is_quiet and not self._rest and self._connection.arrival is None

    def resume(self) -> None:
        """Go on with what was received, then read again."""
        if self.is_closed or not self._paused or self._backlog:
            return
        self._paused = False
        self._hub.last_served = self
        self._hub.waiting.pop(self, None)  # whatever woke it, it asks again if it has to
        if self._begun:
            self._begun = time.monotonic()  # until now, what was missing could not arrive
        self._hub.loop.add_reader(self._socket, self._readable)
        if self._rest:
            self._guarded(self._answer_rest)

    def _readable(self) -> None:
        # As _guarded, without its call: this runs for every request.
        try:
            receive = self._receive if self._connection.arrival is None else self._receive_large
            is_alone = receive()
            hub = self._hub
            if hub.last_served is not self:
                hub.last_served = None if self.is_closed else self
            elif is_alone and hub.lingers:
                self._linger()
        except Exception as error:
            self._fail(error)

    def _writable(self) -> None:
        self._guarded(self._send_backlog)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run one step; what goes wrong with the socket or the peer ends this connection only."""
        try:
            step()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ProtocolError):
            self._counters.protocol_errors["bad frame"] += 1
            self.close(str(error))
        elif isinstance(error, OSError):
            self.close("connection reset" if error.errno in RESETS else str(error))
        else:
            # A bug, behind which we do not know any more where the next frame begins.
            self._counters.internal_errors += 1
            if self._session.on_bug is not None:
                self._session.on_bug(error)
            self.close("internal error")

    def _receive(self) -> bool:
        """Receive into the shared buffer, behind what is left of the last time, and answer.

        True if there was one request, or hardly more, and nothing else is under way.
        """
        received = self._hub.received
        start = len(self._rest)
        if self._is_streaming and not start:
            return self._receive_head()
        if start or self._hub.is_scarce:
            received[:start] = self._rest
            limit = start + SCARCE_RECEIVE_BYTES if self._hub.is_scarce else RECEIVE_BYTES
            received = received[start:limit]
        count = self._receive_into(received)
        return count > 0 and self._answer(start + count)

    def _linger(self) -> None:
        """Wait a moment for the next request of a client that asks one after the other."""
        lingering = self._lingering
        turn_ends_ns = time.perf_counter_ns() + TURN_NS
        for _ in range(LINGER_REQUESTS_MAX):
            began_ns = now_ns = time.perf_counter_ns()
            if now_ns > turn_ends_ns or not lingering.is_worth_it():
                return
            before = self._counters.received_bytes
            is_alone = self._receive()
            while self._counters.received_bytes == before and not self.is_closed:
                now_ns = time.perf_counter_ns()
                if now_ns - began_ns > LINGER_NS:
                    break
                is_alone = self._receive()
            lingering.note(now_ns - began_ns)
            if not is_alone:
                return

    def _receive_head(self) -> bool:
        """Receive the head of what may be a large write alone, so that its data need no copy."""
        count = self._receive_into(self._hub.received[:WRITE_OVERHEAD_BYTES])
        if not count:
            return False
        self._is_streaming = False
        is_alone = self._answer(count)
        return is_alone if self._connection.arrival is None else self._receive_large()

    def _receive_large(self) -> bool:
        """Receive more of a large frame where it is to be; True as for _answer, but asked only for
        who lingers: it is a call of the system."""
        arrival = self._connection.arrival
        assert arrival is not None
        while True:
            view = arrival.views[0]
            count = self._receive_into(view)
            if count and arrival.arrived(count):
                break
            if count < len(view):
                return False
        replies: list[Piece] = []
        self._connection.finish_arrival(replies)
        self._begun = 0.0
        self._is_streaming = True
        self._send(replies)
        self._hub.release(self._drop_frame_buffer())
        return not self._backlog and self._hub.lingers and not has_more(self._socket)

    def _receive_into(self, view: memoryview) -> int:
        """Receive what is there, up to the length of *view*; 0 if nothing is, or never will be."""
        try:
            count = self._socket.recv_into(view)
        except BlockingIOError:
            return 0
        if not count:
            self.close("closed by the client")
        self._counters.received_bytes += count
        return count

    def _answer_rest(self) -> None:
        rest = self._rest
        self._hub.received[: len(rest)] = rest
        self._answer(len(rest))

    def _answer(self, end: int) -> bool:
        """Answer the frames in the shared buffer, up to *end*; keep what is left for later.

        True if there was one frame, or hardly more, and all replies are on their way.
        """
        connection, view = self._connection, self._hub.received
        turn_ends_ns = connection.turn_ends_ns = time.perf_counter_ns() + TURN_NS
        if self._hub.is_scarce is not self._is_frugal:
            self._be_frugal(frugal=self._hub.is_scarce)
        start = stop = 0
        while True:
            replies: list[Piece] = []
            start, stop = stop, connection.answer(view, stop, end, replies)
            if replies:
                self._send(replies)
            if stop in (start, end) or self._backlog or self.is_closed:
                break
            if time.perf_counter_ns() > turn_ends_ns:
                self._pause()
                self._hub.loop.call_soon(self.resume)
                break
        if self.is_closed:
            return False
        if stop and self._session.versioned:
            self._begun = 0.0
        if stop < end or self._rest:
            self._keep(view, stop, end)
            return False
        return not start and len(replies) <= FEW_PIECES and not self._backlog

    def _be_frugal(self, *, frugal: bool) -> None:
        """Have the client make us hold little, or as much as is good for speed."""
        self._is_frugal = frugal
        self._connection.batch_bytes_max = SCARCE_BATCH_BYTES if frugal else BATCH_BYTES_MAX
        self._session.limit_replies(SCARCE_BATCH_BYTES if frugal else MSIZE_MAX)

    def _keep(self, view: memoryview, start: int, end: int) -> None:
        """Keep the unanswered bytes view[start:end], or let a large frame arrive elsewhere."""
        rest = b""
        if start < end:
            size = 0 if self._backlog else self._connection.expects(view, start, end)
            least = SCARCE_RECEIVE_BYTES if self._hub.is_scarce else LARGE_FRAME_BYTES
            if size < least or not self._begin_arrival(view, start, end, size):
                rest = bytes(view[start:end])
            if not self._begun:
                self._begun = time.monotonic()
        # Last, for what is above may raise, and then the rest that is counted is the one we have.
        held_bytes, self._rest = len(self._rest), rest
        self._hub.held_bytes += len(rest)
        self._hub.release(held_bytes)

    def _begin_arrival(self, view: memoryview, start: int, end: int, size: int) -> bool:
        """Let a large frame arrive in its file or in a buffer; False while there is no memory."""
        hub, connection = self._hub, self._connection
        if connection.begin_arrival(view, start, end, None) is not None:
            return True
        if not hub.has_room:
            self._pause()
            hub.waiting[self] = None
            return False
        self._begun = time.monotonic()  # it is asked to make use of it soon
        self._frame_buffer = hub.take_buffer(size)
        hub.held_bytes += len(self._frame_buffer)
        connection.begin_arrival(view, start, end, self._frame_buffer)
        return True

    def _drop_frame_buffer(self) -> int:
        """Give the buffer of a frame back; return how many bytes it held."""
        buffer, self._frame_buffer = self._frame_buffer, None
        if buffer is None:
            return 0
        self._hub.return_buffer(buffer)
        return len(buffer)

    def _answer_late(self) -> None:
        """Send late answers in a step of their own: somebody's request is being answered now."""
        self._hub.loop.call_soon(self._guarded, self._send_late)

    def _send_late(self) -> None:
        late = self._session.take_late()
        if late:
            self._send([late])

    def _send(self, replies: list[Piece]) -> None:
        """Send replies, or put what the socket does not take in the backlog."""
        pieces = replies if len(replies) == 1 else joined(replies)
        try:
            if self._backlog:
                sent = 0
            elif len(pieces) == 1:
                sent = self._socket.send(pieces[0])
                if sent == len(pieces[0]):
                    self._counters.sent_bytes += sent
                    return
            else:
                sent = self._socket.sendmsg(pieces[:IOV_MAX])
        except BlockingIOError:
            sent = 0
        self._counters.sent_bytes += sent
        unsent = behind(pieces, sent)
        if unsent:
            self._enqueue(unsent)

    def _enqueue(self, pieces: list[Piece]) -> None:
        if not self._backlog:
            self._hub.loop.add_writer(self._socket, self._writable)
            self._sent_at = time.monotonic()
            self._pause()
        if len(pieces) > FEW_PIECES:
            pieces = [b"".join(pieces)]  # an object of its own costs a small reply five times
        count_bytes = sum(map(len, pieces))
        self._backlog.extend(pieces)
        self._backlog_bytes += count_bytes
        self._hub.held_bytes += count_bytes
        if any(type(piece) is memoryview for piece in pieces):
            self._hub.lenders[self._copy_backlog] = None

    def _copy_backlog(self) -> None:
        """Copy what is lent: it is about to change."""
        self._backlog = deque(bytes(piece) for piece in self._backlog)

    def _send_backlog(self) -> None:
        pieces = [self._backlog[index] for index in range(min(len(self._backlog), IOV_MAX))]
        try:
            sent = self._socket.sendmsg(pieces)
        except BlockingIOError:
            return
        self._counters.sent_bytes += sent
        for _ in pieces:
            self._backlog.popleft()
        self._backlog.extendleft(reversed(behind(pieces, sent)))
        self._backlog_bytes -= sent
        self._sent_at = time.monotonic()
        self._hub.release(sent)
        if not self._backlog and not self.is_closed:
            self._hub.lenders.pop(self._copy_backlog, None)
            self._hub.loop.remove_writer(self._socket)
            self.resume()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._hub.loop.remove_reader(self._socket)


RESETS: Final = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)
