"""Probes of reading directories."""

import ctypes
import os
from pathlib import Path

from tests.kernel.probes.base import probe, write


@probe
def listing_while_removing_misses_nothing(top: Path) -> object:
    for number in range(700):
        os.mknod(top / f"{number:03d}{'n' * 60}")
    seen = []
    with os.scandir(top) as entries:
        for entry in entries:
            seen.append(entry.name)
            os.unlink(top / entry.name)
    return [len(seen), len(set(seen)), os.listdir(top)]


class Dirent(ctypes.Structure):
    _fields_ = (
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_int64),
        ("d_reclen", ctypes.c_uint16),
        ("d_type", ctypes.c_uint8),
        ("d_name", ctypes.c_char * 256),
    )


@probe
def places_in_a_listing_can_be_returned_to(top: Path) -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.POINTER(Dirent)
    libc.telldir.restype = ctypes.c_long
    for number in range(500):
        write(top / f"file {number}", b"")
    handle = ctypes.c_void_p(libc.opendir(bytes(top)))

    def rest() -> list[str]:
        names = []
        while entry := libc.readdir(handle):
            names.append(entry.contents.d_name.decode())
        return names

    first = [libc.readdir(handle).contents.d_name for _ in range(100)]
    place = libc.telldir(handle)
    after = rest()
    libc.seekdir(handle, ctypes.c_long(place))
    again = rest()
    write(top / "late", b"")
    libc.rewinddir(handle)
    whole = rest()
    libc.closedir(handle)
    return [len(first), len(after), after == again, len(whole), "late" in whole]


@probe
def kinds_and_numbers_in_a_listing(top: Path) -> object:
    write(top / "file")
    (top / "folder").mkdir()
    (top / "link").symlink_to("file")
    os.mkfifo(top / "fifo")
    with os.scandir(top) as entries:
        return sorted(
            [
                entry.name,
                entry.is_file(follow_symlinks=False),
                entry.is_dir(follow_symlinks=False),
                entry.is_symlink(),
                entry.inode() == (top / entry.name).lstat().st_ino,
            ]
            for entry in entries
        )
