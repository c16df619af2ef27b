"""Replies as pieces: few where a copy is cheap, and what is left of them."""

import pytest

from ram9.server.pieces import JOIN_BYTES_MAX, Piece, behind, joined

PIECES: list[Piece] = [b"abc", memoryview(b"de"), b"", b"f"]


@pytest.mark.parametrize("sent", range(7))
def test_what_is_left_is_what_was_not_sent(sent: int) -> None:
    left = behind(PIECES, sent)
    assert b"".join(left) == b"abcdef"[sent:]
    assert not left or len(left[0])


def test_small_replies_are_sent_as_one_piece() -> None:
    assert joined([b"a", b"b", b"c"]) == [b"abc"]


def test_bytes_of_the_arena_are_not_copied() -> None:
    view = memoryview(b"sector")
    replies = [b"a", b"b", view]
    assert joined(replies) is replies


def test_large_copies_are_not_copied_again() -> None:
    large = b"x" * JOIN_BYTES_MAX
    assert joined([b"head", large]) == [b"head", large]
