"""What is drawn for each pair of sides, and what is not because of a known difference."""

import fcntl
from dataclasses import replace
from typing import Final

from tests.oracle.generator import Surface

# What Linux does without asking a server, or what v9fs never asks for.
LOCAL: Final = frozenset(
    [
        *("access", "copy_file_range", "read_mapped", "write_mapped"),
        *("renameat2", "flock", "set_flags"),
    ]
)
# In a sticky directory Linux is wary of links and files that others own (fs.protected_symlinks).
WIRE: Final = Surface(processes=3, without=LOCAL, sticky=False)

# In the user's stead Linux looks at protected_hardlinks, of proc(5).
WIRE_USERS: Final = replace(WIRE, links_by_root=True)

LISTS_ONLY: Final = frozenset(["set_acl", "get_acl"])  # lists-on-request
# known-zeros, no-shared-mapping, copy-within
MAPPED_ONLY: Final = frozenset(["read_mapped", "write_mapped", "copy_file_range"])
KERNEL: Final = Surface(
    processes=3,
    without=LISTS_ONLY | MAPPED_ONLY | {"set_flags"},  # append-stays
    odd_paths=True,
    path_descriptors=True,
    whole_seconds=True,  # whole-seconds
    empty_reads=False,  # empty-read
    rename_flags=(0, 3, 8),  # no-exchange, no-noreplace
    reads_what_locks=(fcntl.F_WRLCK,),  # getlk-without-type
    names_apart=True,  # stale-owner, locks-by-name
)
MAPPED: Final = replace(
    KERNEL,
    without=LISTS_ONLY | {"link"},  # mapped-zeros
    sees_atime=False,  # known-zeros
    set_id=False,  # mapped-set-id
    same_sizes=False,  # holes-stay
    names_apart=False,
)
LISTS: Final = replace(
    KERNEL,
    without=MAPPED_ONLY | {"set_flags", "link"},  # stale-list
    relates_times=False,  # later-list
    minimal_lists=False,  # list-of-a-mode
    names_apart=False,
)
