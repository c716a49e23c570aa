"""Brings back the state before a command that replaced or removed stores, tables or the database: all of it or nothing.

The present state is kept first, so that an undo can be undone. Tables and pool come before the database, whose renaming
is the last step: an undo that is cut short goes on to its end when it is run again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import engines
from ..dynamodb import copies
from ..dynamodb.client import connect as connect_dynamodb
from ..errors import LocalEnvError, ServiceFailed, UsageError
from ..hints import Command, inv
from ..machine.words import counted
from ..postgres import aside, databases
from ..settings.guard import keeper_of
from . import loaded, switching
from .changed import changes
from .entries import EARLIER, Entries, Found, connected, require
from .entry import Entry
from .goingback import going_back
from .keeper import Keeper, Say
from .manifest import Table
from .putback import Stores, put_back
from .save import tidy
from .shelf import Shelf

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings


def entry_id(text: str) -> str:
    """Accept an id as `--list` shows it. Raises UsageError for another word."""
    if not re.fullmatch(rf"[0-9a-f]{{8}}|{EARLIER}", text):
        raise UsageError(f"{text!r} is not the id of something to undo", hint=f"{inv('undo', '--list')} shows them")
    return text


def find(settings: Settings) -> list[Found]:
    """Return what there is to undo, newest first; without databases that no command names where no server answers."""
    entries, last = Entries(settings), loaded.read_loaded(settings).parked
    found = entries.all()
    with suppress(ServiceFailed), connected(settings) as conn:
        found = entries.with_databases(conn) if conn else found
    return [each for each in found if not each.entry.is_parked or each.is_open or each.entry.id == last]


def state(settings: Settings, found: Found) -> str:
    """Return what is special about an entry, in words; empty where nothing is."""
    if found.is_open:
        return "under way, or cut short: the stores are partly changed"
    if found.entry.engine not in ("", engines.choose(settings).engine):
        return f"under the engine {found.entry.engine}"
    return "of what the same command had left when it was cut short before" if found.entry.follows_half else ""


def plan(settings: Settings, entry_id: str) -> tuple[list[str], list[str]]:
    """Return what `undo` would do, one thing a line, and what has changed since. Raises as it does."""
    with connected(settings) as conn:
        target = _require(settings, conn, entry_id)
        if _is_of_another_branch(settings, target):
            return _lines(settings, switching.whole(settings, target.entry), conn), []
        return _lines(settings, target.entry, conn), changes(settings, target.entry, conn)


def undo(settings: Settings, entry_id: str, say: Say) -> str:
    """Bring back the state before a command; return a sentence.

    Raises LocalEnvError where there is nothing to undo, UsageError where it cannot be undone here. A failure leaves
    every store as it is.
    """
    tidy(settings, Shelf(settings), say)
    with connected(settings) as conn:
        Entries(settings).settle(conn)
        target = _require(settings, conn, entry_id)
    entry, keeper = target.entry, keeper_of(settings)
    if _is_of_another_branch(settings, target):
        return switching.bring_in(settings, loaded.owner(settings), entry.branch, target, say)
    stores = Stores.of_entry(entry, target.folder or settings.state_dir)
    stores.verify()
    if isinstance(keeper, Keeper):
        keeper.begin_undo(entry.id)
        keeper.tables([*(table.name for table in entry.tables), *entry.absent])
        if entry.cognito:
            keeper.pool()
    ended: list[databases.Session] = []
    with going_back(settings, keeper) as present, connected(settings) as conn:
        put_back(settings, stores, present)
        with _noted(settings, entry):
            if entry.database and conn is not None:
                ended = aside.replace_by(conn, settings, entry.database.kept)
    if target.folder:
        Entries(settings).remove(target, None)
    return f"as before {entry.shown}: {', '.join(entry.contents)}{databases.describe_ended(ended)}"


def forget(settings: Settings, keep: int) -> list[str]:
    """Remove what goes back further than the newest `keep` commands; return what was removed."""
    entries = Entries(settings)
    with connected(settings) as conn:
        entries.settle(conn)
        return entries.prune(conn, engines.choose(settings).engine, keep, settings.undo_bytes)


def plan_forget(settings: Settings, keep: int) -> list[str]:
    """Return what `forget` would remove, one a line."""
    engine = engines.choose(settings).engine
    found = [each for each in find(settings) if not each.entry.is_parked]
    mine = [each for each in found if each.entry.engine in (engine, "") and not each.is_open]
    return [f"remove what undoes {each.entry.shown}: {', '.join(each.entry.contents)}" for each in mine[keep:]]


def _is_of_another_branch(settings: Settings, found: Found) -> bool:
    """Return whether an entry holds data of a branch that is not the one loaded: bringing them back is a switch."""
    return found.entry.is_parked and not found.is_open and found.entry.branch != loaded.owner(settings)


def _noted(settings: Settings, entry: Entry) -> AbstractContextManager[None]:
    return loaded.noted(settings, loaded.Loaded(entry.branch)) if entry.is_parked else nullcontext()


def _require(settings: Settings, conn: psycopg.Connection[Any] | None, entry_id: str) -> Found:
    """Return the entry to undo. Raises where there is none, or where it cannot come back here."""
    entries = Entries(settings)
    found = entries.with_databases(conn) if conn else entries.all()
    target = require(found, entry_id, loaded.read_loaded(settings).parked)
    if target.is_open:
        target = replace(target, entry=entries.settled(target.entry, conn))
    entry, engine = target.entry, engines.choose(settings).engine
    if entry.engine not in ("", engine):
        raise UsageError(
            f"{entry.shown} ran under the engine {entry.engine}, and {engine} runs now",
            hint=Command("undo", entry.id, "--engine", entry.engine, first="stop the services that run"),
        )
    if conn is not None and entry.database:
        _require_database(settings, conn, entry)
    return target


def _require_database(settings: Settings, conn: psycopg.Connection[Any], entry: Entry) -> None:
    kept = entry.database
    assert kept, "asked for only then"
    if kept.name != settings.postgres.database:
        raise UsageError(
            f"{entry.shown} was about database {kept.name}, and CONNECTION_URL names {settings.postgres.database}",
            hint=f"set CONNECTION_URL's database to {kept.name}",
        )
    if kept.kept and not databases.exists(conn, kept.kept):
        raise LocalEnvError(
            f"{entry.shown} cannot be undone: database {kept.kept}, which had the old contents, is gone",
            hint=Command("undo", "--list", when="to see what else there is"),
        )


def _lines(settings: Settings, entry: Entry, conn: psycopg.Connection[Any] | None) -> list[str]:
    lines: list[str] = []
    if entry.database and conn is not None:
        name = entry.database.name
        lines += [f"end the session of {session}" for session in databases.sessions(conn, name)]
        what = "put back the one before" if entry.database.kept else "remove it: there was none before"
        lines.append(f"database {name}: {what} {entry.shown}")
    lines += _table_lines(settings, entry.tables, entry.absent)
    if entry.cognito:
        lines.append(f"user pool: put back {counted(entry.cognito.users, 'user')}, with their subs and passwords")
    return [*lines, f"keep what is there now: {inv('undo')} again brings it back"]


def _table_lines(settings: Settings, tables: Sequence[Table], absent: Sequence[str]) -> list[str]:
    if "dynamodb" not in settings.services:
        return []
    copies.require_restorable(connect_dynamodb(settings))
    lines = [f"table {table.name}: put it back with its {counted(table.items, 'item')}" for table in tables]
    return [*lines, *(f"table {name}: remove it, there was none" for name in absent)]
