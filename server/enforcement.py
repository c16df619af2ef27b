"""What users may ask for, where the server checks it and not the client: one guard for a request.

Each refuses as Linux would, before the operation itself refuses or begins, and lets pass what Linux
clients send for users who have been allowed more than their permissions say now. What has no guard
was decided when the fid was made or opened, or is allowed to everybody; Twalk checks name by name.
"""

import stat
from typing import Final

from ram9.protocol.constants import (
    AT_REMOVEDIR,
    O_ACCMODE,
    O_EXCL,
    O_TRUNC,
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
    Txattrcreate,
    Txattrwalk,
)
from ram9.server.dispatch import guards
from ram9.server.fids import Fid, WrittenValue
from ram9.server.operations.attributes import CAPABILITY, SET_ID_BITS
from ram9.server.operations.files import check_open
from ram9.server.operations.walk import named_by
from ram9.server.session import Session
from ram9.storage import permissions
from ram9.storage.acls import ACCESS
from ram9.storage.errors import FileSystemError
from ram9.storage.inodes import Directory, File, Inode, Symlink, check_kind, check_target
from ram9.storage.limits import XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX
from ram9.storage.permissions import READ, WRITE, Credentials, may, require

NOW_TIMES: Final = SETATTR_ATIME | SETATTR_MTIME
SET_TIMES: Final = SETATTR_ATIME_SET | SETATTR_MTIME_SET

# What the access modes of open(2) ask for; the fourth is for both, and allows neither.
WANTED: Final = (READ, WRITE, READ | WRITE, READ | WRITE)


def user_of(fid: Fid) -> Credentials:
    """The user whom a fid acts for."""
    user = fid.attachment.credentials
    assert user is not None
    return user


# Files


@guards(Tlopen)
def lopen(session: Session, request: Tlopen) -> Tlopen:
    """By the mode and the access list as they are now; reading and writing then are never asked."""
    fid = session.fids[request.fid]
    if not fid.opened and fid.value is None:
        check_open(fid.inode, request.flags)
        permissions.check_open(user_of(fid), fid.inode, _wanted(request.flags))
    return request


@guards(Tlcreate)
def lcreate(session: Session, request: Tlcreate) -> Tlcreate:
    """What exists is opened; what is made may be opened whatever its mode."""
    fid = session.fids[request.fid]
    if fid.opened or fid.value is not None:
        return request
    user = user_of(fid)
    directory = permissions.check_search(user, fid.inode)
    existing = directory.entries.get(request.name)
    if existing is None:
        permissions.check_create(user, directory, request.name)
        gid = permissions.new_group(user, directory, request.gid)
        mode = permissions.new_mode(user, gid, request.mode)
        return Tlcreate(request.fid, request.name, request.flags, mode, gid)
    if not request.flags & O_EXCL and not isinstance(existing, Directory):
        check_open(existing, request.flags)
        require(user, existing, _wanted(request.flags))
    return request


def _wanted(flags: int) -> int:
    return WANTED[flags & O_ACCMODE] | (WRITE if flags & O_TRUNC else 0)


# Names


@guards(Tmkdir)
def mkdir(session: Session, request: Tmkdir) -> Tmkdir:
    """In a directory that the user may write to, for a group that it is in."""
    fid = session.fids[request.dfid]
    permissions.check_create(user_of(fid), fid.inode, request.name)
    gid = permissions.new_group(user_of(fid), fid.inode, request.gid)
    inherited = fid.inode.mode & stat.S_ISGID
    mode = request.mode & (0o1777 | inherited)  # vfs_mkdir, fs/namei.c
    return Tmkdir(request.dfid, request.name, mode, gid)


@guards(Tsymlink)
def symlink(session: Session, request: Tsymlink) -> Tsymlink:
    """As for a directory."""
    fid = session.fids[request.dfid]
    check_target(request.symtgt)
    permissions.check_create(user_of(fid), fid.inode, request.name)
    gid = permissions.new_group(user_of(fid), fid.inode, request.gid)
    return Tsymlink(request.dfid, request.name, request.symtgt, gid)


@guards(Tmknod)
def mknod(session: Session, request: Tmknod) -> Tmknod:
    """As for a directory; devices are made by root alone."""
    fid = session.fids[request.dfid]
    user, major, minor = user_of(fid), request.major, request.minor
    check_kind(stat.S_IFMT(request.mode))
    permissions.check_create(user, fid.inode, request.name)
    permissions.check_device(user, request.mode, major, minor)
    gid = permissions.new_group(user, fid.inode, request.gid)
    mode = permissions.new_mode(user, gid, request.mode)
    return Tmknod(request.dfid, request.name, mode, major, minor, gid)


@guards(Tlink)
def link(session: Session, request: Tlink) -> Tlink:
    """As for a directory; whom the file belongs to does not matter."""
    fid = session.fids[request.dfid]
    session.fids[request.fid]
    permissions.check_create(user_of(fid), fid.inode, request.name)
    return request


@guards(Tunlinkat)
def unlinkat(session: Session, request: Tunlinkat) -> Tunlinkat:
    """From a directory that the user may write to; of a sticky one, only what is the user's."""
    fid = session.fids[request.dirfd]
    if not request.flags & ~AT_REMOVEDIR:
        permissions.check_remove(user_of(fid), fid.inode, request.name)
    return request


@guards(Tremove)
def remove(session: Session, request: Tremove) -> Tremove:
    """As for Tunlinkat; the fid is clunked even if the user may not (remove(5))."""
    fid = session.fids[request.fid]
    try:
        permissions.check_remove(user_of(fid), *named_by(fid))
    except FileSystemError:
        session.clunk(request.fid)
        raise
    return request


@guards(Trenameat)
def renameat(session: Session, request: Trenameat) -> Trenameat:
    """As for removing the one, and what is replaced, and making the other."""
    source, target = session.fids[request.olddirfid], session.fids[request.newdirfid]
    if source.attachment.volume is not target.attachment.volume:
        return request  # EXDEV
    permissions.check_rename(
        user_of(source), source.inode, request.oldname, target.inode, request.newname
    )
    return request


@guards(Trename)
def rename(session: Session, request: Trename) -> Trename:
    """As for Trenameat."""
    fid, target = session.fids[request.fid], session.fids[request.newdirfid]
    if fid.attachment.volume is not target.attachment.volume:
        return request  # EXDEV
    permissions.check_rename(user_of(fid), *named_by(fid), target.inode, request.name)
    return request


# Attributes


@guards(Tsetattr)
def setattr_(session: Session, request: Tsetattr) -> Tsetattr:
    """The size by permission to write, or because the fid may; the rest by owning it, mostly.

    A fid that is open for writing may truncate whatever the mode says by now.
    """
    fid = session.fids[request.fid]
    inode, user, valid = fid.inode, user_of(fid), request.valid
    if not valid or valid & ~SETATTR_ALL:
        return request
    if valid & SETATTR_MODE and isinstance(inode, Symlink):
        return request  # EOPNOTSUPP
    if valid & SETATTR_SIZE:
        if not isinstance(inode, File):
            return request  # EISDIR, EINVAL
        if not fid.writable:
            require(user, inode, WRITE)
    _check_times(user, inode, valid)
    permissions.check_chown(
        user,
        inode,
        request.uid if valid & SETATTR_UID else None,
        request.gid if valid & SETATTR_GID else None,
    )
    if not valid & SETATTR_MODE:
        return request
    if not (_only_drops_privileges(inode, request) and _writes(session, fid)):
        permissions.check_owner(user, inode)
    gid = request.gid if valid & SETATTR_GID else inode.gid
    return _with_mode(request, permissions.changed_mode(user, gid, request.mode))


def _check_times(user: Credentials, inode: Inode, valid: int) -> None:
    """Whoever may write may set both times to now, and to truncate is to modify; all else is for
    the owner (utimensat(2), ftruncate(2)).

    That something changed may say anybody: it is what chown(2) of nothing does.
    """
    times = valid & (NOW_TIMES | SET_TIMES)
    if not times or (valid & SETATTR_SIZE and times == SETATTR_MTIME):
        return
    if times != NOW_TIMES:
        permissions.check_owner(user, inode)
    elif not user.owns(inode):
        require(user, inode, WRITE)


def _only_drops_privileges(inode: Inode, request: Tsetattr) -> bool:
    """What Linux sends when somebody else than the owner writes (file_remove_privs) or truncates:
    a mode without set-ID bits, which may be gone by now, and unlike chmod(2) without a ctime."""
    valid = request.valid
    if (
        not isinstance(inode, File)
        or valid & (SETATTR_UID | SETATTR_GID)
        or valid & (SETATTR_CTIME | SETATTR_SIZE) == SETATTR_CTIME
    ):
        return False
    cleared = stat.S_IMODE(inode.mode) & ~request.mode
    added = stat.S_IMODE(request.mode) & ~inode.mode
    return not added and not cleared & ~SET_ID_BITS


def _writes(session: Session, fid: Fid) -> bool:
    """Whether a fid's user may write to its inode, or could when it opened it: what Linux sends
    before a write does not come by the fid of that write."""
    user = user_of(fid)
    return may(user, fid.inode, WRITE) or session.writes(fid.inode, user.uid)


def _with_mode(request: Tsetattr, mode: int) -> Tsetattr:
    if mode == request.mode:
        return request
    return Tsetattr(
        request.fid,
        request.valid,
        mode,
        request.uid,
        request.gid,
        request.size,
        request.atime_s,
        request.atime_ns,
        request.mtime_s,
        request.mtime_ns,
    )


@guards(Txattrwalk)
def xattrwalk(session: Session, request: Txattrwalk) -> Txattrwalk:
    """Names are shown to everybody, values by namespace."""
    fid = session.fids[request.fid]
    if request.name:
        permissions.check_get_xattr(user_of(fid), fid.inode, request.name)
    return request


@guards(Txattrcreate)
def xattrcreate(session: Session, request: Txattrcreate) -> Txattrcreate:
    """By namespace. Whoever writes to a file takes its capabilities away (cap_inode_killpriv), and
    sets the access list that it has again: Linux does with each change of the mode."""
    fid = session.fids[request.fid]
    name = request.name
    if len(name) > XATTR_NAME_BYTES_MAX or request.attr_size > XATTR_VALUE_BYTES_MAX:
        return request  # ERANGE, E2BIG
    _check_set_xattr(session, fid, name, request.attr_size, request.flags)
    return request


def _check_set_xattr(session: Session, fid: Fid, name: bytes, size: int, flags: int) -> None:
    """Refuse what the user may not set; but Linux sends as the writer what a write takes with it:
    that a file's capabilities are gone, and with posixacl its access list as it is. And as the
    owner, whose chown(2) takes the capabilities of anything but a directory."""
    inode, user = fid.inode, user_of(fid)
    known = (inode.xattrs or {}).get(ACCESS)
    loses_capability = name == CAPABILITY and not size and flags & XATTR_REPLACE
    if loses_capability and user.owns(inode) and not isinstance(inode, Directory):
        return
    is_same_list = name == ACCESS and known is not None and len(known) == size
    is_needed_to_write = isinstance(inode, File) and (loses_capability or is_same_list)
    if not (is_needed_to_write and _writes(session, fid)):
        permissions.check_set_xattr(user, inode, name)


@guards(Tclunk)
def clunk(session: Session, request: Tclunk) -> Tclunk:
    """What may be set is decided again when it is set: the inode may be another's by now."""
    fid = session.fids[request.fid]
    value = fid.value
    if isinstance(value, WrittenValue):
        try:
            _check_set_xattr(session, fid, value.name, value.size_bytes, value.flags)
            known = (fid.inode.xattrs or {}).get(ACCESS)
            if (
                value.name == ACCESS
                and bytes(value.data) != known
                and not isinstance(fid.inode, Symlink)
            ):
                permissions.check_owner(user_of(fid), fid.inode)
        except FileSystemError:
            session.clunk(request.fid)
            raise
    return request
