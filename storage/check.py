"""Everything that must be true of a file system, recomputed from scratch."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from ram9.storage import acls, xattrs
from ram9.storage.budget import Budget
from ram9.storage.content import Claim, Content
from ram9.storage.directories import DOTDOT_COOKIE
from ram9.storage.errors import FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.inodes import Directory, File, Inode, Symlink
from ram9.storage.limits import (
    DENTRY_BYTES,
    DIRECTORY_BYTES,
    FILE_BYTES,
    FIRST_RUN_BYTES,
    INODE_BYTES,
    PAGE_SECTORS,
    RUN_BYTES,
    SECTOR_BYTES,
)


def check(filesystem: FileSystem, landing: Iterable[Claim] = ()) -> list[str]:
    """What is wrong with a file system, one sentence each; nothing when all is well.

    *landing* are the claims of writes whose bytes are still arriving.
    """
    names, violations = _walk(filesystem)
    inodes = [*names, *filesystem.orphans]
    for inode in inodes:
        violations += _check_inode(inode, names)
    violations += _check_numbers(inodes)
    violations += _check_budget(filesystem, inodes, names, list(landing))
    violations += _check_sectors(filesystem, inodes, list(landing))
    return violations


def _walk(filesystem: FileSystem) -> tuple[dict[Inode, list[bytes]], list[str]]:
    """Every inode that a name leads to, with its names, and what is wrong with directories."""
    root = filesystem.root
    names: dict[Inode, list[bytes]] = {root: []}
    violations: list[str] = []
    if root.parent is not root:
        violations.append("the root's parent is not the root")
    todo = [root]
    while todo:
        directory = todo.pop()
        violations += _check_order(directory)
        for name, inode in directory.entries:
            if isinstance(inode, Directory):
                if inode in names:
                    violations.append(f"directory {inode.number} has two names")
                    continue
                if inode.parent is not directory:
                    violations.append(f"directory {inode.number} does not know its parent")
                todo.append(inode)
            names.setdefault(inode, []).append(name)
            if inode in filesystem.orphans:
                violations.append(f"orphan {inode.number} has the name {name!r}")
    return names, violations


def _check_order(directory: Directory) -> list[str]:
    """Listing gives each name once, in the order of cookies that are above those of the dots."""
    listed = list(directory.entries.after(0))
    cookies = [cookie for cookie, _, _ in listed]
    violations = []
    if cookies != sorted(set(cookies)) or (cookies and cookies[0] <= DOTDOT_COOKIE):
        violations.append(f"directory {directory.number}: cookies out of order")
    if cookies and cookies[-1] > directory.entries.last_cookie:
        violations.append(f"directory {directory.number}: a cookie will be used twice")
    if [(name, inode) for _, name, inode in listed] != list(directory.entries):
        violations.append(f"directory {directory.number}: the listing misses names")
    return violations


def _check_inode(inode: Inode, names: dict[Inode, list[bytes]]) -> list[str]:
    violations = []
    where = f"inode {inode.number}"
    if isinstance(inode, Directory):
        subdirectories = sum(isinstance(child, Directory) for _, child in inode.entries)
        expected = 2 + subdirectories if inode in names else 0
        if expected == 0 and inode.entries:
            violations.append(f"{where} was removed and has entries")
    else:
        expected = len(names.get(inode, ()))
    if inode.nlink != expected:
        violations.append(f"{where} has {expected} links and says {inode.nlink}")
    if inode.holds < 0 or (inode not in names and not inode.holds):
        violations.append(f"{where} lives and nothing keeps it: {inode.holds} holds")
    if not 0 < inode.version < 2**32:
        violations.append(f"{where} has version {inode.version}")
    if inode.ctime_ns < inode.btime_ns:
        violations.append(f"{where} changed before it was made")
    if isinstance(inode, Directory) and not inode.nlink and not inode.parent.holds:
        violations.append(f"{where} was removed, and what its '..' leads to is not kept")
    if inode.xattrs is not None and not inode.xattrs:
        violations.append(f"{where} keeps an empty table of attributes")
    violations += [f"{where}: {text}" for text in _check_acls(inode)]
    if isinstance(inode, File):
        violations += [f"{where}: {text}" for text in _check_content(inode.content)]
    return violations


def _check_acls(inode: Inode) -> list[str]:
    violations = []
    for name in acls.NAMES:
        value = (inode.xattrs or {}).get(name)
        if value is None:
            continue
        try:
            entries = acls.parse(value)
            acls.check_valid(entries)
        except FileSystemError:
            violations.append(f"{name!r} is no access control list")
        else:
            if name == acls.ACCESS and acls.mode_of(entries, inode.mode) != inode.mode:
                violations.append(f"its mode is {inode.mode:o}, its access list says otherwise")
    return violations


def _check_content(content: Content) -> list[str]:
    violations = []
    runs = content.runs
    for (start, run), (next_start, next_run) in pairwise(runs):
        end = start + run.sectors
        if end > next_start:
            violations.append(f"runs overlap at sector {next_start}")
        if end == next_start and run.place + run.sectors == next_run.place:
            violations.append(f"runs are not joined at sector {next_start}")
    if any(run.sectors <= 0 for _, run in runs):
        violations.append("an empty run")
    if content.sectors != sum(run.sectors for _, run in runs):
        violations.append(f"says {content.sectors} sectors")
    if runs:
        start, last = runs[-1]
        beyond = (start + last.sectors) * SECTOR_BYTES - content.size_bytes
        if beyond >= SECTOR_BYTES:
            violations.append("sectors beyond the end")
        elif beyond > 0 and any(content.behind_end(beyond)):
            violations.append("bytes beyond the end are not zero")
    return violations


def _check_numbers(inodes: list[Inode]) -> list[str]:
    numbers = Counter(inode.number for inode in inodes)
    return [f"inode number {number} is used twice" for number in numbers if numbers[number] > 1]


def _check_budget(
    filesystem: FileSystem,
    inodes: list[Inode],
    names: dict[Inode, list[bytes]],
    landing: list[Claim],
) -> list[str]:
    sectors = 0
    used_bytes = INODE_BYTES * len(inodes)
    used_bytes += sum(DENTRY_BYTES + len(name) for known in names.values() for name in known)
    for inode in inodes:
        used_bytes += xattrs.costs_bytes(inode.xattrs)
        if isinstance(inode, Symlink):
            used_bytes += len(inode.target)
        elif isinstance(inode, Directory):
            used_bytes += DIRECTORY_BYTES
        elif isinstance(inode, File):
            used_bytes += FILE_BYTES
            if inode.content.runs:
                used_bytes += FIRST_RUN_BYTES + len(inode.content.runs) * RUN_BYTES
                sectors += inode.content.sectors
    for claim in landing:
        used_bytes += claim.charged_bytes
        sectors += sum(run.sectors for run in claim.runs)
    budget = filesystem.budget
    violations = []
    if budget.memory.heap_bytes != used_bytes:
        violations.append(
            f"{used_bytes} bytes beside sectors, the budget says {budget.memory.heap_bytes}"
        )
    used_bytes += sectors * SECTOR_BYTES
    if budget.used_bytes != used_bytes:
        violations.append(f"{used_bytes} bytes are used, the budget says {budget.used_bytes}")
    if budget.used_inodes != len(inodes):
        violations.append(f"{len(inodes)} inodes are used, the budget says {budget.used_inodes}")
    limits = max(budget.limit_bytes, budget.resized_at[0])
    if not 0 <= budget.used_bytes <= limits:
        violations.append(f"{budget.used_bytes} of {limits} bytes are used")
    limits = max(budget.limit_inodes, budget.resized_at[1])
    if not 0 <= budget.used_inodes <= limits:
        violations.append(f"{budget.used_inodes} of {limits} inodes are used")
    return violations + _check_memory(budget)


def _check_memory(budget: Budget) -> list[str]:
    """What is held of memory is what was drawn from the allotment, and the page of df adds up."""
    violations = []
    memory = budget.memory
    pages_bytes = memory.resident_bytes if memory.counts_pages else 0
    if memory.held_bytes != memory.heap_bytes + pages_bytes:
        violations.append(f"{pages_bytes} bytes of pages are held, others were drawn")
    standing = budget.standing()
    if standing.used_bytes + standing.available_bytes != standing.limit_bytes:
        violations.append(f"{standing} does not add up")
    return violations


def _check_sectors(filesystem: FileSystem, inodes: list[Inode], landing: list[Claim]) -> list[str]:
    """Every sector of the arena is free, or belongs to exactly one file, reserve or landing."""
    disk = filesystem.disk
    pieces = [*disk.space.warm, *disk.space.cold, *disk.space.pending]
    violations = []
    if disk.space.warm.sectors != sum(run.sectors for run in disk.space.warm):
        violations.append("warm sectors are miscounted")
    if disk.space.cold.sectors != sum(run.sectors for run in disk.space.cold):
        violations.append("cold sectors are miscounted")
    for place, count in disk.space.cold:
        if place % PAGE_SECTORS or count % PAGE_SECTORS:
            violations.append(f"the {count} cold sectors at {place} are no whole pages")
    for inode in inodes:
        if isinstance(inode, File):
            pieces += [run for _, run in inode.content.runs]
            if inode.content.reserve is not None:
                pieces.append(inode.content.reserve)
    for claim in landing:
        pieces += claim.runs
    expected = 0
    for place, count in sorted(pieces):
        if place != expected:
            what = "twice" if place < expected else "by nobody"
            violations.append(f"sectors between {place} and {expected} are held {what}")
        expected = place + count
    if expected != disk.arena.sectors:
        violations.append(f"sectors from {expected} on are held by nobody")
    if filesystem.budget.limit_bytes > disk.room_bytes:
        violations.append(f"the limit is beyond the {disk.room_bytes} bytes that there is room for")
    if disk.wipes and disk.arena.file is None:
        violations += [
            f"free sectors at {place} were not wiped"
            for place, count in disk.space.warm
            if any(disk.memory[place * SECTOR_BYTES : (place + count) * SECTOR_BYTES].strip(b"\0"))
        ]
    return violations
