"""Every message of 9P2000.L, declared once, in the order of the type numbers.

Each T-message is a request; the R-message with the next number answers it, or Rlerror does.
Field names are those of the protocol document.  The docstrings become docs/wire-format.md.
"""

from ram9.protocol.codec import CODECS as CODECS
from ram9.protocol.codec import Message, message
from ram9.protocol.entries import DirectoryEntry as DirectoryEntry
from ram9.protocol.entries import decode_entries as decode_entries
from ram9.protocol.entries import encode_entry as encode_entry
from ram9.protocol.wire import (
    U8,
    U16,
    U32,
    U64,
    Data,
    FidNumber,
    Name,
    Names,
    OptionalU32,
    QidField,
    Qids,
)
from ram9.protocol.wire import Qid as Qid


@message(7)
class Rlerror(Message):
    """The request failed for the reason *ecode*, an errno of Linux' generic numbering."""

    ecode: U32


@message(8)
class Tstatfs(Message):
    """Ask how large and how full the file system of *fid* is: statfs(2)."""

    fid: FidNumber


@message(9)
class Rstatfs(Message):
    """*blocks*, *bfree* and *bavail* count blocks of *bsize* bytes, *files* and *ffree* inodes."""

    type: U32
    bsize: U32
    blocks: U64
    bfree: U64
    bavail: U64
    files: U64
    ffree: U64
    fsid: U64
    namelen: U32


@message(12)
class Tlopen(Message):
    """Open the file of *fid* for reading, writing or listing, as the O bits in *flags* say.

    Until it is clunked, the fid then stands for the open file.
    """

    fid: FidNumber
    flags: U32


@message(13)
class Rlopen(Message):
    """An *iounit* other than 0 is the most bytes that one Tread or Twrite should move."""

    qid: QidField
    iounit: U32


@message(14)
class Tlcreate(Message):
    """Create the regular file *name* in the directory of *fid* and open it with *flags*.

    *fid* then stands for the new file instead of the directory.
    """

    fid: FidNumber
    name: Name
    flags: U32
    mode: U32
    gid: U32


@message(15)
class Rlcreate(Message):
    """An *iounit* other than 0 is the most bytes that one Tread or Twrite should move."""

    qid: QidField
    iounit: U32


@message(16)
class Tsymlink(Message):
    """Create the symbolic link *name* to *symtgt* in the directory *dfid*.

    The server never follows it; that is for the client to do.
    """

    dfid: FidNumber
    name: Name
    symtgt: Name
    gid: U32


@message(17)
class Rsymlink(Message):
    qid: QidField


@message(18)
class Tmknod(Message):
    """Create the file, FIFO, socket or device node *name* in the directory *dfid*: mknod(2).

    The type is part of *mode*; *major* and *minor* count for devices only.
    """

    dfid: FidNumber
    name: Name
    mode: U32
    major: U32
    minor: U32
    gid: U32


@message(19)
class Rmknod(Message):
    qid: QidField


@message(20)
class Trename(Message):
    """Move the file of *fid* to *name* in the directory *newdirfid*: the older way to rename."""

    fid: FidNumber
    newdirfid: FidNumber
    name: Name


@message(21)
class Rrename(Message):
    pass


@message(22)
class Treadlink(Message):
    """Ask where the symbolic link *fid* points."""

    fid: FidNumber


@message(23)
class Rreadlink(Message):
    target: Name


@message(24)
class Tgetattr(Message):
    """Ask for the attributes of *fid* that the GETATTR bits in *request_mask* name."""

    fid: FidNumber
    request_mask: U64


@message(25)
class Rgetattr(Message):
    """Attributes of a file; only those that *valid* names mean anything.

    *blocks* counts 512 bytes each, whatever *blksize* says.
    """

    valid: U64
    qid: QidField
    mode: U32
    uid: U32
    gid: U32
    nlink: U64
    rdev: U64
    size: U64
    blksize: U64
    blocks: U64
    atime_s: U64
    atime_ns: U64
    mtime_s: U64
    mtime_ns: U64
    ctime_s: U64
    ctime_ns: U64
    btime_s: U64
    btime_ns: U64
    gen: U64
    data_version: U64


@message(26)
class Tsetattr(Message):
    """Change the attributes of *fid* that the SETATTR bits in *valid* name: chmod, chown, utimes,
    truncate.

    A time without its SET bit becomes the server's now.
    """

    fid: FidNumber
    valid: U32
    mode: U32
    uid: U32
    gid: U32
    size: U64
    atime_s: U64
    atime_ns: U64
    mtime_s: U64
    mtime_ns: U64


@message(27)
class Rsetattr(Message):
    pass


@message(30)
class Txattrwalk(Message):
    """Make *newfid* stand for the extended attribute *name* of *fid*, to be read from offset 0.

    With an empty name it stands for the list of all names, each ended by a NUL.
    """

    fid: FidNumber
    newfid: FidNumber
    name: Name


@message(31)
class Rxattrwalk(Message):
    """*size* is how many bytes there are to read."""

    size: U64


@message(32)
class Txattrcreate(Message):
    """Make *fid* take the *attr_size* bytes of the extended attribute *name*: setxattr(2).

    The value is written with Twrite and takes effect when the fid is clunked.
    """

    fid: FidNumber
    name: Name
    attr_size: U64
    flags: U32


@message(33)
class Rxattrcreate(Message):
    pass


@message(40)
class Treaddir(Message):
    """List the open directory *fid* after the entry whose *offset* is given, or from 0.

    The reply holds whole entries only, at most *count* bytes of them, and none at the end.
    """

    fid: FidNumber
    offset: U64
    count: U32


@message(41)
class Rreaddir(Message):
    """*data* is entries one after the other: qid[13] offset[8] type[1] name[s]."""

    data: Data


@message(50)
class Tfsync(Message):
    """Make what was written to *fid* durable: fsync(2), or fdatasync(2) if *datasync* is not 0.

    Clients written before 2010 leave *datasync* out, and mean 0.
    """

    fid: FidNumber
    datasync: OptionalU32


@message(51)
class Rfsync(Message):
    pass


@message(52)
class Tlock(Message):
    """Take or release a POSIX lock on *length* bytes from *start*; length 0 reaches to the end.

    *proc_id* and *client_id* together say who owns it.
    """

    fid: FidNumber
    type: U8
    flags: U32
    start: U64
    length: U64
    proc_id: U32
    client_id: Name


@message(53)
class Rlock(Message):
    """BLOCKED in *status* asks the client to try again later."""

    status: U8


@message(54)
class Tgetlock(Message):
    """Ask which lock would stand in the way of this one: F_GETLK of fcntl(2)."""

    fid: FidNumber
    type: U8
    start: U64
    length: U64
    proc_id: U32
    client_id: Name


@message(55)
class Rgetlock(Message):
    """The lock in the way, or the one asked about with the type UNLCK if there is none."""

    type: U8
    start: U64
    length: U64
    proc_id: U32
    client_id: Name


@message(70)
class Tlink(Message):
    """Make *name* in the directory *dfid* another name of the file of *fid*: link(2)."""

    dfid: FidNumber
    fid: FidNumber
    name: Name


@message(71)
class Rlink(Message):
    pass


@message(72)
class Tmkdir(Message):
    """Create the directory *name* in the directory *dfid*: mkdir(2)."""

    dfid: FidNumber
    name: Name
    mode: U32
    gid: U32


@message(73)
class Rmkdir(Message):
    qid: QidField


@message(74)
class Trenameat(Message):
    """Move *oldname* in *olddirfid* to *newname* in *newdirfid*, over what is there: rename(2)."""

    olddirfid: FidNumber
    oldname: Name
    newdirfid: FidNumber
    newname: Name


@message(75)
class Rrenameat(Message):
    pass


@message(76)
class Tunlinkat(Message):
    """Remove *name* from the directory *dirfd*; AT_REMOVEDIR in *flags* says it is a directory."""

    dirfd: FidNumber
    name: Name
    flags: U32


@message(77)
class Runlinkat(Message):
    pass


@message(100)
class Tversion(Message):
    """Begin a session: propose the dialect *version*, and frames of at most *msize* bytes.

    It comes with the tag NOTAG, and ends whatever session there was on the connection.
    """

    msize: U32
    version: Name


@message(101)
class Rversion(Message):
    """What holds from now on; the *version* "unknown" means that no dialect was agreed on."""

    msize: U32
    version: Name


@message(102)
class Tauth(Message):
    """Ask for *afid*, to be read and written in order to prove who *uname* is; Linux never does."""

    afid: FidNumber
    uname: Name
    aname: Name
    n_uname: U32


@message(103)
class Rauth(Message):
    aqid: QidField


@message(104)
class Tattach(Message):
    """Make *fid* stand for the root of the tree *aname*, on behalf of the user *n_uname*.

    If that is NONUNAME, the name *uname* says who it is.  *afid* is NOFID without Tauth.
    """

    fid: FidNumber
    afid: FidNumber
    uname: Name
    aname: Name
    n_uname: U32


@message(105)
class Rattach(Message):
    qid: QidField


@message(108)
class Tflush(Message):
    """Say that no answer is awaited any more to the request with the tag *oldtag*.

    Once Rflush is there, that tag is free again.
    """

    oldtag: U16


@message(109)
class Rflush(Message):
    pass


@message(110)
class Twalk(Message):
    """Make *newfid* stand for what is found by walking the names of *wname* from *fid*.

    Without names it becomes a second fid of the same file; if a name is missing, no fid is made.
    """

    fid: FidNumber
    newfid: FidNumber
    wname: Names


@message(111)
class Rwalk(Message):
    """The qids of the names walked: fewer than were asked for if one could not be found."""

    wqid: Qids


@message(116)
class Tread(Message):
    """Read up to *count* bytes at *offset* from the open file of *fid*."""

    fid: FidNumber
    offset: U64
    count: U32


@message(117)
class Rread(Message):
    """Fewer bytes than asked for at the end of the file, none past it."""

    data: Data


@message(118)
class Twrite(Message):
    """Write *data* at *offset* to the open file of *fid*."""

    fid: FidNumber
    offset: U64
    data: Data


@message(119)
class Rwrite(Message):
    """*count* is how many bytes were written."""

    count: U32


@message(120)
class Tclunk(Message):
    """Forget *fid*; its number is free again, even if the answer is an error."""

    fid: FidNumber


@message(121)
class Rclunk(Message):
    pass


@message(122)
class Tremove(Message):
    """Remove the file of *fid* and forget the fid, which happens even if removing fails."""

    fid: FidNumber


@message(123)
class Rremove(Message):
    pass
