"""Twalk, Tclunk, Tremove: fids come and go."""

from ram9.protocol.constants import MAXWELEM
from ram9.protocol.messages import Qid, Rclunk, Rremove, Rwalk, Tclunk, Tremove, Twalk
from ram9.server.dispatch import answers
from ram9.server.fids import Fid, WrittenValue
from ram9.server.operations.xattrs import commit_value
from ram9.server.session import Session
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, Inode
from ram9.storage.permissions import check_search


@answers(Twalk)
def walk(session: Session, request: Twalk) -> Rwalk:
    """walk(5): *newfid* is set only if every name was found; the first not found is an error.

    Without names it clones *fid*, which may be open, as older Linux clients need; the clone is not.
    """
    fid = session.fids[request.fid]
    names = request.wname
    if not names:
        if request.newfid != request.fid:
            clone = Fid(fid.inode, fid.attachment, fid.parent, fid.cookie)
            session.put(request.newfid, clone)
        return Rwalk(())
    is_used = fid.opened or fid.value is not None
    if len(names) > MAXWELEM or (is_used and request.newfid == request.fid):
        raise FileSystemError(Errno.EINVAL)
    inode, parent = fid.inode, fid.parent
    root, user = fid.attachment.root, fid.attachment.credentials
    lookup = fid.attachment.filesystem.lookup
    found: list[Qid] = []
    for name in names:
        try:
            if user is not None:
                check_search(user, inode)
            child = lookup(inode, name) if name != b".." else _above(inode, root)
        except FileSystemError:
            if not found:
                raise
            return Rwalk(tuple(found))
        parent = inode if isinstance(inode, Directory) else None
        inode = child
        found.append(session.qid(inode))
    cookie = parent.entries.cookie_of(names[-1]) if parent is not None else 0
    session.put(request.newfid, Fid(inode, fid.attachment, parent, cookie), request.fid)
    return Rwalk(tuple(found))


def parent_within(root: Directory, directory: Directory) -> Directory | None:
    """What ``..`` of *directory* leads to, which never is above *root*, what was attached.

    None if *directory* was moved out of *root*: then no way leads up (path_connected, fs/namei.c).
    """
    if directory is root:
        return root
    if root.parent is root:
        return directory.parent  # everything is below the root of all
    above = directory.parent
    while above is not root:
        if above is above.parent:
            return None
        above = above.parent
    return directory.parent


def _above(inode: Inode, root: Directory) -> Directory:
    if not isinstance(inode, Directory):
        raise FileSystemError(Errno.ENOTDIR)
    parent = parent_within(root, inode)
    if parent is None:
        raise FileSystemError(Errno.ENOENT)
    return parent


@answers(Tclunk)
def clunk(session: Session, request: Tclunk) -> Rclunk:
    """clunk(5): the fid is gone, even where the value that it was writing cannot be set."""
    fid = session.fids[request.fid]
    try:
        if isinstance(fid.value, WrittenValue):
            commit_value(fid, fid.value)
    finally:
        session.clunk(request.fid)
    return Rclunk()


@answers(Tremove)
def remove(session: Session, request: Tremove) -> Rremove:
    """remove(5): removes the name that *fid* was reached by, and clunks it even if it cannot."""
    fid = session.fids[request.fid]
    filesystem = fid.attachment.filesystem
    try:
        parent, name = named_by(fid)
        if isinstance(fid.inode, Directory):
            filesystem.rmdir(parent, name)
        else:
            filesystem.unlink(parent, name)
    finally:
        session.clunk(request.fid)
    return Rremove()


def named_by(fid: Fid) -> tuple[Directory, bytes]:
    """The directory and the name by which a fid was reached, if it still is what they lead to.

    Refuses with EBUSY for the root, which has no name, and ENOENT when it goes by another now.
    """
    inode = fid.inode
    if inode is fid.attachment.root:
        raise FileSystemError(Errno.EBUSY)
    parent = fid.parent
    if parent is not None:
        name = parent.entries.name_at(fid.cookie)
        if parent.entries.get(name) is inode:
            return parent, name
    if isinstance(inode, Directory):
        # A directory has one name only: it can be found wherever it was moved.
        for name, child in inode.parent.entries:
            if child is inode:
                return inode.parent, name
    raise FileSystemError(Errno.ENOENT)
