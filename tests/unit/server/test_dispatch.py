"""From type numbers to the functions that answer."""

import pytest

from ram9.protocol.messages import Rclunk, Tauth, Tclunk, Tversion
from ram9.server import connection
from ram9.server.counters import Counters
from ram9.server.dispatch import HANDLERS, REFUSED, answers, rows
from ram9.server.session import Session
from ram9.server.volumes import Volumes
from ram9.storage.errors import Errno, FileSystemError


def errno_of(number: int, *, versioned: bool) -> Errno:
    """Why whatever comes with that number is refused."""
    assert connection.FAMILIES
    session = Session(Volumes([]), Counters())
    decode, handler = rows(versioned=versioned)[number]
    with pytest.raises(FileSystemError) as refusal:
        handler(session, decode(memoryview(b"xx"), 0, 2))
    return refusal.value.errno


def test_every_number_has_a_row() -> None:
    assert len(rows(versioned=True)) == len(rows(versioned=False)) == 256


def test_a_number_that_is_no_request_is_refused() -> None:
    """T5: by an errno of its own, whatever the body is."""
    requests = {request.number for request in HANDLERS.keys() | REFUSED.keys()}
    for number in set(range(256)) - requests:
        assert errno_of(number, versioned=True) is Errno.EOPNOTSUPP


def test_before_a_version_everything_else_is_refused() -> None:
    for number in set(range(256)) - {Tversion.number}:
        assert errno_of(number, versioned=False) is Errno.EPROTO


def test_version_is_answered_before_and_after() -> None:
    handler = HANDLERS[Tversion]
    for versioned in (False, True):
        assert rows(versioned=versioned)[Tversion.number][1] is handler


def test_what_is_refused_on_purpose_is_decoded_first() -> None:
    assert rows(versioned=True)[Tauth.number][0] is Tauth.codec.decode


def test_a_request_is_answered_by_one_function() -> None:
    before = HANDLERS[Tclunk]

    def again(_session: Session, _request: Tclunk) -> Rclunk:
        return Rclunk()

    with pytest.raises(ValueError, match="Tclunk is answered twice"):
        answers(Tclunk)(again)
    assert HANDLERS[Tclunk] is before
