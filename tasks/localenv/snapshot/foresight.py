"""What a restore would replace, in words: of each store that the app has. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..dynamodb import copies, schema
from ..dynamodb.client import connect
from ..hints import inv
from ..machine.words import counted
from ..postgres import databases
from .manifest import Manifest

if TYPE_CHECKING:
    from ..settings import Settings


def about_database(settings: Settings) -> list[str]:
    """Return whose sessions would end, and that the database would be replaced."""
    if "postgres" not in settings.services:
        return []
    database = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        lines = [f"end the session of {session}" for session in databases.sessions(conn, database)]
        return [*lines, *([f"replace database {database}"] if databases.exists(conn, database) else [])]


def about_tables(settings: Settings, manifest: Manifest) -> list[str]:
    """Return what would happen to each table."""
    if "dynamodb" not in settings.services:
        return []
    lines, wanted = [], {table.name: table for table in manifest.tables}
    for table in schema.fetch_tables(connect(settings)):
        kept = wanted.get(table.shape.name)
        what = f"table {table.shape.name} with its {counted(table.items, 'item')}"
        lines.append(f"replace {what} by {kept.items:,}" if kept else f"drop {what}: the snapshot does not have it")
    return lines


def about_undo(settings: Settings) -> list[str]:
    """Return that the present state is kept. Raises LocalEnvError if a table of it could not be restored."""
    if "dynamodb" in settings.services:
        copies.require_restorable(connect(settings))
    return [f"keep all of that: {inv('undo')} brings it back"]


def about_pool(settings: Settings, manifest: Manifest) -> list[str]:
    """Return what happens to the users."""
    if "cognito" not in settings.services:
        return []
    if not settings.cognito_is_emulated:
        return [f"leave user pool {settings.user_pool_id} as it is: it is a real one"]
    if manifest.cognito is None:
        return ["leave the emulated pool as it is: the snapshot was saved without one"]
    return [
        f"replace the emulated pool by {counted(manifest.cognito.users, 'user')}, with their saved subs and passwords"
    ]
