"""What a command replaced or removed, as it is kept for `undo`: its parts, and how the stores were afterwards. Values.

Of what is kept is written first that it will be, then it is: an entry may name a database that was not renamed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

from ..errors import UsageError
from ..machine.ages import ago
from ..machine.reading import json_of
from ..machine.words import counted
from .manifest import Table, Users, read_tables, read_users

VERSION = 1


@dataclass(frozen=True)
class KeptDatabase:
    """The database `name`, which has the name `kept` now; empty where there was none."""

    name: str
    kept: str
    size_bytes: int = 0


@dataclass(frozen=True)
class Marks:
    """How the stores were when the command had ended, to see what changed since.

    `xid` is the next transaction of the server, and `deleted` the rows that were removed from the database until then,
    None where there was none.
    `items` counts the items of each table, None for one that was not there; `users` are names to show, by their ids.
    """

    xid: int | None = None
    deleted: int | None = None
    items: Mapping[str, int | None] | None = None
    users: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Entry:
    """One command's. `absent` are the tables that were not there.

    `undoes` is the id of the entry that this command, an undo, brings back. `follows_half` says that the same command
    was cut short before: what is kept is what that one had left. `branch` names the Git branch whose data are parked
    in it; empty for a state that only `undo` brings back.
    """

    id: str
    command: str
    created: str
    engine: str
    project: str
    database: KeptDatabase | None = None
    tables: tuple[Table, ...] = ()
    absent: tuple[str, ...] = ()
    cognito: Users | None = None
    undoes: str = ""
    follows_half: bool = False
    branch: str = ""
    marks: Marks | None = None

    @property
    def holds_something(self) -> bool:
        """Return whether there was anything of what the command replaced."""
        return bool(self.tables or self.cognito or (self.database and self.database.kept))

    @property
    def is_empty(self) -> bool:
        return not (self.holds_something or self.database or self.absent)

    @property
    def is_parked(self) -> bool:
        """Return whether it holds a branch's data: all stores, kept until the branch is loaded again."""
        return bool(self.branch)

    @property
    def size_bytes(self) -> int:
        files = [file for table in self.tables for file in (table.definition, table.content)]
        files += [self.cognito.file] if self.cognito else []
        return (self.database.size_bytes if self.database else 0) + sum(file.size_bytes for file in files)

    @property
    def age(self) -> str:
        if not self.created:
            return ""
        return ago((datetime.now(timezone.utc) - datetime.fromisoformat(self.created)).total_seconds())

    @property
    def shown(self) -> str:
        """Name the command, and how long ago it was."""
        return f"`{self.command}` ({self.age})" if self.command else "a command of an earlier version"

    @property
    def contents(self) -> list[str]:
        """Describe what would come back, a part each."""
        found = []
        if self.database:
            found.append(
                f"database {self.database.name}" if self.database.kept else f"no database {self.database.name}"
            )
        found += [f"table {table.name} ({counted(table.items, 'item')})" for table in self.tables]
        found += [f"no table {name}" for name in self.absent]
        found += [f"{counted(self.cognito.users, 'pool user')}"] if self.cognito else []
        return found

    def as_json(self) -> str:
        return json.dumps({"schemaVersion": VERSION, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"


def read_entry(text: str | bytes, shown: str) -> Entry:
    """Parse what `as_json` wrote. Raises UsageError for anything else; `shown` is its name in messages."""
    try:
        data = json_of(text, shown)
        if data.pop("schemaVersion") != VERSION:
            raise ValueError("it is another version's")
        database, cognito, marks = (data.pop(name) for name in ("database", "cognito", "marks"))
        found = Entry(
            **{
                **data,
                "database": None if database is None else KeptDatabase(**database),
                "tables": read_tables(data["tables"]),
                "absent": tuple(map(str, data["absent"])),
                "cognito": read_users(cognito),
                "marks": None if marks is None else Marks(**marks),
            }
        )
        _ = found.age, found.contents, found.size_bytes  # what is not of its type fails here
    except (UsageError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{shown}: damaged: {error}") from error
    return found
