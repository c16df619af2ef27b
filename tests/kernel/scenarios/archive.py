"""A tree of many files, packed and unpacked by tar."""

import hashlib
import io
import os
import random
import tarfile
import time
from pathlib import Path

from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World

scenario = Scenario("archive", size="512MiB", memory_mib=1500, tools=("tar",))

FILES = 20_000 if FULL else 2_000


def make_archive(place: Path) -> None:
    """A tar with FILES files of random sizes, links to some, and directories three deep."""
    chance = random.Random(9)
    with tarfile.open(place, "w", format=tarfile.GNU_FORMAT) as archive:
        folders = [f"tree/{one}/{two}" for one in range(10) for two in range(10)]
        for folder in ["tree", *(f"tree/{one}" for one in range(10)), *folders]:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1_500_000_000
            archive.addfile(entry)
        for number in range(FILES):
            entry = tarfile.TarInfo(f"{folders[number % len(folders)]}/file {number}")
            entry.mode, entry.uid, entry.gid = chance.choice((0o644, 0o600, 0o755)), number % 7, 9
            entry.mtime = 1_400_000_000 + number
            if number % 50 == 49:
                entry.type, entry.mode = tarfile.SYMTYPE, 0o777
                entry.linkname = f"file {number - 100}"
                archive.addfile(entry)
                continue
            data = chance.randbytes(int(chance.paretovariate(1.1) * 100) % 60_000)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def digest(archive: Path) -> tuple[int, str]:
    """How many members a tar has, and a hash of everything they say, whatever their order."""
    rows = []
    with tarfile.open(archive) as opened:
        for entry in opened:
            file = opened.extractfile(entry) if entry.isfile() else None
            data = hashlib.sha256(file.read()).hexdigest() if file else ""
            kind = (entry.type, entry.mode, entry.uid, entry.gid, entry.linkname, int(entry.mtime))
            rows.append(repr((entry.name, kind, data)))
    return len(rows), hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


@scenario.fact
def a_tree_is_unpacked(world: World) -> str:
    mount = world.mount("mount")
    make_archive(world.folder / "in.tar")
    start = time.monotonic()
    run("tar", "xf", world.folder / "in.tar", "--delay-directory-restore", "-C", mount)
    return f"{FILES / (time.monotonic() - start):.0f} files/s"


@scenario.fact
def the_tree_is_packed_and_is_what_was_unpacked(world: World) -> str:
    start = time.monotonic()
    run("tar", "cf", world.folder / "out.tar", "-C", world.folder / "mount", "tree")
    rate = FILES / (time.monotonic() - start)
    members, found = digest(world.folder / "out.tar")
    assert (members, found) == digest(world.folder / "in.tar"), "the archives differ"
    return f"{members} members, {rate:.0f} files/s"


@scenario.fact
def the_tree_is_removed_and_its_space_is_free_again(world: World) -> str:
    mount = world.folder / "mount"
    start = time.monotonic()
    run("rm", "-rf", mount / "tree")
    rate = FILES / (time.monotonic() - start)
    assert os.listdir(mount) == []
    finding = world.server.check()
    assert finding["violations"] == []
    assert finding["used_inodes"] == 1, finding
    return f"{rate:.0f} files/s"
