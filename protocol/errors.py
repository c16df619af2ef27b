"""What is raised when a peer does not speak 9P2000.L."""


class ProtocolError(ValueError):
    """The peer broke the protocol: its bytes are no frame or no message of 9P2000.L.

    Also raised for a message that has no encoding, such as a name of 65536 bytes.
    The text is one sentence for the log: which message, and what was wrong with it.
    """
