"""Two sessions that send anything: the server never errs, and nothing is lost or held for ever."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests import strategies
from tests.client import NS, UID, Client, Server, messages_of

from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import HEADER_BYTES, NOFID, WRITE_OVERHEAD_BYTES
from ram9.protocol.frames import HEADER
from ram9.protocol.messages import (
    CODECS,
    Rlerror,
    Rlock,
    Tflush,
    Tlock,
    Tlopen,
    Tversion,
    Twalk,
    Twrite,
)
from ram9.protocol.wire import fields_of
from ram9.storage.errors import Errno
from ram9.storage.limits import Limits

REQUESTS = [
    codec.message
    for codec in CODECS.values()
    if codec.message.__name__.startswith("T") and codec.message is not Tversion
]
LIMITS = Limits(size_bytes=120_000, inodes=14, links=4, file_bytes=70_000)

fids = st.integers(0, 5) | st.sampled_from([NOFID])
names = st.sampled_from(
    [b"a", b"b", b"c", b"d", b".", b"..", b"", b"x/y", b"n" * 256, b"user.a", b"user.b"]
)
sizes = st.sampled_from([0, 1, 25, 511, 512, 513, 4096, 40_000, 69_999, 70_000, 2**63, 2**64 - 1])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("fid", "newfid", "dfid", "newdirfid", "olddirfid", "dirfd"), fids),
    **dict.fromkeys(("name", "oldname", "newname", "symtgt"), names),
    **dict.fromkeys(("offset", "start", "length", "size", "attr_size"), sizes),
    "afid": st.just(NOFID),
    "uname": st.just(b"nobody"),
    "aname": st.sampled_from([b"", b"/a", b"a/b", b".."]),
    "n_uname": st.sampled_from([0, UID, NOFID]),
    "wname": st.lists(names, max_size=3).map(tuple),
    "flags": st.sampled_from([0, 1, 2, 3, 0o1002, 0o2001, 0o2002, 0o200, 0x200]),
    "mode": st.sampled_from([0o644, 0o100755, 0o6755, 0o010600, 0o020600, 0o040755]),
    "valid": st.sampled_from([0, 0x8, 0x41, 0x46, 0x47, 0x68, 0x69, 0x70, 0x1F0, 0x1FF, 0x200]),
    "type": st.integers(0, 3),
    "count": st.sampled_from([0, 24, 25, 100, 4096, 50_000, 2**32 - 1]),
    "oldtag": st.integers(0, 9),
    "proc_id": st.integers(0, 2),
    "client_id": st.sampled_from([b"host", b"other"]),
    "data": st.sampled_from([b"", b"x", b"y" * 600, b"z" * 4000]),
}
ERRNOS = {int(errno) for errno in Errno}
# Enough of these that the rest has something to work on.
FRUITFUL_NAMES = (
    "Tattach",
    "Tlcreate",
    "Tlock",
    "Tlopen",
    "Tmkdir",
    "Tunlinkat",
    "Twalk",
    "Twrite",
)
FRUITFUL = [cls for cls in REQUESTS if cls.__name__ in FRUITFUL_NAMES]


@st.composite
def requests(draw: st.DrawFn) -> Message:
    """A request about few names and few fids, so that it often means something."""
    cls = draw(st.sampled_from(FRUITFUL) | st.sampled_from(REQUESTS))
    values = {
        name: draw(VALUES[name] if name in VALUES else strategies.values_of(kind))
        for name, kind in fields_of(cls).items()
    }
    return cls(**values)


who = st.sampled_from([0, 1])


def may_wait(kind: int) -> bool:
    return kind == Tlock.number


class SessionMachine(RuleBasedStateMachine):
    """Any frames, whole, broken or still arriving: each gets one reply with its tag, but for those
    that wait for locks: they get it later, or none if they are flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(LIMITS, lock_wait=1000)
        self.clients = [self.server.connect() for _ in range(2)]
        # Both have a file open, so that they lock each other out.
        self.clients[0].make(b"a", mode=0o666)
        for client in self.clients:
            client.call(Twalk(0, 5, (b"a",)))
            client.call(Tlopen(5, 2))
        self.waiting: list[set[int]] = [set(), set()]  # tags
        self.may_forget = False  # what waits, in this step

    def exchange(self, client: Client, request: bytes) -> Any:
        self.server.clock.tick()
        size, kind, tag = HEADER.unpack_from(request)
        assert size == len(request)
        replies = messages_of(client.send(request))
        self.may_forget |= kind == Tflush.number
        if not replies and may_wait(kind):
            assert tag in client.session.waiting
            return None
        [(reply, answered)] = replies
        assert answered == tag
        self.judge(client, reply, kind)
        return reply

    def judge(self, client: Client, reply: Any, kind: int) -> None:
        if isinstance(reply, Rlerror):
            assert reply.ecode in ERRNOS
            assert reply.ecode != Errno.EIO
        else:
            assert type(reply).number == kind + 1
        assert len(frame(reply, 0)) <= client.session.msize

    def is_free(self, client: Client) -> bool:
        return client.connection.arrival is None

    @rule(number=who, request=requests(), tag=st.integers(0, 9) | st.just(65535))
    def ask(self, number: int, request: Message, tag: int) -> None:
        client = self.clients[number]
        if self.is_free(client):
            reply = self.exchange(client, frame(request, tag))
            if isinstance(request, Twrite) and request.data and not isinstance(reply, Rlerror):
                assert reply.count > 0

    @rule(number=who, requests_=st.lists(requests(), min_size=2, max_size=6))
    def ask_many(self, number: int, requests_: list[Message]) -> None:
        client = self.clients[number]
        if self.is_free(client):
            first = 10 + max(self.waiting[number], default=0)
            tagged = dict(enumerate(requests_, first))
            data = b"".join(frame(request, tag) for tag, request in tagged.items())
            tags = [tag for _, tag in messages_of(client.send(data))]
            at_once = [tag for tag, each in tagged.items() if not may_wait(each.number)]
            assert [tag for tag in tags if tag in at_once] == at_once
            assert len(set(tags)) == len(tags)
            assert set(tags) <= self.waiting[number] | set(tagged)
            self.waiting[number] -= set(tags)
            self.waiting[number] |= set(tagged) - set(tags)
            self.may_forget |= any(isinstance(each, Tflush) for each in requests_)

    @rule(number=who, kind=st.integers(0, 255), data=st.data())
    def ask_nonsense(self, number: int, kind: int, data: st.DataObject) -> None:
        client = self.clients[number]
        if self.is_free(client) and kind != Tversion.number:
            body = data.draw(st.binary(max_size=30))
            self.exchange(client, HEADER.pack(HEADER_BYTES + len(body), kind, 7) + body)

    @rule(number=who, request=requests(), data=st.data())
    def ask_brokenly(self, number: int, request: Message, data: st.DataObject) -> None:
        client = self.clients[number]
        if self.is_free(client):
            body = data.draw(strategies.hostile(frame(request, 1)[HEADER_BYTES:]))
            header = HEADER.pack(HEADER_BYTES + len(body), request.number, 7)
            self.exchange(client, header + body)

    @rule(
        number=who,
        fid=fids,
        offset=sizes,
        count=st.sampled_from([512, 1000, 20_000, 40_000]),
        have=st.integers(23, 600),
    )
    def begin_to_write(self, number: int, fid: int, offset: int, count: int, have: int) -> None:
        client = self.clients[number]
        if self.is_free(client):
            count = min(count, client.session.msize - WRITE_OVERHEAD_BYTES)
            client.buffer(Twrite(fid, offset, b"w" * count), min(have, count))

    @precondition(lambda self: any(not self.is_free(client) for client in self.clients))
    @rule(number=who, count=st.sampled_from([1, 500, None]))
    def go_on_writing(self, number: int, count: int | None) -> None:
        client = self.clients[number]
        if not self.is_free(client):
            reply = client.arrive(count)
            if reply is not None:
                self.judge(client, reply, Twrite.number)
                assert isinstance(reply, Rlerror) or reply.count > 0

    @rule(number=who, msize=st.sampled_from([4096, 8192, 1 << 20]))
    def begin_anew(self, number: int, msize: int) -> None:
        client = self.clients[number]
        if self.is_free(client):
            client.version(msize)
            client.attach(0)
            self.may_forget = True
            assert list(client.session.fids) == [0]

    @rule(number=who)
    def come_again(self, number: int) -> None:
        self.clients[number].connection.close()
        self.server.clients.remove(self.clients[number])
        self.clients[number] = self.server.connect()
        self.may_forget = True

    @rule(
        number=who,
        kind=st.integers(0, 2),
        flags=st.integers(0, 1),
        place=st.tuples(st.integers(0, 2), st.integers(0, 2)),
        tag=st.integers(0, 9),
    )
    def lock(self, number: int, kind: int, flags: int, place: tuple[int, int], tag: int) -> None:
        client = self.clients[number]
        if self.is_free(client):
            self.exchange(client, frame(Tlock(5, kind, flags, *place, 1, b"host"), tag))

    @rule()
    def pass_time(self) -> None:
        self.server.clock.now_ns += 500 * NS
        self.server.waiting_locks.expire()

    @invariant()
    def everybody_is_answered_once(self) -> None:
        for number, client in enumerate(self.clients):
            waiting = self.waiting[number] | set(client.session.waiting)
            for reply, tag in client.late():
                assert type(reply).number in (Rlerror.number, Rlock.number)
                assert tag in waiting
                waiting.discard(tag)
            assert waiting == set(client.session.waiting) or self.may_forget
            self.waiting[number] = set(client.session.waiting)
        self.may_forget = False

    @invariant()
    def all_is_well(self) -> None:
        self.server.verify()
        for client in self.clients:
            values = [fid.value for fid in client.session.fids.values() if fid.value is not None]
            assert client.session.values_bytes == sum(len(value.data) for value in values)

    def teardown(self) -> None:
        for client in self.clients:
            client.connection.close()
        self.server.verify()
        assert not self.server.filesystem.orphans
        assert self.server.counters.fids == 0
        assert not self.server.filesystem.disk.reserved


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
