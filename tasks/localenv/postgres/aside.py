"""The one way in which the app's database is replaced or removed as a whole: by renaming, so that `undo` finds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..settings.guard import keeper_of
from . import databases
from .databases import Session, sibling_name
from .sqlfile import SqlError

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings


def replace_by(conn: psycopg.Connection[Any], settings: Settings, new: str, *, keeps_old: bool = True) -> list[Session]:
    """Put the settings' database aside and give its name to `new`, or to none where that is empty; all or nothing.

    Without a keeper, or with one that keeps an earlier state already, the old one is dropped. Returns the sessions that
    were ended.
    """
    name = settings.postgres.database
    gone, keeper = sibling_name(name, "gone"), keeper_of(settings) if keeps_old else None
    databases.drop(conn, gone)  # of an interrupted run
    kept = keeper.database(conn) if keeper else ""
    pairs = [(name, kept or gone)] if databases.exists(conn, name) else []
    pairs += [(new, name)] if new else []
    ended = databases.rename(conn, settings.postgres, pairs) if pairs else []
    databases.drop(conn, gone)
    return ended


@contextlib.contextmanager
def kept_copy(settings: Settings, *, is_wanted: bool) -> Iterator[None]:
    """Keep a copy of the database, which is changed in place then; its sessions are ended.

    Where the body fails in its transaction nothing has changed, and the copy is dropped.
    """
    keeper = keeper_of(settings) if is_wanted else None
    if keeper is None:
        yield
        return
    with databases.maintenance(settings.postgres) as conn:
        kept = keeper.database(conn, copy=True)
    try:
        yield
    except SqlError as error:
        if kept and not error.kept:
            with contextlib.suppress(LocalEnvError), databases.maintenance(settings.postgres) as conn:
                databases.drop(conn, kept)
        raise
