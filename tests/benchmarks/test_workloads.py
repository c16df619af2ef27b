"""The workloads do what their names say, on any file system and on mounts."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import kernel
from benchmarks.report import Report, machine
from benchmarks.workloads import WORKLOADS, Scale, Sources, lacking, make_sources, run

SMALL = Scale(
    sequential_mib=1, random_mib=1, tree_files=30, repository_files=20, commits=2, units=2
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder on a tmpfs: flushing the file system of a disk may take long."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as found:
        yield Path(found)


def sources_in(place: Path, *names: str) -> Sources:
    folder = place / "sources"
    folder.mkdir()
    return make_sources(folder, SMALL, names)


def do(name: str, place: Path, sources: Sources) -> None:
    """Do one workload, if this machine has what it needs."""
    workload = WORKLOADS[name]
    if missing := lacking(workload):
        pytest.skip(f"not installed: {', '.join(missing)}")
    work = place / "work"
    work.mkdir(exist_ok=True)
    workload.prepare(work, sources)
    assert workload.work(work, sources) >= 0


def test_a_tree_is_unpacked_looked_at_and_removed(place: Path) -> None:
    sources = sources_in(place, "untar")
    do("untar", place, sources)
    files = [path for path in (place / "work" / "tree").rglob("*") if path.is_file()]
    assert len(files) == SMALL.tree_files
    assert len({path.stat().st_size for path in files}) > 1
    do("find", place, sources)
    do("remove", place, sources)
    assert list((place / "work").iterdir()) == []


def test_a_repository_of_some_commits_is_cloned(place: Path) -> None:
    do("clone", place, sources_in(place, "clone"))
    clone = place / "work" / "clone"
    assert len([path for path in clone.rglob("*.c") if path.is_file()]) == SMALL.repository_files
    assert run("git", "rev-list", "--count", "HEAD", cwd=clone).strip() == str(SMALL.commits)


def test_a_program_of_some_files_is_compiled(place: Path) -> None:
    do("compile", place, sources_in(place, "compile"))
    program = place / "work" / "program"
    assert len(list(program.glob("*.o"))) == SMALL.units + 1
    assert run(program / "program") == ""


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name.startswith("fio")])
def test_fio_works_on_one_file(place: Path, name: str) -> None:
    do(name, place, sources_in(place))
    assert (place / "work" / "fio").stat().st_size == SMALL.sequential_mib << 20


def test_what_is_generated_is_the_same_every_time(place: Path) -> None:
    if missing := [tool for tool in ("git", "tar") if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    heads = []
    for name in "a", "b":
        folder = place / name
        folder.mkdir()
        repository = make_sources(folder, SMALL, ["clone"]).repository
        heads.append(run("git", "rev-parse", "main", cwd=repository))
    assert heads[0] == heads[1]


def test_a_command_that_fails_is_an_error(place: Path) -> None:
    with pytest.raises(RuntimeError, match="ls failed"):
        run("ls", place / "nothing")


@pytest.mark.kernel
def test_workloads_are_done_on_mounts_and_their_server_time_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = os.environ.get("RAM9_GUEST")
    if guest is None or shutil.which(shlex.split(guest)[0]) is None:
        pytest.skip("RAM9_GUEST does not say what runs a command under a kernel with 9p")
    monkeypatch.setattr(kernel, "MEMORY_MIB", 1024)
    plan = kernel.KernelPlan(
        workloads=["untar", "find", "remove"],
        modes=["none"],
        servers=["ram9"],
        rounds=1,
        quick=True,
        servers_inside=True,
    )
    report = Report("", "", machine())
    kernel.run_kernel(plan, report)
    done = {(each["workload"], each["server"]) for each in report.raw}
    assert done == {(name, on) for name in plan.workloads for on in ("ram9", "tmpfs")}, report.notes
    times = [each for each in report.raw if each["server"] == "ram9"]
    assert all(each["user_seconds"] >= 0 and each["system_seconds"] >= 0 for each in times)
