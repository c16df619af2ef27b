"""The calls of one process, made to our server in the messages that v9fs would send.

Whoever is not root is checked by the server, and not here.
"""

import errno
import os
import stat
import time
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.client import ROOT, Client, Clock, Server, set_attributes
from tests.oracle.acl import decode_acl, encode_acl
from tests.oracle.calls import OMIT, Attributes, Call, Outcome, fill
from tests.oracle.posix import NS
from tests.oracle.side import Content, User, places
from tests.oracle.wire_files import LIST_PREFIX, OpenFiles, attributes_of
from tests.oracle.wire_names import refuse

from ram9.protocol.constants import (
    AT_REMOVEDIR,
    SETATTR_ATIME,
    SETATTR_ATIME_SET,
    SETATTR_CTIME,
    SETATTR_GID,
    SETATTR_MODE,
    SETATTR_MTIME,
    SETATTR_MTIME_SET,
    SETATTR_UID,
    XATTR_REPLACE,
)
from ram9.protocol.messages import (
    Tlink,
    Tmkdir,
    Tmknod,
    Treadlink,
    Trenameat,
    Tstatfs,
    Tsymlink,
    Tunlinkat,
    Twalk,
    Twrite,
    Txattrcreate,
)
from ram9.storage.check import check
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits
from ram9.storage.permissions import Credentials

XATTR_NAME_MAX: Final = 255
XATTR_SIZE_MAX: Final = 65536
PIECE_BYTES: Final = 1 << 16


class WireProcess(OpenFiles):
    """One process, which may share its connection with others."""

    # Names

    def link(self, old: str, new: str) -> None:
        self._at(new)
        fid = self._find(old, follow=False)
        directory, name = self._parent(new)
        self._ask(Tlink(directory, fid, name))

    def symlink(self, target: str, path: str) -> None:
        at = self._at(path)
        if not target:
            refuse(errno.ENOENT)
        directory, name = self._names.parent(*at)
        self._ask(Tsymlink(directory, name, os.fsencode(target), self._new_gid(directory)))

    def readlink(self, path: str) -> str:
        fid = self._find(path, follow=False)
        return os.fsdecode(self._ask(Treadlink(fid)).target)

    def rename(self, old: str, new: str) -> None:
        source, old_name = self._at(old)
        target, new_name = self._at(new)
        old_directory, old_last = self._names.parent(source, old_name)
        new_directory, new_last = self._names.parent(target, new_name)
        self._ask(Trenameat(old_directory, old_last, new_directory, new_last))

    def unlink(self, path: str) -> None:
        directory, name = self._parent(path)
        self._ask(Tunlinkat(directory, name, 0))

    def rmdir(self, path: str) -> None:
        directory, name = self._parent(path)
        self._ask(Tunlinkat(directory, name, AT_REMOVEDIR))

    def mkdir(self, path: str, mode: int) -> None:
        directory, name = self._parent(path)
        mode = stat.S_IFDIR | mode & 0o1777 & ~self._mask(directory)
        self._ask(Tmkdir(directory, name, mode, self._new_gid(directory)))

    def mknod(self, path: str, mode: int, minor: int) -> None:
        self._at(path)
        if (refusal := refusal_of_kind(stat.S_IFMT(mode))) is not None:
            refuse(refusal)
        directory, name = self._parent(path)
        gid = self._new_gid(directory)
        mode &= ~self._mask(directory)
        self._ask(Tmknod(directory, name, mode, 60, minor, gid))

    # Attributes

    def stat(self, path: str) -> tuple[int, int]:
        state = self._names.attributes(self._find(path))
        return state.mode, state.nlink

    def lstat(self, path: str) -> tuple[int, int]:
        state = self._names.attributes(self._find(path, follow=False))
        return state.mode, state.nlink

    def statfs(self, path: str) -> tuple[int, bool]:
        state = self._ask(Tstatfs(self._find(path)))
        return state.namelen, 0 <= state.bavail <= state.bfree <= state.blocks

    def chmod(self, path: str, mode: int) -> None:
        self._chmod(self._find(path), mode)

    def fchmod(self, slot: int, mode: int) -> None:
        self._chmod(self._file(slot).fid, mode)

    def _chmod(self, fid: int, mode: int) -> None:
        mode |= stat.S_IFMT(self._names.attributes(fid).mode)
        self._ask(set_attributes(fid, SETATTR_MODE | SETATTR_CTIME, mode=mode))

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._chown(self._find(path), uid, gid)

    def lchown(self, path: str, uid: int, gid: int) -> None:
        self._chown(self._find(path, follow=False), uid, gid)

    def fchown(self, slot: int, uid: int, gid: int) -> None:
        self._chown(self._file(slot).fid, uid, gid)

    def _chown(self, fid: int, uid: int, gid: int) -> None:
        """As notify_change, fs/attr.c: a file loses set-user-ID, and a program set-group-ID."""
        valid, values = SETATTR_CTIME, {}
        if uid != -1:
            valid, values = valid | SETATTR_UID, {"uid": uid}
        if gid != -1:
            valid, values = valid | SETATTR_GID, values | {"gid": gid}
        mode = self._names.attributes(fid).mode
        gid_now = self._names.attributes(fid).gid
        is_foreign = self._user.uid and gid_now not in self._user.groups
        lost = stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP or is_foreign else 0)
        if not stat.S_ISDIR(mode) and mode & lost:
            valid, values = valid | SETATTR_MODE, values | {"mode": mode & ~lost}
        self._ask(set_attributes(fid, valid, **values))

    def utimens(self, path: str, atime: int | str, mtime: int | str) -> None:
        at = self._at(path)
        if (atime, mtime) != (OMIT, OMIT):
            self._utimens(self._names.find(*at, follow=False), atime, mtime)

    def futimens(self, slot: int, atime: int | str, mtime: int | str) -> None:
        file = self._file(slot)
        if (atime, mtime) != (OMIT, OMIT):
            self._utimens(file.fid, atime, mtime)

    def _utimens(self, fid: int, atime: int | str, mtime: int | str) -> None:
        valid, values = SETATTR_CTIME, {}
        if atime != OMIT:
            valid |= SETATTR_ATIME
        if mtime != OMIT:
            valid |= SETATTR_MTIME
        if isinstance(atime, int):
            valid |= SETATTR_ATIME_SET
            values |= {"atime_s": atime // NS % 2**64, "atime_ns": atime % NS}
        if isinstance(mtime, int):
            valid |= SETATTR_MTIME_SET
            values |= {"mtime_s": mtime // NS % 2**64, "mtime_ns": mtime % NS}
        self._ask(set_attributes(fid, valid, **values))

    def setxattr(self, path: str, name: str, byte: int, count: int, flags: int) -> None:
        at = self._from_directory(path)
        check_attribute(name, count)
        self._setxattr(self._names.find(*at), name, fill(byte, count), flags)

    def fsetxattr(self, slot: int, name: str, byte: int, count: int, flags: int) -> None:
        file = self._file(slot)
        check_attribute(name, count)
        self._setxattr(file.fid, name, fill(byte, count), flags)

    def _setxattr(self, fid: int, name: str, value: bytes, flags: int) -> None:
        new = self._names.keep(self._names.walk(fid))
        try:
            self._ask(Txattrcreate(new, os.fsencode(name), len(value), flags))
            if value:
                self._ask(Twrite(new, 0, value))
        finally:
            self._names.release(new)

    def removexattr(self, path: str, name: str) -> None:
        at = self._from_directory(path)
        check_attribute(name)
        self._setxattr(self._names.find(*at), name, b"", XATTR_REPLACE)

    def getxattr(self, path: str, name: str) -> bytes:
        at = self._from_directory(path)
        check_attribute(name)
        return self._getxattr(self._names.find(*at), name)

    def fgetxattr(self, slot: int, name: str) -> bytes:
        file = self._file(slot)
        check_attribute(name)
        return self._getxattr(file.fid, name)

    def listxattr(self, path: str) -> list[str]:
        listed = self._getxattr(self._names.find(*self._from_directory(path)), "")
        return sorted(os.fsdecode(name) for name in listed.split(b"\0")[:-1])

    # Access control lists

    def set_acl(self, path: str, kind: str, text: str) -> None:
        at = self._from_directory(path)
        value = encode_acl(text) if text else b""
        self._setxattr(self._names.find(*at), f"{LIST_PREFIX}{kind}", value, 0)

    def get_acl(self, path: str, kind: str) -> str:
        at = self._from_directory(path)
        return decode_acl(self._getxattr(self._names.find(*at), f"{LIST_PREFIX}{kind}"))


def refusal_of_kind(kind: int) -> int | None:
    """Why mknod(2) makes nothing of a kind (may_mknod, fs/namei.c), or None."""
    if kind == stat.S_IFDIR:
        return errno.EPERM
    made = (0, stat.S_IFREG, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
    return None if kind in made else errno.EINVAL


def check_attribute(name: str, count: int = 0) -> None:
    """What setxattr(2) looks at before the path (fs/xattr.c)."""
    if not 0 < len(os.fsencode(name)) <= XATTR_NAME_MAX:
        refuse(errno.ERANGE)
    if count > XATTR_SIZE_MAX:
        refuse(errno.E2BIG)


def read_on(clock: Clock) -> int:
    """The time, which is another one at each look: who looks twice for one change is found out."""
    clock.now_ns += 1
    return clock.now_ns


def room(client: Client) -> dict[str, int]:
    """What statfs(2) says is free, and of how much."""
    state = client.statfs()
    free = {"bfree": state.bfree, "bavail": state.bavail, "ffree": state.ffree}
    return free | {"blocks": state.blocks, "files": state.files}


def remove_all(client: Client, directory: int) -> None:
    """Remove what is in a directory, and its attributes."""
    for name in client.names(fid=directory):
        child = client.walk(name, fid=directory)
        if is_directory := stat.S_ISDIR(client.getattr(child).mode):
            remove_all(client, child)
        client.clunk(child)
        (client.rmdir if is_directory else client.unlink)(name, directory)
    for name in client.getxattr(directory, b"").split(b"\0")[:-1]:
        client.setxattr(directory, name, b"", XATTR_REPLACE)


class WireSide:
    """A server of its own for each sequence; two processes share a connection, others have one.

    It checks what *users* may do, if they are not all root.
    """

    def __init__(self, users: Sequence[User], limits: Limits) -> None:
        self._users = users
        self._limits = limits
        self.clear()

    def _credentials_of(self, uid: int) -> Credentials:
        [user] = {user for user in self._users if user.uid == uid}
        return Credentials(uid, user.groups[0], frozenset(user.groups))

    def clear(self) -> None:
        is_checked = any(user.uid for user in self._users)
        self._server = server = Server(
            self._limits, credentials_of=self._credentials_of if is_checked else None
        )
        server.clock.now_ns = time.time_ns()
        server.filesystem.set_attributes(
            server.filesystem.root,
            mode=0o777,
            atime_ns=server.clock.now_ns,
            mtime_ns=server.clock.now_ns,
        )
        server.filesystem.now_ns = partial(read_on, server.clock)
        first = server.connect(0)
        clients = [first, first, *(server.connect(0) for _ in self._users[2:])]
        self._made = [
            WireProcess(client, number, user)
            for number, (client, user) in enumerate(zip(clients, self._users, strict=True))
        ]
        self._observer = server.connect(0)
        self._room_at_first = room(self._observer)

    def verify(self) -> str:
        """What is wrong with the server as the sequence leaves it, and once all have gone."""
        if wrong := self._wrong():
            return wrong
        self.end()
        kept = "\n".join(f"kept: {each}" for each in self._filesystem.orphans)
        return self._wrong() or kept or self._room_lost()

    def _room_lost(self) -> str:
        """What statfs(2) misses once everything is removed: all that files took comes back."""
        client = self._server.connect(0)
        remove_all(client, ROOT)
        left = room(client)
        self.end()
        return "" if left == self._room_at_first else f"room: {self._room_at_first}, now {left}"

    def end(self) -> None:
        while self._server.clients:
            self._server.clients.pop().session.close()

    @property
    def _filesystem(self) -> FileSystem:
        return self._server.filesystem

    def _wrong(self) -> str:
        if violations := check(self._filesystem):
            return "\n".join(violations)
        try:
            self._server.verify()
        except AssertionError:
            return traceback.format_exc()
        return ""

    def perform(self, call: Call) -> Outcome:
        return self._made[call.process].perform(call)

    def _find(self, path: str) -> int | None:
        client = self._observer
        names = tuple(os.fsencode(name) for name in path.split("/") if name)
        fid = client.new()
        reply = client.answer(Twalk(ROOT, fid, names))
        found = len(getattr(reply, "wqid", ())) == len(names) and hasattr(reply, "wqid")
        return fid if found else None

    def look(self, path: str) -> Attributes | None:
        fid = self._find(path)
        if fid is None:
            return None
        state = attributes_of(self._observer.getattr(fid))
        self._observer.clunk(fid)
        return state

    def content(self, path: str) -> Content:
        client = self._observer
        names = [os.fsencode(name) for name in path.split("/") if name]
        fid = client.walk(*names)
        state = client.getattr(fid)
        listed = sorted(client.getxattr(fid, b"").split(b"\0")[:-1])
        found: list[object] = [(os.fsdecode(name), client.getxattr(fid, name)) for name in listed]
        if stat.S_ISLNK(state.mode):
            found.append(os.fsdecode(client.readlink(fid)))
        elif stat.S_ISDIR(state.mode):
            found.append(sorted(map(os.fsdecode, client.names(*names))))
        elif stat.S_ISREG(state.mode):
            found.append(self._pieces(client, names, state.size))
        client.clunk(fid)
        return tuple(found)

    def _pieces(self, client: Client, names: list[bytes], size: int) -> list[tuple[int, bytes]]:
        fid = client.open(*names)
        pieces = [(at, client.read(fid, at, min(PIECE_BYTES, size - at))) for at in places(size)]
        client.clunk(fid)
        return pieces
