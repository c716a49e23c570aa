"""A database as plain SQL, by pg_dump: what goes to another server, of another version or engine."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import shell
from ..disk import no_space, tells_of_full_disk
from ..errors import LocalEnvError, PreflightFailed
from .connection import connect, server_errors
from .contents import Contents, measure

if TYPE_CHECKING:
    from ..addresses import PostgresAddress

TIMEOUT_S = 1800


def find_program(shipped: Path | None) -> Path:
    """Take the pg_dump that is `shipped` with an engine, which is new enough for both, else the one on PATH."""
    if shipped and shipped.exists():
        return shipped
    found = shutil.which("pg_dump")
    if found is None:
        raise PreflightFailed("pg_dump is not installed", hint="install the client programs of PostgreSQL 17 or newer")
    return Path(found)


def dump(program: Path, address: PostgresAddress, path: Path) -> Contents:
    """Write the database to a file, and say what it held at that very moment. Nobody's session is ended.

    Owners and rights are left out: they name roles that another server may not have.
    """
    with server_errors(f"database {address.database}"), connect(address) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = conn.execute("SELECT pg_export_snapshot()").fetchone()
        _run(program, address, path, str(row[0]) if row else "")
        return measure(conn)


def _run(program: Path, address: PostgresAddress, path: Path, snapshot: str) -> None:
    """Run pg_dump on the state of a transaction that is open elsewhere. The password goes by the environment."""
    done = shell.run(
        [
            program,
            *("--snapshot", snapshot, "--encoding=UTF8", "--no-owner", "--no-privileges", "--no-password"),
            *("--file", path, "--dbname", replace(address, password="").url()),
        ],
        env={**os.environ, "PGPASSWORD": address.password, "PGCONNECT_TIMEOUT": "5", "LC_ALL": "C"},
        timeout_s=TIMEOUT_S,
    )
    if done.code and tells_of_full_disk(done.stderr):
        raise no_space(path.parent, done.stderr.strip())
    if done.code:
        lines = done.stderr.strip().splitlines()
        raise LocalEnvError(f"pg_dump of {address} ended with exit code {done.code}", evidence="\n".join(lines[-5:]))
