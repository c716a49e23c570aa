"""Exports a table's items to a file and imports them again: streamed, in batches, and unchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..itemwriter import puts, takes_transactions, write
from ..scan import scan
from ..schema import require_whole_table
from ..schema.fitness import key_limits
from .itemfile import read_items, write_lines
from .itemline import Keys

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Exported:
    """A file with a table's items: their number, its size, and the SHA-256 of its bytes, in hexadecimal."""

    items: int
    size_bytes: int
    sha256: str


def export_items(client: DynamoDBClient, table: str, path: Path) -> Exported:
    """Write every item of a table to a file, compressed if its name ends in .gz.

    Reads are strongly consistent but not a snapshot: concurrent writes may be in it or not. The file appears when it is
    complete. Raises TableMissing.
    """
    written = write_lines(path, scan(client, table, consistent=True))
    return Exported(written.items, written.size_bytes, written.sha256)


def import_items(
    client: DynamoDBClient,
    table: str,
    path: Path,
    *,
    shown: str = "",
    total: int | None = None,
    at_once: int = 4,
) -> int:
    """Write every item of a file to a table, in batches, and return how many there were. Replaces items of equal keys.

    Checks each line as it is read, so an error, or a duplicate key in a batch, ends it halfway; running it again with a
    corrected file completes it. Accepts items that an emulator holds but DynamoDB would refuse. Raises TableMissing,
    UsageError at path:line:column.
    """
    keys = replace(keys_of(client, table), strict=False)
    items = read_items(path, shown or str(path), keys)
    by_transaction = takes_transactions(client, table)
    return write(client, table, puts(items), total=total, at_once=at_once, by_transaction=by_transaction)


def keys_of(client: DynamoDBClient, table: str) -> Keys:
    """Return the keys that the items of a table must have. Raises TableMissing, and as require_whole_table."""
    found = require_whole_table(client, table)
    types = {each["AttributeName"]: each["AttributeType"] for each in found.description["AttributeDefinitions"]}
    return Keys(found.shape.key, types, key_limits(found.shape))
