"""From a request's type number to the function that answers it."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NoReturn, TypeVar

from ram9.protocol.codec import Decode, Message
from ram9.protocol.messages import (
    Rclunk,
    Tattach,
    Tauth,
    Tclunk,
    Tflush,
    Tread,
    Treaddir,
    Treadlink,
    Tremove,
    Tversion,
)
from ram9.server.session import Session
from ram9.storage.errors import Errno, FileSystemError

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Handler = Callable[[Session, Any], Message]
Guard = Callable[[Session, Any], Message]
Protection = Callable[[Session, Any], None]
Row = tuple[Decode, Handler]

HANDLERS: Final[dict[type[Message], Handler]] = {}
GUARDS: Final[dict[type[Message], Guard]] = {}
PROTECTIONS: Final[dict[type[Message], Protection]] = {}

# What notes that something was read, except on a volume that is read only.
ACCESSES: Final[tuple[type[Message], ...]] = (Tread, Treaddir, Treadlink)

# What has no fid that is there already; of all else, the first field is one.
BEGINNINGS: Final[tuple[type[Message], ...]] = (Tversion, Tauth, Tattach, Tflush)

# Declared, and refused on purpose.
REFUSED: Final[dict[type[Message], Errno]] = {
    Tauth: Errno.ENOENT,  # attach(5): no authentication is needed, as diod's clients are told so
}


def answers(
    request: type[Request],
) -> Callable[[Callable[[Session, Request], Reply]], Callable[[Session, Request], Reply]]:
    """Declare the function that answers *request*.

    It runs to its end, so nothing changes under it, and either returns the reply or raises
    FileSystemError having changed nothing. A reply that is to come later is one of no bytes now.
    """

    def register(
        handler: Callable[[Session, Request], Reply],
    ) -> Callable[[Session, Request], Reply]:
        if request in HANDLERS:
            raise ValueError(f"{request.__name__} is answered twice")
        HANDLERS[request] = handler
        return handler

    return register


def guards(
    request: type[Request],
) -> Callable[[Callable[[Session, Request], Request]], Callable[[Session, Request], Request]]:
    """Declare the function that checks whether a user may ask for *request*, where that is ours
    to check: for the user whom the first fid of the request acts for.

    It returns what is to be answered, which is the request or what of it the user may have, or
    raises FileSystemError having changed nothing.
    """

    def register(
        guard: Callable[[Session, Request], Request],
    ) -> Callable[[Session, Request], Request]:
        if request in GUARDS:
            raise ValueError(f"{request.__name__} is guarded twice")
        GUARDS[request] = guard
        return guard

    return register


def protects(
    request: type[Request],
) -> Callable[[Callable[[Session, Request], None]], Callable[[Session, Request], None]]:
    """Declare the function that refuses *request* where the volume of its first fid is read only.

    It raises FileSystemError having changed nothing, or returns if nothing will be changed.
    """

    def register(
        protection: Callable[[Session, Request], None],
    ) -> Callable[[Session, Request], None]:
        if request in PROTECTIONS:
            raise ValueError(f"{request.__name__} is protected from twice")
        PROTECTIONS[request] = protection
        return protection

    return register


def rows(*, versioned: bool, guarded: bool = False, protected: bool = False) -> list[Row]:
    """For each of the 256 type numbers, how to decode the body and who answers it.

    Before a version was agreed on, only Tversion is answered (version(5)). If *guarded*, what a
    user may not ask for is refused; if *protected*, what would change a volume that is read only,
    and whatever is asked of one that has ended.
    """
    table: list[Row] = [_refusal(Errno.EOPNOTSUPP)] * 256
    for request, errno in REFUSED.items():
        table[request.number] = (request.codec.decode, _refusal(errno)[1])
    for request, handler in HANDLERS.items():
        guard = GUARDS.get(request) if guarded else None
        answer = handler if guard is None else _guarded(request, guard, handler)
        if protected and request not in BEGINNINGS:
            answer = _protected(request, answer)
        table[request.number] = (request.codec.decode, answer)
    if not versioned:
        unversioned = [_refusal(Errno.EPROTO)] * 256
        unversioned[Tversion.number] = table[Tversion.number]
        return unversioned
    return table


def _protected(request: type[Message], handler: Handler) -> Handler:
    """Nothing is asked of a volume that has ended, and nothing changed on one that is read only."""
    number_of = _first_fid(request)
    protection, reads = PROTECTIONS.get(request), request in ACCESSES

    def answer(session: Session, request: Message) -> Message:
        number = number_of(request)
        fid = session.fids[number]
        volume, inode = fid.attachment.volume, fid.inode
        if volume.has_ended:
            return _answer_stale(session, request, number)
        if volume.read_only and protection is not None:
            protection(session, request)
        atime_ns = inode.atime_ns
        reply = handler(session, request)
        if reads and volume.read_only:
            inode.atime_ns = atime_ns
        return reply

    return answer


def _answer_stale(session: Session, request: Message, number: int) -> Rclunk:
    """ESTALE; but fids can be given up."""
    if isinstance(request, Tclunk | Tremove):
        session.clunk(number)
        if isinstance(request, Tclunk):
            return Rclunk()
    raise FileSystemError(Errno.ESTALE)


def _first_fid(request: type[Message]) -> Callable[[Message], int]:
    """What gives the first field of a request, which is a fid."""
    return attrgetter(next(iter(request.codec.fields)))


def _guarded(request: type[Message], guard: Guard, handler: Handler) -> Handler:
    number_of = _first_fid(request)

    def answer(session: Session, request: Message) -> Message:
        if session.fids[number_of(request)].attachment.credentials is not None:
            request = guard(session, request)
        return handler(session, request)

    return answer


def _refusal(errno: Errno) -> Row:
    """Refuse whatever the body is: a number that no request has tells nothing about it."""

    def refuse(_session: Session, _request: Message) -> NoReturn:
        raise FileSystemError(errno)

    return _nothing, refuse


def _nothing(_view: memoryview, _start: int, _end: int) -> Message:
    return Message()
