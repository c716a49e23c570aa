"""Migrations as dbmate has them: the blocks of a file, and its table of applied versions.

The rules are those of dbmate 2.36 (pkg/dbmate/migration.go), so that both tools work on one folder and one database.
One is wider: a file without `-- migrate:down` is accepted, as by earlier releases. It cannot be rolled back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .lexer import BOM
from .sqlfile import SqlFile

if TYPE_CHECKING:
    import psycopg

FOLDER = Path("sql/migrations")
TEMPLATE = "-- migrate:up\n\n\n-- migrate:down\n\n"
"""A new file, as dbmate writes it."""
OUTSIDE = b"transaction:false"
_VERSION = re.compile(r"\d+")
# Go's \s has no vertical tab.
_MARKER = rb"^--[ \t\r\n\f]*migrate:(?P<of>%s)(?:[ \t\r\n\f]*$|[ \t\r\n\f]+[^ \t\r\n\f]+)"
_UP = re.compile(_MARKER % b"up", re.MULTILINE)
_DOWN = re.compile(_MARKER % b"down", re.MULTILINE)
_BEFORE = re.compile(rb"[ \t\r\n\f]*(?:--.*)?")
# What another tool (golang-migrate, Rails) calls by this name has versions too; a view or a type of the app's own could
# run its code as whoever looks.
_FIND = """
SELECT format('%%I.%%I', n.nspname, c.relname)
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'version' AND NOT a.attisdropped
 WHERE c.relname = 'schema_migrations' AND c.relkind = 'r' AND n.nspname = %s
   AND a.atttypid IN (1043, 25, 20, 23) AND has_table_privilege(c.oid, 'SELECT')
"""


@dataclass(frozen=True)
class Blocks:
    """The parts of a migration. Each is the file with nothing but this part, so that places in it are right.

    `down` is None where the file has no such block. `up_outside` and `down_outside`: with the option transaction:false.
    """

    up: SqlFile
    down: SqlFile | None
    up_outside: bool
    down_outside: bool


def version_of(path: str) -> str:
    """Return the version of a migration: the digits at the start of its file's name."""
    found = _VERSION.match(Path(path).name)
    return found.group() if found else ""


def find_files(root: Path) -> list[Path]:
    """Return the files of sql/migrations in the order of their names, in which they run.

    Raises UsageError for one that dbmate would pass over without a word, and for two of the same version.
    """
    found = sorted((root / FOLDER).glob("*.sql"))
    versions: dict[str, Path] = {}
    for path in found:
        version = version_of(path.name)
        if not version:
            raise UsageError(
                f"{FOLDER / path.name}: the name has no version",
                hint="begin it with digits that no other migration has, such as the time: 20260131120000_add_tags.sql",
            )
        if other := versions.get(version):
            raise UsageError(
                f"{FOLDER / path.name}: version {version} is that of {other.name} too", hint="rename one of the two"
            )
        versions[version] = path
    return found


def parse(file: SqlFile) -> Blocks:
    """Part a file into its blocks. Raises SqlError at the place of what is no migration."""
    ups, downs = ([found.start() for found in marker.finditer(file.text)] for marker in (_UP, _DOWN))
    if file.text[:3] == BOM and _UP.match(file.text[3:]):
        raise file.error(0, "a byte order mark, which hides `-- migrate:up`", hint="save the file as UTF-8 without BOM")
    if not ups:
        raise file.error(0, "a migration without `-- migrate:up`", hint="write this line above its statements")
    first = min([*ups, *downs])
    _refuse_before(file, first)
    if first != ups[0]:
        raise file.error(first, "`-- migrate:down` before `-- migrate:up`", hint="write the up block first")
    for more in (*ups[1:], *downs[1:]):
        raise file.error(more, "a block of this kind for the second time", hint="write a file for each migration")
    up_ends = downs[0] if downs else len(file.text)
    up = SqlFile(file.name, bytes(file.text[:up_ends]).rstrip() + b"\n")
    down = SqlFile(file.name, _blanked(file.text[:up_ends]) + file.text[up_ends:]) if downs else None
    return Blocks(up, down, _is_outside(file, ups[0]), bool(downs) and _is_outside(file, downs[0]))


def _refuse_before(file: SqlFile, first: int) -> None:
    offset = len(BOM) if file.text[:3] == BOM else 0
    while offset < first:
        end = file.text.find(b"\n", offset)
        if not _BEFORE.fullmatch(file.text[offset:end]):
            raise file.error(offset, "a statement before `-- migrate:up`", hint="move it below that line")
        offset = end + 1


def _blanked(text: bytes) -> bytes:
    return re.sub(rb"[^\n]", b" ", text)


def _is_outside(file: SqlFile, marker: int) -> bool:
    """Return whether the line of a marker has the option transaction:false; the last one of its kind counts."""
    line = file.text[marker:].split(b"\n", 1)[0]
    given = [word for word in line.split() if word.startswith(b"transaction:") and word.count(b":") == 1]
    return given[-1:] == [OUTSIDE]


def read_versions(conn: psycopg.Connection[Any], schema: str) -> tuple[str, ...]:
    """Return the versions that are applied, in order; none where the schema has no such table."""
    table = conn.execute(_FIND, (schema,)).fetchone()
    if table is None:
        return ()
    # Safe: the server has quoted the name.
    rows = conn.execute(f"SELECT version::text FROM ONLY {table[0]}".encode()).fetchall()
    return tuple(sorted(version for (version,) in rows))


def applied_in(conn: psycopg.Connection[Any]) -> tuple[str, ...]:
    """Return the applied versions over a connection in which this tool runs the app's files."""
    row = conn.execute("SELECT coalesce(current_schema(), 'public')").fetchone()
    return read_versions(conn, str(row[0]) if row else "public")


def add_version(conn: psycopg.Connection[Any], version: str) -> None:
    """Note a version as applied, in a table made as dbmate makes it."""
    conn.execute(f"CREATE TABLE IF NOT EXISTS {_table(conn)} (version varchar(128) PRIMARY KEY)".encode())
    conn.execute(f"INSERT INTO {_table(conn)} (version) VALUES (%s)".encode(), (version,))


def remove_version(conn: psycopg.Connection[Any], version: str) -> None:
    """Note a version as not applied."""
    conn.execute(f"DELETE FROM {_table(conn)} WHERE version::text = %s".encode(), (version,))


def _table(conn: psycopg.Connection[Any]) -> str:
    row = conn.execute("SELECT format('%I.schema_migrations', coalesce(current_schema(), 'public'))").fetchone()
    return str(row[0]) if row else ""
