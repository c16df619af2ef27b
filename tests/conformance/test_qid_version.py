"""qid.version where clients may keep data: another whenever what they keep is out of date."""

from collections.abc import Callable, Generator

import pytest
from tests.client import ROOT, Client, Server

from ram9.protocol.constants import O_RDWR, O_TRUNC
from ram9.protocol.messages import Tlopen

Change = Callable[[Client, int], object]

DATA_CHANGES: dict[str, Change] = {
    "a write": lambda client, file: client.write(file, b"w", 3),
    "the same bytes again": lambda client, file: client.write(file, b"0", 0),
    "bytes added": lambda client, file: client.write(file, b"more", 10),
    "a hole added": lambda client, file: client.setattr(file, 0x8, size=100),
    "a part cut off": lambda client, file: client.setattr(file, 0x8, size=4),
    "everything cut off": lambda client, _file: client.call(
        Tlopen(client.walk(b"file"), O_RDWR | O_TRUNC)
    ),
}
OTHER_CHANGES: dict[str, Change] = {
    "a read": lambda client, file: client.read(file),
    "a write of no bytes": lambda client, file: client.write(file, b"", 50),
    "chmod": lambda client, file: client.setattr(file, 0x41, mode=0o600),
    "utimens": lambda client, file: client.setattr(file, 0x1F0, atime_s=1, mtime_s=2),
    "a second name": lambda client, file: client.link(file, b"second"),
    "another name": lambda client, _file: client.rename(b"file", b"renamed"),
    "no name": lambda client, _file: client.unlink(b"file"),
    "an attribute": lambda client, file: client.setxattr(file, b"user.a", b"value"),
    "a lock": lambda client, file: client.lock(file),
    "an open": lambda client, _file: client.open(b"file", flags=O_RDWR),
}


@pytest.fixture
def clients() -> Generator[tuple[Client, Client, int]]:
    """Two clients that may keep data, and a file that both have open, as the second knows it."""
    server = Server(client_cache=True)
    one, two = server.connect(0), server.connect(0)
    one.make(b"file", b"0123456789")
    yield one, two, two.open(b"file", flags=O_RDWR)
    server.verify()


def versions(client: Client, file: int) -> set[int]:
    """The versions of the file that *client* is told: by its fid, and by its name if it has it."""
    told = {client.getattr(file).qid.version}
    if client.exists(b"file"):
        told.add(client.qid(b"file").version)
        listed = client.readdir(client.open(fid=ROOT))
        told |= {entry.qid.version for entry in listed if entry.name == b"file"}
    return told


@pytest.mark.parametrize("name", DATA_CHANGES)
def test_data_that_changed_has_another_version(
    name: str, clients: tuple[Client, Client, int]
) -> None:
    one, two, file = clients
    (before,) = versions(two, file)
    DATA_CHANGES[name](one, one.open(b"file", flags=O_RDWR))
    (after,) = versions(two, file)
    assert after not in (before, 0)


@pytest.mark.parametrize("name", OTHER_CHANGES)
def test_data_that_did_not_change_keeps_its_version(
    name: str, clients: tuple[Client, Client, int]
) -> None:
    one, two, file = clients
    before = versions(two, file)
    OTHER_CHANGES[name](one, one.open(b"file", flags=O_RDWR))
    assert versions(two, file) == before


def test_versions_never_come_again_in_another_file(clients: tuple[Client, Client, int]) -> None:
    """What a client keeps is kept by number and version; numbers are never used twice."""
    one, two, file = clients
    old = two.getattr(file).qid
    one.unlink(b"file")
    two.clunk(file)
    one.make(b"file", b"0123456789")
    assert two.qid(b"file").path != old.path
