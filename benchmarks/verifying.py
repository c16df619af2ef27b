"""The checking pass: before a case is measured, some of its requests are sent and looked at whole.

While the clock runs the load generator looks at little more than the types of replies. So here each
reply is decoded, its tag and length compared, and what is read with what was written.
"""

from collections.abc import Iterator
from itertools import islice

from benchmarks.cases import Case, Seat
from benchmarks.client import Client, pattern
from benchmarks.load import Phase
from benchmarks.servers import Peer
from ram9.protocol.codec import CODECS, Message, frame
from ram9.protocol.frames import HEADER
from ram9.protocol.messages import Rread, Rwrite, Tread, Twrite

REQUESTS = 4  # of each phase
SEAT = Seat(index=0, connections=64, depth=REQUESTS, span_bytes=64 << 20)


class WrongAnswerError(Exception):
    """A server's reply is not what the request asked for."""


def verify(peer: Peer, case: Case, transport: str, span_bytes: int) -> None:
    """Send a few requests of the case; WrongAnswerError if an answer is not right."""
    seat = Seat(0, SEAT.connections, SEAT.depth, span_bytes)
    with peer.connect(transport) as client:
        prepared = case.prepare(client, seat)
        try:
            for phase in islice(prepared.phases, prepared.requests_each):
                verify_phase(client, phase, keeps_data=peer.keeps_data)
        finally:
            case.clean(client, seat)


def verify_phase(client: Client, phase: Phase, *, keeps_data: bool) -> None:
    """Send the first requests of a phase and look at the replies."""
    data = b"".join(phase.pieces(0, min(REQUESTS, phase.requests)))
    requests = dict(decoded(data))
    written: list[Twrite] = []
    client.socket.sendall(data)
    for _ in range(len(requests)):
        tag, reply = client.receive()
        request = requests.pop(tag, None)
        if request is None:
            raise WrongAnswerError(f"a reply has the tag {tag}, which no request has")
        if reply.number != phase.reply_type or len(frame(reply, tag)) != phase.reply_bytes:
            raise WrongAnswerError(f"{request} was answered with {reply}"[:300])
        if isinstance(reply, Rread) and isinstance(request, Tread) and keeps_data:
            _compare(bytes(reply.data), request.offset, pattern(request.offset, request.count))
        if isinstance(reply, Rwrite) and isinstance(request, Twrite):
            if reply.count != len(request.data):
                raise WrongAnswerError(f"{reply.count} of {len(request.data)} bytes were written")
            written.append(request)
    for request in written if keeps_data else ():
        found = client.read(request.fid, request.offset, len(request.data))
        _compare(found, request.offset, request.data)


def _compare(found: bytes, offset: int, expected: bytes | memoryview) -> None:
    if found != expected:
        raise WrongAnswerError(f"{len(expected)} bytes at {offset} were read otherwise")


def decoded(data: bytes) -> Iterator[tuple[int, Message]]:
    """The frames in *data* as (tag, message)."""
    start = 0
    view = memoryview(data)
    while start < len(view):
        size, number, tag = HEADER.unpack_from(view, start)
        yield tag, CODECS[number].decode(view, start + HEADER.size, start + size)
        start += size
