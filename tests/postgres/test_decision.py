"""What is decided from the files and from what was observed: values in, values out, no server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.localenv.errors import ConfirmationNeeded
from tasks.localenv.postgres.decision import (
    Decision,
    decide,
    due_seeds,
    reason_to_skip_schema,
    reason_to_skip_seeds,
)
from tasks.localenv.postgres.ledger import Applied, Observed
from tasks.localenv.postgres.migrations import parse
from tasks.localenv.postgres.scripts import Entry, Script
from tasks.localenv.postgres.sqlfile import SqlFile

SCHEMA_ENTRY = Entry("schema", "sql/schema.sql", "s1", "i1")
SEED_ENTRY = Entry("seed", "seeds/sql/a.sql", "d1", "i2")
SCRIPTS = [Script(SqlFile(entry.path, b""), entry) for entry in (SCHEMA_ENTRY, SEED_ENTRY)]


def applied(entry: Entry, objects: int = 2, **changes: str) -> Applied:
    return Applied(**{**vars(entry), **changes}, objects=objects, age_s=7200)


def seen(*rows: Applied, owner: str | None = "me", objects: int = 2) -> Observed:
    return Observed(True, owner, rows, objects)


BOTH = (applied(SCHEMA_ENTRY), applied(SEED_ENTRY))
CHANGED = (applied(SCHEMA_ENTRY, sha256="s0"), applied(SEED_ENTRY))


@pytest.mark.parametrize(
    ("observed", "typed", "action", "reason"),
    [
        (Observed(False), False, "build", "there is no database yet"),
        (seen(owner=None, objects=0), False, "build", "the database is empty"),
        (seen(owner="other", objects=0), False, "build", "the database is empty"),
        (seen(*BOTH, objects=0), False, "build", "the database is empty"),
        (seen(*BOTH), True, "keep", "unchanged (7bd1fa3, 2 h ago)"),
        (seen(*BOTH), False, "keep", "unchanged (7bd1fa3, 2 h ago)"),
        (seen(*BOTH, objects=5), False, "keep", "unchanged (7bd1fa3, 2 h ago)"),
        (seen(*CHANGED), True, "build", "sql/schema.sql changed since it was applied"),
        (
            seen(*CHANGED),
            False,
            "keep",
            "kept as it is: sql/schema.sql changed since it was applied (`inv db.setup` rebuilds it)",
        ),
        (
            seen(BOTH[0], applied(SEED_ENTRY, inputs="i0")),
            False,
            "keep",
            "kept as it is: seeds/people.csv changed since it was applied (`inv db.setup` rebuilds it)",
        ),
        (
            seen(*BOTH, objects=1),
            False,
            "keep",
            "kept as it is: 1 of its tables, views or routines is gone (`inv db.setup` rebuilds it)",
        ),
        (seen(BOTH[0]), False, "seed", "the schema is there, but no rows from the seeds"),
        (seen(BOTH[0]), True, "build", "seeds/sql/a.sql is not applied"),
        (
            seen(*BOTH, applied(SEED_ENTRY, path="seeds/sql/b.sql")),
            False,
            "keep",
            "kept as it is: seeds/sql/b.sql no longer exists (`inv db.setup` rebuilds it)",
        ),
        (
            seen(owner=None),
            False,
            "keep",
            "kept as it is: it holds 2 tables or routines that this project did not make"
            " (`inv db.setup --yes` rebuilds it)",
        ),
        (seen(*BOTH, owner="other"), True, "build", "it belongs to project other, not to me"),
    ],
)
def test_what_is_seen_decides_what_is_done(observed: Observed, typed: bool, action: Any, reason: str) -> None:
    assert decide(observed, SCRIPTS, "me", typed=typed) == Decision(action, reason)


@pytest.mark.parametrize(
    ("typed", "force", "action"), [(True, True, "build"), (False, True, "keep"), (True, False, "keep")]
)
def test_force_rebuilds_an_unchanged_database_for_who_typed_it(typed: bool, force: bool, action: Any) -> None:
    decided = decide(seen(*BOTH), SCRIPTS, "me", typed=typed, force=force)
    assert decided == Decision(action, "unchanged (7bd1fa3, 2 h ago)")


@pytest.mark.parametrize(
    ("observed", "typed", "reason"),
    [
        (Observed(False), False, None),
        (seen(owner=None, objects=0), False, None),
        (seen(*BOTH), True, "unchanged (0144ac3, 2 h ago)"),
        (seen(CHANGED[0]), True, None),
        (
            seen(CHANGED[0]),
            False,
            "kept as it is: sql/schema.sql changed since it was applied (`inv db.setup` rebuilds it)",
        ),
        (
            seen(*CHANGED),
            False,
            "kept as it is: sql/schema.sql changed since it was applied (`inv db.setup` rebuilds it)",
        ),
        (seen(owner=None), False, "kept as it is: it holds 2 tables or routines that this project did not make"),
        (seen(owner=None), True, None),
    ],
)
def test_a_schema_is_applied_over_content_only_for_who_typed_it(
    observed: Observed, typed: bool, reason: str | None
) -> None:
    assert reason_to_skip_schema(SCRIPTS[:1], observed, typed=typed) == reason


MIGRATION_ENTRY = Entry("migration", "sql/migrations/001_a.sql", "m1", "i1")
BLOCKS = parse(SqlFile(MIGRATION_ENTRY.path, b"-- migrate:up\n"))
WITH_MIGRATION = [SCRIPTS[0], Script(BLOCKS.up, MIGRATION_ENTRY, blocks=BLOCKS), SCRIPTS[1]]
RAN = applied(MIGRATION_ENTRY)
PENDING = "sql/migrations/001_a.sql is pending"


@pytest.mark.parametrize(
    ("observed", "typed", "action", "reason"),
    [
        (seen(*BOTH), False, "migrate", PENDING),
        (seen(*BOTH), True, "migrate", PENDING),
        (seen(BOTH[0]), False, "migrate", PENDING),
        (seen(BOTH[0]), True, "build", "seeds/sql/a.sql is not applied"),
        (replace(seen(*BOTH, RAN), versions=("001",)), False, "keep", "unchanged (ad2d2e3, 2 h ago)"),
        (replace(seen(*BOTH), versions=("001",)), False, "keep", "unchanged (ad2d2e3, 2 h ago)"),
        (replace(seen(*BOTH, objects=0), versions=("001",)), False, "build", "the database is empty"),
        (
            seen(*CHANGED),
            False,
            "keep",
            f"kept as it is: sql/schema.sql changed since it was applied, {PENDING} too (`inv db.setup` rebuilds it)",
        ),
        (seen(*CHANGED), True, "build", "sql/schema.sql changed since it was applied"),
        (
            replace(seen(*BOTH, applied(MIGRATION_ENTRY, sha256="m0")), versions=("001",)),
            False,
            "keep",
            "kept as it is: sql/migrations/001_a.sql changed since it was applied (`inv db.setup` rebuilds it)",
        ),
    ],
)
def test_pending_migrations_run_in_place_where_nothing_else_differs(
    observed: Observed, typed: bool, action: Any, reason: str
) -> None:
    assert decide(observed, WITH_MIGRATION, "me", typed=typed) == Decision(action, reason)


EMPTIED = Applied(**vars(SEED_ENTRY), objects=2, age_s=7200, filled=("public.a",), emptied=("public.a",))


@pytest.mark.parametrize(
    ("row", "reason", "due"),
    [
        (None, None, SCRIPTS[1:]),
        (BOTH[1], "unchanged (bc8d73b, 2 h ago)", []),
        (EMPTIED, None, SCRIPTS[1:]),
    ],
)
def test_a_seed_is_due_until_it_is_applied_and_again_when_nothing_of_it_is_left(
    row: Applied | None, reason: str | None, due: list[Script]
) -> None:
    observed = seen(BOTH[0], *([row] if row else []))
    assert reason_to_skip_seeds(SCRIPTS[1:], observed) == reason
    assert due_seeds(SCRIPTS[1:], observed, again=False) == due
    assert due_seeds(SCRIPTS[1:], observed, again=True) == SCRIPTS[1:]


def test_a_changed_seed_is_not_run_twice_unasked() -> None:
    observed = seen(BOTH[0], applied(SEED_ENTRY, sha256="d0"))
    assert reason_to_skip_seeds(SCRIPTS[1:], observed) is None
    with pytest.raises(ConfirmationNeeded, match=r"^seeds/sql/a.sql: applied before, and changed since"):
        due_seeds(SCRIPTS[1:], observed, again=False)
    assert due_seeds(SCRIPTS[1:], observed, again=True) == SCRIPTS[1:]
