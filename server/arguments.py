"""The command line: what may be typed, what it means, and help that teaches it.

A mistake ends the process with status 2 and one sentence on stderr that says how to put it right.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ram9.server.config import (
    DEFAULT_KEEP_WARM_SECONDS,
    DEFAULT_LISTEN,
    DEFAULT_LOCK_WAIT_SECONDS,
    DEFAULT_LOG_FORMAT,
    DEFAULT_LOG_LEVEL,
    DEFAULT_METRICS,
    DEFAULT_POLICY,
    DEFAULT_PORT,
    DEFAULT_SIZE,
    LOG_FORMATS,
    LOG_LEVELS,
    POLICIES,
    USUAL_PLACE,
    Address,
    Config,
    ConfigError,
    Rules,
    VolumeConfig,
    default_inodes,
    parse_address,
    parse_control,
    parse_inodes,
    parse_keep_warm,
    parse_lock_wait,
    parse_metrics,
    parse_size,
    require_distinct,
    require_local,
    require_one_of,
)
from ram9.server.config_file import parse_config
from ram9.server.version import VERSION

_DESCRIPTION: Final = """\
A RAM disk served over the network.

ram9 keeps a POSIX file system in memory and serves it with 9P2000.L, so that a
stock Linux kernel mounts it. What it holds is gone when it stops."""

_EXAMPLES: Final = """\
examples:
  ram9 serve --size 4GiB             serve 4 GiB to this host
  mount -t 9p -o trans=tcp,version=9p2000.L,msize=1044504 127.0.0.1 /mnt/ram
                                     mount it (as root)
  ram9 ping                          exit with 0 if it answers
  ram9 status                        show volumes, limits, use, clients, memory
  ram9 resize / 8GiB                 have it hold 8 GiB from now on

see ram9 serve --help for every option"""

_SERVE_EPILOG: Final = """\
ADDRESS is HOST:PORT, HOST, [IPV6]:PORT, [IPV6] or unix:/PATH (--listen only).
Port 0 lets the system choose one.

SIZE is a number of bytes, or a number with a unit, or a percentage:
  K M G T, KiB MiB GiB TiB           powers of 1024, as for tmpfs
  KB MB GB TB                        powers of 1000
  50%                                of the memory that this process may use:
                                     the machine's, or what its cgroup allows
Data, names, attributes and inodes all count against SIZE.

examples:
  ram9 serve
      serve half of the memory at 127.0.0.1:564
  mount -t 9p -o trans=tcp,version=9p2000.L,msize=1044504 127.0.0.1 /mnt/ram
      mount it (as root)

  ram9 serve --listen unix:/run/ram9/socket --size 512M
      serve 512 MiB on a unix socket
  mount -t 9p -o trans=unix,version=9p2000.L,msize=1044504 /run/ram9/socket /mnt/ram
      mount it (as root)

  ram9 serve --config /etc/ram9.toml
      serve the volumes that this file declares
  mount -t 9p -o trans=tcp,version=9p2000.L,msize=1044504,aname=builds 127.0.0.1 /mnt/ram
      mount the volume builds of them (as root)

  ram9 serve --listen 0.0.0.0:5640 --allow-remote --size 4GiB --inodes 1M
      serve 4 GiB and a million files to everybody who can reach port 5640
  mount -t 9p -o trans=tcp,port=5640,version=9p2000.L,msize=1044504 HOST /mnt/ram
      mount it on another host; HOST is an IPv4 address"""

_PING_DESCRIPTION: Final = """\
Ask a server which 9P it speaks: status 0 if it answers 9P2000.L, otherwise 1.
This is what health checks call."""


_STATUS_DESCRIPTION: Final = """\
Show how a server that runs here is: its memory, its volumes, its clients."""

_STATUS_EPILOG: Final = """\
LIMIT is what is in force: SIZE, or less if memory is short; then LIMITED BY is
the file that says so. USED and AVAILABLE always are LIMIT together, as in df.

exit status: 0 if it answers, 1 if it does not, 2 for a mistake on this line"""

_RESIZE_DESCRIPTION: Final = """\
Have a volume of a server that runs here hold SIZE from now on; df shows it at
once. Where more is used than that, nothing is lost: nothing more can be written
until it is less."""

_RESIZE_EPILOG: Final = """\
VOLUME is its name, as ram9 status shows it; / is the one without a name.
SIZE is written as for ram9 serve. A configuration file is not changed: write
the size there, too.

examples:
  ram9 resize / 8GiB
  ram9 resize builds 20% --inodes 2M

exit status: 0 if it was done, 1 if the server refuses or does not answer, 2 for
a mistake on this line"""


@dataclass(frozen=True, slots=True)
class AskStatus:
    """The request to show the status of the server at *control*, None for the usual place."""

    control: Address | None
    is_json: bool


@dataclass(frozen=True, slots=True)
class AskResize:
    """The request to resize a volume of the server at *control*, None for the usual place."""

    control: Address | None
    volume: str
    size: str
    inodes: str | None


@dataclass(frozen=True, slots=True)
class Ping:
    """The request to ask the server at *address* whether it answers."""

    address: Address


def _unreadable(path: str) -> str:
    raise ConfigError(f"{path} cannot be read here")


def parse_arguments(
    argv: Sequence[str],
    memory_bytes: Callable[[], int],
    text_of: Callable[[str], str] = _unreadable,
) -> Config | Ping | AskStatus | AskResize:
    """What *argv*, without the name of the program, asks for.

    *memory_bytes* says how much memory this process may use; it is asked only if a size is a
    percentage, and may raise ConfigError. So may *text_of*, which gives the text of a file. Raises
    SystemExit: 0 after --help and --version, 2 after a mistake, when stderr has one sentence about
    it.
    """
    parser = _Parser(
        prog="ram9",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"ram9 {VERSION}",
        help="say which ram9 this is and exit",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_commands(commands)
    options = parser.parse_args(argv)
    if options.command is None:
        parser.error("say what to do, such as ram9 serve or ram9 ping")
    try:
        if options.command == "ping":
            return _ping(options)
        if options.command in ("status", "resize"):
            return _ask(options)
        if options.config is not None:
            _require_alone(options)
            return parse_config(text_of(options.config), options.config, memory_bytes)
        return _config(options, memory_bytes)
    except ConfigError as refusal:
        commands.choices[options.command].error(str(refusal))


def _add_commands(commands: "argparse._SubParsersAction[_Parser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="serve a file system",
        description="Serve a new, empty file system until SIGTERM or SIGINT.",
        epilog=_SERVE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_serve_options(serve)
    ping = commands.add_parser(
        "ping",
        help="ask whether a server answers",
        description=_PING_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_ping_options(ping)
    _add_control_commands(commands)


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ram9: error: {message}\nsee {self.prog} --help\n")


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="take everything from this TOML file, which can declare several volumes; no other "
        "option can stand beside it, for the file has them all as keys (see docs/volumes.md)",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        action="append",
        help=f"where to serve; may be given more than once (default: {DEFAULT_LISTEN})",
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow --listen addresses that other hosts can reach: 9P asks for no password, "
        "so everybody who can reach them can read and write everything",
    )
    parser.add_argument(
        "--size",
        metavar="SIZE",
        help=f"how much it may hold (default: {DEFAULT_SIZE.replace('%', '%%')})",
    )
    parser.add_argument(
        "--inodes",
        metavar="N",
        help="how many files and directories it may hold, such as 100000, 100k (times 1024) or 1M "
        "(default: one for each 4 KiB of SIZE, as tmpfs, and at least 1024)",
    )
    parser.add_argument(
        "--keep-warm",
        metavar="SECONDS",
        help="for how long memory of deleted data is kept for new data before it goes back to the "
        "system, which is slow to give it again; at most half of SIZE is "
        f"(default: {DEFAULT_KEEP_WARM_SECONDS})",
    )
    parser.add_argument(
        "--metrics",
        metavar="ADDRESS",
        help=f"where Prometheus may read /metrics over HTTP, or none (default: {DEFAULT_METRICS})",
    )
    _add_control_option(parser)
    _add_client_options(parser)
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        help=f"the least that is logged to stderr: {', '.join(LOG_LEVELS)} "
        f"(default: {DEFAULT_LOG_LEVEL})",
    )
    parser.add_argument(
        "--log-format",
        metavar="FORMAT",
        help=f"text, or json for one object a line (default: {DEFAULT_LOG_FORMAT})",
    )


def _add_control_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--control",
        metavar="ADDRESS",
        help="where ram9 status and ram9 resize may ask, such as unix:/run/ram9/control, or none: "
        "a unix socket of its user (default: control in the folder that systemd made, "
        "/run/ram9/control for root, else ram9/control in $XDG_RUNTIME_DIR)",
    )


def _add_client_options(parser: argparse.ArgumentParser) -> None:
    """What clients may and get."""
    parser.add_argument(
        "--client-cache",
        action="store_true",
        help="let clients keep data of files between requests if they mount with a cache: faster, "
        "but Linux 7.2 may lose what is appended then (see docs/operating.md)",
    )
    parser.add_argument(
        "--lock-wait",
        metavar="SECONDS",
        help="for how long a process that waits for a lock of another client is left waiting for "
        "the answer, which comes when the lock is free; then Linux sleeps for 30 seconds and asks "
        "again. Until then its signal handlers do not run. 0: do not wait "
        f"(default: {DEFAULT_LOCK_WAIT_SECONDS})",
    )
    parser.add_argument(
        "--policy",
        metavar="POLICY",
        help="who checks permissions: trust leaves that to each client's kernel, enforce checks "
        "every request too, with the groups that this host knows the user to be in "
        f"(default: {DEFAULT_POLICY}; see docs/operating.md)",
    )


def _config(options: argparse.Namespace, memory_bytes: Callable[[], int]) -> Config:
    listen = tuple(
        parse_address(text, DEFAULT_PORT) for text in options.listen or [str(DEFAULT_LISTEN)]
    )
    metrics = parse_metrics(_given(options.metrics, str(DEFAULT_METRICS)))
    require_distinct(listen if metrics is None else (*listen, metrics))
    if not options.allow_remote:
        require_local(listen)
    policy = require_one_of("policy", _given(options.policy, DEFAULT_POLICY), POLICIES)
    log_level = _given(options.log_level, DEFAULT_LOG_LEVEL)
    log_format = _given(options.log_format, DEFAULT_LOG_FORMAT)
    inodes = None if options.inodes is None else parse_inodes(options.inodes)
    size_bytes = parse_size(_given(options.size, DEFAULT_SIZE), memory_bytes)
    volume = VolumeConfig(
        size_bytes=size_bytes,
        inodes=default_inodes(size_bytes) if inodes is None else inodes,
        rules=Rules(policy=policy),
    )
    return Config(
        listen=listen,
        volumes=(volume,),
        metrics=metrics,
        control=USUAL_PLACE if options.control is None else parse_control(options.control),
        log_level=require_one_of("log level", log_level, LOG_LEVELS),
        log_format=require_one_of("log format", log_format, LOG_FORMATS),
        client_cache=options.client_cache,
        lock_wait_seconds=parse_lock_wait(
            _given(options.lock_wait, str(DEFAULT_LOCK_WAIT_SECONDS))
        ),
        keep_warm_seconds=parse_keep_warm(
            _given(options.keep_warm, str(DEFAULT_KEEP_WARM_SECONDS))
        ),
    )


def _given(text: str | None, default: str) -> str:
    return default if text is None else text


def _require_alone(options: argparse.Namespace) -> None:
    """Refuse options beside --config: two places for one thing are one too many."""
    for name, value in vars(options).items():
        if name not in ("command", "config") and value not in (None, False):
            option = name.replace("_", "-")
            raise ConfigError(
                f"--{option} cannot stand beside --config: write what it says in the file"
            )


def _add_ping_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        nargs="?",
        default=str(DEFAULT_LISTEN),
        help="the server: HOST:PORT, HOST, [IPV6]:PORT, [IPV6] or unix:/PATH "
        "(default: %(default)s)",
    )


def _ping(options: argparse.Namespace) -> Ping:
    return Ping(parse_address(options.address, DEFAULT_PORT))


def _add_control_commands(commands: "argparse._SubParsersAction[_Parser]") -> None:
    """What is asked of a server that runs on this host."""
    status = commands.add_parser(
        "status",
        help="show volumes, limits, use, clients, memory",
        description=_STATUS_DESCRIPTION,
        epilog=_STATUS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    status.add_argument("--json", action="store_true", help="as one JSON object, sizes in bytes")
    resize = commands.add_parser(
        "resize",
        help="have a volume hold more or less",
        description=_RESIZE_DESCRIPTION,
        epilog=_RESIZE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    resize.add_argument("volume", metavar="VOLUME", help="its name, / for the one without")
    resize.add_argument("size", metavar="SIZE", help="how much it may hold")
    resize.add_argument(
        "--inodes",
        metavar="N",
        help="how many files and directories it may hold (default: as many as before, or one for "
        "each 4 KiB if it was so before)",
    )
    for command in status, resize:
        command.add_argument(
            "--control",
            metavar="ADDRESS",
            help="the control socket of the server (default: where ram9 serve has it)",
        )


def _ask(options: argparse.Namespace) -> AskStatus | AskResize:
    control = None if options.control is None else parse_control(options.control)
    if options.control == "none":
        raise ConfigError("control address 'none' answers nobody: write unix:/PATH")
    if options.command == "status":
        return AskStatus(control, options.json)
    return AskResize(control, options.volume, options.size, options.inodes)
