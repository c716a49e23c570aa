"""Runs SQL files over an open connection, in the caller's transaction, statement by statement as psql does.

Each statement is parsed by the server when those before it have run, so that their settings count, and the first one
that fails is the one that is told. They are sent one behind the other all the same (libpq's pipeline mode).
"""

from __future__ import annotations

import contextlib
import selectors
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..machine.progress import BYTES, Progress, progress
from ..machine.waiting import waiting
from .connection import port_here, server_errors
from .faults import Batch, Diagnosis, sql_error
from .lexer import Statement, Text, statements
from .metacommands import check_meta
from .sqlfile import SqlError, SqlFile

if TYPE_CHECKING:
    import psycopg
    from psycopg import pq

AHEAD = 1000
AHEAD_BYTES = 1 << 20
"""So many statements, or bytes of them, are sent before the results are waited for."""
STATEMENT_BYTES = 64 << 20
"""The longest statement. The server takes 1 GB, with many times that memory; an error costs libpq 14 times as much."""
COPY_BYTES = 1 << 18
MAX_WARNINGS = 1000
"""How many of a file's notices are kept: a loop can raise any number."""
WITH_ROWS = {"select", "with", "values", "table", "execute", "fetch", "show", "explain", "call"}
"""First words of statements that may return many rows: they are not used, and libpq would hold them all."""
UNSAFE = {b"SJIS", b"SHIFT_JIS_2004", b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB"}
"""Encodings in which a part of a character may look like a quote or backslash (PostgreSQL, "Character Set Support")."""


Check = Callable[[SqlFile, Statement], None]


@dataclass
class Outcome:
    """The result of running a file. `warnings` are sentences, with their place in the file if it is known."""

    statements: int = 0
    rows: int = 0
    warnings: list[str] = field(default_factory=list)


def run_file(
    conn: psycopg.Connection[Any], file: SqlFile, *, by_psql: bool = True, check: Check | None = None
) -> Outcome:
    """Run every statement of a file inside the open transaction; the caller commits or rolls back.

    Accepts what psql accepts with ON_ERROR_STOP and --single-transaction, except its variables, ROLLBACK, and its
    meta-commands but for those that include a file. The file's own BEGIN and COMMIT are skipped, with a warning.
    Over a connection with autocommit, each statement is a transaction of its own. `by_psql` False is for a file that
    another program runs as well, which knows no meta-commands. `check` is called for each statement before it is sent.
    Raises SqlError with the place of the first failure.
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
            with progress(file.name, file.size_bytes, BYTES) as sent, _Sender(conn, outcome, sent, check) as sender:
                _run(file, sender, outcome, by_psql=by_psql)
                sender.drain()
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


def _run(file: SqlFile, sender: _Sender, outcome: Outcome, *, by_psql: bool = True) -> None:
    """Send the statements of a file and of those that it includes."""
    locked_with: str | None = None
    for statement in statements(file.text, escapes=sender.escapes):
        if statement.kind in ("sql", "copy"):
            if statement.kind == "copy" or statement.end - statement.start > STATEMENT_BYTES:
                sender.drain()
                _check_form(file, statement)
            sender.send(file, statement)
            continue
        sender.drain()  # what precedes it runs, and fails, before this one is checked
        included = file.included.get(statement.start) if locked_with is None else None
        if included and included.copy:
            sender.copy(included)
        elif included:
            _run(included, sender, outcome)
        elif statement.kind == "meta":
            locked_with = check_meta(file, statement, locked_with, outcome.warnings if by_psql else None)
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


def _check_form(file: SqlFile, statement: Statement) -> None:
    if statement.end - statement.start > STATEMENT_BYTES:
        raise file.error(
            statement.start,
            f"a statement of {statement.end - statement.start:,} bytes; at most {STATEMENT_BYTES:,} are accepted",
            hint="look for an unclosed quote; split many rows into several INSERTs, or use COPY",
        )
    line_end = file.text.find(b"\n", statement.end)
    rest = file.text[statement.end : min(len(file.text) if line_end < 0 else line_end, statement.end + COPY_BYTES)]
    if statement.kind == "copy" and next(statements(rest), None):
        raise file.error(statement.end, "a statement after COPY on the same line", hint="move it below the COPY's rows")


class _Sender:
    """Sends statements over a connection without waiting for each, and counts what they did.

    Those of a connection with autocommit, and COPY, which libpq has not got in pipeline mode, run by themselves.
    """

    def __init__(self, conn: psycopg.Connection[Any], outcome: Outcome, sent: Progress, check: Check | None) -> None:
        self._check = check
        self._conn = conn
        self._pgconn = conn.pgconn
        self._outcome = outcome
        self._sent = sent
        self._ahead: deque[Batch] = deque()
        self._ahead_bytes = 0

    def __enter__(self) -> _Sender:
        self._pgconn.nonblocking = 1
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and not issubclass(kind, Exception):
            return  # Ctrl-C: the connection is given up, not waited for
        with contextlib.suppress(Exception):  # of a connection that is closed, or has failed
            self.drain()
            self._pgconn.nonblocking = 0

    def escapes(self) -> bool:
        """Return whether a backslash escapes in '…', after all that was sent."""
        self.drain()
        return self._pgconn.parameter_status(b"standard_conforming_strings") == b"off"

    def send(self, file: SqlFile, statement: Statement) -> None:
        """Send a statement; its failure, or that of one before it, may be raised by a later call. Raises SqlError."""
        if self._check:
            self._check(file, statement)
        batch = Batch(file, [statement])
        if self._conn.autocommit or statement.words[:1] == ("copy",):
            self.drain()
            self._run_alone(batch)
            return
        if not self._ahead:
            self._pgconn.enter_pipeline_mode()
        text = batch.text
        self._pgconn.send_query_params(text, None)
        self._ahead.append(batch)
        self._ahead_bytes += len(text)
        if len(self._ahead) >= AHEAD or self._ahead_bytes >= AHEAD_BYTES:
            self.drain()
        elif statement.words[:1] == ("set",):
            self._check_encoding(file, statement)

    def copy(self, rows: SqlFile) -> None:
        """Run the COPY of a file of rows. Raises SqlError at the row that fails, else at the first one."""
        self._run_alone(Batch(rows, [Statement(0, 0, "copy", ("copy",), (0, len(rows.text)))]), rows.copy)

    def drain(self) -> None:
        """Wait for the results of all that was sent. Raises SqlError for the first failure."""
        if not self._ahead:
            return
        self._pgconn.pipeline_sync()
        failure: SqlError | None = None
        with waiting(f"the statements of {self._ahead[-1].file.name}", port=port_here(self._conn)):
            while self._ahead:
                failure = self._finish(self._ahead.popleft(), has_failed=bool(failure)) or failure
            self._next_result()  # that of the synchronization
        self._ahead_bytes = 0
        self._pgconn.exit_pipeline_mode()
        if failure:
            raise self._proven(failure)

    def _finish(self, batch: Batch, *, has_failed: bool) -> SqlError | None:
        """Take the results of a statement; those that the server skips after a failure have none."""
        from psycopg import pq

        if not has_failed and set(batch.statements[0].words[:1]) & WITH_ROWS:
            self._pgconn.set_single_row_mode()
        failure = None
        while result := self._next_result():
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failure = self._error(batch, result)
            elif result.status not in (pq.ExecStatus.PIPELINE_ABORTED, pq.ExecStatus.SINGLE_TUPLE):
                self._count(batch, result)
        return failure

    def _run_alone(self, batch: Batch, text: bytes = b"") -> None:
        """Run a statement by itself, with the rows that follow a COPY; `text` is what it is where the file has none."""
        from psycopg import pq

        self._pgconn.send_query(text or batch.text)
        self._pgconn.set_single_row_mode()
        failure: SqlError | None = None
        with waiting(f"the statements of {batch.file.name}", port=port_here(self._conn)):
            while result := self._next_result():
                if result.status == pq.ExecStatus.COPY_IN:
                    self._send_rows(batch.file.text, batch.statements[0].data)
                elif result.status == pq.ExecStatus.COPY_OUT:
                    _drain_rows(self._pgconn)
                elif result.status == pq.ExecStatus.FATAL_ERROR:
                    failure = failure or self._error(batch, result)
                elif result.status != pq.ExecStatus.SINGLE_TUPLE:
                    self._count(batch, result)
        if failure:
            raise self._proven(failure)

    def _count(self, batch: Batch, result: pq.abc.PGresult) -> None:
        self._outcome.statements += 1
        self._outcome.rows += _rows_written(result.command_status)
        self._sent.add(batch.statements[0].end - batch.start)

    def _error(self, batch: Batch, result: pq.abc.PGresult) -> SqlError:
        from psycopg.errors import Diagnostic

        encoding = self._conn.info.encoding
        diagnosis = Diagnosis.of(Diagnostic(result, encoding), self._pgconn.server_version, encoding)
        if batch.file.copy:
            diagnosis = replace(diagnosis, statement_position=None)  # one in the command, not in the rows
        return sql_error(batch, diagnosis, 0)

    def _proven(self, error: SqlError) -> SqlError:
        from .proof import require_proof

        require_proof(self._pgconn, error)
        return error

    def _check_encoding(self, file: SqlFile, statement: Statement) -> None:
        """Refuse an encoding in which the rest of the file could not be told apart by its bytes."""
        if statement.words[1:2] in (("client_encoding",), ("names",)):
            self.drain()
            encoding = self._pgconn.parameter_status(b"client_encoding") or b""
            if encoding in UNSAFE:
                raise file.error(
                    statement.start,
                    f"client_encoding {encoding.decode()} is not read here",
                    hint="save the file as UTF-8 and remove the line; for a dump, `pg_dump --encoding=UTF8`",
                )

    def _next_result(self) -> pq.abc.PGresult | None:
        """Wait for the next result; send what waits."""
        if self._pgconn.is_busy():
            self._wait(self._pgconn.is_busy)
        return self._pgconn.get_result()

    def _send_rows(self, text: Text, data: tuple[int, int] | None) -> None:
        """Send the rows of a COPY, each chunk when the one before is sent: libpq would hold them all."""
        pgconn = self._pgconn
        if data is None:
            pgconn.put_copy_end(b"COPY FROM stdin was not expected here")
            return
        for chunk in _chunks(text, *data):
            pgconn.put_copy_data(chunk)
            self._sent.add(len(chunk))
            if pgconn.flush():
                self._wait(lambda: 0)
        pgconn.put_copy_end()

    def _wait(self, is_busy: Callable[[], int]) -> None:
        """Wait in Python rather than in libpq, so that Ctrl-C gets through, until all is sent and nothing is busy."""
        pgconn = self._pgconn
        with selectors.DefaultSelector() as selector:
            selector.register(pgconn.socket, selectors.EVENT_READ)
            while (unsent := pgconn.flush()) or is_busy():
                selector.modify(pgconn.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0))
                if any(ready & selectors.EVENT_READ for _, ready in selector.select()):
                    pgconn.consume_input()


def _rows_written(status: bytes | None) -> int:
    """Return the number of rows in a command tag: INSERT 0 3, COPY 100."""
    words = (status or b"").split()
    counted = words[:1] and words[0] in (b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY")
    return int(words[-1]) if counted and words[-1].isdigit() else 0


def _drain_rows(pgconn: pq.abc.PGconn) -> None:
    while pgconn.get_copy_data(0)[0] > 0:
        pass


def _chunks(text: Text, start: int, end: int) -> Iterable[bytes]:
    for offset in range(start, end, COPY_BYTES):
        yield text[offset : min(offset + COPY_BYTES, end)]
