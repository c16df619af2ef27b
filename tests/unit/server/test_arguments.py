"""Command lines: what they ask for, and the one sentence after a mistake."""

import pytest

from ram9.server.arguments import AskResize, AskStatus, Ping, parse_arguments
from ram9.server.config import USUAL_PLACE, Address, Config, ConfigError, Rules, VolumeConfig
from ram9.server.version import VERSION

GIB = 1 << 30


def parsed(line: str) -> Config | Ping:
    """What *line* asks for on a machine with 2 GiB."""
    return parse_arguments(line.split(), lambda: 2 * GIB)


def served(line: str) -> Config:
    config = parsed(f"serve {line}")
    assert isinstance(config, Config)
    return config


def test_serve_has_a_default_for_everything() -> None:
    assert served("") == Config(
        listen=(Address("127.0.0.1", 564),),
        volumes=(VolumeConfig(GIB, GIB // 4096),),
        metrics=Address("127.0.0.1", 9564),
        control=USUAL_PLACE,
        log_level="info",
        log_format="text",
        client_cache=False,
    )


def test_serve_takes_every_option() -> None:
    line = (
        "--listen 127.0.0.1:5640 --listen unix:/run/ram9/socket --size 512M --inodes 1M "
        "--metrics 0.0.0.0:9999 --control unix:/c --log-level debug --log-format json "
        "--client-cache --lock-wait 5 "
        "--keep-warm 7 --policy enforce"
    )
    assert served(line) == Config(
        listen=(Address("127.0.0.1", 5640), Address(path="/run/ram9/socket")),
        volumes=(VolumeConfig(512 << 20, 1 << 20, rules=Rules(policy="enforce")),),
        metrics=Address("0.0.0.0", 9999),
        control=Address(path="/c"),
        log_level="debug",
        log_format="json",
        client_cache=True,
        lock_wait_seconds=5,
        keep_warm_seconds=7,
    )


def test_control_can_be_off() -> None:
    assert served("--control none").control is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("status", AskStatus(None, is_json=False)),
        ("status --json --control unix:/c", AskStatus(Address(path="/c"), is_json=True)),
        ("resize / 8GiB", AskResize(None, "/", "8GiB", None)),
        (
            "resize builds 20% --inodes 2M --control unix:/c",
            AskResize(Address(path="/c"), "builds", "20%", "2M"),
        ),
    ],
)
def test_what_is_asked_of_a_server_that_runs(line: str, expected: object) -> None:
    assert parse_arguments(line.split(), lambda: 0) == expected


def test_metrics_can_be_off() -> None:
    assert served("--metrics none").metrics is None


def test_inodes_follow_the_size() -> None:
    assert served("--size 64M").volumes[0].inodes == 16384


def test_remote_addresses_can_be_allowed() -> None:
    assert served("--listen 0.0.0.0 --allow-remote").listen == (Address("0.0.0.0", 564),)


def test_memory_is_not_asked_for_a_size_in_bytes() -> None:
    def unreadable() -> int:
        raise AssertionError

    config = parse_arguments(["serve", "--size", "1GiB"], unreadable)
    assert isinstance(config, Config)
    assert config.memory_bytes == GIB


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("", Address("127.0.0.1", 564)),
        ("[::1]:5640", Address("::1", 5640)),
        ("ram.example.net", Address("ram.example.net", 564)),
        ("unix:/run/ram9/socket", Address(path="/run/ram9/socket")),
    ],
)
def test_ping_has_an_address(line: str, address: Address) -> None:
    assert parsed(f"ping {line}") == Ping(address)


@pytest.mark.parametrize(
    ("line", "sentence", "hint"),
    [
        ("", "say what to do, such as ram9 serve or ram9 ping", "ram9"),
        ("--frobnicate serve", "unrecognized arguments: --frobnicate", "ram9"),
        ("serve --frobnicate", "unrecognized arguments: --frobnicate", "ram9"),
        ("serve --siz 1G", "unrecognized arguments: --siz 1G", "ram9"),
        ("serve --size", "argument --size: expected one argument", "ram9 serve"),
        ("serve --size 0", "size '0' must be more than 0", "ram9 serve"),
        ("serve --size=-5G", "size '-5G' must be more than 0", "ram9 serve"),
        (
            "serve --size lots",
            "size 'lots' is not a size: write it as 4GiB, 512M, 50% or in bytes",
            "ram9 serve",
        ),
        (
            "serve --lock-wait=-1",
            "lock wait '-1' is not a whole number of seconds",
            "ram9 serve",
        ),
        (
            "serve --inodes many",
            "inodes 'many' is not a number: write it as 100000, 100k or 1M",
            "ram9 serve",
        ),
        (
            "serve --listen ::1",
            "address '::1' has more than one colon: write an IPv6 address in brackets, "
            "such as [::1] or [::1]:564",
            "ram9 serve",
        ),
        (
            "serve --listen 127.0.0.1 --listen 127.0.0.1:564",
            "address 127.0.0.1:564 is given twice",
            "ram9 serve",
        ),
        (
            "serve --listen 127.0.0.1:9564",
            "address 127.0.0.1:9564 is given twice",
            "ram9 serve",
        ),
        (
            "serve --listen 127.0.0.1 --listen 0.0.0.0:5640",
            "0.0.0.0:5640 can be reached from other hosts and 9P asks for no password: "
            "add --allow-remote to serve everybody who can reach it, or listen on 127.0.0.1",
            "ram9 serve",
        ),
        (
            "serve --metrics unix:/run/metrics",
            "metrics address 'unix:/run/metrics' must be HOST:PORT: Prometheus asks over TCP",
            "ram9 serve",
        ),
        (
            "serve --policy hope",
            "policy 'hope' is not one of trust, enforce",
            "ram9 serve",
        ),
        (
            "serve --log-level loud",
            "log level 'loud' is not one of debug, info, warning, error",
            "ram9 serve",
        ),
        ("serve --log-format xml", "log format 'xml' is not one of text, json", "ram9 serve"),
        ("ping a b", "unrecognized arguments: b", "ram9"),
        (
            "ping unix:socket",
            "address 'unix:socket' needs an absolute path, such as unix:/run/ram9/socket",
            "ram9 ping",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    line: str, sentence: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(line)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"ram9: error: {sentence}\nsee {hint} --help\n"


def test_an_unknown_command_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed("server")
    assert ended.value.code == 2
    assert "'server'" in capsys.readouterr().err


def test_unknown_memory_is_a_mistake_of_the_size(capsys: pytest.CaptureFixture[str]) -> None:
    def unreadable() -> int:
        raise ConfigError("cannot tell: give --size in bytes")

    with pytest.raises(SystemExit) as ended:
        parse_arguments(["serve"], unreadable)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "ram9: error: cannot tell: give --size in bytes\nsee ram9 serve --help\n"
    )


def output(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What *line* writes to stdout before it ends with status 0."""
    with pytest.raises(SystemExit) as ended:
        parsed(line)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_version_names_program_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert output("--version", capsys) == f"ram9 {VERSION}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--help", ["serve", "ping", "mount -t 9p -o trans=tcp"]),
        (
            "serve --help",
            [
                "127.0.0.1:564",
                "127.0.0.1:9564",
                "50%",
                "powers of 1000",
                "mount -t 9p -o trans=tcp",
                "--allow-remote",
                "text, or json",
            ],
        ),
        ("ping --help", ["127.0.0.1:564", "health checks"]),
    ],
)
def test_help_teaches(
    line: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    help_text = output(line, capsys)
    assert [word for word in words if word not in help_text] == []


def test_every_example_in_the_help_is_a_command_that_parses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [
        line.strip().removeprefix("ram9 ")
        for line in output("serve --help", capsys).splitlines()
        if line.startswith("  ram9 ")
    ]
    assert len(lines) == 4
    for line in lines:
        request = parse_arguments(line.split(), lambda: GIB, lambda _: '[[volume]]\nsize = "50%"')
        assert isinstance(request, Config)
