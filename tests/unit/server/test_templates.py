"""What is logged of scratch volumes, and how long it takes to end many or large ones."""

import gc
import logging
import time
import weakref
from collections.abc import Callable, Iterator

import pytest
from tests.client import ClockedMaking

from ram9.protocol.constants import MSIZE_MAX, NOFID
from ram9.protocol.messages import Tattach, Tversion, Twalk
from ram9.server.chores import Chores
from ram9.server.config import TemplateConfig
from ram9.server.connection import Connection
from ram9.server.counters import Counters
from ram9.server.session import Session
from ram9.server.templates import Templates
from ram9.server.volumes import Volumes

MIB = 1 << 20
CONFIG = TemplateConfig("scratch", 1 << 30, 1 << 40, 10_000, 3600, 60, 64 * MIB, 3600)


class Host:
    """Templates of a server, whose loop is run by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.volumes = Volumes([])
        self.counters = Counters()
        self.longest_seconds = 0.0
        self.templates = Templates(
            [CONFIG],
            self.volumes,
            ClockedMaking(lambda: 0, None),
            Chores(self.soon.append, time.process_time_ns),
            lambda: self.now,
        )

    def session(self, aname: bytes) -> Session:
        session = Session(self.volumes, self.counters)
        connection = Connection(session)
        for request, tag in (
            (Tversion(MSIZE_MAX, b"9P2000.L"), 0),
            (Tattach(1, NOFID, b"", aname, 0), 1),
        ):
            data = memoryview(request.encode(tag))
            replies: list[bytes | memoryview] = []
            assert connection.answer(data, 0, len(data), replies) == len(data)
            assert replies[0][4] == request.number + 1
        return session

    def end_all(self) -> int:
        """Have time pass and do what comes of it; how many turns that took."""
        self.now += 3600
        self.templates.sweep()
        turns = 0
        while self.soon:
            start = time.process_time()
            self.soon.pop()()
            self.longest_seconds = max(self.longest_seconds, time.process_time() - start)
            turns += 1
        return turns


@pytest.fixture
def host() -> Iterator[Host]:
    gc.collect()
    gc.disable()
    yield Host()
    gc.enable()


def test_a_volume_is_logged_when_it_is_made_and_when_it_ends(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ram9")
    session = host.session(b"scratch/job?size=1MiB")
    host.end_all()
    made, ended = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert [record.message for record in caplog.records] == [
        "scratch volume made",
        "scratch volume ended",
    ]
    assert made == {"volume": b"scratch/job", "size_bytes": MIB}
    assert ended == {"volume": b"scratch/job", "reason": "its time is up", "clients": 1}
    session.close()


def test_who_is_gone_already_is_not_counted(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ram9")
    host.session(b"scratch/job").close()
    host.end_all()
    fields = caplog.records[-1].fields  # type: ignore[attr-defined]
    assert (fields["reason"], fields["clients"]) == ("its time is up", 0)


def test_who_used_a_volume_and_stays_does_not_keep_it(host: Host) -> None:
    """A session knew what it had attached for as long as it was connected: a client that attached
    one volume after the other, and clunked it, kept all of them, long after they had ended."""
    session = host.session(b"scratch/job")
    session.clunk(1)
    mapping = weakref.ref(host.volumes.named[b"scratch/job"].filesystem.disk.memory)
    host.end_all()
    assert mapping() is None
    assert not session.ended
    session.close()


def test_a_volume_that_could_not_be_wiped_is_told_of_when_it_is_gone(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files are wiped after it has ended, when nobody looks at it any more."""
    session = host.session(b"scratch/job")
    session.close()
    host.volumes.named[b"scratch/job"].filesystem.disk.unwiped_bytes = 512
    host.end_all()
    assert caplog.messages == ["not wiped"]


def test_ten_thousand_volumes_end_in_portions(host: Host) -> None:
    """Ending all of them in one sweep kept everybody waiting for a second."""
    sessions = [host.session(b"scratch/job%d?size=64KiB" % number) for number in range(3000)]
    for session in sessions:
        session.close()
    assert host.end_all() > 30
    assert host.longest_seconds < 0.05
    assert not list(host.volumes)


def test_a_client_with_many_fids_is_told_in_portions(host: Host) -> None:
    session = host.session(b"scratch/job")
    connection = Connection(session)
    for number in range(100_000):
        data = memoryview(Twalk(1, number + 2, ()).encode(5))
        connection.answer(data, 0, len(data), [])
    assert host.counters.fids == 100_001
    assert host.end_all() > 20
    assert host.longest_seconds < 0.05
    assert all(fid.attachment.volume is host.volumes.grave for fid in session.fids.values())
    assert host.counters.fids == 100_001
    session.close()
    assert host.counters.fids == 0


def test_a_volume_with_many_files_goes_in_portions(host: Host) -> None:
    session = host.session(b"scratch/job?size=1GiB")
    filesystem = host.volumes.named[b"scratch/job"].filesystem
    for number in range(100_000):
        filesystem.create(filesystem.root, b"%d" % number, 0o644, 0, 0)
    del filesystem
    assert host.end_all() > 20
    assert host.longest_seconds < 0.05
    session.close()


def test_sweeps_do_not_overtake_each_other(host: Host) -> None:
    for number in range(10):
        host.session(b"scratch/job%d" % number).close()
    host.now += 3600
    host.templates.sweep()
    host.templates.sweep()
    assert len(host.soon) == 1
    host.end_all()
    assert not list(host.volumes)
    host.session(b"scratch/job").close()
    host.end_all()
    assert not list(host.volumes)
