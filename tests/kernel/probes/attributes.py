"""Probes of attributes: times, owners, extended attributes, locks, space."""

import fcntl
import os
import struct
from pathlib import Path

from tests.kernel.probes.base import STRANGER, USER, attempt, in_child, probe, shape, write


@probe
def times(top: Path) -> object:
    file = write(top / "file")
    os.utime(file, (1_000_000_000, 2_000_000_000))
    seen = [file.stat().st_atime_ns, file.stat().st_mtime_ns]
    ctime = file.stat().st_ctime_ns
    os.utime(file, (0, 2**31 + 7))
    seen += [file.stat().st_atime_ns, file.stat().st_mtime_ns, file.stat().st_ctime_ns >= ctime]
    (top / "link").symlink_to("file")
    os.utime(top / "link", (1, 2), follow_symlinks=False)
    seen += [(top / "link").lstat().st_mtime, file.stat().st_mtime]
    os.utime(top, (77, 88))
    write(top / "new")
    seen.append(top.stat().st_mtime > 10**9)
    os.utime(file, (77, 88))
    file.write_bytes(b"changed")
    seen += [file.stat().st_mtime > 10**9, in_child(lambda: attempt(os.utime, file), USER)]
    return [*seen, in_child(lambda: attempt(os.utime, file, (1, 1)), USER)]


@probe
def modes_and_owners(top: Path) -> object:
    top.chmod(0o777)
    file = write(top / "file")
    os.chown(file, USER, USER)
    file.chmod(0o6755)
    seen = [shape(file), in_child(lambda: attempt(os.chmod, file, 0o600), STRANGER)]
    seen += [in_child(lambda: attempt(os.chown, file, STRANGER, -1), USER), shape(file)]
    os.chown(file, STRANGER, -1)
    seen.append(shape(file))
    file.chmod(0o6777)
    seen.append(in_child(lambda: file.open("ab").write(b"x"), USER))
    seen.append(shape(file))
    file.chmod(0o640)
    seen += [in_child(lambda: attempt(os.open, file, os.O_RDONLY), 99), shape(file)]
    os.mkdir(top / "shared")
    os.chown(top / "shared", 0, 77)
    os.chmod(top / "shared", 0o3777)

    def create() -> object:
        write(top / "shared" / "mine")
        os.mkdir(top / "shared" / "below")
        return [shape(top / "shared" / name) for name in ("mine", "below")]

    seen += [in_child(create, USER)]
    seen += [in_child(lambda: attempt(os.unlink, top / "shared" / "mine"), STRANGER)]
    os.symlink("file", top / "link")
    os.lchown(top / "link", 5, 6)
    return [*seen, shape(top / "link"), shape(file)]


@probe
def extended_attributes(top: Path) -> object:
    file = write(top / "file")
    big = os.urandom(3000) * 20
    seen: list[object] = [os.listxattr(file), attempt(os.getxattr, file, "user.a")]
    os.setxattr(file, "user.a", b"one")
    os.setxattr(file, "user.empty", b"")
    os.setxattr(file, "trusted.t", b"\0\xff")
    seen += [
        sorted(os.listxattr(file)),
        os.getxattr(file, "user.a"),
        os.getxattr(file, "trusted.t"),
    ]
    seen.append(os.getxattr(file, "user.empty"))
    seen.append(attempt(os.setxattr, file, "user.a", b"two", os.XATTR_CREATE))
    seen.append(attempt(os.setxattr, file, "user.no", b"two", os.XATTR_REPLACE))
    seen.append(attempt(os.setxattr, file, "user.a", b"three", os.XATTR_REPLACE))
    seen += [os.getxattr(file, "user.a"), attempt(os.removexattr, file, "user.no")]
    os.setxattr(file, "user.big", big)
    seen.append(os.getxattr(file, "user.big") == big)
    os.removexattr(file, "user.a")
    os.removexattr(file, "user.big")
    seen += [attempt(os.removexattr, file, "user.a"), sorted(os.listxattr(file))]
    seen.append(attempt(os.setxattr, file, "user." + "n" * 251, b""))
    seen.append(attempt(os.setxattr, file, "user." + "n" * 250, b"long"))
    seen.append(attempt(os.setxattr, file, "nonsense", b""))
    os.setxattr(top, "user.directory", b"d")
    return [*map(repr, seen), os.listxattr(top), in_child(lambda: os.listxattr(top), USER)]


@probe
def whole_file_locks(top: Path) -> object:
    file = write(top / "file")

    def try_lock(kind: int) -> object:
        with file.open("r+b") as other:
            return attempt(fcntl.flock, other, kind | fcntl.LOCK_NB)

    kinds = (fcntl.LOCK_SH, fcntl.LOCK_EX)
    seen = []
    with file.open("r+b") as held:
        for kind in *kinds, fcntl.LOCK_UN:
            fcntl.flock(held, kind)
            seen += [in_child(lambda wanted=wanted: try_lock(wanted)) for wanted in kinds]
        fcntl.flock(held, fcntl.LOCK_EX)
    return [*seen, in_child(lambda: try_lock(fcntl.LOCK_EX))]


@probe
def byte_range_locks(top: Path) -> object:
    file = write(top / "file", bytes(100))

    def try_lock(kind: int, start: int, length: int) -> object:
        with file.open("r+b") as other:
            return attempt(fcntl.lockf, other, kind | fcntl.LOCK_NB, length, start)

    def holder(start: int, length: int) -> object:
        with file.open("r+b") as other:
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
            kind, _, at, size, pid = struct.unpack(
                "hhqqi4x", fcntl.fcntl(other, fcntl.F_GETLK, asked)
            )
            return [kind, at, size, pid == os.getppid()]

    seen = []
    with file.open("r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX, 10, 10)
        fcntl.lockf(held, fcntl.LOCK_SH, 10, 30)
        fcntl.lockf(held, fcntl.LOCK_UN, 2, 14)
        fcntl.lockf(held, fcntl.LOCK_EX, 0, 90)
        for start, length in (
            (0, 10),
            (10, 4),
            (14, 2),
            (15, 2),
            (29, 2),
            (40, 50),
            (1000, 1),
            (0, 0),
        ):
            seen += [
                in_child(lambda k=kind, s=start, n=length: try_lock(k, s, n))
                for kind in (fcntl.LOCK_SH, fcntl.LOCK_EX)
            ]
        seen += [in_child(lambda: holder(12, 1)), in_child(lambda: holder(14, 1))]
        seen.append(in_child(lambda: holder(95, 1)))
        with file.open("rb"):
            pass  # closing any file drops the locks of the process: fcntl(2)
        seen.append(in_child(lambda: try_lock(fcntl.LOCK_EX, 0, 0)))
    return seen


@probe
def statistics_of_the_file_system(top: Path) -> object:
    os.sync()  # what other mounts still have to write
    before = os.statvfs(top)
    with (top / "file").open("wb") as file:
        file.write(os.urandom(300_000))
        file.flush()
        os.fsync(file.fileno())
    after = os.statvfs(top)
    used = (before.f_bfree - after.f_bfree) * before.f_frsize
    return [
        before.f_namemax,
        before.f_blocks == after.f_blocks,
        300_000 - before.f_frsize <= used <= 320_000,  # both were rounded
        before.f_ffree - after.f_ffree,
        before.f_bfree == before.f_bavail,
    ]
