"""What may not be asked of a volume that is read only: whatever would change something (EROFS).

Linux refuses where it asks for permission to write to a mount (mnt_want_write, fs/namespace.c): for
some requests before it looks whether there is such a name, for others behind that. What is refused
for another reason in any case is left to the operation.
"""

import stat
from typing import Final

from ram9.protocol.constants import (
    AT_REMOVEDIR,
    O_ACCMODE,
    O_EXCL,
    O_RDONLY,
    O_TRUNC,
    SETATTR_ALL,
    SETATTR_SIZE,
    XATTR_CREATE,
    XATTR_REPLACE,
)
from ram9.protocol.messages import (
    Tclunk,
    Tlcreate,
    Tlink,
    Tlopen,
    Tmkdir,
    Tmknod,
    Tremove,
    Trename,
    Trenameat,
    Tsetattr,
    Tsymlink,
    Tunlinkat,
    Twrite,
    Txattrcreate,
)
from ram9.server.dispatch import protects
from ram9.server.fids import Fid, WrittenValue
from ram9.server.operations.files import check_open
from ram9.server.operations.walk import named_by
from ram9.server.session import Session, directory_of
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, File, Inode, check_kind, check_target
from ram9.storage.limits import XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX
from ram9.storage.permissions import check_search

DOTS: Final = (b".", b"..")


# Files


@protects(Tlopen)
def lopen(session: Session, request: Tlopen) -> None:
    """Files are opened to be read; what only a client opens is not ours to protect."""
    fid = session.fids[request.fid]
    if not fid.opened and fid.value is None:
        _check_open(fid.inode, request.flags)


@protects(Tlcreate)
def lcreate(session: Session, request: Tlcreate) -> None:
    """What exists may be opened to be read (open_last_lookups, fs/namei.c)."""
    fid = session.fids[request.fid]
    if fid.opened or fid.value is not None:
        return
    existing = _searched(fid).entries.get(request.name)
    if existing is None:
        _check_vacancy(fid, request.name)
    elif not request.flags & O_EXCL and not isinstance(existing, Directory):
        _check_open(existing, request.flags)


@protects(Twrite)
def write(session: Session, request: Twrite) -> None:
    """A fid that is open for writing was opened before the volume became read only."""
    fid = session.fids[request.fid]
    if fid.writable:
        raise FileSystemError(Errno.EROFS)


def _check_open(inode: Inode, flags: int) -> None:
    check_open(inode, flags)
    if isinstance(inode, File) and (flags & O_ACCMODE != O_RDONLY or flags & O_TRUNC):
        raise FileSystemError(Errno.EROFS)


# Names


@protects(Tmkdir)
def mkdir(session: Session, request: Tmkdir) -> None:
    """Behind the look whether the name is free (filename_create, fs/namei.c)."""
    _check_vacancy(session.fids[request.dfid], request.name)


@protects(Tsymlink)
def symlink(session: Session, request: Tsymlink) -> None:
    """As for a directory."""
    fid = session.fids[request.dfid]
    check_target(request.symtgt)
    _check_vacancy(fid, request.name)


@protects(Tmknod)
def mknod(session: Session, request: Tmknod) -> None:
    """As for a directory."""
    fid = session.fids[request.dfid]
    check_kind(stat.S_IFMT(request.mode))
    _check_vacancy(fid, request.name)


@protects(Tlink)
def link(session: Session, request: Tlink) -> None:
    """As for a directory, and before the volumes are compared (do_linkat)."""
    directory = session.fids[request.dfid]
    session.fids[request.fid]
    _check_vacancy(directory, request.name)


@protects(Tunlinkat)
def unlinkat(session: Session, request: Tunlinkat) -> None:
    """Whether there is such a name or not (do_unlinkat, do_rmdir)."""
    fid = session.fids[request.dirfd]
    if request.flags & ~AT_REMOVEDIR:
        return
    _searched(fid)
    if request.name not in DOTS:
        raise FileSystemError(Errno.EROFS)


@protects(Tremove)
def remove(session: Session, request: Tremove) -> None:
    """The fid is clunked though (remove(5))."""
    fid = session.fids[request.fid]
    try:
        named_by(fid)
    finally:
        session.clunk(request.fid)
    raise FileSystemError(Errno.EROFS)


@protects(Trenameat)
def renameat(session: Session, request: Trenameat) -> None:
    """Behind the look at the volumes, and before that at the names (do_renameat2)."""
    source, target = session.fids[request.olddirfid], session.fids[request.newdirfid]
    _searched(source)
    _check_rename(source, target, request.oldname, request.newname)


@protects(Trename)
def rename(session: Session, request: Trename) -> None:
    """As for Trenameat."""
    source, target = session.fids[request.fid], session.fids[request.newdirfid]
    named_by(source)
    _check_rename(source, target, request.name)


def _check_rename(source: Fid, target: Fid, *names: bytes) -> None:
    _searched(target)
    is_foreign = source.attachment.volume is not target.attachment.volume
    if not is_foreign and not any(name in DOTS for name in names):
        raise FileSystemError(Errno.EROFS)


def _check_vacancy(fid: Fid, name: bytes) -> None:
    """Refuse to make *name*: for another reason, or because nothing is made here."""
    _searched(fid)
    fid.attachment.filesystem.vacancy(fid.inode, name)
    raise FileSystemError(Errno.EROFS)


def _searched(fid: Fid) -> Directory:
    """The directory that a fid stands for (ENOTDIR), if its user may look names up there."""
    user = fid.attachment.credentials
    return directory_of(fid) if user is None else check_search(user, fid.inode)


# Attributes


@protects(Tsetattr)
def setattr_(session: Session, request: Tsetattr) -> None:
    """All of it; but that there is no size to set comes before (vfs_truncate, fs/open.c)."""
    fid = session.fids[request.fid]
    valid = request.valid
    if not valid or valid & ~SETATTR_ALL:
        return
    if valid & SETATTR_SIZE and not isinstance(fid.inode, File):
        return
    raise FileSystemError(Errno.EROFS)


@protects(Txattrcreate)
def xattrcreate(session: Session, request: Txattrcreate) -> None:
    """Behind what is wrong with the words alone (setxattr_copy, fs/xattr.c)."""
    fid = session.fids[request.fid]
    if fid.opened or fid.value is not None or request.flags & ~(XATTR_CREATE | XATTR_REPLACE):
        return
    too_long = len(request.name) > XATTR_NAME_BYTES_MAX
    if not too_long and request.attr_size <= XATTR_VALUE_BYTES_MAX:
        raise FileSystemError(Errno.EROFS)


@protects(Tclunk)
def clunk(session: Session, request: Tclunk) -> None:
    """A value that was to be set is not, since the volume has become read only."""
    fid = session.fids[request.fid]
    if isinstance(fid.value, WrittenValue):
        session.clunk(request.fid)
        raise FileSystemError(Errno.EROFS)
