"""Load generators that check what they read: dbench and fio."""

import re
from pathlib import Path

from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World

scenario = Scenario(
    "load",
    size="1GiB",
    memory_mib=2048,
    tools=("dbench", "fio"),
    seconds_max=6000 if FULL else 1500,
)

DBENCH_SECONDS, DBENCH_CLIENTS = (30, 32) if FULL else (5, 8)
CACHES = ("none", "readahead", "mmap", "loose", "fscache") if FULL else ("none",)
FIO_MIB = 64 if FULL else 8
BLOCK_SIZES = (512, 4096, 4107, 65536, 1 << 20)


def dbench(cache: str) -> None:
    def fact(world: World) -> str:
        options = f"trans=tcp,version=9p2000.L,msize=1044504,cache={cache}"
        mount = world.mount("busy", options)
        try:
            printed = run("dbench", "-D", mount, "-t", DBENCH_SECONDS, DBENCH_CLIENTS)
        finally:
            world.unmount(mount)
        told = printed.replace("failed to create barrier semaphore", "")  # it does without
        assert not re.search(r"(?i)error|failed|warning", told), printed[-2000:]
        figures = re.findall(r"Throughput .*", printed)
        assert figures, printed[-2000:]
        return str(figures[0])

    fact.__name__ = f"dbench with {DBENCH_CLIENTS} clients runs clean with cache {cache}"
    scenario.fact(fact, 600)


for cache in CACHES:
    dbench(cache)


def verified(pattern: str, block_bytes: int, mount: str, engine: str) -> None:
    def fact(world: World) -> str:
        place: Path = world.folder / mount
        printed = run(
            *(
                "fio",
                "--name=job",
                f"--directory={place}",
                f"--rw={pattern}",
                f"--bs={block_bytes}",
            ),
            *(f"--size={min(FIO_MIB << 20, block_bytes * 1500)}", f"--ioengine={engine}"),
            *("--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--end_fsync=1"),
            *("--randrepeat=1", "--unlink=1", "--thread", "--allow_mounted_write=1"),
        )
        assert "err= 0" in printed, printed[-2000:]
        return " ".join(re.findall(r"(?:READ|WRITE): bw=\S+", printed))

    fact.__name__ = f"fio {pattern} {block_bytes} {engine} verifies on {mount}"
    scenario.fact(fact)


@scenario.fact
def there_is_a_mount_with_a_cache_and_one_without(world: World) -> None:
    world.mount("plain")
    world.mount("mapped", "trans=tcp,version=9p2000.L,cache=mmap,msize=1044504")


for block_bytes in BLOCK_SIZES:
    for pattern in "write", "randwrite":
        verified(pattern, block_bytes, "plain", "psync")
        verified(pattern, block_bytes, "mapped", "psync")
verified("randwrite", 4096, "mapped", "mmap")
