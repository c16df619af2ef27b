"""Tversion, Tattach, Tflush: how a session begins, and how it changes its mind."""

from ram9.protocol.codec import Message
from ram9.protocol.constants import (
    MSIZE_MAX,
    MSIZE_MIN,
    NOFID,
    NONUNAME,
    VERSION_9P2000_L,
    VERSION_UNKNOWN,
)
from ram9.protocol.messages import Rattach, Rflush, Rversion, Tattach, Tflush, Tversion
from ram9.server.dispatch import answers
from ram9.server.fids import Attachment
from ram9.server.session import UNVERSIONED_FRAME_BYTES_MAX, Session
from ram9.server.users import NOBODY_UID, ROOT_UID
from ram9.server.volumes import AttachError, Place, Volume
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory
from ram9.storage.permissions import EXECUTE, Credentials, may


@answers(Tversion)
def version(session: Session, request: Tversion) -> Rversion:
    """version(5): begins the session anew, so that every fid is gone; ``unknown`` refuses.

    Below 4096 bytes a Linux client would not mount, and a directory entry might not fit.
    """
    session.close()
    session.agree(UNVERSIONED_FRAME_BYTES_MAX, versioned=False)
    # A dialect that extends ours, 9P2000.L.x, is answered by ours (version(5)).
    is_ours = (request.version + b".").startswith(VERSION_9P2000_L + b".")
    if not is_ours or request.msize < MSIZE_MIN:
        session.report(
            "version refused",
            {
                "version": request.version,
                "msize": request.msize,
                "reason": f"only 9P2000.L with an msize of {MSIZE_MIN} or more is served",
            },
        )
        return Rversion(min(request.msize, MSIZE_MAX), VERSION_UNKNOWN)
    session.agree(min(request.msize, MSIZE_MAX), versioned=True)
    return Rversion(session.msize, VERSION_9P2000_L)


@answers(Tattach)
def attach(session: Session, request: Tattach) -> Rattach:
    """attach(5): *fid* stands for the directory *aname*, and acts for the user *n_uname*.

    Linux mounts as "nobody" without a number, then attaches once for each user by number. Either
    is welcome: who may come is decided by who can reach the socket.
    """
    if request.afid != NOFID:
        raise FileSystemError(Errno.EINVAL)
    uid = request.n_uname
    if uid == NONUNAME:
        uid = ROOT_UID if request.uname == b"root" else NOBODY_UID
    try:
        session.check_room(request.fid)
        place = session.volumes.find(request.aname)
        uid, user = _user(place, uid)
        if place.name in session.ended:
            raise AttachError(Errno.ESTALE, "it has ended while it was mounted: mount it again")
        volume = place.open()
        root = _directory(volume, place.way, user)
    except AttachError as refusal:
        session.report("attach refused", {"aname": request.aname, "reason": refusal.reason})
        raise
    session.attach(request.fid, Attachment(volume, root, uid, user, session.number))
    session.report("attached", {"uname": request.uname, "uid": uid, "aname": request.aname})
    return Rattach(session.qid(root))


def _user(place: Place, uid: int) -> tuple[int, Credentials | None]:
    """Who *uid* is, as Policy.user; EIO if the user database does not answer.

    Not knowing somebody's groups must not let anybody in: a list may keep a group out.
    """
    try:
        return place.policy.user(uid)
    except OSError as error:
        reason = f"the groups of user {uid} are not to be had: {error}"
        raise AttachError(Errno.EIO, reason) from error


class RflushBehind(Message):
    """Rflush, behind the late answers that are not sent yet."""

    __slots__ = ("_late",)

    has_data = False

    def __init__(self, late: bytes) -> None:
        self._late = late

    def encode(self, tag: int) -> bytes:
        """Several frames."""
        return self._late + Rflush().encode(tag)


@answers(Tflush)
def flush(session: Session, request: Tflush) -> Rflush | RflushBehind:
    """flush(5): *oldtag* was answered, or waits for a lock: then it gets no answer, and no lock.

    All else is answered before the next request is read. Answering it first and then Rflush is what
    Linux needs: an answer that is held back must not have had an effect (net/9p/client.c,
    p9_client_flush). And no answer may come behind Rflush, when the tag is free to be used again.
    """
    waiter = session.waiting.get(request.oldtag)
    if waiter is not None:
        session.waiting_locks.leave(waiter)
    late = session.take_late()
    return RflushBehind(late) if late else Rflush()


def _directory(volume: Volume, way: list[bytes], user: Credentials | None) -> Directory:
    """The directory of *volume* that the names of *way* lead to; ``..`` leads nowhere.

    *user* must be able to get there, if there is one who is checked.
    """
    inode: Directory = volume.filesystem.root
    for name in way:
        if user is not None and not may(user, inode, EXECUTE):
            raise AttachError(Errno.EACCES, "no permission to go there")
        child = inode.entries.get(name)
        if not isinstance(child, Directory):
            raise AttachError(Errno.ENOENT, "no such directory")
        inode = child
    return inode
