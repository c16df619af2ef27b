"""A server without sockets for each test, checked when the test has ended."""

from collections.abc import Generator

import pytest
from tests.client import Client, Server


@pytest.fixture
def server() -> Generator[Server]:
    server = Server()
    yield server
    server.verify()
    for client in server.clients:
        client.connection.close()
    server.verify()
    assert not server.filesystem.orphans


@pytest.fixture
def client(server: Server) -> Client:
    return server.connect()


@pytest.fixture
def other(server: Server) -> Client:
    """Another client of the same server."""
    return server.connect(uid=2000)


@pytest.fixture
def root(server: Server) -> Client:
    """A client whose user is root."""
    return server.connect(uid=0)
