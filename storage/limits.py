"""What a file system may hold; every limit has a name and is tested at it and one past it."""

from dataclasses import dataclass
from typing import Final

SECTOR_BYTES: Final = 512
SECTOR_SHIFT: Final = 9
PAGE_SECTORS: Final = 8  # sectors in a 4 KiB page, the least that the system takes back

NAME_BYTES_MAX: Final = 255  # NAME_MAX, linux/limits.h
SYMLINK_BYTES_MAX: Final = 4095  # PATH_MAX with its NUL
XATTR_NAME_BYTES_MAX: Final = 255  # XATTR_NAME_MAX
XATTR_VALUE_BYTES_MAX: Final = 65536  # XATTR_SIZE_MAX
XATTR_LIST_BYTES_MAX: Final = 65536  # XATTR_LIST_MAX: a longer list could not be asked for

# What things cost in this process, beside the bytes that they hold (data, names, values). Measured
# with CPython 3.11 on x86-64 as the growth of RssAnon over 50,000 of each in a fresh process;
# tests/unit/storage/test_budget.py measures again and allows 10 %.
INODE_BYTES: Final = 320  # of root's 300, of others' 365 (their numbers are objects)
FILE_BYTES: Final = 56  # its content, while that is empty
DENTRY_BYTES: Final = 178  # 167 to 210, as full as the table of them is
DIRECTORY_BYTES: Final = 256  # its table: 230 when empty, 400 with a few names
RUN_BYTES: Final = 24  # three machine words; 22 to 34 with the room for more
FIRST_RUN_BYTES: Final = 392  # three vectors, and the size and times that no longer are shared
XATTR_BYTES: Final = 100  # 90 to 120
FIRST_XATTR_BYTES: Final = 256  # their table


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one file system.

    *size_bytes* bounds everything held: data in whole sectors, names, attributes, inodes.
    """

    size_bytes: int
    inodes: int
    links: int = 2**31 - 1  # of one file; the Linux client counts in 32 bits
    file_bytes: int = 2**63 - 1  # loff_t
