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


class Waiting:
    """A transport that waits, and knows whether it was woken."""

    def __init__(self, hub: Hub) -> None:
        self.woken = 0
        hub.waiting[self] = None  # type: ignore[index]

    def resume(self) -> None:
        self.woken += 1


def test_who_waits_is_woken_when_more_may_be_held(hub: Hub) -> None:
    """After a volume was made smaller there was room, and nobody made use of it: who waited was
    woken by the next one that was done, and that may have been one that took two minutes."""
    hub.take_buffer(10)
    hub.held_bytes = 20 << 20
    members = [Waiting(hub), Waiting(hub)]
    for bound_mib, expected in ((10, 0), (19, 0), (20, 1), (10, 1), (30, 1)):
        hub.allow(bound_mib << 20)
        hub.loop.run_until_complete(asyncio.sleep(0))
        assert [member.woken for member in members] == [expected] * 2
    assert not hub.waiting


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
