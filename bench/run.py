"""Time whole commands against each other in one run, and exit 1 when a target is missed. See README.md beside this."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tasks.localenv.postgres.connection import connect  # noqa: E402
from tasks.localenv.settings import read_settings  # noqa: E402
from tests.support.environments import environment, permitted  # noqa: E402

OLD = ROOT / "bench" / "old_way"
STOCK = [sys.executable, "-I", "-m", "invoke"]
OURS = ("--yes", "--confirm", "cruddur")
"""The old way leaves a database that nobody has marked as this project's."""
REBUILD = ("db.drop", *OURS, "ddb.drop", "--yes", "initial-setup")
SHORT = {
    "list": (["--list"], 1.0),
    "status": (["status"], 2.2),
    "check": (["check"], 2.2),
    "no-op": (["initial-setup"], 2.7),
}
"""Commands of ./inv, and the most of the time that stock Invoke takes to list one empty task."""
EMPTY_TASKS = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"

Contents = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One figure, in `unit`, and what it may be at most. `detail` says what it was made from."""

    name: str
    figure: float
    target: float
    unit: str
    detail: str

    def __str__(self) -> str:
        word = "ok" if self.figure <= self.target else "OVER"
        figure = f"{self.figure:6.2f} {self.unit:<2}  at most {self.target:5} {self.unit:<2}"
        return f"{word:<4}  {self.name:<10}  {figure}  {self.detail}"


@dataclass(frozen=True)
class Bench:
    """An embedded environment in a folder of its own, and the two ways to fill it."""

    place: Path
    environ: dict[str, str]
    rounds: int

    def inv(self, *words: str) -> None:
        run([*STOCK, "--search-root", str(ROOT), *words], self.environ)

    def script(self, *words: str) -> None:
        """Run ./inv, which ends by running what `inv` here runs."""
        run([str(ROOT / "inv"), *words], self.environ)

    def stock(self) -> None:
        """List the commands of a tasks.py with one empty task."""
        run([*STOCK, "--search-root", str(self.place / "empty"), "--list"], self.environ)

    def old_way(self) -> None:
        """Do the seven steps, a process each, with psql and boto3."""
        url = self.environ["CONNECTION_URL"]
        server, _, name = url.rpartition("/")
        psql = [find_psql(), "--quiet"]
        run([*psql, f"{server}/postgres", "-v", f"name={name}", "-f", str(OLD / "recreate.sql")], self.environ)
        run([*psql, url, "-f", str(ROOT / "sql" / "schema.sql")], self.environ)
        run([*psql, url, "-f", str(self.place / "seed.sql")], self.environ)
        for script in ("sync_cognito", "drop_table", "create_table", "seed_table"):
            run([sys.executable, str(OLD / f"{script}.py")], self.environ)

    def contents(self) -> Contents:
        """Count users, users with an id of the pool, activities and items: what both ways must leave behind."""
        from tests.support.boto import local_client

        settings = read_settings(environ=self.environ)
        counts = "SELECT count(*), count(*) FILTER (WHERE cognito_user_id <> 'MOCK') FROM public.users"
        with closing(connect(settings.postgres)) as connection:
            users = connection.execute(counts).fetchone() or ()
            activities = connection.execute("SELECT count(*) FROM public.activities").fetchone() or ()
        items = local_client(settings, "dynamodb").scan(TableName=settings.message_table, Select="COUNT")["Count"]
        return (*users, *activities, items)

    def write_old_seed(self) -> None:
        """Write the rows that the database has now as two plain INSERTs, for psql."""
        from psycopg import sql

        with closing(connect(permitted(read_settings(environ=self.environ)).postgres)) as connection:
            connection.execute("UPDATE public.users SET cognito_user_id = 'MOCK'")
            texts = []
            for table in ("users", "activities"):
                name = sql.Identifier("public", table)
                rows = connection.execute(sql.SQL("SELECT * FROM {}").format(name)).fetchall()
                values = sql.SQL(",\n").join(
                    sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows
                )
                texts.append(sql.SQL("INSERT INTO {} VALUES\n{};\n").format(name, values).as_string(connection))
            connection.rollback()
        (self.place / "seed.sql").write_text("".join(texts))

    def alternate(self, one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
        """Run the two in turn, once unmeasured, and return the median seconds of each."""
        one(), other()
        pairs = [(seconds(one), seconds(other)) for _ in range(self.rounds)]
        return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def main() -> int:
    """Measure every row and print the table. Return the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environ = {**kept, **environment(place / "state"), "DDB_MESSAGE_TABLE": "cruddur-messages"}
        bench = Bench(place, environ, rounds)
        try:
            rows = measure(bench)
        finally:
            bench.inv("env.destroy", "--confirm", "cruddur")
    print("\n".join(map(str, rows)))
    return int(any(row.figure > row.target for row in rows))


def measure(bench: Bench) -> list[Row]:
    cold = [cold_start(bench) for _ in range(3)]
    bench.inv("initial-setup")
    (bench.place / "empty").mkdir()
    (bench.place / "empty" / "tasks.py").write_text(EMPTY_TASKS)
    bench.write_old_seed()
    require_same_work(bench)
    rebuild, old = bench.alternate(lambda: bench.inv(*REBUILD), bench.old_way)
    reset, old_again = bench.alternate(lambda: bench.inv("reset", *OURS), bench.old_way)
    bench.inv(*REBUILD)
    short = {
        name: (*bench.alternate(partial(bench.script, *words), bench.stock), target)
        for name, (words, target) in SHORT.items()
    }
    return [
        Row("rebuild", rebuild / old, 0.33, "x", against(rebuild, old)),
        Row("reset", reset / old_again, 0.33, "x", against(reset, old_again)),
        Row("cold start", statistics.median(cold), 3.0, "s", "env.up in an empty folder"),
        *(Row(name, ours / stock, target, "x", against(ours, stock)) for name, (ours, stock, target) in short.items()),
    ]


def against(one: float, other: float) -> str:
    return f"{one * 1000:.0f} ms against {other * 1000:.0f} ms"


def require_same_work(bench: Bench) -> None:
    """End the bench when the ways do not leave the same behind: then their times say nothing."""
    found: dict[str, Contents] = {}
    ways: dict[str, Callable[[], None]] = {
        "old way": bench.old_way,
        "rebuild": lambda: bench.inv(*REBUILD),
        "reset": lambda: bench.inv("reset", *OURS),
    }
    for name, work in ways.items():
        work()
        found[name] = bench.contents()
    if len(set(found.values())) != 1:
        raise SystemExit(f"the ways leave different contents: {found}")
    print("each way leaves {} users, {} of them synced, {} activities, {} items".format(*found["reset"]), flush=True)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cold_start(bench: Bench) -> float:
    bench.inv("env.destroy", "--confirm", "cruddur")
    return seconds(lambda: bench.inv("env.up"))


def find_psql() -> str:
    """Find psql, on the PATH or in the wheel of the embedded engine."""
    from tasks.localenv.engines.embedded.home import installed_programs

    return shutil.which("psql") or str(installed_programs() / "bin" / "psql")


def run(command: list[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
