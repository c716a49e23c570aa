"""Time a save and a restore of a table's items beside plain boto3 in one run; exit 1 when a target is missed.

bench/items.py [embedded|docker] [ITEMS] [ROUNDS]   boto3 writes a tenth of the items, and its time counts ten times
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.run import Row, seconds  # noqa: E402
from tasks.localenv.dynamodb import schema  # noqa: E402
from tasks.localenv.dynamodb.client import connect  # noqa: E402
from tasks.localenv.dynamodb.itemwriter import puts, write  # noqa: E402
from tasks.localenv.dynamodb.tablefiles import read_tables  # noqa: E402
from tasks.localenv.settings import Settings  # noqa: E402
from tasks.localenv.snapshot import save, undoing  # noqa: E402
from tests.support.boto import local_client  # noqa: E402
from tests.support.environments import environment, running  # noqa: E402
from tests.support.keeping import restored  # noqa: E402
from tests.support.projects import silent  # noqa: E402

ENGINES = {"embedded": (100_000, 0.2), "docker": (60_000, 0.05)}
"""For each engine how many items, and the most that a restore may take of the loop's time."""
BATCH, THREADS = 25, 4


def main() -> int:
    """Measure and print both rows. Return the exit code."""
    engine, *numbers = sys.argv[1:] or ["embedded"]
    count, target = ENGINES[engine]
    count, rounds = (int(given) for given in (*numbers, *(str(count), "5")[len(numbers) :]))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, started(Path(folder), engine) as settings:
        client = connect(settings)
        schema.apply_tables(client, read_tables(settings))
        write(client, settings.message_table, puts(map(item, range(count))), at_once=THREADS)
        times: list[tuple[float, float, float]] = []
        for number in range(rounds):
            saving = seconds(lambda: save.save(settings, "a", silent))
            connect(settings).put_item(TableName=settings.message_table, Item=item(-number - 1))
            restoring = seconds(lambda: restored(settings, "a"))
            undoing.forget(settings, 0)
            times.append((saving, restoring, 10 * seconds(lambda: loop_over(settings, count // 10))))
    saved, back, loop = map(statistics.median, zip(*times, strict=True))
    detail = f"{{:.1f}} s, a loop of {THREADS} threads in boto3 {loop:.1f} s"
    rows = [Row(f"save {count:,}", saved / loop, target, "x", detail.format(saved))]
    rows += [Row(f"restore {count:,}", back / loop, target, "x", detail.format(back))]
    print("\n".join(map(str, rows)))
    return int(any(row.figure > row.target for row in rows))


def item(number: int) -> dict[str, Any]:
    """Return an item of about 200 bytes, as a message has."""
    text = f"message {number} " + "x" * 120
    return {"pk": {"S": f"MSG#{number % 500}"}, "sk": {"S": f"{number:08}"}, "message": {"S": text}}


def loop_over(settings: Settings, count: int) -> None:
    """Write items as a script would: batches of 25, side by side."""
    client, numbers = local_client(settings, "dynamodb"), iter(range(count))
    batches = iter(lambda: list(itertools.islice(numbers, BATCH)), [])

    def put(batch: list[int]) -> None:
        requests: Any = [{"PutRequest": {"Item": item(number)}} for number in batch]
        while requests:
            answer: Any = client.batch_write_item(RequestItems={settings.message_table: requests})
            requests = answer["UnprocessedItems"].get(settings.message_table)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in pool.map(put, batches):
            assert done is None


@contextmanager
def started(place: Path, engine: str) -> Iterator[Settings]:
    """Yield the settings of a running environment that has DynamoDB alone."""
    place.chmod(0o755)
    environ = {**environment(place / "state"), "LOCALENV_SERVICES": "dynamodb", "LOCALENV_ENGINE": engine}
    with running(environ) as settings:
        yield settings


if __name__ == "__main__":
    sys.exit(main())
