"""Which row of an INSERT has no value for a required column, and why. Pure."""

from __future__ import annotations

import re

from .lexemes import Token, inside, read_tokens, split_list
from .lexer import HEAD_BYTES, Statement
from .sqlfile import SqlFile

_NULL = re.compile(r'null value in column "(?P<column>[^"]+)" of relation "(?P<table>[^"]+)"')
_WHERE = re.compile(r"\bwhere\s+(?P<condition>.+?)(?:\s+(?:limit|order\s+by)\b.*)?\s*\)?$", re.IGNORECASE | re.DOTALL)
DETAIL_CHARS = 60
"""The server cuts longer values in the row that it shows."""


def find_null(file: SqlFile, statement: Statement, message: str, detail: str) -> str:
    """Return as a hint the line of the row without a value, or the column that the list lacks; "" if unsure."""
    found = _NULL.search(message)
    end = min(statement.end, statement.start + HEAD_BYTES)
    if not found or statement.words[:1] != ("insert",):
        return ""
    tokens = read_tokens(file.text, statement.start, end)
    opening = next((i for i, token in enumerate(tokens[:7]) if token.text == "("), 0)
    columns = split_list(inside(tokens, opening)) if opening else []
    names = [item[0].text.strip('"') if item[0].text[:1] == '"' else item[0].word for item in columns if len(item) == 1]
    column = found["column"]
    if columns and not {"values", "select"} & {token.word for token in tokens[:opening]}:
        if not names or len(names) != len(columns):
            return ""
        if column not in names:
            line = file.line_at(tokens[opening].start)
            return f"add {column} to the columns in line {line}: {found['table']} requires it and has no default for it"
        row = _failing_row(_rows(tokens, opening), names.index(column), detail)
        value = row[names.index(column)] if row else None
    else:
        value = _only_null(_rows(tokens, 0), detail)
    if not value:
        return ""
    line = file.line_at(value[0].start)
    if _is_null(value):
        return f"give {column} a value in line {line}: it is NULL there"
    shown = " ".join(file.text[value[0].start : value[-1].end].decode(errors="replace").split())
    condition = _WHERE.search(shown)
    if not condition or value[1].word != "select":
        return ""
    return f"look at line {line}: for {column} it looks for {condition['condition']}, and finds nothing"


def _rows(tokens: list[Token], opening: int) -> list[list[list[Token]]]:
    """Return the rows of VALUES, or of a SELECT without FROM as one row, as lists of values."""
    start = next((i for i, t in enumerate(tokens) if i > opening and t.word in ("values", "select") and not t.depth), 0)
    if not start:
        return []
    if tokens[start].word == "select":
        rest = [*tokens[start + 1 :]]
        ends = (
            i
            for i, t in enumerate(rest)
            if not t.depth and (t.word in ("from", "where", "union", "on") or t.text == ";")
        )
        return [split_list(rest[: next(ends, len(rest))])] if rest else []
    opened = [
        i
        for i, t in enumerate(tokens)
        if i > start and t.text == "(" and not t.depth and tokens[i - 1].text in (",", tokens[start].text)
    ]
    return [split_list(inside(tokens, i)) for i in opened if inside(tokens, i)]


def _failing_row(rows: list[list[list[Token]]], index: int, detail: str) -> list[list[Token]] | None:
    """Return the row whose value may be NULL, with the texts that the server shows; None if unsure."""
    may_be = [row for row in rows if index < len(row) and row[index] and _may_be_null(row[index])]
    shown = [row for row in may_be if all(_is_shown(value, detail) for value in row)] or may_be
    same = {tuple(token.text for value in row for token in value) for row in shown}
    return shown[0] if len(same) == 1 else None


def _only_null(rows: list[list[list[Token]]], detail: str) -> list[Token] | None:
    """Return the value that may be NULL of the failing row, where no column is named; None if unsure."""
    found = []
    for row in rows:
        nulls = [value for value in row if value and _may_be_null(value)]
        if nulls and all(_is_shown(value, detail) for value in row if value):
            found.append(nulls)
    return found[0][0] if len(found) == 1 and len(found[0]) == 1 else None


def _may_be_null(value: list[Token]) -> bool:
    return _is_null(value) or (len(value) > 2 and value[0].text == "(" and value[1].word == "select")


def _is_null(value: list[Token]) -> bool:
    return value[0].word == "null" and (len(value) == 1 or value[1].text == ":")


def _is_shown(value: list[Token], detail: str) -> bool:
    if len(value) != 1 or value[0].kind not in ("string", "number"):
        return True
    return value[0].text.strip("'").replace("''", "'")[:DETAIL_CHARS] in detail
