"""Extended attributes: small named values on an inode."""

from ram9.storage import acls
from ram9.storage.budget import Budget
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


def check_name(name: bytes) -> None:
    """Refuse a name that no attribute can have (fs/xattr.c): ERANGE by its length, EINVAL if
    nothing follows the namespace, EOPNOTSUPP if that is unknown.
    """
    if not 0 < len(name) <= XATTR_NAME_BYTES_MAX:
        raise FileSystemError(Errno.ERANGE)
    if name in NAMESPACES:
        raise FileSystemError(Errno.EINVAL)
    if name not in acls.NAMES and not name.startswith(NAMESPACES):
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


def costs_bytes(attributes: dict[bytes, bytes] | None) -> int:
    """What all attributes of an inode are charged."""
    if not attributes:
        return 0
    return FIRST_XATTR_BYTES + sum(cost_bytes(*attribute) for attribute in attributes.items())


def store(inode: Inode, name: bytes, value: bytes, budget: Budget) -> None:
    """Give an attribute a value, whether it was there or not; ENOSPC if that does not fit."""
    before = inode.xattrs.get(name) if inode.xattrs else None
    added_bytes = cost_bytes(name, value)
    if before is not None:
        added_bytes -= cost_bytes(name, before)
    elif inode.xattrs is None:
        added_bytes += FIRST_XATTR_BYTES
    budget.reserve(added_bytes)
    if inode.xattrs is None:
        inode.xattrs = {}
    inode.xattrs[name] = value


def drop(inode: Inode, name: bytes, budget: Budget) -> None:
    """Remove an attribute that is there."""
    assert inode.xattrs is not None
    freed_bytes = cost_bytes(name, inode.xattrs.pop(name))
    if not inode.xattrs:
        inode.xattrs = None
        freed_bytes += FIRST_XATTR_BYTES
    budget.release(freed_bytes)
