"""What a database is made from: schema and seeds, read and fingerprinted. Connects to nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..machine.reading import is_there, path_of
from ..settings.people import Person, read_people
from .includes import with_included
from .lexer import refused_in_transactions, statements
from .sqlfile import SqlFile, read_sql

if TYPE_CHECKING:
    from ..settings import Settings

Step = Literal["schema", "seed"]

SCHEMA = Path("sql/schema.sql")
SCHEMA_FILES = Path("sql/schema")
"""Its *.sql are applied after SCHEMA, in the order of their names; an app may have both, or either."""
SEEDS = Path("seeds/sql")


@dataclass(frozen=True)
class Entry:
    """A file to apply. `sha256` hashes its bytes, `inputs` what else goes into it: people, database and target."""

    step: Step
    path: str
    sha256: str
    inputs: str

    @property
    def fingerprint(self) -> str:
        """Return the seven digits that users see."""
        return hashlib.sha256(f"{self.sha256} {self.inputs}".encode()).hexdigest()[:7]


@dataclass(frozen=True)
class Script:
    """A file to apply, read and fingerprinted, with the people it may name.

    `alone` is what in it cannot run in a transaction, as in CREATE INDEX CONCURRENTLY; else empty.
    """

    file: SqlFile
    entry: Entry
    people: tuple[Person, ...] = ()
    alone: str = ""


def read_scripts(settings: Settings) -> list[Script]:
    """Read schema and seeds in the order in which they are applied."""
    return [*read_schema(settings), *read_seeds(settings)]


def seeds_of(scripts: Iterable[Script]) -> list[Script]:
    """Return those of the scripts that are seeds."""
    return [script for script in scripts if script.entry.step == "seed"]


def read_schema(settings: Settings, path: str = "") -> list[Script]:
    """Read sql/schema.sql and sql/schema/*.sql in the order of their names, or the one file given instead."""
    more = sorted((settings.root / SCHEMA_FILES).glob("*.sql"))
    first = settings.root / SCHEMA
    paths = [_find(settings, path)] if path else [first, *more] if is_there(first) or not more else more
    return [_read(settings, "schema", each) for each in paths]


def read_seeds(settings: Settings, path: str = "") -> list[Script]:
    """Read the people and seeds/sql/*.sql in the order of their names, or the one file given instead."""
    paths = [_find(settings, path)] if path else sorted((settings.root / SEEDS).glob("*.sql"))
    people = tuple(read_people(settings.root)) if paths else ()
    return [_read(settings, "seed", each, people) for each in paths]


def _read(settings: Settings, step: Step, path: Path, people: tuple[Person, ...] = ()) -> Script:
    file = with_included(read_sql(path, settings.root), settings.root)
    identity = f"{settings.target}/{settings.postgres.database}"
    values = [(p.person, p.handle, p.display_name, p.email) for p in people]
    inputs = hashlib.sha256(repr((identity, values)).encode()).hexdigest()
    return Script(file, Entry(step, file.name, file.sha256, inputs), people, _alone(file))


def _alone(file: SqlFile) -> str:
    """Return the first statement that cannot run in a transaction, in short, where there are no others; SET may be."""
    found = ""
    for statement in statements(file.text):
        if statement.words[:1] == ("set",):
            continue
        named = refused_in_transactions(file.text, statement)
        if not named:
            return ""
        found = found or named
    return found


def _find(settings: Settings, path: str) -> Path:
    """Find a file that the user named: in the current folder, else in the project's."""
    given = path_of(path)
    return given if is_there(given) or given.is_absolute() else settings.root / given
