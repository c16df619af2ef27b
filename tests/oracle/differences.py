"""What a mount does otherwise than tmpfs because of the kernel's own 9P client, whatever a server
answers; one entry for each cause, with its place in Linux 7.2.

What ``show`` returns on tmpfs and on the mount is told beside it, so that a kernel that has lost a
difference fails the test that shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.oracle import demonstrations as show
from tests.oracle.posix import NS

PLAIN: Final = "plain"
LISTED: Final = "listed"
MAPPED: Final = "mapped"
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2


@dataclass(frozen=True)
class Difference:
    """*name* is what documents and tests call it; *mount* is which mount shows it."""

    name: str
    sentence: str
    source: str
    on_tmpfs: Any
    on_mount: Any
    show: Callable[[Path], Any]
    mount: str = PLAIN


DIFFERENCES: Final = (
    Difference(
        "whole-seconds",
        "A time that is set is cut to whole seconds, and one before 1970 becomes 1970.",
        "fs/9p/vfs_super.c:52, v9fs_fill_super: s_time_min is 0, and s_time_gran stays the one "
        "second of fs/super.c:378, alloc_super",
        on_tmpfs=[123_456_789, -NS],
        on_mount=[0, 0],
        show=show.times_that_are_set,
    ),
    Difference(
        "no-fallocate",
        "fallocate(2) is refused with EOPNOTSUPP; posix_fallocate(3) writes zeros instead.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: no .fallocate",
        on_tmpfs=0,
        on_mount="ENOTSUP",
        show=show.fallocate,
    ),
    Difference(
        "no-tmpfile",
        "O_TMPFILE is refused with EOPNOTSUPP.",
        "fs/9p/vfs_inode_dotl.c, v9fs_dir_inode_operations_dotl: no .tmpfile",
        on_tmpfs=None,
        on_mount="ENOTSUP",
        show=show.file_without_a_name,
    ),
    Difference(
        "no-exchange",
        "RENAME_EXCHANGE and RENAME_WHITEOUT are refused with EINVAL.",
        "fs/9p/vfs_inode.c, v9fs_vfs_rename: if (flags) return -EINVAL",
        on_tmpfs=0,
        on_mount="EINVAL",
        show=lambda top: show.renamed(top, "other", RENAME_EXCHANGE),
    ),
    Difference(
        "no-noreplace",
        "RENAME_NOREPLACE to a name that is free is refused with EINVAL, to one that is taken with "
        "EEXIST as anywhere.",
        "fs/9p/vfs_inode.c, v9fs_vfs_rename: if (flags) return -EINVAL",
        on_tmpfs=0,
        on_mount="EINVAL",
        show=lambda top: show.renamed(top, "free", RENAME_NOREPLACE),
    ),
    Difference(
        "holes-are-data",
        "SEEK_HOLE finds no hole before the end of a file.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: .llseek is generic_file_llseek",
        on_tmpfs=4096,
        on_mount=1 << 20,
        show=show.hole,
    ),
    Difference(
        "directory-ends",
        "SEEK_END in a directory gives a place; tmpfs refuses it with EINVAL.",
        "fs/9p/vfs_dir.c, v9fs_dir_operations_dotl: .llseek is generic_file_llseek",
        on_tmpfs="str",
        on_mount="int",
        show=show.end_of_directory,
    ),
    Difference(
        "append-stays",
        "A file that was opened with O_WRONLY|O_APPEND and no cache goes on appending when "
        "F_SETFL takes O_APPEND away: the server is not told.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: no .check_flags, and 9P2000.L no message",
        on_tmpfs=b"DAta",
        on_mount=b"dataDA",
        show=show.append_switched_off,
    ),
    Difference(
        "flock-is-fcntl",
        "flock(2) and fcntl(2) locks of different processes keep each other out.",
        "fs/9p/vfs_file.c:340, v9fs_file_flock_dotl: a whole file is locked as if by fcntl",
        on_tmpfs=True,
        on_mount=False,
        show=show.two_kinds_of_lock,
    ),
    Difference(
        "getlk-without-type",
        "F_GETLK for a shared lock reports the shared lock of another process.",
        "fs/9p/vfs_file.c:247, v9fs_file_getlock: glock.type is F_UNLCK whatever was asked",
        on_tmpfs=True,
        on_mount=False,
        show=show.asked_for_a_shared_lock,
    ),
    Difference(
        "empty-read",
        "A read of no bytes does not move the access time.",
        "fs/netfs/direct_read.c, netfs_unbuffered_read_iter_locked: nothing is sent",
        on_tmpfs=True,
        on_mount=False,
        show=show.empty_read,
    ),
    Difference(
        "known-zeros",
        "To look at bytes that the client knows to be zero, or has in its cache, does not move the "
        "access time.",
        "fs/netfs/buffered_read.c, netfs_read_to_pagecache: nothing is sent behind zero_point",
        on_tmpfs=True,
        on_mount=False,
        show=show.mapped_hole,
    ),
    Difference(
        "holes-stay",
        "A hole that is looked at through a mapping takes no memory of the file system's, as it "
        "does on tmpfs; so truncation to the same size afterwards moves no times.",
        "fs/netfs/buffered_read.c, netfs_read_to_pagecache: nothing is sent behind zero_point; "
        "mm/shmem.c, shmem_fault: a page is allocated",
        on_tmpfs=8,
        on_mount=0,
        show=show.hole_that_was_looked_at,
    ),
    Difference(
        "copy-within",
        "copy_file_range(2) within one file moves the access time only as a read before the write.",
        "fs/9p/vfs_inode_dotl.c:982, v9fs_file_inode_operations_dotl: no .update_time, to tell "
        "what splice_direct_to_actor (fs/splice.c) notes at last",
        on_tmpfs=True,
        on_mount=False,
        show=show.copy_within_a_file,
    ),
    Difference(
        "stale-size",
        "Without a cache, each name of a file has its own size in the client until it is asked "
        "for again: to read where others have cut the file off gives ENODATA.",
        "fs/9p/vfs_inode_dotl.c:81, v9fs_test_new_inode_dotl; fs/9p/vfs_addr.c, v9fs_issue_read: "
        "no NETFS_SREQ_HIT_EOF below i_size",
        on_tmpfs=b"",
        on_mount="ENODATA",
        show=show.read_behind_a_new_end,
    ),
    Difference(
        "stale-owner",
        "Without a cache, each name of a file that is open has its own mode and owner in the "
        "client until it is asked for again: what chmod(2) and chown(2) allow by another name is "
        "refused.",
        "fs/9p/vfs_inode_dotl.c:81, v9fs_test_new_inode_dotl; fs/namei.c, generic_permission: "
        "what the inode has is not asked for",
        on_tmpfs=True,
        on_mount=False,
        show=show.opened_by_a_mode_of_its_other_name,
    ),
    Difference(
        "names-apart",
        "rename(2) of one name of a file to another of its names asks for the permission to "
        "change the directories, though it does nothing.",
        "fs/9p/vfs_inode_dotl.c:81, v9fs_test_new_inode_dotl; fs/namei.c, vfs_rename: source and "
        "target are two inodes",
        on_tmpfs=True,
        on_mount=False,
        show=show.renamed_to_its_other_name,
    ),
    Difference(
        "locks-by-name",
        "Locks of one process by two names of a file do not know of each other: flock(2) does not "
        "keep it out, and a close by the other name does not let go of what fcntl(2) locked.",
        "fs/9p/vfs_inode_dotl.c:81, v9fs_test_new_inode_dotl; fs/9p/vfs_file.c:136, "
        "v9fs_file_do_lock: proc_id is the process, whose own locks are in nobody's way",
        on_tmpfs="EAGAIN",
        on_mount=None,
        show=show.locked_by_two_names,
    ),
    Difference(
        "listed-ahead",
        "A directory is read ahead: a name that is removed or renamed meanwhile may be listed.",
        "fs/9p/vfs_dir.c:196, v9fs_dir_readdir_dotl: a whole reply is told before the next is "
        "asked for",
        on_tmpfs=0,
        on_mount=3,
        show=show.listed_after_removal,
    ),
    Difference(
        "mapped-zeros",
        "With cache=mmap each name of a file has its own pages, and its own idea of where it "
        "ends: mapped memory does not show what is written by another name, but zeros.",
        "fs/9p/vfs_inode_dotl.c:81, v9fs_test_new_inode_dotl; fs/netfs/buffered_read.c:303, "
        "netfs_read_to_pagecache: nothing is sent behind zero_point",
        on_tmpfs=b"data",
        on_mount=bytes(4),
        show=show.mapped_by_another_name,
        mount=MAPPED,
    ),
    Difference(
        "mapped-set-id",
        "With cache=mmap a store into mapped memory takes set-ID bits away if anybody but root "
        "has the file open for writing, as write(2) does.",
        "fs/9p/vfs_addr.c:44, v9fs_begin_writeback: what memory holds is sent by any fid that "
        "may write, and looks like a write(2)",
        on_tmpfs=0o6000,
        on_mount=0,
        show=show.set_id_bits_of_mapped_memory,
        mount=MAPPED,
    ),
    Difference(
        "noatime-unsaid",
        "O_NOATIME is ignored: what is read is read, for the server.",
        "net/9p/client.c:1125, p9_client_open: P9L_MODE_MASK cuts P9_DOTL_NOATIME off",
        on_tmpfs=False,
        on_mount=True,
        show=show.unwanted_access_time,
    ),
    Difference(
        "no-shared-mapping",
        "Without a cache (cache=none, readahead) a file that is open for writing cannot be mapped "
        "with MAP_SHARED: EINVAL.",
        "fs/9p/vfs_file.c:471, v9fs_file_mmap_prepare: generic_file_readonly_mmap_prepare",
        on_tmpfs=None,
        on_mount="EINVAL",
        show=show.shared_mapping,
    ),
    Difference(
        "removed-here",
        "What was removed and has no descriptor but one with O_PATH, or is a working directory, is "
        "not found by fstat(2) and by the path `.`: ENOENT.",
        "fs/9p/vfs_dentry.c, __v9fs_lookup_revalidate: the directory is looked up anew",
        on_tmpfs=0,
        on_mount="ENOENT",
        show=show.removed_working_directory,
    ),
    Difference(
        "empty-replacement",
        "setxattr(2) of an empty value with XATTR_REPLACE removes the attribute.",
        "fs/9p/xattr.c:134, v9fs_fid_xattr_set: removexattr is sent in the same form",
        on_tmpfs=b"",
        on_mount="ENODATA",
        show=show.emptied_attribute,
    ),
    Difference(
        "no-leases",
        "F_SETLEASE is refused with EINVAL.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: .setlease is simple_nosetlease",
        on_tmpfs=0,
        on_mount="EINVAL",
        show=show.lease,
    ),
    Difference(
        "no-file-flags",
        "chattr(1) and lsattr(1), FS_IOC_GETFLAGS, are refused with ENOTTY.",
        "fs/9p/vfs_inode_dotl.c, v9fs_file_inode_operations_dotl: no .fileattr_get",
        on_tmpfs="flags",
        on_mount="ENOTTY",
        show=show.file_flags,
    ),
    Difference(
        "lists-on-request",
        "Without the mount option posixacl there are no access control lists: EOPNOTSUPP.",
        "fs/9p/xattr.c:186, v9fs_xattr_handlers; fs/9p/acl.c, v9fs_iop_get_acl",
        on_tmpfs=None,
        on_mount="ENOTSUP",
        show=show.list_without_posixacl,
    ),
    Difference(
        "list-of-a-mode",
        "With posixacl, a list that says no more than a mode is read back while the client keeps "
        "the file in mind, though none is stored.",
        "fs/9p/acl.c:234, v9fs_iop_set_acl: set_cached_acl gets the list that was not sent",
        on_tmpfs="ENODATA",
        on_mount="a list",
        show=show.list_that_is_a_mode,
        mount=LISTED,
    ),
    Difference(
        "stale-list",
        "With posixacl, each name of a file has its own access list in the client while the file "
        "is open: one that was set by another name is not there.",
        "fs/9p/vfs_inode_dotl.c:81, v9fs_test_new_inode_dotl; fs/9p/acl.c, v9fs_iop_get_acl: the "
        "list is what the inode's cache has",
        on_tmpfs="a list",
        on_mount="ENODATA",
        show=show.list_set_by_another_name,
        mount=LISTED,
    ),
    Difference(
        "later-list",
        "With posixacl, what is made in a directory with a default list has a change time later "
        "than its others: the client sends the lists afterwards.",
        "fs/9p/acl.c, v9fs_set_create_acl (line 292)",
        on_tmpfs=True,
        on_mount=False,
        show=show.times_with_a_default_list,
        mount=LISTED,
    ),
    Difference(
        "no-birth-time",
        "statx(2) does not tell when a file was made.",
        "fs/9p/vfs_inode_dotl.c, v9fs_stat2inode_dotl (line 680): st_btime is not taken over",
        on_tmpfs=True,
        on_mount=False,
        show=show.birth,
    ),
    Difference(
        "no-handles",
        "name_to_handle_at(2) is refused with EOPNOTSUPP, so NFS cannot export a mount.",
        "fs/9p/vfs_super.c, v9fs_fill_super: no s_export_op",
        on_tmpfs=0,
        on_mount="ENOTSUP",
        show=show.handle,
    ),
)
