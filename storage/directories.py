"""The names in a directory, in an order that readers can resume from."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.limits import NAME_BYTES_MAX
from ram9.storage.tables import is_oversized

T = TypeVar("T")

DOT_COOKIE: Final = 1
DOTDOT_COOKIE: Final = 2
REMOVED: Final = b""
STALE_MIN: Final = 64  # below this many removed names, tidying costs more than it saves


class Dentry(Generic[T]):
    """A name's inode, and the cookie by which a reader of the directory finds its place again."""

    __slots__ = ("cookie", "inode")

    def __init__(self, inode: T, cookie: int) -> None:
        self.inode = inode
        self.cookie = cookie


class Entries(Generic[T]):
    """Names to inodes, with cookies that grow with every name added and are never used twice.

    So a reader that continues after a cookie misses no name that was there all the time and sees
    none twice, whatever is added and removed meanwhile. Cookies 1 and 2 are those of ``.`` and
    ``..``, which are not kept here.

    ``_cookies`` and ``_names`` list what was added, in order. What was removed stays listed, but
    without its name, until such make up half of the list. Before ``_first`` there are no names:
    who removes what comes first, and begins anew each time, does not pass by all that is gone.
    """

    __slots__ = ("_by_name", "_cookies", "_first", "_names", "last_cookie")

    def __init__(self) -> None:
        self._by_name: dict[bytes, Dentry[T]] = {}
        self._cookies = array("q")
        self._names: list[bytes] = []
        self._first = 0
        self.last_cookie = DOTDOT_COOKIE

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: bytes) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[tuple[bytes, T]]:
        """Each name and its inode, in the order of their cookies."""
        return iter([(name, dentry.inode) for name, dentry in self._by_name.items()])

    def get(self, name: bytes) -> T | None:
        dentry = self._by_name.get(name)
        return dentry.inode if dentry is not None else None

    def cookie_of(self, name: bytes) -> int:
        """The cookie of a name, by which ``name_at`` finds it again; 0 if it is not there."""
        dentry = self._by_name.get(name)
        return dentry.cookie if dentry is not None else 0

    def name_at(self, cookie: int) -> bytes:
        """The name whose cookie that is, found in O(log n); empty if it is gone."""
        index = bisect_left(self._cookies, cookie)
        if index == len(self._cookies) or self._cookies[index] != cookie:
            return REMOVED
        return self._names[index]

    def add(self, name: bytes, inode: T) -> None:
        """Add a name that is not there yet."""
        assert name not in self._by_name
        self.last_cookie += 1
        self._by_name[name] = Dentry(inode, self.last_cookie)
        self._cookies.append(self.last_cookie)
        self._names.append(name)

    def replace(self, name: bytes, inode: T) -> T:
        """Let a name lead elsewhere, in its place; return where it led."""
        dentry = self._by_name[name]
        before, dentry.inode = dentry.inode, inode
        return before

    def remove(self, name: bytes) -> T:
        """Remove a name; return its inode."""
        dentry = self._by_name.pop(name)
        index = bisect_left(self._cookies, dentry.cookie)
        self._names[index] = REMOVED
        while index == self._first < len(self._names) and self._names[index] == REMOVED:
            self._first = index = index + 1
        if len(self._names) > 2 * len(self._by_name) + STALE_MIN:
            self._tidy()
        return dentry.inode

    def take_last(self, count_max: int) -> list[T]:
        """Remove up to *count_max* names, the newest ones; return their inodes."""
        taken: list[T] = []
        while self._by_name and len(taken) < count_max:
            name, dentry = self._by_name.popitem()
            while self._names.pop() != name:
                pass  # it was removed before
            taken.append(dentry.inode)
        del self._cookies[len(self._names) :]
        self._first = min(self._first, len(self._names))
        return taken

    def after(self, cookie: int) -> Iterator[tuple[int, bytes, T]]:
        """(cookie, name, inode) of the names behind *cookie*, in order.

        Finding the place takes O(log n). Not to be continued after a change.
        """
        by_name = self._by_name
        start = max(self._first, bisect_right(self._cookies, cookie))
        for index in range(start, len(self._cookies)):
            name = self._names[index]
            if name != REMOVED:
                yield self._cookies[index], name, by_name[name].inode

    def shrink(self) -> None:
        """Make the tables smaller where few names are left of many."""
        if is_oversized(self._by_name):
            self._tidy()

    def _tidy(self) -> None:
        # A dict keeps the order in which names were added, which is that of their cookies, but
        # never shrinks: a copy does.
        self._first = 0
        self._by_name = dict(self._by_name)
        self._names[:] = self._by_name
        self._cookies = array("q", [dentry.cookie for dentry in self._by_name.values()])


def check_name(name: bytes) -> None:
    """Refuse what can be no name: empty (ENOENT), too long, or with ``/`` or NUL (EINVAL)."""
    if len(name) > NAME_BYTES_MAX:
        raise FileSystemError(Errno.ENAMETOOLONG)
    if not name:
        raise FileSystemError(Errno.ENOENT)
    if b"/" in name or b"\0" in name:
        raise FileSystemError(Errno.EINVAL)
