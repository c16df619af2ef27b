"""The numbers of 9P2000.L: every value is part of the protocol and the same on every host.

Names are those of Linux' ``include/net/9p/9p.h`` without the ``P9_`` prefix, and those of the
Linux manual where that header repeats the manual's numbers.  Sizes are in bytes.
"""

from typing import Final

# Versions, as Tversion and Rversion spell them: version(5); "unknown" refuses a dialect.
VERSION_9P2000_L: Final = b"9P2000.L"
VERSION_UNKNOWN: Final = b"unknown"

# Numbers that mean "none": 9p.h.  A tag of 16 bits, a fid and a user id of 32 bits.
NOTAG: Final = 0xFFFF
NOFID: Final = 0xFFFFFFFF
NONUNAME: Final = 0xFFFFFFFF

# The most names of one Twalk, and the TCP port registered for 9P: 9p.h.
MAXWELEM: Final = 16
PORT: Final = 564

# Sizes of frames: 9p.h.  A Linux client asks for at most msize - IOHDRSZ bytes at a time.
HEADER_BYTES: Final = 7
IOHDRSZ: Final = 24

# What a frame holds besides its payload: Rread and Rreaddir, Twrite, one entry of Rreaddir.
READ_OVERHEAD_BYTES: Final = 11
WRITE_OVERHEAD_BYTES: Final = 23
ENTRY_OVERHEAD_BYTES: Final = 24

# Bounds of msize: below 4096 Linux refuses to mount (net/9p/client.c), above 1 MiB nothing is won.
MSIZE_MIN: Final = 4096
MSIZE_MAX: Final = 1 << 20

# qid.type: enum p9_qid_t of 9p.h.  Devices, FIFOs and sockets are QTFILE.
QTDIR: Final = 0x80
QTAPPEND: Final = 0x40
QTEXCL: Final = 0x20
QTMOUNT: Final = 0x10
QTAUTH: Final = 0x08
QTTMP: Final = 0x04
QTSYMLINK: Final = 0x02
QTLINK: Final = 0x01
QTFILE: Final = 0x00

# Tgetattr.request_mask and Rgetattr.valid: P9_STATS_* of 9p.h.
GETATTR_MODE: Final = 0x0001
GETATTR_NLINK: Final = 0x0002
GETATTR_UID: Final = 0x0004
GETATTR_GID: Final = 0x0008
GETATTR_RDEV: Final = 0x0010
GETATTR_ATIME: Final = 0x0020
GETATTR_MTIME: Final = 0x0040
GETATTR_CTIME: Final = 0x0080
GETATTR_INO: Final = 0x0100
GETATTR_SIZE: Final = 0x0200
GETATTR_BLOCKS: Final = 0x0400
GETATTR_BTIME: Final = 0x0800
GETATTR_GEN: Final = 0x1000
GETATTR_DATA_VERSION: Final = 0x2000
GETATTR_BASIC: Final = 0x07FF
GETATTR_ALL: Final = 0x3FFF

# Tsetattr.valid: P9_ATTR_* of fs/9p/vfs_inode_dotl.c.  A time without its _SET bit means "now".
SETATTR_MODE: Final = 0x001
SETATTR_UID: Final = 0x002
SETATTR_GID: Final = 0x004
SETATTR_SIZE: Final = 0x008
SETATTR_ATIME: Final = 0x010
SETATTR_MTIME: Final = 0x020
SETATTR_CTIME: Final = 0x040
SETATTR_ATIME_SET: Final = 0x080
SETATTR_MTIME_SET: Final = 0x100
SETATTR_ALL: Final = 0x1FF

# Tlopen.flags and Tlcreate.flags: P9_DOTL_* of 9p.h, which are Linux' generic numbers and not
# those of every architecture.  O_SYNC is the one bit beside O_DSYNC that makes open(2)'s O_SYNC.
O_RDONLY: Final = 0o0
O_WRONLY: Final = 0o1
O_RDWR: Final = 0o2
O_NOACCESS: Final = 0o3
O_ACCMODE: Final = 0o3
O_CREAT: Final = 0o100
O_EXCL: Final = 0o200
O_NOCTTY: Final = 0o400
O_TRUNC: Final = 0o1000
O_APPEND: Final = 0o2000
O_NONBLOCK: Final = 0o4000
O_DSYNC: Final = 0o10000
O_ASYNC: Final = 0o20000
O_DIRECT: Final = 0o40000
O_LARGEFILE: Final = 0o100000
O_DIRECTORY: Final = 0o200000
O_NOFOLLOW: Final = 0o400000
O_NOATIME: Final = 0o1000000
O_CLOEXEC: Final = 0o2000000
O_SYNC: Final = 0o4000000

# Tunlinkat.flags: P9_DOTL_AT_REMOVEDIR of 9p.h.
AT_REMOVEDIR: Final = 0x200

# Tlock.type, Tgetlock.type and Rgetlock.type: P9_LOCK_TYPE_* of 9p.h.
LOCK_TYPE_RDLCK: Final = 0
LOCK_TYPE_WRLCK: Final = 1
LOCK_TYPE_UNLCK: Final = 2

# Tlock.flags: P9_LOCK_FLAGS_* of 9p.h.
LOCK_FLAGS_BLOCK: Final = 1
LOCK_FLAGS_RECLAIM: Final = 2

# Rlock.status: P9_LOCK_* of 9p.h.
LOCK_SUCCESS: Final = 0
LOCK_BLOCKED: Final = 1
LOCK_ERROR: Final = 2
LOCK_GRACE: Final = 3

# Txattrcreate.flags: setxattr(2).
XATTR_CREATE: Final = 1
XATTR_REPLACE: Final = 2

# DirectoryEntry.type: readdir(3); the client hands it to getdents64(2) as it is.
DT_UNKNOWN: Final = 0
DT_FIFO: Final = 1
DT_CHR: Final = 2
DT_DIR: Final = 4
DT_BLK: Final = 6
DT_REG: Final = 8
DT_LNK: Final = 10
DT_SOCK: Final = 12

# Rstatfs.type: include/uapi/linux/magic.h.
V9FS_MAGIC: Final = 0x01021997
