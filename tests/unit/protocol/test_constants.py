"""The numbers of the protocol against those that Python knows of Linux."""

import fcntl
import os
import platform
import stat

import pytest

from ram9.protocol import constants

GENERIC = platform.machine() in {"x86_64", "i686", "riscv64"}
OPEN_FLAGS = [
    "O_RDONLY",
    "O_WRONLY",
    "O_RDWR",
    "O_ACCMODE",
    "O_CREAT",
    "O_EXCL",
    "O_NOCTTY",
    "O_TRUNC",
    "O_APPEND",
    "O_NONBLOCK",
    "O_DSYNC",
    "O_ASYNC",
    "O_DIRECT",
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NOATIME",
    "O_CLOEXEC",
]


@pytest.mark.skipif(not GENERIC, reason="open(2) has flags of its own on this architecture")
@pytest.mark.parametrize("name", OPEN_FLAGS)
def test_open_flags_are_the_generic_ones_of_linux(name: str) -> None:
    assert getattr(constants, name) == getattr(os, name)


@pytest.mark.skipif(not GENERIC, reason="open(2) has flags of its own on this architecture")
def test_sync_of_the_manual_is_two_bits_on_the_wire() -> None:
    assert constants.O_SYNC | constants.O_DSYNC == os.O_SYNC


def test_open_flags_that_python_does_not_tell() -> None:
    assert constants.O_NOACCESS == constants.O_WRONLY | constants.O_RDWR
    assert constants.O_LARGEFILE == 0o100000
    assert constants.O_SYNC == 0o4000000


@pytest.mark.parametrize(
    "name", ["DT_FIFO", "DT_CHR", "DT_DIR", "DT_BLK", "DT_REG", "DT_LNK", "DT_SOCK"]
)
def test_directory_entry_types_are_the_file_types_of_the_mode(name: str) -> None:
    mode = getattr(stat, name.replace("DT_", "S_IF").replace("S_IFFIFO", "S_IFIFO"))
    assert getattr(constants, name) == mode >> 12


@pytest.mark.parametrize(
    ("prefix", "all_bits"),
    [("GETATTR_", constants.GETATTR_ALL), ("SETATTR_", constants.SETATTR_ALL)],
)
def test_attribute_bits_are_distinct_and_cover_the_mask(prefix: str, all_bits: int) -> None:
    masks = {prefix + "ALL", prefix + "BASIC"}
    bits = [
        value
        for name, value in vars(constants).items()
        if name.startswith(prefix) and name not in masks
    ]
    assert sorted(bits) == [1 << index for index in range(len(bits))]
    assert sum(bits) == all_bits


def test_basic_attributes_end_before_the_birth_time() -> None:
    assert constants.GETATTR_BASIC == constants.GETATTR_BTIME - 1


def test_qid_types_are_distinct_bits() -> None:
    types = [value for name, value in vars(constants).items() if name.startswith("QT") and value]
    assert sorted(types) == [1 << index for index in range(8)]


def test_xattr_flags_are_those_of_the_manual() -> None:
    assert constants.XATTR_CREATE == os.XATTR_CREATE
    assert constants.XATTR_REPLACE == os.XATTR_REPLACE


def test_lock_types_are_read_write_and_none_as_fcntl_has_them_on_a_pc() -> None:
    types = [constants.LOCK_TYPE_RDLCK, constants.LOCK_TYPE_WRLCK, constants.LOCK_TYPE_UNLCK]
    assert types == [0, 1, 2]
    if platform.machine() == "x86_64":
        assert types == [fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK]


def test_lock_states_are_those_of_the_protocol() -> None:
    states = [
        constants.LOCK_SUCCESS,
        constants.LOCK_BLOCKED,
        constants.LOCK_ERROR,
        constants.LOCK_GRACE,
    ]
    assert states == [0, 1, 2, 3]
    assert (constants.LOCK_FLAGS_BLOCK, constants.LOCK_FLAGS_RECLAIM) == (1, 2)


def test_the_client_leaves_room_for_every_header() -> None:
    assert constants.READ_OVERHEAD_BYTES < constants.IOHDRSZ
    assert constants.WRITE_OVERHEAD_BYTES < constants.IOHDRSZ


def test_numbers_that_mean_none_fill_their_fields() -> None:
    assert constants.NOTAG == 2**16 - 1
    assert constants.NOFID == constants.NONUNAME == 2**32 - 1
