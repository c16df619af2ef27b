"""What is counted, as plain integers: incrementing one costs the data path next to nothing."""

from collections import Counter

from ram9.storage.errors import Errno


class Counters:
    """Totals of one server since it started; only the metrics page reads them."""

    __slots__ = (
        "accepted",
        "connections",
        "errors",
        "fids",
        "internal_errors",
        "locks",
        "protocol_errors",
        "received_bytes",
        "requests",
        "sent_bytes",
        "stalls",
        "values_bytes",
        "waiting_locks",
    )

    def __init__(self) -> None:
        self.requests = [0] * 256  # by message type
        self.errors: Counter[tuple[int, Errno]] = Counter()  # by message type and errno
        self.protocol_errors: Counter[str] = Counter()  # by reason
        self.internal_errors = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.connections = 0  # open now
        self.accepted = 0
        self.fids = 0  # open now
        self.locks = 0  # held now
        self.waiting_locks = 0  # requests now
        self.stalls = 0  # how often the kernel told of processes that wait for memory
        self.values_bytes = 0  # of extended attributes that are being read or written
