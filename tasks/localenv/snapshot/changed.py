"""What has changed in the stores since a command had ended: what an undo would take away again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..aws.emulatordoor import door_to
from ..dynamodb import schema
from ..dynamodb.client import connect as connect_dynamodb
from ..engines.emulator_server.poolstate import names_of
from ..machine.words import counted
from ..postgres import databases
from ..postgres.connection import connect, server_errors
from .entry import Entry, Marks

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

SHOWN = 3
_XID = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_DELETED = "SELECT coalesce(sum(n_tup_del), 0)::bigint FROM pg_stat_user_tables"
_TABLES = (
    "SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'localenv')"
)


def mark(settings: Settings, entry: Entry, conn: psycopg.Connection[Any] | None) -> Marks:
    """Return how the stores of an entry are now. `conn` is one to the server, None where the app has no database."""
    xid, deleted = None, None
    if entry.database and conn is not None:
        xid = _number(conn, _XID)
        if databases.exists(conn, entry.database.name):
            with connect(settings.postgres, autocommit=True) as inside:
                deleted = _number(inside, _DELETED)
    names = [*(table.name for table in entry.tables), *entry.absent]
    users = _users(settings) if entry.cognito else None
    return Marks(xid, deleted, _items(settings, names) if names else None, users)


def changes(settings: Settings, entry: Entry, conn: psycopg.Connection[Any] | None) -> list[str]:
    """Return what changed in the stores of an entry since its command had ended, one thing each."""
    marks = entry.marks
    if marks is None:
        return ["what has changed since is not known: it was cut short, or is of an earlier version"]
    return [
        *(_database(settings, entry, marks, conn) if entry.database and conn is not None else ()),
        *_tables(settings, marks),
        *_pool(settings, marks),
    ]


def _database(settings: Settings, entry: Entry, marks: Marks, conn: psycopg.Connection[Any]) -> Iterator[str]:
    assert entry.database, "asked for only then"
    name = entry.database.name
    if not databases.exists(conn, name):
        if marks.deleted is not None:
            yield f"database {name} was removed"
        return
    if marks.deleted is None:
        yield f"database {name} was created"
        return
    with connect(settings.postgres, autocommit=True) as inside, server_errors(f"database {name}"):
        tables = [row[0] for row in inside.execute(_TABLES).fetchall()]
        newer = f" WHERE xmin::text::bigint >= {int(marks.xid or 0)}"  # of the rows alone that are there
        each = " UNION ALL ".join(f"SELECT count(*) FROM ONLY {table}{newer}" for table in tables)
        written = _number(inside, f"SELECT sum(count)::bigint FROM ({each}) AS each") if tables else 0
        deleted = _number(inside, _DELETED) - marks.deleted
    if written:
        yield f"{counted(written, 'row')} of database {name} {_were(written)} added or changed"
    if deleted > 0:
        yield f"{counted(deleted, 'row')} of database {name} {_were(deleted)} removed"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _number(conn: psycopg.Connection[Any], query: str) -> int:
    with server_errors("database"):
        row = conn.execute(query.encode()).fetchone()
    return int(row[0] or 0) if row else 0


def _items(settings: Settings, names: list[str]) -> dict[str, int | None]:
    client = connect_dynamodb(settings)
    found = {name: schema.fetch_table(client, name) for name in names}
    return {name: table.items if table else None for name, table in found.items()}


def _tables(settings: Settings, marks: Marks) -> Iterator[str]:
    if not marks.items:
        return
    for name, now in _items(settings, list(marks.items)).items():
        then = marks.items[name]
        if now == then:
            continue
        if now is None or then is None:
            yield f"table {name} was {'removed' if now is None else 'created'}"
        else:
            yield f"table {name} has {counted(abs(now - then), 'item')} {'more' if now > then else 'less'}"


def _users(settings: Settings) -> dict[str, str]:
    """Return whom the pools have: a name to show by the ids of pool and user."""
    return {"/".join(ids): name for ids, name in names_of(door_to(settings).fetch()).items()}


def _pool(settings: Settings, marks: Marks) -> Iterator[str]:
    if marks.users is None:
        return
    then, now = marks.users, _users(settings)
    new, gone = [now[each] for each in now.keys() - then.keys()], [then[each] for each in then.keys() - now.keys()]
    for listed, what in ((sorted(new), "signed up"), (sorted(gone), "left the pool")):
        if listed:
            more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
            yield f"{counted(len(listed), 'user')} {what}: {', '.join(listed[:SHOWN])}{more}"
