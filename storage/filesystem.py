"""The operations of a POSIX file system on inodes.

Each either happens entirely or refuses with ``FileSystemError`` and changes nothing, time stamps
included. Checks come in the order of Linux's (fs/namei.c, mm/shmem.c). Names are bytes. Who may do
what is not decided here.
"""

import stat
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from ram9.storage import acls, xattrs
from ram9.storage.backing import PAGEABLE, Backing
from ram9.storage.budget import Allotment, Budget
from ram9.storage.content import Bytes, Content
from ram9.storage.directories import Entries, check_name
from ram9.storage.disk import Disk, Lenders
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, File, Inode, Special, Symlink, check_kind, check_target
from ram9.storage.landing import Landing, land
from ram9.storage.limits import DENTRY_BYTES, DIRECTORY_BYTES, FILE_BYTES, INODE_BYTES, Limits

PERMISSIONS: Final = 0o7777


class FileSystem:
    """A tree of inodes on a disk of its own.

    *now_ns* gives the time in nanoseconds since 1970. *numbers* are those of its inodes, the root
    first: none that was ever used, if clients may remember. *lenders* is where those enter
    themselves who lend bytes of it (see Disk); *allotment* see Budget. All four may be shared.
    """

    __slots__ = ("_numbers", "budget", "disk", "limits", "now_ns", "orphans", "root")

    def __init__(
        self,
        limits: Limits,
        now_ns: Callable[[], int],
        numbers: Iterator[int] | None = None,
        lenders: Lenders | None = None,
        allotment: Allotment | None = None,
        backing: Backing = PAGEABLE,
    ) -> None:
        self.limits = limits
        self.now_ns = now_ns
        self.budget = Budget(limits.size_bytes, limits.inodes, allotment)
        # Before there is a disk: that knows the budget, which knows it, and would stay for ever.
        self.budget.reserve_inode(INODE_BYTES + DIRECTORY_BYTES)
        self.disk = Disk(self.budget, lenders, backing=backing)
        self.orphans: set[Inode] = set()  # held, without a name
        self._numbers = count(1) if numbers is None else numbers
        self.root = Directory(next(self._numbers), stat.S_IFDIR | 0o1777, 0, 0, now_ns(), None)

    # Names

    def lookup(self, directory: Inode, name: bytes) -> Inode:
        """The inode that *name* leads to; ``..`` leads up, from the root to itself."""
        if not isinstance(directory, Directory):
            raise FileSystemError(Errno.ENOTDIR)
        inode = directory.entries.get(name)
        if inode is not None:
            return inode
        if name == b"..":
            return directory.parent
        if name == b".":
            return directory
        if directory.nlink:
            check_name(name)
        raise FileSystemError(Errno.ENOENT)

    def vacancy(self, directory: Inode, name: bytes) -> Directory:
        """*directory*, if something can be made in it by *name*: what making it would refuse."""
        parent, inode = self._place(directory, name)
        if inode is not None:
            raise FileSystemError(Errno.EEXIST)
        return parent

    def create(self, directory: Inode, name: bytes, mode: int, uid: int, gid: int) -> File:
        """Make an empty regular file."""
        parent, now_ns = self.vacancy(directory, name), self.now_ns()
        mode, lists = acls.inherited(parent, stat.S_IFREG | mode & PERMISSIONS)
        self._reserve_inode(name, FILE_BYTES, lists)
        file = File(next(self._numbers), mode, uid, gid, now_ns, Content(self.disk))
        file.xattrs = lists
        self._enter(parent, name, file, now_ns)
        return file

    def mkdir(self, directory: Inode, name: bytes, mode: int, uid: int, gid: int) -> Directory:
        """Make a directory; below a set-group-ID one it is one itself."""
        parent, now_ns = self.vacancy(directory, name), self.now_ns()
        if parent.nlink >= self.limits.links:
            raise FileSystemError(Errno.EMLINK)
        mode = stat.S_IFDIR | mode & PERMISSIONS | parent.mode & stat.S_ISGID
        mode, lists = acls.inherited(parent, mode)
        self._reserve_inode(name, DIRECTORY_BYTES, lists)
        child = Directory(next(self._numbers), mode, uid, gid, now_ns, parent)
        child.xattrs = lists
        parent.nlink += 1
        self._enter(parent, name, child, now_ns)
        return child

    def symlink(self, directory: Inode, name: bytes, target: bytes, uid: int, gid: int) -> Symlink:
        """Make a symbolic link."""
        check_target(target)
        parent, now_ns = self.vacancy(directory, name), self.now_ns()
        self._reserve_inode(name, len(target))
        link = Symlink(next(self._numbers), stat.S_IFLNK | 0o777, uid, gid, now_ns, target)
        self._enter(parent, name, link, now_ns)
        return link

    def mknod(
        self,
        directory: Inode,
        name: bytes,
        mode: int,
        uid: int,
        gid: int,
        major: int = 0,
        minor: int = 0,
    ) -> Inode:
        """Make what *mode* says: a FIFO, socket, device, or (its type 0) a regular file."""
        kind = stat.S_IFMT(mode)
        if kind in (0, stat.S_IFREG):
            return self.create(directory, name, mode, uid, gid)
        check_kind(kind)
        parent, now_ns = self.vacancy(directory, name), self.now_ns()
        mode, lists = acls.inherited(parent, kind | mode & PERMISSIONS)
        self._reserve_inode(name, 0, lists)
        node = Special(next(self._numbers), mode, uid, gid, now_ns, major, minor)
        node.xattrs = lists
        self._enter(parent, name, node, now_ns)
        return node

    def link(self, inode: Inode, directory: Inode, name: bytes) -> None:
        """Give an inode another name; a directory (EPERM) or one that has lost its last (ENOENT)
        gets none."""
        parent = self.vacancy(directory, name)
        if isinstance(inode, Directory):
            raise FileSystemError(Errno.EPERM)
        if inode.nlink == 0:
            raise FileSystemError(Errno.ENOENT)
        if inode.nlink >= self.limits.links:
            raise FileSystemError(Errno.EMLINK)
        now_ns = self.now_ns()
        self.budget.reserve(DENTRY_BYTES + len(name))
        inode.nlink += 1
        inode.touch_attributes(now_ns)
        self._enter(parent, name, inode, now_ns)

    def unlink(self, directory: Inode, name: bytes) -> None:
        """Remove the name of something that is not a directory (EISDIR)."""
        parent = self._parent(directory, name, dot=Errno.EISDIR, dotdot=Errno.EISDIR)
        if isinstance(self.lookup(parent, name), Directory):
            raise FileSystemError(Errno.EISDIR)
        self._drop_name(parent, name)

    def rmdir(self, directory: Inode, name: bytes) -> None:
        """Remove an empty directory."""
        parent = self._parent(directory, name, dot=Errno.EINVAL, dotdot=Errno.ENOTEMPTY)
        inode = self.lookup(parent, name)
        if not isinstance(inode, Directory):
            raise FileSystemError(Errno.ENOTDIR)
        if inode.entries:
            raise FileSystemError(Errno.ENOTEMPTY)
        self._drop_name(parent, name)

    def rename(self, source: Inode, name: bytes, target: Inode, new_name: bytes) -> None:
        """Move *name* in *source* to *new_name* in *target*, over what is there; all at once.

        Two names of one file: nothing happens (POSIX rename). Refuses with EINVAL if the directory
        would come to lie below itself, EISDIR or ENOTDIR if only one of the two is a directory,
        ENOTEMPTY if the one to be replaced has entries.
        """
        if not isinstance(target, Directory):
            raise FileSystemError(Errno.ENOTDIR)
        old_parent = self._parent(source, name, dot=Errno.EBUSY, dotdot=Errno.EBUSY)
        self._parent(target, new_name, dot=Errno.EBUSY, dotdot=Errno.EBUSY)
        inode = self.lookup(old_parent, name)
        new_parent, replaced = self._place(target, new_name)
        if isinstance(inode, Directory) and new_parent.is_below(inode):
            raise FileSystemError(Errno.EINVAL)
        if replaced is inode:
            return
        if replaced is not None:
            if isinstance(replaced, Directory):
                if old_parent.is_below(replaced):
                    raise FileSystemError(Errno.ENOTEMPTY)
                if not isinstance(inode, Directory):
                    raise FileSystemError(Errno.EISDIR)
                if replaced.entries:
                    raise FileSystemError(Errno.ENOTEMPTY)
            elif isinstance(inode, Directory):
                raise FileSystemError(Errno.ENOTDIR)
        moves_up = isinstance(inode, Directory) and old_parent is not new_parent
        if moves_up and replaced is None and new_parent.nlink >= self.limits.links:
            raise FileSystemError(Errno.EMLINK)
        now_ns = self.now_ns()
        if replaced is None:
            self.budget.reserve(len(new_name) - len(name))
            new_parent.entries.add(new_name, inode)
        else:
            self.budget.release(DENTRY_BYTES + len(name))
            new_parent.entries.replace(new_name, inode)
        old_parent.entries.remove(name)
        if isinstance(inode, Directory):
            inode.parent = new_parent
            old_parent.nlink -= 1
            new_parent.nlink += 1
        inode.touch_attributes(now_ns)
        old_parent.touch(now_ns)
        new_parent.touch(now_ns)
        if replaced is not None:
            self._lose_link(replaced, new_parent, now_ns)

    # Data

    def read(self, file: File, offset: int, count: int) -> bytes:
        """A copy of up to *count* bytes."""
        file.touch_access(self.now_ns())
        return file.content.read(offset, count)

    def lend(self, file: File, offset: int, count: int) -> bytes | memoryview:
        """Up to *count* bytes, as ``Content.lend`` gives them."""
        file.touch_access(self.now_ns())
        return file.content.lend(offset, count)

    def write(self, file: File, offset: int, data: Bytes) -> int:
        """Store *data*; return how many bytes there was room for (ENOSPC: for none)."""
        count = len(data)
        if not count:
            return 0
        if offset + count > self.limits.file_bytes:
            data = memoryview(data)[: self._below_limit(offset)]
        written = file.content.write(offset, data)
        file.touch(self.now_ns())
        return written

    def land(self, file: File, offset: int, count: int) -> Landing | None:
        """Room to receive *count* bytes into, or None where ``write`` must do (see landing.py)."""
        if offset + count > self.limits.file_bytes:
            return None
        return land(self.disk, file.content, offset, count)

    def commit(self, file: File, landing: Landing) -> int:
        """Make a landed write part of the file; return how many bytes there was room for."""
        written = landing.commit()
        file.touch(self.now_ns())
        return written

    # Attributes

    def set_attributes(
        self,
        inode: Inode,
        *,
        size_bytes: int | None = None,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
        now_ns: int | None = None,
    ) -> None:
        """Change what is given; the change time becomes now. The size that a file has moves its
        times if it has data; else none by itself, not even where the mode is changed with it
        (truncate(2): shmem_setattr, mm/shmem.c).

        Only regular files have a size to set (EISDIR, EINVAL; EFBIG past the largest). *now_ns* is
        the time, where it has been looked at.
        """
        now_ns = self.now_ns() if now_ns is None else now_ns
        is_noted = True
        if size_bytes is not None:
            file = self._resizable(inode, size_bytes)
            if size_bytes != file.size_bytes:
                file.content.truncate(size_bytes)
                inode.touch(now_ns)
            elif not file.sectors:
                is_noted = (uid, gid, atime_ns, mtime_ns) != (None,) * 4
            elif mtime_ns is None:
                mtime_ns = now_ns  # shmem_truncate_range has looked for something to free
        if mode is not None:
            inode.mode = stat.S_IFMT(inode.mode) | mode & PERMISSIONS
            acls.follow_mode(inode)
        if uid is not None:
            inode.uid = uid
        if gid is not None:
            inode.gid = gid
        if atime_ns is not None:
            inode.atime_ns = atime_ns
        if mtime_ns is not None:
            inode.mtime_ns = mtime_ns
        if is_noted:
            inode.touch_attributes(now_ns)

    # Extended attributes

    def get_xattr(self, inode: Inode, name: bytes) -> bytes:
        """The value of an attribute; ENODATA if there is none, EOPNOTSUPP if there can be none."""
        value = inode.xattrs.get(name) if inode.xattrs else None
        if value is None:
            xattrs.check_name(name)
            raise FileSystemError(Errno.ENODATA)
        return value

    def set_xattr(self, inode: Inode, name: bytes, value: bytes) -> None:
        """Give an attribute a value, whether it was there or not.

        An access control list must be one, and changes the mode; an empty one is removed (acls.py).
        """
        if name in acls.NAMES:
            self._set_acl(inode, name, value)
            return
        xattrs.check_name(name)
        xattrs.check_room(inode, name, len(value))
        xattrs.store(inode, name, value, self.budget)
        inode.touch_attributes(self.now_ns())

    def remove_xattr(self, inode: Inode, name: bytes, now_ns: int | None = None) -> None:
        """Remove an attribute; ENODATA if it is not there. *now_ns* as for ``set_attributes``."""
        self.get_xattr(inode, name)
        xattrs.drop(inode, name, self.budget)
        inode.touch_attributes(self.now_ns() if now_ns is None else now_ns)

    def _set_acl(self, inode: Inode, name: bytes, value: bytes) -> None:
        change = acls.change(inode, name, value)
        if change is None:
            return
        mode, value = change
        if value:
            xattrs.check_room(inode, name, len(value))
            xattrs.store(inode, name, value, self.budget)
        elif name in (inode.xattrs or ()):
            xattrs.drop(inode, name, self.budget)
        inode.mode = mode
        inode.touch_attributes(self.now_ns())

    # Lives

    def hold(self, inode: Inode) -> None:
        """Keep an inode alive, with or without a name, until it is released."""
        inode.holds += 1

    def release(self, inode: Inode) -> None:
        """Undo one ``hold``: what nobody holds and no name leads to is gone."""
        inode.holds -= 1
        assert inode.holds >= 0
        if not inode.holds:
            if isinstance(inode, File):
                inode.content.give_back_reserve()
            while not inode.nlink and not inode.holds:
                self.orphans.remove(inode)
                self._destroy(inode)
                if not isinstance(inode, Directory):
                    break
                inode = inode.parent  # which its ``..`` has held
                inode.holds -= 1

    def _reserve_inode(
        self, name: bytes, more_bytes: int, lists: dict[bytes, bytes] | None = None
    ) -> None:
        cost_bytes = INODE_BYTES + DENTRY_BYTES + len(name) + more_bytes
        self.budget.reserve_inode(cost_bytes + xattrs.costs_bytes(lists))

    def _place(self, directory: Inode, name: bytes) -> tuple[Directory, Inode | None]:
        """A directory in which *name* may come to stand, and what it leads to now."""
        if not isinstance(directory, Directory):
            raise FileSystemError(Errno.ENOTDIR)
        inode = directory.entries.get(name)
        if inode is None:
            if name in (b".", b".."):
                raise FileSystemError(Errno.EEXIST)
            if not directory.nlink:
                raise FileSystemError(Errno.ENOENT)
            check_name(name)
        return directory, inode

    def _parent(self, directory: Inode, name: bytes, dot: Errno, dotdot: Errno) -> Directory:
        """A directory in which *name* is to move or go; the dots never do, and are refused so."""
        if not isinstance(directory, Directory):
            raise FileSystemError(Errno.ENOTDIR)
        if name == b".":
            raise FileSystemError(dot)
        if name == b"..":
            raise FileSystemError(dotdot)
        return directory

    def _enter(self, parent: Directory, name: bytes, inode: Inode, now_ns: int) -> None:
        parent.entries.add(name, inode)
        parent.touch(now_ns)

    def _drop_name(self, parent: Directory, name: bytes) -> None:
        now_ns = self.now_ns()
        inode = parent.entries.remove(name)
        self.budget.release(DENTRY_BYTES + len(name))
        parent.touch(now_ns)
        self._lose_link(inode, parent, now_ns)

    def _lose_link(self, inode: Inode, parent: Directory, now_ns: int) -> None:
        if isinstance(inode, Directory):
            inode.nlink = 0
            parent.nlink -= 1
        else:
            inode.nlink -= 1
        inode.touch_attributes(now_ns)
        if not inode.nlink:
            if inode.holds:
                self.orphans.add(inode)
                if isinstance(inode, Directory):
                    inode.parent.holds += 1  # ``..`` still leads there
            else:
                self._destroy(inode)

    def _destroy(self, inode: Inode) -> None:
        cost_bytes = INODE_BYTES + xattrs.costs_bytes(inode.xattrs)
        inode.xattrs = None
        if isinstance(inode, File):
            cost_bytes += FILE_BYTES
            inode.content.give_back_reserve()
            inode.content.truncate(0)
        elif isinstance(inode, Symlink):
            cost_bytes += len(inode.target)
        elif isinstance(inode, Directory):
            cost_bytes += DIRECTORY_BYTES
            inode.entries = Entries()
        self.budget.release_inode(cost_bytes)

    def _resizable(self, inode: Inode, size_bytes: int) -> File:
        if not isinstance(inode, File):
            raise FileSystemError(Errno.EISDIR if isinstance(inode, Directory) else Errno.EINVAL)
        if size_bytes > self.limits.file_bytes:
            raise FileSystemError(Errno.EFBIG)
        return inode

    def _below_limit(self, offset: int) -> int:
        """How many bytes a file may still hold from *offset* on; EFBIG for none."""
        room = self.limits.file_bytes - offset
        if room <= 0:
            raise FileSystemError(Errno.EFBIG)
        return room
