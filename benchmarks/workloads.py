"""What people do on a disk, as commands: each takes place in a folder of the file system measured.

The sources (a repository, an archive, a program) are generated, the same every time, on a tmpfs.
"""

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEED: Final = 9
FILE_BYTES: Final = (100, 1_000, 3_000, 8_000, 30_000)  # sizes that source trees have
FILES_IN_A_FOLDER: Final = 25


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is to do."""

    sequential_mib: int
    random_mib: int
    tree_files: int
    repository_files: int
    commits: int
    units: int  # of the C program

    @classmethod
    def of(cls, *, quick: bool) -> "Scale":
        """A second or two for each workload, or a few tenths."""
        if quick:
            return cls(32, 2, 100, 60, 2, 3)
        return cls(512, 32, 2000, 800, 10, 24)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the generated sources lie."""

    folder: Path
    scale: Scale

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def archive(self) -> Path:
        return self.folder / "tree.tar"

    @property
    def program(self) -> Path:
        return self.folder / "program"


@dataclass(frozen=True, slots=True)
class Workload:
    """*work* takes place in a folder and gives the seconds that it took.

    *prepare* comes before it, and is not counted. *tools* are the programs that it needs.
    """

    name: str
    title: str
    tools: Sequence[str]
    work: Callable[[Path, Sources], float]
    prepare: Callable[[Path, Sources], None] = lambda _place, _sources: None


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What the command prints; it has to succeed."""
    environment = os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def timed(*command: str | Path, cwd: Path) -> float:
    """The seconds until the command ended and the file system had everything."""
    began = time.monotonic()
    run(*command, cwd=cwd)
    run("sync", "-f", cwd)
    return time.monotonic() - began


def _fio(pattern: str, block_bytes: int) -> Callable[[Path, Sources], float]:
    def work(place: Path, sources: Sources) -> float:
        size = sources.scale.random_mib if "rand" in pattern else sources.scale.sequential_mib
        options = [
            *("--name=job", f"--filename={place / 'fio'}", f"--rw={pattern}"),
            *(f"--bs={block_bytes}", f"--io_size={size}M"),
            *(f"--size={sources.scale.sequential_mib}M", "--ioengine=psync", "--thread"),
            *("--randrepeat=1", "--end_fsync=1", "--allow_mounted_write=1"),
            *("--fallocate=none", "--output-format=json"),
        ]
        printed = run("fio", *options, cwd=place)
        job = json.loads(printed[printed.index("{") :])["jobs"][0]
        return float(job["job_runtime"]) / 1000

    return work


def _clone(place: Path, sources: Sources) -> float:
    return timed("git", "clone", "-q", "--no-local", sources.repository, "clone", cwd=place)


def _untar(place: Path, sources: Sources) -> float:
    return timed("tar", "-xf", sources.archive, cwd=place)


def _find(place: Path, _sources: Sources) -> float:
    return timed("find", ".", "-type", "f", "-printf", "%s %T@ %p\n", cwd=place)


def _copy_program(place: Path, sources: Sources) -> None:
    shutil.copytree(sources.program, place / "program")


def _compile(place: Path, _sources: Sources) -> float:
    return timed("make", "-s", cwd=place / "program")


def _remove(place: Path, _sources: Sources) -> float:
    return timed("rm", "-rf", "tree", "clone", "program", cwd=place)


WORKLOADS: Final[dict[str, Workload]] = {
    each.name: each
    for each in (
        Workload("fio-write", "fio, 1 MiB sequential writes", ["fio"], _fio("write", 1 << 20)),
        Workload("fio-read", "fio, 1 MiB sequential reads", ["fio"], _fio("read", 1 << 20)),
        Workload("fio-randwrite", "fio, 4 KiB random writes", ["fio"], _fio("randwrite", 4096)),
        Workload("fio-randread", "fio, 4 KiB random reads", ["fio"], _fio("randread", 4096)),
        Workload("clone", "git clone", ["git"], _clone),
        Workload("untar", "untar", ["tar"], _untar),
        Workload("compile", "compile (make)", ["make", "cc"], _compile, _copy_program),
        Workload("find", "find with stat", ["find"], _find),
        Workload("remove", "rm -rf", ["rm"], _remove),
    )
}
"""In the order in which they are done: find and rm meet what those before them made."""


def lacking(workload: Workload) -> list[str]:
    """The programs that it needs and this machine has not."""
    return [tool for tool in workload.tools if shutil.which(tool) is None]


def make_sources(folder: Path, scale: Scale, names: Sequence[str]) -> Sources:
    """Generate what the workloads *names* need."""
    sources = Sources(folder, scale)
    if "clone" in names:
        _make_repository(sources.repository, scale)
    if {"untar", "find", "remove"} & set(names):
        _make_archive(sources)
    if "compile" in names:
        _make_program(sources.program, scale.units)
    return sources


def _text(generator: random.Random, count: int) -> bytes:
    """*count* bytes of lines that compress about as well as source code."""
    words = [b"alpha", b"beta", b"return", b"(", b")", b"= 0;", b"\n", b"%d" % generator.random()]
    return b" ".join(generator.choices(words, k=count // 5 + 1))[:count]


def _files(generator: random.Random, count: int) -> list[tuple[str, bytes]]:
    return [
        (
            f"d{number // FILES_IN_A_FOLDER:03d}/f{number:05d}.c",
            _text(generator, generator.choice(FILE_BYTES)),
        )
        for number in range(count)
    ]


def _make_archive(sources: Sources) -> None:
    tree = sources.folder / "tree"
    for name, data in _files(random.Random(SEED), sources.scale.tree_files):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    run("tar", "-cf", sources.archive, "tree", cwd=sources.folder)
    shutil.rmtree(tree)


def _make_repository(folder: Path, scale: Scale) -> None:
    """A repository whose commits change a tenth of the files each: see git-fast-import(1)."""
    run("git", "init", "-q", "--bare", "-b", "main", folder)
    generator = random.Random(SEED)
    files = dict(_files(generator, scale.repository_files))
    stream: list[bytes] = []
    for commit in range(scale.commits):
        stream.append(b"commit refs/heads/main\ncommitter B <b@example.org> %d +0000\n" % commit)
        stream.append(b"data 2\nc\n")
        changed = generator.sample(sorted(files), max(1, len(files) // 10)) if commit else files
        for name in changed:
            data = files[name] + _text(generator, 100 * commit)
            stream.append(b"M 644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=folder, input=b"".join(stream), check=True
    )


def _make_program(folder: Path, units: int) -> None:
    """A program of *units* C files, each of which includes the headers of all."""
    folder.mkdir()
    objects = " ".join(f"unit{number}.o" for number in range(units))
    makefile = f"program: {objects} main.o\n\tcc -o $@ $^\n%.o: %.c\n\tcc -O1 -c -o $@ $<\n"
    (folder / "Makefile").write_text(makefile)
    headers = "".join(f'#include "unit{number}.h"\n' for number in range(units))
    for number in range(units):
        (folder / f"unit{number}.h").write_text(f"int unit{number}(int value);\n")
        loop = f"for (int i = 0; i < value; i++) value += unit{(number + 1) % units}(i - value);"
        body = f"{{ if (value < 1) return {number}; {loop} return value; }}"
        (folder / f"unit{number}.c").write_text(
            f"#include <stdio.h>\n{headers}int unit{number}(int value) {body}\n"
        )
    (folder / "main.c").write_text(f"{headers}int main(void) {{ return unit0(0); }}\n")
