"""Time copies of a database beside DSLR and plain SQL in one run, and exit 1 when a target is missed. See README.md."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.run import Row, seconds  # noqa: E402
from tasks.localenv import engines  # noqa: E402
from tasks.localenv.postgres import aside, checksum, databases, properties, setup  # noqa: E402
from tasks.localenv.postgres.connection import connect  # noqa: E402
from tasks.localenv.settings import Settings, read_settings  # noqa: E402
from tests.support.environments import environment, permitted  # noqa: E402
from tests.support.projects import silent  # noqa: E402

SIZES = {"small": 100, "1M rows": 1_000_000}
TARGETS = {"small": (3.0, 3.5), "1M rows": (1.0, 1.2)}
"""The most of DSLR's time that a reset may take, and a save or restore, which hash the rows besides."""
SCHEMA = """
create table users (
    id int primary key, uuid uuid not null, handle text not null, email text, created_at timestamp not null
);
insert into users
select g, md5(g::text)::uuid, 'handle' || g, 'someone' || g || '@example.com',
    timestamp '2026-01-01' + g * interval '1 s'
from generate_series(1, {rows}) as g;
create index on users (handle);
"""


@dataclass(frozen=True)
class Ours:
    """What this project does on the server for a command, connections included."""

    settings: Settings

    def reset(self) -> None:
        setup.reset(self.settings, silent)

    def save(self) -> None:
        self._copy("cruddur", "ours")

    def restore(self) -> None:
        self._copy("ours", "ours_in")
        with databases.maintenance(self.settings.postgres) as conn:
            properties.apply(conn, "ours_in", properties.fetch(conn, "cruddur"))
            aside.replace_by(conn, self.settings, "ours_in")

    def forget(self) -> None:
        with databases.maintenance(self.settings.postgres) as conn:
            databases.drop(conn, "ours")

    def raw(self) -> None:
        """Drop a database and make it again as a copy of the files."""
        with databases.maintenance(self.settings.postgres) as conn:
            conn.execute("DROP DATABASE IF EXISTS raw")
            conn.execute("CREATE DATABASE raw TEMPLATE cruddur__template STRATEGY FILE_COPY")

    def _copy(self, source: str, copy: str) -> None:
        with databases.maintenance(self.settings.postgres) as conn:
            databases.clone(conn, self.settings.postgres, source, copy)
        with connect(replace(self.settings.postgres, database=copy), autocommit=True) as conn:
            checksum.measure(conn)


def main() -> int:
    """Measure every row and print the table. Return the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        python = install_dslr(place / "dslr")
        rows = [row for size in SIZES for row in measure(place, python, size, rounds)]
    print("\n".join(map(str, rows)))
    return int(any(row.figure > row.target for row in rows))


def install_dslr(place: Path) -> Path:
    """Install DSLR into an environment of its own, and return its Python."""
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    needed = ["-r", str(ROOT / "bench" / "dslr.txt")]
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *needed], check=True)
    return python


def measure(place: Path, python: Path, size: str, rounds: int) -> list[Row]:
    with started(place / size.replace(" ", "-"), size) as settings, dslr(python, settings) as theirs:
        ours = Ours(settings)
        ours.save()
        theirs("snapshot")
        ours.raw()
        pairs: dict[str, tuple[Callable[[], None], str]] = {
            "db.reset": (ours.reset, "restore"),
            "save": (ours.save, "snapshot"),
            "restore": (ours.restore, "restore"),
        }
        return [
            row(f"{name}, {size}", ours, *pair, theirs, rounds, TARGETS[size][name != "db.reset"])
            for name, pair in pairs.items()
        ]


def row(
    name: str,
    ours: Ours,
    work: Callable[[], None],
    word: str,
    theirs: Callable[[str], float],
    rounds: int,
    target: float,
) -> Row:
    """Time a part of ours, that of DSLR, and plain SQL, in turn."""
    times: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        if work == ours.save:
            ours.forget()
        times.append((seconds(work), theirs(word), seconds(ours.raw)))
    mine, other, raw = map(statistics.median, zip(*times, strict=True))
    detail = (
        f"{mine * 1000:.0f} ms, DSLR {other * 1000:.0f}, drop and copy by SQL {raw * 1000:.0f} ({mine / raw:.2f} x)"
    )
    return Row(name, mine / other, target, "x", detail)


@contextmanager
def dslr(python: Path, settings: Settings) -> Iterator[Callable[[str], float]]:
    """Yield what runs a part of DSLR in a process that stays, and returns its seconds."""
    command = [str(python), str(ROOT / "bench" / "dslr_part.py"), settings.postgres.url(masked=False)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        given, printed = process.stdin, process.stdout

        def part(word: str) -> float:
            print(word, file=given, flush=True)
            return float(printed.readline())

        yield part
        given.close()


@contextmanager
def started(place: Path, size: str) -> Iterator[Settings]:
    """Yield the settings of a running environment whose files make a table of that many rows."""
    app = place / "app"
    (app / "sql").mkdir(parents=True)
    (app / "sql" / "schema.sql").write_text(SCHEMA.format(rows=SIZES[size]))
    environ = {**environment(place / "state"), "LOCALENV_SERVICES": "postgres"}
    settings = permitted(read_settings(root=app, environ=environ))
    try:
        engines.up(settings, silent)
        setup.setup(settings, silent, typed=True)
        setup.reset(settings, silent)
        yield settings
    finally:
        engines.destroy(settings, silent)


if __name__ == "__main__":
    sys.exit(main())
