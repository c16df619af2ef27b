"""Who may do what: the rules of POSIX in the order in which Linux applies them.

Each check refuses what Linux refuses for lack of permission (EACCES, EPERM), and before it what
Linux looks at first. What is left to the operation itself comes later in Linux too. Sources:
fs/namei.c, fs/attr.c, fs/xattr.c, fs/posix_acl.c.
"""

import stat
from typing import Final

from ram9.storage import acls
from ram9.storage.directories import check_name
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, File, Inode, Symlink

READ: Final = 4
WRITE: Final = 2
EXECUTE: Final = 1  # of a directory: to search it

DOTS: Final = (b".", b"..")
TRUSTED: Final = b"trusted."
USER: Final = b"user."
ADMINISTERED: Final = (TRUSTED, b"security.")
UNCHECKED: Final = (b"security.", b"system.")


class Credentials:
    """A user: *gid* is the group of what it makes, *groups* are all that it is in.

    The user with *uid* 0 is root, who may do nearly everything.
    """

    __slots__ = ("gid", "groups", "uid")

    def __init__(self, uid: int, gid: int, groups: frozenset[int] = frozenset()) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups

    def is_in(self, gid: int) -> bool:
        """Whether this user counts as a member of a group; root does of each."""
        return not self.uid or gid in self.groups

    def owns(self, inode: Inode) -> bool:
        """Whether this user may do what only the owner may (inode_owner_or_capable)."""
        return self.uid in (0, inode.uid)


def may(user: Credentials, inode: Inode, wanted: int) -> bool:
    """Whether the mode and the access list of *inode* give all of *wanted* (generic_permission)."""
    mode = inode.mode
    if not user.uid:
        return not wanted & EXECUTE or isinstance(inode, Directory) or bool(mode & 0o111)
    if user.uid == inode.uid:
        return not wanted & ~(mode >> 6)
    if inode.xattrs and mode & 0o070:
        value = inode.xattrs.get(acls.ACCESS)
        if value is not None:
            return acls.permits(value, user.uid, inode.gid, user.groups, wanted)
    return not wanted & ~(mode >> 3 if inode.gid in user.groups else mode)


def require(user: Credentials, inode: Inode, wanted: int) -> None:
    """EACCES unless *user* may do all of *wanted*."""
    if not may(user, inode, wanted):
        raise FileSystemError(Errno.EACCES)


def check_search(user: Credentials, inode: Inode) -> Directory:
    """*inode*, if it is a directory (ENOTDIR) in which *user* may look names up (may_lookup)."""
    if not isinstance(inode, Directory):
        raise FileSystemError(Errno.ENOTDIR)
    require(user, inode, EXECUTE)
    return inode


def check_open(user: Credentials, inode: Inode, wanted: int) -> None:
    """Refuse to open (may_open).

    A client can run a program only if it reads it, and does not say what for: who may run it may
    read it, as for NFS (NFSD_MAY_READ_IF_EXEC, fs/nfsd/vfs.c).
    """
    if wanted == READ and isinstance(inode, File) and may(user, inode, EXECUTE):
        return
    require(user, inode, wanted)


def check_create(user: Credentials, directory: Inode, name: bytes) -> None:
    """Refuse to make *name* (filename_create, may_create)."""
    parent = check_search(user, directory)
    if name in DOTS or name in parent.entries:
        raise FileSystemError(Errno.EEXIST)
    if not parent.nlink:
        raise FileSystemError(Errno.ENOENT)
    check_name(name)
    require(user, parent, WRITE)


def check_device(user: Credentials, mode: int, major: int, minor: int) -> None:
    """Refuse to make a device (vfs_mknod), but for the one that overlayfs hides names by."""
    is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    is_whiteout = stat.S_ISCHR(mode) and not major and not minor
    if user.uid and is_device and not is_whiteout:
        raise FileSystemError(Errno.EPERM)


def new_group(user: Credentials, directory: Inode, gid: int) -> int:
    """The group of what *user* makes in *directory*, who asks for *gid* (inode_init_owner).

    That of a set-group-ID directory; else *gid*, if the user is in it, and its own if not: that
    is what a process of this user would get here.
    """
    if not user.uid:
        return gid
    if directory.mode & stat.S_ISGID:
        return directory.gid
    return gid if user.is_in(gid) else user.gid


def new_mode(user: Credentials, gid: int, mode: int) -> int:
    """The mode of what is to be no directory, whose group is *gid* (mode_strip_sgid).

    Nobody makes programs that run as a group that is not theirs.
    """
    if mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP:
        return changed_mode(user, gid, mode)
    return mode


def changed_mode(user: Credentials, gid: int, mode: int) -> int:
    """*mode* as *user* may set it on what belongs to *gid* (setattr_prepare)."""
    return mode if user.is_in(gid) else mode & ~stat.S_ISGID


def check_remove(user: Credentials, directory: Inode, name: bytes) -> None:
    """Refuse to remove *name* (may_delete): EACCES, and EPERM for what others own in a sticky
    directory. The dots are left to the operation."""
    parent = check_search(user, directory)
    if name in DOTS:
        return
    _check_delete(user, parent, _existing(parent, name))


def check_rename(
    user: Credentials, source: Inode, name: bytes, target: Inode, new_name: bytes
) -> None:
    """Refuse to move *name* (vfs_rename). To move a directory elsewhere changes its ``..``."""
    old_parent, new_parent = check_search(user, source), check_search(user, target)
    if name in DOTS or new_name in DOTS:
        return
    inode = _existing(old_parent, name)
    replaced = new_parent.entries.get(new_name)
    if replaced is None:
        if new_parent.nlink:
            check_name(new_name)
    elif isinstance(replaced, Directory) and old_parent.is_below(replaced):
        return  # ENOTEMPTY
    if replaced is inode or (isinstance(inode, Directory) and new_parent.is_below(inode)):
        return  # nothing happens, and EINVAL
    _check_delete(user, old_parent, inode)
    if replaced is not None:
        _check_delete(user, new_parent, replaced)
        if isinstance(inode, Directory) != isinstance(replaced, Directory):
            return  # EISDIR, ENOTDIR
    elif new_parent.nlink:
        require(user, new_parent, WRITE | EXECUTE)
    else:
        return  # ENOENT
    if isinstance(inode, Directory) and new_parent is not old_parent:
        require(user, inode, WRITE)


def check_owner(user: Credentials, inode: Inode) -> None:
    """EPERM unless *user* owns *inode*."""
    if not user.owns(inode):
        raise FileSystemError(Errno.EPERM)


def check_chown(user: Credentials, inode: Inode, uid: int | None, gid: int | None) -> None:
    """Refuse to give away (chown_ok, chgrp_ok): owners may give to groups that they are in."""
    if not user.uid:
        return
    is_owner = user.uid == inode.uid
    if uid is not None and not (is_owner and uid == inode.uid):
        raise FileSystemError(Errno.EPERM)
    if gid is not None and not (is_owner and (gid == inode.gid or user.is_in(gid))):
        raise FileSystemError(Errno.EPERM)


def check_get_xattr(user: Credentials, inode: Inode, name: bytes) -> None:
    """Refuse to read an attribute (xattr_permission)."""
    if name.startswith(UNCHECKED):
        return
    if name.startswith(TRUSTED):
        if user.uid:
            raise FileSystemError(Errno.ENODATA)
        return
    if name.startswith(USER) and not _has_user_attributes(inode):
        raise FileSystemError(Errno.ENODATA)
    require(user, inode, READ)


def check_set_xattr(user: Credentials, inode: Inode, name: bytes) -> None:
    """Refuse to set or remove an attribute (xattr_permission, cap_inode_setxattr, set_posix_acl).

    What an inode cannot have is left to the operation.
    """
    if name in acls.NAMES:
        has_none = isinstance(inode, Symlink)
        if not has_none and (name == acls.ACCESS or isinstance(inode, Directory)):
            check_owner(user, inode)
    elif name.startswith(ADMINISTERED):
        if user.uid:
            raise FileSystemError(Errno.EPERM)
    elif not name.startswith(UNCHECKED):
        if name.startswith(USER):
            if not _has_user_attributes(inode):
                raise FileSystemError(Errno.EPERM)
            if isinstance(inode, Directory) and inode.mode & stat.S_ISVTX:
                check_owner(user, inode)
        require(user, inode, WRITE)


def _has_user_attributes(inode: Inode) -> bool:
    """Whether user.* can be on it; on sockets by Linux 7.2, and not before 6.18."""
    return isinstance(inode, File | Directory) or stat.S_ISSOCK(inode.mode)


def _existing(directory: Directory, name: bytes) -> Inode:
    inode = directory.entries.get(name)
    if inode is None:
        if directory.nlink:
            check_name(name)
        raise FileSystemError(Errno.ENOENT)
    return inode


def _check_delete(user: Credentials, directory: Directory, inode: Inode) -> None:
    require(user, directory, WRITE | EXECUTE)
    is_sticky = directory.mode & stat.S_ISVTX
    if is_sticky and not user.owns(inode) and not user.owns(directory):
        raise FileSystemError(Errno.EPERM)
