"""What does not agree, by cause: a cause is one finding with a count, its first subjects and one hint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

SUBJECTS = 3
"""So many subjects of a finding are shown, unless more are asked for."""
JOINED = 25
"""So many commands for one subject each are joined to one line."""
SHELL = "run `aws "


@dataclass(frozen=True)
class Case:
    """One subject that does not agree, of a `cause`. `what` follows the number of all items of the cause."""

    cause: str
    what: str
    subject: str
    text: str
    fix: str
    count: int = 1


@dataclass(frozen=True)
class Finding:
    """All cases of a cause: how many items and subjects they are, the first of these, and what repairs all of them.

    `commands` are those of ours in `fix`, as they are typed here; whoever prints them fills them in.
    """

    cause: str
    what: str
    count: int
    of: int
    cases: tuple[Case, ...]
    fix: str
    commands: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        told = [f"{case.subject}: {case.text}" for case in self.cases]
        if self.of > 1 or not told:
            more = self.of - len(told)
            told = [f"{self.count:,} {self.what}", *(f"  {line}" for line in told)]
            told += [f"  and {more:,} more"] if more else []
        return [*told, f"  hint: {self.fix}"]

    def as_dict(self) -> dict[str, Any]:
        first = self.cases[0] if self.cases else None
        return {
            "cause": self.cause,
            "what": self.what,
            "count": self.count,
            "subject": first.subject if first else "",
            "text": first.text if first else "",
            "subjects": [case.subject for case in self.cases],
            "texts": [case.text for case in self.cases],
            "fix": self.fix,
            "commands": list(self.commands),
        }


def grouped(cases: Iterable[Case], *, subjects: int = SUBJECTS) -> list[Finding]:
    """Return a finding for each cause, in the order of their first cases. Holds the first cases alone."""
    found: dict[str, Finding] = {}
    fixes: dict[str, dict[str, None]] = {}
    for case in cases:
        seen = found.get(case.cause) or Finding(case.cause, case.what, 0, 0, (), case.fix)
        kept = (*seen.cases, case) if len(seen.cases) < subjects else seen.cases
        found[case.cause] = replace(seen, count=seen.count + case.count, of=seen.of + 1, cases=kept)
        known = fixes.setdefault(case.cause, {})
        if len(known) < JOINED:
            known[case.fix] = None
    return [replace(one, fix=_joined(one.fix, list(fixes[one.cause]))) for one in found.values()]


def _joined(first: str, fixes: list[str]) -> str:
    """Return one hint: where each subject has a command of its own for the shell, all of them on one line."""
    if len(fixes) == 1 or not all(fix.startswith(SHELL) for fix in fixes):
        return first
    return f"run `{' && '.join(fix[len('run `') : -1] for fix in fixes)}`"
