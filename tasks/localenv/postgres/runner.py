"""Runs SQL files over an open connection: in the caller's transaction, a batch of statements a round trip."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..machine.waiting import waiting
from .connection import port_here, server_errors
from .faults import Batch, Diagnosis, sql_error
from .lexer import Statement, Text, statements
from .sqlfile import SqlError, SqlFile

if TYPE_CHECKING:
    import psycopg
    from psycopg import pq

BATCH_BYTES = 1 << 20
"""Text that goes to the server at once: it parses a query whole, at many times the size of its text."""
STATEMENT_BYTES = 128 << 20
"""The longest statement. The server takes 1 GB, and needs many times that for it; libpq takes 14 times for an error."""
COPY_BYTES = 1 << 18
MOST_WARNINGS = 1000
"""What a file raises as notices is kept to be told: a loop in it raises any number."""
META_HINT = "remove the line, or run the file with `psql -f`: commands of psql itself are not known here"


@dataclass
class Outcome:
    """What running a file came to. `warnings` are sentences, with their place in the file where it is known."""

    statements: int = 0
    rows: int = 0
    warnings: list[str] = field(default_factory=list)


def run_file(conn: psycopg.Connection[Any], file: SqlFile) -> Outcome:
    """Run every statement of a file inside the open transaction; the caller commits or rolls back.

    Accepts what psql accepts with ON_ERROR_STOP and --single-transaction, but for its meta-commands, its variables,
    and ROLLBACK. The file's own BEGIN and COMMIT are left out, with a warning. Raises SqlError with the place of the
    first failure.
    """
    outcome = Outcome()

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        raised = diagnostic.source_function == "exec_stmt_raise"
        if len(outcome.warnings) == MOST_WARNINGS:
            outcome.warnings.append(f"{file.name}: more notices, which are left out")
        if len(outcome.warnings) > MOST_WARNINGS:
            return
        if raised or diagnostic.severity_nonlocalized == "WARNING":
            outcome.warnings.append(f"{file.name}: {diagnostic.message_primary}")

    conn.add_notice_handler(note)
    try:
        with server_errors(file.name):
            conn.execute("")  # psycopg opens the transaction with the first query it is given
            for batch in _batches(file, outcome):
                with waiting(f"the statements of {file.name}", port=port_here(conn)):
                    outcome.rows += _run_batch(conn.pgconn, batch)
                outcome.statements += len(batch.statements)
    except KeyboardInterrupt:
        _stop(conn)
        raise
    finally:
        conn.remove_notice_handler(note)
    return outcome


def _stop(conn: psycopg.Connection[Any]) -> None:
    """Let the server drop what it is busy with: left alone it would go on, locks and all, until it noticed."""
    import psycopg

    with contextlib.suppress(psycopg.Error):
        conn.cancel_safe(timeout=2)
    conn.close()


def _batches(file: SqlFile, outcome: Outcome) -> Iterator[Batch]:
    """Cut a file where its size, its COPY data or what must not reach the server asks for it."""
    kept: list[Statement] = []
    for statement in _for_server(file, outcome):
        if kept and (statement is None or statement.end - kept[0].start > BATCH_BYTES):
            yield Batch(file, kept)
            kept = []
        if statement is None:
            continue
        if statement.end - statement.start > STATEMENT_BYTES:
            raise file.error(
                statement.start,
                f"a statement of {statement.end - statement.start:,} bytes, and {STATEMENT_BYTES:,} are taken at most",
                hint="look for a quote that is not closed; many rows go into COPY, or into several INSERTs",
            )
        kept.append(statement)
        if statement.kind == "copy":
            _check_rest_of_line(file, statement)
            yield Batch(file, kept)
            kept = []
    if kept:
        yield Batch(file, kept)


def _for_server(file: SqlFile, outcome: Outcome) -> Iterator[Statement | None]:
    """Give the statements for the server, and None where one is left out: a batch is one piece of the file."""
    locked_with: str | None = None
    for statement in statements(file.text):
        if statement.kind in ("sql", "copy"):
            yield statement
            continue
        yield None  # what comes before runs, and fails, before this one is judged
        if statement.kind == "meta":
            locked_with = _check_meta(file, statement, locked_with)
        elif statement.kind in ("begin", "commit"):
            outcome.warnings.append(
                f"{file.place(statement.start)}: {statement.words[0].upper()} is left out: "
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
    r"""Let pass what pg_dump writes: `\restrict KEY` and `\unrestrict KEY` around the dump. Refuse all others."""
    command, key = (*statement.words, "", "")[:2]
    if command == "\\restrict" and key and locked_with is None:
        return key
    if command == "\\unrestrict" and key and key == locked_with:
        return None
    shown = file.text[statement.start : statement.end].decode(errors="replace").split()[0]
    raise file.error(statement.start, f"{shown} is a command of psql, not SQL", hint=META_HINT)


def _check_rest_of_line(file: SqlFile, copy: Statement) -> None:
    line_end = file.text.find(b"\n", copy.end)
    rest = file.text[copy.end : min(len(file.text) if line_end < 0 else line_end, copy.end + COPY_BYTES)]
    if next(statements(rest), None):
        raise file.error(copy.end, "a statement after COPY on the same line", hint="move it below the rows of the COPY")


def _run_batch(pgconn: pq.abc.PGconn, batch: Batch) -> int:
    """Run a batch and return how many rows it wrote. Raises SqlError."""
    from psycopg import pq
    from psycopg.errors import Diagnostic

    pgconn.nonblocking = 0
    pgconn.send_query(batch.text)
    pgconn.set_single_row_mode()  # the rows of a SELECT are nobody's: libpq would hold all of them
    completed = rows = 0
    failure: SqlError | None = None
    while result := _next_result(pgconn):
        if result.status == pq.ExecStatus.COPY_IN:
            _send_rows(pgconn, batch.file.text, batch.statements[-1].data)
        elif result.status == pq.ExecStatus.COPY_OUT:
            _drain(pgconn)
        elif result.status == pq.ExecStatus.SINGLE_TUPLE:
            continue
        elif result.status == pq.ExecStatus.FATAL_ERROR:
            failure = failure or sql_error(batch, Diagnosis.of(Diagnostic(result, "utf-8")), completed)
        else:
            completed += 1
            rows += _written(result.command_status)
    if failure:
        raise failure
    return rows


def _written(status: bytes | None) -> int:
    """Read the number of rows out of a command tag: INSERT 0 3, COPY 100."""
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


def _send_rows(pgconn: pq.abc.PGconn, text: Text, data: tuple[int, int] | None) -> None:
    if data is None:
        pgconn.put_copy_end(b"COPY FROM stdin was not expected here")
        return
    for chunk in _chunks(text, *data):
        pgconn.put_copy_data(chunk)
    pgconn.put_copy_end()


def _drain(pgconn: pq.abc.PGconn) -> None:
    while pgconn.get_copy_data(0)[0] > 0:
        pass


def _chunks(text: Text, start: int, end: int) -> Iterable[bytes]:
    for offset in range(start, end, COPY_BYTES):
        yield text[offset : min(offset + COPY_BYTES, end)]
