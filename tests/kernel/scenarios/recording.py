"""A short session through a proxy that records it, for tests/conformance/test_captures.py.

RAM9_CAPTURE names the file that gets the recording; without it the session is only tested.
"""

import fcntl
import hashlib
import os
from pathlib import Path

from tests.kernel.probes.base import in_child
from tests.kernel.recorder import Recorder
from tests.kernel.scenario import Scenario, run
from tests.kernel.world import World

scenario = Scenario("recording", size="64MiB")

# More than what lands in a file of its own accord; the recording stays small.
LARGE_BYTES = 40_000


def session(mount: Path) -> None:
    """A little of everything, the same each time."""
    data = hashlib.sha256(b"ram9").digest() * (LARGE_BYTES // 32)
    (mount / "folder").mkdir()
    file = mount / "folder" / "file"
    file.write_bytes(data)
    assert file.read_bytes() == data
    with file.open("r+b", buffering=0) as opened:
        opened.seek(1000)
        opened.write(b"changed")
        opened.truncate(20_000)
        fcntl.lockf(opened, fcntl.LOCK_EX, 10, 5)
        fcntl.lockf(opened, fcntl.LOCK_UN)
        fcntl.flock(opened, fcntl.LOCK_SH)
    with file.open("ab") as opened:
        opened.write(b"appended")
    assert file.read_bytes() == data[:1000] + b"changed" + data[1007:20_000] + b"appended"
    file.rename(mount / "renamed")
    os.link(mount / "renamed", mount / "folder" / "hard")
    os.symlink("folder/hard", mount / "soft")
    assert (mount / "soft").read_bytes()[:4] == data[:4]
    os.mkfifo(mount / "fifo")
    os.setxattr(mount / "renamed", "user.name", b"value")
    assert os.listxattr(mount / "renamed") == ["user.name"]
    assert os.getxattr(mount / "renamed", "user.name") == b"value"
    os.removexattr(mount / "renamed", "user.name")
    os.chmod(mount / "renamed", 0o640)
    os.chown(mount / "renamed", 1, 2)
    os.utime(mount / "renamed", (1_000_000_000, 2_000_000_000))
    os.statvfs(mount)
    for number in range(40):
        (mount / "folder" / f"{number:02d} {'name' * 20}").touch()
    assert len(os.listdir(mount / "folder")) == 41
    mount.chmod(0o1777)
    in_child(lambda: (mount / "of another user").write_bytes(b"his"), 1234)
    with (mount / "renamed").open("rb") as opened:
        (mount / "renamed").unlink()
        assert os.fstat(opened.fileno()).st_size == 20_008
        assert opened.read(1000) == data[:1000]
    run("rm", "-rf", mount / "folder")
    assert sorted(os.listdir(mount)) == ["fifo", "of another user", "soft"]


@scenario.fact
def a_session_can_be_recorded(world: World) -> str:
    recorder = Recorder(("127.0.0.1", 564))
    mount = world.mount("mount", f"trans=tcp,version=9p2000.L,msize=65536,port={recorder.port}")
    session(mount)
    world.unmount(mount)
    sent = recorder.finish()
    if capture := os.environ.get("RAM9_CAPTURE"):
        Path(capture).write_bytes(sent)
    return f"{len(sent)} bytes"
