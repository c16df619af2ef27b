"""The configuration file: from TOML to a Config, or to one sentence with the line of the mistake.

The keys of the file are the options of the command line, without their dashes in front; volumes
are tables. Nothing here does I/O.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from ram9.server.config import (
    COUNT_MAX,
    DEFAULT_GRACE_SECONDS,
    DEFAULT_KEEP_WARM_SECONDS,
    DEFAULT_LISTEN,
    DEFAULT_LOCK_WAIT_SECONDS,
    DEFAULT_LOG_FORMAT,
    DEFAULT_LOG_LEVEL,
    DEFAULT_METRICS,
    DEFAULT_PORT,
    ID_MAX,
    LOG_FORMATS,
    LOG_LEVELS,
    NOBODY_ID,
    POLICIES,
    SIZE_BYTES_MAX,
    SQUASHES,
    USUAL_PLACE,
    Address,
    Config,
    ConfigError,
    Rules,
    Squash,
    TemplateConfig,
    VolumeConfig,
    default_inodes,
    parse_address,
    parse_control,
    parse_duration,
    parse_inodes,
    parse_keep_warm,
    parse_lock_wait,
    parse_metrics,
    parse_mode,
    parse_size,
    parse_volume_name,
    require_distinct,
    require_local,
    require_one_of,
)
from ram9.server.toml_tables import File, KindError, Table
from ram9.storage.backing import Backing, Kind

TEXT_CHARACTERS_MAX: Final = 256  # of one value

MemoryBytes = Callable[[], int]


def parse_config(text: str, path: str, memory_bytes: MemoryBytes) -> Config:
    """What the file *path* asks for, which holds *text*.

    *memory_bytes* is for sizes that are a percentage, as for parse_size. Raises ConfigError, whose
    text begins with the path and the line.
    """
    file = File(text, path)
    return _config(file.table(), path, memory_bytes)


def _config(table: Table, path: str, memory_bytes: MemoryBytes) -> Config:
    listen = table.each("listen", _address, (DEFAULT_LISTEN,))
    usual: Address | None = DEFAULT_METRICS
    metrics = table.take("metrics", _metrics, usual)
    place: Address | None = USUAL_PLACE
    control = table.take("control", _control, place)
    try:
        require_distinct(listen if metrics is None else (*listen, metrics))
        if not table.take("allow-remote", _flag, default=False):
            _require_local(listen)
    except ConfigError as error:
        raise table.mistake("listen", str(error)) from None
    config = Config(
        listen=listen,
        volumes=_volumes(table, memory_bytes),
        metrics=metrics,
        control=control,
        log_level=table.take("log-level", _one_of("log level", LOG_LEVELS), DEFAULT_LOG_LEVEL),
        log_format=table.take("log-format", _one_of("log format", LOG_FORMATS), DEFAULT_LOG_FORMAT),
        client_cache=table.take("client-cache", _flag, default=False),
        lock_wait_seconds=table.take("lock-wait", _lock_wait, DEFAULT_LOCK_WAIT_SECONDS),
        keep_warm_seconds=table.take("keep-warm", _keep_warm, DEFAULT_KEEP_WARM_SECONDS),
        overcommit=table.take("overcommit", _flag, default=False),
        path=path,
        templates=tuple(_template(inner, memory_bytes) for inner in table.tables("scratch")),
    )
    table.end()
    _check_names(table)
    if not config.volumes and not config.templates:
        raise table.mistake(
            "volume", "there is no [[volume]] and no [[scratch]]: nothing could be mounted"
        )
    return config


def _check_names(table: Table) -> None:
    """Refuse two of one name, and a template without one."""
    seen: dict[str, Table] = {}
    for inner in (*table.tables("volume"), *table.tables("scratch")):
        name = inner.take("name", _text, "")
        first = seen.setdefault(name, inner)
        if first is not inner:
            what = f"the name {name!r}" if name else "no name"
            line = first.line("name")
            raise inner.mistake("name", f"two volumes have {what}: the first is on line {line}")


def _template(table: Table, memory_bytes: MemoryBytes) -> TemplateConfig:
    def size(value: Any) -> int:
        return parse_size(_quantity(value), memory_bytes)

    def time(key: str) -> Callable[[Any], int]:
        return lambda value: parse_duration(key, _quantity(value))

    size_bytes_max = table.need("size-max", size)
    ttl_seconds_max = table.need("ttl-max", time("ttl-max"))
    template = TemplateConfig(
        name=table.need("name", _template_name),
        size_bytes_max=size_bytes_max,
        total_bytes_max=table.need("total-max", size),
        count_max=table.need("count-max", _count),
        ttl_seconds_max=ttl_seconds_max,
        grace_seconds=table.take("grace", time("grace"), DEFAULT_GRACE_SECONDS),
        size_bytes=table.take("size", size, size_bytes_max),
        ttl_seconds=table.take("ttl", time("ttl"), ttl_seconds_max),
        rules=_rules(table),
        backing=_backing(table),
    )
    table.end()
    if template.size_bytes > size_bytes_max:
        raise table.mistake("size", "size is more than size-max")
    if template.ttl_seconds > ttl_seconds_max:
        raise table.mistake("ttl", "ttl is more than ttl-max")
    if size_bytes_max > template.total_bytes_max:
        raise table.mistake("total-max", "total-max is less than size-max")
    return template


def _template_name(value: Any) -> str:
    name = parse_volume_name(_text(value))
    if not name:
        raise ConfigError("a template needs a name, below which volumes have theirs")
    return name


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise KindError("an integer", value)
    if not 1 <= value <= COUNT_MAX:
        raise ConfigError(f"{value} is not from 1 to {COUNT_MAX} volumes")
    return value


def _require_local(listen: Iterable[Address]) -> None:
    try:
        require_local(listen)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--allow-remote", "allow-remote = true")) from None


def _volumes(table: Table, memory_bytes: MemoryBytes) -> tuple[VolumeConfig, ...]:
    volumes = []
    total_bytes = 0
    for inner in table.tables("volume"):
        volume = _volume(inner, memory_bytes)
        total_bytes += volume.size_bytes
        if total_bytes > SIZE_BYTES_MAX:
            raise inner.mistake(
                "size", "the volumes up to this one come to more than the largest size, 128TiB"
            )
        volumes.append(volume)
    return tuple(volumes)


def _volume(table: Table, memory_bytes: MemoryBytes) -> VolumeConfig:
    size_bytes = table.need("size", lambda value: parse_size(_quantity(value), memory_bytes))
    volume = VolumeConfig(
        name=table.take("name", lambda value: parse_volume_name(_text(value)), ""),
        size_bytes=size_bytes,
        inodes=table.take("inodes", _inodes, default_inodes(size_bytes)),
        rules=_rules(table),
        backing=_backing(table),
    )
    table.end()
    return volume


def _rules(table: Table) -> Rules:
    usual = Rules()
    return Rules(
        policy=table.take("policy", _one_of("policy", POLICIES), usual.policy),
        squash=_squash(table),
        read_only=table.take("read-only", _flag, usual.read_only),
        uid=table.take("uid", _id, usual.uid),
        gid=table.take("gid", _id, usual.gid),
        mode=table.take("mode", lambda value: parse_mode(_text(value)), usual.mode),
    )


def _squash(table: Table) -> Squash | None:
    who = table.take("squash", _one_of("squash", SQUASHES), "none")
    uid = table.take("squash-uid", _id, NOBODY_ID)
    gid = table.take("squash-gid", _id, NOBODY_ID)
    if who == "none":
        for key in ("squash-uid", "squash-gid"):
            if key in table:
                raise table.mistake(key, f'{key} says nothing without squash = "root" or "all"')
        return None
    if who == "root" and not uid:
        raise table.mistake("squash-uid", "squash-uid 0 would leave root what it is")
    return Squash(uid, gid, everybody=who == "all")


def _backing(table: Table) -> Backing:
    kind = Kind(table.take("memory", _one_of("memory", tuple(Kind)), str(Kind.PAGEABLE)))
    directory = table.take("path", _directory, "")
    if (kind is Kind.FILE) != bool(directory):
        raise table.mistake(
            "path", 'memory = "file" has a path, the directory for it, and others have none'
        )
    return Backing(kind, directory, wipe=table.take("wipe", _flag, default=False))


def _directory(value: Any) -> str:
    path = _text(value)
    if not path.startswith("/") or "\0" in path:
        raise ConfigError(f"path {path!r} is not absolute: name a directory such as /var/lib/ram9")
    return path


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise KindError("a string", value)
    if len(value) > TEXT_CHARACTERS_MAX:
        raise ConfigError(f"a text of {len(value)} characters is too long to mean anything here")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise KindError("true or false", value)
    return value


def _quantity(value: Any) -> str:
    """A text as the command line has it, of a string or an integer."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise KindError("a string or an integer", value)
    return _text(str(value))


def _inodes(value: Any) -> int:
    return parse_inodes(_quantity(value))


def _lock_wait(value: Any) -> int:
    return parse_lock_wait(_integer(value))


def _keep_warm(value: Any) -> int:
    return parse_keep_warm(_integer(value))


def _integer(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise KindError("an integer", value)
    return str(value)


def _id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise KindError("an integer", value)
    if not 0 <= value <= ID_MAX:
        raise ConfigError(f"{value} is no number of a user or a group: they go from 0 to {ID_MAX}")
    return value


def _one_of(option: str, choices: tuple[str, ...]) -> Callable[[Any], str]:
    return lambda value: require_one_of(option, _text(value), choices)


def _address(value: Any) -> Address:
    if not isinstance(value, str):
        raise KindError("a string or an array of strings", value)
    return parse_address(_text(value), DEFAULT_PORT)


def _control(value: Any) -> Address | None:
    return parse_control(_text(value))


def _metrics(value: Any) -> Address | None:
    return parse_metrics(_text(value))
