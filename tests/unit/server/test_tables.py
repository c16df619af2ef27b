"""Tables that people read."""

from typing import Any

import pytest

from ram9.server.tables import duration, resize_text, share, size, status_text, table

MIB = 1 << 20

SERVER = {
    "kind": "server",
    "version": "0.1.0",
    "pid": 7,
    "since": 1000,
    "config": "",
    "listen": ["127.0.0.1:564", "unix:/s"],
    "memory": {
        "resident_bytes": 100 * MIB,
        "held_bytes": 60 * MIB,
        "left_bytes": 5 * MIB,
        "limited_by": "/proc/meminfo",
        "clients_bytes": 0,
    },
}
VOLUME = {
    "name": "",
    "size_bytes": 64 * MIB,
    "limit_bytes": 32 * MIB,
    "used_bytes": 8 * MIB,
    "available_bytes": 24 * MIB,
    "limit_inodes": 100,
    "used_inodes": 5,
    "limited_by": "/proc/meminfo",
    "warm_bytes": 3 * MIB,
}
CLIENT = {
    "peer": "127.0.0.1:5000",
    "since": 1090,
    "mounts": [
        {"aname": "builds", "uid": 0, "uname": "root"},
        {"aname": "", "uid": 5, "uname": "nobody"},
        {"aname": "builds", "uid": 7, "uname": "nobody"},
    ],
    "fids": 3,
    "locked_files": 0,
    "received_bytes": 2048,
    "sent_bytes": None,
}


def test_everything_is_shown() -> None:
    told = {"server": SERVER, "volumes": [VOLUME], "clients": [CLIENT]}
    assert status_text(told, 1100.5) == (
        "ram9           0.1.0, process 7, up 1 min 40 s\n"
        "listens on     127.0.0.1:564, unix:/s\n"
        "configuration  the command line\n"
        "memory         100 MiB in use; 60.0 MiB held by volumes, 3.00 MiB of that free and warm; "
        "0 B for clients\n"
        "memory left    5.00 MiB, as /proc/meminfo says\n"
        "\n"
        "VOLUME      SIZE     LIMIT      USED  AVAILABLE  USE%  INODES  IUSED  LIMITED BY\n"
        "/       64.0 MiB  32.0 MiB  8.00 MiB   24.0 MiB   25%     100      5  /proc/meminfo\n"
        "\n"
        "CLIENT           FOR  MOUNTS               FIDS  LOCKED        IN  OUT\n"
        "127.0.0.1:5000  10 s  builds by 0,7; / by 5     3       0  2.00 KiB    -\n"
    ).replace("MOUNTS               FIDS", "MOUNTS                 FIDS").replace(
        "/ by 5     3", "/ by 5     3"
    )


def test_without_clients_that_is_said() -> None:
    told = {"server": SERVER, "volumes": [VOLUME], "clients": []}
    assert status_text(told, 1000).endswith("\n\nno clients\n")


@pytest.mark.parametrize(
    ("left_bytes", "source", "expected"),
    [
        (None, None, "memory left    not known\n"),
        (-MIB, "/m", "memory left    none, and 1.00 MiB too much is taken, as /m says\n"),
    ],
)
def test_what_is_left_is_told_in_words(
    left_bytes: int | None, source: str | None, expected: str
) -> None:
    memory = {**SERVER["memory"], "left_bytes": left_bytes, "limited_by": source}  # type: ignore[dict-item]
    told = {"server": {**SERVER, "memory": memory}, "volumes": [VOLUME], "clients": []}
    assert expected in status_text(told, 1000)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"used_bytes": 70 * MIB}, "more is used"),
        ({"limit_bytes": 30 * MIB, "limited_by": "/m"}, "less is in force, as /m says"),
    ],
)
def test_a_resize_tells_what_holds_now(changes: dict[str, Any], expected: str) -> None:
    line = {**VOLUME, "limit_bytes": 64 * MIB, "size_inodes": 100, **changes}
    text = resize_text(line)
    assert text.startswith("/: 64.0 MiB and 100 inodes, ")
    assert expected in text
    assert text.count("\n") == 1 + bool(expected)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1.00 KiB"),
        (10 * MIB, "10.0 MiB"),
        (100 << 30, "100 GiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_sizes_have_three_digits(count: int | None, expected: str) -> None:
    assert size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0 s"), (59.9, "59 s"), (3600, "1 h 0 min"), (86400 * 3 + 7300, "3 d 2 h")],
)
def test_times_have_two_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("used", "limit", "expected"), [(0, 0, "0%"), (1, 1000, "1%"), (999, 1000, "100%")]
)
def test_shares_are_rounded_up(used: int, limit: int, expected: str) -> None:
    assert share(used, limit) == expected


def test_numbers_stand_to_the_right() -> None:
    assert table(("A", "B", "C"), [("x", "1", "w"), ("yyyy", "100", "ww")]) == (
        "A       B  C\nx       1  w\nyyyy  100  ww\n"
    )
