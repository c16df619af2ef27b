"""The words of the options: what each stands for, and the sentence that refuses it."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ram9.server.config import (
    INODES_MAX,
    LOG_LEVELS,
    SIZE_BYTES_MAX,
    Address,
    ConfigError,
    default_inodes,
    parse_address,
    parse_inodes,
    parse_keep_warm,
    parse_lock_wait,
    parse_metrics,
    parse_size,
    require_distinct,
    require_local,
    require_one_of,
)

GIB = 1 << 30


def refusal(parse: Callable[..., object], *arguments: object) -> str:
    """The sentence with which *parse* refuses *arguments*."""
    with pytest.raises(ConfigError) as caught:
        parse(*arguments)
    return str(caught.value)


def unasked() -> int:
    raise AssertionError("the memory is asked for although the size is no percentage")


@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("127.0.0.1:5640", Address("127.0.0.1", 5640), "127.0.0.1:5640"),
        ("127.0.0.1", Address("127.0.0.1", 564), "127.0.0.1:564"),
        ("127.0.0.1:0", Address("127.0.0.1", 0), "127.0.0.1:0"),
        ("LocalHost:65535", Address("localhost", 65535), "localhost:65535"),
        ("a-b.example.net", Address("a-b.example.net", 564), "a-b.example.net:564"),
        ("[::1]:5640", Address("::1", 5640), "[::1]:5640"),
        ("[::1]", Address("::1", 564), "[::1]:564"),
        ("[0:0::0001]", Address("::1", 564), "[::1]:564"),
        ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1), "[fe80::1%eth0]:1"),
        ("unix:/run/ram9/socket", Address(path="/run/ram9/socket"), "unix:/run/ram9/socket"),
        ("unix:/" + "a" * 106, Address(path="/" + "a" * 106), "unix:/" + "a" * 106),
    ],
)
def test_an_address_has_one_canonical_text(text: str, address: Address, canonical: str) -> None:
    assert parse_address(text, 564) == address
    assert str(address) == canonical


ports = st.integers(0, 65535)
labels = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.ip_addresses().map(str), st.lists(labels, min_size=1, max_size=4).map(".".join)
)
paths = (
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
    .map(lambda name: f"/{name}")
    .filter(lambda path: len(path.encode()) < 108 and not path.endswith("/"))
)
addresses = st.one_of(st.builds(Address, hosts, ports), st.builds(Address, path=paths))


@settings(deadline=None)
@given(addresses)
def test_the_text_of_an_address_reads_back_as_that_address(address: Address) -> None:
    assert parse_address(str(address), 1) == address


@settings(deadline=None)
@given(st.text())
@example("[::1%25eth0]:1")
@example("unix:/a b")
@example("1:²")
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text, 564)
    except ConfigError:
        return
    assert parse_address(str(address), 1) == address


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "::1",
            "address '::1' has more than one colon: write an IPv6 address in brackets, "
            "such as [::1] or [::1]:564",
        ),
        (
            "1:2:3",
            "address '1:2:3' has more than one colon: write an IPv6 address in brackets, "
            "such as [::1] or [::1]:564",
        ),
        ("", "address '' names no host: write 0.0.0.0 for every IPv4 address"),
        (":564", "address ':564' names no host: write 0.0.0.0 for every IPv4 address"),
        ("a b", "address 'a b' has a host that is neither a name nor an IPv4 address"),
        ("a\nb", "address 'a\\nb' has a host that is neither a name nor an IPv4 address"),
        ("a..b", "address 'a..b' has a host that is neither a name nor an IPv4 address"),
        ("256.0.0.1", "address '256.0.0.1' has a host that is neither a name nor an IPv4 address"),
        ("127.1", "address '127.1' has a host that is neither a name nor an IPv4 address"),
        ("a:", "address 'a:' has a port that is not a number from 0 to 65535"),
        ("a:65536", "address 'a:65536' has a port that is not a number from 0 to 65535"),
        ("a:-1", "address 'a:-1' has a port that is not a number from 0 to 65535"),
        ("a:http", "address 'a:http' has a port that is not a number from 0 to 65535"),
        ("[::1]:", "address '[::1]:' has a port that is not a number from 0 to 65535"),
        ("[::1", "address '[::1' is not of the form [IPV6]:PORT"),
        ("[::1]564", "address '[::1]564' is not of the form [IPV6]:PORT"),
        ("[]:564", "address '[]:564' has no IPv6 address in its brackets"),
        ("[127.0.0.1]", "address '[127.0.0.1]' has no IPv6 address in its brackets"),
        ("[::1%e h]", "address '[::1%e h]' has no IPv6 address in its brackets"),
        (
            "unix:socket",
            "address 'unix:socket' needs an absolute path, such as unix:/run/ram9/socket",
        ),
        ("unix:", "address 'unix:' needs an absolute path, such as unix:/run/ram9/socket"),
        ("unix:/run/", "address 'unix:/run/' ends in a slash: it must name a socket"),
        ("unix:/a\0b", "address 'unix:/a\\x00b' has a zero byte in its path"),
        (
            f"unix:/{'a' * 107}",
            f"address 'unix:/{'a' * 107}' has a path of 108 bytes: a unix socket allows 107",
        ),
        (
            f"unix:/{'é' * 54}",
            f"address 'unix:/{'é' * 54}' has a path of 109 bytes: a unix socket allows 107",
        ),
    ],
)
def test_a_wrong_address_is_refused(text: str, sentence: str) -> None:
    assert refusal(parse_address, text, 564) == sentence


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.8.9.10:1", "[::1]", "localhost", "unix:/run/ram9/socket"]
)
def test_an_address_that_only_this_host_reaches_is_local(text: str) -> None:
    address = parse_address(text, 564)
    assert address.is_local
    require_local([address])


@pytest.mark.parametrize(
    "text", ["0.0.0.0", "[::]", "10.0.0.1", "example.net", "localhost.example.net", "[fe80::1%lo]"]
)
def test_an_address_that_others_may_reach_needs_permission(text: str) -> None:
    address = parse_address(text, 564)
    assert refusal(require_local, [Address(path="/a"), address]) == (
        f"{address} can be reached from other hosts and 9P asks for no password: "
        "add --allow-remote to serve everybody who can reach it, or listen on 127.0.0.1"
    )


def test_metrics_may_be_off() -> None:
    assert parse_metrics("none") is None


def test_metrics_have_a_port_of_their_own() -> None:
    assert parse_metrics("0.0.0.0") == Address("0.0.0.0", 9564)


def test_metrics_on_a_unix_socket_are_refused() -> None:
    assert refusal(parse_metrics, "unix:/run/metrics") == (
        "metrics address 'unix:/run/metrics' must be HOST:PORT: Prometheus asks over TCP"
    )


@pytest.mark.parametrize("text", ["127.0.0.1:564", "unix:/run/ram9/socket"])
def test_the_same_place_twice_is_refused(text: str) -> None:
    address = parse_address(text, 564)
    other = Address("127.0.0.1", 565)
    assert refusal(require_distinct, [address, other, address]) == f"address {text} is given twice"


def test_port_0_is_a_new_place_each_time() -> None:
    require_distinct([Address("127.0.0.1", 0), Address("127.0.0.1", 0)])


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1", 1),
        ("1048576", 1 << 20),
        ("512B", 512),
        ("4GiB", 4 << 30),
        ("4gib", 4 << 30),
        ("512M", 512 << 20),
        ("512MiB", 512 << 20),
        ("512MB", 512_000_000),
        ("1K", 1024),
        ("1k", 1024),
        ("1kB", 1000),
        ("2T", 2 << 40),
        ("2TB", 2 * 10**12),
        ("1.5G", 3 << 29),
        ("0.3K", 307),
        ("128TiB", SIZE_BYTES_MAX),
    ],
)
def test_a_size_has_a_unit(text: str, size_bytes: int) -> None:
    assert parse_size(text, unasked) == size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("50%", GIB // 2), ("100%", GIB), ("12.5%", GIB // 8), ("1%", 10737418)],
)
def test_a_percentage_is_of_the_memory(text: str, size_bytes: int) -> None:
    assert parse_size(text, lambda: GIB) == size_bytes


@settings(deadline=None)
@given(st.integers(1, SIZE_BYTES_MAX))
def test_every_possible_size_can_be_given_in_bytes(size_bytes: int) -> None:
    assert parse_size(str(size_bytes), unasked) == size_bytes


@settings(deadline=None)
@given(st.integers(1, 1 << 27), st.sampled_from("KMGT"))
def test_a_letter_and_its_binary_unit_mean_the_same(number: int, letter: str) -> None:
    try:
        size_bytes = parse_size(f"{number}{letter}", unasked)
    except ConfigError:
        assert number * 1024 ** (" KMGT".index(letter)) > SIZE_BYTES_MAX
    else:
        assert size_bytes == parse_size(f"{number}{letter}iB", unasked)
        assert size_bytes == number * 1024 ** (" KMGT".index(letter))


@settings(deadline=None)
@given(st.text())
@example("٣")
@example("1e3")
@example("9" * 5000)
def test_any_text_is_a_possible_size_or_refused(text: str) -> None:
    try:
        size_bytes = parse_size(text, lambda: GIB)
    except ConfigError:
        return
    assert 0 < size_bytes <= SIZE_BYTES_MAX


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *(
            (text, f"size {text!r} is not a size: write it as 4GiB, 512M, 50% or in bytes")
            for text in ("", "lots", "4 GiB", "4XB", "4%%", "G", "%", "0x10", "1_000", "+1", "nan")
        ),
        *((text, f"size {text!r} must be more than 0") for text in ("0", "0G", "0%", "-5G", "-1")),
        ("0.0001K", "size '0.0001K' is less than one byte"),
        ("101%", "size '101%' is more than 100% of the memory"),
        ("100.1%", "size '100.1%' is more than 100% of the memory"),
        ("129T", "size '129T' is more than the largest possible size, 128TiB"),
        (
            str(SIZE_BYTES_MAX + 1),
            "size '140737488355329' is more than the largest possible size, 128TiB",
        ),
    ],
)
def test_a_wrong_size_is_refused(text: str, sentence: str) -> None:
    assert refusal(parse_size, text, lambda: GIB) == sentence


@pytest.mark.parametrize(
    ("text", "inodes"),
    [
        ("1", 1),
        ("100000", 100000),
        ("100k", 102400),
        ("1K", 1024),
        ("1M", 1 << 20),
        ("2m", 2 << 20),
    ],
)
def test_inodes_have_a_suffix(text: str, inodes: int) -> None:
    assert parse_inodes(text) == inodes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *(
            (text, f"inodes {text!r} is not a number: write it as 100000, 100k or 1M")
            for text in ("", "many", "1.5k", "1G", "1kb", "50%")
        ),
        ("0", "inodes '0' must be more than 0"),
        ("-1", "inodes '-1' must be more than 0"),
        (
            str(INODES_MAX + 1),
            "inodes '34359738369' is more than the largest possible number, 34359738368",
        ),
    ],
)
def test_a_wrong_number_of_inodes_is_refused(text: str, sentence: str) -> None:
    assert refusal(parse_inodes, text) == sentence


@pytest.mark.parametrize(
    ("size_bytes", "inodes"),
    [(1, 1024), (4 << 20, 1024), ((4 << 20) + 4096, 1025), (GIB, 262144)],
)
def test_there_is_an_inode_for_each_page_and_at_least_1024(size_bytes: int, inodes: int) -> None:
    assert default_inodes(size_bytes) == inodes


def test_the_largest_size_has_as_many_inodes_as_may_be_given() -> None:
    assert default_inodes(SIZE_BYTES_MAX) == parse_inodes(str(INODES_MAX))


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("2", 2), ("3600", 3600)])
def test_a_wait_for_locks_is_in_seconds(text: str, seconds: int) -> None:
    assert parse_lock_wait(text) == seconds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *(
            (text, f"lock wait {text!r} is not a whole number of seconds")
            for text in ("", "-1", "1.5", "2s", "for ever", "1" * 21)
        ),
        ("3601", "lock wait '3601' is more than the largest possible, 3600 seconds"),
    ],
)
def test_a_wrong_wait_for_locks_is_refused(text: str, sentence: str) -> None:
    assert refusal(parse_lock_wait, text) == sentence


def test_freed_memory_is_kept_for_so_many_seconds() -> None:
    assert parse_keep_warm("30") == 30
    assert refusal(parse_keep_warm, "3601") == (
        "keep warm '3601' is more than the largest possible, 3600 seconds"
    )


def test_a_choice_is_one_of_its_words() -> None:
    assert require_one_of("log level", "info", LOG_LEVELS) == "info"
    assert refusal(require_one_of, "log level", "INFO", LOG_LEVELS) == (
        "log level 'INFO' is not one of debug, info, warning, error"
    )
