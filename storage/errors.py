"""The one way in which the file system refuses: an errno."""

from enum import IntEnum


class Errno(IntEnum):
    """Linux's generic error numbers (asm-generic/errno*.h): 9P2000.L sends these on any host."""

    EPERM = 1  # not the owner, or an operation that this kind of inode does not have
    ENOENT = 2  # no such name, or the directory was removed
    EIO = 5  # our own mistake
    ENXIO = 6  # opening a device, which only the client could
    E2BIG = 7  # an attribute's value is too long
    EBADF = 9  # no such fid, or not open for this
    ENOMEM = 12
    EACCES = 13  # no permission; or a default access list on what is no directory
    EBUSY = 16  # the root, or a name that cannot move
    EEXIST = 17
    EXDEV = 18  # from one volume to another
    ENOTDIR = 20
    EISDIR = 21
    EINVAL = 22
    ENFILE = 23  # too many fids of all clients
    EMFILE = 24  # too many fids of one client
    EFBIG = 27  # past the largest file
    ENOSPC = 28  # the volume's bytes or inodes are used up
    EROFS = 30  # the volume is read only
    EMLINK = 31
    ERANGE = 34  # an attribute's name is too long
    EDEADLK = 35  # to wait for a lock would be to wait for oneself
    ENAMETOOLONG = 36
    ENOLCK = 37  # too many locks
    ENOTEMPTY = 39
    ELOOP = 40
    ENODATA = 61  # no such attribute
    EPROTO = 71
    EOVERFLOW = 75
    EOPNOTSUPP = 95
    ESTALE = 116  # of a volume that has ended


class FileSystemError(Exception):
    """An operation was refused and changed nothing; *errno* says why.

    Not an OSError: a broken socket must never be taken for an answer to a client.
    """

    __slots__ = ("errno",)

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno
