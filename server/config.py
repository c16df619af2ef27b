"""What the server is told to do: the frozen Config, and how its words are read.

Nothing here does I/O: the memory of this machine comes from a function that is passed in.
Every refusal is a ConfigError whose text is one sentence for the person who typed the option.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ram9.storage.backing import PAGEABLE, Backing

DEFAULT_PORT: Final = 564
"""The port of 9P, and what the Linux client connects to if it is not told otherwise."""

DEFAULT_METRICS_PORT: Final = 9564
DEFAULT_SIZE: Final = "50%"

DEFAULT_LOCK_WAIT_SECONDS: Final = 2
LOCK_WAIT_SECONDS_MAX: Final = 3600

DEFAULT_KEEP_WARM_SECONDS: Final = 30
KEEP_WARM_SECONDS_MAX: Final = 3600

SIZE_BYTES_MAX: Final = 1 << 47
"""The user half of the x86-64 address space: no mapping can be larger."""

BYTES_FOR_EACH_INODE: Final = 4096
INODES_DEFAULT_MIN: Final = 1024
INODES_MAX: Final = SIZE_BYTES_MAX // BYTES_FOR_EACH_INODE
MODE_MAX: Final = 0o7777
COUNT_MAX: Final = 10_000  # volumes of a template
DURATION_SECONDS_MAX: Final = 10 * 365 * 86400

UNIX_PATH_BYTES_MAX: Final = 107
"""`sun_path` of unix(7) has 108 bytes, and the last one must be zero."""

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")
DEFAULT_GRACE_SECONDS: Final = 60

POLICIES: Final = ("trust", "enforce")
SQUASHES: Final = ("none", "root", "all")

DEFAULT_LOG_LEVEL: Final = "info"
DEFAULT_LOG_FORMAT: Final = "text"
DEFAULT_POLICY: Final = "trust"

ID_MAX: Final = 2**32 - 2  # the last one is nobody's (chown(2))
NOBODY_ID: Final = 65534  # the overflow ids (kernel/sys.c), which are nobody's on any Linux
VOLUME_NAME_CHARACTERS_MAX: Final = 64

_UNITS: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    **{
        unit: factor
        for power, letter in enumerate("kmgt", start=1)
        for unit, factor in (
            (letter, 1024**power),
            (f"{letter}ib", 1024**power),
            (f"{letter}b", 1000**power),
        )
    },
}
_QUANTITY: Final = re.compile(r"(-?)([0-9]{1,20}(?:\.[0-9]{1,20})?)([A-Za-z]{0,3}|%)")
_COUNT: Final = re.compile(r"(-?)([0-9]{1,20})([kKmM]?)")
_VOLUME_NAME: Final = re.compile(
    rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{VOLUME_NAME_CHARACTERS_MAX - 1}}}", re.ASCII
)
_DURATION: Final = re.compile("([0-9]{1,20})([smhd]?)", re.ASCII)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MODE: Final = re.compile("[0-7]{1,5}")
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]{1,15})?")
_PORT: Final = re.compile(r"[0-9]{1,5}")


class ConfigError(ValueError):
    """Something that the server cannot work with; its text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP endpoint (*host*, *port*) or a unix socket (*path*); the other side is empty.

    Its str() is the canonical text, which parse_address reads back as an equal Address.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """True if only processes of this host can reach it: a unix socket or a loopback address.

        A host name counts as remote: what it stands for is known only when it is looked up.
        """
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


DEFAULT_LISTEN: Final = Address("127.0.0.1", DEFAULT_PORT)
USUAL_PLACE: Final = Address()
"""Of the control socket: that depends on who runs the server; see control.py."""

DEFAULT_METRICS: Final = Address("127.0.0.1", DEFAULT_METRICS_PORT)


@dataclass(frozen=True, slots=True)
class Squash:
    """Takes root for the user *uid* in the group *gid*, or *everybody*."""

    uid: int = NOBODY_ID
    gid: int = NOBODY_ID
    everybody: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for whoever mounts a volume, and what it begins with.

    *policy* is one of POLICIES: whether permissions are checked by the clients alone or by the
    server too. *uid*, *gid* and *mode* are those of its root directory.
    """

    policy: str = DEFAULT_POLICY
    squash: Squash | None = None
    read_only: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0o1777


@dataclass(frozen=True, slots=True)
class VolumeConfig:
    """A volume: *size_bytes* and *inodes* are its limits, *name* is what mounts it.

    *backing* is what kind of memory holds it.
    """

    size_bytes: int
    inodes: int
    name: str = ""
    rules: Rules = Rules()
    backing: Backing = PAGEABLE


@dataclass(frozen=True, slots=True)
class TemplateConfig:
    """Volumes that clients make by naming them below *name*, each no larger than *size_bytes_max*.

    There are *count_max* at a time, which come to *total_bytes_max*. Each lives for
    *ttl_seconds_max* at most, and *grace_seconds* without anybody who uses it. *size_bytes* and
    *ttl_seconds* are what those get who do not ask.
    """

    name: str
    size_bytes_max: int
    total_bytes_max: int
    count_max: int
    ttl_seconds_max: int
    grace_seconds: int
    size_bytes: int
    ttl_seconds: int
    rules: Rules = Rules()
    backing: Backing = PAGEABLE


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a server is started with; nobody changes it afterwards.

    *metrics* is where /metrics is served over HTTP, None for nowhere. *log_level* is one of
    LOG_LEVELS, *log_format* of LOG_FORMATS. *client_cache* lets clients keep data of files between
    requests. *lock_wait_seconds* is for how long one that waits for a lock is not answered, 0 for
    not at all. *keep_warm_seconds* is for how long memory that files gave up is kept for the next
    ones. *control* is where status and the like are asked for: a unix socket, USUAL_PLACE, or
    None. With *overcommit*, the volumes may have more bytes than there is memory. *path* is the
    file that says all this, empty if there is none. *templates* are of volumes that come and go.
    """

    listen: tuple[Address, ...]
    volumes: tuple[VolumeConfig, ...]
    metrics: Address | None
    log_level: str
    log_format: str
    client_cache: bool = False
    lock_wait_seconds: int = DEFAULT_LOCK_WAIT_SECONDS
    keep_warm_seconds: int = DEFAULT_KEEP_WARM_SECONDS
    overcommit: bool = True
    control: Address | None = None
    path: str = ""
    templates: tuple[TemplateConfig, ...] = ()

    @property
    def in_memory(self) -> list[tuple[int, str]]:
        """What may take of the machine's memory: how many bytes, and what to call it."""
        volumes = [
            (volume.size_bytes, volume.name or "the one without a name")
            for volume in self.volumes
            if volume.backing.is_in_memory
        ]
        return volumes + [
            (template.total_bytes_max, f"all of {template.name}")
            for template in self.templates
            if template.backing.is_in_memory
        ]

    @property
    def memory_bytes(self) -> int:
        """What the volumes may take of the machine's memory, all together."""
        return sum(size_bytes for size_bytes, _ in self.in_memory)


def parse_address(text: str, default_port: int) -> Address:
    """The Address that `HOST:PORT`, `HOST`, `[IPV6]:PORT`, `[IPV6]` or `unix:/PATH` stands for.

    Without a port it is *default_port*; port 0 lets the system choose one.
    """
    if text.startswith("unix:"):
        return Address(path=_unix_path(text, text.removeprefix("unix:")))
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"address {text!r} is not of the form [IPV6]:PORT")
        return Address(_ipv6(text, host), _port(text, rest[1:]) if rest else default_port)
    if text.count(":") > 1:
        raise ConfigError(
            f"address {text!r} has more than one colon: write an IPv6 address in brackets, "
            f"such as [::1] or [::1]:{default_port}"
        )
    host, colon, port = text.partition(":")
    return Address(_host(text, host), _port(text, port) if colon else default_port)


def parse_size(text: str, memory_bytes: Callable[[], int]) -> int:
    """The bytes that `4GiB`, `512M`, `1.5G`, `50%` or `1048576` stand for, rounded down.

    K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024, as for tmpfs; KB, MB, GB, TB are powers
    of 1000; case does not matter. A percentage is of *memory_bytes()*, asked for nothing else.
    """
    parts = _QUANTITY.fullmatch(text)
    unit = parts[3].lower() if parts else ""
    if parts is None or unit not in (*_UNITS, "%"):
        raise ConfigError(f"size {text!r} is not a size: write it as 4GiB, 512M, 50% or in bytes")
    number = Fraction(parts[2])
    if parts[1] or not number:
        raise ConfigError(f"size {text!r} must be more than 0")
    if unit == "%" and number > 100:
        raise ConfigError(f"size {text!r} is more than 100% of the memory")
    size_bytes = int(number * memory_bytes() / 100 if unit == "%" else number * _UNITS[unit])
    if not size_bytes:
        raise ConfigError(f"size {text!r} is less than one byte")
    if size_bytes > SIZE_BYTES_MAX:
        raise ConfigError(f"size {text!r} is more than the largest possible size, 128TiB")
    return size_bytes


def parse_inodes(text: str) -> int:
    """The number that `100000`, `100k` or `1M` stands for; k is 1024 and M 1024 k, as for tmpfs."""
    parts = _COUNT.fullmatch(text)
    if parts is None:
        raise ConfigError(f"inodes {text!r} is not a number: write it as 100000, 100k or 1M")
    inodes = int(parts[2]) * _UNITS[parts[3].lower()]
    if parts[1] or not inodes:
        raise ConfigError(f"inodes {text!r} must be more than 0")
    if inodes > INODES_MAX:
        raise ConfigError(f"inodes {text!r} is more than the largest possible number, {INODES_MAX}")
    return inodes


def parse_lock_wait(text: str) -> int:
    """The seconds that `2` stands for: a whole number, from 0 to LOCK_WAIT_SECONDS_MAX."""
    return _seconds("lock wait", text, LOCK_WAIT_SECONDS_MAX)


def parse_keep_warm(text: str) -> int:
    """The seconds that `30` stands for: a whole number, from 0 to KEEP_WARM_SECONDS_MAX."""
    return _seconds("keep warm", text, KEEP_WARM_SECONDS_MAX)


def parse_duration(what: str, text: str) -> int:
    """The seconds that `90`, `30s`, `5m`, `1h` or `2d` stand for: 1 to DURATION_SECONDS_MAX.

    *what* is the word for it in a refusal.
    """
    parts = _DURATION.fullmatch(text)
    if parts is None:
        raise ConfigError(f"{what} {text!r} is no time: write it as 30s, 5m, 1h, 2d or in seconds")
    seconds = int(parts[1]) * _SECONDS[parts[2]]
    if not 1 <= seconds <= DURATION_SECONDS_MAX:
        raise ConfigError(f"{what} {text!r} is not from 1 second to {DURATION_SECONDS_MAX} seconds")
    return seconds


def parse_volume_name(text: str) -> str:
    """A name for anames, logs and commands; empty for the default volume."""
    if text and not _VOLUME_NAME.fullmatch(text):
        raise ConfigError(
            f"name {text!r} is none for a volume: it has up to {VOLUME_NAME_CHARACTERS_MAX} "
            "letters, digits, _, - and ., and begins with a letter, digit or _"
        )
    return text


def parse_mode(text: str) -> int:
    """The permissions that the octal digits `1777` stand for."""
    if not _MODE.fullmatch(text) or int(text, 8) > MODE_MAX:
        raise ConfigError(f"mode {text!r} is not one: write it in octal digits, such as 0755")
    return int(text, 8)


def default_inodes(size_bytes: int) -> int:
    """One inode for each 4 KiB of the volume, which is the ratio of tmpfs, and at least 1024."""
    return max(INODES_DEFAULT_MIN, size_bytes // BYTES_FOR_EACH_INODE)


def parse_control(text: str) -> Address | None:
    """Where operators ask: an Address of a unix socket, or None for `none`."""
    if text == "none":
        return None
    if not text.startswith("unix:"):
        raise ConfigError(
            f"control address {text!r} must be unix:/PATH, such as unix:/run/ram9/control, or none"
        )
    return parse_address(text, DEFAULT_PORT)


def parse_metrics(text: str) -> Address | None:
    """Where /metrics is served: an Address of TCP, or None for `none`."""
    if text == "none":
        return None
    address = parse_address(text, DEFAULT_METRICS_PORT)
    if address.path:
        raise ConfigError(f"metrics address {text!r} must be HOST:PORT: Prometheus asks over TCP")
    return address


def require_distinct(addresses: Iterable[Address]) -> None:
    """Refuse *addresses* if two of them are the same place; port 0 is a new one each time."""
    seen: set[Address] = set()
    for address in addresses:
        if address in seen:
            raise ConfigError(f"address {address} is given twice")
        if address.path or address.port:
            seen.add(address)


def require_local(addresses: Iterable[Address]) -> None:
    """Refuse the first of *addresses* that another host could reach, and say how to allow it."""
    for address in addresses:
        if not address.is_local:
            raise ConfigError(
                f"{address} can be reached from other hosts and 9P asks for no password: "
                "add --allow-remote to serve everybody who can reach it, or listen on 127.0.0.1"
            )


def require_one_of(option: str, text: str, choices: tuple[str, ...]) -> str:
    """*text*, which must be one of *choices*; *option* is the word for it in the refusal."""
    if text not in choices:
        raise ConfigError(f"{option} {text!r} is not one of {', '.join(choices)}")
    return text


def _seconds(option: str, text: str, seconds_max: int) -> int:
    if not re.fullmatch("[0-9]{1,20}", text):
        raise ConfigError(f"{option} {text!r} is not a whole number of seconds")
    seconds = int(text)
    if seconds > seconds_max:
        raise ConfigError(
            f"{option} {text!r} is more than the largest possible, {seconds_max} seconds"
        )
    return seconds


def _unix_path(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise ConfigError(f"address {text!r} needs an absolute path, such as unix:/run/ram9/socket")
    if path.endswith("/"):
        raise ConfigError(f"address {text!r} ends in a slash: it must name a socket")
    if "\0" in path:
        raise ConfigError(f"address {text!r} has a zero byte in its path")
    path_bytes = len(os.fsencode(path))
    if path_bytes > UNIX_PATH_BYTES_MAX:
        raise ConfigError(
            f"address {text!r} has a path of {path_bytes} bytes: "
            f"a unix socket allows {UNIX_PATH_BYTES_MAX}"
        )
    return path


def _ipv6(text: str, host: str) -> str:
    try:
        if not _IPV6.fullmatch(host):
            raise ValueError(host)
        return str(ipaddress.IPv6Address(host))
    except ValueError:
        raise ConfigError(f"address {text!r} has no IPv6 address in its brackets") from None


def _host(text: str, host: str) -> str:
    host = host.lower()
    if not host:
        raise ConfigError(f"address {text!r} names no host: write 0.0.0.0 for every IPv4 address")
    if _HOST_NAME.fullmatch(host) and not host.rpartition(".")[2].isdigit():
        return host
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ConfigError(
            f"address {text!r} has a host that is neither a name nor an IPv4 address"
        ) from None


def _port(text: str, port: str) -> int:
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ConfigError(f"address {text!r} has a port that is not a number from 0 to 65535")
    return int(port)
