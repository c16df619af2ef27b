"""Small programs that show what a mount does otherwise than tmpfs; each gets an empty directory."""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.oracle.acl import encode_acl
from tests.oracle.compare import wait_for_tick
from tests.oracle.posix import FLOCK, LIBC, NS, checked
from tests.oracle.reading import all_entries, decode, entries

O_TMPFILE: Final = 0o20200000
FS_IOC_GETFLAGS: Final = 0x80086601
SEEK_HOLE: Final = 4
LIBC_CHAR: Final = ctypes.c_char
ONE_ENTRY_OF_A_DOT: Final = 24
ACCESS_LIST: Final = "system.posix_acl_access"
DEFAULT_LIST: Final = "system.posix_acl_default"


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


def as_another(top: Path, function: Callable[[], bool]) -> bool:
    """What is true for a user who is in no group of root's, and stands at *top*."""

    def stand_there() -> bool:
        os.chdir(top)
        os.setgroups([])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        return function()

    return in_child(stand_there)


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


def hole_that_was_looked_at(top: Path) -> int:
    """What a file takes of whose hole a mapping has shown one byte."""
    path = made(top, b"")
    os.truncate(path, 4096)
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
        assert mapped[0] == 0
    os.close(fd)
    return os.stat(path).st_blocks


def read_behind_a_new_end(top: Path) -> Any:
    """What is read of a file that was emptied by another name."""
    path = made(top)
    fd = os.open(path, os.O_RDWR)
    os.link(path, top / "other")
    os.close(os.open(top / "other", os.O_WRONLY | os.O_TRUNC))
    seen = attempt(os.read, fd, 4096)
    os.close(fd)
    return seen


def renamed_to_its_other_name(top: Path) -> bool:
    """Whether rename(2) of one name of a file to the other does nothing, whoever asks for it."""
    os.link(made(top), top / "other")
    return as_another(top, lambda: attempt(os.rename, "file", "other") is None)


def opened_by_a_mode_of_its_other_name(top: Path) -> bool:
    """Whether a file that is open can be read by others once another of its names is for all."""
    path = made(top)
    os.chmod(path, 0o600)
    fd = os.open(path, os.O_RDONLY)
    os.link(path, top / "other")
    os.chmod(top / "other", 0o644)
    allowed = as_another(top, lambda: isinstance(attempt(os.open, "file", os.O_RDONLY), int))
    os.close(fd)
    return allowed


def locked_by_two_names(top: Path) -> Any:
    """What the second flock(2) of a process gives, by another name of the file."""
    path = made(top)
    os.link(path, top / "other")
    fds = [os.open(each, os.O_RDWR) for each in (path, top / "other")]
    fcntl.flock(fds[0], fcntl.LOCK_EX)
    seen = attempt(fcntl.flock, fds[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    for fd in fds:
        os.close(fd)
    return seen


def listed_after_removal(top: Path) -> int:
    """How many names are listed that were removed after the first entry had been read."""
    for name in "abc":
        (top / name).touch()
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    entries(fd, ONE_ENTRY_OF_A_DOT)
    for name in "abc":
        (top / name).unlink()
    listed = decode(all_entries(fd))
    os.close(fd)
    return len(listed)


def mapped_by_another_name(top: Path) -> bytes:
    """What a mapping of a file shows that was written by another name."""
    path = made(top, b"")
    fd = os.open(path, os.O_RDWR)
    os.link(path, top / "other")
    (top / "other").write_bytes(b"data" * 1024)
    os.fstat(fd)
    with mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
        seen = mapped[:4]
    os.close(fd)
    return seen


def set_id_bits_of_mapped_memory(top: Path) -> int:
    """Which set-ID bits a program has once another user has stored into it through a mapping."""
    path = made(top)
    os.chmod(path, 0o6777)

    def stored() -> bool:
        fd = os.open("file", os.O_RDWR)
        with mmap.mmap(fd, 4) as mapped:
            mapped[:1] = b"D"
            mapped.flush()
        os.close(fd)
        return True

    assert as_another(top, stored)
    assert Path(path).read_bytes() == b"Data"
    return os.stat(path).st_mode & 0o6000


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
    return attempt(os.setxattr, made(top), ACCESS_LIST, encode_acl("u::7 g::7 o::7"))


def list_that_is_a_mode(top: Path) -> Any:
    """What is read back of a list that says no more than a mode, of a file that stays open."""
    path = made(top)
    fd = os.open(path, os.O_RDONLY)
    os.setxattr(path, ACCESS_LIST, encode_acl("u::7 g::5 o::0"))
    seen = attempt(os.getxattr, path, ACCESS_LIST)
    os.close(fd)
    return seen if isinstance(seen, str) else "a list"


def list_set_by_another_name(top: Path) -> Any:
    """What is read back of a list that was set by another name of a file that is open."""
    path = made(top)
    fd = os.open(path, os.O_RDONLY)
    os.link(path, top / "other")
    os.setxattr(top / "other", ACCESS_LIST, encode_acl("u::6 u1000:7 g::0 m::7 o::0"))
    seen = attempt(os.getxattr, path, ACCESS_LIST)
    os.close(fd)
    return seen if isinstance(seen, str) else "a list"


def times_with_a_default_list(top: Path) -> bool:
    """Whether what is made where there is a default list has one time."""
    directory = top / "directory"
    directory.mkdir()
    os.setxattr(directory, DEFAULT_LIST, encode_acl("u::7 u1000:7 g::0 m::7 o::0"))
    path = directory / "made"
    path.mkdir()
    found = path.stat()
    return found.st_mtime_ns == found.st_ctime_ns


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
