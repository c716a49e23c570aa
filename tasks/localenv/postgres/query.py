"""One statement and its rows: streamed, read-only by default, shown as a table or as JSON."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..hints import inv
from ..machine.columns import harmless, padded, width
from ..machine.reading import path_of
from .connection import connect, server_error
from .faults import Batch, Diagnosis, sql_error
from .lexer import Statement, called_names, first_words, statements
from .sqlfile import SqlFile, read_sql

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings
    from ..settings.addresses import PostgresAddress

FETCH_ROWS = 1000
"""Rows fetched at a time; the first so many determine the widths of a table's columns."""
_QUERIES = (("select",), ("with",), ("values",), ("table",))
_READ_ONLY = (*_QUERIES, ("explain",), ("show",))
SIDE_EFFECTS = {
    "ends or disturbs other sessions, or the server": r"pg_(terminate|cancel)_\w+|pg_(reload|rotate|promote|log)_?\w*",
    "takes a lock, or notifies other sessions": r"pg_(try_)?advisory_\w+|pg_notify",
    "lifts the setting that makes the session read-only": r"set_config",
    "acts on the log, replication or backups": (
        r"pg_(switch|create|drop|copy|sync)_\w+|pg_logical_\w+|pg_replication_\w+|pg_wal_replay_(pause|resume)"
        r"|pg_backup_\w+|pg_(start|stop)_backup"
    ),
    "resets or replaces statistics, or evicts buffers": (
        r"\w*_reset(_\w+)?|pg_(restore|clear)_\w+_stats?|pg_stat_force_\w+|pg_import_\w+|pg_buffercache_(evict|mark)\w*"
        r"|pg_prewarm|pg_truncate_visibility_map"
    ),
    "writes files or large objects": r"lo_\w+|lowrite|pg_file_\w+",
    "runs text as SQL, which may do anything": (
        r"\w+_to_xml(schema|_and_xmlschema)?|dblink\w*|ts_stat|ts_rewrite|crosstab\w*|connectby|pg_background_\w+"
    ),
    "reaches beyond the server": r"\w+_(to|from)_s3|invoke|http\w*",
}
"""Functions with side effects even in a read-only session, by what they do. PostgreSQL 18 docs, "System Administration
Functions", "Functions on XML Data", its contrib modules, and the extensions of Amazon RDS. A read-only session can
end other sessions, notify, and write the server's files (tried)."""
_ACTING = re.compile("|".join(f"(?P<_{number}>{names})" for number, names in enumerate(SIDE_EFFECTS.values())))
_DECLARE = b"DECLARE localenv_query NO SCROLL CURSOR FOR "
_FETCH = f"FETCH FORWARD {FETCH_ROWS} FROM localenv_query"
_PARAMETER = re.compile(r"%\((\w+)\)[sbt]")


@dataclass(frozen=True)
class Rows:
    """The columns of a result and its rows, fetched on demand. `columns` is empty for a command without a result."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]
    status: str = ""

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict; a second column of the same name becomes name_2."""
        names = _distinct(self.columns)
        for row in self.rows:
            yield dict(zip(names, row, strict=True))


def read_statement(settings: Settings, text: str, path: str) -> SqlFile:
    """Return the statement from the command line or a file. Raises UsageError unless it is exactly one."""
    if bool(text) == bool(path):
        raise UsageError(
            "db.query wants one statement, as text or as --file",
            hint=f"for example {inv('db.query', 'select * from users')}",
        )
    file = read_sql(path_of(path), settings.root) if path else SqlFile("query", text.encode())
    found = list(itertools.islice(statements(file.text), 1000))
    if len(found) != 1 or found[0].kind != "sql" or found[0].words[:1] == ("copy",):
        what = f"{len(found)} statements" if len(found) != 1 else " ".join(found[0].words[:1])
        raise UsageError(
            f"{file.name}: {what}, wanted one query", hint=f"{inv('db.connect')} takes everything that psql takes"
        )
    return file


def require_read_only(file: SqlFile) -> None:
    """Raise UsageError for a statement that does more than read, or calls a function with side effects."""
    words = first_words(file.text)[:1]
    if words not in _READ_ONLY:
        what = " ".join(words).upper() or "this"
        raise UsageError(
            f"{file.name}: {what} is not a SELECT, VALUES, TABLE, EXPLAIN or SHOW",
            hint="pass --write to let it change data",
        )
    for name in called_names(file.text):
        found = _ACTING.fullmatch(name)
        if found or name == "U&":
            why = "hides its name in escapes" if not found else list(SIDE_EFFECTS)[int(str(found.lastgroup)[1:])]
            raise UsageError(f"{file.name}: {name} {why}", hint="pass --write to call it")


def parse_parameters(given: Iterable[str], file: SqlFile) -> dict[str, str]:
    """Return the values of name=value pairs. Raises UsageError unless they match the %(name)s in the statement."""
    pairs = [pair.partition("=") for pair in given]
    wanted = list(dict.fromkeys(_PARAMETER.findall(bytes(file.text).decode())))
    for name, equals, _ in pairs:
        if not equals or name not in wanted:
            raise UsageError(
                f"--param {name!r} is not in {file.name}" if equals else f"--param {name!r} has no value",
                hint=f"it takes {', '.join(f'{each}=…' for each in wanted) or 'no parameters'}",
            )
    values = {name: value for name, _, value in pairs}
    missing = [name for name in wanted if name not in values]
    if missing:
        hint = "pass " + " ".join(f"--param {name}=…" for name in missing)
        raise UsageError(f"{file.name} needs a value for {', '.join(missing)}", hint=hint)
    return values


@contextlib.contextmanager
def run(address: PostgresAddress, file: SqlFile, parameters: Mapping[str, str]) -> Iterator[Rows]:
    """Run the statement in a transaction, read-only unless the address has a permit, and yield its rows as they arrive.

    A query is read through a server-side cursor, a thousand rows at a time, so that no table is too large.
    The transaction is committed at the end of the block. Raises SqlError or SqlRefused.
    """
    streamed = address.permit is None and next(statements(file.text)).words[:1] in _QUERIES
    declare = _DECLARE if streamed else b""
    with connect(address) as conn:
        cursor = conn.cursor()
        with _errors_located(conn, file, declare, parameters):
            cursor.execute(declare + bytes(file.text), parameters or None)
            if streamed:
                cursor.execute(_FETCH)
            first: Iterable[Sequence[Any]] = cursor.fetchall() if cursor.description else []
            columns = tuple(column.name for column in cursor.description or ())
            rest = _located_rows(conn, file, _fetch(cursor), declare, parameters) if streamed else iter(())
            yield Rows(columns, itertools.chain(first, rest), cursor.statusmessage or "")


def as_table(rows: Rows) -> Iterator[str]:
    """Yield the lines of a table as the rows arrive: columns are as wide as the first thousand rows need."""
    if not rows.columns:
        yield rows.status
        return
    head = [_cells(row) for row in itertools.islice(rows.rows, FETCH_ROWS)]
    names = _cells(rows.columns)
    widths = [max(map(width, column)) for column in zip(names, *head, strict=True)]
    for cells in itertools.chain([names, ["-" * cells for cells in widths]], head, map(_cells, rows.rows)):
        yield "  ".join(padded(cell, wide) for cell, wide in zip(cells, widths, strict=True)).rstrip()


def _fetch(cursor: psycopg.Cursor[Any]) -> Iterator[Sequence[Any]]:
    while cursor.execute(_FETCH).rowcount:
        yield from cursor


def _located_rows(
    conn: psycopg.Connection[Any],
    file: SqlFile,
    rows: Iterable[Sequence[Any]],
    declare: bytes,
    parameters: Mapping[str, str],
) -> Iterator[Sequence[Any]]:
    with _errors_located(conn, file, declare, parameters):
        yield from rows


@contextlib.contextmanager
def _errors_located(
    conn: psycopg.Connection[Any], file: SqlFile, declare: bytes, parameters: Mapping[str, str]
) -> Iterator[None]:
    """Turn psycopg's errors into ours, with their place in the statement where the server reports one."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        position = int(error.diag.statement_position or 0) - len(declare)
        if position <= 0 or parameters:  # with parameters, the server saw $1 and counts in another text
            raise server_error(error, file.name) from error
        diagnosis = replace(Diagnosis.of(error.diag, conn.info.server_version), statement_position=str(position))
        from .proof import require_proof

        located = sql_error(Batch(file, [Statement(0, len(file.text), "sql")]), diagnosis, 0)
        require_proof(conn.pgconn, located)
        raise located from error


def _distinct(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return distinct


def _cells(row: Sequence[Any]) -> list[str]:
    """Return the values of a row, each as one line of printable text."""
    return [harmless("" if value is None else str(value)) for value in row]
