"""A session with the database: psql or pgcli in this terminal, or a small prompt of our own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..machine import shell
from .connection import client_environment, connect, server_errors
from .lexer import statements
from .query import Rows, as_table

if TYPE_CHECKING:
    import psycopg

    from ..settings.addresses import PostgresAddress

CLIENTS = ("psql", "pgcli")
QUIT = ("\\q", "exit", "quit")
HELP = "end a statement with a semicolon; \\q or Ctrl-D quits"


def find_client(shipped: Path | None, database: str) -> Path | None:
    """Return psql or pgcli from PATH, else the client `shipped` with an engine, if there is one.

    pgcli would read a database name that contains = or :// as an address, so it is not used for one.
    """
    known = [name for name in CLIENTS if name != "pgcli" or not re.search("=|://", database)]
    found = next(filter(None, map(shutil.which, known)), None)
    return Path(found) if found else shipped


def attach(client: Path, address: PostgresAddress) -> int:
    """Run the client on the database, read-only unless the address has a permit, and return its exit code.

    psql gets everything by the environment: `ps` would show arguments, and psql could read them as a URL or an option.
    pgcli reads neither user nor database there, but does read the name of another server (its README, "alias_dsn").
    """
    environ = client_environment(address)
    words: list[str | Path] = [client]
    if client.name == "pgcli":
        environ.pop("DSN", None)
        given = {"host": address.host, "port": address.port, "username": address.user, "dbname": address.database}
        words += [f"--{option}={value}" for option, value in given.items()]
    return shell.attach(words, env=environ)


def converse(address: PostgresAddress, ask: Callable[[str], str], show: Callable[[str], None]) -> None:
    """Read statements, run each and show its result, until \\q or the end of the input.

    `ask` takes the prompt and returns a line without its newline, or raises EOFError. The error of a failing statement
    is shown, and the next one asked for.
    """
    with connect(address, autocommit=True) as conn:
        show(f"{address}, PostgreSQL {conn.info.parameter_status('server_version')}; {HELP}")
        for statement in _typed(ask, address.database):
            try:
                for line in as_table(_run(conn, statement)):
                    show(line)
            except LocalEnvError as error:
                for line in filter(None, (error.message, *error.evidence.split("\n"), error.hint)):
                    show(line)


def _typed(ask: Callable[[str], str], name: str) -> Iterator[str]:
    """Yield each statement once it is complete: the lexer tells a semicolon in quotes from one that ends it."""
    text = ""
    while True:
        try:
            line = ask(f"{name}{'-' if text else '='}> ")
        except EOFError:
            return
        if not text and line.strip().rstrip(";") in QUIT:
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
