"""What is used of a volume and what is left, in bytes and inodes."""

from ram9.storage.errors import Errno, FileSystemError


class Budget:
    """Used and available bytes and inodes; ``used + available == limit`` at every moment.

    Reserve first, then change: a refusal leaves no trace.
    """

    __slots__ = ("limit_bytes", "limit_inodes", "refusals", "used_bytes", "used_inodes")

    def __init__(self, limit_bytes: int, limit_inodes: int) -> None:
        self.limit_bytes = limit_bytes
        self.limit_inodes = limit_inodes
        self.used_bytes = 0
        self.used_inodes = 0
        self.refusals = 0  # how often something did not fit

    @property
    def available_bytes(self) -> int:
        return self.limit_bytes - self.used_bytes

    @property
    def available_inodes(self) -> int:
        return self.limit_inodes - self.used_inodes

    def reserve(self, count_bytes: int) -> None:
        """Take *count_bytes* (which may be negative); ENOSPC if they are not there."""
        used_bytes = self.used_bytes + count_bytes
        if used_bytes > self.limit_bytes and count_bytes > 0:
            self.refuse()
        self.used_bytes = used_bytes

    def reserve_inode(self, count_bytes: int) -> None:
        """Take one inode and *count_bytes*; ENOSPC if either is not there."""
        if self.used_inodes >= self.limit_inodes:
            self.refuse()
        self.reserve(count_bytes)
        self.used_inodes += 1

    def release(self, count_bytes: int) -> None:
        self.used_bytes -= count_bytes
        assert self.used_bytes >= 0

    def release_inode(self, count_bytes: int) -> None:
        self.release(count_bytes)
        self.used_inodes -= 1
        assert self.used_inodes >= 0

    def refuse(self) -> None:
        """Count a refusal and raise ENOSPC."""
        self.refusals += 1
        raise FileSystemError(Errno.ENOSPC)
