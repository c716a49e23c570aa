"""The people in the seeds, from one file: seeds/people.csv. Every seed refers to them by `person`."""

from __future__ import annotations

import csv
import difflib
import io
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..machine.reading import read_text

PEOPLE = "seeds/people.csv"
FIELD_CHARACTERS = 128 * 1024
"""The file, relative to the root of the project."""
PEOPLE_BYTES = 1 << 20
COLUMNS = ("person", "handle", "display_name", "email")
NAMESPACE = uuid.UUID("6f1c7a5e-2f39-5c0b-9a64-0f6f0b8b1d11")
"""Namespace of every derived id; changing it would orphan everything seeded before."""


@dataclass(frozen=True)
class Person:
    """A person in the seeds.

    `person` is the name that seeds refer to, and never changes; `handle`, `display_name` and `email` may be replaced
    by the user's own. `uuid` is derived from `person`, so a rebuild orphans nothing.
    """

    person: str
    handle: str
    display_name: str
    email: str

    @property
    def uuid(self) -> uuid.UUID:
        return derived_uuid("user", self.person)


def derived_uuid(kind: str, *parts: str) -> uuid.UUID:
    """Return an id (RFC 9562, version 5) derived from its parts: the same parts always give the same id."""
    return uuid.uuid5(NAMESPACE, "/".join((kind, *parts)))


def read_people(root: Path) -> list[Person]:
    """Read the people of the project at `root`, in the order of the file; nobody where there is no such file.

    Raises UsageError with path:line for a missing column, an empty or duplicate value, or a malformed e-mail.
    """
    if not (root / PEOPLE).exists():
        return []
    csv.field_size_limit(FIELD_CHARACTERS)  # of the whole process: whoever reads CSV sets its own
    reader = csv.DictReader(io.StringIO(read_text(root / PEOPLE, PEOPLE, at_most=PEOPLE_BYTES)))
    people: list[Person] = []
    taken: set[tuple[str, str]] = set()
    try:
        if tuple(reader.fieldnames or ()) != COLUMNS:
            found = ", ".join(reader.fieldnames or ())
            raise UsageError(f"{PEOPLE}:1: the columns are {found[:200]}, wanted {', '.join(COLUMNS)}")
        for row in reader:
            people.append(_person(row, taken, f"{PEOPLE}:{reader.line_num}"))
    except csv.Error as error:
        raise UsageError(f"{PEOPLE}:{reader.line_num}: {error}", hint="look for a quote that is not closed") from error
    if not people:
        raise UsageError(f"{PEOPLE}: it lists nobody")
    return people


def find_person(people: Iterable[Person], name: str, where: str) -> Person:
    """Return a person by name or handle. Raises UsageError that starts with `where` and suggests the closest match."""
    people = list(people)
    for person in people:
        if name in (person.person, person.handle):
            return person
    raise UsageError(f"{where}: nobody in {PEOPLE} is called {name!r}", hint=nearest(people, name))


def nearest(people: Iterable[Person], name: str) -> str:
    """Return a hint with the closest known name, or with all of them."""
    known = list(dict.fromkeys(name for person in people for name in (person.person, person.handle)))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}"


def _person(row: dict[str, str], taken: set[tuple[str, str]], where: str) -> Person:
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    empty = [name for name, value in values.items() if not value]
    if empty or None in row:
        raise UsageError(f"{where}: {'no ' + ' and no '.join(empty) if empty else 'too many columns'}")
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", values["email"]):
        raise UsageError(f"{where}: {values['email']!r} is not an e-mail address")
    for name in ("person", "handle", "email"):
        if (name, values[name]) in taken:
            raise UsageError(f"{where}: {name} {values[name]!r} appears twice")
        taken.add((name, values[name]))
    return Person(**values)
