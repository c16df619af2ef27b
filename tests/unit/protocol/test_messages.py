"""The declarations against the protocol document, and against frames written by hand."""

import pytest

from ram9.protocol.codec import CODECS, Codec, Message, frame
from ram9.protocol.constants import (
    GETATTR_BASIC,
    NOFID,
    NONUNAME,
    NOTAG,
    QTDIR,
    READ_OVERHEAD_BYTES,
    V9FS_MAGIC,
    WRITE_OVERHEAD_BYTES,
)
from ram9.protocol.messages import (
    Qid,
    Rattach,
    Rclunk,
    Rgetattr,
    Rgetlock,
    Rlerror,
    Rlock,
    Rlopen,
    Rread,
    Rreadlink,
    Rstatfs,
    Rversion,
    Rwalk,
    Rwrite,
    Rxattrwalk,
    Tattach,
    Tclunk,
    Tflush,
    Tfsync,
    Tgetattr,
    Tlcreate,
    Tlock,
    Tlopen,
    Tmkdir,
    Tread,
    Treaddir,
    Trenameat,
    Tsetattr,
    Tsymlink,
    Tunlinkat,
    Tversion,
    Twalk,
    Twrite,
)

# The bodies of requests and answers, as the 9P2000.L document and 9p.h have them.
TIMES = "atime_s[8] atime_ns[8] mtime_s[8] mtime_ns[8]"
DOCUMENT = [
    (6, "lerror", None, "ecode[4]"),
    (8, "statfs", "fid[4]", "type[4] bsize[4] blocks[8] bfree[8] bavail[8] files[8] ffree[8] "
     "fsid[8] namelen[4]"),
    (12, "lopen", "fid[4] flags[4]", "qid[13] iounit[4]"),
    (14, "lcreate", "fid[4] name[s] flags[4] mode[4] gid[4]", "qid[13] iounit[4]"),
    (16, "symlink", "dfid[4] name[s] symtgt[s] gid[4]", "qid[13]"),
    (18, "mknod", "dfid[4] name[s] mode[4] major[4] minor[4] gid[4]", "qid[13]"),
    (20, "rename", "fid[4] newdirfid[4] name[s]", ""),
    (22, "readlink", "fid[4]", "target[s]"),
    (24, "getattr", "fid[4] request_mask[8]", "valid[8] qid[13] mode[4] uid[4] gid[4] nlink[8] "
     f"rdev[8] size[8] blksize[8] blocks[8] {TIMES} ctime_s[8] ctime_ns[8] btime_s[8] btime_ns[8] "
     "gen[8] data_version[8]"),
    (26, "setattr", f"fid[4] valid[4] mode[4] uid[4] gid[4] size[8] {TIMES}", ""),
    (30, "xattrwalk", "fid[4] newfid[4] name[s]", "size[8]"),
    (32, "xattrcreate", "fid[4] name[s] attr_size[8] flags[4]", ""),
    (40, "readdir", "fid[4] offset[8] count[4]", "count[4] data[count]"),
    (50, "fsync", "fid[4] datasync[4]", ""),
    (52, "lock", "fid[4] type[1] flags[4] start[8] length[8] proc_id[4] client_id[s]",
     "status[1]"),
    (54, "getlock", "fid[4] type[1] start[8] length[8] proc_id[4] client_id[s]",
     "type[1] start[8] length[8] proc_id[4] client_id[s]"),
    (70, "link", "dfid[4] fid[4] name[s]", ""),
    (72, "mkdir", "dfid[4] name[s] mode[4] gid[4]", "qid[13]"),
    (74, "renameat", "olddirfid[4] oldname[s] newdirfid[4] newname[s]", ""),
    (76, "unlinkat", "dirfd[4] name[s] flags[4]", ""),
    (100, "version", "msize[4] version[s]", "msize[4] version[s]"),
    (102, "auth", "afid[4] uname[s] aname[s] n_uname[4]", "aqid[13]"),
    (104, "attach", "fid[4] afid[4] uname[s] aname[s] n_uname[4]", "qid[13]"),
    (108, "flush", "oldtag[2]", ""),
    (110, "walk", "fid[4] newfid[4] nwname[2] nwname*(wname[s])", "nwqid[2] nwqid*(wqid[13])"),
    (116, "read", "fid[4] offset[8] count[4]", "count[4] data[count]"),
    (118, "write", "fid[4] offset[8] count[4] data[count]", "count[4]"),
    (120, "clunk", "fid[4]", ""),
    (122, "remove", "fid[4]", ""),
]  # fmt: skip

DIRECTORY = Qid(type=QTDIR, version=2, path=3)
DIRECTORY_HEX = "80 02000000 0300000000000000"
VERSION_HEX = "00001000 0800 3950323030302e4c"

# Every message here has the tag 1, but for Tversion and Rversion, which have none.
GOLDEN: list[tuple[Message, str]] = [
    (Rlerror(ecode=2), "0b000000 07 0100 02000000"),
    (Rstatfs(V9FS_MAGIC, 4096, 3, 2, 1, 9, 8, 7, 255), "43000000 09 0100 97190201 00100000"
     "0300000000000000 0200000000000000 0100000000000000 0900000000000000 0800000000000000"
     "0700000000000000 ff000000"),
    (Tlopen(fid=1, flags=0o100002), "0f000000 0c 0100 01000000 02800000"),
    (Rlopen(DIRECTORY, iounit=0), f"18000000 0d 0100 {DIRECTORY_HEX} 00000000"),
    (Tlcreate(1, b"ab", 0o101, 0o644, 5), "1b000000 0e 0100 01000000 0200 6162 41000000 a4010000"
     "05000000"),
    (Tsymlink(1, b"a", b"b/c", 5), "17000000 10 0100 01000000 0100 61 0300 622f63 05000000"),
    (Rreadlink(b"b/c"), "0c000000 17 0100 0300 622f63"),
    (Tgetattr(1, 0x3FFF), "13000000 18 0100 01000000 ff3f000000000000"),
    (Tsetattr(1, 0x68, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0, 0, 0, 0), "43000000 1a 0100 01000000"
     "68000000 00000000 ffffffff ffffffff 0000000000000000" + "00" * 32),
    (Rxattrwalk(size=4), "0f000000 1f 0100 0400000000000000"),
    (Treaddir(1, 2, 4096), "17000000 28 0100 01000000 0200000000000000 00100000"),
    (Tfsync(1, 0), "0f000000 32 0100 01000000 00000000"),
    (Tlock(1, 1, 1, 0, 10, 99, b"me"), "28000000 34 0100 01000000 01 01000000 0000000000000000"
     "0a00000000000000 63000000 0200 6d65"),
    (Rlock(status=1), "08000000 35 0100 01"),
    (Rgetlock(2, 0, 0, 99, b"me"), "20000000 37 0100 02 0000000000000000 0000000000000000"
     "63000000 0200 6d65"),
    (Tmkdir(1, b"d", 0o40755, 5), "16000000 48 0100 01000000 0100 64 ed410000 05000000"),
    (Trenameat(1, b"a", 2, b"b"), "15000000 4a 0100 01000000 0100 61 02000000 0100 62"),
    (Tunlinkat(1, b"d", 0x200), "12000000 4c 0100 01000000 0100 64 00020000"),
    (Tversion(1 << 20, b"9P2000.L"), f"15000000 64 ffff {VERSION_HEX}"),
    (Rversion(1 << 20, b"9P2000.L"), f"15000000 65 ffff {VERSION_HEX}"),
    (Tattach(1, NOFID, b"nobody", b"", NONUNAME), "1d000000 68 0100 01000000 ffffffff"
     "0600 6e6f626f6479 0000 ffffffff"),
    (Rattach(DIRECTORY), f"14000000 69 0100 {DIRECTORY_HEX}"),
    (Tflush(oldtag=7), "09000000 6c 0100 0700"),
    (Twalk(1, 2, ()), "11000000 6e 0100 01000000 02000000 0000"),
    (Twalk(1, 2, (b"a", b"\xe9")), "17000000 6e 0100 01000000 02000000 0200 0100 61 0100 e9"),
    (Rwalk(()), "09000000 6f 0100 0000"),
    (Rwalk((DIRECTORY,)), f"16000000 6f 0100 0100 {DIRECTORY_HEX}"),
    (Tread(fid=1, offset=4096, count=512), "17000000 74 0100 01000000 0010000000000000 00020000"),
    (Rread(b"abc"), "0e000000 75 0100 03000000 616263"),
    (Twrite(1, 4096, b"abc"), "1a000000 76 0100 01000000 0010000000000000 03000000 616263"),
    (Rwrite(count=3), "0b000000 77 0100 03000000"),
    (Tclunk(fid=3), "0b000000 78 0100 03000000"),
    (Rclunk(), "07000000 79 0100"),
]  # fmt: skip

ATTRIBUTES = Rgetattr(
    valid=GETATTR_BASIC,
    qid=DIRECTORY,
    mode=0o40755,
    uid=1000,
    gid=100,
    nlink=2,
    rdev=0,
    size=4096,
    blksize=4096,
    blocks=8,
    atime_s=1,
    atime_ns=2,
    mtime_s=3,
    mtime_ns=4,
    ctime_s=5,
    ctime_ns=6,
    btime_s=7,
    btime_ns=8,
    gen=9,
    data_version=10,
)


@pytest.mark.parametrize(("message", "text"), GOLDEN, ids=lambda value: type(value).__name__)
def test_frames_are_those_of_the_document(message: Message, text: str) -> None:
    expected = bytes.fromhex(text)
    tag = NOTAG if isinstance(message, Tversion | Rversion) else 1
    assert frame(message, tag) == expected
    assert message.codec.decode(memoryview(expected), 7, len(expected)) == message


def test_attributes_are_160_bytes_in_the_order_of_the_document() -> None:
    words = [2, 0, 4096, 4096, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    numbers = b"".join(word.to_bytes(8, "little") for word in words)
    found = frame(ATTRIBUTES, 1)
    assert len(found) == 160
    assert found[:7].hex() == "a0000000190100"
    assert found[7:40].hex(" ", 4) == bytes.fromhex(
        f"ff07000000000000 {DIRECTORY_HEX} ed410000 e8030000 64000000"
    ).hex(" ", 4)
    assert found[40:] == numbers


@pytest.mark.parametrize(
    ("number", "name", "request_body", "answer_body"), DOCUMENT, ids=lambda value: str(value)[:12]
)
def test_every_message_of_the_document_is_declared(
    number: int, name: str, request_body: str | None, answer_body: str
) -> None:
    answer = f"size[4] R{name} tag[2] {answer_body}".rstrip()
    assert CODECS[number + 1].notation() == answer
    if request_body is None:
        assert number not in CODECS
    else:
        assert CODECS[number].notation() == f"size[4] T{name} tag[2] {request_body}"


def test_nothing_is_declared_that_is_not_in_the_document() -> None:
    numbers = {number for number, _, request, _ in DOCUMENT if request is not None}
    numbers |= {number + 1 for number, _, _, _ in DOCUMENT}
    assert CODECS.keys() == numbers


def test_every_request_has_the_answer_with_the_next_number() -> None:
    names = {codec.number: codec.message.__name__ for codec in CODECS.values()}
    requests = {number: name for number, name in names.items() if name.startswith("T")}
    assert all(number % 2 == 0 for number in requests)
    assert [names[number + 1] for number in requests] == [
        f"R{name[1:]}" for name in requests.values()
    ]


def test_every_request_says_what_it_asks_for() -> None:
    requests = [c.message for c in CODECS.values() if c.message.__name__.startswith("T")]
    assert [cls.__name__ for cls in requests if not (cls.__doc__ or "").endswith(".")] == []


def test_overheads_are_what_the_frames_have() -> None:
    assert len(Rread(b"").encode(1)) == READ_OVERHEAD_BYTES
    assert len(Twrite(1, 0, b"").encode(1)) == WRITE_OVERHEAD_BYTES


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.message.__name__)
def test_messages_have_no_room_for_anything_else(codec: Codec) -> None:
    assert not hasattr(object.__new__(codec.message), "__dict__")
