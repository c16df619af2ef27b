"""Paths of a client that speaks 9P as v9fs does: one name at a time, links followed here."""

import errno
import os
import stat
from typing import Any, Final, NoReturn

from tests.client import ROOT, Client

from ram9.protocol.codec import Message
from ram9.protocol.messages import Rgetattr, Rlerror, Tclunk, Tgetattr, Treadlink, Twalk

LINKS_MAX: Final = 40  # MAXSYMLINKS, linux/namei.h
PATH_MAX: Final = 4096


def refuse(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


class Paths:
    """Turns paths into fids, which live until ``forget``, but for those that are kept.

    *searches* is whether it looks if names may be looked up where the last one of a path stands,
    before anything else is done with it (link_path_walk, fs/namei.c).
    """

    def __init__(self, client: Client, root: int = ROOT, *, searches: bool = False) -> None:
        self.client = client
        self._root = root
        self._searches = searches
        self._passing: list[int] = []

    def ask(self, request: Message) -> Any:
        """The reply; OSError if it is Rlerror."""
        reply = self.client.answer(request)
        if isinstance(reply, Rlerror):
            refuse(reply.ecode)
        return reply

    def keep(self, fid: int) -> int:
        """Let a fid outlive the call."""
        self._passing.remove(fid)
        return fid

    def release(self, fid: int) -> None:
        """Clunk a fid that was kept; OSError if what it was for cannot be done."""
        self.ask(Tclunk(fid))

    def forget(self) -> None:
        """Clunk what the call needed."""
        for fid in self._passing:
            self.client.clunk(fid)
        self._passing.clear()

    def walk(self, fid: int, *names: bytes) -> int:
        """A new fid of what *names* lead to from *fid*, without following links."""
        new = self.client.new()
        reply = self.ask(Twalk(fid, new, names))
        if len(reply.wqid) < len(names):
            refuse(errno.ENOENT)
        self._passing.append(new)
        return new

    def attributes(self, fid: int) -> Rgetattr:
        reply: Rgetattr = self.ask(Tgetattr(fid, 0x3FFF))
        return reply

    def parent(self, base: int, path: bytes, links: int = LINKS_MAX) -> tuple[int, bytes]:
        """The directory in which the last name of *path* stands, and that name."""
        if not path:
            refuse(errno.ENOENT)
        if len(path) >= PATH_MAX:
            refuse(errno.ENAMETOOLONG)
        names = [name for name in path.split(b"/") if name] or [b"."]
        at = self._root if path.startswith(b"/") else base
        if at != self._root and not stat.S_ISDIR(self.attributes(at).mode):
            refuse(errno.ENOTDIR)
        for name in names[:-1]:
            at = self._step(at, name, links)
            if not stat.S_ISDIR(self.attributes(at).mode):
                refuse(errno.ENOTDIR)
        if self._searches:
            self.search(at)
        return at, names[-1]

    def find(self, base: int, path: bytes, *, follow: bool = True, links: int = LINKS_MAX) -> int:
        """A fid of what *path* leads to from *base*."""
        at, name = self.parent(base, path, links)
        if not path.endswith(b"/"):
            return self._step(at, name, links) if follow else self.child(at, name)
        fid = self._step(at, name, links)
        if not stat.S_ISDIR(self.attributes(fid).mode):
            refuse(errno.ENOTDIR)
        return fid

    def child(self, directory: int, name: bytes) -> int:
        """A fid of a name in a directory; ``.`` is not for the server to know."""
        if name != b".":
            return self.walk(directory, name)
        self.search(directory)
        return self.walk(directory)

    def search(self, directory: int) -> None:
        """OSError where the user may not look names up, which each name on a path asks for."""
        if not stat.S_ISDIR(self.attributes(directory).mode):
            refuse(errno.ENOTDIR)
        if self.attributes(directory).nlink:
            self.walk(directory, b"..")

    def _step(self, at: int, name: bytes, links: int) -> int:
        fid = self.child(at, name)
        if not stat.S_ISLNK(self.attributes(fid).mode):
            return fid
        return self.find(at, self.target(fid, links), links=links - 1)

    def target(self, link: int, links: int) -> bytes:
        """Where a symbolic link leads; ELOOP if too many were followed to get there."""
        if not links:
            refuse(errno.ELOOP)
        target: bytes = self.ask(Treadlink(link)).target
        return target
