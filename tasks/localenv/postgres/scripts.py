"""What a database is made from: schema and seeds, read and fingerprinted. Connects to nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..machine.reading import is_there, path_of
from ..settings.people import Person, read_people
from .sqlfile import SqlFile, read_sql

if TYPE_CHECKING:
    from ..settings import Settings

Step = Literal["schema", "seed"]

SCHEMA = Path("sql/schema.sql")
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
    """A file to apply, read and fingerprinted, with the people it may name."""

    file: SqlFile
    entry: Entry
    people: tuple[Person, ...] = ()


def read_scripts(settings: Settings) -> list[Script]:
    """Read schema and seeds in the order in which they are applied."""
    return [read_schema(settings), *read_seeds(settings)]


def read_schema(settings: Settings, path: str = "") -> Script:
    """Read sql/schema.sql, or the file given instead."""
    return _read(settings, "schema", _find(settings, path) if path else settings.root / SCHEMA)


def read_seeds(settings: Settings, path: str = "") -> list[Script]:
    """Read the people and seeds/sql/*.sql in the order of their names, or the one file given instead."""
    paths = [_find(settings, path)] if path else sorted((settings.root / SEEDS).glob("*.sql"))
    people = tuple(read_people(settings.root)) if paths else ()
    return [_read(settings, "seed", each, people) for each in paths]


def _read(settings: Settings, step: Step, path: Path, people: tuple[Person, ...] = ()) -> Script:
    file = read_sql(path, settings.root)
    identity = f"{settings.target}/{settings.postgres.database}"
    values = [(p.person, p.handle, p.display_name, p.email) for p in people]
    inputs = hashlib.sha256(repr((identity, values)).encode()).hexdigest()
    return Script(file, Entry(step, file.name, file.sha256, inputs), people)


def _find(settings: Settings, path: str) -> Path:
    """Find a file that the user named: in the current folder, else in the project's."""
    given = path_of(path)
    return given if is_there(given) or given.is_absolute() else settings.root / given
