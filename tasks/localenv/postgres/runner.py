"""Runs SQL files over an open connection: in the caller's transaction, a batch of statements per round trip."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..machine.progress import BYTES, Progress, progress
from ..machine.waiting import waiting
from .connection import port_here, server_errors
from .faults import Batch, Diagnosis, sql_error
from .lexer import Statement, Text, statements
from .sqlfile import SqlError, SqlFile

if TYPE_CHECKING:
    import psycopg
    from psycopg import pq

BATCH_BYTES = 1 << 20
"""Text sent to the server at once: it parses a query as a whole, in many times the memory of its text."""
STATEMENT_BYTES = 128 << 20
"""The longest statement. The server takes 1 GB, with many times that memory; an error costs libpq 14 times as much."""
COPY_BYTES = 1 << 18
MAX_WARNINGS = 1000
"""How many of a file's notices are kept: a loop can raise any number."""
META_HINT = (
    "remove the line, or run the file with `psql -f`: of psql's own commands, \\i and \\ir are known here, "
    "and in a migration none"
)


@dataclass
class Outcome:
    """The result of running a file. `warnings` are sentences, with their place in the file if it is known."""

    statements: int = 0
    rows: int = 0
    warnings: list[str] = field(default_factory=list)


def run_file(conn: psycopg.Connection[Any], file: SqlFile) -> Outcome:
    """Run every statement of a file inside the open transaction; the caller commits or rolls back.

    Accepts what psql accepts with ON_ERROR_STOP and --single-transaction, except its variables, ROLLBACK, and its
    meta-commands but for those that include a file. The file's own BEGIN and COMMIT are skipped, with a warning.
    Over a connection with autocommit, each statement is a transaction of its own. Raises SqlError with the place of
    the first failure.
    """
    outcome = Outcome()

    def keep_warning(diagnostic: psycopg.errors.Diagnostic) -> None:
        raised = diagnostic.source_function == "exec_stmt_raise"
        if len(outcome.warnings) == MAX_WARNINGS:
            outcome.warnings.append(f"{file.name}: further notices are left out")
        if len(outcome.warnings) > MAX_WARNINGS:
            return
        if raised or diagnostic.severity_nonlocalized == "WARNING":
            outcome.warnings.append(f"{file.name}: {diagnostic.message_primary}")

    conn.add_notice_handler(keep_warning)
    try:
        with server_errors(file.name):
            conn.execute("")  # psycopg opens the transaction with its first query
            with progress(file.name, file.size_bytes, BYTES) as sent:
                for batch in _batches(file, outcome, limit=0 if conn.autocommit else BATCH_BYTES):
                    with waiting(f"the statements of {file.name}", port=port_here(conn)):
                        outcome.rows += _run_batch(conn.pgconn, batch, sent)
                    outcome.statements += len(batch.statements)
    except KeyboardInterrupt:
        _stop(conn)
        raise
    finally:
        conn.remove_notice_handler(keep_warning)
    return outcome


def _stop(conn: psycopg.Connection[Any]) -> None:
    """Cancel the running query: otherwise the server would go on, and keep its locks, until it noticed."""
    import psycopg

    with contextlib.suppress(psycopg.Error):
        conn.cancel_safe(timeout=2)
    conn.close()


def _batches(file: SqlFile, outcome: Outcome, limit: int) -> Iterator[Batch]:
    """Split a file by size, after COPY data, and around what must not reach the server; with those that it includes."""
    kept: list[Statement] = []
    for statement in _for_server(file, outcome):
        if kept and (not isinstance(statement, Statement) or statement.end - kept[0].start > limit):
            yield Batch(file, kept)
            kept = []
        if isinstance(statement, SqlFile):
            yield from _batches(statement, outcome, limit)
        if not isinstance(statement, Statement):
            continue
        if statement.end - statement.start > STATEMENT_BYTES:
            raise file.error(
                statement.start,
                f"a statement of {statement.end - statement.start:,} bytes; at most {STATEMENT_BYTES:,} are accepted",
                hint="look for an unclosed quote; split many rows into several INSERTs, or use COPY",
            )
        kept.append(statement)
        if statement.kind == "copy":
            _check_rest_of_line(file, statement)
            yield Batch(file, kept)
            kept = []
    if kept:
        yield Batch(file, kept)


def _for_server(file: SqlFile, outcome: Outcome) -> Iterator[Statement | SqlFile | None]:
    """Yield statements and included files, and None for what is skipped: a batch is one piece of the file."""
    locked_with: str | None = None
    for statement in statements(file.text):
        if statement.kind in ("sql", "copy"):
            yield statement
            continue
        yield None  # what precedes it runs, and fails, before this one is checked
        if statement.start in file.included and locked_with is None:
            yield file.included[statement.start]
        elif statement.kind == "meta":
            locked_with = _check_meta(file, statement, locked_with)
        elif statement.kind in ("begin", "commit"):
            outcome.warnings.append(
                f"{file.place(statement.start)}: {statement.words[0].upper()} is ignored: "
                "the file runs as one transaction"
            )
        else:
            raise file.error(
                statement.start,
                f"{' '.join(statement.words[:2]).upper() if statement.kind == 'prepare' else 'ROLLBACK'} "
                "in a file that runs as one transaction",
                hint="remove it, and what it would undo",
            )


def _check_meta(file: SqlFile, statement: Statement, locked_with: str | None) -> str | None:
    r"""Accept what pg_dump writes, `\restrict KEY` and `\unrestrict KEY` around a dump, and no other meta-command."""
    command, key = (*statement.words, "", "")[:2]
    if command == "\\restrict" and key and locked_with is None:
        return key
    if command == "\\unrestrict" and key and key == locked_with:
        return None
    shown = file.text[statement.start : statement.end].decode(errors="replace").split()[0]
    raise file.error(statement.start, f"{shown} is a psql command, not SQL", hint=META_HINT)


def _check_rest_of_line(file: SqlFile, copy: Statement) -> None:
    line_end = file.text.find(b"\n", copy.end)
    rest = file.text[copy.end : min(len(file.text) if line_end < 0 else line_end, copy.end + COPY_BYTES)]
    if next(statements(rest), None):
        raise file.error(copy.end, "a statement after COPY on the same line", hint="move it below the COPY's rows")


def _run_batch(pgconn: pq.abc.PGconn, batch: Batch, sent: Progress) -> int:
    """Run a batch, and return how many rows it wrote. Raises SqlError."""
    from psycopg import pq
    from psycopg.errors import Diagnostic

    pgconn.nonblocking = 0
    pgconn.send_query(batch.text)
    pgconn.set_single_row_mode()  # a SELECT's rows are not used, and libpq would hold them all
    completed = rows = 0
    failure: SqlError | None = None
    while result := _next_result(pgconn):
        if result.status == pq.ExecStatus.COPY_IN:
            _send_rows(pgconn, batch.file.text, batch.statements[-1].data, sent)
        elif result.status == pq.ExecStatus.COPY_OUT:
            _drain(pgconn)
        elif result.status == pq.ExecStatus.SINGLE_TUPLE:
            continue
        elif result.status == pq.ExecStatus.FATAL_ERROR:
            failure = failure or sql_error(
                batch, Diagnosis.of(Diagnostic(result, "utf-8"), pgconn.server_version), completed
            )
        else:
            completed += 1
            rows += _rows_written(result.command_status)
    if failure:
        raise failure
    sent.add(batch.statements[-1].end - batch.start)
    return rows


def _rows_written(status: bytes | None) -> int:
    """Return the number of rows in a command tag: INSERT 0 3, COPY 100."""
    words = (status or b"").split()
    counted = words[:1] and words[0] in (b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY")
    return int(words[-1]) if counted and words[-1].isdigit() else 0


def _next_result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """Wait for the next result in Python rather than in libpq, so that Ctrl-C gets through."""
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        while pgconn.is_busy():
            selector.select()
            pgconn.consume_input()
    return pgconn.get_result()


def _send_rows(pgconn: pq.abc.PGconn, text: Text, data: tuple[int, int] | None, sent: Progress) -> None:
    if data is None:
        pgconn.put_copy_end(b"COPY FROM stdin was not expected here")
        return
    for chunk in _chunks(text, *data):
        pgconn.put_copy_data(chunk)
        sent.add(len(chunk))
    pgconn.put_copy_end()


def _drain(pgconn: pq.abc.PGconn) -> None:
    while pgconn.get_copy_data(0)[0] > 0:
        pass


def _chunks(text: Text, start: int, end: int) -> Iterable[bytes]:
    for offset in range(start, end, COPY_BYTES):
        yield text[offset : min(offset + COPY_BYTES, end)]
