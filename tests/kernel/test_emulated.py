"""An older Linux for real: Debian's kernel package under emulation (see README.md)."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from tests.kernel.emulation import INIT, PYTHON, TOOLS, Kernel, boot, facts_in
from tests.kernel.recorder import Recorder
from tests.running_server import running

CACHES = ("none", "mmap", "loose")
HELPERS = {"found", "fact", "refused", "digest", "told"}


def functions_of_init() -> list[str]:
    names = re.findall(r"^([a-z_]+)\(\) \{$", INIT.read_text(), re.MULTILINE)
    return [name for name in names if name not in HELPERS]


FACTS = [
    f"{name.replace('_', ' ')} with cache {cache}"
    for cache in CACHES
    for name in functions_of_init()
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The facts that one boot found out."""
    folder = os.environ.get("RAM9_EMULATED_KERNEL")
    if not folder:
        pytest.skip("RAM9_EMULATED_KERNEL names no unpacked linux-image package")
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not lacking, f"not installed: {', '.join(lacking)}"
    with running(tmp_path_factory.mktemp("server")) as server:
        place = tmp_path_factory.mktemp("boot")
        port = server.addresses[0].port
        if capture := os.environ.get("RAM9_CAPTURE"):
            recorder = Recorder(("127.0.0.1", port))
            printed = boot(Kernel(Path(folder)), place, recorder.port, ("none",), "none")
            Path(capture).write_bytes(recorder.finish())
        else:
            printed = boot(Kernel(Path(folder)), place, port, CACHES, PYTHON)
        server.wait_for_connections(0)
        assert server.violations() == []
        assert not server.filesystem.orphans
        assert server.filesystem.budget.used_inodes == 1
        assert server.counters.internal_errors == 0
        assert not server.counters.protocol_errors
    facts = facts_in(printed)
    assert facts, printed[-3000:]
    return facts


@pytest.mark.kernel
@pytest.mark.parametrize("fact", [*FACTS, "the kernel logs no complaint"])
def test_an_emulated_kernel(fact: str, found: dict[str, str]) -> None:
    sys.stdout.write(f"Linux {found['the kernel is']}\n")
    assert found.get(fact) == "true"


def test_the_script_has_facts() -> None:
    assert len(functions_of_init()) >= 8
