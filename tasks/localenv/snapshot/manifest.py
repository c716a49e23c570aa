"""The manifest of a snapshot: its name, its origin, and every part with its size and hash. Values only.

The manifest is written last, so that a folder without one is no snapshot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..dynamodb.copies import ROWS, STATE
from ..errors import UsageError
from ..hints import inv
from ..machine.reading import json_of
from ..machine.words import counted
from ..postgres.properties import Properties

VERSION = 2
FORMER_HASH = 1
"""The version whose `sha256` of a database is another one: its rows are counted instead."""
POSTGRES_FILE = "postgres.sql"
POOL_FILE = "pool.json"
ITEMS = ".jsonl.gz"
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"
CENTURY_S = 3_155_760_000
LARGEST = 1 << 50
_SHA256 = r"[0-9a-f]{64}"
_PLAIN = {"str": str, "int": int, "bool": bool}


@dataclass(frozen=True)
class File:
    """A file of a snapshot: its name, its size, and its SHA-256 in hexadecimal."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Database:
    """The Postgres part. `name` is the saved database, `sha256` that of its rows (postgres/checksum.py).

    `file` is its SQL in the portable form; else a clone on the server holds it. `properties`: postgres/properties.py.
    """

    name: str
    size_bytes: int
    tables: int
    rows: int
    sha256: str
    properties: dict[str, Any]
    file: File | None


@dataclass(frozen=True)
class Table:
    """A table of DynamoDB. `sha256` is that of its items, whatever their order, else that of the content."""

    name: str
    items: int
    sha256: str
    definition: File
    content: File


@dataclass(frozen=True)
class Users:
    """The emulated user pool: its id, empty if there was none yet, and its number of users."""

    pool: str
    users: int
    file: File


@dataclass(frozen=True)
class Origin:
    """The origin of a snapshot. `commit` is empty outside Git, `dirty` means uncommitted changes."""

    project: str
    engine: str
    region: str
    servers: dict[str, str]
    tool: str
    commit: str
    dirty: bool


@dataclass(frozen=True)
class Manifest:
    """A whole snapshot. `id` names its clone on the server; a part is None or empty where the store had nothing.

    `version` is that of its form: 1 or VERSION.
    """

    name: str
    id: str
    created: str
    origin: Origin
    postgres: Database | None
    tables: tuple[Table, ...]
    cognito: Users | None
    version: int = VERSION

    @property
    def is_portable(self) -> bool:
        return self.postgres is not None and self.postgres.file is not None

    @property
    def age_s(self) -> float:
        return (datetime.now(timezone.utc) - datetime.fromisoformat(self.created)).total_seconds()

    @property
    def size_bytes(self) -> int:
        return (self.postgres.size_bytes if self.postgres else 0) + sum(file.size_bytes for file in self.files())

    @property
    def items(self) -> int:
        return sum(table.items for table in self.tables)

    @property
    def sentence(self) -> str:
        """Summarize the contents in one line."""
        rows = counted(self.postgres.rows, "row") if self.postgres else "no database"
        users = counted(self.cognito.users, "pool user") if self.cognito else "no emulated pool"
        return f"{rows}, {counted(self.items, 'item')} in {counted(len(self.tables), 'table')}, {users}"

    def files(self) -> Iterator[File]:
        """Yield every file of the snapshot but the manifest."""
        if self.postgres and self.postgres.file:
            yield self.postgres.file
        for table in self.tables:
            yield table.definition
            yield table.content
        if self.cognito:
            yield self.cognito.file

    def as_json(self) -> str:
        data = asdict(self)
        return json.dumps({"schemaVersion": data.pop("version"), **data}, indent=2, ensure_ascii=False) + "\n"


def read_manifest(text: str | bytes, shown: str) -> Manifest:
    """Parse what `as_json` wrote. Raises UsageError for anything else; `shown` is its name in messages."""
    try:
        data = json_of(text, shown)
        version = data["schemaVersion"]
    except (UsageError, KeyError, TypeError) as error:
        raise UsageError(f"{shown}: not the manifest of a snapshot") from error
    if version not in (FORMER_HASH, VERSION):
        raise UsageError(
            f"{shown}: manifest of version {version!r}, and this tool knows {VERSION}",
            hint="update this checkout to the commit that saved it, or a later one",
        )
    try:
        found = replace(_manifest(data), version=version)
        _check(found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        fault = f"{type(error).__name__}: {error}"[:300]
        raise UsageError(f"{shown}: the manifest is damaged: {fault}") from error
    return found


def checked_name(name: str) -> str:
    """Return a valid snapshot name. Raises UsageError for an invalid one."""
    if not name:
        raise UsageError("a snapshot needs a name", hint=f"put it after the command: {inv('snapshot.save', 'seeded')}")
    if name.startswith("-"):
        raise UsageError(
            f"{name!r} is an option, not a snapshot name", hint=f"{inv('--help', 'snapshot.save')} shows the usage"
        )
    if not re.fullmatch(NAME, name):
        raise UsageError(
            f"{name!r} is not a name for a snapshot", hint="use 1 to 40 letters, digits, - and _, no - or _ in front"
        )
    return name


def table_files(number: int, form: str = ITEMS) -> tuple[str, str]:
    """Return the file names of the n-th table's definition and contents, of the form ITEMS, STATE or ROWS.

    A table's own name may not suit a file.
    """
    return f"table-{number}.json", f"items-{number}{form}"


def _manifest(data: dict[str, Any]) -> Manifest:
    postgres, cognito = data["postgres"], data["cognito"]
    sql = None if postgres is None or postgres["file"] is None else File(**postgres["file"])
    return Manifest(
        name=checked_name(data["name"]),
        id=data["id"],
        created=data["created"],
        origin=Origin(**data["origin"]),
        postgres=None if postgres is None else Database(**{**postgres, "file": sql}),
        tables=read_tables(data["tables"]),
        cognito=read_users(cognito),
    )


def read_tables(data: list[dict[str, Any]]) -> tuple[Table, ...]:
    """Return tables from their JSON. Raises KeyError or TypeError for anything else."""
    return tuple(
        Table(**{**each, "definition": File(**each["definition"]), "content": File(**each["content"])}) for each in data
    )


def read_users(data: dict[str, Any] | None) -> Users | None:
    """Return users from their JSON. Raises KeyError or TypeError for anything else."""
    return None if data is None else Users(**{**data, "file": File(**data["file"])})


def _check(found: Manifest) -> None:
    """Raise ValueError, or what reading it raises, for an invalid value, before it is used."""
    _check_types(found, found.origin, *filter(None, (found.postgres, found.cognito)), *found.tables, *found.files())
    if not all(isinstance(word, str) for pair in found.origin.servers.items() for word in pair):
        raise ValueError(f"servers {found.origin.servers!r}")
    if found.postgres:
        held = Properties.of(found.postgres.properties)
        _check_types(held, *held.settings, *(held.grants or ()))
    if not re.fullmatch(r"[0-9a-f]{8}", found.id):
        raise ValueError(f"id {found.id!r}")
    if datetime.fromisoformat(found.created).tzinfo is None or abs(found.age_s) > CENTURY_S:
        raise ValueError(f"created {found.created!r}")
    wanted = [POSTGRES_FILE] if found.is_portable else []
    for number, table in enumerate(found.tables):
        form = Path(table.content.name).suffix
        wanted += table_files(number, form if form in (STATE, ROWS) and not found.is_portable else ITEMS)
    wanted += [POOL_FILE] if found.cognito else []
    if [file.name for file in found.files()] != wanted:
        raise ValueError("it names other files than a snapshot has")
    for file in found.files():
        if not (0 <= file.size_bytes < LARGEST and re.fullmatch(_SHA256, file.sha256)):
            raise ValueError(f"size or hash of {file.name}")


def _check_types(*values: Any) -> None:
    """Raise ValueError where a field's value is not of its declared type: str, int or bool."""
    for value in values:
        for field in fields(value):
            wanted = _PLAIN.get(str(field.type))
            held = getattr(value, field.name)
            if wanted and not _fits(held, wanted):
                raise ValueError(f"{field.name} {held!r}")


def _fits(held: Any, wanted: type) -> bool:
    if type(held) is not wanted:
        return False
    return not isinstance(held, int) or -1 <= held < LARGEST
