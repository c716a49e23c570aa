"""Postgres's errors for an SQL file, turned into a place in that file and a hint. Pure: no connection here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ..machine.columns import caret_line
from .lexer import Statement
from .sqlfile import SqlError, SqlFile

if TYPE_CHECKING:
    import psycopg

UNKNOWN_PERSON = "LE001"
"""Our own SQLSTATE: pg_temp.person() was called with a name that is not in seeds/people.csv."""
_INNER = re.compile(r"^PL/pgSQL function (?P<name>\S+?)(?:\(.*\))? line (?P<line>\d+)\b", re.MULTILINE)
_COPY = re.compile(r"^COPY .+?, line (?P<line>\d+)", re.MULTILINE)
_BODY_OF_DO = re.compile(rb"\$\w*\$|\bdo\s+E?'", re.IGNORECASE)
_BODY_OF_ROUTINE = re.compile(rb"\bas\s+(?:\$\w*\$|E?')", re.IGNORECASE)
_INDENT = re.compile(rb"[ \t]*")
_ROUTINE = re.compile(rb"(?:function|procedure)\s+(?:\"?\w+\"?\.)?\"?(?P<name>\w+)\"?", re.IGNORECASE)


@dataclass(frozen=True)
class Diagnosis:
    """The fields of an error message that we read (PostgreSQL 18, "Error and Notice Message Fields")."""

    sqlstate: str | None = None
    message_primary: str | None = None
    message_detail: str | None = None
    message_hint: str | None = None
    statement_position: str | None = None
    internal_position: str | None = None
    internal_query: str | None = None
    context: str | None = None
    server_version: int = 0
    encoding: str = "utf-8"
    """Python's name of the session's encoding, in whose characters positions count."""

    @classmethod
    def of(cls, diagnostic: psycopg.errors.Diagnostic, server_version: int, encoding: str = "utf-8") -> Diagnosis:
        names = [field.name for field in fields(cls) if field.name not in ("server_version", "encoding")]
        return cls(
            **{name: getattr(diagnostic, name) for name in names}, server_version=server_version, encoding=encoding
        )


@dataclass(frozen=True)
class Batch:
    """Statements of a file that are sent to the server as one query."""

    file: SqlFile
    statements: Sequence[Statement]

    @property
    def start(self) -> int:
        return self.statements[0].start

    @property
    def text(self) -> bytes:
        return self.file.text[self.start : self.statements[-1].end]

    def at(self, completed: int) -> Statement:
        """Return the statement that fails after `completed` ones succeeded."""
        return self.statements[min(completed, len(self.statements) - 1)]


def sql_error(batch: Batch, diagnosis: Diagnosis, completed: int) -> SqlError:
    """Return where and why a batch failed; `completed` counts its statements that had succeeded."""
    from .sqlhints import find_advice  # no error, no hint

    statement = batch.at(completed)
    where = find_offset(batch, statement, diagnosis)
    error = batch.file.error(where, diagnosis.message_primary or "failed")
    error.sqlstate = diagnosis.sqlstate or ""
    if error.sqlstate == UNKNOWN_PERSON:
        error.unknown_person = diagnosis.message_detail or ""
        return error
    advice = find_advice(batch, statement, where, diagnosis)
    error.hint, error.mended = advice.hint, (advice.mended, advice.line)
    more = [
        f"detail: {diagnosis.message_detail}" if diagnosis.message_detail else "",
        _inner_query(diagnosis),
        *_frames(batch.file, statement, diagnosis),
    ]
    error.evidence = "\n".join(line for line in (error.evidence, *more) if line)
    return error


def find_offset(batch: Batch, statement: Statement, diagnosis: Diagnosis) -> int:
    """Return the byte offset of an error: the server's position, else a line it names, else the statement's start."""
    if diagnosis.sqlstate == UNKNOWN_PERSON and diagnosis.message_detail:
        named = batch.file.text.find(f"'{diagnosis.message_detail}'".encode(), statement.start, statement.end)
        return named if named >= 0 else statement.start
    if diagnosis.statement_position:
        characters = int(diagnosis.statement_position) - 1
        text = batch.text
        # Positions count characters; as long as all bytes before are ASCII, bytes and characters agree.
        return batch.start + (
            characters if text[: characters + 1].isascii() else _bytes_of(text, characters, diagnosis.encoding)
        )
    context = diagnosis.context or ""
    if statement.data and (copy := _COPY.search(context)):
        return batch.file.offset_of_line(int(copy["line"]) - 1, statement.data[0])
    if statement.words[:1] == ("do",) and (frames := list(_INNER.finditer(context))):
        body = _BODY_OF_DO.search(batch.file.text, statement.start, statement.end)
        return _body_line(batch.file, body.end() if body else statement.start, int(frames[-1]["line"]))
    return statement.start


def _bytes_of(text: bytes, characters: int, encoding: str) -> int:
    """Return how many bytes so many characters take; a byte that is none counts as one of them."""
    before = text.decode(encoding, errors="surrogateescape")[:characters]
    return len(before.encode(encoding, errors="surrogateescape"))


def _body_line(file: SqlFile, body: int, line: int) -> int:
    """Return the offset of a line in a quoted body: PL/pgSQL counts the opening quote's line as 1."""
    offset = body if line == 1 else file.offset_of_line(line - 1, body)
    blank = _INDENT.match(file.text, offset)
    return blank.end() if blank else offset


def _frames(file: SqlFile, failing: Statement, diagnosis: Diagnosis) -> list[str]:
    """Return the lines of the server's context, with the place of every routine that this file itself creates."""
    lines = (diagnosis.context or "").splitlines()
    if diagnosis.statement_position and not diagnosis.internal_query:
        return []
    return [line + _where_created(file, failing, line) for line in lines]


def _where_created(file: SqlFile, failing: Statement, line: str) -> str:
    frame = _INNER.match(line)
    if not frame or frame["name"] == "inline_code_block":
        return ""
    name = frame["name"].split(".")[-1].strip('"').encode()
    for found in _ROUTINE.finditer(file.text, 0, failing.start):
        body = _BODY_OF_ROUTINE.search(file.text, found.end(), failing.start)
        if body and found["name"].lower() == name.lower():
            return f" ({file.place(_body_line(file, body.end(), int(frame['line'])))})"
    return ""


def _inner_query(diagnosis: Diagnosis) -> str:
    if not (diagnosis.internal_query and diagnosis.internal_position):
        return ""
    before = diagnosis.internal_query[: int(diagnosis.internal_position) - 1]
    line = diagnosis.internal_query.splitlines()[before.count("\n")]
    return caret_line(line, len(before) - before.rfind("\n") - 1)
