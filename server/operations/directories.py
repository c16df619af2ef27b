"""Treaddir, Tmkdir, Tunlinkat, Trename, Trenameat: names."""

from collections.abc import Iterator

from ram9.protocol.constants import AT_REMOVEDIR, DT_DIR, QTDIR
from ram9.protocol.messages import (
    Rmkdir,
    Rreaddir,
    Rrename,
    Rrenameat,
    Runlinkat,
    Tmkdir,
    Treaddir,
    Trename,
    Trenameat,
    Tunlinkat,
    encode_entry,
)
from ram9.server.dispatch import answers
from ram9.server.fids import Fid
from ram9.server.operations.walk import named_by, parent_within
from ram9.server.session import QID_TYPES, Session, directory_of
from ram9.storage.directories import DOT_COOKIE, DOTDOT_COOKIE
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory


@answers(Treaddir)
def readdir(session: Session, request: Treaddir) -> Rreaddir:
    """Whole entries behind the cookie *offset*, at most *count* bytes of them; none at the end.

    Names that come after the reading began at offset 0 are left out: somebody who renames as fast
    as another reads must not keep the reader for ever.
    """
    fid = session.opened(request.fid)
    directory = directory_of(fid)
    room = min(request.count, session.data_bytes_max)
    if not request.offset or not fid.last_cookie:
        fid.last_cookie = directory.entries.last_cookie
    entries: list[bytes] = []
    for entry in _entries(session, fid.attachment.root, directory, request.offset, fid.last_cookie):
        room -= len(entry)
        if room < 0:
            if not entries:
                raise FileSystemError(Errno.EINVAL)  # nothing would say that there is no more
            break
        entries.append(entry)
    directory.touch_access(fid.attachment.filesystem.now_ns())
    return Rreaddir(b"".join(entries))


def _entries(
    session: Session, root: Directory, directory: Directory, offset: int, last_cookie: int
) -> Iterator[bytes]:
    """The entries behind *offset*, encoded; the ``..`` of what was attached is itself."""
    if not directory.nlink:
        return  # it was removed
    if offset < DOT_COOKIE:
        yield encode_entry(QTDIR, directory.version, directory.number, DOT_COOKIE, DT_DIR, b".")
    if offset < DOTDOT_COOKIE:
        parent = parent_within(root, directory) or directory
        yield encode_entry(QTDIR, parent.version, parent.number, DOTDOT_COOKIE, DT_DIR, b"..")
    masks = session.version_masks
    for cookie, name, inode in directory.entries.after(offset):
        if cookie > last_cookie:
            break
        kind = inode.mode >> 12  # the type that readdir(3) gives is the type bits of the mode
        version = inode.version & masks[kind]
        yield encode_entry(QID_TYPES[kind], version, inode.number, cookie, kind, name)


@answers(Tmkdir)
def mkdir(session: Session, request: Tmkdir) -> Rmkdir:
    """Make a directory that belongs to the fid's user and the group *gid*."""
    fid = session.fids[request.dfid]
    directory = fid.attachment.filesystem.mkdir(
        fid.inode, request.name, request.mode, fid.attachment.uid, request.gid
    )
    return Rmkdir(session.qid(directory))


@answers(Tunlinkat)
def unlinkat(session: Session, request: Tunlinkat) -> Runlinkat:
    """Remove a name: unlinkat(2)."""
    fid = session.fids[request.dirfd]
    directory = fid.inode
    if request.flags & ~AT_REMOVEDIR:
        raise FileSystemError(Errno.EINVAL)
    if request.flags:
        fid.attachment.filesystem.rmdir(directory, request.name)
    else:
        fid.attachment.filesystem.unlink(directory, request.name)
    return Runlinkat()


@answers(Trename)
def rename(session: Session, request: Trename) -> Rrename:
    """Move what *fid* was reached by; Linux asks for Trenameat instead."""
    fid = session.fids[request.fid]
    to = session.fids[request.newdirfid]
    target = to.inode
    parent, name = named_by(fid)
    _check_volume(fid, to)
    fid.attachment.filesystem.rename(parent, name, target, request.name)
    if isinstance(target, Directory):
        fid.parent, fid.cookie = target, target.entries.cookie_of(request.name)
    return Rrename()


@answers(Trenameat)
def renameat(session: Session, request: Trenameat) -> Rrenameat:
    """Move a name, over what is there: renameat(2)."""
    source, target = session.fids[request.olddirfid], session.fids[request.newdirfid]
    directory_of(source)
    _check_volume(source, target)
    source.attachment.filesystem.rename(
        source.inode, request.oldname, target.inode, request.newname
    )
    return Rrenameat()


def _check_volume(source: Fid, target: Fid) -> None:
    """EXDEV if *target*, a directory (ENOTDIR), is of another volume (do_renameat2, fs/namei.c)."""
    if source.attachment.volume is not target.attachment.volume:
        directory_of(target)
        raise FileSystemError(Errno.EXDEV)
