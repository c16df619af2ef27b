"""Tlopen, Tlcreate, Tread, Twrite, Tfsync: open files and their bytes."""

from ram9.protocol.constants import (
    O_ACCMODE,
    O_APPEND,
    O_DIRECTORY,
    O_EXCL,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
)
from ram9.protocol.messages import (
    Rfsync,
    Rlcreate,
    Rlopen,
    Rread,
    Rwrite,
    Tfsync,
    Tlcreate,
    Tlopen,
    Tread,
    Twrite,
)
from ram9.server.dispatch import answers
from ram9.server.fids import Fid, ReadValue, WrittenValue
from ram9.server.operations.attributes import SET_ID_BITS, drop_capability, without_set_id
from ram9.server.operations.xattrs import write_value
from ram9.server.session import Session, directory_of
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, File, Inode, Symlink
from ram9.storage.landing import Landing

SMALL_READ_BYTES = 16 << 10  # up to here, copying costs less than sending apart


@answers(Tlopen)
def lopen(session: Session, request: Tlopen) -> Rlopen:
    """open(5), with Linux's flags: those to create are ignored, for the file exists."""
    fid = session.fids[request.fid]
    if fid.opened or fid.value is not None:
        raise FileSystemError(Errno.EBUSY)
    check_open(fid.inode, request.flags)
    if request.flags & O_TRUNC and isinstance(fid.inode, File):
        _empty(fid, fid.inode)
    _open(session, fid, request.flags)
    return Rlopen(session.qid(fid.inode), 0)


@answers(Tlcreate)
def lcreate(session: Session, request: Tlcreate) -> Rlcreate:
    """Create a file and open it with *flags*, whatever its mode then allows (open(2)).

    A file that exists is opened, unless EXCL says otherwise: its mode and group stay as they are.
    """
    fid = session.fids[request.fid]
    filesystem = fid.attachment.filesystem
    if fid.opened or fid.value is not None:
        raise FileSystemError(Errno.EBUSY)
    directory = directory_of(fid)
    existing = directory.entries.get(request.name)
    inode: Inode
    if existing is not None:
        if request.flags & O_EXCL:
            raise FileSystemError(Errno.EEXIST)
        check_open(existing, request.flags)
        if isinstance(existing, Directory):
            raise FileSystemError(Errno.EISDIR)
        inode = existing
        if request.flags & O_TRUNC and isinstance(existing, File):
            _empty(fid, existing)
    else:
        inode = filesystem.create(
            directory, request.name, request.mode, fid.attachment.uid, request.gid
        )
    cookie = directory.entries.cookie_of(request.name)
    opened = Fid(inode, fid.attachment, directory, cookie)
    _open(session, opened, request.flags)
    session.clunk(request.fid)  # it stood for the directory
    session.put(request.fid, opened)
    return Rlcreate(session.qid(inode), 0)


@answers(Tread)
def read(session: Session, request: Tread) -> Rread:
    """read(5): up to *count* bytes; fewer at the end of the file, none behind it."""
    fid = session.fids[request.fid]
    count = request.count
    if count > session.data_bytes_max:
        count = session.data_bytes_max
    inode = fid.inode
    if fid.readable and isinstance(inode, File):
        if count > SMALL_READ_BYTES:
            return Rread(fid.attachment.filesystem.lend(inode, request.offset, count))
        return Rread(fid.attachment.filesystem.read(inode, request.offset, count))
    if isinstance(fid.value, ReadValue):
        return Rread(fid.value.data[request.offset : request.offset + count])
    if isinstance(inode, Directory) and fid.opened:
        raise FileSystemError(Errno.EISDIR)
    raise FileSystemError(Errno.EBADF)


@answers(Twrite)
def write(session: Session, request: Twrite) -> Rwrite:
    """write(5): fewer bytes than *count* where the space ends, and never none for some.

    A client that is told that nothing was written asks again for ever (net/9p/client.c,
    p9_client_write): having no room is an error.
    """
    fid = session.fids[request.fid]
    inode = fid.inode
    data = request.data
    if fid.writable and isinstance(inode, File):
        offset = inode.content.size_bytes if fid.append else request.offset
        written = fid.attachment.filesystem.write(inode, offset, data)
        if written and (inode.mode & SET_ID_BITS or inode.xattrs):
            _drop_privileges(fid, inode)
        return Rwrite(written)
    if isinstance(fid.value, WrittenValue):
        return Rwrite(write_value(session, fid.value, request.offset, data))
    raise FileSystemError(Errno.EBADF)


@answers(Tfsync)
def fsync(session: Session, request: Tfsync) -> Rfsync:
    """fsync(2): memory is as durable as it gets."""
    session.fids[request.fid]
    return Rfsync()


class LandingWrite:
    """A Twrite to a file whose bytes are received straight into the file's future sectors."""

    __slots__ = ("_fid", "_file", "_offset", "landing")

    def __init__(self, fid: Fid, file: File, offset: int, landing: Landing) -> None:
        self._fid = fid
        self._file = file
        self._offset = offset
        self.landing = landing

    def finish(self) -> Rwrite:
        """Answer the write, whose last byte has arrived."""
        file, landing, filesystem = self._file, self.landing, self._fid.attachment.filesystem
        if self._fid.attachment.volume.has_ended:
            landing.abort()
            raise FileSystemError(Errno.ESTALE)
        if self._fid.append and self._offset != file.content.size_bytes:
            # Somebody else changed the size meanwhile: the end is elsewhere now.
            data = b"".join(landing.views)
            landing.abort()
            written = filesystem.write(file, file.content.size_bytes, data)
        else:
            written = filesystem.commit(file, landing)
        if file.mode & SET_ID_BITS or file.xattrs:
            _drop_privileges(self._fid, file)
        return Rwrite(written)


def land_write(session: Session, number: int, offset: int, count: int) -> LandingWrite | None:
    """Prepare to receive a Twrite of *count* bytes into its file, if it can land there."""
    fid = session.fids.get(number)
    if fid is None or not fid.writable or not isinstance(fid.inode, File):
        return None
    volume = fid.attachment.volume
    if volume.read_only or volume.has_ended:
        return None  # it has become so
    file = fid.inode
    if fid.append:
        offset = file.content.size_bytes
    landing = fid.attachment.filesystem.land(file, offset, count)
    return LandingWrite(fid, file, offset, landing) if landing is not None else None


def check_open(inode: Inode, flags: int) -> None:
    """Refuse what open(2) does: ENOTDIR, ELOOP, EISDIR, and ENXIO for what only a client opens."""
    if flags & O_DIRECTORY and not isinstance(inode, Directory):
        raise FileSystemError(Errno.ENOTDIR)  # also for a link: do_open comes before may_open
    if isinstance(inode, Symlink):
        raise FileSystemError(Errno.ELOOP)
    if isinstance(inode, Directory):
        if flags & O_ACCMODE != O_RDONLY or flags & O_TRUNC:
            raise FileSystemError(Errno.EISDIR)
    elif not isinstance(inode, File):
        raise FileSystemError(Errno.ENXIO)


def _open(session: Session, fid: Fid, flags: int) -> None:
    access = flags & O_ACCMODE
    fid.opened = True
    fid.readable = access in (O_RDONLY, O_RDWR)
    fid.writable = access in (O_WRONLY, O_RDWR)
    # A caching client opens for both and keeps APPEND, but writes back whole pages at their own
    # offsets (fs/9p/vfs_file.c): appending those would double what is there.
    fid.append = access == O_WRONLY and bool(flags & O_APPEND)
    session.note_opened(fid)


def _empty(fid: Fid, file: File) -> None:
    mode = without_set_id(fid, file) if fid.attachment.uid else file.mode
    filesystem = fid.attachment.filesystem
    now_ns = filesystem.now_ns()
    filesystem.set_attributes(file, size_bytes=0, mode=mode, mtime_ns=now_ns, now_ns=now_ns)
    drop_capability(fid, file, now_ns)


def _drop_privileges(fid: Fid, file: File) -> None:
    """A write takes away capabilities; that of another than root also set-user-ID, and
    set-group-ID of a program. It is one change with the write, and has its time."""
    now_ns = file.ctime_ns
    if fid.attachment.uid and file.mode & SET_ID_BITS:
        mode = without_set_id(fid, file)
        fid.attachment.filesystem.set_attributes(file, mode=mode, now_ns=now_ns)
    drop_capability(fid, file, now_ns)
