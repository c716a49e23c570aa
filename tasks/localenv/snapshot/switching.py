"""Parks all stores as the data of one branch and loads those of another: all of it or nothing.

The database is renamed, as the last step; tables and pool go through files. A branch without data of its own starts
with a copy of what is there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..dynamodb import schema
from ..dynamodb.client import connect as connect_dynamodb
from ..errors import LocalEnvError
from ..postgres import aside, databases, properties
from ..settings.guard import keeper_of
from .entries import Entries, Found, connected
from .goingback import going_back
from .keeper import Keeper, Say
from .loaded import Loaded, noted, parked
from .putback import Stores, put_back

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings
    from .entry import Entry


def bring_in(settings: Settings, owner: str, branch: str, target: Found | None, say: Say) -> str:
    """Park what is there as the data of `owner` and load those of `branch`, which `target` has; return a sentence.

    Without a target the branch starts with a copy. Where the owner is not known, `undo` alone brings it back.
    """
    keeper = keeper_of(settings)
    assert isinstance(keeper, Keeper), "a switch can be undone"
    wanted = Stores.of_entry(whole(settings, target.entry), target.folder) if target and target.folder else None
    if wanted:
        wanted.verify()
    _release(settings, owner)
    is_resumed = keeper.begin_switch(owner, target.entry.id if target else "")
    if "dynamodb" in settings.services:
        there = schema.fetch_names(connect_dynamodb(settings))
        keeper.tables([*there, *(table.name for table in wanted.tables)] if wanted else there)
    keeper.pool()
    with going_back(settings, keeper) as present, connected(settings) as conn:
        if wanted:
            put_back(settings, wanted, None if is_resumed else present)
        elif is_resumed and present:
            put_back(settings, present, None)
        with noted(settings, Loaded(branch, keeper.entry.id)):
            ended = _load_database(conn, settings, keeper, target, say) if conn is not None else []
    if target and target.folder:
        Entries(settings).remove(target, None)
    for line in keeper.finish():
        say(line)
    since = f"as of {target.entry.age}" if target else "a copy to start with"
    kept = f"that of {owner} is kept" if owner else "what was there is kept for undo"
    return f"data of {branch}, {since}; {kept}{databases.describe_ended(ended)}"


def whole(settings: Settings, entry: Entry) -> Entry:
    """Return the data of a branch with all tables that are there now and not in it: the branch does not have them."""
    if "dynamodb" not in settings.services:
        return entry
    kept = {table.name for table in entry.tables}
    there = schema.fetch_names(connect_dynamodb(settings))
    return replace(entry, absent=tuple(name for name in there if name not in kept))


def _release(settings: Settings, owner: str) -> None:
    """Leave older data of the owner to `undo`: a killed switch parked them, and another command followed it."""
    entries = Entries(settings)
    for each in parked(settings):
        if each.folder and owner and each.entry.branch == owner:
            entries.write(each.folder, replace(each.entry, branch=""))


def _load_database(
    conn: psycopg.Connection[Any], settings: Settings, keeper: Keeper, target: Found | None, say: Say
) -> list[databases.Session]:
    if target and target.entry.database:
        return aside.replace_by(conn, settings, target.entry.database.kept)
    name = settings.postgres.database
    kept = keeper.database(conn, copy=True)
    if kept:
        try:
            for line in properties.apply(conn, kept, properties.fetch(conn, name)):
                say(f"not taken over: {line}")
        except LocalEnvError:
            databases.drop(conn, kept)
            raise
    return []
