"""Fids, and the table of them."""

import pytest

from ram9.server.fids import Attachment, Fid, FidTable, ReadValue, WrittenValue
from ram9.server.volumes import Volume
from ram9.storage.errors import Errno, FileSystemError
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

VOLUME = Volume(b"", FileSystem(Limits(1 << 20, 10), lambda: 0))
ROOT = VOLUME.filesystem.root


def test_a_number_that_stands_for_nothing_is_ebadf() -> None:
    with pytest.raises(FileSystemError) as refusal:
        FidTable()[1]
    assert refusal.value.errno is Errno.EBADF


def test_looking_a_number_up_makes_none() -> None:
    table = FidTable()
    assert table.get(1) is None
    assert 1 not in table
    assert not table


def test_a_new_fid_is_not_open() -> None:
    fid = Fid(ROOT, Attachment(VOLUME, ROOT, 5))
    assert not any((fid.opened, fid.readable, fid.writable, fid.append))
    assert fid.value is None
    assert (fid.attachment.uid, fid.parent, fid.cookie) == (5, None, 0)


def test_values_have_their_data() -> None:
    assert ReadValue(b"data").data == b"data"
    value = WrittenValue(b"user.a", 10, 1)
    assert (value.data, value.name, value.size_bytes, value.flags) == (b"", b"user.a", 10, 1)


def test_a_fid_is_small() -> None:
    """There are up to a million of them."""
    assert not hasattr(Fid(ROOT, Attachment(VOLUME, ROOT, 0)), "__dict__")
