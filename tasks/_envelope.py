"""What a run answers with --format json: one object, on one line, whatever became of the run (docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from invoke import Exit, UnexpectedExit

from . import _output
from ._lazy import lazy
from .localenv.errors import INTERRUPTED, Interrupted, LocalEnvError
from .localenv.hints import commands_of
from .localenv.machine.masking import masked
from .localenv.settings.guard import DESTROYS, READS, REPLACES, WRITES, Effect

SCHEMA_VERSION = 2
"""Grows by one where a reader of the envelope or of a task's data could break: a field goes, gets another name, type or
meaning, or may be null that was not. A new field, task or word of a list does not make it grow."""


if TYPE_CHECKING:
    from .localenv.machine import jsonvalues
else:
    jsonvalues = lazy("localenv.machine.jsonvalues")

WEIGHTS = (READS, WRITES, REPLACES, DESTROYS)


class Found(Exit):
    """Ends a run whose result itself shows what is wrong: with an exit code, and nothing more for people to read."""

    def __init__(self, error: LocalEnvError) -> None:
        super().__init__(code=error.code)
        self.error = error


@dataclass
class Record:
    """What became of one call: status is ok, skip, failed or not run.

    `notes` are values beside the sentence, or beside `count`, the number of entries streamed.
    """

    status: str = "not run"
    seconds: float = 0
    sentence: str = ""
    data: Any = None
    notes: dict[str, Any] = field(default_factory=dict)
    count: int | None = None
    exact: bool = False

    def ended(self, status: str, sentence: object = "", seconds: float = 0) -> None:
        self.status, self.seconds = status, seconds
        self.sentence = sentence if isinstance(sentence, str) else ""

    @property
    def result(self) -> Any:
        """The data of the call; of one that only says a sentence, that."""
        if self.count is not None:
            return {"count": self.count, **self.notes}
        if self.data is None and self.status in ("ok", "skip"):
            return {"sentence": _output.as_typed(self.sentence), **self.notes}
        return self.data

    def as_step(self, name: str) -> dict[str, Any]:
        seconds, sentence = round(self.seconds, 3), _output.as_typed(self.sentence)
        return {"name": name, "status": self.status, "seconds": seconds, "sentence": sentence}


class Call(Protocol):
    """A call of a run, of which the answer tells (a Node of _graph.py)."""

    typed: bool
    record: Record

    @property
    def name(self) -> str: ...
    @property
    def effect(self) -> Effect: ...


@dataclass
class Refused:
    """A call that never began."""

    name: str
    effect: Effect = READS
    typed: bool = True
    record: Record = field(default_factory=Record)


@dataclass
class Answer:
    """All that the envelope of a run holds. `plan` has what --plan found out, by the id of the call."""

    calls: Sequence[Call]
    warnings: Sequence[str] = ()
    plan: dict[int, dict[str, Any]] | None = None
    undo: list[str] = field(default_factory=list)

    def body(self, error: LocalEnvError | None) -> dict[str, Any]:
        """Return the envelope as values of JSON."""
        return {
            "schemaVersion": SCHEMA_VERSION,
            "command": " ".join(call.name for call in self._typed),
            "effect": max((call.effect for call in self._typed), default=READS, key=WEIGHTS.index).word,
            "status": "error" if error else "ok",
            "data": jsonvalues.plain(self._data()),
            "steps": [call.record.as_step(call.name) for call in self.calls if not isinstance(call, Refused)],
            "warnings": [_output.as_typed(text) for text in self.warnings],
            "undo": [_output.as_typed(text) for text in self.undo],
            "error": error and as_error(error),
        }

    @property
    def _typed(self) -> list[Call]:
        return [call for call in self.calls if call.typed]

    def _data(self) -> Any:
        if self.plan is not None:
            return {"plan": [self.plan[id(call)] for call in self.calls if id(call) in self.plan]}
        results = [(call, call.record.result) for call in self._typed]
        if len(results) == 1:
            return results[0][1]
        return [{"command": call.name, "effect": call.effect.word, "data": result} for call, result in results]

    def show(self, error: LocalEnvError | None = None) -> None:
        """Print the envelope. In data that holds secrets by purpose nothing is masked."""
        body = self.body(error)
        if not any(call.record.exact for call in self.calls):
            _output.show(_dumped(body))
            return
        others = json.loads(masked(_dumped({**body, "data": None})))
        _output.show_exactly(_dumped({**others, "data": body["data"]}))


def show_failure(command: str, error: LocalEnvError) -> None:
    """Print the envelope of a run that never began."""
    Answer([Refused(command)]).show(error)


def ending(error: BaseException) -> LocalEnvError | None:
    """Return what ended a step as an error of ours; None for an exit with code 0."""
    if isinstance(error, LocalEnvError):
        return error
    if isinstance(error, Found):
        return error.error
    code = error.code if isinstance(error, Exit) else error.result.exited if isinstance(error, UnexpectedExit) else 1
    if not code:
        return None
    found = Interrupted("interrupted") if code == INTERRUPTED else LocalEnvError(f"ended with exit code {code}")
    found.code = code
    return found


def as_error(error: LocalEnvError) -> dict[str, Any]:
    return {
        "code": error.code,
        "name": error.name,
        "message": _output.as_typed(error.message),
        "hint": _output.as_typed(error.hint),
        "commands": [_output.as_typed(command.shown).strip("`") for command in commands_of(error.hint)],
        "retryable": error.retryable,
        "evidence": error.evidence.split("\n") if error.evidence else [],
    }


def entry(kind: str, value: Any) -> str:
    """Return a line of a stream: an object with one field, which says what the value is."""
    return _dumped({kind: jsonvalues.plain(value)})


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
