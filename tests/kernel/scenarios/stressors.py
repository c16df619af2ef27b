"""stress-ng's class of file systems: what passes on a tmpfs in the same guest passes here."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.kernel.scenario import FULL, Scenario
from tests.kernel.world import World

# `stress-ng --class filesystem?` of 0.15.06, in Debian 12, without bind-mount and binderfs, which
# are about other file systems and may harm the machine.
ALL: Final = """
    access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup eventfd
    fallocate fanotify fcntl fiemap file-ioctl filename flock fpunch fsize fstat getdent handle
    hdd inode-flags inotify io iomix ioprio lease link locka lockf lockofd mknod open procfs
    rename symlink sync-file touch utime verity xattr
"""
EVERY_DAY: Final = "access fcntl flock getdent rename xattr"

NAMES: Final = (ALL if FULL else EVERY_DAY).split()

SECONDS = 5 if FULL else 1
WORKERS = 4 if FULL else 2
SECONDS_MAX: Final = 600  # making and removing thousands of links is one step of some stressors
CACHES = {"plain": "cache=none", "mapped": "cache=mmap", "loose": "cache=loose"}
MOUNTS = tuple(CACHES) if FULL else ("plain",)

PASSED: Final[set[str]] = set()
"""The stressors that passed on the tmpfs."""

scenario = Scenario(
    "stressors",
    size="512MiB",
    memory_mib=2048,
    tools=("stress-ng",),
    seconds_max=9000 if FULL else 900,
    expected_log=[r"WARNING out of space "],
)


def stress(name: str, place: Path) -> tuple[int, str]:
    """The exit status of a stressor, and what it complained of."""
    done = subprocess.run(
        [
            *("stress-ng", f"--{name}", str(WORKERS), "--timeout", str(SECONDS)),
            *("--verify", "--oomable", "--temp-path", str(place)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=SECONDS_MAX,
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    told = [line for line in lines if re.search(r"fail|error|warn|skip", line)]
    return done.returncode, "\n".join(told[-20:])


@scenario.fact
def there_is_a_tmpfs_to_compare_with(world: World) -> None:
    world.tmpfs("tmpfs")
    for mount in MOUNTS:
        world.mount(mount, f"trans=tcp,version=9p2000.L,msize=1044504,{CACHES[mount]}")


def stressed(name: str) -> Callable[[World], str]:
    def fact(world: World) -> str:
        status, complaint = stress(name, world.folder / "tmpfs")
        if status:
            return f"status {status} on a tmpfs: {complaint}"
        PASSED.add(name)
        for mount in MOUNTS:
            status, complaint = stress(name, world.folder / mount)
            assert status == 0, f"status {status} on {mount}: {complaint}"
            assert not list((world.folder / mount).iterdir()), f"files are left on {mount}"
        return f"clean on {', '.join(MOUNTS)}"

    fact.__name__ = f"the stressor {name} passes as it does on a tmpfs"
    return fact


for name in NAMES:
    scenario.fact(stressed(name), 4 * SECONDS_MAX)


@scenario.fact
def most_stressors_pass_on_a_tmpfs(_world: World) -> str:
    """Or nothing was compared."""
    failed = [name for name in NAMES if name not in PASSED]
    assert len(failed) <= len(NAMES) // 10, failed
    return f"{len(PASSED)} of {len(NAMES)}; failed there: {' '.join(failed) or 'none'}"
