"""Seeds for any table: checks the items of seeds/ddb/TABLE.jsonl and writes those that the table lacks.

An item whose key exists is left as it is. A key with a relative time differs in every run: such an item exists if the
table has one that is the same but for its times, or one with the key that the file gave in an earlier run. Lines are
read as the import does (transfer/itemline.py); existing items are never changed.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..machine.reading import unreadable
from ..machine.words import counted
from ..settings.people import Person, read_people
from .client import TableMissing, connect
from .itemwriter import fetch, puts, take_batch, write
from .placeholders import Filler
from .scan import scan
from .schema import fetch_names
from .seedmatch import SHIFT, Seed, Stored, is_same, time_shifts
from .tablefiles import MESSAGE_TABLE, shown
from .transfer import importing, keys_of
from .transfer.importing import KEYS_PER_FETCH, Outcome, identity, key_of
from .transfer.itemfile import read_lines
from .transfer.itemline import Keys
from .transfer.s3folder import Part
from .transfer.typed import Item, Value

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..settings import Settings

Say = Callable[[str], None]

FOLDER = "seeds/ddb"
SUFFIX = ".jsonl"
WRONG_SUFFIXES = (".json", ".ndjson", ".csv", ".jsonl.gz")
"""Suffixes of files that look like seeds but are not read."""


@dataclass(frozen=True)
class SeedFile:
    """A file of items, and the table that they are for."""

    part: Part
    table: str


@dataclass
class TableSeeds:
    """The seeds of one run and all they need. `keys` are those of each table."""

    client: DynamoDBClient
    files: list[SeedFile]
    people: list[Person]
    keys: dict[str, Keys]
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def tables(self) -> list[str]:
        """Return the tables that have seeds."""
        return [file.table for file in self.files]

    def check(self) -> str | None:
        """Return a sentence if every item exists, else None."""
        if not self.files:
            return f"no {FOLDER}/*{SUFFIX}"
        outcomes = [self._compare(file)[0] for file in self.files]
        return None if any(outcome.new for outcome in outcomes) else f"{FOLDER}: {_present(outcomes)}"

    def plan_lines(self) -> list[str]:
        """Return what `apply` would do, a line for each file with new items."""
        lines = []
        for file in self.files:
            outcome, _ = self._compare(file)
            if outcome.new:
                there = f"; {_present([outcome])}" if outcome.unchanged or outcome.kept else ""
                lines.append(f"+ {counted(outcome.new, 'item')} of {file.part.shown} into {file.table}{there}")
        return lines

    def apply(self) -> str:
        """Write the missing items and return a summary. The next call resumes an interrupted one."""
        outcomes = []
        for file in self.files:
            outcome, new = self._compare(file)
            outcomes.append(outcome)
            write(self.client, file.table, puts(new), total=outcome.new)
        written = sum(outcome.new for outcome in outcomes)
        left = f"; {_present(outcomes)}" if any(each.unchanged or each.kept for each in outcomes) else ""
        return f"{counted(written, 'item')} of {FOLDER} written{left}"

    def _compare(self, file: SeedFile) -> tuple[Outcome, list[Item]]:
        """Compare a file with its table and return the items that the table lacks."""
        keys, outcome = self.keys[file.table], Outcome()
        new: list[Item] = []
        moving: list[Seed] = []
        fixed = self._with_fixed_key(file, moving)
        while batch := take_batch(fixed, KEYS_PER_FETCH):
            stored = fetch(self.client, file.table, [key_of(seed.item, keys) for seed in batch])
            there = {identity(item, keys): item for item in stored}
            for seed in batch:
                before = there.get(identity(seed.item, keys))
                if before is None:
                    new.append(seed.item)
                elif is_same(before, seed):
                    outcome.unchanged += 1
                else:
                    outcome.kept += 1
        if moving:
            new += self._missing(file, moving, outcome)
        outcome.new = len(new)
        return outcome, new

    def _with_fixed_key(self, file: SeedFile, moving: list[Seed]) -> Iterator[Seed]:
        """Yield the seeds whose key is the same in every run; add the others to `moving`."""
        keys = self.keys[file.table]
        for seed in self._seeds(file, self.now):
            if key_of(seed.item, keys) == key_of(seed.later, keys):
                yield seed
            else:
                moving.append(seed)

    def _seeds(self, file: SeedFile, now: datetime) -> Iterator[Seed]:
        path, keys = file.part.path, self.keys[file.table]
        read = [read_lines(path, file.part.shown, keys, Filler(self.people, at)) for at in (now, now + SHIFT)]
        for line, later in zip(*read, strict=True):
            if error := line.error or later.error:
                raise error
            yield Seed(line.place, line.item, later.item)

    def _missing(self, file: SeedFile, moving: list[Seed], outcome: Outcome) -> Iterator[Item]:
        """Yield the missing items, of those whose key has a relative time."""
        keys = self.keys[file.table]
        stored = Stored(keys)
        for hash_value in _partition_keys(moving, keys):
            stored.add(_read_partition(self.client, file.table, keys, hash_value))
        runs: set[datetime] = set()
        left: list[Seed] = []
        for seed in moving:
            found = stored.take_match(seed)
            if found is None:
                left.append(seed)
            else:
                outcome.unchanged += 1
                runs |= {self.now + by for by in time_shifts(found, seed, keys)}
        earlier: dict[str, set[str]] = defaultdict(set)
        for run in runs if left else ():
            for seed in self._seeds(file, run):
                earlier[seed.place].add(identity(seed.item, keys))
        for seed in left:
            if any(stored.take(key) for key in earlier[seed.place]):
                outcome.kept += 1
            else:
                yield seed.item


def find_files(settings: Settings) -> list[SeedFile]:
    """Return the files of seeds/ddb. The message table's file is for the current value of DDB_MESSAGE_TABLE."""
    folder = settings.root / FOLDER
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise unreadable(FOLDER, error) from error
    found: list[SeedFile] = []
    for path in paths:
        if path.name.endswith(WRONG_SUFFIXES):
            name = f"{path.name.partition('.')[0]}{SUFFIX}"
            hint = f"write one item a line to {name}, or move this file elsewhere"
            raise UsageError(f"{shown(path, settings.root)}: seeds are *{SUFFIX}", hint=hint)
        if path.suffix == SUFFIX:
            table = settings.message_table if path.stem == MESSAGE_TABLE else path.stem
            _require_distinct(found, table, shown(path, settings.root))
            found.append(SeedFile(Part(path, shown(path, settings.root)), table))
    return found


def _require_distinct(files: list[SeedFile], table: str, shown_as: str) -> None:
    for file in files:
        if file.table == table:
            message = f"{shown_as}: {file.part.shown} is for table {table} too"
            raise UsageError(message, hint="write the items of a table to one file")


def precheck(settings: Settings) -> None:
    """Check all files without their tables. Raises UsageError for the first line that no table would accept."""
    files = find_files(settings)
    if files:
        fill = Filler(read_people(settings.root), datetime.now(timezone.utc))
        importing.precheck([file.part for file in files], fill)


def prepare(settings: Settings, *, now: datetime | None = None) -> TableSeeds:
    """Check all files against the keys of their tables, before anything is written.

    Raises UsageError at path:line:column; its evidence lists further errors in all files.
    """
    client, files = connect(settings), find_files(settings)
    people = read_people(settings.root) if files else []
    keys = {file.table: _keys_of(client, file) for file in files}
    seeds = TableSeeds(client, files, people, keys, now or datetime.now(timezone.utc))
    errors = []
    for file in files:
        try:
            importing.check([file.part], keys[file.table], Filler(people, seeds.now))
        except UsageError as error:
            errors.append(error)
    if errors:
        first, *others = errors
        lines = [first.evidence, *(line for error in others for line in (error.message, error.evidence))]
        first.evidence = "\n".join(filter(None, lines))
        raise first
    return seeds


def _partition_keys(seeds: list[Seed], keys: Keys) -> list[Value | None]:
    """Return the distinct partition keys of seeds; [None], for the whole table, if one is a relative time."""
    name = keys.key[0][0]
    found: dict[str, Value] = {}
    for seed in seeds:
        if seed.item[name] != seed.later[name]:
            return [None]
        found.setdefault(identity(seed.item, Keys(keys.key[:1], keys.types)), seed.item[name])
    return list(found.values())


def _read_partition(client: DynamoDBClient, table: str, keys: Keys, hash_value: Value | None) -> Iterator[Item]:
    """Yield the items of a partition, or of the whole table if `hash_value` is None."""
    if hash_value is None:
        yield from scan(client, table, consistent=True)
        return
    query: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "#hash = :hash",
        "ExpressionAttributeNames": {"#hash": keys.key[0][0]},
        "ExpressionAttributeValues": {":hash": hash_value},
        "ConsistentRead": True,
    }
    while True:
        answer: Any = client.query(**query)
        yield from answer["Items"]
        if not answer.get("LastEvaluatedKey"):
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _keys_of(client: DynamoDBClient, file: SeedFile) -> Keys:
    try:
        return keys_of(client, file.table)
    except TableMissing as error:
        near = difflib.get_close_matches(file.table, fetch_names(client), n=1, cutoff=0.8)
        hint = f"did you mean {near[0]}{SUFFIX}?" if near else error.hint
        raise UsageError(f"{file.part.shown}: table {file.table} does not exist", hint=hint) from error


def _present(outcomes: list[Outcome]) -> str:
    unchanged, kept = sum(each.unchanged for each in outcomes), sum(each.kept for each in outcomes)
    changed = f", {kept:,} of them kept with other contents" if kept else ""
    return f"{counted(unchanged + kept, 'item')} already there{changed}"
