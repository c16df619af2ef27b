"""What no new name can be, and why."""

from ram9.storage.errors import Errno

# ``there`` is a name that is taken.
BAD_NAMES = [
    (b"", Errno.ENOENT),
    (b".", Errno.EEXIST),
    (b"..", Errno.EEXIST),
    (b"a/b", Errno.EINVAL),
    (b"a\0b", Errno.EINVAL),
    (b"n" * 256, Errno.ENAMETOOLONG),
    (b"there", Errno.EEXIST),
]
