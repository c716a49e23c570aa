r"""psql's own commands in an SQL file: what changes nothing is passed over, others are errors with their place."""

from __future__ import annotations

import re

from .lexer import Statement
from .sqlfile import SqlFile

SHOWING = {
    *("\\echo", "\\qecho", "\\warn", "\\timing", "\\x", "\\pset", "\\a", "\\t", "\\H", "\\f", "\\C", "\\T", "\\p"),
    *("\\l", "\\list", "\\z", "\\conninfo", "\\errverbose", "\\copyright", "\\h", "\\help", "\\?", "\\r", "\\reset"),
}
"""Those that show something, or say how. Source: PostgreSQL 18, "psql", Meta-Commands."""
LISTING = re.compile(r"\\(d[a-zA-Z]{0,3}|s[fv])[S+]*")
"""Those that describe what is in the database: \\d, \\dt+, \\sf."""
OWN_VARIABLES = {
    *(
        "ON_ERROR_STOP",
        "ON_ERROR_ROLLBACK",
        "ECHO",
        "ECHO_HIDDEN",
        "VERBOSITY",
        "SHOW_CONTEXT",
        "QUIET",
        "COMP_KEYWORD_CASE",
    ),
    *("HISTSIZE", "HISTFILE", "HISTCONTROL", "PROMPT1", "PROMPT2", "PROMPT3", "HIDE_TABLEAM", "HIDE_TOAST_COMPRESSION"),
}
"""Variables that psql itself reads, none of which changes what the file does here: the first failure ends it."""
HINT = (
    "remove the line, or run the file with `psql -f`: of psql's own commands, those that only show something are "
    "passed over, and \\i, \\ir and \\copy … from 'FILE' are known"
)

CONNECT_HINT = "remove the line, or dump without --create: the connection URL names the database"


def check_meta(file: SqlFile, statement: Statement, locked_with: str | None, warnings: list[str] | None) -> str | None:
    r"""Accept what pg_dump writes, `\restrict KEY` and `\unrestrict KEY` around a dump, and what only shows something.

    Returns the key of the dump in force, if any. Without `warnings` nothing is passed over. Raises SqlError for any
    other command.
    """
    command, key = (*statement.words, "", "")[:2]
    if command == "\\restrict" and key and locked_with is None:
        return key
    if command == "\\unrestrict" and key and key == locked_with:
        return None
    text = file.text[statement.start : statement.end]
    if (
        warnings is not None and locked_with is None and b"\\\\" not in text and _changes_nothing(command, key)
    ):  # SQL may follow \\\\
        warnings.append(f"{file.place(statement.start)}: {command} is passed over")
        return None
    shown = text.decode(errors="replace").split()[0]
    hint = CONNECT_HINT if shown in ("\\c", "\\connect") else HINT
    raise file.error(statement.start, f"{shown} is a psql command, not SQL", hint=hint)


def _changes_nothing(command: str, argument: str) -> bool:
    if command in ("\\set", "\\unset"):
        return argument in OWN_VARIABLES
    return command in SHOWING or LISTING.fullmatch(command) is not None
