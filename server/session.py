"""One client's state: what was agreed on, its fids, its locks."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import Final

from ram9.protocol.codec import Message
from ram9.protocol.constants import MSIZE_MAX, NOFID, READ_OVERHEAD_BYTES
from ram9.protocol.wire import Qid
from ram9.server.counters import Counters
from ram9.server.fids import Attachment, Fid, FidTable
from ram9.server.volumes import Volume, Volumes
from ram9.server.waiting import Waiter, WaitingLocks
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, Inode
from ram9.storage.locks import OFFSET_MAX, Lock, Locks
from ram9.storage.tables import is_oversized

# A Tversion has 21 bytes: before it nobody may make us hold more than a little.
UNVERSIONED_FRAME_BYTES_MAX: Final = 8192
FIDS_MAX: Final = 1 << 20  # of one connection: cache=loose keeps one for each name it ever saw
FIDS_TOTAL_MAX: Final = 1 << 22  # of all connections, where there is memory for them
FIDS_AT_ONCE: Final = 1024  # that are made stale, in less than a millisecond
ENDED_MAX: Final = 256  # names of volumes that one client has used up
FID_BYTES: Final = 256  # what one costs at most; 170 to 201 were measured
LOCKS_MAX: Final = 1 << 12  # on one inode
LOCKS_TOTAL_MAX: Final = 1 << 18
VALUES_BYTES_MAX: Final = 16 << 20  # of attributes that one connection is reading or writing
VALUES_TOTAL_BYTES_MAX: Final = 64 << 20

# qid.type by the type bits of the mode.
QID_TYPES: Final = [0x80 if kind == 0o04 else 0x02 if kind == 0o12 else 0 for kind in range(16)]

# What of an inode's version is told, by the type bits of the mode. A version of 0 has the Linux
# client keep no data of a file between requests (fs/9p/fid.h). Without that, Linux 7.2 takes what
# was written behind the size that a file had when it was looked up for a hole, as soon as its pages
# leave the cache: with cache=mmap and cache=loose it reads zeros there, and writes them back.
COUNTED_VERSIONS: Final = [0xFFFFFFFF] * 16
CACHELESS_VERSIONS: Final = [0 if kind == 0o10 else 0xFFFFFFFF for kind in range(16)]

Report = Callable[[str, dict[str, object]], None]


def ignore(_event: str, _fields: dict[str, object]) -> None:
    """Report to nobody."""


def keep() -> None:
    """Leave late answers where they are, for somebody who asks for them."""


class Session:
    """What the server knows of one connection.

    *report* is told, as an event and its fields, what an operator wants to know. *on_bug* gets
    every exception that should not have been. *client_cache* lets the client
    keep data of files. *waiting_locks* is where all sessions wait for each other's locks.
    *fids_total_max* bounds the fids of all. ``guarded`` and ``protected`` are whether requests are
    to be checked: once there is an attachment with credentials, or to a volume that is read only.
    ``on_late`` is called when there begin to be answers for ``take_late``.
    """

    __slots__ = (
        "_late",
        "_leased",
        "_opens",
        "_reply_bytes_max",
        "_writers",
        "counters",
        "data_bytes_max",
        "ended",
        "fids",
        "fids_total_max",
        "guarded",
        "locked",
        "msize",
        "number",
        "on_bug",
        "on_late",
        "protected",
        "report",
        "values_bytes",
        "version_masks",
        "versioned",
        "volumes",
        "waiting",
        "waiting_locks",
    )

    def __init__(
        self,
        volumes: Volumes,
        counters: Counters,
        number: int = 0,
        report: Report = ignore,
        on_bug: Callable[[Exception], None] | None = None,
        *,
        client_cache: bool = False,
        waiting_locks: WaitingLocks | None = None,
        fids_total_max: int = FIDS_TOTAL_MAX,
    ) -> None:
        self.volumes = volumes
        self.counters = counters
        self.number = number  # tells the owners of locks, and users of volumes, apart
        self.report = report
        self.on_bug = on_bug
        self.guarded = False
        self.protected = False
        self.ended: dict[bytes, None] = {}  # names of volumes that are gone, the last ones
        self._leased: dict[Volume, None] = {}  # attached, and not there for ever
        self.version_masks = COUNTED_VERSIONS if client_cache else CACHELESS_VERSIONS
        self.fids = FidTable()
        self.fids_total_max = fids_total_max
        self._reply_bytes_max = MSIZE_MAX
        self.agree(UNVERSIONED_FRAME_BYTES_MAX, versioned=False)
        self.locked: dict[Inode, set[Hashable]] = {}  # who of this session holds locks, and where
        self.waiting_locks = WaitingLocks(counters) if waiting_locks is None else waiting_locks
        self.waiting: dict[int, Waiter] = {}  # for locks, by tag
        self.on_late: Callable[[], None] = keep
        self._late: list[bytes] = []
        self._opens: dict[Inode, int] = {}  # open fids
        self._writers: Counter[tuple[Inode, int]] = Counter()  # those for writing, by user
        self.values_bytes = 0

    def attach(self, number: int, attachment: Attachment) -> None:
        """Let *number* stand for what was attached."""
        volume = attachment.volume
        self.put(number, Fid(attachment.root, attachment))
        self.guarded = self.guarded or attachment.credentials is not None
        self.protected = self.protected or volume.read_only
        if volume.tenure is not None:
            volume.sessions[self] = None
            self._leased[volume] = None

    def check_room(self, number: int) -> None:
        """Refuse a new fid of that number, as put."""
        if number == NOFID:
            raise FileSystemError(Errno.EBADF)
        if number not in self.fids:
            if len(self.fids) >= FIDS_MAX:
                raise FileSystemError(Errno.EMFILE)
            if self.counters.fids >= self.fids_total_max:
                raise FileSystemError(Errno.ENFILE)

    def put(self, number: int, fid: Fid, source: int = NOFID) -> None:
        """Let *number* stand for *fid*, which begins to hold its inode.

        A number that is in use is clunked first. That of *source*, from which *fid* was made, may
        be: walk(5). With any other, Linux clients of several versions have lost track of fids after
        a signal; a strict server breaks their mounts.
        """
        if number == NOFID:
            raise FileSystemError(Errno.EBADF)
        fids = self.fids
        # The new one first: the old one may be all that keeps the inode alive.
        fid.inode.holds += 1
        if number in fids:
            if number != source:
                self.counters.protocol_errors["fid in use"] += 1
            self.clunk(number)
        elif len(fids) >= FIDS_MAX:
            fid.attachment.filesystem.release(fid.inode)
            raise FileSystemError(Errno.EMFILE)
        elif self.counters.fids >= self.fids_total_max:
            fid.attachment.filesystem.release(fid.inode)
            raise FileSystemError(Errno.ENFILE)
        fids[number] = fid
        self.counters.fids += 1

    def clunk(self, number: int) -> Fid:
        """Forget a fid and let go of its inode; EBADF if there is none."""
        fid = self.fids[number]
        del self.fids[number]
        self.counters.fids -= 1
        self._let_go_of(fid)
        return fid

    def _let_go_of(self, fid: Fid) -> None:
        """End what a fid holds and keeps others from, which is no number's any more."""
        if fid.value is not None:
            self.hold_value(-len(fid.value.data))
        if fid.opened:
            if self.waiting:
                self.waiting_locks.refuse(self, fid)
            self._note_closed(fid)
        fid.attachment.filesystem.release(fid.inode)

    def close(self) -> None:
        """Forget everything: all fids, locks, values that were not yet set, and late answers."""
        self.let_go()
        self.forget(len(self.fids))
        self.guarded = False
        self.protected = False
        self.ended.clear()

    def let_go(self) -> None:
        """Forget all that others may wait for, and wait for nothing any more; fids are left."""
        for waiter in list(self.waiting.values()):
            self.waiting_locks.leave(waiter)
        self._late.clear()
        for volume in self._leased:
            volume.sessions.pop(self, None)
        self._leased.clear()
        for inode, owners in list(self.locked.items()):
            self._unlock_all(inode, owners)

    def shrink(self) -> None:
        """Make the tables of fids smaller where few of many are left."""
        if is_oversized(self.fids):
            self.fids = FidTable(self.fids)
        if is_oversized(self._opens):
            self._opens = dict(self._opens.items())

    def forget(self, count_max: int) -> bool:
        """Clunk up to *count_max* fids; True when none is left."""
        for number in list(islice(self.fids, count_max)):
            self.clunk(number)
        return not self.fids

    def note_ended(self, volume: Volume) -> None:
        """A volume has ended, whose fids this has: nothing is done with them any more."""
        self.protected = True
        self.ended[volume.name] = None
        if len(self.ended) > ENDED_MAX:
            del self.ended[next(iter(self.ended))]
        self.leave(volume)

    def leave(self, volume: Volume) -> None:
        """Forget that a volume was attached."""
        volume.sessions.pop(self, None)
        self._leased.pop(volume, None)

    def expire(self, volume: Volume) -> Iterator[None]:
        """Let go of a volume that has ended, step by step: its fids then stand for nothing.

        They stay numbers of this client's, which it has to clunk.
        """
        grave = self.volumes.grave
        stale = Fid(grave.filesystem.root, Attachment(grave, grave.filesystem.root, 0))
        for count, number in enumerate(list(self.fids), start=1):
            fid = self.fids.get(number)
            if fid is not None and fid.attachment.volume is volume:
                stale.inode.holds += 1
                self.fids[number] = stale
                self._let_go_of(fid)
            del fid  # it may be all that keeps the volume
            if not count % FIDS_AT_ONCE:
                yield

    def agree(self, msize: int, *, versioned: bool) -> None:
        """Bound frames to *msize* bytes from now on; *versioned* is whether 9P2000.L is spoken."""
        self.msize = msize
        self.versioned = versioned
        self.limit_replies(self._reply_bytes_max)

    def limit_replies(self, reply_bytes_max: int) -> None:
        """Bound the data of one reply, beyond what msize does."""
        self._reply_bytes_max = reply_bytes_max
        self.data_bytes_max = min(self.msize - READ_OVERHEAD_BYTES, reply_bytes_max)

    def qid(self, inode: Inode) -> Qid:
        """How the protocol names an inode."""
        kind = inode.mode >> 12
        return Qid(QID_TYPES[kind], inode.version & self.version_masks[kind], inode.number)

    def opened(self, number: int) -> Fid:
        """An open fid; EBADF otherwise."""
        fid = self.fids[number]
        if not fid.opened:
            raise FileSystemError(Errno.EBADF)
        return fid

    def note_opened(self, fid: Fid) -> None:
        """Count an open fid."""
        inode = fid.inode
        self._opens[inode] = self._opens.get(inode, 0) + 1
        if fid.writable:
            self._writers[inode, fid.attachment.uid] += 1

    def writes(self, inode: Inode, uid: int) -> bool:
        """Whether a fid of the user *uid* is open for writing to *inode*."""
        return (inode, uid) in self._writers

    def hold_value(self, count_bytes: int) -> None:
        """Hold more bytes of attribute values, or fewer; ENOMEM beyond what is bearable."""
        if count_bytes > 0 and (
            self.values_bytes + count_bytes > VALUES_BYTES_MAX
            or self.counters.values_bytes + count_bytes > VALUES_TOTAL_BYTES_MAX
        ):
            raise FileSystemError(Errno.ENOMEM)
        self.values_bytes += count_bytes
        self.counters.values_bytes += count_bytes

    def _note_closed(self, fid: Fid) -> None:
        """Uncount an open fid; with the last one go this session's locks on the inode.

        The Linux client unlocks when it closes; this is for those that do not.
        """
        inode = fid.inode
        if fid.writable:
            writer = inode, fid.attachment.uid
            self._writers[writer] -= 1
            if not self._writers[writer]:
                del self._writers[writer]
        self._opens[inode] -= 1
        if not self._opens[inode]:
            del self._opens[inode]
            if owners := self.locked.get(inode):
                self._unlock_all(inode, owners)

    def answer_late(self, tag: int, reply: Message) -> None:
        """Answer a request that was not answered at once."""
        self._late.append(reply.encode(tag))
        if len(self._late) == 1:
            self.on_late()

    def take_late(self) -> bytes:
        """The late answers, which are sent then."""
        late = b"".join(self._late)
        self._late.clear()
        return late

    def lock(self, inode: Inode, wanted: Lock) -> bool:
        """Take *wanted* for one of this client's; grant what can be had by that.

        False, ENOLCK as for take.
        """
        weakens = inode.locks is not None and inode.locks.weakens(wanted)
        is_taken = self.take(inode, wanted)
        if weakens and is_taken:
            self.waiting_locks.wake(inode, wanted.start, wanted.last)
        return is_taken

    def take(self, inode: Inode, wanted: Lock) -> bool:
        """Take *wanted*; False if a lock of somebody else is in the way.

        ENOLCK where there are too many, whether or not this would make one more.
        """
        locks = Locks() if inode.locks is None else inode.locks
        before = len(locks)
        if before >= LOCKS_MAX or self.counters.locks >= LOCKS_TOTAL_MAX:
            raise FileSystemError(Errno.ENOLCK)
        if not locks.acquire(wanted):
            return False
        self.counters.locks += len(locks) - before
        inode.locks = locks
        self.locked.setdefault(inode, set()).add(wanted.owner)
        return True

    def unlock(self, inode: Inode, owner: Hashable, start: int, last: int) -> None:
        """Give back bytes, to those who wait for them.

        ENOLCK where that makes two locks of one, and there are too many.
        """
        locks = inode.locks
        if locks is None:
            return
        before = len(locks)
        if before >= LOCKS_MAX and locks.splits(owner, start, last):
            raise FileSystemError(Errno.ENOLCK)
        is_freed = locks.release(owner, start, last)
        self.counters.locks += len(locks) - before
        if not locks:
            inode.locks = None
        if not locks.holds(owner):
            self._forget_owner(inode, owner)
        if is_freed:
            self.waiting_locks.wake(inode, start, last)

    def _unlock_all(self, inode: Inode, owners: set[Hashable]) -> None:
        """Give back all that *owners*, who are all of this session, have locked."""
        locks = inode.locks
        assert locks is not None
        before = len(locks)
        locks.release_all(owners)
        self.counters.locks += len(locks) - before
        if not locks:
            inode.locks = None
        del self.locked[inode]
        self.waiting_locks.wake(inode, 0, OFFSET_MAX)  # once: all who wait are looked at

    def _forget_owner(self, inode: Inode, owner: Hashable) -> None:
        owners = self.locked.get(inode)
        if owners is not None:
            owners.discard(owner)
            if not owners:
                del self.locked[inode]


def directory_of(fid: Fid) -> Directory:
    """The directory that a fid stands for; ENOTDIR otherwise."""
    inode = fid.inode
    if not isinstance(inode, Directory):
        raise FileSystemError(Errno.ENOTDIR)
    return inode
