"""What the transports of one server share: a buffer to receive into, a bound on what they hold."""

import asyncio
from typing import Final, Protocol

from ram9.storage.disk import Lenders

# Four writes of 64 KiB, and what stands before their data.
RECEIVE_BYTES: Final = (256 << 10) + (4 << 10)

# What all clients together may make us hold (unsent replies, incomplete frames) before each of them
# gets less: replies in small batches, reads of a page, and large frames one after the other.
HELD_BYTES_MAX: Final = 256 << 20
SCARCE_BATCH_BYTES: Final = 4 << 10
SCARCE_RECEIVE_BYTES: Final = 8 << 10


class Member(Protocol):
    """What a hub asks of a transport."""

    def resume(self) -> None:
        """Go on: there is memory now."""

    def close_if_late(self) -> None:
        """Close if what is arriving takes too long."""

    def shrink(self) -> None:
        """Make tables smaller of which little is used."""

    def drain(self) -> bool:
        """Answer more of what has arrived; True once that is all, and every reply on its way."""

    def close(self, reason: str) -> None:
        """Close, for *reason*."""


class Hub:
    """What the transports of one server share."""

    __slots__ = (
        "arriving",
        "buffers",
        "held_bytes",
        "held_bytes_max",
        "last_served",
        "lenders",
        "lingers",
        "loop",
        "received",
        "transports",
        "waiting",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lenders: Lenders,
        *,
        lingers: bool = False,
    ) -> None:
        self.loop = loop
        self.lenders = lenders  # of all volumes: transports with bytes that are not sent yet
        self.lingers = lingers  # see lingering.py
        self.last_served: Member | None = None
        # Bytes are received here and answered before anything else is received.
        self.received = memoryview(bytearray(RECEIVE_BYTES))
        self.held_bytes = 0
        self.held_bytes_max = HELD_BYTES_MAX
        self.transports: dict[Member, None] = {}
        self.waiting: dict[Member, None] = {}  # for memory to receive a large frame into
        self.buffers: list[bytearray] = []  # spare ones
        self.arriving = 0  # how many are not

    @property
    def is_scarce(self) -> bool:
        return self.held_bytes > self.held_bytes_max

    @property
    def has_room(self) -> bool:
        """Whether a large frame may get a buffer: one always may, so that somebody goes on."""
        return not self.arriving or not self.is_scarce

    def take_buffer(self, size_bytes: int) -> bytearray:
        """A buffer of at least *size_bytes* for a frame."""
        self.arriving += 1
        for index, buffer in enumerate(self.buffers):
            if len(buffer) >= size_bytes:
                return self.buffers.pop(index)
        return bytearray(size_bytes)

    def return_buffer(self, buffer: bytearray) -> None:
        self.arriving -= 1
        if len(self.buffers) < 4:
            self.buffers.append(buffer)

    def release(self, count_bytes: int) -> None:
        """Note that *count_bytes* are no longer held; wake the next who waits for that."""
        self.held_bytes -= count_bytes
        if self.waiting and self.has_room:
            first = next(iter(self.waiting))
            del self.waiting[first]
            self.loop.call_soon(first.resume)

    def allow(self, held_bytes_max: int) -> None:
        """Let clients hold so much from now on; if that is room, wake all who wait for some."""
        self.held_bytes_max = held_bytes_max
        if self.has_room:
            for member in self.waiting:  # each waits again if those before it took what there was
                self.loop.call_soon(member.resume)
            self.waiting.clear()

    def shrink(self) -> None:
        """Let go of what is spare."""
        self.buffers.clear()
        for transport in self.transports:
            transport.shrink()

    def sweep(self) -> None:
        """Close the connections whose frame takes too long to arrive."""
        for transport in list(self.transports):
            transport.close_if_late()
