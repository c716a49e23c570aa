r"""The files that an SQL file reads by `\i FILE`, `\ir FILE` and `\copy … from FILE`, read with it, as psql would."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from .lexer import Statement, statements
from .sqlfile import SqlFile, display_name, read_sql

COMMANDS = {"\\i": False, "\\include": False, "\\ir": True, "\\include_relative": True}
"""psql's commands that read a file; True for those whose file lies relative to the one that names it."""
_READS = re.compile(rb"\\(?:i|copy)", re.IGNORECASE)
_COPY_FROM = re.compile(
    r"""\\copy\s+(?P<into>(?:"(?:[^"]|"")*"|'[^']*'|[^'"])*?)\s+from\s+
    (?P<file>'(?:[^']|'')*'|(?!(?:program|p?stdin)\b)[^\s';]+)(?P<options>.*)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def with_included(file: SqlFile, root: Path, within: tuple[str, ...] = ()) -> SqlFile:
    r"""Return the file with all that it includes, to any depth.

    The file of `\i` is looked for in the project's folder, then beside the file that names it. Raises SqlError at the
    place of one that is not there, that lies outside of the project, or that includes itself.
    """
    if not _READS.search(file.text):
        return file
    found: dict[int, SqlFile] = {}
    for statement in statements(file.text):
        command = statement.words[0] if statement.kind == "meta" and statement.words else ""
        if command in COMMANDS:
            found[statement.start] = _read(file, statement, root, (*within, file.name))
        elif command.lower() == "\\copy" and (given := _COPY_FROM.fullmatch(_text_of(file, statement))):
            found[statement.start] = _read_rows(file, statement, root, given)
    return replace(file, included=found)


def _text_of(file: SqlFile, statement: Statement) -> str:
    return file.text[statement.start : statement.end].decode(errors="surrogateescape").strip()


def _read(file: SqlFile, statement: Statement, root: Path, within: tuple[str, ...]) -> SqlFile:
    command = statement.words[0]
    path = _path_of(file, statement, root, _argument(_text_of(file, statement)[len(command) :]), COMMANDS[command])
    shown = display_name(path, root)
    if shown in within:
        circle = " includes ".join([*within[within.index(shown) :], shown])
        raise file.error(statement.start, f"an endless circle: {circle}", hint="remove one of these lines")
    try:
        included = read_sql(path, root)
    except UsageError as error:
        raise file.error(statement.start, error.message, hint=error.hint) from error
    return with_included(included, root, within)


def _read_rows(file: SqlFile, statement: Statement, root: Path, given: re.Match[str]) -> SqlFile:
    path = _path_of(file, statement, root, _argument(given["file"]), is_relative=False)
    command = f"COPY {given['into']} FROM STDIN {given['options'].rstrip().rstrip(';')}"
    try:
        return read_sql(path, root, command.encode(errors="surrogateescape"))
    except UsageError as error:
        raise file.error(statement.start, error.message, hint=error.hint) from error


def _path_of(file: SqlFile, statement: Statement, root: Path, name: str, is_relative: bool) -> Path:
    """Return the path of a file that a command names. Raises SqlError where it lies outside of the project."""
    command = statement.words[0]
    if not name:
        raise file.error(statement.start, f"{command} names no file", hint=f"write `{command} FILE`")
    path = _find(root, (root / file.name).parent, name, is_relative=is_relative)
    if not path.resolve().is_relative_to(root.resolve()):
        raise file.error(
            statement.start,
            f"{command} names a file outside of the project: {name}",
            hint="copy it into the project's folder: what a database is made from belongs to the project",
        )
    return path


def _find(root: Path, beside: Path, name: str, *, is_relative: bool) -> Path:
    places = [beside / name] if is_relative else [root / name, beside / name]
    return next((path for path in places if path.exists()), places[0])


def _argument(text: str) -> str:
    """Return the first argument of a meta-command: words end at a blank, quoted ones at the quote."""
    text = text.strip()
    if text[:1] == "'":
        name, closed, _ = text[1:].replace("''", "\0").partition("'")
        return name.replace("\0", "'") if closed else ""
    return text.split()[0].rstrip(";") if text else ""
