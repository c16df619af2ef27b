"""Tlock, Tgetlock: POSIX byte-range locks, among all clients."""

from typing import Final

from ram9.protocol.codec import Message
from ram9.protocol.constants import (
    LOCK_BLOCKED,
    LOCK_FLAGS_BLOCK,
    LOCK_FLAGS_RECLAIM,
    LOCK_SUCCESS,
    LOCK_TYPE_RDLCK,
    LOCK_TYPE_UNLCK,
    LOCK_TYPE_WRLCK,
)
from ram9.protocol.messages import Rgetlock, Rlock, Tgetlock, Tlock
from ram9.server.dispatch import answers
from ram9.server.session import Session
from ram9.server.waiting import Waiter
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.locks import OFFSET_MAX, Lock

# Linux sends its host name, of 64 bytes at most. It is kept with each lock, and told to others.
CLIENT_ID_BYTES_MAX: Final = 255


Owner = tuple[int, int, bytes]  # session, process and host: two mounts may share the latter two


class RlockLater(Message):
    """No bytes now, and Rlock later; or BLOCKED if too many wait."""

    __slots__ = ("_session", "_waiter")

    has_data = False

    def __init__(self, session: Session, waiter: Waiter) -> None:
        self._session = session
        self._waiter = waiter

    def encode(self, tag: int) -> bytes:
        """Begin to wait."""
        if self._session.waiting_locks.enter(self._waiter, tag):
            return b""
        return Rlock(LOCK_BLOCKED).encode(tag)


@answers(Tlock)
def lock(session: Session, request: Tlock) -> Rlock | RlockLater:
    """Take or give back bytes, for whoever *proc_id* at *client_id* is.

    Linux gives all back whenever any of its processes closes the file, so giving back what one
    does not have is no error. BLOCKED makes a client that would wait sleep and ask again; so its
    answer is held for a while. EDEADLK if the client would wait for itself.
    """
    fid = session.opened(request.fid)
    inode = fid.inode
    if request.flags & ~(LOCK_FLAGS_BLOCK | LOCK_FLAGS_RECLAIM):
        raise FileSystemError(Errno.EINVAL)
    if len(request.client_id) > CLIENT_ID_BYTES_MAX:
        raise FileSystemError(Errno.EINVAL)
    owner: Owner = (session.number, request.proc_id, request.client_id)
    last = _last(request.start, request.length)
    if request.type == LOCK_TYPE_UNLCK:
        session.unlock(inode, owner, request.start, last)
        return Rlock(LOCK_SUCCESS)
    if request.type not in (LOCK_TYPE_RDLCK, LOCK_TYPE_WRLCK):
        raise FileSystemError(Errno.EINVAL)
    wanted = Lock(request.start, last, owner, exclusive=request.type == LOCK_TYPE_WRLCK)
    if session.lock(inode, wanted):
        return Rlock(LOCK_SUCCESS)
    if not request.flags & LOCK_FLAGS_BLOCK:
        return Rlock(LOCK_BLOCKED)
    if session.waiting_locks.would_deadlock(inode, wanted):
        raise FileSystemError(Errno.EDEADLK)
    return RlockLater(session, Waiter(session, fid, wanted))


@answers(Tgetlock)
def getlock(session: Session, request: Tgetlock) -> Rgetlock:
    """The lock of somebody else that stands in the way, or UNLCK and what was asked for.

    Linux always asks with the type UNLCK (fs/9p/vfs_file.c), so that we cannot know for what:
    then it is answered as for a lock to write.
    """
    inode = session.opened(request.fid).inode
    owner: Owner = (session.number, request.proc_id, request.client_id)
    last = _last(request.start, request.length)
    probe = Lock(request.start, last, owner, exclusive=request.type != LOCK_TYPE_RDLCK)
    found = inode.locks.conflict(probe) if inode.locks is not None else None
    if found is None:
        return Rgetlock(
            LOCK_TYPE_UNLCK, request.start, request.length, request.proc_id, request.client_id
        )
    _, process, client = _owner(found)
    length = 0 if found.last == OFFSET_MAX else found.last - found.start + 1
    kind = LOCK_TYPE_WRLCK if found.exclusive else LOCK_TYPE_RDLCK
    return Rgetlock(kind, found.start, length, process, client)


def _last(start: int, length: int) -> int:
    """The last byte of a range, whose length 0 means to the end; EINVAL, EOVERFLOW (fcntl(2))."""
    if start > OFFSET_MAX:
        raise FileSystemError(Errno.EINVAL)
    last = start + length - 1 if length else OFFSET_MAX
    if last > OFFSET_MAX:
        raise FileSystemError(Errno.EOVERFLOW)
    return last


def _owner(held: Lock) -> Owner:
    owner = held.owner
    assert isinstance(owner, tuple)
    session, process, client = owner
    return session, process, client
