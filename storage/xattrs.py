"""Extended attributes: small named values on an inode."""

from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Inode
from ram9.storage.limits import (
    FIRST_XATTR_BYTES,
    XATTR_BYTES,
    XATTR_LIST_BYTES_MAX,
    XATTR_NAME_BYTES_MAX,
    XATTR_VALUE_BYTES_MAX,
)

# The names that tmpfs has (mm/shmem.c, fs/posix_acl.c), and that the Linux client asks for.
NAMESPACES = (b"user.", b"trusted.", b"security.")
ACL_NAMES = (b"system.posix_acl_access", b"system.posix_acl_default")


def check_name(name: bytes) -> None:
    """Refuse a name that no attribute can have (fs/xattr.c): ERANGE by its length, EINVAL if
    nothing follows the namespace, EOPNOTSUPP if that is unknown.
    """
    if not 0 < len(name) <= XATTR_NAME_BYTES_MAX:
        raise FileSystemError(Errno.ERANGE)
    if name in NAMESPACES:
        raise FileSystemError(Errno.EINVAL)
    if name not in ACL_NAMES and not name.startswith(NAMESPACES):
        raise FileSystemError(Errno.EOPNOTSUPP)


def check_room(inode: Inode, name: bytes, size_bytes: int) -> None:
    """Refuse what is too large: E2BIG for a value, ENOSPC for more names than a list can show."""
    if size_bytes > XATTR_VALUE_BYTES_MAX:
        raise FileSystemError(Errno.E2BIG)
    have = inode.xattrs or {}
    if name not in have and len(listing(inode)) + len(name) + 1 > XATTR_LIST_BYTES_MAX:
        raise FileSystemError(Errno.ENOSPC)


def listing(inode: Inode, hidden: bytes | None = None) -> bytes:
    """The names of the inode's attributes, each with a NUL behind it (listxattr(2)).

    Without those that begin with *hidden*.
    """
    names = inode.xattrs or ()
    return b"".join(name + b"\0" for name in names if hidden is None or not name.startswith(hidden))


def cost_bytes(name: bytes, value: bytes) -> int:
    """What an attribute is charged."""
    return XATTR_BYTES + len(name) + len(value)


def costs_bytes(inode: Inode) -> int:
    """What all attributes of an inode are charged."""
    if not inode.xattrs:
        return 0
    return FIRST_XATTR_BYTES + sum(cost_bytes(*attribute) for attribute in inode.xattrs.items())
