"""Seeds for any table: the items of seeds/ddb/TABLE.jsonl, checked, compared with the table, written where they lack.

An item whose key is there is left as it is. A key with a relative time in it is another one in every run: such an item
is there where the table has one that is the same but for its times, or one with the key that the file had in an earlier
run. Reading is the import's own (transfer/itemline.py); nothing here changes an item.
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
from ..settings.people import Person, read_people
from .client import TableMissing, connect
from .items import dealt, fetch, puts, write
from .placeholders import Filler
from .scan import scan
from .schema import fetch_names
from .seedmatch import LATER, Seed, Stored, is_same, moved
from .tables import MESSAGE_TABLE, shown
from .transfer import importing, keys_of, paced
from .transfer.importing import KEYS_A_LOOK, Outcome, identity, key_of
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
MISTAKEN = (".json", ".ndjson", ".csv", ".jsonl.gz")
"""Suffixes of what somebody may take for a seed."""


@dataclass(frozen=True)
class SeedFile:
    """A file of items, and the table that they are for."""

    part: Part
    table: str


@dataclass
class TableSeeds:
    """The seeds of one run with everything that they need. `keys` are those of each table."""

    client: DynamoDBClient
    files: list[SeedFile]
    people: list[Person]
    keys: dict[str, Keys]
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def tables(self) -> list[str]:
        """Name the tables that there are seeds for."""
        return [file.table for file in self.files]

    def check(self) -> str | None:
        """Say that every item is there; None where one is not."""
        if not self.files:
            return f"no {FOLDER}/*{SUFFIX}"
        outcomes = [self._decide(file)[0] for file in self.files]
        return None if any(outcome.new for outcome in outcomes) else f"{FOLDER}: {_there(outcomes)}"

    def plan_lines(self) -> list[str]:
        """Return what `apply` would do, a line a file that lacks something."""
        lines = []
        for file in self.files:
            outcome, _ = self._decide(file)
            if outcome.new:
                there = f"; {_there([outcome])}" if outcome.unchanged or outcome.kept else ""
                lines.append(f"+ {_counted(outcome.new)} of {file.part.shown} into {file.table}{there}")
        return lines

    def apply(self, say: Say) -> str:
        """Write the items that are not there, and say how many. Cut short, the next call goes on."""
        outcomes = []
        for file in self.files:
            outcome, new = self._decide(file)
            outcomes.append(outcome)
            heard = paced(say, "{count} items of " + file.part.shown + " written")
            write(self.client, file.table, puts(new), on_written=heard)
        written = sum(outcome.new for outcome in outcomes)
        left = f"; {_there(outcomes)}" if any(each.unchanged or each.kept for each in outcomes) else ""
        return f"{_counted(written)} of {FOLDER} written{left}"

    def _decide(self, file: SeedFile) -> tuple[Outcome, list[Item]]:
        """Compare a file with its table; give the items that it lacks."""
        keys, outcome = self.keys[file.table], Outcome()
        new: list[Item] = []
        moving: list[Seed] = []
        fixed = self._fixed(file, moving)
        while batch := dealt(fixed, KEYS_A_LOOK):
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
            new += self._lacking(file, moving, outcome)
        outcome.new = len(new)
        return outcome, new

    def _fixed(self, file: SeedFile, moving: list[Seed]) -> Iterator[Seed]:
        """Yield the seeds whose key is always the same; the others go to `moving`."""
        keys = self.keys[file.table]
        for seed in self._seeds(file, self.now):
            if key_of(seed.item, keys) == key_of(seed.later, keys):
                yield seed
            else:
                moving.append(seed)

    def _seeds(self, file: SeedFile, now: datetime) -> Iterator[Seed]:
        path, keys = file.part.path, self.keys[file.table]
        read = [read_lines(path, file.part.shown, keys, Filler(self.people, at)) for at in (now, now + LATER)]
        for line, later in zip(*read, strict=True):
            if error := line.error or later.error:
                raise error
            yield Seed(line.place, line.item, later.item)

    def _lacking(self, file: SeedFile, moving: list[Seed], outcome: Outcome) -> Iterator[Item]:
        """Yield the items that are not in the table, of those whose key has a relative time."""
        keys = self.keys[file.table]
        stored = Stored(keys)
        for hash_value in _hashes(moving, keys):
            stored.add(_partition(self.client, file.table, keys, hash_value))
        runs: set[datetime] = set()
        left: list[Seed] = []
        for seed in moving:
            found = stored.take_same(seed)
            if found is None:
                left.append(seed)
            else:
                outcome.unchanged += 1
                runs |= {self.now + by for by in moved(found, seed, keys)}
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
    """Find the files of seeds/ddb, if there are any. That of the message table is for the name that it has now."""
    folder = settings.root / FOLDER
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise unreadable(FOLDER, error) from error
    found: list[SeedFile] = []
    for path in paths:
        if path.name.endswith(MISTAKEN):
            name = f"{path.name.partition('.')[0]}{SUFFIX}"
            hint = f"write one item a line into {name}, or keep this file elsewhere"
            raise UsageError(f"{shown(path, settings.root)}: seeds are *{SUFFIX}", hint=hint)
        if path.suffix == SUFFIX:
            table = settings.message_table if path.stem == MESSAGE_TABLE else path.stem
            _require_new(found, table, shown(path, settings.root))
            found.append(SeedFile(Part(path, shown(path, settings.root)), table))
    return found


def _require_new(files: list[SeedFile], table: str, shown_as: str) -> None:
    for file in files:
        if file.table == table:
            message = f"{shown_as}: table {table} is that of {file.part.shown} too"
            raise UsageError(message, hint="write the items of a table into one file")


def glance(settings: Settings) -> None:
    """Read all files without their tables. Raises UsageError for the first line that cannot be in any table."""
    files = find_files(settings)
    if files:
        fill = Filler(read_people(settings.root), datetime.now(timezone.utc))
        importing.glance([file.part for file in files], fill)


def prepare(settings: Settings, *, now: datetime | None = None) -> TableSeeds:
    """Read and check all files against the keys of their tables, before anything is written.

    Raises UsageError at path:line:column; further wrong lines, of all files, are its evidence.
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
        told = [first.evidence, *(line for error in others for line in (error.message, error.evidence))]
        first.evidence = "\n".join(filter(None, told))
        raise first
    return seeds


def _hashes(seeds: list[Seed], keys: Keys) -> list[Value | None]:
    """Return the partitions that seeds lie in, each once; None, for all of them, where that itself is a time."""
    name = keys.key[0][0]
    found: dict[str, Value] = {}
    for seed in seeds:
        if seed.item[name] != seed.later[name]:
            return [None]
        found.setdefault(identity(seed.item, Keys(keys.key[:1], keys.types)), seed.item[name])
    return list(found.values())


def _partition(client: DynamoDBClient, table: str, keys: Keys, hash_value: Value | None) -> Iterator[Item]:
    """Read the items of a partition; all of the table where there is None."""
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


def _there(outcomes: list[Outcome]) -> str:
    unchanged, kept = sum(each.unchanged for each in outcomes), sum(each.kept for each in outcomes)
    changed = f", {kept:,} of them with other contents, which stay" if kept else ""
    return f"{_counted(unchanged + kept)} there{changed}"


def _counted(count: int) -> str:
    return f"{count:,} item" if count == 1 else f"{count:,} items"
