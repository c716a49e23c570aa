"""What a table holds, in a form that two tables can be compared by, whatever their order of items."""

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
WIDTH = 16
"""Bytes of a digest: enough that no two items of any table share one."""


@dataclass
class Contents:
    """How many items, and the sum of their digests: equal for equal items, in any order."""

    count: int = 0
    total: int = 0

    def adding(self, found: Iterable[Item]) -> Iterator[Item]:
        """Pass items on, and count them in."""
        for item in found:
            self.count += 1
            self.total = (self.total + int.from_bytes(_digest(item), "big")) % (1 << (8 * WIDTH))
            yield item


def read_contents(client: DynamoDBClient, table: str) -> Contents:
    """Read a table through."""
    contents = Contents()
    for _ in contents.adding(scan(client, table, consistent=True)):
        pass
    return contents


def read_keys(client: DynamoDBClient, table: str, key: Key) -> set[bytes]:
    """Return the digest of each item's key, of 16 bytes: a million items take about 80 MB."""
    return {key_digest(item, key) for item in scan(client, table, consistent=True)}


def key_digest(item: Item, key: Key) -> bytes:
    """Return a digest of the attributes of a key; those that the item has not count as such."""
    return _digest({name: item[name] for name, _ in key if name in item})


def _digest(value: Item) -> bytes:
    return hashlib.blake2b(repr(_canonical({"M": value})).encode(), digest_size=WIDTH).digest()


def _canonical(value: dict[str, Any]) -> Any:
    """Write an attribute value in one way: numbers by value, sets and maps in order."""
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
