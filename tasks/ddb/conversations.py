"""ddb: the conversations, from their seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import db
from .._graph import StepContext, step
from . import tables
from .tables import CONFIRM

if TYPE_CHECKING:
    from ..localenv.dynamodb.seeding import Seeding


def seeding_of(c: StepContext) -> Seeding:
    from ddb import messages

    from ..localenv.dynamodb import seeding, users

    queries = c.step.settings.root / "sql" / "users"
    lookup = users.Lookup(by_handles=queries / "by_handles.sql", handles=queries / "handles.sql")
    file = c.step.arguments.get("file", "")
    return seeding.prepare(c.step.settings, messages, lookup, file=file, anew=c.step.force, say=c.step.say)


def _is_seeded(c: StepContext) -> str | None:
    return seeding_of(c).check()


def _plan_seed(c: StepContext) -> Iterable[str]:
    return seeding_of(c).plan_lines()


@step(
    pre=[db.setup, tables.schema_load],
    check=_is_seeded,
    plan=_plan_seed,
    help={"file": "another conversation file, or folder of them, than seeds/conversations", "confirm": CONFIRM},
)
def seed(c: StepContext, file: str = "", confirm: str = "") -> str:
    """Write the conversations of seeds/conversations, the last line now."""
    seeding = seeding_of(c)
    c.step.allow_write(c.step.settings.message_table, confirm)
    return seeding.seed(c.step.say)
