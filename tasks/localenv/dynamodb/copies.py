"""A table to two files and back: its definition and its items, and a hash that is the same for the same items."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, UsageError
from . import schema
from .definition import definition_of
from .itemfile import as_line
from .scan import scan
from .tables import read_table
from .transfer import export_items, import_items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Items:
    """How many items there are, and a SHA-256 of all of them, in whatever order they come."""

    count: int
    sha256: str


@dataclass(frozen=True)
class Files:
    """Where a table is written: its definition as CloudFormation has it, its items as compressed JSON lines."""

    definition: Path
    content: Path


def save_table(client: DynamoDBClient, name: str, files: Files) -> Items:
    """Write a table to its files. Raises TableMissing."""
    files.definition.write_text(json.dumps(definition_of(client, name), indent=2) + "\n")
    export_items(client, name, files.content)
    with gzip.open(files.content) as lines:
        return sum_up(line.rstrip(b"\n") for line in lines)


def replace_table(client: DynamoDBClient, name: str, files: Files, wanted: Items) -> None:
    """Make a table what its files say, whatever it is now.

    Raises UsageError where the files are not those of that table, LocalEnvError where the items differ afterwards.
    """
    file = read_table(files.definition, f"definition of table {name}", {})
    if file.name != name:
        raise UsageError(f"the definition of table {name} is that of {file.name}")
    drop_table(client, name)
    schema.apply_tables(client, [file])
    import_items(client, name, files.content, shown=f"items of table {name}")
    found = measure(client, name)
    if found != wanted:
        raise LocalEnvError(f"table {name}: wanted {wanted.count:,} items, found {found.count:,} or other ones")


def drop_table(client: DynamoDBClient, name: str) -> None:
    """Drop a table where there is one, its protection from deletion lifted first."""
    found = schema.fetch_table(client, name)
    if found is None:
        return
    if found.description.get("DeletionProtectionEnabled"):
        client.update_table(TableName=name, DeletionProtectionEnabled=False)
    schema.drop_table(client, found)


def measure(client: DynamoDBClient, name: str) -> Items:
    """Read every item of a table."""
    return sum_up(_lines(scan(client, name, consistent=True)))


def sum_up(lines: Iterable[bytes]) -> Items:
    """Add up the hashes of items, each a line, so that their order does not matter."""
    total = count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007 - counted for the result
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return Items(count, hashlib.sha256(str(total).encode()).hexdigest())


def _lines(items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    return (as_line(item).encode(errors="backslashreplace") for item in items)
