"""Whether a hint for a syntax error would help: the server reads the statement as the hint would have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lexer import statements
from .sqlfile import SqlError

if TYPE_CHECKING:
    from psycopg import pq

SYNTAX = b"42601"


def require_proof(pgconn: pq.abc.PGconn, error: SqlError) -> None:
    """Take the hint of an error away where the server still rejects the text as mended, no later than before.

    The transaction has failed: of what it is sent then, the server reads the syntax and does nothing.
    """
    text, line = error.mended
    if text and 0 < _rejected_line(pgconn, text) <= line:
        error.hint = ""


def _rejected_line(pgconn: pq.abc.PGconn, text: bytes) -> int:
    """Return the number of the line, from 1, that the server rejects; 0 for none."""
    from psycopg import pq

    for statement in statements(text):
        if statement.kind not in ("sql", "copy"):
            continue
        result = pgconn.prepare(b"", text[statement.start : statement.end])
        if result.error_field(pq.DiagnosticField.SQLSTATE) == SYNTAX:
            characters = int(result.error_field(pq.DiagnosticField.STATEMENT_POSITION) or 1) - 1
            before = text[statement.start : statement.end].decode(errors="replace")[:characters]
            return 1 + text[: statement.start].count(b"\n") + before.count("\n")
    return 0
