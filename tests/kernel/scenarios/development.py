"""What a developer does on a disk: clone, check, edit, build, run."""

import os
from pathlib import Path

from tests.kernel.scenario import Scenario, run
from tests.kernel.world import World

scenario = Scenario("development", tools=("git", "make", "gcc"))

REPOSITORY = Path(__file__).parents[3]
GIT = ("git", "-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@example.org")

PROGRAM = {
    "Makefile": "CFLAGS = -O1 -Wall\nprogram: main.o stack.o text.o\n\t$(CC) -o $@ $^\n"
    "*.o: stack.h\nclean:\n\trm -f program *.o\n",
    "stack.h": "void push(int); int pop(void); const char *text(int);\n",
    "stack.c": '#include "stack.h"\nstatic int s[99], n;\n'
    "void push(int v) { s[n++] = v; }\nint pop(void) { return s[--n]; }\n",
    "text.c": '#include "stack.h"\nconst char *text(int v) { return v % 2 ? "odd" : "even"; }\n',
    "main.c": '#include <stdio.h>\n#include "stack.h"\nint main(void) { for (int i = 0; i < 5; i++)'
    " push(i * i); for (int i = 0; i < 5; i++) puts(text(pop())); return 7; }\n",
}


@scenario.fact
def a_repository_can_be_cloned_onto_it(world: World) -> str:
    world.mount("plain")
    world.mount("mapped", "trans=tcp,version=9p2000.L,cache=mmap")
    clone = world.folder / "plain" / "clone"
    # The safe.directory of a command line does not reach the process that git clone starts.
    environment = {**os.environ, "GIT_CONFIG_COUNT": "1"}
    environment |= {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    run(*GIT, "clone", "--no-local", REPOSITORY, clone, env=environment)
    files = run(*GIT, "ls-files", cwd=clone).splitlines()
    for name in files:
        assert (clone / name).is_file() or (clone / name).is_symlink(), name
    return f"{len(files)} files"


@scenario.fact
def git_finds_the_clone_whole_and_clean(world: World) -> None:
    clone = world.folder / "plain" / "clone"
    run(*GIT, "fsck", "--full", "--strict", cwd=clone)
    assert run(*GIT, "status", "--porcelain", cwd=clone) == ""
    assert run(*GIT, "diff", "--stat", "HEAD", cwd=clone) == ""


@scenario.fact
def a_clone_of_the_clone_can_be_worked_on(world: World) -> None:
    clone = world.folder / "mapped" / "second"
    run(*GIT, "clone", world.folder / "plain" / "clone", clone)
    run(*GIT, "checkout", "-q", "-b", "work", cwd=clone)
    (clone / "new file").write_text("content\n")
    run(*GIT, "add", ".", cwd=clone)
    run(*GIT, "commit", "-q", "-m", "work", cwd=clone)
    run(*GIT, "gc", "-q", cwd=clone)
    run(*GIT, "fsck", "--full", cwd=clone)
    assert run(*GIT, "status", "--porcelain", cwd=clone) == ""


def build_and_run(place: Path) -> None:
    place.mkdir()
    for name, text in PROGRAM.items():
        (place / name).write_text(text)
    run("make", cwd=place)
    printed = run("bash", "-c", "./program; echo $?", cwd=place)
    assert printed.split() == ["even", "odd", "even", "odd", "even", "7"], printed
    assert "up to date" in run("make", cwd=place)
    (place / "text.c").write_text(PROGRAM["text.c"].replace("odd", "uneven"))
    assert "text.o" in run("make", cwd=place)
    assert "uneven" in run("bash", "-c", "./program; true", cwd=place)
    run("make", "clean", cwd=place)
    assert sorted(os.listdir(place)) == sorted(PROGRAM)


@scenario.fact
def a_program_of_several_files_can_be_built_and_run(world: World) -> None:
    build_and_run(world.folder / "plain" / "build")


@scenario.fact
def a_program_can_be_built_and_run_with_a_cache(world: World) -> None:
    build_and_run(world.folder / "mapped" / "build with a cache")
