"""What the tests of snapshots share: the state of all stores as a value, and an environment to change."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.localenv.aws.emulatordoor import door_to
from tasks.localenv.checkout.ownership import MARK
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.dynamodb import copies, schema
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.dynamodb.copies import Items
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.engines.emulator_server.poolstate import users_of
from tasks.localenv.postgres import checksum, databases
from tasks.localenv.postgres.checksum import Contents
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tasks.localenv.snapshot.entries import Entries
from tasks.localenv.snapshot.shelf import Shelf

SESSIONS_OFF = "SELECT datname::text FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'"


@dataclass(frozen=True)
class State:
    """The contents of all stores."""

    postgres: Contents
    tables: dict[str, Items]
    users: list[tuple[str, str, str]]


def look(settings: Settings) -> State:
    client = connect_dynamodb(settings)
    with connect(settings.postgres, autocommit=True) as conn:
        rows = checksum.measure(conn)
    tables = {name: copies.measure_items(client, name) for name in schema.fetch_names(client)}
    return State(rows, tables, users_of(door_to(settings).fetch()))


def change(settings: Settings) -> State:
    """Change something in every store: a row, an item, a table more, a user less."""
    with connect(settings.postgres, autocommit=True) as conn:
        conn.execute("UPDATE users SET display_name = display_name || ' II'")
    client = connect_dynamodb(settings)
    first = next(scan(client, settings.message_table, limit=1))
    client.delete_item(TableName=settings.message_table, Key={name: first[name] for name in ("pk", "sk")})
    client.create_table(
        TableName=f"{settings.message_table}-more",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    pool = find_pool(settings)
    pool.call("AdminDeleteUser", UserPoolId=pool.id, Username="imani@example.com")
    return look(settings)


def leftovers(settings: Settings) -> list[str]:
    """Name what a command should not leave: half folders, clones without a snapshot, and notes."""
    shelf = Shelf(settings)
    kept = {shelf.clone_name(shelf.read(name).id) for name in shelf.names()}
    with databases.maintenance(settings.postgres) as conn:
        # A server that tests share has clones of others.
        named = [name for name, _ in databases.names(conn) if name.startswith(f"{settings.postgres.database}__snap_")]
        closed = [name for (name,) in conn.execute(SESSIONS_OFF).fetchall() if name == settings.postgres.database]
    inside = shelf.folder.iterdir() if shelf.folder.is_dir() else ()
    folders = [path.name for path in inside if path.name not in (*shelf.names(), MARK)]
    entries, undo = Entries(settings), f"{settings.postgres.database}__undo_"
    held = {each.entry.database.kept for each in entries.all() if each.entry.database}
    with databases.maintenance(settings.postgres) as conn:
        aside = {name for name, _ in databases.names(conn) if name.startswith(undo)}
    return sorted([*(set(named) - kept), *closed, *folders, *(aside - held)])


def beside(live: Settings, mine: Settings) -> Settings:
    """Let the settings of another project find the emulator that `live` runs."""
    (mine.state_dir / "emulator").mkdir(parents=True, exist_ok=True)
    shutil.copy(live.state_dir / "emulator" / "token", mine.state_dir / "emulator" / "token")
    return mine


def as_other_project(settings: Settings, state_dir: Path, project_id: str) -> Settings:
    return beside(settings, replace(settings, state_dir=state_dir, project_id=project_id))


Part = tuple[str, bytes]
Edit = Callable[[list[Part]], list[Part]]


def repacked(file: Path, edit: Edit) -> Path:
    """Write a file with other parts; each is a name and its bytes."""
    with tarfile.open(file) as tar:
        parts = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(file, "w:gz") as tar:
        for name, content in edit(parts):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return file


def flipped(part: Part) -> Part:
    """Change the last byte of a part, and nothing else."""
    name, content = part
    return name, content[:-1] + bytes([content[-1] ^ 1])
