"""Repairs all items of a cause that `check` has found: the app's part knows how, here it is told and counted."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ..dynamodb import schema
from ..dynamodb.client import connect
from ..dynamodb.scan import scan
from ..errors import LocalEnvError, UsageError
from ..hints import Command
from ..machine.waiting import waiting
from ..machine.words import counted
from ..postgres.handles import User
from .app import App, Repair
from .check import NOTHING_TO_COMPARE

if TYPE_CHECKING:
    from ..settings import Settings

REASONS_SHOWN = 10
SAY_EVERY_S = 2.0
BUSY_S = 20.0
STALLED_S = 60.0
"""After so long without a change, what is left is not tried: the table is short of capacity."""


@dataclass
class Outcome:
    """What was repaired of a cause, and why the rest was not."""

    cause: str
    changes: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        if not self.changes and not self.reasons:
            return f"nothing to repair: no {self.cause}"
        left = f", {len(self.reasons):,} not repaired" if self.reasons else ""
        return f"{self.changes:,} {'change' if self.changes == 1 else 'changes'} made for {self.cause}{left}"

    def as_dict(self) -> dict[str, object]:
        return {"cause": self.cause, "changes": self.changes, "reasons": self.reasons}

    def failure(self) -> LocalEnvError | None:
        """Return the error where something is left; None where all is repaired."""
        if not self.reasons:
            return None
        again = Command("check", "--repair", self.cause, first="wait a moment")
        return LocalEnvError(self.sentence, hint=again, evidence=self.reasons[:REASONS_SHOWN])


def require_cause(app: App | None, cause: str) -> None:
    """Raise UsageError for a cause that `repair` does not know."""
    if app is None:
        raise UsageError(f"check --repair {cause}: {NOTHING_TO_COMPARE}")
    if cause not in app.CAUSES:
        near = difflib.get_close_matches(cause, app.CAUSES, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(app.CAUSES)}"
        raise UsageError(f"check --repair {cause!r}: there is no such cause to repair", hint=hint)


def plan(settings: Settings, app: App, cause: str, users: Sequence[User]) -> Iterator[str]:
    """Yield what `repair` would do."""
    for one in _repairs(settings, app, cause, users):
        yield from one.lines()


def repair(settings: Settings, app: App, cause: str, users: Sequence[User], say: Callable[[str], None]) -> Outcome:
    """Repair all items of a cause; a second time changes nothing. `settings` let this step write."""
    outcome = Outcome(cause)
    moved_at = said_at = time.monotonic()
    for one in _repairs(settings, app, cause, users):
        if outcome.reasons and time.monotonic() - moved_at > STALLED_S:
            outcome.reasons.append(f"nothing was changed for {STALLED_S:.0f} s: the rest was not tried")
            break
        with waiting(f"table {settings.message_table} to take the changes", BUSY_S):
            done = one.perform()
        outcome.changes += done.moved
        if done.error:
            outcome.reasons.append(f"{app.BUNDLE} {done.group}: {done.error}" if done.group else done.error)
        if done.moved:
            moved_at = time.monotonic()
        if time.monotonic() - said_at > SAY_EVERY_S:
            said_at = time.monotonic()
            say(f"{counted(outcome.changes, 'change')} made")
    return outcome


def _repairs(settings: Settings, app: App, cause: str, users: Sequence[User]) -> Iterable[Repair]:
    client, table = connect(settings), settings.message_table
    schema.refuse_half_replaced(client, table)
    return app.repairs(client, table, cause, partial(scan, client, table, consistent=True), users)
