"""A database as plain SQL from pg_dump, which a server of another version or engine can load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LocalEnvError
from ..machine import private, shell
from ..machine.disk import disk_errors, no_space, reports_full_disk
from .checksum import Contents, measure
from .connection import client_environment, connect, server_errors

if TYPE_CHECKING:
    from ..settings.addresses import PostgresAddress

TIMEOUT_S = 1800


def dump(command: Sequence[str | Path], address: PostgresAddress, path: Path) -> Contents:
    """Write the database to a file, and return what it held at that moment. Ends no sessions.

    `command` is pg_dump with its connection arguments. Owners and privileges are left out: they name roles that
    another server may lack.
    """
    with server_errors(f"database {address.database}"), connect(address) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = conn.execute("SELECT pg_export_snapshot()").fetchone()
        _run([*command, "--snapshot", str(row[0]) if row else ""], address, path)
        return measure(conn)


def _run(command: Sequence[str | Path], address: PostgresAddress, path: Path) -> None:
    """Run pg_dump. The environment passes the password, so that `ps` does not show it."""
    with disk_errors(path.parent), private.create(path) as file:
        done = shell.run(
            [*command, "--encoding=UTF8", "--no-owner", "--no-privileges", "--no-password"],
            env={**client_environment(address), "LC_ALL": "C"},
            timeout_s=TIMEOUT_S,
            output=file,
        )
    if done.code and reports_full_disk(done.stderr):
        raise no_space(path.parent, done.stderr.strip())
    if done.code:
        lines = done.stderr.strip().splitlines()
        raise LocalEnvError(f"pg_dump of {address} ended with exit code {done.code}", evidence="\n".join(lines[-5:]))
