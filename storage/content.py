"""One file's bytes: a sparse, sorted vector of runs of sectors."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from ram9.storage.disk import Disk, Reserve
from ram9.storage.limits import FIRST_RUN_BYTES, RUN_BYTES, SECTOR_BYTES, SECTOR_SHIFT
from ram9.storage.runs import Run

AHEAD_SECTORS_MAX: Final = 8192  # 4 MiB: what a growing file may reserve behind its end

Bytes = bytes | bytearray | memoryview

HOLE: Final = -1


class Claim(NamedTuple):
    """Sectors taken for a file's sectors from *start* on, and what their runs were charged."""

    start: int
    runs: list[Run]
    charged_bytes: int


NO_RUNS: Final = array("q")  # shared by all empty files: replaced, never changed


class Content:
    """The bytes [0, size_bytes) of a file; what was never written is a hole and reads as zeros.

    Run *i* holds the file's sectors from ``_starts[i]`` on, ``_counts[i]`` of them, in the arena's
    sectors from ``_places[i]`` on. Runs are sorted, do not overlap, and are joined where they
    continue each other in both. Growing never moves what is there.

    Every byte of an allocated sector that lies at or beyond *size_bytes*, or that nobody wrote, is
    zero: so a file that grows again never shows what it, or another, once held.
    """

    __slots__ = ("_counts", "_disk", "_places", "_reserve", "_starts", "sectors", "size_bytes")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._starts = NO_RUNS
        self._places = NO_RUNS
        self._counts = NO_RUNS
        self._reserve: Reserve | None = None
        self.sectors = 0  # allocated
        self.size_bytes = 0

    @property
    def runs(self) -> list[tuple[int, Run]]:
        """Each run as (first sector in the file, run)."""
        return [
            (start, Run(place, count))
            for start, place, count in zip(self._starts, self._places, self._counts, strict=True)
        ]

    @property
    def reserve(self) -> Run | None:
        reserve = self._reserve
        return Run(reserve.place, reserve.count) if reserve is not None and reserve.count else None

    def behind_end(self, count: int) -> bytes:
        """The *count* bytes behind the last, which nobody sees: zeros, or something is wrong."""
        return b"".join(self._pieces(self.size_bytes, self.size_bytes + count))

    def read(self, offset: int, count: int) -> bytes:
        """A copy of up to *count* bytes from *offset* on; fewer at the end of the file."""
        at, stop = self._find(offset, count)
        if at >= 0:
            return self._disk.memory[at:stop]
        return b"".join(self._pieces(offset, min(offset + count, self.size_bytes)))

    def lend(self, offset: int, count: int) -> bytes | memoryview:
        """Like ``read``, but where the range lies in one run, a view of the arena itself.

        The view is good until the next call that changes any file: whoever keeps it longer
        enters itself in ``Disk.lent``.
        """
        at, stop = self._find(offset, count)
        if at >= 0:
            return self._disk.view[at:stop]
        return b"".join(self._pieces(offset, min(offset + count, self.size_bytes)))

    def write(self, offset: int, data: Bytes) -> int:
        """Store *data* at *offset*; return how many of its bytes there was room for.

        Refuses with ENOSPC when not even the first byte fits. Writing no bytes changes nothing
        (POSIX write).
        """
        count = len(data)
        if not count:
            return 0
        disk = self._disk
        if disk.lent:
            disk.settle()
        index = bisect_right(self._starts, offset >> SECTOR_SHIFT) - 1
        if index >= 0:
            within = offset - (self._starts[index] << SECTOR_SHIFT)
            room = (self._counts[index] << SECTOR_SHIFT) - within
            if count <= room or (room >= 0 and self._extend(index, count - room)):
                at = (self._places[index] << SECTOR_SHIFT) + within
                disk.memory[at : at + count] = data
                self.size_bytes = max(self.size_bytes, offset + count)
                return count
        elif not self._starts:
            return self._write_first(offset, data)
        return self._write_across(offset, data)

    def truncate(self, size_bytes: int) -> None:
        """Set the size: cut off and free what lies beyond, or add a hole."""
        if size_bytes < self.size_bytes:
            if self._disk.lent:
                self._disk.settle()
            self.give_back_reserve()
            self._free_from(-(-size_bytes // SECTOR_BYTES))
            self._zero(size_bytes, -size_bytes % SECTOR_BYTES)
        self.size_bytes = size_bytes

    def give_back_reserve(self) -> None:
        """Stop holding sectors for this file's growth."""
        if self._reserve is not None:
            self._reserve.give_back()
            self._reserve = None

    def holes(self, first: int, end: int) -> list[tuple[int, int]]:
        """The unallocated parts of the file's sectors [first, end), as (first sector, count)."""
        found: list[tuple[int, int]] = []
        index = bisect_right(self._starts, first) - 1
        if index >= 0:
            first = max(first, self._starts[index] + self._counts[index])
        while first < end:
            index += 1
            stop = min(end, self._starts[index]) if index < len(self._starts) else end
            if first < stop:
                found.append((first, stop - first))
            if stop == end:
                break
            first = self._starts[index] + self._counts[index]
        return found

    def claim(self, start: int, count: int) -> Claim | None:
        """Take sectors for the hole at the file's sectors [start, start + count), and the charge.

        They continue the file's last run where that is possible; None where they do not fit.
        They hold old bytes, and are not part of the file until ``adopt`` makes them so.
        """
        budget = self._disk.budget
        if count * SECTOR_BYTES > budget.available_bytes:
            return None
        budget.reserve_sectors(count * SECTOR_BYTES)
        ends = self._starts[-1] + self._counts[-1] if self._starts else HOLE
        if start == ends:
            reserved = self._take_reserved(count)
            if reserved is not None:
                return Claim(start, [reserved], 0)
            runs = self._take_behind(count)
        else:
            if start > ends:
                self.give_back_reserve()  # it would no longer be behind the last run
            runs = self._disk.take(count)
        if not self._disk.has_backed(runs):
            self._disk.take_back(runs)
            return None
        claim = Claim(start, runs, self.cost_bytes(start, runs))
        if claim.charged_bytes > budget.available_bytes:
            self.disown(claim._replace(charged_bytes=0))
            return None
        budget.reserve_sectors(0, claim.charged_bytes)
        return claim

    def cost_bytes(self, start: int, runs: list[Run]) -> int:
        """What to remember *runs* costs at most, laid from the file's sector *start* on."""
        index = bisect_right(self._starts, start) - 1
        behind = HOLE  # the sector of the arena in which the run before would go on
        if index >= 0 and self._starts[index] + self._counts[index] == start:
            behind = self._places[index] + self._counts[index]
        breaks = 0
        for place, count in runs:
            breaks += place != behind
            behind = place + count
        return breaks * RUN_BYTES + (0 if self._starts else FIRST_RUN_BYTES)

    def disown(self, claim: Claim) -> None:
        """Free sectors that were claimed and not adopted."""
        for run in claim.runs:
            self._disk.free(run.place, run.sectors)
        self._disk.budget.release(claim.charged_bytes)

    def adopt(self, claim: Claim) -> None:
        """Make claimed sectors part of the file, where there must still be a hole."""
        added_bytes = 0
        if not self._starts:
            self._starts, self._places, self._counts = array("q"), array("q"), array("q")
            added_bytes = FIRST_RUN_BYTES
        starts, places, counts = self._starts, self._places, self._counts
        runs_before = len(starts)
        start = claim.start
        index = bisect_right(starts, start)
        for place, count in claim.runs:
            self.sectors += count
            if (
                index
                and starts[index - 1] + counts[index - 1] == start
                and places[index - 1] + counts[index - 1] == place
            ):
                counts[index - 1] += count
            else:
                starts.insert(index, start)
                places.insert(index, place)
                counts.insert(index, count)
                index += 1
            start += count
        if (
            index < len(starts)
            and start == starts[index]
            and places[index - 1] + counts[index - 1] == places[index]
        ):
            counts[index - 1] += counts[index]
            del starts[index], places[index], counts[index]
        added_bytes += (len(starts) - runs_before) * RUN_BYTES
        assert added_bytes <= claim.charged_bytes
        self._disk.budget.release(claim.charged_bytes - added_bytes)

    def _find(self, offset: int, count: int) -> tuple[int, int]:
        """Where in the arena the range lies, as (first byte, byte after the last); (-1, 0) if not
        in one run."""
        count = min(count, self.size_bytes - offset)
        index = bisect_right(self._starts, offset >> SECTOR_SHIFT) - 1
        if index >= 0 and count > 0:
            within = offset - (self._starts[index] << SECTOR_SHIFT)
            if within + count <= self._counts[index] << SECTOR_SHIFT:
                at = (self._places[index] << SECTOR_SHIFT) + within
                return at, at + count
        return HOLE, 0

    def _segments(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """The range [offset, end) piece by piece: (first byte in the arena or HOLE, length)."""
        starts, places, counts = self._starts, self._places, self._counts
        index = bisect_right(starts, offset >> SECTOR_SHIFT) - 1
        while offset < end:
            within = offset - (starts[index] << SECTOR_SHIFT) if index >= 0 else 0
            if index >= 0 and within < counts[index] << SECTOR_SHIFT:
                length = min(end - offset, (counts[index] << SECTOR_SHIFT) - within)
                yield (places[index] << SECTOR_SHIFT) + within, length
            else:
                last = index + 1 == len(starts)
                stop = end if last else min(end, starts[index + 1] << SECTOR_SHIFT)
                length = stop - offset
                if length:
                    yield HOLE, length
                index += 1
            offset += length

    def _pieces(self, offset: int, end: int) -> list[bytes | memoryview]:
        view = self._disk.view
        return [
            bytes(length) if at == HOLE else view[at : at + length]
            for at, length in self._segments(offset, end)
        ]

    def _extend(self, index: int, missing_bytes: int) -> bool:
        """Make run *index* longer by what is missing out of the reserve; False if that cannot be.

        The run's new last sector is zero beyond the missing bytes.
        """
        reserve = self._reserve
        count = -(-missing_bytes // SECTOR_BYTES)
        if (
            reserve is None
            or reserve.count < count
            or index + 1 != len(self._starts)
            or reserve.place != self._places[index] + self._counts[index]
        ):
            return False
        budget = self._disk.budget
        if budget.used_bytes + count * SECTOR_BYTES > budget.limit_bytes:
            return False
        budget.used_bytes += count * SECTOR_BYTES
        reserve.take(count)
        self._counts[index] += count
        self.sectors += count
        rest = -missing_bytes % SECTOR_BYTES
        end = (self._places[index] + self._counts[index]) << SECTOR_SHIFT
        self._disk.memory[end - rest : end] = bytes(rest)
        return True

    def _write_first(self, offset: int, data: Bytes) -> int:
        """Write to a file that has no sectors: most files are written once, and in one run."""
        first = offset >> SECTOR_SHIFT
        end_bytes = offset + len(data)
        claim = self.claim(first, -(-end_bytes // SECTOR_BYTES) - first)
        if claim is None:
            return self._write_across(offset, data)
        self.adopt(claim)
        if len(claim.runs) > 1:
            self._zero(first << SECTOR_SHIFT, offset % SECTOR_BYTES)
            self._zero(end_bytes, -end_bytes % SECTOR_BYTES)
            return self._write_across(offset, data)
        memory = self._disk.memory
        place, sectors = claim.runs[0]
        start, end = place << SECTOR_SHIFT, (place + sectors) << SECTOR_SHIFT
        at = start + offset % SECTOR_BYTES
        memory[start:at] = bytes(at - start)
        memory[at : at + len(data)] = data
        memory[at + len(data) : end] = bytes(end - at - len(data))
        self.size_bytes = max(self.size_bytes, end_bytes)
        return len(data)

    def _write_across(self, offset: int, data: Bytes) -> int:
        """Write a range that has holes or lies in several runs."""
        count = self._allocate(offset, len(data))
        view = self._disk.view
        source = memoryview(data)
        done = 0
        for at, length in self._segments(offset, offset + count):
            view[at : at + length] = source[done : done + length]
            done += length
        assert done == count
        self.size_bytes = max(self.size_bytes, offset + count)
        return count

    def _allocate(self, offset: int, count: int) -> int:
        """Fill the holes in [offset, offset + count), or in as much from its beginning as fits.

        Return the number of bytes for which there are sectors now: more than 0, or ENOSPC. What
        the range does not cover of a new sector is zero.
        """
        first = offset >> SECTOR_SHIFT
        end = -(-(offset + count) // SECTOR_BYTES)
        for start, missing in self.holes(first, end):
            filled = self._fill(start, missing)
            if filled and start == first:
                self._zero(first << SECTOR_SHIFT, offset % SECTOR_BYTES)
            if filled < missing:
                count = ((start + filled) << SECTOR_SHIFT) - offset
                if count <= 0:
                    self._disk.budget.refuse()
                return count
            if start + missing == end:
                self._zero(offset + count, -(offset + count) % SECTOR_BYTES)
        return count

    def _fill(self, start: int, missing: int) -> int:
        """Allocate the hole at sector *start*, or as much from its beginning as fits; how much."""
        filled = 0
        while filled < missing:
            claim = self._claim_most(start + filled, missing - filled)
            if claim is None:
                break
            self.adopt(claim)
            filled += sum(run.sectors for run in claim.runs)
        return filled

    def _claim_most(self, start: int, missing: int) -> Claim | None:
        """A claim of at least 15 in 16 of the sectors that fit, or of none where none does."""
        available_bytes = self._disk.budget.available_bytes
        fits = min(missing, available_bytes // SECTOR_BYTES)
        # Runs cost a little: what fits may not, once that is added. Often one sector less does,
        # and always as many as would fit if each were in a run of its own.
        surely = (available_bytes - FIRST_RUN_BYTES) // (SECTOR_BYTES + RUN_BYTES)
        for count in (fits, fits - 1, min(fits, surely)):
            claim = self.claim(start, count) if count > 0 else None
            if claim is not None:
                return claim
        return None

    def _take_reserved(self, count: int) -> Run | None:
        """Take sectors out of the reserve that continue the last run; None if they are not all
        there."""
        reserve = self._reserve
        place = self._places[-1] + self._counts[-1]
        if reserve is None or reserve.place != place or reserve.count < count:
            return None
        return Run(place, reserve.take(count))

    def _take_behind(self, count: int) -> list[Run]:
        """Take sectors that continue the last run if they can, and a reserve behind them."""
        runs: list[Run] = []
        place = self._places[-1] + self._counts[-1]
        reserve = self._reserve
        if reserve is not None and reserve.place != place:
            self.give_back_reserve()  # it is behind sectors that were claimed, not the file's
        elif reserve is not None and reserve.count:
            runs.append(Run(place, reserve.take(count)))
            place += runs[0].sectors
            count -= runs[0].sectors
        if count:
            space = self._disk.space
            ahead = min(self.sectors, AHEAD_SECTORS_MAX)
            elsewhere: int | None = None
            behind = space.take_warm_at(place, count)
            if behind < count:
                elsewhere = space.take_elsewhere(count - behind + ahead)
                if elsewhere is None:
                    behind += space.take_at(place + behind, count - behind)
            if behind:
                runs.append(Run(place, behind))
                count -= behind
            if count and elsewhere is not None:
                runs.append(Run(elsewhere, count))
                self._reserve_behind(runs, ahead)
                return runs
            if count:
                runs += self._disk.take(count)
            place = runs[-1].place + runs[-1].sectors
            self._reserve_behind(runs, space.take_ahead(place, ahead))
        return runs

    def _reserve_behind(self, runs: list[Run], count: int) -> None:
        """Reserve *count* sectors, taken behind *runs*, unless they cannot be written."""
        place = runs[-1].place + runs[-1].sectors
        self._reserve = Reserve(self._disk, place, count) if count else None
        if count and not self._disk.has_backed([*runs, Run(place, count)]):
            self.give_back_reserve()

    def _free_from(self, first: int) -> None:
        """Free the file's sectors from *first* on."""
        starts, places, counts = self._starts, self._places, self._counts
        released_bytes = 0
        while starts and starts[-1] + counts[-1] > first:
            keep = max(0, first - starts[-1])
            freed = counts[-1] - keep
            self._disk.free(places[-1] + keep, freed)
            self.sectors -= freed
            if keep:
                counts[-1] = keep
            else:
                del starts[-1], places[-1], counts[-1]
                released_bytes += RUN_BYTES
        if released_bytes and not starts:
            self._starts = self._places = self._counts = NO_RUNS
            released_bytes += FIRST_RUN_BYTES
        self._disk.budget.release(released_bytes)

    def _zero(self, offset: int, count: int) -> None:
        """Zero *count* bytes that lie in one sector, if it is allocated."""
        if count:
            for at, length in self._segments(offset, offset + count):
                if at != HOLE:
                    self._disk.view[at : at + length] = bytes(length)
