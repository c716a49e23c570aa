"""The contents of tables as digests, which compare equal whatever the order of items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..numbers import number_text
from ..scan import scan
from ..tableshape import Key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, dict[str, Any]]
DIGEST_BYTES = 16
"""Enough that no two items of any table share a digest."""


@dataclass
class Contents:
    """How many items, and the sum of their digests: equal for equal items, in any order."""

    count: int = 0
    total: int = 0

    def counting(self, found: Iterable[Item]) -> Iterator[Item]:
        """Yield items on and add each to the count and the sum."""
        for item in found:
            self.count += 1
            self.total = (self.total + int.from_bytes(_digest(item), "big")) % (1 << (8 * DIGEST_BYTES))
            yield item


def read_contents(client: DynamoDBClient, table: str) -> Contents:
    """Read all items of a table."""
    contents = Contents()
    for _ in contents.counting(scan(client, table, consistent=True)):
        pass
    return contents


def read_keys(client: DynamoDBClient, table: str, key: Key) -> set[bytes]:
    """Return the digest of each item's key: a million items take about 80 MB."""
    return {key_digest(item, key) for item in scan(client, table, consistent=True)}


def key_digest(item: Item, key: Key) -> bytes:
    """Return a digest of the attributes of a key that the item has."""
    return _digest({name: item[name] for name, _ in key if name in item})


def _digest(value: Item) -> bytes:
    return hashlib.blake2b(repr(_canonical({"M": value})).encode(), digest_size=DIGEST_BYTES).digest()


def _canonical(value: dict[str, Any]) -> Any:
    """Normalize an attribute value: numbers by value, sets and maps sorted."""
    ((kind, content),) = value.items()
    if kind == "M":
        return kind, [(name, _canonical(content[name])) for name in sorted(content)]
    if kind == "L":
        return kind, [_canonical(entry) for entry in content]
    if kind == "N":
        return kind, number_text(content)
    if kind == "NS":
        return kind, sorted(map(number_text, content))
    return kind, sorted(content) if kind in ("SS", "BS") else content
