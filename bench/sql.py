"""Time db.seed's reading of large SQL files beside psql in one run; exit 1 when a target is missed.

bench/sql.py [ROUNDS] [SCALE]   SCALE 1 is 600,000 INSERTs, a COPY of 3,000,000 rows, and one of 1 GB for the memory
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.run import Row, seconds  # noqa: E402
from tasks.localenv.engines.embedded.home import installed_programs  # noqa: E402
from tasks.localenv.postgres import databases  # noqa: E402
from tasks.localenv.postgres.connection import connect  # noqa: E402
from tasks.localenv.postgres.runner import run_file  # noqa: E402
from tasks.localenv.postgres.sqlfile import read_sql  # noqa: E402
from tasks.localenv.settings import Settings  # noqa: E402
from tests.support.environments import environment, running  # noqa: E402

INSERTS, ROWS = 600_000, 3_000_000
BIG_BYTES = 1 << 30
GROWTH_BYTES = 30 << 20
"""The most that anonymous memory may grow from a file of 1 MB to one of 1 GB."""
TABLE = "create table t (id int, handle text, message text);\n"


def main() -> int:
    """Measure and print a row each. Return the exit code."""
    rounds, scale = int((*sys.argv[1:2], "3")[0]), float((*sys.argv[2:3], "1")[0])
    with tempfile.TemporaryDirectory(prefix="bench-") as place, started(Path(place)) as settings:
        folder = Path(place)
        inserts = written(folder / "inserts.sql", lambda file: write_inserts(file, int(INSERTS * scale)))
        copy = written(folder / "copy.sql", lambda file: write_copy(file, int(ROWS * scale)))
        rows = [
            beside_psql(settings, inserts, "INSERTs", 0.7, rounds),
            beside_psql(settings, copy, "COPY", 1.15, rounds),
        ]
        copy.unlink()
        small = written(folder / "small.sql", lambda file: write_bytes(file, 1 << 20))
        big = written(folder / "big.sql", lambda file: write_bytes(file, int(BIG_BYTES * scale)))
        grown = peak(settings, big) - peak(settings, small)
        rows.append(Row("memory 1 GB", grown / GROWTH_BYTES, 1.0, "x", f"{grown / 2**20:.1f} MB more than for 1 MB"))
    print("\n".join(map(str, rows)))
    return int(any(row.figure > row.target for row in rows))


def written(path: Path, write: Callable[[IO[str]], None]) -> Path:
    with path.open("w") as file:
        file.write(TABLE)
        write(file)
    return path


def write_inserts(file: IO[str], count: int) -> None:
    for number in range(count):
        file.write(f"insert into t values ({number}, 'handle{number % 1000}', 'a message; it''s number {number}');\n")


def write_copy(file: IO[str], count: int) -> None:
    file.write("copy t from stdin;\n")
    for number in range(count):
        file.write(f"{number}\thandle{number % 1000}\ta message of some length, number {number}\n")
    file.write("\\.\n")


def write_bytes(file: IO[str], size: int) -> None:
    """Write a COPY and INSERTs, half of the bytes each."""
    line = f"1\thandle\t{'x' * 200}\n"
    file.write("copy t from stdin;\n")
    for _ in range(size // 2 // len(line)):
        file.write(line)
    file.write("\\.\n")
    insert = f"insert into t values (1, 'handle', '{'y' * 2000}');\n"
    for _ in range(size // 2 // len(insert)):
        file.write(insert)


def beside_psql(settings: Settings, path: Path, what: str, target: float, rounds: int) -> Row:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(lambda: on_empty(settings, lambda address: by_us(address, path))))
        theirs.append(seconds(lambda: on_empty(settings, lambda address: by_psql(address, path))))
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    detail = f"{statistics.median(ours):.1f} s, psql {statistics.median(theirs):.1f} s"
    return Row(f"{what} {path.stat().st_size >> 20} MB", ratio, target, "x", detail)


def on_empty(settings: Settings, run: Callable[[Settings], None]) -> None:
    with databases.maintenance(settings.postgres) as conn:
        databases.drop(conn, "bench")
        databases.create(conn, "bench")
    run(replace(settings, postgres=replace(settings.postgres, database="bench")))


def by_us(settings: Settings, path: Path) -> None:
    with connect(settings.postgres) as conn:
        run_file(conn, read_sql(path, path.parent))
        conn.commit()


def by_psql(settings: Settings, path: Path) -> None:
    command: list[str | Path] = [installed_programs() / "bin" / "psql", "-X1q", "-v", "ON_ERROR_STOP=1", "-f", path]
    subprocess.run([*command, settings.postgres.url(masked=False)], check=True, stdout=subprocess.DEVNULL)


def peak(settings: Settings, path: Path) -> int:
    """Return the most anonymous memory, in bytes, that a process of its own had while it ran a file."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        seen = [0]
        threading.Thread(target=watch, args=(seen,), daemon=True).start()
        on_empty(settings, lambda address: by_us(address, path))
        os.write(writer, str(max(seen)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(reader, 32)) << 10


def watch(seen: list[int]) -> None:
    """Note the anonymous memory of this process, in KB, a hundred times a second."""
    while True:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        seen.append(int(status["RssAnon"].split()[0]))
        time.sleep(0.01)


@contextmanager
def started(place: Path) -> Iterator[Settings]:
    """Yield the settings of a running environment that has Postgres alone."""
    place.chmod(0o755)
    with running({**environment(place / "state"), "LOCALENV_SERVICES": "postgres"}) as settings:
        yield settings


if __name__ == "__main__":
    sys.exit(main())
