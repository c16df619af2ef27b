"""Templates: what can be asked of them, and when their volumes end."""

import pytest

from ram9.server.config import ConfigError, TemplateConfig, VolumeConfig
from ram9.server.scratch import (
    NOBODY_CAME_BACK,
    QUERY_BYTES_MAX,
    SIZE_BYTES_MIN,
    TIME_IS_UP,
    Asked,
    Template,
    asked_for,
)
from ram9.server.volumes import TRUST, AttachError, Lease, Policy, Volume
from ram9.storage.errors import Errno
from ram9.storage.filesystem import FileSystem
from ram9.storage.limits import Limits

MIB = 1 << 20
HOUR = 3600
CONFIG = TemplateConfig(
    name="scratch",
    size_bytes_max=4 * MIB,
    total_bytes_max=10 * MIB,
    count_max=5,
    ttl_seconds_max=HOUR,
    grace_seconds=30,
    size_bytes=MIB,
    ttl_seconds=600,
)


class Scratch:
    """A template, its clock, and the configurations of what was made."""

    def __init__(self, config: TemplateConfig = CONFIG) -> None:
        self.now = 1000.0
        self.made: list[VolumeConfig] = []
        self.named: dict[bytes, Volume] = {}
        self.template = Template(config, TRUST, self._make, self.named, lambda: self.now)

    def _make(self, config: VolumeConfig, policy: Policy) -> Volume:
        self.made.append(config)
        filesystem = FileSystem(Limits(config.size_bytes, config.inodes), lambda: 0)
        return Volume(config.name.encode(), filesystem, policy)

    def open(self, name: bytes, query: bytes | None = None) -> Volume:
        return self.template.place([b"scratch", name], query).open()

    def use(self, name: bytes, query: bytes | None = None) -> tuple[Volume, Lease]:
        volume = self.open(name, query)
        assert volume.tenure is not None
        return volume, Lease(volume.tenure, 1)

    def refusal(self, name: bytes, query: bytes | None = None) -> tuple[Errno, str]:
        made = len(self.made)
        with pytest.raises(AttachError) as refused:
            self.open(name, query)
        assert len(self.made) == made
        return refused.value.errno, refused.value.reason

    def sweep(self) -> list[tuple[bytes, str]]:
        ended = []
        while (over := self.template.over()) is not None:
            self.template.end(over.volume)
            ended.append((over.volume.name, over.reason))
        return ended


@pytest.fixture
def scratch() -> Scratch:
    return Scratch()


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        (None, Asked(None, None)),
        (b"size=2GiB", Asked(2 << 30, None)),
        (b"ttl=1h", Asked(None, HOUR)),
        (b"size=1048576&ttl=90", Asked(MIB, 90)),
        (b"ttl=2d&size=512M", Asked(512 * MIB, 2 * 86400)),
    ],
)
def test_parameters_are_sizes_and_times(query: bytes | None, asked: Asked) -> None:
    assert asked_for(query) == asked


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"", "parameter '' is none: write size=SIZE and ttl=TIME, each once"),
        (b"size", "parameter 'size' is none"),
        (b"size=1M&", "parameter '' is none"),
        (b"size=1M&size=1M", "parameter 'size=1M' is none"),
        (b"SIZE=1M", "parameter 'SIZE=1M' is none"),
        (b"mode=0777", "parameter 'mode=0777' is none"),
        (b"size=1M?ttl=1", "size '1M?ttl=1' is not a size"),
        (b"size=", "size '' is not a size"),
        (b"size=0", "size '0' must be more than 0"),
        (b"size=-1M", "size '-1M' must be more than 0"),
        (b"size=50%", "a size that is a share of the memory is for the configuration alone"),
        (b"size=999TiB", "size '999TiB' is more than the largest possible size"),
        (b"size=1e9", "size '1e9' is not a size"),
        (b"ttl=0", "ttl '0' is not from 1 second to"),
        (b"ttl=", "ttl '' is no time"),
        (b"ttl=-1", "ttl '-1' is no time"),
        (b"ttl=1y", "ttl '1y' is no time"),
        (b"ttl=99999999999999999999d", "ttl '99999999999999999999d' is not from 1 second"),
        ("ttl=\u0663s".encode(), "ttl '\\\\xd9\\\\xa3s' is no time"),
        (b"\xff\0\n", "parameter '\\\\xff\\x00\\n' is none"),
        (b"size=" + b"1" * QUERY_BYTES_MAX, "parameters of more than 256 bytes"),
    ],
)
def test_what_means_nothing_is_refused(query: bytes, reason: str) -> None:
    with pytest.raises(AttachError) as refused:
        asked_for(query)
    assert refused.value.errno is Errno.ENOENT
    assert refused.value.reason.startswith(reason)


def test_the_first_who_names_it_makes_it_and_the_others_share_it(scratch: Scratch) -> None:
    first = scratch.open(b"job-42", b"size=2MiB&ttl=1h")
    assert scratch.made == [VolumeConfig(2 * MIB, 1024, "scratch/job-42")]
    for query in (None, b"size=2MiB", b"ttl=3600", b"size=2097152&ttl=60m"):
        assert scratch.open(b"job-42", query) is first
    assert len(scratch.made) == 1


def test_who_does_not_ask_gets_what_is_usual(scratch: Scratch) -> None:
    volume = scratch.open(b"job")
    assert volume.tenure is not None
    assert (volume.tenure.size_bytes, volume.tenure.ttl_seconds) == (MIB, 600)


def test_a_volume_with_other_words_is_not_shared(scratch: Scratch) -> None:
    scratch.open(b"job", b"size=2MiB")
    assert scratch.refusal(b"job", b"size=3MiB") == (
        Errno.EPERM,
        f"it was made with size {2 * MIB} and not {3 * MIB}",
    )
    assert scratch.refusal(b"job", b"ttl=1h") == (
        Errno.EPERM,
        "it was made with ttl 600 and not 3600",
    )
    assert scratch.refusal(b"job", b"size")[0] is Errno.ENOENT


@pytest.mark.parametrize("name", [b"..", b"a b", b"a?b", b"-a", b".a", b"a" * 65, b"\xff", b"a\n"])
def test_names_are_those_of_volumes(scratch: Scratch, name: bytes) -> None:
    errno, reason = scratch.refusal(name)
    assert errno is Errno.ENOENT
    assert "is none for a volume" in reason


def test_a_template_is_no_volume(scratch: Scratch) -> None:
    with pytest.raises(AttachError) as refused:
        scratch.template.place([b"scratch"], None)
    assert refused.value.errno is Errno.ENOENT
    assert refused.value.reason == "say which: scratch/NAME"


def test_directories_are_in_volumes_that_are_there(scratch: Scratch) -> None:
    with pytest.raises(AttachError) as refused:
        scratch.template.place([b"scratch", b"job", b"directory"], None)
    assert refused.value.errno is Errno.ENOENT
    scratch.open(b"job")
    assert scratch.template.place([b"scratch", b"job", b"a", b"b"], None).way == [b"a", b"b"]


@pytest.mark.parametrize(
    ("query", "errno", "reason"),
    [
        (b"size=5MiB", Errno.EPERM, f"size {5 * MIB} is more than size-max {4 * MIB}"),
        (b"size=4095", Errno.EPERM, f"size 4095 is less than {SIZE_BYTES_MIN}"),
        (b"ttl=3601", Errno.EPERM, "ttl 3601 is more than ttl-max 3600"),
    ],
)
def test_who_asks_beyond_a_bound_is_told_which(
    scratch: Scratch, query: bytes, errno: Errno, reason: str
) -> None:
    assert scratch.refusal(b"job", query) == (errno, reason)
    scratch.open(b"most", b"size=4MiB&ttl=1h")
    scratch.open(b"least", b"size=4096&ttl=1")


def test_all_together_stay_within_the_total(scratch: Scratch) -> None:
    for number in range(2):
        scratch.open(b"job%d" % number, b"size=4MiB")
    assert scratch.refusal(b"more", b"size=3MiB") == (
        Errno.ENOSPC,
        f"size {3 * MIB} is more than the {2 * MIB} that are left of total-max {10 * MIB}",
    )
    scratch.open(b"last", b"size=2MiB")
    assert scratch.template.total_bytes == 10 * MIB
    assert scratch.refusal(b"none", b"size=4096")[0] is Errno.ENOSPC


def test_there_are_only_so_many(scratch: Scratch) -> None:
    for number in range(5):
        scratch.open(b"job%d" % number)
    assert scratch.refusal(b"more") == (Errno.ENOSPC, "there are count-max 5 already")
    scratch.open(b"job3")


def test_what_has_ended_counts_until_it_is_gone(scratch: Scratch) -> None:
    volume, lease = scratch.use(b"job", b"size=4MiB")
    del lease
    scratch.now += 31
    scratch.sweep()
    assert (scratch.template.count, scratch.template.total_bytes) == (1, 4 * MIB)
    assert volume.tenure is not None
    scratch.template.forget(volume.tenure)
    assert (scratch.template.count, scratch.template.total_bytes) == (0, 0)


def test_a_volume_that_cannot_be_made_counts_nothing(scratch: Scratch) -> None:
    def fail(config: VolumeConfig, _policy: Policy) -> Volume:
        raise ConfigError(f"no memory for {config.name}")

    scratch.template._make = fail
    assert scratch.refusal(b"job") == (Errno.ENOMEM, "no memory for scratch/job")
    assert (scratch.template.count, scratch.template.total_bytes) == (0, 0)
    assert not list(scratch.template)


def test_a_volume_ends_a_grace_after_the_last_has_gone(scratch: Scratch) -> None:
    volume, first = scratch.use(b"job")
    _, second = scratch.use(b"job")
    del first
    scratch.now += 100
    assert scratch.sweep() == []
    del second
    scratch.now += 29
    assert scratch.sweep() == []
    scratch.now += 1
    assert scratch.sweep() == [(b"scratch/job", NOBODY_CAME_BACK)]
    assert volume.has_ended
    assert scratch.named == {}
    assert scratch.open(b"job") is not volume


def test_who_comes_back_within_the_grace_finds_it(scratch: Scratch) -> None:
    volume, lease = scratch.use(b"job")
    del lease
    scratch.now += 29
    again, lease = scratch.use(b"job")
    assert again is volume
    scratch.now += 100
    assert scratch.sweep() == []
    del lease


def test_a_volume_ends_when_its_time_is_up_whoever_uses_it(scratch: Scratch) -> None:
    _, lease = scratch.use(b"job", b"ttl=100")
    _, other = scratch.use(b"other", b"ttl=101")
    scratch.now += 100
    assert scratch.sweep() == [(b"scratch/job", TIME_IS_UP)]
    del lease
    scratch.now += 1
    del other
    assert scratch.sweep() == [(b"scratch/other", TIME_IS_UP)]
    assert not scratch.template._idle
    assert scratch.sweep() == []


def test_each_ends_once(scratch: Scratch) -> None:
    """Nobody uses it, and its time is up, at one time."""
    _, lease = scratch.use(b"job", b"ttl=30")
    del lease
    scratch.now += 30
    assert scratch.sweep() == [(b"scratch/job", TIME_IS_UP)]


def test_those_that_nobody_uses_end_in_the_order_in_which_that_began(scratch: Scratch) -> None:
    leases = {name: scratch.use(name)[1] for name in (b"a", b"b", b"c")}
    for name in (b"b", b"c", b"a"):
        del leases[name]
        scratch.now += 10
    scratch.now += 10
    assert [name for name, _ in scratch.sweep()] == [b"scratch/b", b"scratch/c"]


def test_what_is_gone_leaves_nothing_behind(scratch: Scratch) -> None:
    """Volumes come and go long before their time is up."""
    kept, lease = scratch.use(b"kept")
    for _ in range(2000):
        volume, other = scratch.use(b"job")
        del other
        scratch.now += 30
        scratch.sweep()
        assert volume.tenure is not None
        scratch.template.forget(volume.tenure)
        scratch.now -= 30
    assert len(scratch.template._deadlines) <= 2 * 1 + 65
    assert list(scratch.template) == [kept]
    scratch.now += 600
    assert scratch.sweep() == [(b"scratch/kept", TIME_IS_UP)]
    del lease
