"""A database built beside the old one and swapped in when all of it worked; and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfirmationNeeded, LocalEnvError
from ..hints import Command, inv
from ..machine.ages import ago
from ..settings import guard
from . import databases, ledger, load
from .connection import connect, server_errors
from .databases import Session, beside, ended_sentence
from .ledger import Observed
from .load import Say, Script

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings


@dataclass(frozen=True)
class Decision:
    """What db.setup would do, and why: build a new database, seed the one that is there, or keep it.

    `command` builds anew what is kept although the files say something else.
    """

    action: Literal["build", "seed", "keep"]
    reason: str
    command: str = field(default="", compare=False)

    def require_agreement(self, name: str) -> None:
        """Raise ConfirmationNeeded where a database is kept that is not what the files say."""
        if self.command:
            raise ConfirmationNeeded(
                f"database {name} is {self.reason}",
                hint=Command.of(
                    self.command, when=f": it builds the new one beside the old one, and {inv('db.undo')} goes back"
                ),
            )


def decide(observed: Observed, scripts: Sequence[Script], project_id: str, *, typed: bool) -> Decision:
    """Decide from what was seen. `typed` is True when the user asked for db.setup by name.

    Only then is a database with content replaced.
    """
    if not observed.exists:
        return Decision("build", "there is no database yet")
    if observed.is_empty:
        return Decision("build", "the database is empty")
    ours = observed.project_id == project_id
    same = ledger.unchanged([script.entry for script in scripts], observed) if ours else None
    changed = load.differences(scripts, observed)
    is_shape_only = _is_shape_only(observed, scripts)
    if same and not changed and not is_shape_only:
        return Decision("keep", same)
    if not ours:
        holds = guard.describe_owner(guard.Observed("", observed.project_id, load.objects(observed)), project_id)
        return _build_or_keep(f"it {holds}", "inv db.setup --yes", typed=typed)
    if is_shape_only and (not typed or not changed):
        return Decision("seed", "the schema is there, nothing of the seeds is")
    return _build_or_keep(", ".join(changed), "inv db.setup", typed=typed)


def read_decision(settings: Settings, *, typed: bool) -> Decision:
    """Look at the database and at the files, and decide. Changes nothing."""
    return decide(ledger.observe(settings.postgres), read_scripts(settings), settings.project_id, typed=typed)


def read_scripts(settings: Settings) -> list[Script]:
    """Read schema and seeds in the order in which they are applied."""
    return [load.read_schema(settings), *load.read_seeds(settings)]


def plan(settings: Settings, *, typed: bool, force: bool = False, yes: bool = False) -> list[str]:
    """Return what `setup` would do, one step a line. Raises as it does."""
    scripts = read_scripts(settings)
    observed = ledger.observe(settings.postgres)
    decision = decide(observed, scripts, settings.project_id, typed=typed)
    name = settings.postgres.database
    files = [f"apply {script.file.name}" for script in scripts]
    if decision.action == "seed":
        return files[1:]
    if decision.action == "keep" and not (typed and force):
        return [decision.reason]
    load.require_ours(observed, settings, yes=yes)
    swap = f"rename it to {name}; the old one, if there is one, is kept as {beside(name, 'undo')}"
    return [f"create {beside(name, 'new')}: {decision.reason}", *files, swap]


def setup(settings: Settings, say: Say, *, typed: bool, force: bool = False, yes: bool = False) -> str:
    """Do what `decide` says. Raises ConfirmationNeeded before another's database is replaced without `yes`.

    An interrupted run leaves the old database in its place; the next run drops what was half built.
    """
    scripts = read_scripts(settings)
    observed = ledger.observe(settings.postgres)
    decision = decide(observed, scripts, settings.project_id, typed=typed)
    if decision.action == "seed":
        return load.apply_seeds(settings, "", say)
    if decision.action == "keep" and not (typed and force):
        return decision.reason
    load.require_ours(observed, settings, yes=yes)
    return _build(settings, scripts, observed, say)


def plan_undo(settings: Settings) -> list[str]:
    """Return what `undo` would do. Raises as it does."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        _require_kept(conn, name)
    return [f"swap {name} with the one before"]


def undo(settings: Settings) -> str:
    """Swap the database with the one kept by the last rebuild; a second undo swaps them back.

    Raises LocalEnvError when none is kept.
    """
    name = settings.postgres.database
    between = beside(name, "swap")
    with databases.maintenance(settings.postgres) as conn:
        kept = _require_kept(conn, name)
        was_there = databases.exists(conn, name)
        pairs = [(name, between), (kept, name), (between, kept)] if was_there else [(kept, name)]
        ended = databases.rename(conn, settings.postgres, pairs)
    made = ledger.observe(settings.postgres)
    age = f", made {ago(min(row.age_s for row in made.applied))}" if made.applied else ""
    back = f"; {inv('db.undo')} again swaps them back" if was_there else ""
    return f"{name} is the database of before{age}{back}{ended_sentence(ended)}"


def _require_kept(conn: psycopg.Connection[Any], name: str) -> str:
    kept = beside(name, "undo")
    if not databases.exists(conn, kept):
        raise LocalEnvError(
            f"there is no database {kept}, so nothing to go back to",
            hint=Command("snapshot.list", when="to see what else there is"),
        )
    return kept


def drop(settings: Settings) -> str:
    """Drop the database and end its sessions. The one that db.undo would bring back stays."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        if not databases.exists(conn, name):
            return f"there is no {name}"
        ended = databases.drop(conn, name)
        kept = databases.exists(conn, beside(name, "undo"))
    return f"dropped {name}{ended_sentence(ended)}" + (
        f"; {inv('db.undo')} brings back the one before it" if kept else ""
    )


def read_sessions(settings: Settings, *, kill: bool = False) -> list[Session]:
    """List the sessions in the database, and end them when told to."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        return databases.terminate(conn, [name]) if kill else databases.sessions(conn, name)


def _build(settings: Settings, scripts: Sequence[Script], observed: Observed, say: Say) -> str:
    name = settings.postgres.database
    new, kept, gone = beside(name, "new"), beside(name, "undo"), beside(name, "gone")
    with databases.maintenance(settings.postgres) as conn:
        for leftover in (new, gone):
            databases.drop(conn, leftover)
        databases.create(conn, new)
        with _dropped_on_failure(conn, new, f"kept: {_what_stays(observed, name)}"):
            done = _fill(settings, new, scripts, say)
        keeps_old = observed.exists and not observed.is_empty
        pairs = [(name, kept if keeps_old else gone)] if observed.exists else []
        if keeps_old and databases.exists(conn, kept):
            pairs.insert(0, (kept, gone))
        ended = databases.rename(conn, settings.postgres, [*pairs, (new, name)])
        databases.drop(conn, gone)
    old = f"; the old one is kept, {inv('db.undo')} brings it back" if keeps_old else ""
    return f"{name} made from {done}{old}{ended_sentence(ended)}"


def _fill(settings: Settings, new: str, scripts: Sequence[Script], say: Say) -> str:
    with server_errors(f"database {new}"), connect(settings.postgres, database=new) as conn:
        return load.fill(conn, settings, scripts, say)


@contextlib.contextmanager
def _dropped_on_failure(conn: psycopg.Connection[Any], new: str, kept: str) -> Iterator[None]:
    try:
        yield
    except LocalEnvError as error:
        error.evidence = "\n".join(part for part in (error.evidence, kept) if part)
        with contextlib.suppress(LocalEnvError):  # the first error is the one to tell; the next run drops it too
            databases.drop(conn, new)
        raise


def _what_stays(observed: Observed, name: str) -> str:
    return f"database {name} is unchanged" if observed.exists else "nothing was made"


def _is_shape_only(observed: Observed, scripts: Sequence[Script]) -> bool:
    schema_is_there = all(observed.has(script.entry) for script in scripts if script.entry.step == "schema")
    seeds = [row for row in observed.applied if row.step == "seed"]
    has_seeds = any(script.entry.step == "seed" for script in scripts)
    return has_seeds and schema_is_there and not observed.lost and all(row.has_nothing_left for row in seeds)


def _build_or_keep(why: str, command: str, *, typed: bool) -> Decision:
    if typed:
        return Decision("build", why)
    return Decision("keep", f"kept as it is: {why} (`{command}` rebuilds it)", command)
