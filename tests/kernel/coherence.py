"""What a program on one mount sees of what another mount does, as answers to questions.

Answers are True where the truth is seen at once. *other* is always a mount with cache=none, which
sees what the server has.
"""

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

Question = Callable[[Path, Path], bool]
QUESTIONS: Final[dict[str, Question]] = {}
MAPPED_QUESTIONS: Final[dict[str, Question]] = {}
"""Those that need shared writable mappings, which v9fs has with cache=mmap and above."""

OLD: Final = b"old " * 1000


def question(function: Question) -> Question:
    QUESTIONS[function.__name__.replace("_", " ")] = function
    return function


def mapped_question(function: Question) -> Question:
    MAPPED_QUESTIONS[function.__name__.replace("_", " ")] = function
    return function


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


def read_by(here: Path, other: Path) -> Path:
    """A file that was made by *other*, and read here by somebody who has closed it."""
    (other / "file").write_bytes(OLD)
    assert (here / "file").read_bytes() == OLD
    return here / "file"


def change(path: Path, data: bytes, offset: int) -> None:
    with opened(path, os.O_WRONLY) as fd:
        os.pwrite(fd, data, offset)


@question
def a_change_to_a_file_held_open(here: Path, other: Path) -> bool:
    with opened(read_by(here, other)) as fd:
        os.pread(fd, 4000, 0)
        change(other / "file", b"new ", 8)
        return os.pread(fd, 4, 8) == b"new "


@question
def bytes_added_to_a_file_held_open(here: Path, other: Path) -> bool:
    with opened(read_by(here, other)) as fd:
        os.pread(fd, 4000, 0)
        change(other / "file", b"tail", len(OLD))
        return os.pread(fd, 4, len(OLD)) == b"tail"


@question
def the_size_of_a_file_held_open(here: Path, other: Path) -> bool:
    with opened(read_by(here, other)) as fd:
        change(other / "file", b"tail", len(OLD))
        return os.fstat(fd).st_size == len(OLD) + 4


@question
def a_change_to_a_file_opened_anew(here: Path, other: Path) -> bool:
    file = read_by(here, other)
    change(other / "file", b"new ", 8)
    return file.read_bytes()[8:12] == b"new "


@question
def bytes_added_to_a_file_opened_anew(here: Path, other: Path) -> bool:
    file = read_by(here, other)
    change(other / "file", b"tail", len(OLD))
    with opened(file) as fd:
        return os.pread(fd, 4, len(OLD)) == b"tail"


@question
def the_size_and_the_mode_of_a_file(here: Path, other: Path) -> bool:
    file = read_by(here, other)
    os.truncate(other / "file", 17)
    os.chmod(other / "file", 0o600)
    seen = file.stat()
    return (seen.st_size, seen.st_mode & 0o777) == (17, 0o600)


@question
def a_mapping_made_anew(here: Path, other: Path) -> bool:
    """Of a file that was mapped before."""
    file = read_by(here, other)

    def mapped() -> bytes:
        with opened(file) as fd, mmap.mmap(fd, 4000, prot=mmap.PROT_READ) as memory:
            return memory[8:12]

    mapped()
    change(other / "file", b"new ", 8)
    return mapped() == b"new "


@question
def a_new_name(here: Path, other: Path) -> bool:
    """One that was asked for when it was not there yet."""
    assert not (here / "name").exists()
    (other / "name").touch()
    return (here / "name").exists()


@question
def a_name_that_is_gone(here: Path, other: Path) -> bool:
    file = read_by(here, other)
    (other / "file").unlink()
    return not file.exists()


@question
def a_file_that_replaced_another(here: Path, other: Path) -> bool:
    file = read_by(here, other)
    (other / "another").write_bytes(b"another")
    os.rename(other / "another", other / "file")
    return file.read_bytes() == b"another"


@question
def names_in_a_listing(here: Path, other: Path) -> bool:
    before = set(os.listdir(here))
    (other / "listed").touch()
    after = set(os.listdir(here))
    (other / "listed").unlink()
    return after - before == {"listed"} and set(os.listdir(here)) == before


@question
def ones_own_write_before_anything_else(here: Path, other: Path) -> bool:
    with opened(here / "mine", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"mine", 0)
        return (other / "mine").read_bytes() == b"mine"


@question
def ones_own_write_after_fsync(here: Path, other: Path) -> bool:
    with opened(here / "mine", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"mine", 0)
        os.fsync(fd)
        return (other / "mine").read_bytes() == b"mine"


@question
def ones_own_write_after_close(here: Path, other: Path) -> bool:
    (here / "mine").write_bytes(b"mine")
    return (other / "mine").read_bytes() == b"mine"


@question
def a_change_seen_after_a_lock(here: Path, other: Path) -> bool:
    """Whoever takes a lock sees what its holders before wrote."""
    with opened(read_by(here, other), os.O_RDWR) as fd:
        os.pread(fd, 4000, 0)
        change(other / "file", b"new ", 8)
        os.lockf(fd, os.F_LOCK, 0)
        seen = os.pread(fd, 4, 8)
        os.lockf(fd, os.F_ULOCK, 0)
        return seen == b"new "


def written_through_a_mapping(here: Path, other: Path, then: Callable[[mmap.mmap], None]) -> bool:
    (here / "mapped").write_bytes(b"before")
    with opened(here / "mapped", os.O_RDWR) as fd, mmap.mmap(fd, 6) as memory:
        memory[:6] = b"mapped"
        then(memory)
        return (other / "mapped").read_bytes() == b"mapped"


@mapped_question
def memory_before_anything_else(here: Path, other: Path) -> bool:
    return written_through_a_mapping(here, other, lambda _memory: None)


@mapped_question
def memory_after_msync(here: Path, other: Path) -> bool:
    return written_through_a_mapping(here, other, lambda memory: memory.flush())


@mapped_question
def memory_after_it_is_unmapped(here: Path, other: Path) -> bool:
    return written_through_a_mapping(here, other, lambda memory: memory.close())


def answers(here: Path, other: Path, questions: dict[str, Question]) -> dict[str, bool]:
    """The answers to *questions*, each about a directory of its own."""
    found = {}
    for name, ask in questions.items():
        os.mkdir(other / name)
        found[name] = ask(here / name, other / name)
    return found
