"""A proxy that keeps what one client sent, as the bytes came."""

import socket
import threading
from typing import Final

CHUNK_BYTES: Final = 1 << 20


class Recorder:
    """Stands between one client and a server; ``sent`` is the stream from the client."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, self._listener, socket.create_connection(self._server) as server:
            for end in client, server:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=copy, args=(server, client, self.received), daemon=True)
            back.start()
            copy(client, server, self.sent)
            back.join()

    def finish(self, seconds_max: float = 10.0) -> bytes:
        """Everything the client sent, once both ends have closed."""
        self._thread.join(seconds_max)
        assert not self._thread.is_alive(), "the client is still connected"
        return bytes(self.sent)


def copy(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    while data := source.recv(CHUNK_BYTES):
        kept += data
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
