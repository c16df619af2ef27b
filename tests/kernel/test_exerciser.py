"""The exerciser passes where files are right, and finds what is wrong."""

import os
from pathlib import Path

import pytest
from tests.kernel.exerciser import Exerciser, Mapping, exercise


@pytest.mark.parametrize("mapping", Mapping)
def test_a_local_file_passes(tmp_path: Path, mapping: Mapping) -> None:
    exercise(tmp_path / "file", 3, 2000, mapping)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mapping", Mapping)
def test_every_operation_is_done(tmp_path: Path, mapping: Mapping) -> None:
    exerciser = Exerciser(tmp_path / "file", 1, mapping)
    wanted = {operation.__name__ for operation in exerciser._weights}
    exerciser.run(1500)
    exerciser.close()
    assert set(exerciser.done) == wanted


def test_a_seed_does_the_same_again(tmp_path: Path) -> None:
    def model() -> bytes:
        exerciser = Exerciser(tmp_path / "file", 8, Mapping.WRITE)
        exerciser.run(300)
        exerciser.close()
        return bytes(exerciser.model)

    assert model() == model()


def test_a_lost_byte_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written as zero, not refused: only what is read later tells."""
    write = os.pwrite

    def lossy(fd: int, data: bytes, offset: int) -> int:
        return write(fd, data[:-1] + b"\0", offset)

    exerciser = Exerciser(tmp_path / "file", 1)
    monkeypatch.setattr(os, "pwrite", lossy)
    with pytest.raises(AssertionError, match=r"seed 1, operation \d+: first difference at \d+"):
        exerciser.run(2000)
    exerciser.close()


def test_a_wrong_size_is_found(tmp_path: Path) -> None:
    exerciser = Exerciser(tmp_path / "file", 1)
    exerciser.model += b"more"
    with pytest.raises(AssertionError, match="the size is 0 and should be 4"):
        exerciser.look()
    exerciser.close()


def test_a_size_that_is_not_asked_for_is_found_by_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask after each step hid what Linux loses of the data that it keeps (docs/compatibility.md,
    "lost-when-kept"): to answer fstat(2) it takes over where the file ends."""
    truncate = os.truncate
    exerciser = Exerciser(tmp_path / "file", 1, without=("look",))
    monkeypatch.setattr(os, "truncate", lambda file, size: truncate(file, size + 1))
    with pytest.raises(AssertionError, match=r"\d+ of \d+ came"):
        exerciser.run(2000)
    exerciser.close()


def test_an_error_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(5, "no")

    exerciser = Exerciser(tmp_path / "file", 1)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(AssertionError, match="OSError"):
        exerciser.run(2000)
    exerciser.close()


def test_what_is_left_out_is_not_done(tmp_path: Path) -> None:
    exerciser = Exerciser(tmp_path / "file", 1, without=("append", "lock"))
    assert not {exerciser.append, exerciser.lock} & set(exerciser._weights)
    exerciser.close()
