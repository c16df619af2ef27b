"""The Prometheus page: a collector that reads plain counters when it is asked, and its HTTP server.

The server is prometheus-client's own, in a thread: a slow reader of metrics waits by itself.
"""

import gc
import math
import platform
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from socketserver import TCPServer
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ram9.protocol.messages import CODECS
from ram9.server.config import Address
from ram9.server.counters import Counters
from ram9.server.logs import printable
from ram9.server.version import VERSION
from ram9.server.volumes import Volumes
from ram9.storage.budget import Allotment
from ram9.storage.populating import start_without_signals

METRICS: Final[tuple[str, ...]] = (
    "ram9_limit_bytes",
    "ram9_used_bytes",
    "ram9_available_bytes",
    "ram9_limit_inodes",
    "ram9_used_inodes",
    "ram9_available_inodes",
    "ram9_size_bytes",
    "ram9_limit_info",
    "ram9_volumes",
    "ram9_memory_held_bytes",
    "ram9_memory_left_bytes",
    "ram9_memory_refusals_total",
    "ram9_memory_stalls_total",
    "ram9_connections",
    "ram9_connections_accepted_total",
    "ram9_fids",
    "ram9_locks",
    "ram9_waiting_locks",
    "ram9_requests_total",
    "ram9_errors_total",
    "ram9_protocol_errors_total",
    "ram9_internal_errors_total",
    "ram9_received_bytes_total",
    "ram9_sent_bytes_total",
    "ram9_build_info",
)

# Operations by type number: the name of the T-message without its T. Other numbers are "unknown".
OPERATIONS: Final = {
    number: codec.message.__name__.removeprefix("T")
    for number, codec in CODECS.items()
    if codec.message.__name__.startswith("T")
}
UNKNOWN: Final = "unknown"


class ServerCollector(Collector):
    """What one server has counted, and how full its volumes are, at the moment of asking."""

    def __init__(self, volumes: Volumes, counters: Counters, allotment: Allotment) -> None:
        self._allotment = allotment
        self._volumes = volumes
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Every metric of METRICS, once."""
        yield from self._by_volume()
        yield from self._memory()
        counters = self._counters
        for name, help_text, value in (
            ("ram9_connections", "Clients connected now.", counters.connections),
            ("ram9_fids", "Fids that clients have now.", counters.fids),
            ("ram9_locks", "Locks that clients hold now.", counters.locks),
            ("ram9_waiting_locks", "Requests that wait for a lock.", counters.waiting_locks),
        ):
            yield GaugeMetricFamily(name, help_text, value)
        for name, help_text, value in (
            ("ram9_connections_accepted", "Connections accepted.", counters.accepted),
            ("ram9_internal_errors", "Requests that met a bug.", counters.internal_errors),
            ("ram9_received_bytes", "Bytes received.", counters.received_bytes),
            ("ram9_sent_bytes", "Bytes sent.", counters.sent_bytes),
        ):
            yield CounterMetricFamily(name, help_text, value)
        yield from self._by_label()
        yield InfoMetricFamily(
            "ram9_build",
            "Which ram9 this is.",
            {"version": VERSION, "python": platform.python_version()},
        )

    def _by_volume(self) -> Iterator[Metric]:
        gauges = [
            GaugeMetricFamily(name, help_text, labels=["volume"])
            for name, help_text in (
                ("ram9_limit_bytes", "Bytes that the volume may hold, as memory is now."),
                ("ram9_used_bytes", "Bytes used by data, names, attributes, inodes."),
                ("ram9_available_bytes", "Bytes that are left."),
                ("ram9_limit_inodes", "Inodes that the volume may hold."),
                ("ram9_used_inodes", "Inodes in use, the deleted but open among them."),
                ("ram9_available_inodes", "Inodes that are left."),
            )
        ]
        sizes = GaugeMetricFamily(
            "ram9_size_bytes", "Bytes that the volume was given.", labels=["volume"]
        )
        limits = InfoMetricFamily("ram9_limit", "What limits the volume.", labels=["volume"])
        for volume in self._volumes:
            if volume.tenure is None:
                # Once: the loop's thread goes on meanwhile, and used + available must be limit.
                standing = volume.filesystem.budget.standing()
                name = printable(volume.name)
                for gauge, value in zip(gauges, standing[:6], strict=True):
                    gauge.add_metric([name], value)
                sizes.add_metric([name], volume.filesystem.budget.limit_bytes)
                limits.add_metric([name], {"limited_by": standing.limited_by})
        counts = GaugeMetricFamily("ram9_volumes", "Volumes there are now.", labels=["volume"])
        for template_name, template in self._volumes.templates.items():
            # All together: names that come and go would be a new series each time.
            name = f"{printable(template_name)}/*"
            budgets = [volume.filesystem.budget for volume in template]
            standings = [budget.standing()[:6] for budget in budgets]
            for index, gauge in enumerate(gauges):
                gauge.add_metric([name], sum(standing[index] for standing in standings))
            sizes.add_metric([name], sum(budget.limit_bytes for budget in budgets))
            counts.add_metric([name], len(budgets))
        yield from (*gauges, sizes, limits, counts)

    def _memory(self) -> Iterator[Metric]:
        allotment = self._allotment
        left_bytes = float(allotment.left_bytes) if allotment.source else math.inf
        for name, help_text, value in (
            ("ram9_memory_held_bytes", "Memory that the volumes hold.", allotment.held_bytes),
            ("ram9_memory_left_bytes", "Memory that they may still take.", left_bytes),
        ):
            yield GaugeMetricFamily(name, help_text, value)
        for name, help_text, value in (
            ("ram9_memory_refusals", "What did not fit into memory.", allotment.refusals),
            ("ram9_memory_stalls", "News of stalls for want of memory.", self._counters.stalls),
        ):
            yield CounterMetricFamily(name, help_text, value)

    def _by_label(self) -> Iterator[Metric]:
        counters = self._counters
        requests = CounterMetricFamily(
            "ram9_requests", "Requests by operation.", labels=["operation"]
        )
        counts = list(counters.requests)  # at one moment, or the unknown would seem to go back
        for number, operation in OPERATIONS.items():
            requests.add_metric([operation], counts[number])
            counts[number] = 0
        requests.add_metric([UNKNOWN], sum(counts))
        yield requests
        errors = CounterMetricFamily(
            "ram9_errors", "Refusals by operation and errno.", labels=["operation", "errno"]
        )
        totals: dict[tuple[str, str], int] = {}
        for (number, errno), count in list(counters.errors.items()):
            labels = (OPERATIONS.get(number, UNKNOWN), errno.name)
            totals[labels] = totals.get(labels, 0) + count
        for labels, count in totals.items():
            errors.add_metric(labels, count)
        yield errors
        broken = CounterMetricFamily(
            "ram9_protocol_errors", "What peers did that 9P does not know.", labels=["reason"]
        )
        for reason, count in list(counters.protocol_errors.items()):
            broken.add_metric([reason], count)
        yield broken


# However it is spread: a byte every few seconds must not keep the others waiting.
REQUEST_SECONDS_MAX: Final = 5.0


class PageServer(WSGIServer):
    """Answers one request after the other; who is slow is cut off, so that nobody waits long.

    The server runs with automatic garbage collection off, for looking through a million inodes
    takes a second, and it makes no cycles; but the HTTP of the standard library does. Freezing what
    was there before leaves just that to be collected.
    """

    request_queue_size = 64
    is_closing = False
    answering: socket.socket | None = None

    def server_bind(self) -> None:
        """Bind, and do not ask a name server what this host is called: it may take long."""
        TCPServer.server_bind(self)
        host, self.server_port = self.socket.getsockname()[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer, then collect what answering left behind."""
        gc.freeze()
        self.answering = request
        if self.is_closing:
            _hang_up(request)
        timer = threading.Timer(REQUEST_SECONDS_MAX, _hang_up, [request])
        timer.daemon = True
        timer.start()
        try:
            super().process_request(request, client_address)
        finally:
            timer.cancel()
            gc.collect(0)

    def close_soon(self) -> None:
        """Answer nobody any more, and whoever is just being answered no longer."""
        self.is_closing = True
        if self.answering is not None:
            _hang_up(self.answering)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away in the middle is no event."""


class PageHandler(WSGIRequestHandler):
    """One request for the page."""

    timeout = REQUEST_SECONDS_MAX

    def log_message(self, format: str, *args: Any) -> None:
        """Being read every few seconds is no event."""


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):  # it is closed
        request.shutdown(socket.SHUT_RDWR)


class MetricsServer:
    """Serves the page over HTTP, in a thread of its own, until it is closed."""

    def __init__(self, address: Address, registry: CollectorRegistry) -> None:
        """Raises OSError if *address* cannot be listened on."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        server = type("Server", (PageServer,), {"address_family": family})
        page = make_wsgi_app(registry)
        self._server: PageServer = make_server(
            address.host, address.port, page, server, PageHandler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        start_without_signals(self._thread)
        self.address = Address(address.host, self._server.server_port)

    def close(self) -> None:
        """Stop serving; the address is free again."""
        self._server.close_soon()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def registry_of(
    volumes: Volumes, counters: Counters, allotment: Allotment | None = None
) -> CollectorRegistry:
    """A registry with everything that the page shows; without an *allotment*, nothing is known of
    the memory of the machine."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(volumes, counters, allotment or Allotment()))
    ProcessCollector(registry=registry)
    return registry
