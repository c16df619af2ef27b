"""What Linux 7.2 loses of the data that it keeps, each with the proof that no server can help.

Each is strict: it fails where a kernel loses nothing any more, and docs/compatibility.md is then
to be changed.
"""

import mmap
import os
from pathlib import Path

from tests.kernel.coherence import opened
from tests.kernel.recorder import Recorder
from tests.kernel.scenario import Scenario
from tests.kernel.world import World

from ram9.protocol.frames import HEADER
from ram9.protocol.messages import Tread


def forget(fd: int) -> None:
    """Write back the pages of a file, and drop them as if memory were short."""
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def written_and_forgotten(mount: Path) -> bytes:
    """What is read from a new file after its pages were written back and dropped."""
    with (mount / "file").open("w+b", buffering=0) as file:
        file.write(b"x" * 5000)
        forget(file.fileno())
        return os.pread(file.fileno(), 5000, 0)


def kept(scenario: Scenario, cache: str) -> None:
    def fact(world: World) -> None:
        mount = world.mount("mount", f"trans=tcp,version=9p2000.L,cache={cache}")
        try:
            assert written_and_forgotten(mount) == b"x" * 5000
        finally:
            world.unmount(mount)

    fact.__name__ = f"what was written is there with cache {cache}"
    scenario.fact(fact)


def lost(scenario: Scenario, cache: str) -> None:
    """A difference that the client makes: "lost-when-kept" in docs/compatibility.md. The server is
    not asked, so it cannot help; that it has the data shows on another mount."""

    def fact(world: World) -> None:
        other = world.mount("other")
        recorder = Recorder(("127.0.0.1", 564))
        options = f"trans=tcp,version=9p2000.L,cache={cache},port={recorder.port}"
        mount = world.mount("mount", options)
        try:
            assert written_and_forgotten(mount) == bytes(5000), "Linux does not lose it any more"
            assert (other / "file").read_bytes() == b"x" * 5000
        finally:
            world.unmount(mount)
            world.unmount(other)
        assert Tread.number not in kinds(recorder.finish()), "the server was asked"

    fact.__name__ = f"Linux takes for a hole what it wrote and forgot with cache {cache}"
    scenario.fact(fact)


def kinds(stream: bytes) -> set[int]:
    """The numbers of the requests in what a client sent."""
    found = set()
    while stream:
        size, number, _ = HEADER.unpack_from(stream)
        found.add(number)
        stream = stream[size:]
    return found


def hidden(scenario: Scenario, cache: str) -> None:
    """A difference that the client makes: "append-mapped" in docs/compatibility.md. The exerciser
    found it; with diod as the server it fails at the same operation of the same seed."""

    def fact(world: World) -> None:
        other = world.mount("other")
        mount = world.mount("mount", f"trans=tcp,version=9p2000.L,cache={cache}")
        try:
            seen, server_has = appended_behind_a_mapping(mount / "mapped", other / "mapped")
        finally:
            world.unmount(mount)
            world.unmount(other)
        assert server_has == b"abb", "the server has what was appended"
        assert seen == b"a\0\0", "Linux drops the last page of the file by now"

    fact.__name__ = f"what appending adds is hidden by the mapped last page with cache {cache}"
    scenario.fact(fact)


def appended_behind_a_mapping(file: Path, same_elsewhere: Path) -> tuple[bytes, bytes]:
    """Three bytes around the former end of a file, as a mapping and as the server has them."""
    file.write_bytes(b"a" * 5000)
    with opened(file, os.O_RDWR) as fd:
        with mmap.mmap(fd, 5000) as memory:
            assert memory[4999:] == b"a"
        with opened(file, os.O_WRONLY | os.O_APPEND) as appending:
            assert os.write(appending, b"b" * 100) == 100
        server_has = same_elsewhere.read_bytes()[4999:5002]
        with mmap.mmap(fd, 5100) as memory:
            return memory[4999:5002], server_has


def appended_by_two(here: Path, other: Path, access: int) -> bytes:
    """What is in a file that is held open to append here while somebody else appends."""
    (here / "log").write_bytes(b"first ")
    with opened(here / "log", access | os.O_APPEND) as fd:
        with opened(other / "log", os.O_WRONLY | os.O_APPEND) as another:
            os.write(another, b"another ")
        os.write(fd, b"last")
    return (other / "log").read_bytes()


def append(scenario: Scenario, cache: str, access: int, *, lost: bool) -> None:
    """Where bytes are lost, that is "append-alone" in docs/compatibility.md: the client keeps
    O_APPEND for itself, and says the offset that it thinks is the end."""

    def fact(world: World) -> None:
        other = world.mount("other")
        mount = world.mount("mount", f"trans=tcp,version=9p2000.L,cache={cache}")
        try:
            found = appended_by_two(mount, other, access)
        finally:
            world.unmount(mount)
            world.unmount(other)
        assert found == (b"first lasther " if lost else b"first another last")

    how = "both ways" if access == os.O_RDWR else "to append alone"
    result = "overwrites" if lost else "keeps"
    fact.__name__ = f"a file opened {how} {result} what another mount added with cache {cache}"
    scenario.fact(fact)
