"""A database as plain SQL from pg_dump, which a server of another version or engine can load."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import LocalEnvError
from ..machine import private, shell
from ..machine.disk import disk_errors, no_space, reports_full_disk
from ..machine.progress import progress
from ..machine.wholefile import written_whole
from .checksum import Contents, measure
from .connection import LOCK_S, client_environment, connect, server_errors

if TYPE_CHECKING:
    from ..settings.addresses import PostgresAddress

TIMEOUT_S = 1800
FOR_OTHERS = ("--encoding=UTF8", "--no-owner", "--no-privileges", "--no-password", f"--lock-wait-timeout={LOCK_S}s")
"""Options of a dump that any server can load, and that ends: owners and privileges name roles that it may lack."""


def dump(command: Sequence[str | Path], address: PostgresAddress, path: Path) -> Contents:
    """Write the database to a file, and return what it held at that moment. Ends no sessions.

    `command` is pg_dump with its connection arguments.
    """
    with server_errors(f"database {address.database}"), connect(address) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = conn.execute("SELECT pg_export_snapshot()").fetchone()
        with disk_errors(path.parent), private.create(path) as file:
            _run([*command, "--snapshot", str(row[0]) if row else ""], address, path, file)
        return measure(conn)


def _run(command: Sequence[str | Path], address: PostgresAddress, path: Path, file: IO[bytes]) -> None:
    """Run pg_dump, with its output in a file that is open, and called `path` where it fails."""
    words = [*command, *FOR_OTHERS]
    with progress(f"pg_dump of {address.database}"):
        done = shell.run(words, env=_environment(address), timeout_s=TIMEOUT_S, output=file)
    if done.code and reports_full_disk(done.stderr):
        raise no_space(path.parent, done.stderr.strip())
    if done.code:
        lines = done.stderr.strip().splitlines()
        raise LocalEnvError(f"pg_dump of {address} ended with exit code {done.code}", evidence="\n".join(lines[-5:]))


def read_shape_lines(command: Sequence[str | Path], address: PostgresAddress) -> list[str]:
    """Return the shape of the database as lines of SQL, without what differs from dump to dump.

    `command` as for `dump`. The ledger and the table of applied migrations are left out.
    """
    wanted = [*command, "--schema-only", "--exclude-schema=localenv", "--exclude-table=*.schema_migrations"]
    folder = Path(tempfile.gettempdir())
    with disk_errors(folder), tempfile.TemporaryFile(prefix="localenv-") as file:
        _run(wanted, address, folder / "shape.sql", file)
        file.seek(0)
        lines = file.read().decode(errors="replace").split("\n")
    return [line for line in lines if not line.startswith(("\\restrict ", "\\unrestrict ", "-- Dumped "))]


def _environment(address: PostgresAddress) -> dict[str, str]:
    """Return the variables of pg_dump: the password is in them, so that `ps` does not show it."""
    return {**client_environment(address), "LC_ALL": "C"}


def write_sql(command: Sequence[str | Path], address: PostgresAddress, path: Path | None) -> int:
    """Write the app's part of the database to a file, or to stdout; return the size of the file in bytes.

    `command` as for `dump`. What was in the file stays until all of the new text is there.
    """
    wanted = [*command, "--exclude-schema=localenv"]
    if path is None:
        code = shell.attach([*wanted, *FOR_OTHERS], env=_environment(address))
        if code:
            raise LocalEnvError(f"pg_dump of {address} ended with exit code {code}")
        return 0
    with written_whole(path) as file:
        _run(wanted, address, path, file)
    return path.stat().st_size
