"""What a database is made from: schema, migrations and seeds, read and fingerprinted. Connects to nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..machine.reading import is_there, path_of
from ..settings.people import Person, read_people
from . import migrations
from .archives import read_source
from .includes import with_included
from .lexer import refused_in_transactions, statements
from .sqlfile import SqlFile, read_sql

if TYPE_CHECKING:
    from ..settings import Settings

Step = Literal["schema", "migration", "seed"]

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
    def key(self) -> tuple[str, str]:
        """Return what tells the file from the others: a migration may be renamed, its version is what counts."""
        return self.step, migrations.version_of(self.path) if self.step == "migration" else self.path

    @property
    def fingerprint(self) -> str:
        """Return the seven digits that users see."""
        return hashlib.sha256(f"{self.sha256} {self.inputs}".encode()).hexdigest()[:7]


@dataclass(frozen=True)
class Script:
    """A file to apply, read and fingerprinted, with the people it may name.

    `alone` is what in it cannot run in a transaction, as in CREATE INDEX CONCURRENTLY; else empty. A migration has
    `blocks`; its `file` is the up block.
    """

    file: SqlFile
    entry: Entry
    people: tuple[Person, ...] = ()
    alone: str = ""
    blocks: migrations.Blocks | None = None

    @property
    def version(self) -> str:
        """Return the version of a migration; empty for another file."""
        return self.entry.key[1] if self.blocks else ""


def read_scripts(settings: Settings) -> list[Script]:
    """Read schema, migrations and seeds in the order in which they are applied."""
    return [*read_schema(settings), *read_migrations(settings), *read_seeds(settings)]


def of_step(scripts: Iterable[Script], *steps: Step) -> list[Script]:
    """Return those of the scripts that belong to these steps."""
    return [script for script in scripts if script.entry.step in steps]


def read_schema(settings: Settings, path: str = "") -> list[Script]:
    """Read sql/schema.sql and sql/schema/*.sql in the order of their names, or the one file given instead.

    An app that has migrations may have neither.
    """
    more = sorted((settings.root / SCHEMA_FILES).glob("*.sql"))
    first = settings.root / SCHEMA
    is_needed = not more and not migrations.find_files(settings.root)
    paths = [_find(settings, path)] if path else [first, *more] if is_there(first) or is_needed else more
    return [_read(settings, "schema", each) for each in paths]


def read_migrations(settings: Settings) -> list[Script]:
    """Read sql/migrations/*.sql in the order of their names. A change below `-- migrate:down` is not one of the file's.

    Raises UsageError for a name without a version, SqlError at the place of what is no migration.
    """
    found = []
    for path in migrations.find_files(settings.root):
        blocks = migrations.parse(read_sql(path, settings.root))
        entry = Entry("migration", blocks.up.name, blocks.up.sha256, _inputs(settings))
        refused = (refused_in_transactions(blocks.up.text, each) for each in statements(blocks.up.text))
        alone = next(filter(None, refused), "transaction:false") if blocks.up_outside else ""
        found.append(Script(blocks.up, entry, alone=alone, blocks=blocks))
    return found


def read_seeds(settings: Settings, path: str = "") -> list[Script]:
    """Read the people and seeds/sql/*.sql in the order of their names, or the one file given instead."""
    paths = [_find(settings, path)] if path else sorted((settings.root / SEEDS).glob("*.sql"))
    people = tuple(read_people(settings.root)) if paths else ()
    return [_read(settings, "seed", each, people) for each in paths]


def _read(settings: Settings, step: Step, path: Path, people: tuple[Person, ...] = ()) -> Script:
    file = with_included(read_source(path, settings.root), settings.root)
    return Script(file, Entry(step, file.name, file.sha256, _inputs(settings, people)), people, _alone(file))


def _inputs(settings: Settings, people: Iterable[Person] = ()) -> str:
    identity = f"{settings.target}/{settings.postgres.database}"
    values = [(p.person, p.handle, p.display_name, p.email) for p in people]
    return hashlib.sha256(repr((identity, values)).encode()).hexdigest()


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
