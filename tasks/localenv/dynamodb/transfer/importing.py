"""Imports items from files into a table: checks all before writing any, and writes only what differs."""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ...errors import UsageError
from ...machine.disk import no_space, spooled
from ...machine.progress import progress
from ...machine.reading import is_folder, is_stream, opened, path_of
from ...machine.words import counted
from ..itemwriter import BATCHES_AT_ONCE, fetch, puts, take_batch, takes_transactions, write
from .itemfile import read_items, read_lines
from .itemline import Fill, Keys, Line
from .s3folder import Part, check_part, find_parts
from .typed import Item, comparable_item, key_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEYS_PER_FETCH = 100
"""Source: Amazon DynamoDB API Reference, BatchGetItem: 100 items at most."""
SHOWN_ERRORS = 10
PRECHECKED_LINES = 1000
MOST_ERRORS = 10_000
"""After this many errors the rest is not checked."""


@dataclass
class Outcome:
    """The counts of an import: items by what the table held under their keys before."""

    new: int = 0
    replaced: int = 0
    unchanged: int = 0
    kept: int = 0

    def __str__(self) -> str:
        kept = f", {self.kept:,} kept as they are" if self.kept else ""
        return f"{self.new:,} new, {self.replaced:,} replaced, {self.unchanged:,} unchanged{kept}"


@contextmanager
def sources(given: str, stdin: Callable[[], IO[bytes]]) -> Iterator[list[Part]]:
    """Yield the files that --file names: a file, those of a folder, or stdin as a temporary file."""
    if not given:
        raise UsageError("ddb.import wants a file", hint="pass --file PATH, a folder, or - for stdin")
    path = path_of(given)
    if is_folder(path):
        yield find_parts(path, given.rstrip("/"))
    elif given == "-":
        with spooled(stdin(), "stdin") as kept:
            yield [Part(Path(kept.name), "stdin")]
    elif is_stream(path):
        with opened(path, given) as pipe, spooled(pipe, given) as kept:
            yield [Part(Path(kept.name), given)]
    else:
        yield [Part(path, given)]


def check(parts: list[Part], keys: Keys, fill: Fill | None = None) -> int:
    """Check every line and return the number of items. `fill` is that of `read_line`.

    Collects the keys in a temporary database, which spills to disk when it gets large. Raises UsageError with the first
    ten errors, including duplicate keys.
    """
    errors: list[UsageError] = []
    count = bad = 0
    with closing(sqlite3.connect("")) as seen, progress("checking", unit="items") as checked:
        seen.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")
        for part in parts:
            check_part(part)
            before = count
            for line in read_lines(part.path, part.shown, keys, fill):
                count += 1
                checked.done = count
                error = line.error or _duplicate_error(seen, line, keys)
                if error:
                    bad += 1
                    errors += [error] if len(errors) < SHOWN_ERRORS else []
                if bad == MOST_ERRORS:
                    raise _refused(errors, bad)
            if part.items not in (None, count - before):
                raise UsageError(f"{part.shown}: {counted(count - before, 'item')}, but its manifest says {part.items}")
    if errors:
        raise _refused(errors, bad)
    return count


def precheck(parts: list[Part], fill: Fill | None = None) -> None:
    """Check the first lines of each file without the keys of the table. Raises the first error."""
    for part in parts:
        lines = read_lines(part.path, part.shown, Keys((), {}, strict=False), fill)
        for line in itertools.islice(lines, PRECHECKED_LINES):
            if line.error:
                raise line.error


def plan(client: DynamoDBClient, table: str, parts: list[Part], keys: Keys, *, only_new: bool) -> Outcome:
    """Return what `apply` would do. The parts must have passed `check`."""
    outcome = Outcome()
    for _ in _changes(client, table, parts, keys, only_new=only_new, outcome=outcome):
        pass
    return outcome


def apply(
    client: DynamoDBClient,
    table: str,
    parts: list[Part],
    keys: Keys,
    *,
    only_new: bool = False,
    at_once: int = BATCHES_AT_ONCE,
    on_change: Callable[[], None] = lambda: None,
    total: int | None = None,
) -> Outcome:
    """Write the items that differ from the table's. The parts must have passed `check`.

    `on_change` is called once, before the first write to a table that has items. `total` is how many items there are.
    Running it again completes an interrupted import. `only_new` skips items whose key the table has. Reads before it
    writes: a concurrent write in between is overwritten.
    """
    outcome = Outcome()
    by_transaction = takes_transactions(client, table)
    with progress(f"into {table}", total, "items") as done:
        changes = _changes(
            client, table, parts, keys, only_new=only_new, outcome=outcome, on_change=on_change, compared=done.add
        )
        write(client, table, puts(changes), at_once=at_once, by_transaction=by_transaction)
    return outcome


def stdin_bytes() -> IO[bytes]:
    """Return stdin as bytes."""
    return sys.stdin.buffer


def _changes(
    client: DynamoDBClient,
    table: str,
    parts: list[Part],
    keys: Keys,
    *,
    only_new: bool,
    outcome: Outcome,
    on_change: Callable[[], None] = lambda: None,
    compared: Callable[[int], None] = lambda count: None,
) -> Iterator[Item]:
    """Yield the items to write, and count all. An empty table is not queried for them."""
    is_empty = not client.scan(TableName=table, Limit=1, ConsistentRead=True)["Items"]
    items = itertools.chain.from_iterable(read_items(part.path, part.shown, keys) for part in parts)
    while batch := take_batch(items, KEYS_PER_FETCH):
        there = {} if is_empty else _by_key(fetch(client, table, [key_of(item, keys) for item in batch]), keys)
        for item in batch:
            before = there.get(identity(item, keys))
            if before is None:
                outcome.new += 1
            elif comparable_item(before) == comparable_item(item):
                outcome.unchanged += 1
                continue
            elif only_new:
                outcome.kept += 1
                continue
            else:
                outcome.replaced += 1
            if not is_empty and outcome.new + outcome.replaced == 1:
                on_change()
            yield item
        compared(len(batch))


def _by_key(items: list[Item], keys: Keys) -> dict[str, Item]:
    return {identity(item, keys): item for item in items}


def key_of(item: Item, keys: Keys) -> Item:
    """Return the key of an item."""
    return {name: item[name] for name, _ in keys.key}


def identity(item: Item, keys: Keys) -> str:
    """Return the key of an item as text that is unique to it."""
    return json.dumps([key_text(item[name]) for name, _ in keys.key])


def _duplicate_error(seen: sqlite3.Connection, line: Line, keys: Keys) -> UsageError | None:
    """Record the key of a line; return an error if another line has it."""
    key = identity(line.item, keys)
    try:
        if seen.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, line.place)).rowcount:
            return None
    except sqlite3.Error as error:  # it spilled to a full disk
        raise no_space(Path(tempfile.gettempdir()), str(error)) from error
    ((first,),) = seen.execute("SELECT place FROM seen WHERE key = ?", (key,))
    shown = ", ".join(f"{name} {key_text(line.item[name])!r}" for name, _ in keys.key)
    return UsageError(f"{line.place}: {shown} is already on {first}", hint="remove one of the two")


def _refused(errors: list[UsageError], bad: int) -> UsageError:
    first, *others = errors
    more = [f"and {bad - len(errors):,} more"] if bad > len(errors) else []
    first.evidence = "\n".join([*(error.message for error in others), *more])
    return first
