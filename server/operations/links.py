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
    link = fid.attachment.filesystem.symlink(
        fid.inode, request.name, request.symtgt, fid.attachment.uid, request.gid
    )
    return Rsymlink(session.qid(link))


@answers(Treadlink)
def readlink(session: Session, request: Treadlink) -> Rreadlink:
    """The target of a symbolic link; EINVAL for anything else (readlink(2))."""
    fid = session.fids[request.fid]
    inode = fid.inode
    if not isinstance(inode, Symlink):
        raise FileSystemError(Errno.EINVAL)
    if len(inode.target) > session.msize - TARGET_OVERHEAD_BYTES:
        raise FileSystemError(Errno.ENAMETOOLONG)  # a reply beyond msize ends a Linux mount
    inode.touch_access(fid.attachment.filesystem.now_ns())
    return Rreadlink(inode.target)


@answers(Tlink)
def link(session: Session, request: Tlink) -> Rlink:
    """Give *fid* another name; of a symbolic link, the link itself gets it."""
    directory, fid = session.fids[request.dfid], session.fids[request.fid]
    filesystem = directory.attachment.filesystem
    if fid.attachment.volume is not directory.attachment.volume:
        filesystem.vacancy(directory.inode, request.name)
        raise FileSystemError(Errno.EXDEV)  # do_linkat, fs/namei.c
    filesystem.link(fid.inode, directory.inode, request.name)
    return Rlink()


@answers(Tmknod)
def mknod(session: Session, request: Tmknod) -> Rmknod:
    """Make a FIFO, socket, device or empty file: mknod(2)."""
    fid = session.fids[request.dfid]
    inode = fid.attachment.filesystem.mknod(
        fid.inode,
        request.name,
        request.mode,
        fid.attachment.uid,
        request.gid,
        request.major,
        request.minor,
    )
    return Rmknod(session.qid(inode))
