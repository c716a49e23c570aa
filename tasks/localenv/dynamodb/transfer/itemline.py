"""Reads a line of a file of items: DynamoDB JSON or plain JSON, checked against the keys of a table.

Connects to nothing. Source of the rules: Amazon DynamoDB Developer Guide, "Constraints".
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from ...aws.templates.document import Steps
from ...aws.templates.jsonfile import document_of
from ...errors import UsageError
from ...machine.reading import LINE_BYTES as LINE_BYTES
from ...machine.reading import json_excess
from ..numbers import DIGITS
from ..tableshape import Key
from .typed import (
    TOO_DEEP,
    Item,
    Misfit,
    Value,
    check_names,
    check_size,
    from_plain,
    is_typed,
    quoted,
    read_item,
    shorten,
    value_bytes,
)

REQUESTS = ("PutRequest", "DeleteRequest")
ENVELOPE = '{"schemaVersion": '
ONE_A_LINE = "write one item a line: `jq -c '.[]'` splits an array, `jq -c .` joins the lines of an item"


OTHER_FORMS = "items are JSON: use --output json of the AWS CLI; CSV is read where the file is called *.csv"


@dataclass(frozen=True)
class Keys:
    """The table's key, which every item must have. `types` are those of all key attributes, of the table and indexes.

    `longest` are the most bytes of each of them. `strict`: check names and lengths that DynamoDB refuses but an
    emulator may hold.
    """

    key: Key
    types: dict[str, str]
    longest: Mapping[str, int] = field(default_factory=dict)
    strict: bool = True


@dataclass(frozen=True)
class Line:
    """An item (binary as bytes) or the error in its line, with its place in a file, path:line."""

    place: str
    item: Item
    error: UsageError | None = None


Fill = Callable[[Any, Steps, bool], Any]
"""Replaces placeholders in a line. Takes the data, the steps to it, and whether it is plain JSON."""


def read_line(place: str, text: str, keys: Keys, fill: Fill | None = None, *, column: int = 1) -> Line:
    """Read an item in JSON, from path:line `place` and `column` on; an error in it names its line and column.

    `fill` replaces placeholders in its data.
    """
    try:
        if excess := json_excess(text):
            raise Misfit((), TOO_DEEP if "deeper" in excess else f"{excess}, more than any item")
        item = _item_of(LOADER.decode(text.strip()), keys, fill)
        check_size(item, len(text))
        return Line(place, item)
    except json.JSONDecodeError as error:
        line, at = error.lineno, error.colno + (len(text) - len(text.lstrip()) if error.lineno == 1 else 0)
        problem, hint = f"not JSON: {error.msg[0].lower()}{error.msg[1:]}", ONE_A_LINE if text.strip() in "[{" else ""
        if text.strip()[0] not in "[{":
            hint = OTHER_FORMS
        if fill and error.doc[max(error.pos - 1, 0) : error.pos + 1] == "{{":
            hint = "write {{…}} in quotes"
    except Misfit as error:
        place_in_text = document_of("", text, None).place(error.steps) if error.steps else ":1:1"
        line, at = map(int, place_in_text.split(":")[-2:])
        problem, hint = error.message, error.hint
    path, _, first = place.rpartition(":")
    at += column - 1 if line == 1 else 0
    return Line(place, {}, UsageError(f"{path}:{int(first) + line - 1}:{at}: {problem}", hint=hint))


def _item_of(data: Any, keys: Keys, fill: Fill | None) -> Item:
    """Return the item of a line's data: DynamoDB JSON if the key's value is an object, else plain JSON."""
    steps: Steps = ()
    is_streamed = False
    hash_key = keys.key[0][0] if keys.key else ""  # a precheck has no table
    if isinstance(data, dict) and hash_key not in data and len(data) == 1 and not data.keys().isdisjoint(REQUESTS):
        data, steps = _put_in(data)
    elif isinstance(data, dict) and set(data) == {"Item"} and not (hash_key == "Item" and _is_key_value(data["Item"])):
        data, steps = data["Item"], ("Item",)
    elif is_streamed := _is_streamed(data, keys):
        data, steps = data["item"], ("item",)
    if not isinstance(data, dict):
        raise Misfit(steps, f"wanted an item, found {quoted(data)}", hint=ONE_A_LINE if isinstance(data, list) else "")
    for image in ("NewImage", "OldImage"):
        if image in data and keys.key and hash_key not in data:
            raise Misfit(steps, "a change of an incremental export, not an item", hint="use a full export")
    try:
        require_keys(data, keys, steps)
    except Misfit as error:
        error.hint = _list_hint(data, hash_key)
        raise
    is_typed_item = isinstance(data.get(hash_key), dict) if keys.key else all(map(is_typed, data.values()))
    is_plain = is_streamed or (not steps and not is_typed_item)
    if fill:
        data = fill(data, steps, is_plain)
    if is_plain:
        data = {name: from_plain(value) for name, value in data.items()}
    return checked_item(data, keys, steps)


def _list_hint(data: dict[str, Any], hash_key: str) -> str:
    """Return how to get at the items in an object that has a list of them: {"users": [{…}, …]}."""
    for name, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict) and hash_key in value[0]:
            return f"`jq -c '.[{json.dumps(name)}][]'` prints the items in it, one a line"
    return ""


def _put_in(data: dict[str, Any]) -> tuple[Any, Steps]:
    """Return the item of a request of BatchWriteItem, and the steps to it."""
    if "PutRequest" not in data:
        raise Misfit(("DeleteRequest",), "a deletion, not an item", hint="keep the PutRequests only")
    request = data["PutRequest"]
    if not isinstance(request, dict) or "Item" not in request:
        raise Misfit(("PutRequest",), "no 'Item' in this request")
    return request["Item"], ("PutRequest", "Item")


def checked_item(data: Any, keys: Keys, steps: Steps = ()) -> Item:
    """Read an item in DynamoDB JSON and check it against the keys. Raises Misfit."""
    item = read_item(data, steps)
    if keys.strict:
        check_names(item, steps)
    for name in keys.types:
        if name in item:
            _check_key(name, item[name], keys, steps)
    return item


def _is_streamed(data: Any, keys: Keys) -> bool:
    """Return whether this is a line of `ddb.scan --format json`, and no item with one attribute, the key `item`."""
    if not isinstance(data, dict) or set(data) != {"item"} or not isinstance(data["item"], dict):
        return False
    return keys.key[0][0] != "item" if keys.key else not is_typed(data["item"])


def end_of_stream(text: str) -> str:
    """Return the status in the envelope that ends what `ddb.scan --format json` writes; empty for another line."""
    if not text.startswith(ENVELOPE):
        return ""
    with contextlib.suppress(ValueError):
        data = json.loads(text)
        return str(data["status"]) if {"command", "effect", "status", "steps", "error"} <= set(data) else ""
    return ""


def cut_off(place: str) -> UsageError:
    return UsageError(f"{place}:1: the command that wrote this failed: items are missing", hint="run it again")


def _is_key_value(value: Any) -> bool:
    """Return whether this is the value of a key attribute called Item, not the wrapper of an item."""
    return not (isinstance(value, dict) and "Item" in value)


def require_keys(data: Collection[str], keys: Keys, steps: Steps = ()) -> None:
    """Raise Misfit if an attribute of the table's key is missing."""
    for name, _ in keys.key:
        if name not in data:
            raise Misfit(steps, f"no {name!r}, which is in the table's key")


def _check_key(name: str, value: Value, keys: Keys, steps: Steps) -> None:
    """Raise Misfit if the value of a key, the table's or an index's, has another type, is empty or too long."""
    ((kind, content),) = value.items()
    if kind != keys.types[name]:
        raise Misfit((*steps, name), f"{name!r} is a key of type {keys.types[name]}, found {kind}")
    if content in ("", b""):
        raise Misfit((*steps, name), f"{name!r} is a key and must not be empty")
    longest = keys.longest.get(name) if keys.strict and kind != "N" else None
    if longest is not None and (size := value_bytes(value)) > longest:
        raise Misfit((*steps, name), f"{name!r} is a key and has {size:,} bytes, more than {longest:,}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Misfit((), f"{next(name for name in names if names.count(name) > 1)!r} is in one object twice")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise Misfit((), f"{word} is not JSON, nor a DynamoDB number")


def _whole(text: str) -> int | Decimal:
    """Parse a whole number; Python refuses to make an int of more than 4300 digits."""
    return int(text) if len(text) <= DIGITS else Decimal(text)


def _fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Misfit((), f"{shorten(text)} is out of DynamoDB's range") from None


LOADER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_int=_whole, parse_float=_fraction, parse_constant=_refuse_constant
)
