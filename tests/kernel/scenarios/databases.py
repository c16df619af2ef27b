"""SQLite, which depends on locks, on fsync, on truncation and, with WAL, on shared mappings.

With cache=mmap Linux 7.2 read zeros when the server counted versions of files: once a page is
dropped that was written behind the end that the file had when it was looked up (a lock drops
them), netfs takes it for a hole and does not ask the server.
"""

import sqlite3
import sys
from pathlib import Path

from tests.kernel.scenario import FULL, Scenario, run
from tests.kernel.world import World

scenario = Scenario("databases", seconds_max=1500)

WRITERS = 2
TRANSACTIONS = 300 if FULL else 60

# Each moves money between accounts, so that a lost update or a torn transaction shows in the sum.
WRITER = """
import random, sqlite3, sys
path, mode, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
base = sqlite3.connect(path, timeout=120, isolation_level=None)
base.execute(f"PRAGMA journal_mode={mode}")
for number in range(count):
    base.execute("BEGIN IMMEDIATE")
    one, two = chance.sample(range(100), 2)
    (have,) = base.execute("SELECT amount FROM accounts WHERE id=?", (one,)).fetchone()
    base.execute("UPDATE accounts SET amount=? WHERE id=?", (have - 1, one))
    base.execute("UPDATE accounts SET amount=amount+1 WHERE id=?", (two,))
    base.execute("INSERT INTO journal VALUES (?, ?, ?)", (seed, number, chance.randbytes(900)))
    base.execute("ROLLBACK" if number % 10 == 9 else "COMMIT")
base.close()
"""


def torture(folder: Path, mode: str, places: list[Path]) -> str:
    """Let one writer at each of *places*, which are one database, work at the same time."""
    base = sqlite3.connect(places[0], isolation_level=None)
    assert base.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
    base.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER)")
    base.execute("CREATE TABLE journal (writer, number, data, PRIMARY KEY (writer, number))")
    base.executemany("INSERT INTO accounts VALUES (?, 1000)", [(number,) for number in range(100)])
    base.close()
    script = folder / "writer.py"
    script.write_text(WRITER)
    commands = [
        f"{sys.executable} {script} {place} {mode} {seed} {TRANSACTIONS}"
        for seed, place in enumerate(places)
    ]
    waits = "; ".join(f"wait $p{seed} || exit 1" for seed in range(len(commands)))
    starts = " ".join(f"{command} & p{seed}=$!;" for seed, command in enumerate(commands))
    run("bash", "-c", f"{starts} {waits}")
    base = sqlite3.connect(places[0])
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert base.execute("SELECT sum(amount) FROM accounts").fetchone() == (100_000,)
    kept = sum(number % 10 != 9 for number in range(TRANSACTIONS)) * len(places)
    assert base.execute("SELECT count(*) FROM journal").fetchone() == (kept,)
    lengths = base.execute("SELECT DISTINCT length(data) FROM journal").fetchall()
    assert lengths == [(900,)], lengths
    base.close()
    journals = list(places[0].parent.glob(places[0].name + "-*"))
    assert all(path.stat().st_size == 0 for path in journals), journals
    assert mode == "truncate" or not journals, journals
    return f"{kept} transactions committed by {len(places)}"


def at_once(mode: str, mount: str) -> None:
    def fact(world: World) -> str:
        place = world.folder / mount / f"{mount}-{mode}.db"
        return torture(world.folder, mode, [place] * WRITERS)

    fact.__name__ = f"{WRITERS} writers with journal mode {mode} lose nothing on {mount}"
    scenario.fact(fact, 600)


@scenario.fact
def there_is_a_mount_with_a_cache_and_one_without(world: World) -> None:
    world.mount("mapped", "trans=tcp,version=9p2000.L,cache=mmap,msize=1044504")
    world.mount("plain")


at_once("delete", "mapped")
at_once("truncate", "mapped")
at_once("wal", "mapped")
at_once("delete", "plain")


@scenario.fact
def writers_on_two_mounts_lose_nothing(world: World) -> str:
    world.mount("other")
    places = [world.folder / mount / "two-mounts.db" for mount in ("plain", "other")]
    return torture(world.folder, "delete", places)
