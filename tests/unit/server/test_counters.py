"""What is counted."""

from ram9.server.counters import Counters
from ram9.storage.errors import Errno


def test_everything_begins_at_nothing() -> None:
    counters = Counters()
    assert counters.requests == [0] * 256
    assert not counters.errors
    assert not counters.protocol_errors
    for name in Counters.__slots__:
        if name not in ("requests", "errors", "protocol_errors"):
            assert getattr(counters, name) == 0


def test_servers_count_apart() -> None:
    one, two = Counters(), Counters()
    one.requests[1] += 1
    one.errors[1, Errno.EIO] += 1
    one.protocol_errors["bad frame"] += 1
    assert two.requests[1] == 0
    assert not two.errors
    assert not two.protocol_errors
