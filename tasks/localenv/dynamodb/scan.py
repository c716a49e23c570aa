"""Reads all items of a table, a page at a time, and formats them for people and programs."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..machine.columns import harmless
from ..machine.progress import part_of_progress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HEAD_ITEMS = 1000


def scan(
    client: DynamoDBClient, table: str, *, limit: int = 0, consistent: bool = False, segment: tuple[int, int] = (0, 1)
) -> Iterator[dict[str, Any]]:
    """Yield every item (DynamoDB JSON), or the first `limit` of them. Holds one page of 1 MB in memory.

    `consistent` uses strongly consistent reads, for twice the capacity. `segment` is one of so many parts of the table.
    Raises TableMissing.
    """
    number, segments = segment
    query: dict[str, Any] = {"TableName": table, "ConsistentRead": consistent}
    if segments > 1:
        query |= {"Segment": number, "TotalSegments": segments}
    left = limit
    with part_of_progress(f"reading {table}", unit="items") as progress:
        while True:
            if limit:
                query["Limit"] = left
            answer: Any = client.scan(**query)
            yield from answer["Items"]
            left -= len(answer["Items"])
            if not answer.get("LastEvaluatedKey") or (limit and left <= 0):
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            progress.total = progress.total or limit or about(client, table) // segments
            progress.add(len(answer["Items"]))


def about(client: DynamoDBClient, table: str) -> int:
    """Return how many items a table has, or had some hours ago (AWS); 0 where that is not to be had."""
    try:
        return int(client.describe_table(TableName=table)["Table"].get("ItemCount", 0))
    except LocalEnvError:
        return 0


def plain(value: dict[str, Any]) -> Any:
    """Return an attribute value as plain JSON.

    Binary becomes base64 text, a set a sorted list, and a number that JSON readers would round becomes text.
    """
    ((kind, content),) = value.items()
    if kind == "N":
        return _number(content)
    if kind == "B":
        return _binary(content)
    if kind == "NULL":
        return None
    if kind == "M":
        return plain_item(content)
    if kind == "L":
        return [plain(entry) for entry in content]
    if kind in ("SS", "NS", "BS"):
        in_order = sorted(content, key=Decimal if kind == "NS" else None)
        return [plain({kind[0]: entry}) for entry in in_order]
    return content


def plain_item(item: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return an item as plain JSON, its attributes sorted by name."""
    return {name: plain(item[name]) for name in sorted(item)}


def as_text(item: dict[str, dict[str, Any]], key: tuple[str, ...]) -> list[str]:
    """Return an item as lines for people: its key first, the other attributes aligned below it."""
    shown = {name: _shown(plain(value)) for name, value in sorted(item.items())}
    width = max((len(name) for name in shown if name not in key), default=0)
    head = "  ".join(shown.get(name, "-") for name in key)
    return [head, *(f"  {name:<{width}}  {text}" for name, text in shown.items() if name not in key)]


def as_table(items: Iterable[dict[str, dict[str, Any]]], key: tuple[str, ...]) -> Iterator[str]:
    """Yield the items as the lines of a table, as they arrive: the key first, then the other attributes by name.

    The columns are those of the first thousand items; other attributes of later items follow as name=value.
    """
    items = iter(items)
    head = list(itertools.islice(items, HEAD_ITEMS))
    if not head:
        return
    names = {name for item in head for name in item}
    columns = [*(name for name in key if name in names), *sorted(names.difference(key))]
    rows = [_cells(item, columns) for item in head]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in itertools.chain([columns, ["-" * width for width in widths]], rows):
        yield _aligned(row, widths)
    for item in items:
        more = [f"{name}={_shown(plain(item[name]))}" for name in sorted(item) if name not in names]
        yield "  ".join([_aligned(_cells(item, columns), widths), *more])


def _cells(item: dict[str, dict[str, Any]], columns: list[str]) -> list[str]:
    return [_shown(plain(item[name])) if name in item else "" for name in columns]


def _aligned(cells: list[str], widths: list[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _shown(value: Any) -> str:
    """Return a value on one line, without control characters."""
    return harmless(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _number(text: str) -> int | float | str:
    exact = Decimal(text)
    if exact == exact.to_integral_value() and abs(exact.adjusted()) < 38:
        return int(exact)
    return float(text) if Decimal(repr(float(text))) == exact else text


def _binary(content: bytes | str) -> str:
    return base64.b64encode(content).decode() if isinstance(content, bytes) else content
