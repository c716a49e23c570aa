"""A line of a file of items: DynamoDB JSON or plain JSON, checked to be an item that a table takes.

Nothing connects here. Source of the rules: Amazon DynamoDB Developer Guide, "Constraints".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from ...errors import UsageError
from ...machine.reading import LINE_BYTES as LINE_BYTES
from ...machine.reading import json_excess
from ..files.document import Steps
from ..files.jsonfile import document_of
from ..numbers import DIGITS
from ..tableshape import Key
from .typed import (
    TOO_DEEP,
    Item,
    Misfit,
    Value,
    check_names,
    check_size,
    cut,
    from_plain,
    is_typed,
    read_item,
    told,
    value_bytes,
)

ONE_A_LINE = "write one item a line: `jq -c '.[]'` takes an array apart, `jq -c .` an item of several lines"


@dataclass(frozen=True)
class Keys:
    """What a line must have: the table's key. `types` are those of all attributes that it or an index is keyed by.

    `longest` are the bytes that each of these may have. `strict` is whether names and lengths are looked at that
    DynamoDB refuses and an emulator may hold.
    """

    key: Key
    types: dict[str, str]
    longest: Mapping[str, int] = field(default_factory=dict)
    strict: bool = True


@dataclass(frozen=True)
class Line:
    """An item (binary as bytes) and its place in a file, path:line; or what is wrong with the line there."""

    place: str
    item: Item
    error: UsageError | None = None


Fill = Callable[[Any, Steps, bool], Any]
"""Makes what a line holds from what is written there: the data, the steps to it, whether it is plain JSON."""


def read_line(place: str, text: str, keys: Keys, fill: Fill | None = None) -> Line:
    """Read a line of JSON; what is wrong with it is said with its column. `fill` is called with what it holds."""
    try:
        if excess := json_excess(text):
            raise Misfit((), TOO_DEEP if "deeper" in excess else f"{excess}, and no item has as many")
        item = _item_of(LOADER.decode(text.strip()), keys, fill)
        check_size(item, len(text))
        return Line(place, item)
    except json.JSONDecodeError as error:
        column = len(text) - len(text.lstrip()) + error.colno
        problem, hint = f"not JSON: {error.msg[0].lower()}{error.msg[1:]}", ONE_A_LINE if text.strip() in "[{" else ""
        if fill and error.doc[max(error.pos - 1, 0) : error.pos + 1] == "{{":
            hint = "write {{…}} in quotes"
    except Misfit as error:
        place_in_line = document_of("", text, None).place(error.steps) if error.steps else "1"
        column, problem, hint = int(place_in_line.rpartition(":")[2]), error.message, error.hint
    return Line(place, {}, UsageError(f"{place}:{column}: {problem}", hint=hint))


def _item_of(data: Any, keys: Keys, fill: Fill | None) -> Item:
    """Make the item of what a line holds: the key's value is an object where it is typed, else it is plain."""
    steps: Steps = ()
    hash_key = keys.key[0][0] if keys.key else ""  # a glance at a file knows no table
    if isinstance(data, dict) and set(data) == {"Item"} and not (hash_key == "Item" and _is_key_value(data["Item"])):
        data, steps = data["Item"], ("Item",)
    if not isinstance(data, dict):
        raise Misfit(steps, f"wanted an item, found {told(data)}", hint=ONE_A_LINE if isinstance(data, list) else "")
    for stranger in ("NewImage", "OldImage"):
        if stranger in data and keys.key and hash_key not in data:
            raise Misfit(steps, "a change of an incremental export, and no item", hint="use a full export")
    require_keys(data, keys, steps)
    is_typed_item = isinstance(data.get(hash_key), dict) if keys.key else all(map(is_typed, data.values()))
    is_plain = not steps and not is_typed_item
    if fill:
        data = fill(data, steps, is_plain)
    if is_plain:
        data = {name: from_plain(value) for name, value in data.items()}
    return checked_item(data, keys, steps)


def checked_item(data: Any, keys: Keys, steps: Steps = ()) -> Item:
    """Take an item in DynamoDB JSON that is one of such a table. Raises Misfit."""
    item = read_item(data, steps)
    if keys.strict:
        check_names(item, steps)
    for name in keys.types:
        if name in item:
            _check_key(name, item[name], keys, steps)
    return item


def _is_key_value(value: Any) -> bool:
    """Return whether this is the value of an attribute called Item, and not an item."""
    return not (isinstance(value, dict) and "Item" in value)


def require_keys(data: Collection[str], keys: Keys, steps: Steps = ()) -> None:
    """Raise Misfit where an attribute of the table's key is lacking."""
    for name, _ in keys.key:
        if name not in data:
            raise Misfit(steps, f"no {name!r}, which is in the table's key")


def _check_key(name: str, value: Value, keys: Keys, steps: Steps) -> None:
    """Raise Misfit where the value of a key, the table's or an index's, is of another type, empty or too long."""
    ((kind, content),) = value.items()
    if kind != keys.types[name]:
        raise Misfit((*steps, name), f"{name!r} is a key of type {keys.types[name]}, found {kind}")
    if content in ("", b""):
        raise Misfit((*steps, name), f"{name!r} is a key, and keys are not empty")
    longest = keys.longest.get(name) if keys.strict and kind != "N" else None
    if longest is not None and (size := value_bytes(value)) > longest:
        raise Misfit((*steps, name), f"{name!r} is a key and has {size:,} bytes, at most {longest:,} may be")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Misfit((), f"{next(name for name in names if names.count(name) > 1)!r} is in one object twice")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise Misfit((), f"{word} is not JSON, and no number of DynamoDB")


def _whole(text: str) -> int | Decimal:
    """Read a whole number; Python makes no int of more than 4300 digits."""
    return int(text) if len(text) <= DIGITS else Decimal(text)


def _fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Misfit((), f"{cut(text)} is beyond the numbers of DynamoDB") from None


LOADER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_int=_whole, parse_float=_fraction, parse_constant=_refuse_constant
)
