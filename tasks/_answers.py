"""What each task answers with --format json, by its name: the tables of which docs/schema is made (_schemas.py).

No run loads this. A task that is in none of them answers with a sentence: {"sentence": "…"}.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import _shapes as shapes
from .completion import Script
from .localenv.cognito.tokens import Tokens
from .localenv.environment import doctor
from .localenv.postgres.databases import Session

DATA: dict[str, Any] = {
    "check": shapes.Check | shapes.Repair,
    "cognito.list-users": list[shapes.PoolUser],
    "cognito.token": Tokens,
    "completion": Script | shapes.Sentence,
    "db.diff": shapes.Diff,
    "db.new-migration": shapes.NewFile,
    "db.sessions": list[Session],
    "ddb.audit": shapes.Audit,
    "ddb.describe": dict[str, Any],
    "ddb.get-conversation": shapes.Messages,
    "ddb.list-conversations": shapes.Conversations,
    "ddb.list-tables": list[shapes.Table],
    "ddb.send-message": shapes.Sent | shapes.Sentence,
    "doctor": list[doctor.Finding],
    "env.export": dict[str, str],
    "env.list": list[shapes.Checkout],
    "env.logs": dict[str, shapes.Lines],
    "env.status": list[shapes.Service],
    "exec": shapes.Executed,
    "initial-setup": shapes.Addresses | shapes.Verdict,
    "rds.status": shapes.Rds,
    "rds.update-sg-rule": shapes.RuleChange,
    "snapshot.list": list[shapes.Snapshot],
    "status": shapes.Status,
    "undo": list[shapes.UndoEntry],
    "why": shapes.Why,
}

NOTES: dict[str, dict[str, Any]] = {
    "cognito.sync-ids": {"users": int, "matched": int, "changed": int, "added": int},
    "db.dump": {"file": str, "bytes": int},
    "db.load": {"file": str, "table": str, "rows": int},
    "ddb.export": {"file": str, "items": int, "bytes": int},
    "ddb.import": {"table": str, "items": int, "new": int, "replaced": int, "unchanged": int, "kept": int},
    "ddb.stream": {"changes": int, "repaired": int, "failed": int},
    "env.up": {"services": list[shapes.Service]},
    "init": {"files": shapes.Lines},
    "undo": {"removed": int},
}
"""What stands beside a sentence, or beside the count of a stream, where there is something to tell."""


class Stream(NamedTuple):
    """The lines of a task that streams: `{kind: value}`. `always`: it gives no other data."""

    kind: str
    value: Any
    always: bool = True


STREAMS = {
    "db.query": Stream("row", dict[str, Any]),
    "ddb.export": Stream("Item", dict[str, dict[str, Any]], always=False),
    "ddb.query": Stream("item", dict[str, Any]),
    "ddb.scan": Stream("item", dict[str, Any]),
    "ddb.stream": Stream("record", shapes.StreamRecord, always=False),
    "env.logs": Stream("line", shapes.LogLine, always=False),
}
