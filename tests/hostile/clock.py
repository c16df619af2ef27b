"""A clock that tests move on."""

import time

from tests.running_server import RunningServer


class Clock:
    """The time of the server's transports, which tests move on."""

    def __init__(self, server: RunningServer) -> None:
        self.seconds = 1000.0
        self._server = server

    def perf_counter_ns(self) -> int:
        """The real one: a moment is a moment."""
        return time.perf_counter_ns()

    def monotonic(self) -> float:
        return self.seconds

    def pass_seconds(self, count: float) -> None:
        """Let time pass, and the server look who is late."""
        self.seconds += count
        self._server.call(self._server.hub.sweep)
