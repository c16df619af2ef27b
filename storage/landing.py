"""Large writes whose bytes are received straight into the sectors where they will live."""

from typing import Final

from ram9.storage.content import Claim, Content
from ram9.storage.disk import Disk
from ram9.storage.errors import FileSystemError
from ram9.storage.limits import SECTOR_BYTES, SECTOR_SHIFT

LANDING_SHARE: Final = 4  # writes that are arriving hold a quarter of the space, and one more


class Landing:
    """Room for the *count* bytes of one write, which becomes part of the file all at once.

    ``views`` are the places to receive into, in order. The whole sectors of the range get fresh
    sectors of the arena; the bytes before the first whole sector, which share theirs with what is
    in the file, wait in a small buffer. The file shows nothing of it before ``commit``.
    """

    __slots__ = ("_content", "_disk", "_head", "_is_over", "_offset", "claim", "count", "views")

    def __init__(self, disk: Disk, content: Content, offset: int, count: int, claim: Claim) -> None:
        self._disk = disk
        self._content = content
        self._offset = offset
        self.claim = claim
        self._head = bytearray(min(count, -offset % SECTOR_BYTES))
        self._is_over = False
        self.count = count
        disk.landing_bytes += count
        self.views = [memoryview(self._head)] if self._head else []
        left = count - len(self._head)
        for run in claim.runs:
            at = run.place << SECTOR_SHIFT
            length = min(left, run.sectors << SECTOR_SHIFT)
            self.views.append(disk.view[at : at + length])
            left -= length
        assert not left

    def commit(self) -> int:
        """Make the received bytes part of the file; return how many there was room for.

        ENOSPC as for ``Content.write``; then the sectors are free again.
        """
        content, claim, disk = self._content, self.claim, self._disk
        count = sum(run.sectors for run in claim.runs)
        untouched = content.holes(claim.start, claim.start + count) == [(claim.start, count)]
        if not untouched or content.cost_bytes(claim.start, claim.runs) > claim.charged_bytes:
            # Somebody else changed this part of the file meanwhile.
            return self._write_instead()
        try:
            written = content.write(self._offset, self._head)
        except FileSystemError:
            # The first bytes do not fit beside the rest; perhaps they do in its place.
            return self._write_instead()
        assert written == len(self._head)
        end_bytes = self._offset + self.count
        rest = -end_bytes % SECTOR_BYTES
        if rest:
            last = claim.runs[-1]
            at = (last.place + last.sectors) << SECTOR_SHIFT
            disk.memory[at - rest : at] = bytes(rest)
        self._end()
        content.adopt(claim)
        content.size_bytes = max(content.size_bytes, end_bytes)
        return self.count

    def abort(self) -> None:
        """Free the sectors, unless they are the file's already: the write will not happen."""
        if not self._is_over:
            self._end()
            self._content.disown(self.claim)

    def _end(self) -> None:
        self._is_over = True
        self._disk.landing_bytes -= self.count

    def _write_instead(self) -> int:
        """Give the sectors up and write the bytes as any others."""
        data = b"".join(self.views)
        self.abort()
        return self._content.write(self._offset, data)


def land(disk: Disk, content: Content, offset: int, count: int) -> Landing | None:
    """Room to receive a write into; None where it would not replace a hole, or does not fit.

    Nor where writes that have not all arrived hold much of the space already: they may never.
    """
    held_bytes = disk.landing_bytes  # mostly none: then the limit need not be known
    if held_bytes and held_bytes > disk.budget.standing().limit_bytes // LANDING_SHARE:
        return None
    start = -(-offset // SECTOR_BYTES)
    end = -(-(offset + count) // SECTOR_BYTES)
    if end <= start or content.holes(start, end) != [(start, end - start)]:
        return None
    claim = content.claim(start, end - start)
    if claim is None:
        return None
    return Landing(disk, content, offset, count, claim)
