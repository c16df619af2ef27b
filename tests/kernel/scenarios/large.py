"""A file larger than 32 bits can count, written in one go and compared."""

import hashlib
import time

from tests.kernel.scenario import FULL, Scenario
from tests.kernel.world import World

GIB = 1 << 30
FILE_BYTES = (4 * GIB if FULL else 2 * GIB) + 12_345
BLOCK_BYTES = 4 << 20

scenario = Scenario(
    "large",
    size="5GiB" if FULL else "2304MiB",
    arguments=["--keep-warm", "1"],
    memory_mib=8000 if FULL else 4500,
)


def block(number: int) -> bytes:
    """A block that no other block is like, made fast."""
    return hashlib.sha256(b"%d" % number).digest() * (BLOCK_BYTES // 32)


def blocks() -> list[int]:
    return list(range(-(-FILE_BYTES // BLOCK_BYTES)))


@scenario.fact
def a_large_file_is_written(world: World) -> str:
    mount = world.mount("mount", "trans=tcp,version=9p2000.L,msize=1044504")
    start = time.monotonic()
    with (mount / "large").open("wb", buffering=0) as file:
        left = FILE_BYTES
        for number in blocks():
            data = block(number)[:left]
            assert file.write(data) == len(data)
            left -= len(data)
    assert (mount / "large").stat().st_size == FILE_BYTES
    return f"{FILE_BYTES} bytes, {FILE_BYTES / (time.monotonic() - start) / 1e6:.0f} MB/s"


@scenario.fact
def it_is_read_back_as_it_was_written(world: World) -> str:
    start = time.monotonic()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with (world.folder / "mount" / "large").open("rb", buffering=0) as file:
        left = FILE_BYTES
        for number in blocks():
            wanted = block(number)[:left]
            count = file.readinto(buffer)
            assert buffer[:count] == wanted, f"block {number} at {FILE_BYTES - left}"
            left -= len(wanted)
        assert left == 0
        assert file.read(1) == b""
    return f"{FILE_BYTES / (time.monotonic() - start) / 1e6:.0f} MB/s"


@scenario.fact
def what_it_took_is_free_when_it_is_removed(world: World) -> str:
    (world.folder / "mount" / "large").unlink()
    told = world.server.has_given_back(all_but_mib=64, seconds_max=30)
    finding = world.server.check()
    assert finding["violations"] == []
    return told
