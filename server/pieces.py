"""What is sent, in pieces: replies, and bytes of the arena that go out without a copy."""

from typing import Final

Piece = bytes | memoryview

JOIN_BYTES_MAX: Final = 64 << 10  # up to here, one copy costs less than many pieces


def joined(replies: list[Piece]) -> list[Piece]:
    """Replies as few pieces: small ones in one, a file's sectors apart."""
    if type(replies[-1]) is memoryview or sum(map(len, replies)) > JOIN_BYTES_MAX:
        return replies
    return [b"".join(replies)]


def behind(pieces: list[Piece], sent: int) -> list[Piece]:
    """What is left of *pieces* behind the first *sent* bytes."""
    for index, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:] if sent else piece, *pieces[index + 1 :]]
        sent -= len(piece)
    return []
