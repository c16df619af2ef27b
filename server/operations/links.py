"""Tsymlink, Treadlink, Tlink, Tmknod: whatever is not a file or a directory, and second names."""

from typing import Final

from ram9.protocol.messages import (
    Rlink,
    Rmknod,
    Rreadlink,
    Rsymlink,
    Tlink,
    Tmknod,
    Treadlink,
    Tsymlink,
)
from ram9.server.dispatch import answers
from ram9.server.session import Session
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Symlink

TARGET_OVERHEAD_BYTES: Final = 9  # what Rreadlink holds besides the target


@answers(Tsymlink)
def symlink(session: Session, request: Tsymlink) -> Rsymlink:
    """Make a symbolic link: symlink(2)."""
    fid = session.fids[request.dfid]
    link = session.filesystem.symlink(
        fid.inode, request.name, request.symtgt, fid.attachment.uid, request.gid
    )
    return Rsymlink(session.qid(link))


@answers(Treadlink)
def readlink(session: Session, request: Treadlink) -> Rreadlink:
    """The target of a symbolic link; EINVAL for anything else (readlink(2))."""
    inode = session.fids[request.fid].inode
    if not isinstance(inode, Symlink):
        raise FileSystemError(Errno.EINVAL)
    if len(inode.target) > session.msize - TARGET_OVERHEAD_BYTES:
        raise FileSystemError(Errno.ENAMETOOLONG)  # a reply beyond msize ends a Linux mount
    inode.touch_access(session.filesystem.now_ns())
    return Rreadlink(inode.target)


@answers(Tlink)
def link(session: Session, request: Tlink) -> Rlink:
    """Give *fid* another name; of a symbolic link, the link itself gets it."""
    directory = session.fids[request.dfid].inode
    session.filesystem.link(session.fids[request.fid].inode, directory, request.name)
    return Rlink()


@answers(Tmknod)
def mknod(session: Session, request: Tmknod) -> Rmknod:
    """Make a FIFO, socket, device or empty file: mknod(2)."""
    fid = session.fids[request.dfid]
    inode = session.filesystem.mknod(
        fid.inode,
        request.name,
        request.mode,
        fid.attachment.uid,
        request.gid,
        request.major,
        request.minor,
    )
    return Rmknod(session.qid(inode))
