"""What all transports share."""

import asyncio
from collections.abc import Iterator

import pytest

from ram9.server.hub import Hub
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits


@pytest.fixture
def hub() -> Iterator[Hub]:
    loop = asyncio.new_event_loop()
    filesystem = FileSystem(Limits(size_bytes=1 << 20, inodes=100), lambda: 1)
    yield Hub(loop, filesystem.disk.lent)
    loop.close()


def test_a_buffer_is_used_again(hub: Hub) -> None:
    first = hub.take_buffer(1000)
    hub.return_buffer(first)
    assert hub.take_buffer(900) is first
    assert hub.take_buffer(900) is not first


def test_few_spare_buffers_are_kept(hub: Hub) -> None:
    for buffer in [hub.take_buffer(10) for _ in range(10)]:
        hub.return_buffer(buffer)
    assert len(hub.buffers) == 4
    assert hub.arriving == 0


def test_one_large_frame_always_has_room(hub: Hub) -> None:
    hub.held_bytes = hub.held_bytes_max + 1
    assert hub.has_room
    hub.take_buffer(10)
    assert not hub.has_room
    hub.held_bytes = 0
    assert hub.has_room


class Shrinking:
    """A transport that knows whether it was asked to be small."""

    def __init__(self) -> None:
        self.shrunk = 0

    def shrink(self) -> None:
        self.shrunk += 1


def test_what_is_spare_is_let_go(hub: Hub) -> None:
    used = hub.take_buffer(10)
    hub.return_buffer(hub.take_buffer(10))
    transport = Shrinking()
    hub.transports[transport] = None  # type: ignore[index]
    hub.shrink()
    assert hub.buffers == []
    assert transport.shrunk == 1
    hub.return_buffer(used)
    assert hub.arriving == 0
