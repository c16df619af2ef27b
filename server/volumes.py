"""What clients can mount by an aname: volumes, each of which is a file system of its own."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from ram9.server.config import Squash
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits
from ram9.storage.permissions import Credentials

DEFAULT_NAME: Final = b""

CredentialsOf = Callable[[int], Credentials]


class AttachError(FileSystemError):
    """An attach is refused; *reason* says why, for the log."""

    __slots__ = ("reason",)

    def __init__(self, errno: Errno, reason: str) -> None:
        super().__init__(errno)
        self.reason = reason


class User(Protocol):
    """Who uses a volume, or has used it: a session."""

    number: int  # that no other has

    def leave(self, volume: "Volume") -> None:
        """Forget *volume*, which nobody uses any more."""

    def note_ended(self, volume: "Volume") -> None:
        """*volume* has ended: do nothing with it any more."""

    def expire(self, volume: "Volume") -> Iterator[None]:
        """Let go of *volume*, step by step."""


class Policy:
    """Who users are, and whether their requests are checked.

    *credentials_of* says who a user is, if every request is to be checked; without it, the
    client's kernel is trusted to do so. It may raise OSError where that cannot be known. Users that
    *squash* covers are another instead, and their requests are checked in any case: their client
    may believe that they are root.
    """

    __slots__ = ("_credentials_of", "_squash")

    def __init__(
        self, credentials_of: CredentialsOf | None = None, squash: Squash | None = None
    ) -> None:
        self._credentials_of = credentials_of
        self._squash = squash

    def user(self, uid: int) -> tuple[int, Credentials | None]:
        """Who *uid* is here, and what is checked by that, if anything is. May raise OSError."""
        squash = self._squash
        if squash is not None and (squash.everybody or not uid):
            return squash.uid, Credentials(squash.uid, squash.gid, frozenset((squash.gid,)))
        if self._credentials_of is None:
            return uid, None
        return uid, self._credentials_of(uid)


TRUST: Final = Policy()


class Tenure:
    """For how long a volume is there that does not stay, and how many attachments use it.

    It was made with *size_bytes* and *ttl_seconds*, and ends at *deadline*. *on_use* is told when
    the first begins to use it, and when the last has gone. ``users`` has the attachments of each
    session that has some, by its number.
    """

    __slots__ = ("_on_use", "deadline", "size_bytes", "ttl_seconds", "users")

    def __init__(
        self,
        size_bytes: int,
        ttl_seconds: int,
        deadline: float,
        on_use: Callable[["Tenure"], None],
    ) -> None:
        self.size_bytes = size_bytes
        self.ttl_seconds = ttl_seconds
        self.deadline = deadline
        self._on_use = on_use
        self.users: dict[int, int] = {}

    def enter(self, user: int) -> None:
        """One more uses it."""
        is_first = not self.users
        self.users[user] = self.users.get(user, 0) + 1
        if is_first:
            self._on_use(self)

    def leave(self, user: int) -> None:
        """One fewer does."""
        left = self.users.pop(user) - 1
        if left:
            self.users[user] = left
        elif not self.users:
            self._on_use(self)


class Lease:
    """Uses a volume for as long as somebody has this: an attachment, and so its fids."""

    __slots__ = ("_tenure", "_user")

    def __init__(self, tenure: Tenure, user: int) -> None:
        self._tenure = tenure
        self._user = user
        tenure.enter(user)

    def __del__(self) -> None:
        self._tenure.leave(self._user)


class Volume:
    """A file system that is mounted by *name*, and what holds for whoever mounts it.

    If it is ``read_only``, nothing changes it; if it ``has_ended``, nothing may be done with it.
    Both may come to be so while it is used, and ``sessions`` that have attached it are to be told;
    they are known where there is a ``tenure``. ``refusals_seen``, ``is_full`` and ``is_unwiped``
    are what the log has been told of it.
    """

    __slots__ = (
        "filesystem",
        "has_ended",
        "is_full",
        "is_unwiped",
        "name",
        "policy",
        "read_only",
        "refusals_seen",
        "sessions",
        "tenure",
    )

    def __init__(
        self,
        name: bytes,
        filesystem: FileSystem,
        policy: Policy = TRUST,
        *,
        read_only: bool = False,
    ) -> None:
        self.name = name
        self.filesystem = filesystem
        self.policy = policy
        self.read_only = read_only
        self.has_ended = False
        self.tenure: Tenure | None = None
        self.sessions: dict[User, None] = {}
        self.refusals_seen = 0
        self.is_full = False
        self.is_unwiped = False


class Place(NamedTuple):
    """Where an aname leads: by the names of *way* from the root of a volume.

    *open* gives the volume, which *policy* and *name* are of; it may make it, or raise AttachError.
    """

    policy: Policy
    name: bytes
    way: list[bytes]
    open: Callable[[], Volume]


class Maker(Protocol):
    """Has volumes that come and go: a template."""

    @property
    def count(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[Volume]:
        """All that are there, as they are now."""

    def place(self, names: list[bytes], query: bytes | None) -> Place:
        """Where an aname of these names, and what is behind its question mark, leads."""


class Volumes:
    """The volumes of one server, ``named`` by what mounts them; iterating gives all of them.

    No two of them share inodes or sectors. ``templates`` have those that come and go, by the first
    name of their anames. ``grave`` is what is left to those who still use one that has gone.
    """

    __slots__ = ("grave", "named", "templates")

    def __init__(self, volumes: Iterable[Volume]) -> None:
        self.named: dict[bytes, Volume] = {}
        self.templates: dict[bytes, Maker] = {}
        for volume in volumes:
            if volume.name in self.named:
                raise ValueError(f"two volumes have the name {volume.name!r}")
            self.named[volume.name] = volume
        self.grave = Volume(b"", FileSystem(Limits(size_bytes=4096, inodes=1), lambda: 0))
        self.grave.has_ended = True

    def __iter__(self) -> Iterator[Volume]:
        """All volumes, as they are now: more may come and go meanwhile."""
        return iter(list(self.named.values()))

    def find(self, aname: bytes) -> Place:
        """Where *aname* leads, as far as it is known without looking into the volume.

        To the volume with the first of its names, or what a template has by them, else to the one
        without a name (DEFAULT_NAME): that has all other ways. Raises AttachError.
        """
        path, mark, query = aname.partition(b"?")
        names = _names(path)
        if names and names[0] in self.templates:
            return self.templates[names[0]].place(names, query if mark else None)
        names = _names(aname)
        volume = self.named.get(names[0]) if names else None
        way = names[1:]
        if volume is None:
            volume, way = self.named.get(DEFAULT_NAME), names
        if volume is None:
            raise AttachError(Errno.ENOENT, "no such volume")
        found = volume
        return Place(volume.policy, volume.name, way, lambda: found)


def _names(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]
