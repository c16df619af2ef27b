"""Bytes that no 9P client should send: each gets a clear answer or a clear end, and is counted."""

import random
import struct
from collections.abc import Callable

import pytest
from tests.running_server import RunningServer
from tests.socket_client import SocketClient, attach_frame, version_frame

from ram9.protocol.codec import Message, frame
from ram9.protocol.constants import (
    HEADER_BYTES,
    LOCK_SUCCESS,
    LOCK_TYPE_RDLCK,
    LOCK_TYPE_UNLCK,
    LOCK_TYPE_WRLCK,
    NOTAG,
    SETATTR_SIZE,
    VERSION_9P2000_L,
)
from ram9.protocol.frames import HEADER
from ram9.protocol.messages import (
    Rgetattr,
    Rlerror,
    Rlock,
    Rread,
    Rversion,
    Rwalk,
    Tclunk,
    Tgetattr,
    Tgetlock,
    Tlcreate,
    Tlock,
    Tmkdir,
    Tread,
    Trenameat,
    Tsetattr,
    Tunlinkat,
    Tversion,
    Twalk,
    Twrite,
)
from ram9.storage.errors import Errno

Reasons = Callable[[str], list[str]]

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(range(64))
HTTP_HELLO = b"GET / HTTP/1.1\r\nHost: ram9\r\n\r\n"
SSH_HELLO = b"SSH-2.0-OpenSSH_9.2p1\r\n"


@pytest.fixture
def client(server: RunningServer) -> SocketClient:
    """A client whose fid 0 is the root and whose fid 1 is an open file of 4 bytes."""
    client = server.client()
    client.create(1, b"file")
    client.write(1, 0, b"data")
    return client


@pytest.mark.parametrize("limit", [8192, 1 << 20], ids=["unversioned", "versioned"])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            b"\xde\xad\xbe\xef\xca\xfe\xba\xbe",
            "a frame of 4022250974 bytes is larger than the limit of {} bytes",
        ),
        (TLS_HELLO, "this looks like TLS, not 9P: it begins with b'\\x16\\x03\\x01\\x02'"),
        (HTTP_HELLO, "this looks like HTTP, not 9P: it begins with b'GET '"),
        (SSH_HELLO, "this looks like SSH, not 9P: it begins with b'SSH-'"),
        (
            b"\xff\xff\xff\xff\x64\xff\xff",
            "a frame of 4294967295 bytes is larger than the limit of {} bytes",
        ),
        (b"\xff\xff\xff\xff", "a frame of 4294967295 bytes is larger than the limit of {} bytes"),
        (b"\x03\0\0\0", "a frame of 3 bytes is shorter than its 7 byte header"),
        (b"\x03\0\0\0\x64\xff\xff\0\0", "a frame of 3 bytes is shorter than its 7 byte header"),
        (b"\0\0\0\0", "a frame of 0 bytes is shorter than its 7 byte header"),
    ],
    ids=["garbage", "TLS", "HTTP", "SSH", "4 GiB", "4 GiB, size only", "3", "3, more", "0"],
)
def test_what_is_no_frame_ends_the_connection(
    server: RunningServer, reasons: Reasons, data: bytes, why: str, limit: int
) -> None:
    client = server.connect()
    if limit == 1 << 20:
        client.version()
    client.send_bytes(data)
    assert client.is_cut_off()
    assert server.counters.protocol_errors == {"bad frame": 1}
    assert reasons("gone") == [why.format(limit)]


def test_a_frame_larger_than_what_was_agreed_on_ends_the_connection(
    server: RunningServer, reasons: Reasons
) -> None:
    client = server.connect()
    client.version(msize=8192)
    client.send_bytes(HEADER.pack(8193, Tread.number, 1))
    assert client.is_cut_off()
    assert reasons("gone") == ["a frame of 8193 bytes is larger than the limit of 8192 bytes"]


def test_random_garbage_never_meets_a_bug(server: RunningServer) -> None:
    # Well-formed frames with random bodies: the server's fixture finds what they break.
    random_bytes = random.Random(9)
    client = server.client()
    count = 500
    for number in range(count):
        kind = random_bytes.choice(
            [*range(6, 32), *range(40, 56), *range(70, 78), *range(102, 130)]
        )
        body = random_bytes.randbytes(random_bytes.choice([0, 1, 4, 7, 12, 16, 23, 40]))
        client.send_bytes(HEADER.pack(HEADER_BYTES + len(body), kind, number) + body)
    for number in range(count):
        assert client.receive()[0] == number


def test_the_answers_before_bad_bytes_are_sent(server: RunningServer) -> None:
    client = server.connect()
    client.send_bytes(version_frame() + attach_frame() + b"\x03\0\0\0")
    assert client.receive()[0] == NOTAG
    assert client.receive()[0] == 0
    assert client.is_cut_off()


@pytest.mark.parametrize("length", [4, 255, 65535])
def test_a_string_longer_than_its_frame_is_refused(
    server: RunningServer, client: SocketClient, length: int
) -> None:
    body = struct.pack("<IIHH", 0, 9, 1, length) + b"abc"
    client.send_bytes(HEADER.pack(HEADER_BYTES + len(body), Twalk.number, 5) + body)
    assert client.receive() == (5, Rlerror(Errno.EINVAL))
    assert server.counters.errors == {(Twalk.number, Errno.EINVAL): 1}
    assert server.counters.protocol_errors == {"malformed message": 1}
    assert client.read(1, 0, 10) == b"data"


@pytest.mark.parametrize("announced", [0, 3, 5, 1 << 31, 0xFFFFFFFF])
def test_a_write_whose_count_is_not_that_of_its_frame_changes_nothing(
    server: RunningServer, client: SocketClient, announced: int
) -> None:
    body = struct.pack("<IQI", 1, 0, announced) + b"evil"
    client.send_bytes(HEADER.pack(HEADER_BYTES + len(body), Twrite.number, 5) + body)
    assert client.receive() == (5, Rlerror(Errno.EINVAL))
    assert server.counters.protocol_errors == {"malformed message": 1}
    assert client.read(1, 0, 10) == b"data"


def test_a_large_write_whose_count_is_not_that_of_its_frame_changes_nothing(
    server: RunningServer, client: SocketClient
) -> None:
    body = struct.pack("<IQI", 1, 0, 99_999) + b"x" * 100_000
    client.send_bytes(HEADER.pack(HEADER_BYTES + len(body), Twrite.number, 5) + body)
    assert client.receive() == (5, Rlerror(Errno.EINVAL))
    assert server.counters.protocol_errors == {"malformed message": 1}
    assert client.read(1, 0, 10) == b"data"


@pytest.mark.parametrize("kind", [0, 1, 6, 98, 106, 126, 200, 255])
def test_an_unknown_message_is_not_supported(
    server: RunningServer, client: SocketClient, kind: int
) -> None:
    client.send_bytes(HEADER.pack(HEADER_BYTES + 4, kind, 5) + b"what")
    assert client.receive() == (5, Rlerror(Errno.EOPNOTSUPP))
    assert server.counters.errors == {(kind, Errno.EOPNOTSUPP): 1}
    assert client.read(1, 0, 10) == b"data"


@pytest.mark.parametrize(
    "reply", [Rversion(8192, VERSION_9P2000_L), Rread(b"mine"), Rlerror(Errno.EIO)], ids=type
)
def test_a_reply_from_a_client_is_not_supported(
    server: RunningServer, client: SocketClient, reply: Message
) -> None:
    client.send(reply, 5)
    assert client.receive() == (5, Rlerror(Errno.EOPNOTSUPP))
    assert server.counters.errors == {(reply.number, Errno.EOPNOTSUPP): 1}


def test_a_second_version_begins_anew(server: RunningServer, client: SocketClient) -> None:
    client.ask(Tlock(1, LOCK_TYPE_WRLCK, 0, 0, 0, 7, b"host"), Rlock)
    fids = server.counters.fids
    assert client.version(msize=8192) == Rversion(8192, VERSION_9P2000_L)
    assert server.counters.fids == fids - 2
    assert client.refusal(Tread(1, 0, 10)) is Errno.EBADF
    assert client.refusal(Tclunk(0)) is Errno.EBADF
    client.attach()
    client.open(1, b"file")
    assert client.read(1, 0, 10) == b"data"
    other = server.client()
    other.open(1, b"file")
    assert other.ask(Tlock(1, LOCK_TYPE_WRLCK, 0, 0, 0, 7, b"host"), Rlock).status == LOCK_SUCCESS


def test_a_version_between_requests_of_one_batch_begins_anew(client: SocketClient) -> None:
    client.send_bytes(frame(Tread(1, 0, 4), 1) + version_frame() + frame(Tread(1, 0, 4), 2))
    assert client.receive() == (1, Rread(b"data"))
    assert client.receive()[0] == NOTAG
    assert client.receive() == (2, Rlerror(Errno.EBADF))


@pytest.mark.parametrize("data", [attach_frame(), frame(Tclunk(0), 0), HEADER.pack(7, 200, 0)])
def test_without_a_version_nothing_is_answered(server: RunningServer, data: bytes) -> None:
    client = server.connect()
    client.send_bytes(data)
    assert client.receive() == (0, Rlerror(Errno.EPROTO))
    assert server.counters.errors == {(data[4], Errno.EPROTO): 1}
    client.version()
    client.attach()


def test_a_version_that_nobody_speaks_is_unknown_and_logged(
    server: RunningServer, reasons: Reasons
) -> None:
    client = server.connect()
    assert client.ask(Tversion(8192, b"9P1984"), Rversion, NOTAG).version == b"unknown"
    assert client.refusal(Tclunk(0)) is Errno.EPROTO
    assert reasons("version refused") == ["only 9P2000.L with an msize of 4096 or more is served"]


def test_a_fid_in_use_is_clunked_and_counted(server: RunningServer, client: SocketClient) -> None:
    fids = server.counters.fids
    client.walk(0, 1, b"file")
    assert server.counters.protocol_errors == {"fid in use": 1}
    assert server.counters.fids == fids
    assert client.refusal(Tread(1, 0, 4)) is Errno.EBADF  # the new one is not open


def test_a_tag_in_use_is_answered_twice(client: SocketClient) -> None:
    client.send_bytes(frame(Tread(1, 0, 2), 5) + frame(Tread(1, 2, 2), 5))
    assert client.receive() == (5, Rread(b"da"))
    assert client.receive() == (5, Rread(b"ta"))


@pytest.mark.parametrize("count", [17, 1000, 65535])
def test_a_walk_of_more_than_16_names_is_invalid(
    server: RunningServer, client: SocketClient, count: int
) -> None:
    assert client.refusal(Twalk(0, 9, (b".",) * count)) is Errno.EINVAL
    assert server.counters.errors == {(Twalk.number, Errno.EINVAL): 1}
    assert client.refusal(Tclunk(9)) is Errno.EBADF


def test_a_walk_of_16_names_is_well(client: SocketClient) -> None:
    assert len(client.walk(0, 9, *[b"."] * 16).wqid) == 16


BAD_NAMES = {
    "slash": (b"a/b", Errno.EINVAL),
    "only a slash": (b"/", Errno.EINVAL),
    "NUL": (b"a\0b", Errno.EINVAL),
    "256 bytes": (b"x" * 256, Errno.ENAMETOOLONG),
    "65535 bytes": (b"x" * 65535, Errno.ENAMETOOLONG),
}


@pytest.mark.parametrize(("name", "errno"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_what_can_be_no_name_is_never_made(
    server: RunningServer, client: SocketClient, name: bytes, errno: Errno
) -> None:
    client.walk(0, 9)
    requests: list[Message] = [
        Tlcreate(9, name, 0, 0o644, 0),
        Tmkdir(0, name, 0o755, 0),
        Trenameat(0, b"file", 0, name),
    ]
    for number, request in enumerate(requests):
        assert client.refusal(request) is errno, request
        assert server.counters.errors[request.number, errno] == 1
        assert len(server.counters.errors) == number + 1
    assert [name for name, _ in server.filesystem.root.entries] == [b"bystander", b"file"]


@pytest.mark.parametrize(("name", "errno"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_what_can_be_no_name_is_never_found(
    server: RunningServer, client: SocketClient, name: bytes, errno: Errno
) -> None:
    for request in (Twalk(0, 9, (name,)), Tunlinkat(0, name, 0)):
        found = client.refusal(request)
        assert found in (errno, Errno.ENOENT)
        assert server.counters.errors[request.number, found] == 1


def test_a_name_of_255_bytes_is_well(client: SocketClient) -> None:
    client.create(9, b"x" * 255)
    assert len(client.walk(0, 10, b"x" * 255).wqid) == 1


EDGES = [2**63 - 2, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1024, 2**64 - 1]


@pytest.mark.parametrize("offset", EDGES)
def test_reading_near_the_largest_offset_gives_nothing(client: SocketClient, offset: int) -> None:
    for count in (1, 100_000, 0xFFFFFFFF):
        assert client.read(1, offset, count) == b""


@pytest.mark.parametrize("offset", EDGES)
@pytest.mark.parametrize("size", [2, 100, 100_000])
def test_writing_past_the_largest_file_is_refused(
    server: RunningServer, client: SocketClient, offset: int, size: int
) -> None:
    if offset == 2**63 - 2:
        # One byte fits below the largest offset: write(2) writes it.
        assert client.write(1, offset, bytes(size)) == 1
        assert client.ask(Tgetattr(1, 0), Rgetattr).size == 2**63 - 1
        return
    errno = client.refusal(Twrite(1, offset, bytes(size)))
    assert errno in (Errno.EFBIG, Errno.EINVAL)
    assert server.counters.errors == {(Twrite.number, errno): 1}
    assert client.read(1, 0, 10) == b"data"
    assert client.ask(Tgetattr(1, 0), Rgetattr).size == 4


@pytest.mark.parametrize("size", EDGES)
def test_a_size_past_the_largest_file_is_refused(
    server: RunningServer, client: SocketClient, size: int
) -> None:
    request = Tsetattr(1, SETATTR_SIZE, 0, 0, 0, size, 0, 0, 0, 0)
    if size < 2**63:
        client.ask(request, Message)
        assert client.ask(Tgetattr(1, 0), Rgetattr).size == size
        assert client.read(1, 0, 10) == b"data" + bytes(6)
        assert client.read(1, size - 5, 10) == bytes(5)
        return
    errno = client.refusal(request)
    assert errno in (Errno.EFBIG, Errno.EINVAL)
    assert server.counters.errors == {(Tsetattr.number, errno): 1}
    assert client.ask(Tgetattr(1, 0), Rgetattr).size == 4


@pytest.mark.parametrize("kind", [LOCK_TYPE_RDLCK, LOCK_TYPE_WRLCK, LOCK_TYPE_UNLCK])
@pytest.mark.parametrize(
    ("start", "length", "errno"),
    [
        (2**63 - 1, 1, None),
        (2**63 - 1, 0, None),
        (0, 2**63, None),
        (2**63 - 1, 2, Errno.EOVERFLOW),
        (1, 2**63, Errno.EOVERFLOW),
        (0, 2**64 - 1, Errno.EOVERFLOW),
        (2**63, 0, Errno.EINVAL),
        (2**64 - 1, 2**64 - 1, Errno.EINVAL),
    ],
)
def test_locks_end_at_the_largest_offset(
    server: RunningServer,
    client: SocketClient,
    kind: int,
    start: int,
    length: int,
    errno: Errno | None,
) -> None:
    requests = (
        Tlock(1, kind, 0, start, length, 7, b"h"),
        Tgetlock(1, kind, start, length, 7, b"h"),
    )
    for request in requests:
        if errno is None:
            client.ask(request, Message)
        else:
            assert client.refusal(request) is errno
            assert server.counters.errors[request.number, errno] == 1


def test_numbers_that_no_fid_has_are_refused(client: SocketClient) -> None:
    for fid in (2, 2**31, 2**32 - 1):
        assert client.refusal(Tclunk(fid)) is Errno.EBADF
        assert client.refusal(Twalk(fid, 9, ())) is Errno.EBADF
        assert client.refusal(Twalk(0, 2**32 - 1, ())) is Errno.EBADF
    assert client.walk(0, 2**32 - 2) == Rwalk(())
