"""A kill before every change that a command makes to a file, a database or the emulator; `undo` puts it right.

So does the same command, run again.

The command runs in a fork, whose jobs come one after the other, so that the k-th change is the same one each time. What
only reads is no boundary: a kill before it leaves what one before the next change leaves.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from tasks.localenv.aws.wire import READING
from tasks.localenv.checkout.ownership import MARK
from tasks.localenv.dynamodb import copies, schema, tablefiles
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.environment import stores
from tasks.localenv.machine import parallel
from tasks.localenv.postgres import databases, load, setup
from tasks.localenv.settings import Settings, guard
from tasks.localenv.snapshot import restore, save, undoing
from tasks.localenv.snapshot.entries import Entries
from tests.support.keeping import run, undone
from tests.support.reliability import Count
from tests.support.seeded import PEOPLE, QUERIES, complete, quiet
from tests.support.snapshots import State, beside, change, leftovers, look

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
READS = re.compile(r"\s*(SELECT|SHOW|SET|BEGIN|LOCK|DECLARE|FETCH)\b", re.IGNORECASE)
TARGET = re.compile(rb"X-Amz-Target: \w+\.(\w+)")
NUMBER = re.compile(r"[0-9a-f]{8}")
LIMIT = 400

Seen = tuple[State | None, frozenset[str]]


class Boundaries:
    """Counts the changes of this process, and kills it before the one of a number."""

    def __init__(self, state_dir: Path, number: int) -> None:
        self.inside, self.left = str(state_dir), number
        self._written: set[int] = set()

    def install(self) -> None:
        sys.addaudithook(self._heard)
        for owner, name in (
            (psycopg.Cursor, "execute"),
            (psycopg.Connection, "commit"),
            (psycopg.Transaction, "__exit__"),
        ):
            setattr(owner, name, self._counted(getattr(owner, name)))

        def no_thread(**options: Any) -> None:
            raise RuntimeError("can't start new thread")

        vars(parallel)["threading"] = SimpleNamespace(Thread=no_thread)

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _heard(self, event: str, values: tuple[Any, ...]) -> None:
        if event == "http.client.send":
            data = bytes(values[1])
            target = TARGET.search(data)
            if data[:4] in (b"POST", b"PUT ") and not (target and READING.match(target[1].decode())):
                self._count()
        elif (event == "open" and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or event in CHANGES:
            path = os.fsdecode(values[0]) if not isinstance(values[0], int) else ""
            if path.startswith(self.inside) or (event in CHANGES and not path.startswith("/")):  # of an open folder
                self._count()

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(its: Any, *words: Any, **options: Any) -> Any:
            if method.__name__ == "execute":
                query = words[0]
                text = (
                    query
                    if isinstance(query, str)
                    else query.decode()
                    if isinstance(query, bytes)
                    else query.as_string()
                )
                if not READS.match(text):
                    self._written.add(id(its.connection))
                    self._count()
            elif id(conn := getattr(its, "connection", its)) in self._written and is_in_transaction(conn):
                self._count()
            return method(its, *words, **options)

        return call


def is_in_transaction(conn: psycopg.Connection[Any]) -> bool:
    return conn.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def killed_before(settings: Settings, number: int, command: Callable[[], object]) -> bool:
    """Run a command in a fork that is killed before its change of this number; return whether it came that far."""
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), f"the command failed before change {number}"
        return status != 0
    try:
        Boundaries(settings.state_dir, number).install()
        command()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing of the fork may go on in pytest
        traceback.print_exc()
        os._exit(1)


@pytest.fixture
def mine(live: Settings, tmp_path: Path, database: Settings, fresh: Settings) -> Iterator[Settings]:
    """The settings of a filled environment of its own."""
    settings = beside(live, complete(live, tmp_path / "state", database, fresh))
    yield settings
    copies.drop_table(connect_dynamodb(settings), f"{settings.message_table}-more")
    undoing.forget(settings, 0)


def seen(settings: Settings) -> Seen:
    with databases.maintenance(settings.postgres) as conn:
        there = databases.exists(conn, settings.postgres.database)
    tables = frozenset(schema.fetch_names(connect_dynamodb(settings)))
    return (look(settings) if there else None), tables


def shape(state: Seen) -> object:
    """Return what is the same each time that a command ran: its seeds have the time of then."""
    held, tables = state
    return held and (held.postgres.tables, held.postgres.rows, len(held.users), count_items(held)), tables


def count_items(state: State) -> dict[str, int]:
    return {name: items.count for name, items in state.tables.items()}


@dataclass(frozen=True)
class Seeds:
    """A seed of one item: a reset of all stores ends with it."""

    settings: Settings

    def seed(self, say: Any) -> str:
        item = {"pk": {"S": "GRP#1"}, "sk": {"S": "1"}}
        connect_dynamodb(self.settings).put_item(TableName=self.settings.message_table, Item=item)
        return "one item"


def reset(settings: Settings) -> None:
    seeds: Any = Seeds(settings)
    stores.reset(
        settings,
        people=PEOPLE,
        queries=QUERIES,
        tables=tablefiles.read_tables(settings),
        prepare=lambda conn: seeds,
        say=quiet,
        yes=True,
    )


def db_drop(settings: Settings) -> None:
    setup.drop(settings)


def ddb_drop(settings: Settings) -> None:
    client, keeper = connect_dynamodb(settings), guard.keeper_of(settings)
    assert keeper
    keeper.tables([settings.message_table])
    if found := schema.fetch_table(client, settings.message_table):
        schema.drop_table(client, found)


def schema_load(settings: Settings) -> None:
    load.apply_schema(settings, str(settings.state_dir.with_name("more.sql")), quiet, yes=True)


def restored(settings: Settings) -> None:
    restore.restore(settings, "a", quiet)


def undo(settings: Settings) -> None:
    undoing.undo(settings, "", quiet)


def as_command(settings: Settings, task: Callable[[Settings], None]) -> None:
    """Run a task as the executor does, which settles what killed ones left also where this one keeps nothing."""
    with run(settings, f"inv {task.__name__}") as its:
        task(its)
    entries(settings)


def forget(settings: Settings) -> None:
    """Remove what undo brings back, and hold that then nothing is left over."""
    assert not Entries(settings).has_open
    undoing.forget(settings, 0)
    assert leftovers(settings) == []
    assert [path.name for path in (settings.state_dir / "undo").iterdir() if path.name != MARK] == []


COMMANDS = (reset, db_drop, ddb_drop, schema_load, restored)


@pytest.mark.reliability("kills")
@pytest.mark.parametrize("task", COMMANDS, ids=lambda task: task.__name__)
def test_a_command_killed_before_any_change_can_be_undone_or_run_again(
    mine: Settings, task: Callable[[Settings], None], trials: Count
) -> None:
    mine.state_dir.with_name("more.sql").write_text(
        "CREATE TABLE IF NOT EXISTS more (id int);\nDROP TABLE IF EXISTS activities;\n"
    )
    save.save(mine, "a", quiet)
    change(mine)
    before = seen(mine)
    as_command(mine, task)
    after = seen(mine)
    undone(mine)
    assert seen(mine) == before != after
    forget(mine)
    tried: set[object] = set()
    for number in range(1, LIMIT):
        if not killed_before(mine, number, partial(as_command, mine, task)):
            break
        left = seen(mine)
        assert left == before or shape(left) == shape(after) or warned(mine), f"change {number}: nothing warns"
        known = traces(mine, left)
        if known not in tried:  # no kill before has left just this
            tried.add(known)
            run_it_again(mine, task, after)
            assert seen(mine) == before, f"change {number}, run again and undone"
            forget(mine)
            killed_before(mine, number, partial(as_command, mine, task))
        undo_it(mine, before)
        assert seen(mine) == before, f"change {number}, undone"
        forget(mine)
    trials(number - 1 + len(tried))


@pytest.mark.reliability("kills")
def test_an_undo_killed_before_any_change_goes_on_to_its_end_and_can_be_undone(mine: Settings, trials: Count) -> None:
    save.save(mine, "a", quiet)
    change(mine)
    after = seen(mine)
    as_command(mine, restored)
    before = seen(mine)
    for number in range(1, LIMIT):
        if not killed_before(mine, number, partial(as_command, mine, undo)):
            break
        left = seen(mine)
        assert left in (before, after) or warned(mine), f"change {number}: nothing warns"
        as_command(mine, undo)
        now = seen(mine)
        assert now == after or (left == after and now == before), f"change {number}: the undo did not go on"
        as_command(mine, undo)
        assert [now, seen(mine)] in ([before, after], [after, before]), f"change {number}: the undo cannot be undone"
        if now == after:
            as_command(mine, undo)
        forget(mine)
        as_command(mine, restored)
    trials(number - 1)


def warned(settings: Settings) -> bool:
    """Return whether every command warns of one that was cut short."""
    return any(settings.state_dir.glob("undo/*.open/entry.json"))


def traces(settings: Settings, left: Seen) -> object:
    """Return what decides how the next command goes on: stores, databases, folders and notes, without their numbers."""
    with databases.maintenance(settings.postgres) as conn:
        names = [name for name, _ in databases.names(conn)]
    folders = [path.relative_to(settings.state_dir) for path in settings.state_dir.glob("*/*")]
    notes = map(json.loads, (path.read_text() for path in sorted(settings.state_dir.glob("undo/*/entry.json"))))
    held = [{name: bool(value) for name, value in note.items()} for note in notes]
    return repr(left), NUMBER.sub("", repr((names, sorted(folders), held)))


def undo_it(settings: Settings, before: Seen) -> None:
    if entries(settings) or seen(settings) != before:
        undone(settings)
    assert not warned(settings)


def run_it_again(settings: Settings, task: Callable[[Settings], None], after: Seen) -> None:
    as_command(settings, task)
    assert shape(seen(settings)) == shape(after)
    undone(settings, [each.entry.id for each in entries(settings) if not each.entry.follows_half][-1])


def entries(settings: Settings) -> list[Any]:
    with databases.maintenance(settings.postgres) as conn:
        Entries(settings).settle(conn)
        return Entries(settings).with_databases(conn)
