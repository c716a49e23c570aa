"""A sealed database as the files make it, from which a reset copies; kept beside the app's own.

`db.setup` makes it of a small database, so that the first reset is a copy too; of a large one the first reset makes it.

It holds for as long as files, people, target, locale and version are the same, and for FRESH_S only where the files ask
for the time: their rows end now, not when the copy was made.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .. import VERSION
from ..errors import LocalEnvError
from ..hints import inv
from ..machine.ages import ago
from . import databases, ledger, load, properties
from .connection import connect, server_errors
from .databases import sibling_name
from .load import Say
from .scripts import Script

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

FRESH_S = 600
SMALL_BYTES = 50 << 20
"""A copy of 7 to 37 MB took 12 to 22 ms embedded (ext4), and 50 to 220 ms under docker."""
LARGE_TABLE_BYTES = 8 << 20
_TIME = re.compile(
    rb"\b(?:now|(?:current|local)_?time(?:stamp)?|current_date|(?:clock|statement|transaction)_timestamp"
    rb"|timeofday|age|today|tomorrow|yesterday)\b",
    re.IGNORECASE,
)


def template_name(settings: Settings) -> str:
    return sibling_name(settings.postgres.database, "template")


def find(conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script]) -> str:
    """Return how old the template of these files is; empty where there is none that holds."""
    note = _read_note(conn, settings, scripts)
    return ago(time.time() - note["at"]) if note else ""


def plan(settings: Settings, scripts: Sequence[Script]) -> list[str]:
    """Return what `make` would do, a line each."""
    with databases.maintenance(settings.postgres) as conn:
        age = find(conn, settings, scripts)
    copy = f"copy {template_name(settings)}"
    return [f"{copy}, made from the same files {age}"] if age else [*load.plan_files(scripts), copy]


def plan_build(settings: Settings, scripts: Sequence[Script]) -> list[str]:
    """Return what `build` would do, a line each."""
    copy = f"keep a copy of it in {template_name(settings)}, if it is small, for {inv('db.reset')}"
    return [*load.plan_files(scripts), copy]


def make(conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script], new: str, say: Say) -> str:
    """Make a database as the files make it; return what it was made from. Raises SqlError with the place."""
    template, note = template_name(settings), _read_note(conn, settings, scripts)
    if note:
        done = f"a copy of what the same files made {ago(time.time() - note['at'])}"
    else:
        databases.drop(conn, template)
        databases.create(conn, template, like=settings.postgres.database)
        done = fill(settings, template, scripts, say)
        if _has_subscriptions(conn, template):
            databases.rename(conn, settings.postgres, [(template, new)])
            return done
        note = _seal(conn, settings, scripts)
    databases.clone(conn, settings.postgres, template, new)
    for line in properties.apply(conn, new, properties.Properties.of(note["properties"])):
        say(f"not taken over: {line}")
    return done


def build(conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script], new: str, say: Say) -> str:
    """Make a database from the files, and the template from that where it is small. Returns and raises as `make`."""
    template = template_name(settings)
    databases.drop(conn, template)
    databases.create(conn, new, like=settings.postgres.database)
    done = fill(settings, new, scripts, say)
    if databases.size_bytes(conn, new) <= SMALL_BYTES and not _has_subscriptions(conn, new):
        try:
            databases.clone(conn, settings.postgres, new, template)
            _seal(conn, settings, scripts, made_of=new)
        except LocalEnvError as error:
            say(f"{inv('db.reset')} will have no copy to start from: {error.message}")
    return done


def fill(settings: Settings, name: str, scripts: Sequence[Script], say: Say) -> str:
    """Run the files in a new, empty database, and mark it as this project's."""
    with server_errors(f"database {name}"), connect(settings.postgres, database=name) as conn:
        ledger.prepare(conn, ledger.owner(settings))
        done = load.apply(conn, scripts, say, was_empty=True)
        conn.commit()
        conn.autocommit = True
        _freeze_large(conn)
        return done


def _freeze_large(conn: psycopg.Connection[Any]) -> None:
    """Mark the rows of large tables as visible to all.

    Otherwise the first to read them does so in each copy, and with data checksums logs every page for it.
    """
    found = conn.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relpersistence = 'p'"
        " AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%%')"
        " AND pg_relation_size(oid) >= %s",
        (LARGE_TABLE_BYTES,),
    ).fetchall()
    if found:  # safe: these names are quoted by the server (regclass::text)
        conn.execute(f"VACUUM (FREEZE) {', '.join(name for (name,) in found)}".encode())


def _has_subscriptions(conn: psycopg.Connection[Any], name: str) -> bool:
    """Return whether a database has subscriptions: they are kept in the server's catalog, so a copy has none."""
    with server_errors(f"database {name}"):
        found = conn.execute(
            "SELECT FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s)", (name,)
        )
        return found.fetchone() is not None


def _seal(
    conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script], *, made_of: str = ""
) -> dict[str, Any]:
    """Close the template and note what it was made from, with the properties that a copy does not inherit."""
    template = template_name(settings)
    note = {
        "files": _fingerprint(settings, scripts, databases.locale(conn, template)),
        "at": time.time(),
        "timed": any(_TIME.search(script.file.text) for script in scripts),
        "properties": asdict(properties.fetch(conn, made_of or template)),
    }
    databases.seal(conn, template, json.dumps(note))
    return note


def _read_note(conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script]) -> dict[str, Any] | None:
    """Return the note of the template, where it holds for these files."""
    try:
        note = json.loads(dict(databases.names(conn)).get(template_name(settings), ""))
        properties.Properties.of(note["properties"])
        locale = databases.locale(conn, settings.postgres.database)
        holds = note["files"] == _fingerprint(settings, scripts, locale)
        fresh = not note["timed"] or time.time() - float(note["at"]) < FRESH_S
    except (ValueError, KeyError, TypeError):
        return None
    return note if holds and fresh else None


def _fingerprint(settings: Settings, scripts: Sequence[Script], locale: Mapping[str, str]) -> str:
    parts = [VERSION, settings.project_id, str(locale), *(f"{s.entry.key} {s.entry.fingerprint}" for s in scripts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
