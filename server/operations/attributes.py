"""Tgetattr, Tsetattr, Tstatfs: what stat, chmod, chown, utimensat, truncate and df see."""

import stat
from typing import Final

from ram9.protocol.constants import (
    GETATTR_ALL,
    GETATTR_BASIC,
    SETATTR_ALL,
    SETATTR_ATIME,
    SETATTR_ATIME_SET,
    SETATTR_CTIME,
    SETATTR_GID,
    SETATTR_MODE,
    SETATTR_MTIME,
    SETATTR_MTIME_SET,
    SETATTR_SIZE,
    SETATTR_UID,
    V9FS_MAGIC,
)
from ram9.protocol.messages import (
    Rgetattr,
    Rsetattr,
    Rstatfs,
    Tgetattr,
    Tsetattr,
    Tstatfs,
)
from ram9.server.dispatch import answers
from ram9.server.fids import Fid
from ram9.server.session import Session
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, Inode, Symlink
from ram9.storage.limits import NAME_BYTES_MAX

BLOCK_BYTES: Final = 4096
NS: Final = 1_000_000_000
SIGNED_MAX: Final = 2**63 - 1
MASK_64: Final = 2**64 - 1
SET_ID_BITS: Final = stat.S_ISUID | stat.S_ISGID
OWNERS: Final = SETATTR_UID | SETATTR_GID
CAPABILITY: Final = b"security.capability"
NO_ID: Final = 2**32 - 1  # (uid_t) -1, which chown(2) takes for "leave it"


@answers(Tgetattr)
def getattr_(session: Session, request: Tgetattr) -> Rgetattr:
    """All attributes, whichever were asked for: Linux takes the basic ones only together."""
    inode = session.fids[request.fid].inode
    atime_s, atime_ns = divmod(inode.atime_ns, NS)
    mtime_s, mtime_ns = divmod(inode.mtime_ns, NS)
    ctime_s, ctime_ns = divmod(inode.ctime_ns, NS)
    btime_s, btime_ns = divmod(inode.btime_ns, NS)
    return Rgetattr(
        request.request_mask & GETATTR_ALL | GETATTR_BASIC,
        session.qid(inode),
        inode.mode,
        inode.uid,
        inode.gid,
        inode.nlink,
        inode.rdev,
        inode.size_bytes,
        BLOCK_BYTES,
        inode.sectors,
        atime_s & MASK_64,
        atime_ns,
        mtime_s & MASK_64,
        mtime_ns,
        ctime_s,
        ctime_ns,
        btime_s,
        btime_ns,
        0,  # gen: the Linux client compares it, and numbers are never used twice
        inode.version,
    )


@answers(Tsetattr)
def setattr_(session: Session, request: Tsetattr) -> Rsetattr:
    """Set what *valid* names, all of it or nothing; a time without its SET bit becomes now.

    *valid* 0 is what Linux sends to take privileges away from a file that has none.
    """
    fid = session.fids[request.fid]
    inode = fid.inode
    valid = request.valid
    if valid & ~SETATTR_ALL:
        raise FileSystemError(Errno.EINVAL)
    if not valid:
        return Rsetattr()
    mode = request.mode if valid & SETATTR_MODE else None
    if mode is not None and isinstance(inode, Symlink):
        raise FileSystemError(Errno.EOPNOTSUPP)
    if (valid & SETATTR_UID and request.uid == NO_ID) or (
        valid & SETATTR_GID and request.gid == NO_ID
    ):
        raise FileSystemError(Errno.EINVAL)
    if valid & SETATTR_SIZE and request.size > SIGNED_MAX:
        raise FileSystemError(Errno.EINVAL)
    takes_privileges = bool(valid & SETATTR_SIZE) or (
        bool(valid & OWNERS) and not isinstance(inode, Directory)
    )
    if takes_privileges and mode is None and inode.mode & SET_ID_BITS:
        # chown(2), and truncate(2) by another than root; Linux says so itself, by a mode.
        mode = without_set_id(fid, inode) if fid.attachment.uid or valid & OWNERS else None
    filesystem = fid.attachment.filesystem
    now_ns = filesystem.now_ns()
    atime_ns = mtime_ns = None
    if valid & SETATTR_ATIME:
        atime_ns = now_ns
        if valid & SETATTR_ATIME_SET:
            atime_ns = _time_ns(request.atime_s, request.atime_ns)
    if valid & SETATTR_MTIME:
        mtime_ns = now_ns
        if valid & SETATTR_MTIME_SET:
            mtime_ns = _time_ns(request.mtime_s, request.mtime_ns)
    filesystem.set_attributes(
        inode,
        size_bytes=request.size if valid & SETATTR_SIZE else None,
        mode=mode,
        uid=request.uid if valid & SETATTR_UID else None,
        gid=request.gid if valid & SETATTR_GID else None,
        atime_ns=atime_ns,
        mtime_ns=mtime_ns,
        now_ns=now_ns,
    )
    if takes_privileges:
        drop_capability(fid, inode, now_ns)
    if valid & SETATTR_CTIME:
        inode.touch_attributes(now_ns)
    return Rsetattr()


@answers(Tstatfs)
def statfs(session: Session, request: Tstatfs) -> Rstatfs:
    """statfs(2): what df shows, exact to the block."""
    filesystem = session.fids[request.fid].attachment.filesystem
    standing = filesystem.budget.standing()
    available = standing.available_bytes // BLOCK_BYTES
    return Rstatfs(
        V9FS_MAGIC,
        BLOCK_BYTES,
        standing.limit_bytes // BLOCK_BYTES,
        available,
        available,
        standing.limit_inodes,
        standing.available_inodes,
        filesystem.root.number,
        NAME_BYTES_MAX,
    )


def drop_capability(fid: Fid, inode: Inode, now_ns: int) -> None:
    """Where the server checks, a change of what *inode* holds or of whose it is takes its
    capabilities away, whoever makes it (cap_inode_killpriv); a trusted client does so itself."""
    if fid.attachment.credentials is not None and CAPABILITY in (inode.xattrs or ()):
        fid.attachment.filesystem.remove_xattr(inode, CAPABILITY, now_ns)


def without_set_id(fid: Fid, inode: Inode) -> int:
    """The mode of *inode* without set-user-ID, and without set-group-ID where it is that of a
    program, or of a group that the user of *fid* is known not to be in (setattr_should_drop_sgid,
    fs/attr.c)."""
    mode = inode.mode & ~stat.S_ISUID
    user = fid.attachment.credentials
    is_foreign = user is not None and not user.is_in(inode.gid)
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP or is_foreign else mode


def _time_ns(seconds: int, nanoseconds: int) -> int:
    """A time of the wire, whose seconds are signed; EINVAL for more nanoseconds than a second."""
    if nanoseconds >= NS:
        raise FileSystemError(Errno.EINVAL)
    if seconds > SIGNED_MAX:
        seconds -= 2**64
    return seconds * NS + nanoseconds
