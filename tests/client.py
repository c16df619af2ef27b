"""A server without sockets, and clients that talk to it in bytes."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import (
    AT_REMOVEDIR,
    HEADER_BYTES,
    LOCK_FLAGS_BLOCK,
    LOCK_TYPE_WRLCK,
    MSIZE_MAX,
    NOFID,
    NONUNAME,
    NOTAG,
    O_RDONLY,
    O_RDWR,
    VERSION_9P2000_L,
)
from ram9.protocol.frames import HEADER
from ram9.protocol.messages import (
    CODECS,
    DirectoryEntry,
    Qid,
    Rgetattr,
    Rgetlock,
    Rlerror,
    Rstatfs,
    Tattach,
    Tclunk,
    Tgetattr,
    Tgetlock,
    Tlcreate,
    Tlink,
    Tlock,
    Tlopen,
    Tmkdir,
    Tmknod,
    Tread,
    Treaddir,
    Treadlink,
    Tremove,
    Trenameat,
    Tsetattr,
    Tstatfs,
    Tsymlink,
    Tunlinkat,
    Tversion,
    Twalk,
    Twrite,
    Txattrcreate,
    Txattrwalk,
    decode_entries,
)
from ram9.server.chores import TURN_NS, Chores
from ram9.server.config import Rules, Squash, TemplateConfig, VolumeConfig
from ram9.server.connection import Arrival, Connection
from ram9.server.counters import Counters
from ram9.server.fids import Fid
from ram9.server.pieces import Piece
from ram9.server.session import Session
from ram9.server.templates import Templates
from ram9.server.volumes import DEFAULT_NAME, CredentialsOf, Policy, Volume, Volumes
from ram9.server.waiting import WaitingLocks
from ram9.storage.check import check
from ram9.storage.content import Claim
from ram9.storage.errors import Errno
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File, Inode, Symlink
from ram9.storage.limits import Limits

NS = 1_000_000_000
ROOT = 0  # the fid that every client attaches first
UID = 1000
GID = 100
LIMITS = Limits(size_bytes=16 << 20, inodes=1000)


class Clock:
    """Stands still, unless it is told to go on: so every change has a time of its own."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * NS

    def __call__(self) -> int:
        return self.now_ns

    def tick(self) -> None:
        self.now_ns += NS


def only(filesystem: FileSystem) -> Volumes:
    """The volumes of a server that has nothing else."""
    return Volumes([Volume(DEFAULT_NAME, filesystem)])


class ClockedMaking:
    """Makes volumes whose time is that of *clock*."""

    def __init__(self, clock: Callable[[], int], credentials_of: CredentialsOf | None) -> None:
        self._clock = clock
        self._credentials_of = credentials_of

    def policy(self, rules: Rules) -> Policy:
        return Policy(self._credentials_of, rules.squash)

    def volume(self, config: VolumeConfig, policy: Policy | None = None) -> Volume:
        limits = Limits(config.size_bytes, config.inodes)
        filesystem = FileSystem(limits, self._clock, backing=config.backing)
        return Volume(config.name.encode(), filesystem, policy or self.policy(config.rules))


class Server:
    """A file system, and the connections of its clients.

    Who waits for a lock is left waiting for *lock_wait* seconds of the clock, once ``sweep`` looks.
    """

    def __init__(
        self,
        limits: Limits = LIMITS,
        *,
        client_cache: bool = False,
        lock_wait: float = 0,
        credentials_of: CredentialsOf | None = None,
    ) -> None:
        self.client_cache = client_cache
        self.clock = Clock()
        self.filesystem = FileSystem(limits, self.clock)
        self.volumes = Volumes([Volume(DEFAULT_NAME, self.filesystem, Policy(credentials_of))])
        self._limits = limits
        self._soon: list[Callable[[], None]] = []
        self.counters = Counters()
        self.waiting_locks = WaitingLocks(self.counters, lock_wait, lambda: self.clock.now_ns / NS)
        self.reports: list[tuple[str, dict[str, object]]] = []
        self.clients: list[Client] = []
        self._last_number = 0

    def add(
        self,
        name: bytes,
        credentials_of: CredentialsOf | None = None,
        *,
        squash: Squash | None = None,
    ) -> Volume:
        """One more volume, with the limits of the first."""
        filesystem = FileSystem(self._limits, self.clock)
        volume = Volume(name, filesystem, Policy(credentials_of, squash))
        self.volumes.named[name] = volume
        return volume

    def add_template(
        self, config: TemplateConfig, credentials_of: CredentialsOf | None = None
    ) -> None:
        """Volumes that clients can make."""
        self.templates = Templates(
            [config],
            self.volumes,
            ClockedMaking(self.clock, credentials_of),
            Chores(self._soon.append, partial(next, count(0, TURN_NS // 2))),
            lambda: self.clock.now_ns / NS,
        )

    def sweep_templates(self) -> None:
        """Do what is done once a second, and all that comes of it."""
        self.templates.sweep()
        self.finish()

    def finish(self) -> None:
        """Let all chores come to their end."""
        while self._soon:
            self._soon.pop()()

    def protect(self, name: bytes) -> None:
        """Make a volume read only, for all who have it attached, too."""
        self.volumes.named[name].read_only = True
        for client in self.clients:
            client.session.protected = True

    def connect(self, uid: int = UID, aname: bytes = b"", msize: int = MSIZE_MAX) -> "Client":
        """A client that has attached *aname* as ROOT."""
        client = self.stranger()
        client.version(msize)
        client.attach(ROOT, aname, uid)
        return client

    def stranger(self) -> "Client":
        """A client that has said nothing yet."""
        self._last_number += 1
        client = Client(self, self._last_number)
        self.clients.append(client)
        return client

    def verify(self) -> None:
        """Fail if anything is wrong with a file system, or if somebody holds what nobody has."""
        arrivals = [client.connection.arrival for client in self.clients]
        filesystems = [volume.filesystem for volume in self.volumes]
        for filesystem in filesystems:
            assert check(filesystem, landing=landing_claims(arrivals, filesystem)) == []
        assert self.counters.internal_errors == 0
        fids = [fid for client in self.clients for fid in client.session.fids.values()]
        assert self.counters.fids == len(fids)
        self._verify_waiting()
        grave = self.volumes.grave
        held = Counter(fid.inode for fid in fids if fid.attachment.volume is not grave)
        held.update(
            orphan.parent
            for filesystem in filesystems
            for orphan in filesystem.orphans
            if isinstance(orphan, Directory)
        )
        inodes = [inode for filesystem in filesystems for inode in all_inodes(filesystem)]
        assert {inode: inode.holds for inode in inodes if inode.holds} == dict(held)
        locks = {inode: inode.locks.held for inode in inodes if inode.locks is not None}
        assert all(locks.values())
        assert self.counters.locks == sum(map(len, locks.values()))
        assert {(inode, lock.owner) for inode, held in locks.items() for lock in held} == {
            (inode, owner)
            for client in self.clients
            for inode, owners in client.session.locked.items()
            for owner in owners
        }

    def _verify_waiting(self) -> None:
        """Who waits is known everywhere, has an open fid, and somebody in the way."""
        waiting = [each for client in self.clients for each in client.session.waiting.values()]
        queues = self.waiting_locks
        assert self.counters.waiting_locks == len(waiting)
        assert set(queues._all) == set(waiting)
        for each in queues._of_inode, queues._of_owner:
            queued = [waiter for queue in each.values() for waiter in queue]
            assert len(queued) == len(waiting)
            assert set(queued) == set(waiting)
            assert all(each.values())
        for client in self.clients:
            for tag, waiter in client.session.waiting.items():
                assert waiter.session is client.session
                assert waiter.tag == tag
                assert waiter.fid.opened
                assert waiter.fid in client.session.fids.values()
                locks = waiter.fid.inode.locks
                assert locks is not None
                assert locks.conflict(waiter.wanted) is not None

    @contextmanager
    def unchanged(self) -> Generator[None]:
        """Fail if the block changes anything in a file system, time stamps included."""
        before = self.snapshots()
        yield
        assert self.snapshots() == before

    def snapshots(self) -> list[object]:
        """What is in each volume."""
        return [snapshot(volume.filesystem) for volume in self.volumes]


class Client:
    """One connection. The verbs send a request each and give what its reply tells.

    Those that make a fid choose its number, and return it.
    """

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.number = number
        self.session = Session(
            server.volumes,
            server.counters,
            number,
            report=lambda event, fields: server.reports.append((event, fields)),
            on_bug=raise_again,
            client_cache=server.client_cache,
            waiting_locks=server.waiting_locks,
        )
        self.connection = Connection(self.session)
        self._tag = 0
        self._fid = 1000

    # Bytes

    def send(self, data: bytes) -> bytes:
        """The bytes of the replies to whole frames; the last batch included."""
        view = memoryview(data)
        start, answered = 0, b""
        while True:
            replies: list[Piece] = []
            stop = self.connection.answer(view, start, len(view), replies)
            answered += b"".join(replies)
            if stop == start:
                break
            start = stop
        assert start == len(data), f"unanswered: {bytes(view[start:])!r}"
        return answered

    def exchange(self, request: bytes, tag: int) -> Any:
        """The reply to one frame, whose tag is *tag*."""
        self.server.clock.tick()
        [(reply, answered)] = messages_of(self.send(request))
        assert answered == tag
        return reply

    def call(self, request: Message) -> Any:
        """The reply to *request*, which must not be Rlerror."""
        reply = self.answer(request)
        assert not isinstance(reply, Rlerror), f"{request} was refused: {Errno(reply.ecode)!r}"
        assert type(reply) is CODECS[request.number + 1].message
        return reply

    def refused(self, request: Message) -> Errno:
        """Why *request* is refused; nothing must have changed by it, the fids included."""
        before, fids = self.server.snapshots(), self._fids()
        reply = self.answer(request)
        assert isinstance(reply, Rlerror), f"{request} was not refused: {reply}"
        if not isinstance(request, Tclunk | Tremove):
            assert self._fids() == fids
            assert self.server.snapshots() == before
        return Errno(reply.ecode)

    def wait(self, request: Message, tag: int | None = None) -> int:
        """Send *request*, which gets no answer yet; return its tag."""
        self.server.clock.tick()
        if tag is None:
            self._tag = tag = (self._tag + 1) % NOTAG
        assert self.send(frame(request, tag)) == b""
        return tag

    def late(self) -> list[tuple[Any, int]]:
        """The answers that came since, and their tags."""
        return messages_of(self.session.take_late())

    def land(self, request: Twrite, have_bytes: int = 40) -> Arrival | None:
        """Begin to send a large write, of which the first bytes are there; None if it must not
        land in its file."""
        self._tag = 77
        data = memoryview(frame(request, self._tag))
        self._arriving = data[have_bytes:]
        assert self.connection.expects(data, 0, have_bytes) == len(data)
        return self.connection.begin_arrival(data, 0, have_bytes, None)

    def buffer(self, request: Message, have_bytes: int = 40) -> Arrival:
        """Begin to send a large frame, which arrives in a buffer if it must."""
        self._tag = 77
        data = memoryview(frame(request, self._tag))
        self._arriving = data[have_bytes:]
        arrival = self.connection.begin_arrival(data, 0, have_bytes, bytearray(len(data) + 10))
        assert arrival is not None
        return arrival

    def arrive(self, count: int | None = None) -> Any:
        """Send the next *count* bytes of the large frame, or all: then give its reply."""
        arrival = self.connection.arrival
        assert arrival is not None
        self.server.clock.tick()
        data = self._arriving[:count]
        self._arriving = self._arriving[len(data) :]
        while data:
            view = arrival.views[0]
            part = data[: len(view)]
            view[: len(part)] = part
            if arrival.arrived(len(part)):
                assert len(part) == len(data)
                break
            data = data[len(part) :]
        if self._arriving:
            return None
        replies: list[Piece] = []
        self.connection.finish_arrival(replies)
        [(reply, tag)] = messages_of(b"".join(replies))
        assert tag == self._tag
        return reply

    def answer(self, request: Message) -> Any:
        """The reply to *request*, be it Rlerror."""
        self._tag = (self._tag + 1) % NOTAG
        tag = NOTAG if isinstance(request, Tversion) else self._tag
        data = frame(request, tag)
        reply = self.exchange(data, tag)
        assert len(frame(reply, tag)) <= max(self.session.msize, MSIZE_MIN_SEEN)
        return reply

    def _fids(self) -> dict[int, object]:
        return {number: fid_state(fid) for number, fid in self.session.fids.items()}

    # Verbs

    def new(self) -> int:
        """A fid number that was not used yet."""
        self._fid += 1
        return self._fid

    def version(self, msize: int = MSIZE_MAX, version: bytes = VERSION_9P2000_L) -> Any:
        return self.call(Tversion(msize, version))

    def attach(self, fid: int, aname: bytes = b"", uid: int = NONUNAME, uname: bytes = b"") -> Qid:
        qid: Qid = self.call(Tattach(fid, NOFID, uname, aname, uid)).qid
        return qid

    def walk(self, *names: bytes, fid: int = ROOT) -> int:
        """A new fid of what all of *names* lead to."""
        newfid = self.new()
        assert len(self.call(Twalk(fid, newfid, names)).wqid) == len(names)
        return newfid

    def qid(self, *names: bytes, fid: int = ROOT) -> Qid:
        wqid: tuple[Qid, ...] = self.call(Twalk(fid, NOFID - 1, names)).wqid
        self.clunk(NOFID - 1)
        return wqid[-1]

    def exists(self, *names: bytes, fid: int = ROOT) -> bool:
        newfid = self.new()
        reply = self.answer(Twalk(fid, newfid, names))
        found = not isinstance(reply, Rlerror) and len(reply.wqid) == len(names)
        if found:
            self.clunk(newfid)
        return found

    def open(self, *names: bytes, flags: int = O_RDONLY, fid: int = ROOT) -> int:
        """A new fid of what *names* lead to, open."""
        newfid = self.walk(*names, fid=fid)
        self.call(Tlopen(newfid, flags))
        return newfid

    def create(
        self, name: bytes, data: bytes = b"", flags: int = O_RDWR, mode: int = 0o644, at: int = ROOT
    ) -> int:
        """A new fid of a new file that holds *data*, open."""
        newfid = self.walk(fid=at)
        self.call(Tlcreate(newfid, name, flags, mode, GID))
        if data:
            self.write(newfid, data)
        return newfid

    def make(self, name: bytes, data: bytes = b"", mode: int = 0o644, at: int = ROOT) -> None:
        """Make a file that holds *data*."""
        self.clunk(self.create(name, data, mode=mode, at=at))

    def mkdir(self, name: bytes, mode: int = 0o755, at: int = ROOT) -> Qid:
        qid: Qid = self.call(Tmkdir(at, name, mode, GID)).qid
        return qid

    def symlink(self, name: bytes, target: bytes, at: int = ROOT) -> Qid:
        qid: Qid = self.call(Tsymlink(at, name, target, GID)).qid
        return qid

    def readlink(self, fid: int) -> bytes:
        target: bytes = self.call(Treadlink(fid)).target
        return target

    def mknod(self, name: bytes, mode: int, major: int = 0, minor: int = 0, at: int = ROOT) -> Qid:
        qid: Qid = self.call(Tmknod(at, name, mode, major, minor, GID)).qid
        return qid

    def link(self, fid: int, name: bytes, at: int = ROOT) -> None:
        self.call(Tlink(at, fid, name))

    def unlink(self, name: bytes, at: int = ROOT) -> None:
        self.call(Tunlinkat(at, name, 0))

    def rmdir(self, name: bytes, at: int = ROOT) -> None:
        self.call(Tunlinkat(at, name, AT_REMOVEDIR))

    def rename(self, name: bytes, new_name: bytes, at: int = ROOT, to: int = ROOT) -> None:
        self.call(Trenameat(at, name, to, new_name))

    def read(self, fid: int, offset: int = 0, count: int = 1 << 20) -> bytes:
        return bytes(self.call(Tread(fid, offset, count)).data)

    def write(self, fid: int, data: bytes, offset: int = 0) -> int:
        count: int = self.call(Twrite(fid, offset, data)).count
        return count

    def readdir(self, fid: int, offset: int = 0, count: int = 1 << 20) -> list[DirectoryEntry]:
        """The entries of one Rreaddir."""
        return decode_entries(self.call(Treaddir(fid, offset, count)).data)

    def names(self, *names: bytes, fid: int = ROOT) -> list[bytes]:
        """The names in a directory, without the dots."""
        directory = self.open(*names, fid=fid)
        listed = [entry.name for entry in self.readdir(directory)]
        self.clunk(directory)
        assert not listed or listed[:2] == [b".", b".."]
        return listed[2:]

    def getattr(self, fid: int) -> Rgetattr:
        reply: Rgetattr = self.call(Tgetattr(fid, 0x3FFF))
        return reply

    def stat(self, *names: bytes) -> Rgetattr:
        fid = self.walk(*names)
        attributes = self.getattr(fid)
        self.clunk(fid)
        return attributes

    def setattr(self, fid: int, valid: int, **values: int) -> None:
        self.call(set_attributes(fid, valid, **values))

    def statfs(self) -> Rstatfs:
        reply: Rstatfs = self.call(Tstatfs(ROOT))
        return reply

    def clunk(self, fid: int) -> None:
        self.call(Tclunk(fid))

    def getxattr(self, fid: int, name: bytes) -> bytes:
        newfid = self.new()
        size = self.call(Txattrwalk(fid, newfid, name)).size
        value = self.read(newfid, 0, size)
        assert len(value) == size
        self.clunk(newfid)
        return value

    def writer(self, fid: int, name: bytes, size: int, flags: int = 0) -> int:
        """A new fid that takes the value of an attribute."""
        newfid = self.walk(fid=fid)
        self.call(Txattrcreate(newfid, name, size, flags))
        return newfid

    def setxattr(self, fid: int, name: bytes, value: bytes, flags: int = 0) -> None:
        writer = self.writer(fid, name, len(value), flags)
        if value:
            assert self.write(writer, value) == len(value)
        self.clunk(writer)

    def lock(
        self,
        fid: int,
        type: int = LOCK_TYPE_WRLCK,
        start: int = 0,
        length: int = 0,
        process: int = 1,
        flags: int = 0,
    ) -> int:
        status: int = self.call(Tlock(fid, type, flags, start, length, process, b"host")).status
        return status

    def wait_for_lock(
        self,
        fid: int,
        type: int = LOCK_TYPE_WRLCK,
        start: int = 0,
        length: int = 0,
        process: int = 1,
    ) -> int:
        """Ask for a lock that is not to be had; the tag of the answer that is to come."""
        return self.wait(Tlock(fid, type, LOCK_FLAGS_BLOCK, start, length, process, b"host"))

    def getlock(
        self,
        fid: int,
        type: int = LOCK_TYPE_WRLCK,
        start: int = 0,
        length: int = 0,
        process: int = 1,
    ) -> Rgetlock:
        reply: Rgetlock = self.call(Tgetlock(fid, type, start, length, process, b"host"))
        return reply


MSIZE_MIN_SEEN = 4096  # a refused Tversion leaves no msize that the client knows of


def raise_again(error: Exception) -> None:
    raise error


def messages_of(data: bytes) -> list[tuple[Any, int]]:
    """Whole frames, as messages and their tags."""
    found = []
    view = memoryview(data)
    while view:
        size, kind, tag = HEADER.unpack_from(view)
        assert size <= len(view)
        found.append((CODECS[kind].decode(view, HEADER_BYTES, size), tag))
        view = view[size:]
    return found


def set_attributes(fid: int, valid: int, **values: int) -> Tsetattr:
    """A Tsetattr whose unset ids are those that Linux sends."""
    fields = dict.fromkeys(
        ("mode", "uid", "gid", "size", "atime_s", "atime_ns", "mtime_s", "mtime_ns"), 0
    )
    fields |= {"uid": NONUNAME, "gid": NONUNAME} | values
    return Tsetattr(fid, valid, **fields)


def landing_claims(arrivals: Iterable[Arrival | None], filesystem: FileSystem) -> list[Claim]:
    """The claims of writes to *filesystem* that are arriving."""
    return [
        arrival.write.landing.claim
        for arrival in arrivals
        if arrival is not None
        and arrival.write is not None
        and arrival.write.landing._disk is filesystem.disk
    ]


def all_inodes(filesystem: FileSystem) -> list[Inode]:
    """Every inode that lives."""
    found: dict[Inode, None] = {}
    todo: list[Inode] = [filesystem.root, *filesystem.orphans]
    while todo:
        inode = todo.pop()
        if inode not in found:
            found[inode] = None
            if isinstance(inode, Directory):
                todo += [child for _, child in inode.entries]
    return list(found)


def snapshot(filesystem: FileSystem) -> dict[int, tuple[object, ...]]:
    """All that a client can see of a file system, and what is used of it."""
    budget = filesystem.budget
    seen: dict[int, tuple[object, ...]] = {0: (budget.used_bytes, budget.used_inodes)}
    for inode in all_inodes(filesystem):
        holds: object = None
        if isinstance(inode, File):
            holds = inode.size_bytes, inode.content.runs, inode.content.read(0, 1 << 20)
        elif isinstance(inode, Symlink):
            holds = inode.target
        elif isinstance(inode, Directory):
            listed = inode.entries.after(0)
            holds = [(cookie, name, child.number) for cookie, name, child in listed]
        seen[inode.number] = (
            (inode.mode, inode.uid, inode.gid, inode.nlink, inode.rdev, inode.version),
            (inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.btime_ns),
            dict(inode.xattrs or {}),
            [] if inode.locks is None else list(inode.locks.held),
            holds,
        )
    return seen


def fid_state(fid: Fid) -> object:
    """What a fid is, to be compared with what it was."""
    value = fid.value and (type(fid.value), bytes(fid.value.data))
    return fid.inode, fid.attachment.uid, fid.opened, fid.readable, fid.writable, fid.append, value
