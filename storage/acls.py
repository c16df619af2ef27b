"""POSIX access control lists, as Linux keeps them in two attributes (acl(5), fs/posix_acl.c).

A list refines the mode, and each follows the other: what a list says of the owner, of the group
class and of others is what the nine permission bits say.
"""

import stat
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.inodes import Directory, Inode, Symlink

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"  # of a directory: what is made in it begins with
NAMES: Final = (ACCESS, DEFAULT)

USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20
NAMED: Final = (USER, GROUP)
NO_ID: Final = 2**32 - 1

# In this order a list has its entries: exactly one of each, but for those with a name and the mask.
ORDER: Final = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)
ONCE: Final = (USER_OBJ, GROUP_OBJ, OTHER)

VERSION: Final = struct.Struct("<I")
ENTRY: Final = struct.Struct("<HHI")
VERSION_2: Final = 2


class Entry(NamedTuple):
    """What one user, group or class may do; *id* is NO_ID for a class."""

    tag: int
    permissions: int
    id: int


def parse(value: bytes) -> list[Entry]:
    """The entries of a value, none for the list that is to be removed.

    EINVAL if they are no entries, EOPNOTSUPP if they are of another version (posix_acl_from_xattr).
    Whether they make sense together says ``check_valid``.
    """
    if not value:
        return []
    if len(value) < VERSION.size:
        raise FileSystemError(Errno.EINVAL)
    if VERSION.unpack_from(value)[0] != VERSION_2:
        raise FileSystemError(Errno.EOPNOTSUPP)
    if (len(value) - VERSION.size) % ENTRY.size:
        raise FileSystemError(Errno.EINVAL)
    entries = []
    for tag, permissions, number in ENTRY.iter_unpack(value[VERSION.size :]):
        if tag not in ORDER or (tag in NAMED and number == NO_ID):
            raise FileSystemError(Errno.EINVAL)
        entries.append(Entry(tag, permissions, number if tag in NAMED else NO_ID))
    return entries


def encode(entries: Iterable[Entry]) -> bytes:
    """The value that holds these entries."""
    return VERSION.pack(VERSION_2) + b"".join(ENTRY.pack(*entry) for entry in entries)


def check_valid(entries: list[Entry]) -> None:
    """EINVAL unless the entries are complete and in order, with a mask if any has a name
    (posix_acl_valid)."""
    tags = [entry.tag for entry in entries]
    if (
        tags != sorted(tags)
        or any(tags.count(tag) != 1 for tag in ONCE)
        or tags.count(MASK) > 1
        or (MASK not in tags and any(tag in NAMED for tag in tags))
        or any(entry.permissions > 7 for entry in entries)
    ):
        raise FileSystemError(Errno.EINVAL)


def mode_of(entries: list[Entry], mode: int) -> int:
    """*mode* with the permissions that the entries give to each class (posix_acl_equiv_mode)."""
    shifts = _shifts(entries)
    bits = sum(entry.permissions << shifts[entry.tag] for entry in entries if entry.tag in shifts)
    return mode & ~0o777 | bits


def change(inode: Inode, name: bytes, value: bytes) -> tuple[int, bytes] | None:
    """The mode and the value that setting a list leads to, or None if nothing is to be done.

    A list that says no more than a mode does becomes that mode, and its value empty: none is kept.
    Symbolic links have none (EOPNOTSUPP), and only directories have a default one (EACCES).
    """
    entries = parse(value)
    if isinstance(inode, Symlink):
        raise FileSystemError(Errno.EOPNOTSUPP)
    if name == DEFAULT and not isinstance(inode, Directory):
        if entries:
            raise FileSystemError(Errno.EACCES)
        return None
    if not entries:
        return inode.mode, b""  # a change also where there is none (simple_set_acl, fs/posix_acl.c)
    check_valid(entries)
    if name == DEFAULT:
        return inode.mode, encode(entries)
    is_minimal = len(entries) == len(ONCE)
    return mode_of(entries, inode.mode), b"" if is_minimal else encode(entries)


def permits(value: bytes, uid: int, gid: int, groups: frozenset[int], wanted: int) -> bool:
    """Whether an access list gives all of *wanted* to a user who is not the owner.

    *gid* is the group of the inode, *groups* are those of the user (posix_acl_permission).
    """
    entries = parse(value)
    mask = next((entry.permissions for entry in entries if entry.tag == MASK), 7)
    is_in_group = False
    for tag, permissions, number in entries:
        if tag == USER:
            if number == uid:
                return not wanted & ~(permissions & mask)
        elif tag in (GROUP_OBJ, GROUP):
            if (gid if tag == GROUP_OBJ else number) in groups:
                is_in_group = True
                if not wanted & ~permissions:
                    return not wanted & ~mask
        elif tag == OTHER:
            return not is_in_group and not wanted & ~permissions
    raise AssertionError("a list without an entry for others")


def follow_mode(inode: Inode) -> None:
    """Let the access list of *inode* say what its mode says by now (posix_acl_chmod)."""
    value = inode.xattrs.get(ACCESS) if inode.xattrs else None
    if value is not None:
        assert inode.xattrs is not None
        inode.xattrs[ACCESS] = encode(_with_mode(parse(value), inode.mode, narrow=False))


def inherited(directory: Inode, mode: int) -> tuple[int, dict[bytes, bytes] | None]:
    """The mode of what is made in *directory* with *mode*, and its lists, if any.

    The default list of a directory limits the mode, and is limited by it (posix_acl_create). A
    client that has done
    so already (Linux with ``posixacl``) comes to the same result, and sets the same lists again.
    """
    value = directory.xattrs.get(DEFAULT) if directory.xattrs else None
    if value is None:
        return mode, None
    entries = _with_mode(parse(value), mode, narrow=True)
    lists = {} if len(entries) == len(ONCE) else {ACCESS: encode(entries)}
    if stat.S_ISDIR(mode):
        lists[DEFAULT] = value
    return mode_of(entries, mode), lists or None


def _with_mode(entries: list[Entry], mode: int, *, narrow: bool) -> list[Entry]:
    """The entries with what *mode* gives to each class; if *narrow*, only of what they gave."""
    shifts = _shifts(entries)

    def changed(entry: Entry) -> Entry:
        if entry.tag not in shifts:
            return entry
        given = mode >> shifts[entry.tag] & 7
        return entry._replace(permissions=entry.permissions & given if narrow else given)

    return [changed(entry) for entry in entries]


def _shifts(entries: list[Entry]) -> dict[int, int]:
    """Which entries the three classes of a mode stand for, and where in the mode they have bits."""
    group_class = MASK if any(entry.tag == MASK for entry in entries) else GROUP_OBJ
    return {USER_OBJ: 6, group_class: 3, OTHER: 0}
