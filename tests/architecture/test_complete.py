"""Every request is answered or refused on purpose, described, and tested by name."""

import ast
from pathlib import Path

import pytest

from ram9.protocol.codec import Message
from ram9.protocol.messages import CODECS, Rlerror
from ram9.server import connection
from ram9.server.dispatch import HANDLERS, REFUSED

CONFORMANCE = Path(__file__).parent.parent / "conformance"
REQUESTS = [codec.message for codec in CODECS.values() if codec.message.__name__.startswith("T")]


def test_every_request_is_answered_or_refused() -> None:
    assert connection.FAMILIES
    assert set(REQUESTS) == HANDLERS.keys() | REFUSED.keys()
    assert not HANDLERS.keys() & REFUSED.keys()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda cls: cls.__name__)
def test_every_request_has_a_reply_of_the_next_number(request_: type[Message]) -> None:
    reply = CODECS[request_.number + 1].message
    assert reply.__name__ == "R" + request_.__name__[1:]


def test_every_other_reply_is_an_error() -> None:
    replies = {codec.message for codec in CODECS.values()} - set(REQUESTS)
    assert replies - {CODECS[request.number + 1].message for request in REQUESTS} == {Rlerror}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda cls: cls.__name__)
def test_every_request_says_what_it_is_for(request_: type[Message]) -> None:
    assert request_.codec.summary


@pytest.mark.parametrize("request_", HANDLERS, ids=lambda cls: cls.__name__)
def test_every_operation_says_what_it_does(request_: type[Message]) -> None:
    assert HANDLERS[request_].__doc__


def used_names() -> set[str]:
    """Every name that the conformance tests, or the client that they use, use and not just
    import."""
    sources = [*CONFORMANCE.glob("test_*.py"), CONFORMANCE.parent / "client.py"]
    return {
        node.id
        for path in sources
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Name)
    }


def test_every_request_has_a_conformance_test() -> None:
    assert {request.__name__ for request in REQUESTS} <= used_names()
