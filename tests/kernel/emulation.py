"""Boots an unpacked Debian kernel under QEMU's emulation, with a few programs in memory.

Needs no virtualisation and no image of a disk: the kernel, its modules, and programs of this
machine are all there is. A boot takes some ten seconds.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

INIT: Final = Path(__file__).with_name("emulated_init.sh")
PYTHON: Final = sys._base_executable
EXERCISER: Final = Path(__file__).with_name("exerciser.py")
HOST: Final = "10.0.2.2"  # this machine's 127.0.0.1, as QEMU's own network shows it
MODULES: Final = ("virtio_pci", "virtio_net", "9pnet_fd", "9p")
QEMU: Final = "qemu-system-x86_64"
PROGRAMS: Final = ("setfattr", "getfattr", "flock")
TOOLS: Final = (QEMU, "busybox", "cpio", "modinfo", *PROGRAMS)
BOOT_SECONDS_MAX: Final = 900

# Says which files Python has loaded once it has exercised a file.
LOADED: Final = """
import runpy, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    sys.argv = ["exerciser", folder + "/file", "--count", "50", "--mapping", "write"]
    try:
        runpy.run_path({exerciser!r}, run_name="__main__")
    except SystemExit:
        pass
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(*[sys._base_executable, *filter(None, files)], sep="\\n", file=sys.stderr)
"""


class Kernel:
    """What a linux-image package holds, unpacked in *folder* (``dpkg -x``)."""

    def __init__(self, folder: Path) -> None:
        self.image = next(folder.glob("boot/vmlinuz-*"))
        self._modules = next(folder.glob("lib/modules/*"))

    def modules(self) -> list[Path]:
        """The modules that a mount needs, each behind those that it depends on."""
        found: dict[str, Path] = {}
        for name in MODULES:
            self._add(name, found)
        return list(found.values())

    def _add(self, name: str, found: dict[str, Path]) -> None:
        # A module's file may have - where its name has _.
        pattern = re.compile(re.sub("[-_]", "[-_]", name) + r"\.ko(\.xz)?")
        path = next((each for each in self._files() if pattern.fullmatch(each.name)), None)
        if name in found or path is None:
            return  # what has no file is built in
        told = _output("modinfo", "-F", "depends", path).strip()
        for other in filter(None, told.split(",")):
            self._add(other, found)
        found[name] = path

    def _files(self) -> Iterator[Path]:
        return self._modules.rglob("*.ko*")


def make_initial_files(kernel: Kernel, folder: Path) -> Path:
    """An archive of the files that the emulated machine begins with, made in *folder*."""
    top = folder / "initial"
    for name in ("bin", "modules"):
        (top / name).mkdir(parents=True)
    shutil.copy(INIT, top / "init")
    (top / "init").chmod(0o755)
    shutil.copy(_program("busybox"), top / "bin" / "busybox")
    for name in PROGRAMS:
        _copy_with_libraries(_program(name), top)
    _copy_python(top)
    modules = kernel.modules()
    for module in modules:
        shutil.copy(module, top / "modules")
    (top / "modules" / "order").write_text("\n".join(module.name for module in modules))
    archive = folder / "initial.cpio"
    names = "\n".join(str(path.relative_to(top)) for path in sorted(top.rglob("*")))
    with archive.open("wb") as file:
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc"],
            input=names.encode(),
            stdout=file,
            cwd=top,
            check=True,
        )
    return archive


def boot(kernel: Kernel, folder: Path, port: int, caches: Sequence[str], python: str) -> str:
    """What the machine prints until it powers off; its server listens on 127.0.0.1:*port*.

    *python* is what runs the exerciser, or ``none``.
    """
    archive = make_initial_files(kernel, folder)
    command = [QEMU, "-accel", "tcg", "-m", "768", "-nographic", "-no-reboot"]
    command += ["-nic", "user,model=virtio-net-pci"]
    command += ["-kernel", str(kernel.image), "-initrd", str(archive)]
    arguments = f"ram9={HOST}:{port} caches={','.join(caches)} python={python}"
    command += ["-append", f"console=ttyS0 quiet panic=-1 {arguments}"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BOOT_SECONDS_MAX,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def facts_in(printed: str) -> dict[str, str]:
    """By name, what the facts of a boot came to: ``true``, or what is wrong."""
    pairs = re.findall(r"RAM9-FACT\t([^\t\r\n]*)\t([^\r\n]*)", printed)
    return dict(pairs)


def _copy_with_libraries(program: Path, top: Path) -> None:
    shutil.copy(program, top / "bin")
    _copy_libraries(program, top)


def _copy_libraries(program: Path, top: Path) -> None:
    for library in re.findall(r"(/\S+) \(0x", _output("ldd", program)):
        place = top / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


def _copy_python(top: Path) -> None:
    """This Python where it is here, with what the exerciser needs of its library."""
    code = LOADED.format(exerciser=str(EXERCISER))
    done = subprocess.run(
        [PYTHON, "-I", "-S", "-c", code],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    for name in done.stderr.splitlines():
        file = Path(name)
        place = top / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
        if file.suffix == ".so" or name == PYTHON:
            _copy_libraries(file, top)
    shutil.copy(EXERCISER, top)


def _program(name: str) -> Path:
    found = shutil.which(name)
    assert found is not None, name
    return Path(found)


def _output(*command: object) -> str:
    argv = [str(part) for part in command]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
