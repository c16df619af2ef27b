"""Configurations: what they ask for, and the one sentence with its line after a mistake."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ram9.server.config import (
    USUAL_PLACE,
    Address,
    Config,
    ConfigError,
    Rules,
    Squash,
    TemplateConfig,
    VolumeConfig,
)
from ram9.server.config_file import parse_config
from ram9.server.memory import MemoryLimit, require_memory
from ram9.server.toml_tables import CONFIG_BYTES_MAX, LINE_CHARACTERS_MAX
from ram9.storage.backing import Backing, Kind

GIB = 1 << 30
SCRATCH = """\
[[scratch]]
name = "scratch"
size-max = "1GiB"
total-max = "4GiB"
count-max = 10
ttl-max = "1h"
"""
ONE = '[[volume]]\nsize = "1MiB"\n'


def parsed(text: str) -> Config:
    """What *text* asks for on a machine with 2 GiB."""
    return parse_config(text, "ram9.toml", lambda: 2 * GIB)


def mistake(text: str) -> str:
    with pytest.raises(ConfigError) as refusal:
        parsed(text)
    sentence = str(refusal.value)
    assert "\n" not in sentence
    return sentence


def test_a_volume_is_all_that_is_needed() -> None:
    assert parsed('[[volume]]\nsize = "50%"') == Config(
        listen=(Address("127.0.0.1", 564),),
        volumes=(VolumeConfig(GIB, GIB // 4096, "", Rules()),),
        metrics=Address("127.0.0.1", 9564),
        control=USUAL_PLACE,
        log_level="info",
        log_format="text",
        client_cache=False,
        lock_wait_seconds=2,
        overcommit=False,
        path="ram9.toml",
    )


EVERYTHING = """
listen = ["0.0.0.0:5640", "unix:/run/ram9/socket"]
allow-remote = true
metrics = "none"
control = "unix:/c"
log-level = "debug"
log-format = "json"
client-cache = true
lock-wait = 5
keep-warm = 7
overcommit = true

[[volume]]
size = 1048576
inodes = 100

[[volume]]
name = "builds"
size = "3GiB"
inodes = "1M"
policy = "enforce"
squash = "root"
squash-uid = 1
squash-gid = 2
read-only = true
uid = 1000
gid = 100
mode = "0750"

[[volume]]
name = "public"
size = "1MiB"
squash = "all"
memory = "file"
path = "/var/tmp"
wipe = true

[[scratch]]
name = "scratch"
size-max = "2GiB"
total-max = "16GiB"
count-max = 100
ttl-max = "1d"
grace = "30s"
size = "1GiB"
ttl = 3600
policy = "enforce"
memory = "huge"

[[scratch]]
name = "small"
size-max = "1MiB"
total-max = "1MiB"
count-max = 1
ttl-max = 60
"""


def test_everything_can_be_said() -> None:
    assert parsed(EVERYTHING) == Config(
        listen=(Address("0.0.0.0", 5640), Address(path="/run/ram9/socket")),
        volumes=(
            VolumeConfig(1 << 20, 100),
            VolumeConfig(
                3 * GIB,
                1 << 20,
                "builds",
                Rules("enforce", Squash(1, 2), read_only=True, uid=1000, gid=100, mode=0o750),
            ),
            VolumeConfig(
                1 << 20,
                1024,
                "public",
                Rules(squash=Squash(65534, 65534, everybody=True)),
                Backing(Kind.FILE, "/var/tmp", wipe=True),
            ),
        ),
        metrics=None,
        control=Address(path="/c"),
        log_level="debug",
        log_format="json",
        client_cache=True,
        lock_wait_seconds=5,
        keep_warm_seconds=7,
        overcommit=True,
        path="ram9.toml",
        templates=(
            TemplateConfig(
                name="scratch",
                size_bytes_max=2 * GIB,
                total_bytes_max=16 * GIB,
                count_max=100,
                ttl_seconds_max=86400,
                grace_seconds=30,
                size_bytes=GIB,
                ttl_seconds=3600,
                rules=Rules("enforce"),
                backing=Backing(Kind.HUGE),
            ),
            TemplateConfig("small", 1 << 20, 1 << 20, 1, 60, 60, 1 << 20, 60),
        ),
    )
    assert len(fields(Config)) == 12, "say new ones above, too"


def test_one_address_needs_no_brackets() -> None:
    assert parsed('listen = "[::1]"\n' + ONE).listen == (Address("::1", 564),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "1: there is no [[volume]] and no [[scratch]]: nothing could be mounted"),
        ("volume = []", "1: there is no [[volume]] and no [[scratch]]: nothing could be mounted"),
        ("\nlisten =", "2: this is not TOML: Invalid value"),
        ("a = 1\na = 2\n", "2: this is not TOML: Cannot overwrite a value at column 6"),
        ("a = '\n'", "1: this is not TOML: Found invalid character '\\n' at column 6"),
        ("\ufeff" + ONE, "1: this is not TOML: Invalid statement at column 1"),
        (f"a = {'9' * 900}\n", "1: the configuration has no key 'a'"),
        (ONE + 'siez = "1MiB"', "3: [[volume]] has no key 'siez': is size meant?"),
        ("\nlisten = 1\n" + ONE, "2: listen must be a string or an array of strings"),
        ("listen = [\n'127.0.0.1',\n '::1']\n" + ONE, "3: address '::1' has more than one colon"),
        ("listen = ['::1']\n" + ONE, "1: address '::1' has more than one colon"),
        ("listen = ['[::1]', [2]]\n" + ONE, "1: listen must be a string or an array of strings"),
        (
            'listen = "0.0.0.0"\n' + ONE,
            "1: 0.0.0.0:564 can be reached from other hosts and 9P asks for no password: add "
            "allow-remote = true to serve everybody who can reach it, or listen on 127.0.0.1",
        ),
        ('listen = ["[::1]", "[::1]"]\n' + ONE, "1: address [::1]:564 is given twice"),
        ('metrics = "unix:/m"\n' + ONE, "1: metrics address 'unix:/m' must be HOST:PORT"),
        ("metrics = false\n" + ONE, "1: metrics must be a string, and is a boolean"),
        ('log-level = "loud"\n' + ONE, "1: log level 'loud' is not one of debug, info"),
        ("lock-wait = true\n" + ONE, "1: lock-wait must be an integer, and is a boolean"),
        ("lock-wait = -1\n" + ONE, "1: lock wait '-1' is not a whole number of seconds"),
        ("keep-warm = 1.5\n" + ONE, "1: keep-warm must be an integer, and is a float"),
        ("overcommit = 1\n" + ONE, "1: overcommit must be true or false, and is an integer"),
        ("client-cache = 'yes'\n" + ONE, "1: client-cache must be true or false, and is a string"),
        ("\n[volume]\nsize = 1", "2: volume must be tables, each with its name in two brackets"),
        ("volume = 3", "1: volume must be tables, each with its name in two brackets, and is an"),
        ("volume = [1]", "1: volume must be tables"),
        ("[[volume]]", "1: [[volume]] has no size"),
        ("\n[[volume]]\nname = 'a'", "2: [[volume]] has no size"),
        ("[[volume]]\nsize = 0", "2: size '0' must be more than 0"),
        ("[[volume]]\nsize = -1", "2: size '-1' must be more than 0"),
        ("[[volume]]\nsize = '-1GiB'", "2: size '-1GiB' must be more than 0"),
        ("[[volume]]\nsize = '0%'", "2: size '0%' must be more than 0"),
        ("[[volume]]\nsize = '200TiB'", "2: size '200TiB' is more than the largest possible"),
        ("[[volume]]\nsize = 1.5", "2: size must be a string or an integer, and is a float"),
        ("[[volume]]\nsize = 1979-05-27", "2: size must be a string or an integer, and is a date"),
        (f"[[volume]]\nsize = '{'1' * 300}'", "2: a text of 300 characters is too long"),
        (f"[[volume]]\nsize = 0x{'f' * 900}", "2: a text of 1084 characters is too long"),
        (ONE + "inodes = 0", "3: inodes '0' must be more than 0"),
        (ONE + "name = 'a/b'", "3: name 'a/b' is none for a volume"),
        (ONE + "name = '..'", "3: name '..' is none for a volume"),
        (ONE + "name = 'job?size'", "3: name 'job?size' is none for a volume"),
        (ONE + f"name = '{'a' * 65}'", "3: name 'aaaa"),
        (ONE + "name = 7", "3: name must be a string, and is an integer"),
        (ONE + "policy = 'none'", "3: policy 'none' is not one of trust, enforce"),
        (ONE + "squash = 'users'", "3: squash 'users' is not one of none, root, all"),
        (ONE + "squash-uid = 1", '3: squash-uid says nothing without squash = "root" or "all"'),
        (ONE + "squash = 'root'\nsquash-uid = 0", "4: squash-uid 0 would leave root what it is"),
        (ONE + "uid = -1", "3: -1 is no number of a user or a group: they go from 0 to 4294967294"),
        (ONE + "gid = 4294967295", "3: 4294967295 is no number of a user or a group"),
        (ONE + "mode = 755", "3: mode must be a string, and is an integer"),
        (ONE + "mode = '0888'", "3: mode '0888' is not one: write it in octal digits"),
        (ONE + "mode = '17777'", "3: mode '17777' is not one"),
        (ONE + "memory = 'swap'", "3: memory 'swap' is not one of pageable, locked, huge, file"),
        (ONE + "memory = 'file'", '1: memory = "file" has a path'),
        (ONE + "path = '/tmp'", '3: memory = "file" has a path'),
        (ONE + "memory = 'file'\npath = 'tmp'", "4: path 'tmp' is not absolute"),
        (ONE + "wipe = 'no'", "3: wipe must be true or false"),
        ("[[scratch]]", "1: [[scratch]] has no size-max"),
        (SCRATCH.replace("size-max = ", "size = "), "1: [[scratch]] has no size-max"),
        (SCRATCH.replace("total-max = ", "size = "), "1: [[scratch]] has no total-max"),
        (SCRATCH.replace("count-max = ", "size = "), "1: [[scratch]] has no count-max"),
        (SCRATCH.replace("ttl-max = ", "size = "), "1: [[scratch]] has no ttl-max"),
        (SCRATCH.replace("name = ", "mode = "), "1: [[scratch]] has no name"),
        (SCRATCH.replace('"scratch"', '""'), "2: a template needs a name"),
        (SCRATCH.replace("4GiB", "512MiB"), "4: total-max is less than size-max"),
        (SCRATCH.replace("= 10", "= 0"), "5: 0 is not from 1 to 10000 volumes"),
        (SCRATCH.replace("= 10", "= 10001"), "5: 10001 is not from 1 to 10000 volumes"),
        (SCRATCH.replace("= 10", "= '10'"), "5: count-max must be an integer, and is a string"),
        (SCRATCH.replace("1h", "1y"), "6: ttl-max '1y' is no time: write it as 30s, 5m, 1h"),
        (SCRATCH.replace("1h", "0"), "6: ttl-max '0' is not from 1 second to 315360000 seconds"),
        (SCRATCH + "grace = 0", "7: grace '0' is not from 1 second"),
        (SCRATCH + "ttl = '2h'", "7: ttl is more than ttl-max"),
        (SCRATCH + "size = '2GiB'", "7: size is more than size-max"),
        (SCRATCH + "inodes = 5", "7: [[scratch]] has no key 'inodes'"),
        (SCRATCH + SCRATCH, "8: two volumes have the name 'scratch': the first is on line 2"),
        (
            SCRATCH + ONE + "name = 'scratch'",
            "2: two volumes have the name 'scratch': the first is on line 9",
        ),
        (ONE + "\n" + ONE, "4: two volumes have no name: the first is on line 1"),
        (
            ONE + "name = 'a'\n" + ONE + ONE + "name = 'a'\n",
            "8: two volumes have the name 'a': the first is on line 3",
        ),
        (
            "[[volume]]\nsize = '100TiB'\n[[volume]]\nname = 'a'\nsize = '100TiB'",
            "5: the volumes up to this one come to more than the largest size, 128TiB",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, sentence: str) -> None:
    assert mistake(text).startswith(f"ram9.toml:{sentence}")


def test_a_share_of_memory_that_nobody_knows_is_refused_with_its_line() -> None:
    def unreadable() -> int:
        raise ConfigError("cannot tell how much memory this process may use")

    with pytest.raises(ConfigError, match=r"^ram9\.toml:2: cannot tell how much memory"):
        parse_config('[[volume]]\nsize = "50%"', "ram9.toml", unreadable)
    assert parse_config(ONE, "ram9.toml", unreadable).memory_bytes == 1 << 20


@pytest.mark.parametrize("opening", ["[", "{a=", "[{a="])
def test_what_is_nested_deeply_is_refused(opening: str) -> None:
    text = "a = " + "\n".join(opening * 100 for _ in range(200))
    assert mistake(text).startswith("ram9.toml:")


def test_a_key_of_many_parts_takes_no_time() -> None:
    """tomllib takes time that grows with the square of them: half a million took hours."""
    assert mistake("a" + ".a" * 250_000 + " = 1") == (
        f"ram9.toml: is larger than {CONFIG_BYTES_MAX} bytes"
    )
    assert mistake("\n" + "a" + ".a" * 1000 + " = 1") == (
        f"ram9.toml:2: the line is longer than {LINE_CHARACTERS_MAX} characters"
    )
    assert mistake("\n".join(f"a{n}" + ".a" * 500 + " = 1" for n in range(40))).startswith(
        "ram9.toml:1: the configuration has no key 'a0'"
    )


def test_sizes_beyond_the_memory_are_refused_with_the_arithmetic() -> None:
    config = parsed(ONE + "[[volume]]\nname = 'builds'\nsize = '2GiB'")
    require_memory(config, MemoryLimit(config.memory_bytes, "/proc/meminfo"))
    with pytest.raises(ConfigError) as refusal:
        require_memory(config, MemoryLimit(config.memory_bytes - 1, "/proc/meminfo"))
    assert str(refusal.value) == (
        "ram9.toml: the sizes 2147483648 (builds) + 1048576 (the one without a name) = "
        "2148532224 bytes are more than the 2148532223 that this process may use, as "
        "/proc/meminfo says: choose smaller ones, or write overcommit = true"
    )


def test_what_lies_in_a_file_may_be_larger_than_the_memory() -> None:
    config = parsed(ONE + "name = 'a'\nmemory = 'file'\npath = '/tmp'\n" + ONE)
    require_memory(config, MemoryLimit(1 << 20, "/proc/meminfo"))


def test_all_that_a_template_can_have_counts() -> None:
    with pytest.raises(ConfigError) as refusal:
        require_memory(parsed(SCRATCH + ONE), MemoryLimit(4 * GIB, "/proc/meminfo"))
    assert "4294967296 (all of scratch) + 1048576 (the one without a name)" in str(refusal.value)


def test_many_volumes_are_summed_up() -> None:
    text = "".join(f"{ONE}name = 'v{number}'\n" for number in range(100))
    with pytest.raises(ConfigError) as refusal:
        require_memory(parsed(text), MemoryLimit(1, "/proc/meminfo"))
    assert f"+ {92 << 20} (92 others) = {100 << 20} bytes" in str(refusal.value)


def test_overcommitting_can_be_wanted() -> None:
    require_memory(parsed("overcommit = true\n" + ONE), MemoryLimit(1, "/proc/meminfo"))


@given(st.text() | st.text("[]{}=,.'\"\n#ab1 "))
def test_whatever_it_is_it_is_refused_in_one_line(text: str) -> None:
    assert mistake(text + "\nnothing = 1").startswith("ram9.toml:")


WORDS = st.sampled_from(
    ["size", "name", "uid", "mode", "squash", "listen", "volume", "lock-wait", "overcommit", "x"]
)
VALUES = st.sampled_from(["1", '"a"', '"1MiB"', "true", "[]", "[1]", "{}", "1.5", "{a=1}", "[[]]"])


@given(st.lists(st.tuples(WORDS, VALUES).map(" = ".join) | st.just("[[volume]]"), max_size=8))
def test_any_mixture_is_a_config_or_one_sentence(rows: list[str]) -> None:
    try:
        config = parsed("\n".join(rows))
    except ConfigError as refusal:
        sentence = str(refusal)
    else:
        assert config.volumes
        return
    assert sentence.startswith("ram9.toml:")
    assert "\n" not in sentence
