"""Which hint an error of an SQL file gets. Pure; loaded with the first error."""

from __future__ import annotations

import re

from ..hints import Command
from . import connection
from .elsewhere import find_engine
from .faults import Batch, Diagnosis
from .foreign import find_foreign
from .lexer import HEAD_BYTES, Statement, refused_in_transactions
from .mistakes import TOO_FEW, Advice, find_continued, find_mistake
from .nulls import find_null

SYNTAX = "42601"
HINTS = {
    **connection.HINTS,
    "25001": Command("db.connect", when="to run this statement by itself: each file runs as one transaction"),
}
_CONNECT = re.compile(rb"^\\c", re.MULTILINE)


def find_advice(batch: Batch, statement: Statement, where: int, diagnosis: Diagnosis) -> Advice:
    """Return what to do about an error at byte offset `where`; Postgres's own hint goes before ours."""
    hint = _engine(batch, statement, diagnosis) or diagnosis.message_hint or _hint(batch, statement, where, diagnosis)
    if hint or not _is_unexpected(diagnosis):
        return Advice(hint)
    return find_mistake(batch.file, statement, where)


def _engine(batch: Batch, statement: Statement, diagnosis: Diagnosis) -> str:
    text = batch.file.text[statement.start : min(statement.end, statement.start + HEAD_BYTES)]
    message = diagnosis.message_primary or ""
    return find_engine(diagnosis.sqlstate or "", message, text, diagnosis.server_version)


def _hint(batch: Batch, statement: Statement, where: int, diagnosis: Diagnosis) -> str:
    if diagnosis.sqlstate == "25001" and refused_in_transactions(batch.file.text, statement):
        return "move it into a file of its own: one that holds nothing else runs outside of the transaction"
    sqlstate, message = diagnosis.sqlstate or "", diagnosis.message_primary or ""
    if (
        statement.words[:2] in (("create", "database"), ("drop", "database"))
        and sqlstate == "25001"
        and _CONNECT.search(batch.file.text, statement.end)
    ):
        return "remove it and the \\connect below, or dump without --create: db.setup creates the database"
    if sqlstate == "23502":
        return find_null(batch.file, statement, message, diagnosis.message_detail or "")
    if not diagnosis.internal_query:
        span = (statement.start, statement.end)
        if foreign := find_foreign(batch.file, statement.words, span, where, sqlstate, message):
            return foreign
    if known := HINTS.get(sqlstate, ""):
        return known
    if sqlstate == SYNTAX and message in TOO_FEW:
        return find_continued(batch.file, statement)
    if batch.file.text[where : where + 1] == b":" and _is_unexpected(diagnosis):
        return "write the value itself: psql variables (:name) are not supported here"
    return ""


def _is_unexpected(diagnosis: Diagnosis) -> bool:
    """Return whether the place of the error is a word or sign that the server did not expect there."""
    message = diagnosis.message_primary or ""
    return bool(diagnosis.sqlstate == SYNTAX and message.startswith("syntax error") and diagnosis.statement_position)
