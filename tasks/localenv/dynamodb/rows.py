"""DynamoDB Local's own rows of a table, from its file to one of ours and back: at the speed of a file, not of its API.

Its file is an SQLite database that has a table for each table: columns made from the item (keys so that they sort,
hashes, one for each index), and ObjectJSON, the item itself. Rows go back into a table that the server itself has made,
and that has the same form; what it keeps about tables is never touched. Found with DynamoDB Local 3.3 (form v2.4.0).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import LocalEnvError, UsageError

FROM = 5_000
"""From this many items it is faster: the server has to be paused, or stopped."""
BUSY_S = 30.0
_FORM = "SELECT name, sql FROM main.sqlite_master WHERE tbl_name = ? UNION ALL SELECT 'cf', version FROM main.cf"


def save(store: Path, table: str, path: Path) -> int:
    """Write the rows of a table of the server's file to a new file. Returns how many these are."""
    with _opened(store, path) as conn:
        conn.execute("PRAGMA kept.journal_mode = OFF")
        conn.execute(f"CREATE TABLE kept.form AS {_FORM}", (table,))
        conn.execute(f"CREATE TABLE kept.rows AS SELECT * FROM main.{_quoted(table)}")
        conn.commit()
        return _count(conn)


def fill(store: Path, table: str, path: Path) -> bool:
    """Write such rows to an empty table of the server's file, all or none; False where it has another form."""
    with _opened(store, path) as conn:
        forms = conn.execute(_FORM, (table,)).fetchall(), conn.execute("SELECT name, sql FROM kept.form").fetchall()
        if sorted(forms[0], key=str) != sorted(forms[1], key=str):
            return False
        conn.execute(f"INSERT INTO main.{_quoted(table)} SELECT * FROM kept.rows")
        conn.commit()
        return True


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the items (DynamoDB JSON) of such rows."""
    with _errors(path), contextlib.closing(sqlite3.connect(path)) as conn:
        for (text,) in conn.execute("SELECT ObjectJSON FROM rows"):
            yield json.loads(text)


@contextlib.contextmanager
def _opened(store: Path, path: Path) -> Iterator[sqlite3.Connection]:
    with _errors(path), contextlib.closing(sqlite3.connect(store, timeout=BUSY_S)) as conn:
        conn.execute("ATTACH ? AS kept", (str(path),))
        yield conn


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "full" in str(error):
            raise LocalEnvError(
                f"{path.name}: {error}", hint="free some space, then run the same command again"
            ) from error
        raise UsageError(f"{path.name}: not rows of DynamoDB Local: {error}") from error
    except ValueError as error:
        raise UsageError(f"{path.name}: an item is no JSON: {error}") from error


def _count(conn: sqlite3.Connection) -> int:
    return int(conn.execute("SELECT count(*) FROM kept.rows").fetchone()[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
