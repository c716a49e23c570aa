"""What an environment holds, as a value to compare, and the states to begin from: for the tests of --plan."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from tasks.localenv import engines
from tasks.localenv.aws.emulatordoor import door_to
from tasks.localenv.cognito.users import find_pool, look_for_pool
from tasks.localenv.dynamodb import copies, schema
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.engines.emulator_server.poolstate import users_of
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import aside, checksum, databases, setup
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import read_people
from tasks.localenv.snapshot import restore, save, switching
from tasks.localenv.snapshot.entries import Entries
from tasks.localenv.snapshot.shelf import Shelf
from tests.support import keeping, seeded
from tests.support.seeded import quiet

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OTHERS = ("postgres", "template0", "template1")


@dataclass(frozen=True)
class World:
    """What a command can change. Stores that do not run hold nothing here."""

    running: tuple[tuple[str, str], ...]
    databases: tuple[tuple[str, int, str], ...]
    tables: tuple[tuple[str, int, str], ...]
    users: tuple[tuple[str, str, str], ...]
    snapshots: tuple[tuple[str, str], ...]
    undo: tuple[str, ...]

    @property
    def database_names(self) -> set[str]:
        return {name for name, _, _ in self.databases}

    def oid(self, database: str) -> int:
        return next((oid for name, oid, _ in self.databases if name == database), 0)

    def items(self, table: str) -> int:
        return next((count for name, count, _ in self.tables if name == table), -1)


def look(settings: Settings) -> World:
    """Look at everything; changes nothing."""
    states = engines.look(settings)
    running = tuple((state.service, state.holder) for state in states if state.status == "running")
    shelf = Shelf(settings)
    snapshots = tuple((name, shelf.read(name).id) for name in shelf.names())
    undo = tuple(each.entry.id for each in Entries(settings).all())
    if len(running) < len(states):
        return World(running, (), (), (), snapshots, undo)
    client = connect_dynamodb(settings)
    tables = tuple(_table(client, name) for name in sorted(schema.fetch_names(client)))
    users = tuple(users_of(door_to(settings).fetch()))
    return World(running, _databases(settings), tables, users, snapshots, undo)


def _table(client: DynamoDBClient, name: str) -> tuple[str, int, str]:
    held, shape = copies.measure_items(client, name), schema.require_table(client, name).shape
    return name, held.count, f"{held.sha256} {shape}"


def _databases(settings: Settings) -> tuple[tuple[str, int, str], ...]:
    with databases.maintenance(settings.postgres) as conn:
        rows = conn.execute("SELECT datname::text, oid::int, datallowconn FROM pg_database ORDER BY 1").fetchall()
    return tuple(
        (name, oid, _contents(settings, name) if usable else "") for name, oid, usable in rows if name not in OTHERS
    )


def _contents(settings: Settings, database: str) -> str:
    with connect(settings.postgres, database=database, autocommit=True) as conn:
        return checksum.measure(conn).sha256


def clear(settings: Settings) -> None:
    """Start the services, and leave nothing in them but a seeded pool."""
    if not engines.look_if_up(settings):
        engines.up(settings, quiet)
    with databases.maintenance(settings.postgres) as conn:
        for name, _ in databases.names(conn):
            if name not in OTHERS:
                databases.drop(conn, name)
    client = connect_dynamodb(settings)
    for table in schema.fetch_tables(client):
        copies.drop_table(client, table.shape.name)
    for folder in (Shelf(settings).folder, Entries(settings).folder):
        shutil.rmtree(folder, ignore_errors=True)


def nothing(settings: Settings) -> None:
    """The services run, and hold nothing: no database, no table, no pool."""
    clear(settings)
    if pool := look_for_pool(settings):
        pool.call("DeleteUserPool", UserPoolId=pool.id)


def set_up(settings: Settings) -> None:
    clear(settings)
    seeded.fill(settings)


def down(settings: Settings) -> None:
    set_up(settings)
    engines.down(settings, quiet)


def destroyed(settings: Settings) -> None:
    engines.destroy(settings, quiet)


def empty_database(settings: Settings) -> None:
    set_up(settings)
    with databases.maintenance(settings.postgres) as conn:
        databases.drop(conn, settings.postgres.database)
        databases.create(conn, settings.postgres.database)


def no_database(settings: Settings) -> None:
    set_up(settings)
    with databases.maintenance(settings.postgres) as conn:
        databases.drop(conn, settings.postgres.database)


def schema_changed(settings: Settings) -> None:
    _execute(settings, "UPDATE localenv.applied SET sha256 = 'x' WHERE step = 'schema'")


def seed_changed(settings: Settings) -> None:
    _execute(settings, "UPDATE localenv.applied SET sha256 = 'x' WHERE step = 'seed'")


def unlinked(settings: Settings) -> None:
    _execute(settings, "UPDATE users SET cognito_user_id = 'MOCK'")


def foreign_database(settings: Settings) -> None:
    """A database of this name holds tables that are somebody else's."""
    no_database(settings)
    with databases.maintenance(settings.postgres) as conn:
        databases.create(conn, settings.postgres.database)
    with connect(settings.postgres, autocommit=True) as conn:
        conn.execute("CREATE TABLE theirs (id int)")


def other_projects_database(settings: Settings) -> None:
    _execute(settings, "UPDATE localenv.marker SET project_id = 'other'")


def undo_there(settings: Settings) -> None:
    set_up(settings)
    with keeping.run(settings, "inv db.setup --force") as its:
        setup.setup(its, quiet, typed=True, force=True)


def table_missing(settings: Settings) -> None:
    set_up(settings)
    copies.drop_table(connect_dynamodb(settings), settings.message_table)


def table_different(settings: Settings) -> None:
    set_up(settings)
    connect_dynamodb(settings).update_table(
        TableName=settings.message_table, ProvisionedThroughput={"ReadCapacityUnits": 7, "WriteCapacityUnits": 7}
    )


def table_of_another_key(settings: Settings) -> None:
    table_missing(settings)
    connect_dynamodb(settings).create_table(
        TableName=settings.message_table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def table_that_cannot_be_saved(settings: Settings) -> None:
    """The table has an index with something that no definition keeps."""
    table_missing(settings)
    key = [{"AttributeName": "pk", "KeyType": "HASH"}]
    warm = {"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 5000}
    index = {"IndexName": "warm", "KeySchema": key, "Projection": {"ProjectionType": "ALL"}, "WarmThroughput": warm}
    create: Any = connect_dynamodb(settings).create_table
    create(
        TableName=settings.message_table,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=key,
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[index],
    )


def table_half_replaced(settings: Settings) -> None:
    """The items are in a copy alone: the table itself is gone."""
    table_missing(settings)
    client, name = connect_dynamodb(settings), f"{settings.message_table}.replacing"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    schema.wait_until_active(client, name)


def items_missing(settings: Settings) -> None:
    set_up(settings)
    client = connect_dynamodb(settings)
    first = next(scan(client, settings.message_table, limit=1))
    client.delete_item(TableName=settings.message_table, Key={name: first[name] for name in ("pk", "sk")})


def messages_ahead(settings: Settings) -> None:
    """Three messages have a time in the future."""
    set_up(settings)
    client, table = connect_dynamodb(settings), settings.message_table
    message = next(item for item in scan(client, table) if item["pk"]["S"].startswith("MSG#"))
    for minute in range(3):
        client.put_item(TableName=table, Item={**message, "sk": {"S": f"2999-01-01T00:0{minute}:00.000000+00:00"}})


def strays(settings: Settings) -> None:
    """Two items are of no kind that the app knows."""
    set_up(settings)
    for number in "12":
        item = {"pk": {"S": "it's"}, "sk": {"S": number}}
        connect_dynamodb(settings).put_item(TableName=settings.message_table, Item=item)


def user_missing(settings: Settings) -> None:
    set_up(settings)
    pool = find_pool(settings)
    pool.call("AdminDeleteUser", UserPoolId=pool.id, Username=read_people(TOOL)[0].email)


def snapshot_there(settings: Settings) -> None:
    """A snapshot `one`, and something changed since."""
    set_up(settings)
    save.save(settings, "one", quiet)
    _change_a_name(settings)


def restore_cut_short(settings: Settings) -> None:
    """A restore of `one` has changed tables and pool, but not the database yet."""
    snapshot_there(settings)
    swap = mock.patch.object(aside, "replace_by", side_effect=KeyboardInterrupt)
    with swap, contextlib.suppress(KeyboardInterrupt), keeping.run(settings, "inv snapshot.restore one") as its:
        restore.restore(its, "one", quiet)


def branch_parked(settings: Settings) -> None:
    """The data of `feat` are loaded, those of `main` are kept."""
    set_up(settings)
    with keeping.run(settings, "inv snapshot.switch feat") as its:
        switching.bring_in(its, "main", "feat", None, quiet)
    _change_a_name(settings)


def undo_with_changes(settings: Settings) -> None:
    undo_there(settings)
    _change_a_name(settings)


def _change_a_name(settings: Settings) -> None:
    with connect(settings.postgres, autocommit=True) as conn:
        conn.execute("UPDATE users SET display_name = 'changed' WHERE handle = 'londo'")


def _execute(settings: Settings, statement: str) -> None:
    set_up(settings)
    with connect(settings.postgres, autocommit=True) as conn:
        conn.execute(statement.encode())


State = Callable[[Settings], None]
