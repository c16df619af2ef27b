"""What a mount does otherwise than tmpfs because of the kernel's own 9P client, whatever a server
answers; one entry for each cause, with its place in Linux 7.2.

``show`` gets an empty directory. What it returns on tmpfs and on the mount is told beside it, so
that a kernel that has lost a difference fails the test that shows it.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.oracle.compare import wait_for_tick
from tests.oracle.posix import FLOCK, LIBC, NS, checked

PLAIN: Final = "plain"
MAPPED: Final = "mapped"
O_TMPFILE: Final = 0o20200000
FS_IOC_GETFLAGS: Final = 0x80086601
SEEK_HOLE: Final = 4
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
LIBC_CHAR: Final = ctypes.c_char


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


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def made(top: Path, data: bytes = b"data") -> str:
    (top / "file").write_bytes(data)
    return os.fspath(top / "file")


def with_fd(path: str, flags: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function makes of a descriptor."""
    fd = os.open(path, flags)
    try:
        return attempt(function, fd, *arguments)
    finally:
        os.close(fd)


def in_child(function: Callable[[], bool]) -> bool:
    """What is true in another process."""
    child = os.fork()
    if not child:
        os._exit(0 if function() else 1)
    return os.waitpid(child, 0)[1] == 0


def times_that_are_set(top: Path) -> list[int]:
    path = made(top)
    os.utime(path, ns=(1_500_000_000 * NS + 123_456_789, -NS))
    return [os.stat(path).st_atime_ns % NS, os.stat(path).st_mtime_ns]


def fallocate(top: Path) -> Any:
    return with_fd(made(top), os.O_RDWR, lambda fd: checked(LIBC.fallocate(fd, 0, 0, 4096)))


def file_without_a_name(top: Path) -> Any:
    return attempt(lambda: os.close(os.open(top, O_TMPFILE | os.O_RDWR, 0o600)))


def renamed(top: Path, new: str, flags: int) -> Any:
    made(top)
    (top / "other").touch()
    names = os.fsencode(top / "file"), os.fsencode(top / new)
    return attempt(lambda: checked(LIBC.renameat2(-100, names[0], -100, names[1], flags)))


def hole(top: Path) -> Any:
    path = made(top)
    os.truncate(path, 1 << 20)
    return with_fd(path, os.O_RDONLY, os.lseek, 0, SEEK_HOLE)


def end_of_directory(top: Path) -> Any:
    return type(with_fd(os.fspath(top), os.O_RDONLY, os.lseek, 0, os.SEEK_END)).__name__


def append_switched_off(top: Path) -> bytes:
    path = made(top)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    os.pwrite(fd, b"DA", 0)
    os.close(fd)
    return Path(path).read_bytes()


def two_kinds_of_lock(top: Path) -> bool:
    path = made(top)
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)

    def other() -> bool:
        other_fd = os.open(path, os.O_RDWR)
        return attempt(fcntl.lockf, other_fd, fcntl.LOCK_EX | fcntl.LOCK_NB) is None

    free = in_child(other)
    os.close(fd)
    return free


def asked_for_a_shared_lock(top: Path) -> bool:
    path = made(top)
    fd = os.open(path, os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_SH)

    def other() -> bool:
        other_fd = os.open(path, os.O_RDWR)
        asked = struct.pack(FLOCK, fcntl.F_RDLCK, 0, 0, 0, 0)
        answer = struct.unpack(FLOCK, fcntl.fcntl(other_fd, fcntl.F_GETLK, asked))
        return bool(answer[0] == fcntl.F_UNLCK)

    free = in_child(other)
    os.close(fd)
    return free


def moved_atime(path: str, function: Callable[..., Any], *arguments: Any, flags: int = 0) -> bool:
    """Whether what a function does with a descriptor moves the access time."""
    os.utime(path, (1, 1))
    fd = os.open(path, os.O_RDWR | flags)
    function(fd, *arguments)
    os.close(fd)
    return os.stat(path).st_atime_ns != NS


def empty_read(top: Path) -> bool:
    return moved_atime(made(top), os.read, 0)


def mapped_hole(top: Path) -> bool:
    """Whether it moves the access time to look at a hole through a mapping."""
    path = made(top)
    with open(path, "r+b", buffering=0) as file:
        os.ftruncate(file.fileno(), 8192)
        os.utime(path, (1, 1))
        with mmap.mmap(file.fileno(), 8192, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
            assert mapped[8000] == 0
    return os.stat(path).st_atime_ns != NS


def read_behind_a_new_end(top: Path) -> Any:
    """What is read of a file that was emptied by another name."""
    path = made(top)
    fd = os.open(path, os.O_RDWR)
    os.link(path, top / "other")
    os.close(os.open(top / "other", os.O_WRONLY | os.O_TRUNC))
    seen = attempt(os.read, fd, 4096)
    os.close(fd)
    return seen


def copy_within_a_file(top: Path) -> bool:
    """Whether the access time moves, which was later than any change before."""
    path = made(top)
    fd = os.open(path, os.O_RDWR)
    wait_for_tick()
    os.read(fd, 4)
    wait_for_tick()
    before = os.fstat(fd).st_atime_ns
    os.copy_file_range(fd, fd, 1, 0, 2)
    moved = os.fstat(fd).st_atime_ns != before
    os.close(fd)
    return moved


def unwanted_access_time(top: Path) -> bool:
    return moved_atime(made(top), os.read, 4, flags=os.O_NOATIME)


def shared_mapping(top: Path) -> Any:
    def mapped(fd: int) -> None:
        mmap.mmap(fd, 4).close()

    return with_fd(made(top), os.O_RDWR, mapped)


def removed_working_directory(top: Path) -> Any:
    (top / "gone").mkdir()
    fd = os.open(top / "gone", os.O_PATH)
    (top / "gone").rmdir()
    before = os.open(".", os.O_PATH)
    os.fchdir(fd)
    seen = attempt(lambda: os.stat(".").st_nlink)
    os.fchdir(before)
    os.close(before)
    os.close(fd)
    return seen


def emptied_attribute(top: Path) -> Any:
    path = made(top)
    os.setxattr(path, "user.a", b"value")
    os.setxattr(path, "user.a", b"", os.XATTR_REPLACE)
    return attempt(os.getxattr, path, "user.a")


def lease(top: Path) -> Any:
    return with_fd(made(top), os.O_RDONLY, fcntl.fcntl, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def file_flags(top: Path) -> Any:
    asked = with_fd(made(top), os.O_RDONLY, fcntl.ioctl, FS_IOC_GETFLAGS, bytes(8))
    return asked if isinstance(asked, str) else "flags"


def list_without_posixacl(top: Path) -> Any:
    value = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, 7, 2**32 - 1) for tag in (0x01, 0x04, 0x20)
    )
    return attempt(os.setxattr, made(top), "system.posix_acl_access", value)


def birth(top: Path) -> bool:
    """Whether statx(2) tells when a file was made (STATX_BTIME)."""
    buffer = bytearray(256)
    raw = (LIBC_CHAR * 256).from_buffer(buffer)
    checked(LIBC.statx(-100, os.fsencode(made(top)), 0, 0x800, raw))
    return bool(struct.unpack_from("<I", buffer)[0] & 0x800)


def handle(top: Path) -> Any:
    """The handle by which a file could be opened again (name_to_handle_at(2))."""
    buffer = bytearray(struct.pack("<Ii", 120, 0) + bytes(120))
    raw = (LIBC_CHAR * len(buffer)).from_buffer(buffer)
    mount = (LIBC_CHAR * 4)()
    asked = -100, os.fsencode(made(top)), raw, mount, 0
    return attempt(lambda: checked(LIBC.name_to_handle_at(*asked)))


DIFFERENCES: Final = (
    Difference(
        "whole-seconds",
        "A time that is set is cut to whole seconds, and one before 1970 becomes 1970.",
        "fs/9p/vfs_super.c:52, v9fs_fill_super: s_time_min is 0, and s_time_gran stays the one "
        "second of fs/super.c:378, alloc_super",
        on_tmpfs=[123_456_789, -NS],
        on_mount=[0, 0],
        show=times_that_are_set,
    ),
    Difference(
        "no-fallocate",
        "fallocate(2) is refused with EOPNOTSUPP; posix_fallocate(3) writes zeros instead.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: no .fallocate",
        on_tmpfs=0,
        on_mount="ENOTSUP",
        show=fallocate,
    ),
    Difference(
        "no-tmpfile",
        "O_TMPFILE is refused with EOPNOTSUPP.",
        "fs/9p/vfs_inode_dotl.c, v9fs_dir_inode_operations_dotl: no .tmpfile",
        on_tmpfs=None,
        on_mount="ENOTSUP",
        show=file_without_a_name,
    ),
    Difference(
        "no-exchange",
        "RENAME_EXCHANGE and RENAME_WHITEOUT are refused with EINVAL.",
        "fs/9p/vfs_inode.c, v9fs_vfs_rename: if (flags) return -EINVAL",
        on_tmpfs=0,
        on_mount="EINVAL",
        show=lambda top: renamed(top, "other", RENAME_EXCHANGE),
    ),
    Difference(
        "no-noreplace",
        "RENAME_NOREPLACE to a name that is free is refused with EINVAL, to one that is taken with "
        "EEXIST as anywhere.",
        "fs/9p/vfs_inode.c, v9fs_vfs_rename: if (flags) return -EINVAL",
        on_tmpfs=0,
        on_mount="EINVAL",
        show=lambda top: renamed(top, "free", RENAME_NOREPLACE),
    ),
    Difference(
        "holes-are-data",
        "SEEK_HOLE finds no hole before the end of a file.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: .llseek is generic_file_llseek",
        on_tmpfs=4096,
        on_mount=1 << 20,
        show=hole,
    ),
    Difference(
        "directory-ends",
        "SEEK_END in a directory gives a place; tmpfs refuses it with EINVAL.",
        "fs/9p/vfs_dir.c, v9fs_dir_operations_dotl: .llseek is generic_file_llseek",
        on_tmpfs="str",
        on_mount="int",
        show=end_of_directory,
    ),
    Difference(
        "append-stays",
        "A file that was opened with O_WRONLY|O_APPEND and no cache goes on appending when "
        "F_SETFL takes O_APPEND away: the server is not told.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: no .check_flags, and 9P2000.L no message",
        on_tmpfs=b"DAta",
        on_mount=b"dataDA",
        show=append_switched_off,
    ),
    Difference(
        "flock-is-fcntl",
        "flock(2) and fcntl(2) locks of different processes keep each other out.",
        "fs/9p/vfs_file.c:340, v9fs_file_flock_dotl: a whole file is locked as if by fcntl",
        on_tmpfs=True,
        on_mount=False,
        show=two_kinds_of_lock,
    ),
    Difference(
        "getlk-without-type",
        "F_GETLK for a shared lock reports the shared lock of another process.",
        "fs/9p/vfs_file.c:247, v9fs_file_getlock: glock.type is F_UNLCK whatever was asked",
        on_tmpfs=True,
        on_mount=False,
        show=asked_for_a_shared_lock,
    ),
    Difference(
        "empty-read",
        "A read of no bytes does not move the access time.",
        "fs/netfs/direct_read.c, netfs_unbuffered_read_iter_locked: nothing is sent",
        on_tmpfs=True,
        on_mount=False,
        show=empty_read,
    ),
    Difference(
        "known-zeros",
        "To look at bytes that the client knows to be zero, or has in its cache, does not move the "
        "access time.",
        "fs/netfs/buffered_read.c, netfs_read_to_pagecache: nothing is sent behind zero_point",
        on_tmpfs=True,
        on_mount=False,
        show=mapped_hole,
    ),
    Difference(
        "copy-within",
        "copy_file_range(2) within one file moves the access time only as a read before the write.",
        "fs/splice.c, splice_direct_to_actor: file_accessed comes last, and v9fs tells no server",
        on_tmpfs=True,
        on_mount=False,
        show=copy_within_a_file,
    ),
    Difference(
        "stale-size",
        "Without a cache, each name of a file has its own size in the client until it is asked "
        "for again: to read where others have cut the file off gives ENODATA.",
        "fs/9p/vfs_inode_dotl.c:81, v9fs_test_new_inode_dotl; fs/9p/vfs_addr.c, v9fs_issue_read: "
        "no NETFS_SREQ_HIT_EOF below i_size",
        on_tmpfs=b"",
        on_mount="ENODATA",
        show=read_behind_a_new_end,
    ),
    Difference(
        "noatime-unsaid",
        "O_NOATIME is ignored: what is read is read, for the server.",
        "net/9p/client.c:1125, p9_client_open: P9L_MODE_MASK cuts P9_DOTL_NOATIME off",
        on_tmpfs=False,
        on_mount=True,
        show=unwanted_access_time,
    ),
    Difference(
        "no-shared-mapping",
        "Without a cache (cache=none, readahead) a file that is open for writing cannot be mapped "
        "with MAP_SHARED: EINVAL.",
        "fs/9p/vfs_file.c:471, v9fs_file_mmap_prepare: generic_file_readonly_mmap_prepare",
        on_tmpfs=None,
        on_mount="EINVAL",
        show=shared_mapping,
    ),
    Difference(
        "removed-here",
        "What was removed and has no descriptor but one with O_PATH, or is a working directory, is "
        "not found by fstat(2) and by the path `.`: ENOENT.",
        "fs/9p/vfs_dentry.c, __v9fs_lookup_revalidate: the directory is looked up anew",
        on_tmpfs=0,
        on_mount="ENOENT",
        show=removed_working_directory,
    ),
    Difference(
        "empty-replacement",
        "setxattr(2) of an empty value with XATTR_REPLACE removes the attribute.",
        "fs/9p/xattr.c:134, v9fs_fid_xattr_set: removexattr is sent in the same form",
        on_tmpfs=b"",
        on_mount="ENODATA",
        show=emptied_attribute,
    ),
    Difference(
        "no-leases",
        "F_SETLEASE is refused with EINVAL.",
        "fs/9p/vfs_file.c, v9fs_file_operations_dotl: .setlease is simple_nosetlease",
        on_tmpfs=0,
        on_mount="EINVAL",
        show=lease,
    ),
    Difference(
        "no-file-flags",
        "chattr(1) and lsattr(1), FS_IOC_GETFLAGS, are refused with ENOTTY.",
        "fs/9p/vfs_inode_dotl.c, v9fs_file_inode_operations_dotl: no .fileattr_get",
        on_tmpfs="flags",
        on_mount="ENOTTY",
        show=file_flags,
    ),
    Difference(
        "lists-on-request",
        "Without the mount option posixacl there are no access control lists: EOPNOTSUPP.",
        "fs/9p/xattr.c:186, v9fs_xattr_handlers; fs/9p/acl.c, v9fs_iop_get_acl",
        on_tmpfs=None,
        on_mount="ENOTSUP",
        show=list_without_posixacl,
    ),
    Difference(
        "no-birth-time",
        "statx(2) does not tell when a file was made.",
        "fs/9p/vfs_inode_dotl.c, v9fs_stat2inode_dotl (line 680): st_btime is not taken over",
        on_tmpfs=True,
        on_mount=False,
        show=birth,
    ),
    Difference(
        "no-handles",
        "name_to_handle_at(2) is refused with EOPNOTSUPP, so NFS cannot export a mount.",
        "fs/9p/vfs_super.c, v9fs_fill_super: no s_export_op",
        on_tmpfs=0,
        on_mount="ENOTSUP",
        show=handle,
    ),
)
