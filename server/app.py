"""Builds a server from its configuration, runs it until it is told to stop, and ends it cleanly."""

import asyncio
import errno
import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ram9.protocol.constants import VERSION_9P2000_L
from ram9.server.changes import Changes
from ram9.server.chores import Chores
from ram9.server.clients import Client, Journal
from ram9.server.config import Address, Config, ConfigError
from ram9.server.control import Control, open_listener
from ram9.server.cooling import Cooling
from ram9.server.counters import Counters
from ram9.server.heap import Heap, Held
from ram9.server.hub import Hub
from ram9.server.lingering import has_spare_processor
from ram9.server.listening import Listener, peer_of, prepare_client
from ram9.server.logs import event
from ram9.server.making import Making
from ram9.server.memory import MemoryFiles, MemoryLimit
from ram9.server.metrics import MetricsServer, registry_of
from ram9.server.pressure import Pressure
from ram9.server.reloading import Reloading
from ram9.server.session import FID_BYTES, Session
from ram9.server.shares import fids_total_max, held_bytes_max
from ram9.server.status import Status
from ram9.server.telling import tell
from ram9.server.templates import Templates
from ram9.server.transport import ClientTransport
from ram9.server.version import VERSION
from ram9.server.volumes import Volumes
from ram9.server.waiting import WaitingLocks
from ram9.storage.budget import Allotment
from ram9.storage.shrinking import shrink

log = logging.getLogger("ram9")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)  # to end
DRAIN_SECONDS_MAX: Final = 5.0
SWEEP_SECONDS: Final = 1.0
ACCEPTS_MAX: Final = 64  # new clients at a time, so that the others are not kept waiting
ACCEPT_AGAIN_SECONDS: Final = 1.0
WATCHED_AT_ONCE: Final = 64  # volumes


class Server:
    """Volumes and everybody who is connected to them."""

    def __init__(
        self,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        memory_bytes: int | None = None,
    ) -> None:
        """*memory_bytes* is what this process may use, if that is known.

        Raises ConfigError for what cannot be had: an address, a size.
        """
        self._loop = loop
        self._client_cache = config.client_cache
        self.counters = Counters()
        self._waiting_locks = WaitingLocks(self.counters, config.lock_wait_seconds, time.monotonic)
        self.allotment = Allotment()
        self._making = making = Making(self.allotment)
        self.pressure: Pressure | None = None
        self.clients: dict[ClientTransport, Client] = {}
        self._control: Control | None = None
        self.volumes = Volumes(map(making.volume, config.volumes))
        self._chores = Chores(loop.call_soon, time.perf_counter_ns)
        self._templates = Templates(
            config.templates,
            self.volumes,
            making,
            self._chores,
            time.monotonic,
        )
        self._hub = Hub(loop, making.lenders, lingers=has_spare_processor())
        self._note_sizes(config.memory_bytes, memory_bytes)
        self._cooling = Cooling(loop.call_later, config.keep_warm_seconds)
        self._anonymous_bytes = MemoryFiles().anonymous_bytes
        self._heap = Heap(self._held)
        self._sent_before = 0
        self._sessions = 0
        self._metrics: MetricsServer | None = None
        self.listeners: list[Listener] = []
        try:
            for address in config.listen:
                self.listeners.append(Listener(address))
            if config.metrics is not None:
                self._metrics = _metrics_server(config.metrics, self)
        except ConfigError:
            self.close()
            raise

    @property
    def metrics_address(self) -> Address | None:
        return self._metrics.address if self._metrics is not None else None

    def watch_memory(self, files: MemoryFiles) -> None:
        """From now on, take no more memory than is left."""
        self.pressure = Pressure(
            self._loop, files, self.allotment, self.volumes, self._hub, self.counters
        )
        self.pressure.start()

    async def answer_control(self, config: Config, files: MemoryFiles) -> Changes:
        """Answer those who operate the server, if *config* says where. Raises ConfigError."""
        changes = Changes(
            self.volumes,
            config,
            files.limit,
            self._making.volume,
            on_sizes=self._note_sizes,
            on_read_only=self._protect,
        )
        status = Status(
            self.volumes,
            self.clients.values,
            self._hub,
            self.counters,
            self.allotment,
            [listener.address for listener in self.listeners],
            config.path,
            files.resident_bytes,
        )
        listener = open_listener(config.control)
        if listener is not None:
            commands = {"status": lambda *_: status.lines(), "resize": changes.resize}
            self._control = Control(listener, commands, frozenset({"resize"}), self._report_bug)
            await self._control.start()
        return changes

    def _note_sizes(self, size_bytes: int, memory_bytes: int | None) -> None:
        """Volumes may take so much of memory, all together: clients share the rest."""
        self._hub.allow(held_bytes_max(size_bytes, memory_bytes))
        self._fids_total_max = fids_total_max(size_bytes, memory_bytes)
        for client in self.clients.values():
            client.session.fids_total_max = self._fids_total_max
        if self.pressure is not None:
            self.pressure.shed()

    def _protect(self) -> None:
        """Have every client checked for what a volume that is read only does not allow."""
        for client in self.clients.values():
            client.session.protected = True

    def _report_bug(self, error: Exception) -> None:
        self.counters.internal_errors += 1
        Journal("control").report_bug(error)

    def start(self) -> None:
        """Begin to accept clients."""
        for listener in self.listeners:
            self._loop.add_reader(listener.socket, self._accept, listener)
            event(log, logging.INFO, "listening", address=listener.address)
        self._loop.call_later(SWEEP_SECONDS, self._sweep)

    async def stop(self) -> None:
        """Accept nobody any more, answer what has arrived, let the replies go out, and close."""
        for listener in self.listeners:
            self._loop.remove_reader(listener.socket)
            listener.close()
        self._waiting_locks.end()
        await asyncio.sleep(0)  # for the answers to those who waited
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        waiting = list(self._hub.transports)
        while waiting and time.monotonic() < deadline:
            waiting = [transport for transport in waiting if not transport.drain()]
            if waiting:
                await asyncio.sleep(0.02)
        for transport in list(self._hub.transports):
            transport.close("the server stops")
        self.close()

    def close(self) -> None:
        """Free what was listened on."""
        for listener in self.listeners:
            listener.close()
        if self._control is not None:
            self._control.close()
        if self.pressure is not None:
            self.pressure.close()
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _accept(self, listener: Listener) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                client, _ = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._accept_later(listener, error)
                    return
                continue  # the client that was to be accepted is gone (accept(2))
            try:
                prepare_client(client)
                peer = peer_of(client)
            except OSError:
                client.close()
                continue
            self._connect(client, peer)

    def _accept_later(self, listener: Listener, error: OSError) -> None:
        event(log, logging.ERROR, "clients have to wait", reason=error.strerror)
        self._loop.remove_reader(listener.socket)
        self._loop.call_later(ACCEPT_AGAIN_SECONDS, self._accept_again, listener)

    def _accept_again(self, listener: Listener) -> None:
        if listener.socket.fileno() >= 0:
            self._loop.add_reader(listener.socket, self._accept, listener)

    def _connect(self, client: socket.socket, peer: str) -> None:
        self._sessions += 1
        self.counters.accepted += 1
        self.counters.connections += 1
        journal = Journal(peer)
        session = Session(
            self.volumes,
            self.counters,
            self._sessions,
            journal.report,
            journal.report_bug,
            client_cache=self._client_cache,
            waiting_locks=self._waiting_locks,
            fids_total_max=self._fids_total_max,
        )
        transport = ClientTransport(self._hub, client, session, peer, self._disconnected)
        self.clients[transport] = Client(journal, session, client)
        event(log, logging.DEBUG, "connected", peer=peer)

    def _disconnected(self, transport: ClientTransport, reason: str) -> None:
        self.clients.pop(transport, None)
        self.counters.connections -= 1
        level = logging.INFO if reason == "closed by the client" else logging.WARNING
        event(log, level, "gone", peer=transport.peer, reason=reason)

    def _sweep(self) -> None:
        """What is done once a second."""
        self._loop.call_later(SWEEP_SECONDS, self._sweep)  # first, whatever happens below
        self._hub.sweep()
        self._waiting_locks.expire()
        self._templates.sweep()
        self._chores.add(self._watch_volumes())
        self._cooling.sweep(volume.filesystem.disk.space for volume in self.volumes)
        self._look_at_heap()

    def _watch_volumes(self) -> Iterator[None]:
        for number, volume in enumerate(self.volumes, start=1):
            if not number % WATCHED_AT_ONCE:
                yield
            tell(volume)

    def _held(self) -> Held:
        fids_bytes = self.counters.fids * FID_BYTES
        return Held(self._anonymous_bytes(), self.allotment.held_bytes, fids_bytes)

    def _look_at_heap(self) -> None:
        """In a second without requests, see whether it may hold what nobody needs."""
        is_quiet = self.counters.sent_bytes == self._sent_before
        self._sent_before = self.counters.sent_bytes
        if self._heap.is_due(is_quiet=is_quiet):
            self._chores.add(self._give_back_heap())

    def _give_back_heap(self) -> Iterator[None]:
        """Return what the heap holds and nobody needs."""
        self._hub.shrink()
        for volume in self.volumes:
            yield
            shrink(volume.filesystem)
        self._heap.give_back()


async def serve(config: Config, files: MemoryFiles, memory: MemoryLimit | None) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError if it cannot begin.

    *memory* is what *files* say that this process may use, if they do.
    """
    loop = asyncio.get_running_loop()
    _allow_many_clients()
    server = Server(config, loop, memory.size_bytes if memory is not None else None)
    stopping = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    # The server makes no reference cycles, so that nothing needs to be looked for; looking through
    # a million inodes would stop it for a second. metrics.py collects its own.
    gc.collect()
    gc.freeze()
    gc.disable()
    _say_what_is_served(config, server, memory)
    if memory is not None:
        server.watch_memory(files)
    try:
        changes = await server.answer_control(config, files)
    except ConfigError:
        server.close()
        raise
    loop.add_signal_handler(signal.SIGHUP, Reloading(changes, files).ask)
    server.start()
    names = [volume.name for volume in config.volumes]
    names += [f"{template.name}/NAME" for template in config.templates]
    aname = "" if "" in names else names[0]
    for listener in server.listeners:
        with suppress(OSError):  # nobody may be there to read it: it is no reason not to serve
            print(f"mount it with: {mount_line(listener.address, aname)}", flush=True)
    await stopping.wait()
    _ignore_signals(loop)
    event(log, logging.INFO, "stopping")
    await server.stop()
    event(log, logging.INFO, "stopped")


def _say_what_is_served(config: Config, server: Server, memory: MemoryLimit | None) -> None:
    event(
        log,
        logging.INFO,
        "started",
        version=VERSION,
        protocol=VERSION_9P2000_L.decode(),
        volumes=len(config.volumes),
        metrics=server.metrics_address or "none",
    )
    for volume in config.volumes:
        event(
            log,
            logging.INFO,
            "serving",
            volume=volume.name,
            size_bytes=volume.size_bytes,
            inodes=volume.inodes,
            policy=volume.rules.policy,
            memory=volume.backing.kind,
        )
    if memory is not None and config.memory_bytes > memory.size_bytes:
        event(
            log,
            logging.WARNING,
            "size exceeds memory",
            size_bytes=config.memory_bytes,
            memory_bytes=memory.size_bytes,
            memory_from=memory.source,
        )


def _ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Ignore further signals to end: it is on its way, and must say that it ended well."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def mount_line(address: Address, aname: str = "") -> str:
    """The command, for root, that mounts what is served at *address* as *aname* on /mnt/ram."""
    options = "version=9p2000.L,msize=1044504" + (f",aname={aname}" if aname else "")
    if address.path:
        return f"mount -t 9p -o trans=unix,{options} {address.path} /mnt/ram"
    host = {"0.0.0.0": "HOST", "::": "HOST", "localhost": "127.0.0.1"}.get(
        address.host, address.host
    )
    port = "" if address.port == 564 else f",port={address.port}"
    return f"mount -t 9p -o trans=tcp{port},{options} {host} /mnt/ram"


def _metrics_server(address: Address, server: Server) -> MetricsServer:
    try:
        return MetricsServer(
            address, registry_of(server.volumes, server.counters, server.allotment)
        )
    except OSError as error:
        raise ConfigError(
            f"cannot serve metrics on {address}: {error.strerror or error}; "
            "choose another --metrics address, or none"
        ) from error


def _allow_many_clients() -> None:
    """Raise the limit of open files, of which each client takes one, as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
