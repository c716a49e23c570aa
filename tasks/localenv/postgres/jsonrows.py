"""Lines of JSON as the rows of COPY's text format: an object a line, its members by the names of columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..machine.reading import STRICT, json_excess
from .csvform import Column, no_column

DEFAULT = "\\D"
"""What stands for a column's default (PostgreSQL 16, COPY: DEFAULT)."""
NULL = "\\N"
DOCUMENTS = ("json", "jsonb")
_SPACE = re.compile(r"[ \t\r\n]*")
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def as_row(text: str, columns: Sequence[Column], known: Mapping[str, Column], place: str, table: str) -> str:
    """Return a line as a row of these columns; a member that is not there is the column's default.

    Raises UsageError, which names the column, for what is no object, or has other members. `place` is file:line.
    """
    members = _read(text, place)
    for name in members:
        if name not in known:
            raise no_column(place, name, known, table)
    return "\t".join(_field(members.get(column.name), column, place) for column in columns) + "\n"


def shown_value(text: str, name: str) -> str:
    """Return the value of a member as the server shows it, empty where there is none."""
    value, shown = _read(text, "").get(name, ("", ""))
    return value if isinstance(value, str) else shown


def _read(text: str, place: str) -> dict[str, tuple[Any, str]]:
    if excess := json_excess(text):
        raise UsageError(f"{place}: {excess}")
    try:
        whole = STRICT.decode(text)
        if isinstance(whole, dict) and not any(isinstance(value, float | dict | list) for value in whole.values()):
            return {name: (value, _shown(value)) for name, value in whole.items()}
        return _members(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{place}:{error.colno}: not JSON: {error.msg[:1].lower()}{error.msg[1:]}") from error
    except UsageError as error:
        error.message = f"{place}: {error.message}"
        raise


def _shown(value: object) -> str:
    return str(value) if type(value) is int else json.dumps(value, ensure_ascii=False)


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """Return the members of an object, known to be JSON, each with its text: numbers keep all of their digits."""
    found: dict[str, tuple[Any, str]] = {}
    at = _expect(text, 0, "{")
    while text[at : at + 1] != "}":
        name, end = STRICT.raw_decode(text, at)
        start = _expect(text, end, ":")
        value, end = STRICT.raw_decode(text, start)
        found[name] = value, text[start:end]
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, mark: str) -> int:
    """Return the place behind a mark, and behind the space that follows it."""
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise json.JSONDecodeError("wanted an object", text, at)
    return _skip(text, at + 1)


def _field(member: tuple[Any, str] | None, column: Column, place: str) -> str:
    if member is None:
        return DEFAULT if column.has_default else NULL
    value, text = member
    if value is None:
        return NULL
    if column.type in DOCUMENTS:
        return _escaped(text)
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, list) and column.category == "A":
        return _escaped(_array(value, column, place))
    if isinstance(value, dict | list):
        what = "an object" if isinstance(value, dict) else "a list"
        raise UsageError(
            f"{place}: column {column.name}: {what}, and the column is {column.type}",
            hint="nested values go into columns of json, jsonb or an array",
        )
    return text


def _escaped(text: str) -> str:
    """Return a value as COPY's text format has it."""
    return text.translate(_ESCAPED) if _SPECIAL.search(text) else text


def _array(values: Sequence[Any], column: Column, place: str) -> str:
    """Return a list as PostgreSQL writes an array."""
    parts = []
    for value in values:
        if isinstance(value, list):
            parts.append(_array(value, column, place))
        elif value is None:
            parts.append("NULL")
        elif isinstance(value, dict) and not column.type.startswith(DOCUMENTS):
            raise UsageError(f"{place}: column {column.name}: an object in a list, and the column is {column.type}")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            parts.append('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return "{" + ",".join(parts) + "}"
