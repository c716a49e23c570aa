"""Whether a table can be replaced without losing items or settings."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ...errors import LocalEnvError
from ...hints import inv
from ..scan import plain, scan
from ..tablefiles import TableFile
from ..tableshape import NO_LIMITS, Key, TableShape
from .contents import Item, key_digest
from .existing import Table, refuse_protected
from .extras import fetch_extras

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHOWN_ITEMS = 5
KEY_BYTES = {"partition": 2048, "sort": 1024}
"""The most bytes of a key attribute. Source: Amazon DynamoDB, "Constraints": partition key and sort key length."""


def refuse_losses(client: DynamoDBClient, table: Table, file: TableFile) -> None:
    """Raise LocalEnvError if a table has settings that its file does not mention: they would be lost."""
    refuse_protected(table)
    wanted, found = file.extras, fetch_extras(client, table.description)
    settings = [
        ("TimeToLiveSpecification", wanted.time_to_live is None and found.time_to_live),
        ("PointInTimeRecoverySpecification", wanted.recovery is None and found.recovery and found.recovery.on),
        ("Tags", wanted.tags is None and found.tags),
        ("SSESpecification", file.shape.encryption is None and table.shape.encryption not in (None, "default")),
        ("OnDemandThroughput", _loses_limits(table.shape, file.shape)),
        ("TableClass", file.shape.table_class is None and table.shape.table_class not in (None, "STANDARD")),
    ]
    lost = [name for name, is_lost in settings if is_lost]
    if lost:
        raise LocalEnvError(
            f"table {file.name} has {', '.join(lost)}, which {file.shown} does not mention: replacing it loses that",
            hint=f"set it in {file.shown}; {inv('ddb.describe', '--as-file')} prints the current values",
        )
    if table.description.get("Replicas"):
        raise LocalEnvError(
            f"table {file.name} has replicas in other regions, which a new table would not have",
            hint="remove the replicas first, and add them back afterwards",
        )


def _loses_limits(found: TableShape, wanted: TableShape) -> bool:
    """Return whether the table has limits that a new one would not have; provisioned tables have none."""
    return wanted.limits is None and not wanted.throughput and found.limits not in (None, NO_LIMITS)


def refuse_unfit_items(client: DynamoDBClient, name: str, key: Key, wanted: TableShape) -> None:
    """Raise LocalEnvError, naming the first such items, if items do not fit a table of another shape."""
    unfit: list[str] = []
    count = 0
    seen: set[bytes] = set()
    for item in scan(client, name, consistent=True):
        reason = why_unfit(item, wanted)
        digest = key_digest(item, wanted.key)
        if not reason and digest in seen:
            reason = f"another item has the same {' and '.join(name for name, _ in wanted.key)}"
        seen.add(digest)
        if reason:
            count += 1
            if len(unfit) < SHOWN_ITEMS:
                unfit.append(f"{_key_text(item, key)}: {reason}")
    if count:
        more = [f"and {count - len(unfit):,} more"] if count > len(unfit) else []
        raise LocalEnvError(
            f"{count:,} items of table {name} do not fit the new one: nothing was changed",
            hint="add what the new key needs, or remove the items, then run the same command again",
            evidence=[*unfit, *more],
        )


def why_unfit(item: Item, shape: TableShape) -> str:
    """Return why a table of this shape would refuse an item; empty if it would not."""
    for name, _ in shape.key:
        if name not in item:
            return f"it has no {name}"
    longest = key_limits(shape)
    for name, kind in (pair for key in _keys(shape) for pair in key):
        reason = _why_invalid_key(name, kind, item[name], longest[name]) if name in item else ""
        if reason:
            return reason
    return ""


def key_limits(shape: TableShape) -> dict[str, int]:
    """Return the most bytes of each key attribute of the table and its indexes."""
    longest: dict[str, int] = {}
    sizes = [1, *(index.partition_size for index in shape.indexes)]
    for key, size in zip(_keys(shape), sizes, strict=True):
        for position, (name, _) in enumerate(key):
            most = KEY_BYTES["partition" if position < size else "sort"]
            longest[name] = min(longest.get(name, most), most)
    return longest


def _keys(shape: TableShape) -> tuple[Key, ...]:
    return (shape.key, *(index.key for index in shape.indexes))


def _why_invalid_key(name: str, kind: str, value: dict[str, Any], longest: int) -> str:
    ((found, content),) = value.items()
    if found != kind:
        return f"its {name} is of type {found}, not {kind}"
    if kind == "N":
        return ""
    size = _key_bytes(kind, content)
    if not size:
        return f"its {name} is empty"
    return f"its {name} has more than {longest} bytes" if size > longest else ""


def _key_bytes(kind: str, content: str | bytes) -> int:
    """Return the size of text or binary, which is base64 text from a local engine and bytes from boto3."""
    if isinstance(content, str):
        content = base64.b64decode(content) if kind == "B" else content.encode()
    return len(content)


def _key_text(item: Item, key: Key) -> str:
    return ", ".join(f"{name} {plain(item[name])}" for name, _ in key if name in item)
