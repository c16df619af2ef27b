"""What ProtocolError is."""

from ram9.protocol.errors import ProtocolError


def test_a_broken_peer_is_never_taken_for_a_broken_socket() -> None:
    assert issubclass(ProtocolError, ValueError)
    assert not issubclass(ProtocolError, OSError)
