"""What the server tells of itself, as tables for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_NOTHING: Final = "-"

_VOLUME_HEADS: Final = (
    "VOLUME",
    "SIZE",
    "LIMIT",
    "USED",
    "AVAILABLE",
    "USE%",
    "INODES",
    "IUSED",
    "LIMITED BY",
)
_CLIENT_HEADS: Final = ("CLIENT", "FOR", "MOUNTS", "FIDS", "LOCKED", "IN", "OUT")

Line = Mapping[str, Any]


def status_text(told: Mapping[str, Any], now: float) -> str:
    """The whole of ``ram9 status``; *now* is in seconds since 1970."""
    server, volumes, clients = told["server"], told["volumes"], told["clients"]
    warm_bytes = sum(volume["warm_bytes"] for volume in volumes)
    rows = list(_process_rows(server, warm_bytes, now))
    width = max(len(name) for name, _ in rows)
    process = "".join(f"{name:<{width}}  {value}\n" for name, value in rows)
    return "\n".join(
        [
            process,
            table(_VOLUME_HEADS, map(_volume_row, volumes)),
            table(_CLIENT_HEADS, (_client_row(client, now) for client in clients))
            if clients
            else "no clients\n",
        ]
    )


def _process_rows(server: Line, warm_bytes: int, now: float) -> Iterator[tuple[str, str]]:
    memory = server["memory"]
    age = duration(now - server["since"])
    yield "ram9", f"{server['version']}, process {server['pid']}, up {age}"
    yield "listens on", ", ".join(server["listen"])
    yield "configuration", server["config"] or "the command line"
    yield (
        "memory",
        f"{size(memory['resident_bytes'])} in use; {size(memory['held_bytes'])} held by "
        f"volumes, {size(warm_bytes)} of that free and warm; "
        f"{size(memory['clients_bytes'])} for clients",
    )
    yield "memory left", _left(memory)


def _volume_row(volume: Line) -> tuple[str, ...]:
    return (
        volume["name"] or "/",
        size(volume["size_bytes"]),
        size(volume["limit_bytes"]),
        size(volume["used_bytes"]),
        size(volume["available_bytes"]),
        share(volume["used_bytes"], volume["limit_bytes"]),
        str(volume["limit_inodes"]),
        str(volume["used_inodes"]),
        volume["limited_by"],
    )


def _client_row(client: Line, now: float) -> tuple[str, ...]:
    return (
        client["peer"],
        duration(now - client["since"]),
        _mounts(client),
        str(client["fids"]),
        str(client["locked_files"]),
        size(client["received_bytes"]),
        size(client["sent_bytes"]),
    )


def resize_text(line: Line) -> str:
    """What has become of a volume."""
    text = (
        f"{line['name'] or '/'}: {size(line['size_bytes'])} and {line['size_inodes']} inodes, "
        f"{size(line['used_bytes'])} used, {size(line['available_bytes'])} available\n"
    )
    if line["used_bytes"] > line["size_bytes"]:
        text += "more is used: nothing is lost, but nothing can be added before it is less\n"
    elif line["limit_bytes"] < line["size_bytes"]:
        text += f"less is in force, as {line['limited_by']} says how little memory is left\n"
    return text


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns with their heads, as wide as need be; words to the left, numbers to the right."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    words = {
        column
        for column in range(len(heads))
        if any(not line[column][:1].isdigit() for line in lines[1:])
        and any(line[column] != _NOTHING for line in lines[1:])
    }
    return "".join(
        "  ".join(
            cell.ljust(width) if column in words or column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )


def size(count_bytes: int | None) -> str:
    """Bytes with a unit and three digits; what is not known is a dash."""
    if count_bytes is None:
        return _NOTHING
    number, unit = float(count_bytes), 0
    while number >= 1000 and unit + 1 < len(_UNITS):
        number /= 1024
        unit += 1
    digits = 0 if unit == 0 or number >= 100 else 1 if number >= 10 else 2
    return f"{number:.{digits}f} {_UNITS[unit]}"


def share(used: int, limit: int) -> str:
    """In percent, rounded up: what is nearly full is not called full, nor what is used unused."""
    return f"{-(-100 * used // limit) if limit else 0}%"


def duration(seconds: float) -> str:
    """In the largest two units that it has."""
    total = max(0, int(seconds))
    parts = [
        (total // 86400, "d"),
        (total // 3600 % 24, "h"),
        (total // 60 % 60, "min"),
        (total % 60, "s"),
    ]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def _left(memory: Line) -> str:
    if memory["left_bytes"] is None:
        return "not known"
    if memory["left_bytes"] < 0:
        text = f"none, and {size(-memory['left_bytes'])} too much is taken"
    else:
        text = size(memory["left_bytes"])
    return f"{text}, as {memory['limited_by']} says"


def _mounts(client: Line) -> str:
    """Which volumes and trees, and by whom."""
    users: dict[str, list[str]] = {}
    for mount in client["mounts"]:
        users.setdefault(mount["aname"] or "/", []).append(str(mount["uid"]))
    return "; ".join(f"{aname} by {','.join(uids)}" for aname, uids in users.items()) or _NOTHING
