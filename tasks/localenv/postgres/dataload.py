"""Rows of a file into a table, by COPY: CSV as it is written, lines of JSON, all of them or none."""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, UsageError
from ..machine.progress import BYTES, Progress, progress
from ..machine.words import counted
from . import session
from .connection import connect, server_error, server_errors
from .csvform import Asked, Column, Form, find_form, names_of, records, sample, split
from .datafile import CHUNK_BYTES, is_encoding, is_packed, opened_text, text_lines
from .jsonrows import DEFAULT, DOCUMENTS, as_row, shown_value
from .sqlfile import SqlError, display_name

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings
    from ..settings.addresses import PostgresAddress

OF_LINES = (".jsonl", ".ndjson", ".json")
DEFAULTS_FROM = 160000
"""The release of PostgreSQL whose COPY knows DEFAULT."""
_COLUMNS = """
SELECT a.attname, t.typname, format_type(a.atttypid, a.atttypmod), t.typcategory, a.attgenerated <> '',
       a.attidentity <> '', a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_TABLES = """
SELECT relname FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(c.oid)
   AND NOT starts_with(relnamespace::regnamespace::text, 'pg_')
"""
_PLACE = re.compile(r"^COPY .+?, line (?P<line>\d+)(?:, column (?P<column>[^:]+?))?(?::|$)", re.MULTILINE)
_KEY = re.compile(r"Key \((?P<column>[^,()]+)\)=\((?P<value>.*)\) is not present")


@dataclass(frozen=True)
class Table:
    """A table that rows go into; `name` is as it was typed, `quoted` as SQL has it."""

    name: str
    quoted: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class DataFile:
    """A file of rows; `form` is None for lines of JSON. `name` is for messages."""

    path: Path
    name: str
    encoding: str
    form: Form | None

    def __str__(self) -> str:
        return f"{self.name} ({self.form or 'JSON lines'})"


def check_file(settings: Settings, path: Path, asked: Asked) -> None:
    """Raise UsageError for options that cannot be, and for a file that cannot be read. Connects to nothing."""
    for option, value in (("--delimiter", asked.delimiter), ("--quote", asked.quote)):
        if value and (len(value) != 1 or not value.isascii() or value in "\r\n\\"):
            raise UsageError(f"{option} {value!r}: wanted one character of ASCII", hint=f"for example {option} ';'")
    if asked.delimiter and asked.delimiter == (asked.quote or '"'):
        raise UsageError(f"--delimiter and --quote are both {asked.delimiter}", hint="give one of them another value")
    if asked.encoding and not is_encoding(asked.encoding):
        raise UsageError(f"--encoding {asked.encoding}: unknown", hint="use utf-8, utf-16, latin-1, windows-1252, …")
    _first_records(path, display_name(path, settings.root), asked)


def observe(address: PostgresAddress, root: Path, path: Path, table: str, asked: Asked) -> tuple[Table, DataFile]:
    """Return the table, and the file as it is read for it. Raises UsageError where one does not fit the other."""
    with server_errors(table), connect(address) as conn:
        return _fitted(conn, root, path, table, asked)


def load(settings: Settings, path: Path, table: str, asked: Asked) -> tuple[Table, DataFile, int]:
    """Copy the rows of a file into a table, in one transaction, and return how many.

    Raises SqlError with file:line and the column for a row that does not fit, UsageError for a file that cannot be.
    """
    kept = f"kept: table {table} is unchanged"
    with server_errors(f"table {table}"), connect(settings.postgres) as conn:
        into, file = _fitted(conn, settings.root, path, table, asked)
        session.reset(conn)
        rows = _Rows(into, file)
        try:
            if file.form is None and conn.info.server_version < DEFAULTS_FROM:
                raise LocalEnvError("lines of JSON need PostgreSQL 16 or newer", hint="write the file as CSV")
            count = _copy(conn, into, file, rows)
        except LocalEnvError as error:
            error.evidence = "\n".join(filter(None, [error.evidence, kept]))
            raise
    return into, file, count


def summary(table: Table, file: DataFile, count: int) -> str:
    """Return what `load` did."""
    return f"{counted(count, 'row')} of {file} into {table.name}"


def plan(table: Table, file: DataFile) -> str:
    """Return what `load` would do."""
    columns = file.form.loaded if file.form else [column.name for column in table.columns if not column.is_generated]
    return f"load {file} into {table.name}: {', '.join(columns)}"


def _fitted(conn: psycopg.Connection[Any], root: Path, path: Path, table: str, asked: Asked) -> tuple[Table, DataFile]:
    name = display_name(path, root)
    into = _find_table(conn, table)
    found = _first_records(path, name, asked)
    form = None if found is None else find_form(found, into.columns, asked, name, table)
    return into, DataFile(path, name, asked.encoding, form)


def _first_records(path: Path, name: str, asked: Asked) -> list[str] | None:
    """Return the first records of CSV, None for lines of JSON."""
    with opened_text(path, name, asked.encoding) as stream:
        found = sample(text_lines(stream, name), asked.quote or '"')
    suffixes = {suffix.lower() for suffix in path.suffixes}
    start = found[0].lstrip()[:1] if found else ""
    if start == "[" and ".json" in suffixes:
        raise UsageError(f"{name}:1: one list, wanted an object a line", hint=f"`jq -c '.[]' {name} > rows.jsonl`")
    is_csv = bool(asked.delimiter or asked.quote or asked.header is not None or suffixes & {".csv", ".tsv"})
    return None if not is_csv and (start == "{" or suffixes & set(OF_LINES)) else found


def _find_table(conn: psycopg.Connection[Any], name: str) -> Table:
    row = conn.execute(
        "SELECT c.oid, c.oid::regclass::text, relkind, relnamespace::regnamespace::text FROM pg_catalog.pg_class c"
        " WHERE c.oid = to_regclass(%s)",
        (name,),
    ).fetchone()
    if row is None:
        known = [found for (found,) in conn.execute(_TABLES).fetchall()]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(sorted(known)) or '(no tables)'}"
        raise UsageError(f"there is no table {name!r}", hint=hint)
    oid, quoted, kind, schema = row
    if kind not in ("r", "p", "f") or schema in ("localenv", "pg_catalog", "information_schema"):
        raise UsageError(f"{name!r} is no table that rows are loaded into", hint="name a table of the app")
    columns = [
        Column(column, base if base in DOCUMENTS else shown, *rest)
        for column, base, shown, *rest in conn.execute(_COLUMNS, (oid,)).fetchall()
    ]
    return Table(name, quoted, tuple(columns))


def _copy(conn: psycopg.Connection[Any], table: Table, file: DataFile, rows: _Rows) -> int:
    import psycopg

    total = None if is_packed(file.path) else file.path.stat().st_size
    try:
        with progress(file.name, total, BYTES) as done, conn.cursor() as cursor:
            with cursor.copy(_statement(table, file, rows.columns)) as copy:
                for chunk in rows.chunks(done):
                    copy.write(chunk)
            count = cursor.rowcount
        session.check_constraints(conn, file.name)
        return count
    except psycopg.Error as error:
        raise _located(error, file, rows) from error


def _statement(table: Table, file: DataFile, columns: Sequence[str]) -> Any:
    from psycopg import sql

    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    if file.form is None:
        options = sql.SQL("FORMAT text, DEFAULT {}").format(sql.Literal(DEFAULT))
    else:
        options = sql.SQL("FORMAT csv, DELIMITER {}, QUOTE {}, HEADER {}").format(
            sql.Literal(file.form.delimiter),
            sql.Literal(file.form.quote),
            sql.SQL("true" if file.form.header else "false"),
        )
    return sql.SQL("COPY {} ({}) FROM STDIN WITH ({})").format(sql.SQL(table.quoted), names, options)


class _Rows:
    """The rows of a file as COPY reads them, and the lines of the file where they stand."""

    def __init__(self, table: Table, file: DataFile) -> None:
        self._table, self._file = table, file
        self._written = [column for column in table.columns if not column.is_generated]
        self._blank: list[int] = []
        """For each blank line that was left out, the number of the row that follows it, from 1."""

    @property
    def columns(self) -> Sequence[str]:
        form = self._file.form
        return form.loaded if form else [column.name for column in self._written]

    def line_of(self, row: int) -> int:
        """Return the line of the file at which a line of what was sent stands, from 1."""
        return row + bisect.bisect_right(self._blank, row)

    def find(self, column: str, value: str) -> int:
        """Return the first line that has a value in a column, from 1; 0 where none is found."""
        file, line = self._file, 1
        with opened_text(file.path, file.name, file.encoding) as stream:
            lines = text_lines(stream, file.name)
            if file.form is None:
                members = ((number, text) for number, text in enumerate(lines, 1) if text.strip())
                return next((number for number, text in members if shown_value(text, column) == value), 0)
            place = file.form.columns.index(column)
            for record in records(lines, file.form.quote):
                fields = names_of(split(record.rstrip("\r\n"), file.form.delimiter, file.form.quote), file.form.quote)
                if len(fields) > place and fields[place] == value:
                    return line
                line += record.count("\n")
        return 0

    def chunks(self, done: Progress) -> Iterator[bytes]:
        file = self._file
        with opened_text(file.path, file.name, file.encoding) as stream:
            if file.form and not file.form.dropped:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
                    done.add(len(chunk))
                return
            lines = text_lines(stream, file.name)
            for text in _gathered(self._thinned(lines, file.form) if file.form else self._objects(lines)):
                yield text.encode()
                done.add(len(text))

    def _objects(self, lines: Iterable[str]) -> Iterator[str]:
        known = {column.name: column for column in self._table.columns}
        rows = 0
        for number, line in enumerate(lines, 1):
            if not line.strip():
                self._blank.append(rows + 1)
                continue
            rows += 1
            row = as_row(line.rstrip(), self._written, known, f"{self._file.name}:{number}", self._table.name)
            yield row.encode("utf-8", "replace").decode()

    def _thinned(self, lines: Iterable[str], form: Form) -> Iterator[str]:
        """Leave out the fields of generated columns; those beyond the header stay, for COPY to refuse."""
        for record in records(lines, form.quote):
            body = record.rstrip("\r\n")
            fields = split(body, form.delimiter, form.quote)
            kept = [field for place, field in enumerate(fields) if place not in form.dropped]
            yield form.delimiter.join(kept) + record[len(body) :]


def _gathered(texts: Iterable[str]) -> Iterator[str]:
    parts: list[str] = []
    size = 0
    for text in texts:
        parts.append(text)
        size += len(text)
        if size >= CHUNK_BYTES:
            yield "".join(parts)
            parts, size = [], 0
    yield "".join(parts)


def _located(error: psycopg.Error, file: DataFile, rows: _Rows) -> LocalEnvError:
    """Return the server's error with the line of the file and the column."""
    diagnostic = error.diag
    found = _PLACE.search(diagnostic.context or "")
    orphan = _KEY.match(diagnostic.message_detail or "")
    if found:
        line = int(found["line"]) if file.form else rows.line_of(int(found["line"]))
        column = found["column"] or diagnostic.column_name or ""
    elif orphan and (known := rows.find(orphan["column"], orphan["value"])):
        line, column = known, orphan["column"]
    else:
        return server_error(error, file.name)
    place = f"{file.name}:{line}" + (f": column {column}" if column else "")
    hint = diagnostic.message_hint or "correct the file, then run the same command again: nothing of it was loaded"
    return SqlError(f"{place}: {diagnostic.message_primary}", hint=hint, evidence=diagnostic.message_detail or "")
