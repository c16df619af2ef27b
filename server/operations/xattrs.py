"""Txattrwalk, Txattrcreate: extended attributes, which are read and written like small files."""

from typing import Final

from ram9.protocol.constants import XATTR_CREATE, XATTR_REPLACE
from ram9.protocol.messages import Rxattrcreate, Rxattrwalk, Txattrcreate, Txattrwalk
from ram9.server.dispatch import answers
from ram9.server.fids import Fid, ReadValue, WrittenValue
from ram9.server.session import Session
from ram9.storage import acls, xattrs
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Inode
from ram9.storage.permissions import changed_mode

ROOT_ONLY: Final = b"trusted."  # xattr(7): others do not even see the names


@answers(Txattrwalk)
def xattrwalk(session: Session, request: Txattrwalk) -> Rxattrwalk:
    """*newfid* reads the attribute *name* as it is now; with no name, the list of all names."""
    fid = session.fids[request.fid]
    if request.newfid == request.fid:
        raise FileSystemError(Errno.EINVAL)
    if request.name:
        value = fid.attachment.filesystem.get_xattr(fid.inode, request.name)
    else:
        value = xattrs.listing(fid.inode, hidden=ROOT_ONLY if fid.attachment.uid else None)
    reader = Fid(fid.inode, fid.attachment)
    session.hold_value(len(value))
    try:
        session.put(request.newfid, reader)
    except FileSystemError:
        session.hold_value(-len(value))
        raise
    reader.value = ReadValue(value)
    return Rxattrwalk(len(value))


@answers(Txattrcreate)
def xattrcreate(session: Session, request: Txattrcreate) -> Rxattrcreate:
    """*fid* takes the value of the attribute *name* from now on, and sets it when it is clunked."""
    fid = session.fids[request.fid]
    if fid.opened or fid.value is not None or request.flags & ~(XATTR_CREATE | XATTR_REPLACE):
        raise FileSystemError(Errno.EINVAL)
    xattrs.check_name(request.name)
    xattrs.check_room(fid.inode, request.name, request.attr_size)
    _check_presence(fid.inode, request.name, request.flags)
    fid.value = WrittenValue(request.name, request.attr_size, request.flags)
    return Rxattrcreate()


def write_value(
    session: Session, value: WrittenValue, offset: int, data: bytes | memoryview
) -> int:
    """Take the next bytes of a value; EINVAL if they are not the next, or are too many."""
    if offset != len(value.data) or offset + len(data) > value.size_bytes:
        raise FileSystemError(Errno.EINVAL)
    session.hold_value(len(data))
    value.data += data
    return len(data)


def commit_value(fid: Fid, value: WrittenValue) -> None:
    """Set an attribute, now that all of its value must be there (EINVAL if not).

    Linux has no message to remove one. It says so by an empty value to REPLACE the old, and for
    an access control list by any empty value (fs/9p/xattr.c, fs/9p/acl.c).
    """
    if len(value.data) != value.size_bytes:
        raise FileSystemError(Errno.EINVAL)
    inode, filesystem = fid.inode, fid.attachment.filesystem
    _check_presence(inode, value.name, value.flags)
    is_removal = not value.size_bytes and value.flags & XATTR_REPLACE
    if is_removal and value.name not in acls.NAMES:
        filesystem.remove_xattr(inode, value.name)
    else:
        filesystem.set_xattr(inode, value.name, bytes(value.data))
    user = fid.attachment.credentials
    if user is not None and value.name == acls.ACCESS and user.owns(inode):
        # As chmod(2) does (posix_acl_update_mode); a trusted client sends that.
        mode = changed_mode(user, inode.gid, inode.mode)
        if mode != inode.mode:
            filesystem.set_attributes(inode, mode=mode)


def _check_presence(inode: Inode, name: bytes, flags: int) -> None:
    """EEXIST for an attribute that is to be new and is not; ENODATA for the other way round.

    Access control lists are set whatever the flags (vfs_set_acl, fs/posix_acl.c).
    """
    if name in acls.NAMES:
        return
    there = name in (inode.xattrs or ())
    if flags & XATTR_CREATE and there:
        raise FileSystemError(Errno.EEXIST)
    if flags & XATTR_REPLACE and not there:
        raise FileSystemError(Errno.ENODATA)
