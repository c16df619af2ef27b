"""Sockets that wait for clients, and what is set on those of clients."""

import os
import socket
import stat
import struct
from contextlib import suppress
from typing import Final

from ram9.server.config import Address, ConfigError

BACKLOG: Final = 1024

# A client that vanished is found out within two minutes, whether it was being sent something or
# not: its locks and its open files must not outlive it long.
KEEPALIVE_IDLE_SECONDS: Final = 60
KEEPALIVE_INTERVAL_SECONDS: Final = 10
KEEPALIVE_PROBES: Final = 6
UNACKNOWLEDGED_MS_MAX: Final = 120_000

_UCRED: Final = struct.Struct("=iII")


class Listener:
    """A listening socket; *address* is where it really listens, for a port that was 0."""

    __slots__ = ("_inode", "address", "socket")

    def __init__(self, address: Address) -> None:
        """Raises ConfigError, with what to do about it, if *address* cannot be listened on."""
        self._inode = 0
        try:
            if address.path:
                self.socket = _unix_socket(address.path)
                self._inode = os.stat(address.path).st_ino
                self.address = address
            else:
                self.socket = _tcp_socket(address)
                self.address = Address(address.host, self.socket.getsockname()[1])
        except PermissionError as error:
            raise ConfigError(_refused(address)) from error
        except OSError as error:
            raise ConfigError(f"cannot listen on {address}: {error.strerror or error}") from error
        self.socket.settimeout(0)

    def close(self) -> None:
        """Stop listening, and remove the unix socket if it still is ours."""
        if self.socket.fileno() < 0:
            return  # whatever has the path now is not ours, even if it got the same inode
        self.socket.close()
        if self.address.path:
            with suppress(OSError):
                if os.stat(self.address.path).st_ino == self._inode:
                    os.unlink(self.address.path)


def prepare_client(client: socket.socket) -> None:
    """Set what a client's socket needs: replies at once, and news of a dead peer."""
    client.settimeout(0)
    if client.family == socket.AF_UNIX:
        return
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)


def peer_of(client: socket.socket) -> str:
    """Who is at the other end, for the log: an address, or the process behind a unix socket."""
    if client.family == socket.AF_UNIX:
        process, uid, _ = _credentials(client)
        return f"unix:pid={process},uid={uid}"
    host, port = client.getpeername()[:2]
    return str(Address(host, port))


def uid_of(client: socket.socket) -> int:
    """The user of the process behind a unix socket, when it connected."""
    return _credentials(client)[1]


def _credentials(client: socket.socket) -> tuple[int, int, int]:
    """Process, user and group, as unix(7) has them."""
    found = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    process, uid, gid = _UCRED.unpack(found)
    return process, uid, gid


def _tcp_socket(address: Address) -> socket.socket:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # A name may have addresses of both kinds; Linux mounts by IPv4.
    family, _, _, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _unix_socket(path: str) -> socket.socket:
    """Only its owner may connect; a socket that nobody listens on any more is replaced."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(0)
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
                except BlockingIOError:
                    pass  # it is listened on, and many wait: refused below
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _refused(address: Address) -> str:
    if address.path:
        return f"cannot listen on {address}: no right to write in its folder"
    return (
        f"cannot listen on {address}: a port below 1024 takes a right that this user has not; "
        f"choose another, such as --listen {Address(address.host, 5640)} (and mount with "
        "port=5640), or grant CAP_NET_BIND_SERVICE"
    )
