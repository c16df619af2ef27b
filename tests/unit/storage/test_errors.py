"""Refusals carry Linux's numbers."""

import errno

from ram9.storage.errors import Errno, FileSystemError


def test_the_numbers_are_those_of_linux() -> None:
    assert {code.name: code.value for code in Errno} == {
        code.name: getattr(errno, code.name) for code in Errno
    }


def test_a_refusal_says_its_errno() -> None:
    refusal = FileSystemError(Errno.ENOSPC)
    assert refusal.errno is Errno.ENOSPC
    assert str(refusal) == "ENOSPC"


def test_a_refusal_is_no_oserror() -> None:
    assert not issubclass(FileSystemError, OSError)
