"""What can be changed while the server runs, and what is only said in the log."""

import gc
import logging
import mmap
import weakref
from dataclasses import replace
from typing import Any

import pytest

from ram9.server.changes import Changes
from ram9.server.config import (
    Address,
    Config,
    ConfigError,
    Rules,
    TemplateConfig,
    VolumeConfig,
    default_inodes,
)
from ram9.server.memory import MemoryLimit
from ram9.server.scratch import Template
from ram9.server.volumes import TRUST, Volume, Volumes
from ram9.storage.backing import Backing, Kind
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

MIB = 1 << 20
MEMORY_BYTES = 1 << 30
CONFIG = Config(
    listen=(Address("127.0.0.1", 564),),
    volumes=(
        VolumeConfig(64 * MIB, default_inodes(64 * MIB)),
        VolumeConfig(128 * MIB, 5000, name="builds"),
    ),
    metrics=None,
    log_level="info",
    log_format="text",
    overcommit=False,
    path="/etc/ram9.toml",
)


class Running:
    """Volumes as CONFIG has them, and the changes that are made to them."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.calls: list[str] = []
        self.memory_bytes: int | None = MEMORY_BYTES
        self.told: list[tuple[int, int | None]] = []  # sizes, and the memory there is
        self.made: list[weakref.ref[mmap.mmap]] = []
        self.volumes = Volumes(map(self.make, config.volumes))
        self.changes = Changes(
            self.volumes,
            config,
            self.limit,
            self.make,
            lambda *sizes: self.told.append(sizes),
            lambda: self.calls.append("read only"),
        )

    def limit(self) -> MemoryLimit:
        if self.memory_bytes is None:
            raise ConfigError("cannot tell how much memory this process may use")
        return MemoryLimit(self.memory_bytes, "meminfo")

    def make(self, config: VolumeConfig) -> Volume:
        if config.name == "refused":
            raise ConfigError("it cannot be made")
        filesystem = FileSystem(Limits(config.size_bytes, config.inodes), lambda: 1)
        self.made.append(weakref.ref(filesystem.disk.memory))
        read_only = config.rules.read_only
        return Volume(config.name.encode(), filesystem, read_only=read_only)

    def limits(self, name: bytes) -> tuple[int, int]:
        budget = self.volumes.named[name].filesystem.budget
        return budget.limit_bytes, budget.limit_inodes

    def resize(self, volume: str, size: str, inodes: str | None = None) -> dict[str, Any]:
        request = {"volume": volume, "size": size, "inodes": inodes}
        (line,) = self.changes.resize(request, "peer")
        return line


@pytest.fixture
def running() -> Running:
    return Running()


def volume(index: int, **changes: Any) -> Config:
    """CONFIG with one of its volumes changed."""
    volumes = list(CONFIG.volumes)
    volumes[index] = replace(volumes[index], **changes)
    return replace(CONFIG, volumes=tuple(volumes))


@pytest.mark.parametrize("name", ["", "/"])
def test_the_volume_without_a_name_is_a_slash(running: Running, name: str) -> None:
    assert running.resize(name, "80MiB")["size_bytes"] == 80 * MIB
    assert running.limits(b"")[0] == 80 * MIB


def test_inodes_follow_the_size_where_nobody_has_chosen_them(running: Running) -> None:
    running.resize("/", "80MiB")
    assert running.limits(b"") == (80 * MIB, default_inodes(80 * MIB))
    running.resize("builds", "200MiB")
    assert running.limits(b"builds") == (200 * MIB, 5000)
    running.resize("builds", "200MiB", "2k")
    assert running.limits(b"builds") == (200 * MIB, 2048)


def test_a_share_is_one_of_the_memory(running: Running) -> None:
    assert running.resize("/", "25%")["size_bytes"] == MEMORY_BYTES // 4


def test_less_than_is_used_is_less_from_now_on(running: Running) -> None:
    filesystem = running.volumes.named[b""].filesystem
    file = filesystem.create(filesystem.root, b"file", 0o644, 0, 0)
    filesystem.write(file, 0, bytes(10 * MIB))
    line = running.resize("/", "8MiB")
    assert line["limit_bytes"] == line["used_bytes"] > 10 * MIB
    assert line["available_bytes"] == 0
    assert line["size_bytes"] == 8 * MIB
    running.resize("/", "20MiB")
    assert [size_bytes for size_bytes, _ in running.told] == [(8 + 128) * MIB, (20 + 128) * MIB]


@pytest.mark.parametrize(
    ("name", "size", "inodes", "expected"),
    [
        ("no", "1GiB", None, "there is no volume 'no': choose one of /, builds"),
        ("/", "many", None, "is not a size"),
        ("/", "1GiB", "many", "is not a number"),
        ("/", "65GiB", None, r"can have \d+ bytes at most while the server runs"),
        ("builds", "1000MiB", None, r"1048576000 \(builds\) \+ 67108864 \(the one without"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    running: Running, name: str, size: str, inodes: str | None, expected: str
) -> None:
    before = running.limits(b""), running.limits(b"builds")
    with pytest.raises(ConfigError, match=expected):
        running.resize(name, size, inodes)
    assert (running.limits(b""), running.limits(b"builds")) == before


def test_with_overcommit_sizes_may_be_more_than_memory() -> None:
    running = Running(replace(CONFIG, overcommit=True))
    assert running.resize("builds", "1000MiB")["size_bytes"] == 1000 * MIB


def test_sizes_are_told_with_the_memory_that_there_is_then() -> None:
    """Clients went on to share what the volumes left of the memory that there was at the start."""
    running = Running(replace(CONFIG, overcommit=True))
    for memory_bytes in (2 * MEMORY_BYTES, None):
        running.memory_bytes = memory_bytes
        running.resize("/", "80MiB")
        running.changes.reload(replace(CONFIG, overcommit=True))
    sums = [(80 + 128) * MIB, (64 + 128) * MIB]
    assert running.told == [(it, memory) for memory in (2 * MEMORY_BYTES, None) for it in sums]


def test_of_many_volumes_some_are_named(running: Running) -> None:
    for number in range(20):
        name = b"v%02d" % number
        running.volumes.named[name] = running.volumes.named[b""]
    running.volumes.named = {
        name: Volume(name, it.filesystem) for name, it in running.volumes.named.items()
    }
    with pytest.raises(ConfigError, match=r"/, builds, v00, .*, v05 and 14 others$"):
        running.resize("no", "1GiB")


# A configuration that is read again


def test_sizes_are_what_the_file_says_now(running: Running) -> None:
    running.resize("builds", "200MiB")
    running.changes.reload(CONFIG)
    assert running.limits(b"builds") == (128 * MIB, 5000)
    assert [size_bytes for size_bytes, _ in running.told] == [(64 + 200) * MIB, (64 + 128) * MIB]


def test_a_volume_that_is_new_is_there(running: Running) -> None:
    new = VolumeConfig(MIB, 1000, name="new")
    running.changes.reload(replace(CONFIG, volumes=(*CONFIG.volumes, new)))
    assert running.limits(b"new") == (MIB, 1000)
    running.changes.reload(replace(CONFIG, volumes=(*CONFIG.volumes, replace(new, inodes=2000))))
    assert running.limits(b"new") == (MIB, 2000)


def test_a_volume_that_cannot_be_had_changes_nothing(running: Running) -> None:
    volumes = (
        replace(CONFIG.volumes[0], size_bytes=MIB),
        VolumeConfig(MIB, 1000, name="new"),
        VolumeConfig(MIB, 1000, name="refused"),
    )
    with pytest.raises(ConfigError, match="cannot be made"):
        running.changes.reload(replace(CONFIG, volumes=volumes))
    with pytest.raises(ConfigError, match="at most while the server runs"):
        running.changes.reload(volume(1, size_bytes=1 << 46))
    assert running.limits(b"") == (64 * MIB, default_inodes(64 * MIB))
    assert running.volumes.named.keys() == {b"", b"builds"}
    assert running.changes.config is CONFIG


def test_volumes_that_were_made_for_nothing_are_gone() -> None:
    """Each time that a configuration was read of which one volume could not be had, those before it
    stayed for ever: their address space, their threads, their files and what they held."""
    running = Running()
    volumes = (VolumeConfig(MIB, 1000, name="new"), VolumeConfig(MIB, 1000, name="refused"))
    gc.disable()
    try:
        with pytest.raises(ConfigError, match="cannot be made"):
            running.changes.reload(replace(CONFIG, volumes=(*CONFIG.volumes, *volumes)))
        assert [mapping() is None for mapping in running.made] == [False, False, True]
    finally:
        gc.enable()


def test_a_template_keeps_its_name_until_the_server_is_restarted(running: Running) -> None:
    """A volume of the name of a template that the file no longer has was made, and nobody could
    mount it: the template was still there, and found first."""
    template = TemplateConfig("scratch", MIB, MIB, 1, 60, 1, MIB, 60)
    running.volumes.templates[b"scratch"] = Template(
        template, TRUST, lambda config, _: running.make(config), running.volumes.named, lambda: 0.0
    )
    new = VolumeConfig(MIB, 1000, name="scratch")
    with pytest.raises(ConfigError, match="the name 'scratch' is that of scratch volumes until"):
        running.changes.reload(replace(CONFIG, volumes=(*CONFIG.volumes, new)))
    assert running.volumes.named.keys() == {b"", b"builds"}


def test_a_volume_that_the_file_no_longer_has_still_counts(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """It is there until the server is restarted, but its size was left out of the sum."""
    running.changes.reload(replace(CONFIG, volumes=CONFIG.volumes[:1]))
    assert caplog.messages == ["not reloaded"]
    for name, size in (("/", "1000MiB"), ("builds", "1000MiB")):
        with pytest.raises(ConfigError, match="bytes are more than"):
            running.resize(name, size)


LARGE = replace(CONFIG.volumes[1], size_bytes=800 * MIB)
SCRATCH = TemplateConfig("scratch", MIB, 800 * MIB, 1, 60, 1, MIB, 60)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (  # a volume that the file no longer has
            replace(CONFIG, volumes=(CONFIG.volumes[0], LARGE)),
            replace(CONFIG, volumes=(CONFIG.volumes[0], replace(LARGE, name="other"))),
        ),
        (  # another kind of memory
            replace(CONFIG, volumes=(CONFIG.volumes[0], LARGE)),
            volume(1, size_bytes=10 << 30, backing=Backing(Kind.FILE, "/tmp")),
        ),
        (  # less for scratch volumes
            replace(CONFIG, templates=(SCRATCH,)),
            replace(
                CONFIG,
                templates=(replace(SCRATCH, total_bytes_max=MIB),),
                volumes=(CONFIG.volumes[0], LARGE),
            ),
        ),
    ],
    ids=["volume", "kind of memory", "scratch volumes"],
)
def test_there_has_to_be_memory_for_what_will_be_in_force(
    old: Config, new: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """What takes a restart was counted as the file has it, and not as it stays: volumes came to
    more than the memory without anybody having allowed it."""
    running = Running(old)
    before = {name: running.limits(name) for name in running.volumes.named}
    with pytest.raises(ConfigError, match="bytes are more than"):
        running.changes.reload(new)
    assert {name: running.limits(name) for name in running.volumes.named} == before
    assert running.changes.config is old
    assert caplog.messages == []
    running.changes.reload(replace(new, overcommit=True))
    assert caplog.messages == ["not reloaded"]


def test_where_sizes_are_more_than_memory_a_volume_can_be_made_smaller() -> None:
    """It was refused as long as all were still more than the memory, which may have become less."""
    running = Running(replace(CONFIG, volumes=(CONFIG.volumes[0], LARGE)))
    running.memory_bytes = 256 * MIB
    running.resize("builds", "400MiB")
    assert running.limits(b"builds") == (400 * MIB, 5000)
    running.resize("builds", "400MiB", "6000")
    with pytest.raises(ConfigError, match="bytes are more than"):
        running.resize("builds", "401MiB")
    assert running.limits(b"builds") == (400 * MIB, 6000)


def test_read_only_is_changed_for_everybody(running: Running) -> None:
    running.changes.reload(volume(1, rules=Rules(read_only=True)))
    assert running.volumes.named[b"builds"].read_only
    assert running.calls == ["read only"]
    running.changes.reload(CONFIG)
    assert not running.volumes.named[b"builds"].read_only


@pytest.mark.parametrize(
    ("new", "fields"),
    [
        (replace(CONFIG, metrics=Address("127.0.0.1", 1)), ("setting", "metrics")),
        (replace(CONFIG, listen=(Address("127.0.0.1", 1),)), ("setting", "listen")),
        (replace(CONFIG, client_cache=True), ("setting", "client_cache")),
        (replace(CONFIG, volumes=CONFIG.volumes[:1]), ("volume", "builds")),
        (volume(1, rules=Rules(policy="enforce")), ("rules of volume", "builds")),
        (volume(1, backing=Backing(wipe=True)), ("memory of volume", "builds")),
    ],
    ids=lambda each: each[1] if isinstance(each, tuple) else "",
)
def test_what_takes_a_restart_is_said(
    running: Running, caplog: pytest.LogCaptureFixture, new: Config, fields: tuple[str, str]
) -> None:
    running.changes.reload(new)
    (record,) = caplog.records
    assert record.getMessage() == "not reloaded"
    assert (record.__dict__["fields"]["what"], record.__dict__["fields"]["name"]) == fields
    assert running.volumes.named.keys() == {b"", b"builds"}


@pytest.mark.parametrize(
    "new",
    [
        replace(CONFIG, client_cache=True),
        replace(CONFIG, volumes=CONFIG.volumes[:1]),
        volume(1, rules=Rules(policy="enforce")),
        volume(1, backing=Backing(wipe=True)),
    ],
)
def test_what_takes_a_restart_is_said_until_there_is_one(
    running: Running, caplog: pytest.LogCaptureFixture, new: Config
) -> None:
    """What was not reloaded counted as done: read again, the same file was said to be in force, and
    the one of before as what takes a restart."""
    running.changes.reload(new)
    running.changes.reload(new)
    assert caplog.messages == ["not reloaded"] * 2
    running.changes.reload(CONFIG)
    assert caplog.messages == ["not reloaded"] * 2


def test_what_is_as_it_was_is_not_mentioned(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ram9")
    running.changes.reload(replace(CONFIG, overcommit=True))
    assert caplog.messages == []
    assert running.changes.config.overcommit
