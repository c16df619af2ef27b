"""Probes of names: opening, renaming, linking, removing, special files."""

import ctypes
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from tests.kernel.probes.base import attempt, in_child, probe, shape, write

RENAME_NOREPLACE: Final = 1


@probe
def open_flags(top: Path) -> object:
    file, folder, link = write(top / "file"), top / "folder", top / "link"
    folder.mkdir()
    link.symlink_to("nothing")
    flags = {
        "read": os.O_RDONLY,
        "write": os.O_WRONLY,
        "both": os.O_RDWR,
        "create": os.O_WRONLY | os.O_CREAT,
        "exclusive": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
        "directory": os.O_DIRECTORY,
        "no follow": os.O_NOFOLLOW,
        "truncate": os.O_WRONLY | os.O_TRUNC,
        "path": os.O_PATH,
    }
    names = [file, folder, link, top / "absent", file / "below", folder / "no" / "way"]
    found = []
    for name in names:
        for label, value in flags.items():
            fd = attempt(os.open, name, value, 0o640)
            if isinstance(fd, int):
                os.close(fd)
                fd = "opened"
            found.append(f"{name.name} {label}: {fd}")
    return [*found, shape(file), sorted(os.listdir(top))]


@probe
def renaming(top: Path) -> object:
    seen = []
    for old in "file", "empty", "full", "link", "absent":
        for new in "file", "empty", "full", "link", "absent", "full/in", "empty/in":
            here = top / f"{old} {new.replace('/', ' ')}"
            here.mkdir()
            for side in "old", "new":
                (here / side).mkdir()
                write(here / side / "file", side.encode())
                (here / side / "empty").mkdir()
                (here / side / "full").mkdir()
                write(here / side / "full" / "kept")
                (here / side / "link").symlink_to(side)
            result = attempt(os.rename, here / "old" / old, here / "new" / new)
            tree = sorted(str(path.relative_to(here)) for path in here.rglob("*"))
            seen.append(f"{here.name}: {result} {' '.join(tree)}")
    return seen


@probe
def renaming_into_itself_or_onto_another_name_of_itself(top: Path) -> object:
    (top / "a" / "b").mkdir(parents=True)
    file = write(top / "file")
    os.link(file, top / "same")
    seen = [
        attempt(os.rename, top / "a", top / "a" / "b" / "c"),
        attempt(os.rename, top / "a" / "b", top / "a"),
        attempt(os.rename, top / "a", top / "a"),
        attempt(os.rename, file, top / "same"),
        attempt(os.rename, file, file),
    ]
    return [*seen, sorted(os.listdir(top)), shape(file)]


@probe
def renaming_without_replacing(top: Path) -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    one, two = write(top / "one", b"1"), write(top / "two", b"2")

    def renameat2(old: Path, new: Path) -> object:
        failed = libc.renameat2(-100, bytes(old), -100, bytes(new), RENAME_NOREPLACE)
        return errno.errorcode[ctypes.get_errno()] if failed else "renamed"

    # Onto a name that is free, v9fs refuses with EINVAL without asking the server.
    return [renameat2(one, two), one.read_text(), two.read_text()]


@probe
def renaming_over_an_open_file(top: Path) -> object:
    old, new = write(top / "old", b"old"), write(top / "new", b"new")
    fd = os.open(old, os.O_RDWR)
    os.rename(new, old)
    os.pwrite(fd, b"er", 3)
    seen = [os.pread(fd, 9, 0).decode(), os.fstat(fd).st_nlink, old.read_text()]
    os.close(fd)
    return seen


@probe
def hard_links(top: Path) -> object:
    file, link = write(top / "file"), top / "link"
    (top / "folder").mkdir()
    os.link(file, link)
    seen: list[object] = [shape(file), file.samefile(link)]
    link.write_bytes(b"other")
    seen += [file.read_text(), attempt(os.link, file, link)]
    seen += [attempt(os.link, top / "folder", top / "x"), attempt(os.link, top / "no", top / "x")]
    (top / "symlink").symlink_to("file")
    os.link(top / "symlink", top / "hard", follow_symlinks=False)
    seen += [os.readlink(top / "hard"), shape(top / "hard")[:2]]
    file.unlink()
    return [*seen, shape(link), link.read_text()]


@probe
def symbolic_links(top: Path) -> object:
    write(top / "file")
    targets = ["file", "nowhere", "loop", "../" + top.name + "/file", "x" * 1000, "a b\tc"]
    seen: list[object] = []
    for number, target in enumerate(targets):
        link = top / ("loop" if target == "loop" else f"link{number}")
        link.symlink_to(target)
        seen += [os.readlink(link), shape(link), attempt(lambda link=link: link.read_text())]
    seen.append(attempt(os.symlink, "x", top / "file"))
    seen.append(attempt(os.readlink, top / "file"))
    return [*seen, attempt(os.symlink, "", top / "empty"), attempt(os.unlink, top / "loop")]


@probe
def the_working_directory_can_be_removed(top: Path) -> object:
    here = top / "here"
    here.mkdir()

    def stay() -> object:
        os.chdir(here)
        fd = os.open(".", os.O_DIRECTORY)
        os.rmdir(here)
        # stat(".") is not asked: v9fs forgets its way to "." and looks the old name up again.
        seen = [attempt(os.open, "file", os.O_CREAT | os.O_WRONLY), attempt(os.mkdir, "folder")]
        seen += [attempt(os.listdir, fd), attempt(lambda: os.fstat(fd).st_nlink)]
        return [*seen, attempt(os.getcwd), attempt(os.rmdir, "."), os.stat("..").st_nlink]

    return [in_child(stay), os.listdir(top)]


@probe
def removing_directories(top: Path) -> object:
    (top / "full").mkdir()
    file = write(top / "full" / "file")
    (top / "link").symlink_to("full")
    cases = [top / "full", file, top / "link", top / "absent", file / "x", top / "full" / "."]
    seen = [attempt(os.rmdir, case) for case in cases]
    seen += [attempt(os.unlink, top / "full"), attempt(os.mkdir, top / "full")]
    before = top.stat().st_nlink
    (top / "sub").mkdir()
    return [*seen, top.stat().st_nlink - before, shape(top / "sub")]


@probe
def special_files(top: Path) -> object:
    os.umask(0)
    os.mkfifo(top / "fifo", 0o644)
    os.mknod(top / "block", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    os.mknod(top / "character", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "file", stat.S_IFREG | 0o4755)
    os.mknod(top / "socket", stat.S_IFSOCK | 0o700)
    seen: list[object] = [[name, shape(top / name)] for name in sorted(os.listdir(top))]
    seen += [os.lstat(top / name).st_rdev for name in ("block", "character")]
    seen.append(attempt(os.mkfifo, top / "fifo"))
    with (top / "character").open("wb") as null:
        seen.append(null.write(b"gone"))
    if not (child := os.fork()):
        (top / "fifo").write_bytes(b"through the pipe")
        os._exit(0)
    seen.append((top / "fifo").read_text())
    os.waitpid(child, 0)
    os.umask(0o022)
    return seen


@probe
def unix_sockets(top: Path) -> object:
    os.chdir(top)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        seen: list[object] = [shape(top / "socket")]
        seen.append(attempt(client.connect, "socket"))
        server.listen()
        client.connect("socket")
        accepted, _ = server.accept()
        accepted.sendall(b"hello")
        accepted.close()
        seen.append(client.recv(99).decode())
        with socket.socket(socket.AF_UNIX) as again:
            seen.append(attempt(again.bind, "socket"))
    os.chdir("/")
    return seen


@probe
def names_are_any_bytes(top: Path) -> object:
    base = os.fsencode(top) + b"/"
    every = bytes(set(range(1, 256)) - {0x2F})
    names = [every + b"+", b"\xff" * 255, b"\n", b" ", b"...", b"-rf", "näme".encode()]
    seen: list[object] = []
    for name in names:
        with open(base + name, "wb") as file:
            seen.append(file.write(name))
    for name in names:
        with open(base + name, "rb") as file:
            seen.append(file.read() == name)
    seen.append(sorted(os.listdir(base)) == sorted(names))
    refused = (b"x" * 256, b"", b".", b"..", b"x" * 255 + b"/")
    seen += [attempt(os.mkdir, base + name) for name in refused]
    deep = base + b"/".join([b"d" * 200] * 18)
    seen.append(attempt(os.makedirs, deep))
    return [*seen, attempt(os.mkdir, deep + b"/" + b"e" * 255 * 3)]
