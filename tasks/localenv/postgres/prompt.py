"""A session with the database: psql or pgcli with this terminal as theirs, or a small prompt of our own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import shell
from ..errors import LocalEnvError
from .connection import connect, server_errors
from .lexer import statements
from .query import Rows, as_table

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

CLIENTS = ("psql", "pgcli")
LEAVE = ("\\q", "exit", "quit")
HELP = "end a statement with a semicolon; \\q or Ctrl-D leaves"


def find_client(shipped: Path | None) -> Path | None:
    """Find psql or pgcli on PATH, else take the one that is `shipped` with an engine, where there is one."""
    found = next(filter(None, map(shutil.which, CLIENTS)), None)
    return Path(found) if found else shipped


def attach(client: Path, settings: Settings, *, write: bool) -> int:
    """Run the client on the database and return its exit code. The password goes by the environment, unseen by `ps`."""
    address = settings.postgres
    environ = {**os.environ, "PGPASSWORD": address.password, "PGCONNECT_TIMEOUT": "5"}
    if not write:
        environ["PGOPTIONS"] = "-c default_transaction_read_only=on"
    return shell.attach([client, replace(address, password="").url()], env=environ)


def converse(settings: Settings, ask: Callable[[str], str], show: Callable[[str], None], *, write: bool) -> None:
    """Read statements, run each and show what it gives, until \\q or the end of the input.

    `ask` takes the prompt and gives a line without its newline, or raises EOFError. A failing statement is shown,
    and the next one asked for.
    """
    with connect(settings.postgres, autocommit=True) as conn:
        conn.execute(f"SET default_transaction_read_only = {'off' if write else 'on'}".encode())
        show(f"{settings.postgres}, PostgreSQL {conn.info.parameter_status('server_version')}; {HELP}")
        for statement in _typed(ask, settings.postgres.database):
            try:
                for line in as_table(_run(conn, statement)):
                    show(line)
            except LocalEnvError as error:
                for line in filter(None, (error.message, *error.evidence.split("\n"), error.hint)):
                    show(line)


def _typed(ask: Callable[[str], str], name: str) -> Iterator[str]:
    """Collect lines until a statement is whole: the lexer knows a semicolon within quotes from one that ends it."""
    text = ""
    while True:
        try:
            line = ask(f"{name}{'-' if text else '='}> ")
        except EOFError:
            return
        if not text and line.strip().rstrip(";") in LEAVE:
            return
        text += line + "\n"
        found = list(statements(text.encode()))
        if not found:
            text = ""
        elif found[-1].kind == "meta" or text.encode()[: found[-1].end].endswith(b";"):
            yield text
            text = ""


def _run(conn: psycopg.Connection[Any], statement: str) -> Rows:
    with server_errors("postgres"):
        cursor = conn.cursor()
        cursor.execute(statement.encode())
        rows = cursor.fetchall() if cursor.description else []
        columns = tuple(column.name for column in cursor.description or ())
        return Rows(columns, iter(rows), cursor.statusmessage or "")
