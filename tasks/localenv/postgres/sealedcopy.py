"""A sealed database as the files make it, from which a reset copies: made at the first one, and kept beside.

It holds for as long as files, people, target and version are the same, and for FRESH_S only where the files ask for the
time: their rows end now, not when the copy was made.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import VERSION
from ..machine.ages import ago
from . import databases, ledger, load
from .connection import connect, server_errors
from .databases import sibling_name
from .load import Say
from .scripts import Script

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

FRESH_S = 600
_TIME = re.compile(
    rb"\b(?:now|(?:current|local)_?time(?:stamp)?|current_date|(?:clock|statement|transaction)_timestamp"
    rb"|timeofday|age|today|tomorrow|yesterday)\b",
    re.IGNORECASE,
)


def template_name(settings: Settings) -> str:
    return sibling_name(settings.postgres.database, "template")


def find(conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script]) -> str:
    """Return how old the template of these files is; empty where there is none that holds."""
    comment = dict(databases.names(conn)).get(template_name(settings), "")
    try:
        found = json.loads(comment)
        age_s = time.time() - float(found["at"])
        holds = found["files"] == _fingerprint(settings, scripts) and (age_s < FRESH_S or not found["timed"])
    except (ValueError, KeyError, TypeError):
        return ""
    return ago(age_s) if holds else ""


def plan(settings: Settings, scripts: Sequence[Script]) -> list[str]:
    """Return what `make` would do, a line each."""
    with databases.maintenance(settings.postgres) as conn:
        age = find(conn, settings, scripts)
    copy = f"copy {template_name(settings)}"
    return [f"{copy}, made from the same files {age}"] if age else [*load.plan_files(scripts), copy]


def make(conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script], new: str, say: Say) -> str:
    """Make a database as the files make it; return what it was made from. Raises SqlError with the place."""
    template, age = template_name(settings), find(conn, settings, scripts)
    done = f"a copy of what the same files made {age}"
    if not age:
        databases.drop(conn, template)
        databases.create(conn, template)
        done = fill(settings, template, scripts, say)
        timed = any(_TIME.search(script.file.text) for script in scripts)
        note = {"files": _fingerprint(settings, scripts), "at": time.time(), "timed": timed}
        databases.seal(conn, template, json.dumps(note))
    databases.clone(conn, settings.postgres, template, new)
    return done


def fill(settings: Settings, name: str, scripts: Sequence[Script], say: Say) -> str:
    """Run the files in a new, empty database, and mark it as this project's."""
    with server_errors(f"database {name}"), connect(settings.postgres, database=name) as conn:
        ledger.prepare(conn, ledger.owner(settings))
        return load.apply(conn, scripts, say, was_empty=True)


def _fingerprint(settings: Settings, scripts: Sequence[Script]) -> str:
    parts = [VERSION, settings.project_id, *(f"{s.entry.key} {s.entry.fingerprint}" for s in scripts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
