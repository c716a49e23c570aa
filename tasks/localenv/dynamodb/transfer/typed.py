"""Attribute values in DynamoDB JSON, {"S": "text"}: checked, made from plain JSON, sorted for writing.

Values read hold binary as bytes, values written as base64 text. Connects to nothing.
Source of the rules: Amazon DynamoDB Developer Guide, "Supported data types and naming rules" and "Constraints".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ...aws.templates.document import Steps
from ...errors import UsageError
from ..numbers import DIGITS, number_text

Value = dict[str, Any]
Item = dict[str, Value]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
SMALLEST, LARGEST = -130, 125
"""The exponents of the smallest and the largest number."""
DEEPEST = 32
"""The most levels of an item: the value of an attribute is on the first, those in a list or map on the next."""
TOO_DEEP = f"nested deeper than the {DEEPEST} levels that DynamoDB allows"
ITEM_BYTES = 400 * 1024
NAME_BYTES = 64 * 1024 - 1


class Misfit(UsageError):
    """A value that DynamoDB would not store. `steps` lead to it from the root of the data."""

    def __init__(self, steps: Steps, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.steps = steps


def read_item(item: Any, steps: Steps = ()) -> Item:
    """Read an item in DynamoDB JSON, checked except for its size. Raises Misfit."""
    if not isinstance(item, dict):
        raise Misfit(steps, f"wanted an item, found {quoted(item)}")
    return {name: read_value(value, (*steps, name)) for name, value in item.items()}


def check_names(item: Item, steps: Steps = ()) -> None:
    """Raise Misfit if an attribute, or an entry of a map, has a name that DynamoDB refuses.

    Not part of `read_item`: an emulator may hold such items, and a snapshot must save and restore them.
    """
    for name, value in item.items():
        if not name or len(name) > NAME_BYTES or not name.isascii():  # skips most names
            _check_name(name, (*steps, name))
        if "M" in value or "L" in value:
            _check_names_in(value, (*steps, name))


def _check_names_in(value: Value, steps: Steps) -> None:
    if "M" in value:
        check_names(value["M"], (*steps, "M"))
    for index, inner in enumerate(value.get("L", ())):
        _check_names_in(inner, (*steps, "L", index))


def _check_name(name: str, steps: Steps) -> None:
    if not name:
        raise Misfit(steps, "an attribute has an empty name, which DynamoDB refuses")
    if (size := _text_bytes(_read_text(name, steps))) > NAME_BYTES:
        raise Misfit(steps, f"the name of an attribute has {size:,} bytes, more than {NAME_BYTES:,}")


def check_size(item: Item, written: int) -> None:
    """Raise Misfit for an item that is too large. `written` is the length of its JSON: short ones are not measured."""
    if written > ITEM_BYTES // 4 and (size := item_bytes(item)) > ITEM_BYTES:
        raise Misfit((), f"the item has {size:,} bytes, and DynamoDB allows {ITEM_BYTES:,}")


def read_value(value: Any, steps: Steps) -> Value:
    """Read one typed value. Raises Misfit."""
    if not isinstance(value, dict) or len(value) != 1:
        raise Misfit(steps, f'wanted a typed value such as {{"S": "text"}}, found {quoted(value)}')
    ((kind, content),) = value.items()
    if kind not in READERS:
        raise Misfit((*steps, kind), f"{kind!r} is not one of {', '.join(READERS)}")
    if (len(steps) - 1) // 2 >= DEEPEST:  # two steps a level, one for the attribute, and there may be {"Item": …}
        raise Misfit(steps, TOO_DEEP)
    return {kind: READERS[kind](content, (*steps, kind))}


def is_typed(value: Any) -> bool:
    """Return whether a value looks like a typed one."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in READERS


def from_plain(value: Any) -> Value:
    """Return plain JSON as a typed value: string S, number N, boolean BOOL, null NULL, object M, array L.

    Checks nothing: `read_item` does.
    """
    if isinstance(value, bool):
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | float | Decimal):
        return {"N": str(value)}
    if isinstance(value, dict):
        return {"M": {name: from_plain(inner) for name, inner in value.items()}}
    return {"L": [from_plain(inner) for inner in value]}


def as_written(value: Value) -> Value:
    """Return a value as it is written: sets sorted, binary as base64 text. The writer sorts attribute names."""
    ((kind, content),) = value.items()
    if kind == "B":
        return {"B": base64_text(content)}
    if kind == "M":
        return {"M": {name: as_written(inner) for name, inner in content.items()}}
    if kind == "L":
        return {"L": [as_written(inner) for inner in content]}
    if kind == "NS":
        return {"NS": sorted(content, key=lambda number: (Decimal(number), number))}
    if kind in ("SS", "BS"):
        return {kind: sorted(map(base64_text, content) if kind == "BS" else content)}
    return value


def comparable(value: Value) -> Any:
    """Return a value in a form that compares equal if DynamoDB treats two values as equal."""
    ((kind, content),) = value.items()
    if kind == "N":
        return kind, Decimal(content)
    if kind == "B":
        return kind, base64_text(content)
    if kind == "NS":
        return kind, frozenset(map(Decimal, content))
    if kind in ("SS", "BS"):
        return kind, frozenset(map(base64_text, content) if kind == "BS" else content)
    if kind == "M":
        return kind, {name: comparable(inner) for name, inner in content.items()}
    return (kind, [comparable(inner) for inner in content]) if kind == "L" else (kind, content)


def comparable_item(item: Item) -> dict[str, Any]:
    """Return an item in a form that compares equal for items with the same contents."""
    return {name: comparable(value) for name, value in item.items()}


def key_text(value: Value) -> str:
    """Return the value of a key as text that is the same if DynamoDB treats two values as equal."""
    ((kind, content),) = value.items()
    return number_text(content) if kind == "N" else base64_text(content)


def base64_text(content: bytes | str) -> str:
    """Return binary as base64 text: boto3 returns bytes, a local engine base64 text."""
    return base64.b64encode(content).decode() if isinstance(content, bytes) else content


def item_bytes(item: Item) -> int:
    """Estimate the size of an item as DynamoDB counts it: the size of numbers is documented only approximately."""
    return sum(_text_bytes(name) + value_bytes(value) for name, value in item.items())


def value_bytes(value: Value) -> int:
    """Estimate the size of a value; exact for text and binary."""
    ((kind, content),) = value.items()
    if kind == "S":
        return _text_bytes(content)
    if kind == "B":
        return len(content)
    if kind == "N":
        return (_significant(content) + 1) // 2 + 1
    if kind == "M":
        return 3 + sum(1 + _text_bytes(name) + value_bytes(inner) for name, inner in content.items())
    if kind == "L":
        return 3 + sum(1 + value_bytes(inner) for inner in content)
    if kind in ("SS", "NS", "BS"):
        return sum(value_bytes({kind[0]: entry}) for entry in content)
    return 1


def _text_bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _significant(number: str) -> int:
    """Return the number of digits without leading and trailing zeros."""
    return len(re.sub("[eE].*", "", number).replace(".", "").strip("+-0"))


def _read_text(content: Any, steps: Steps) -> str:
    if not isinstance(content, str):
        raise Misfit(steps, f"wanted text, found {quoted(content)}")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise Misfit(steps, f"half of a surrogate pair at character {error.start + 1}") from error
    return content


def _read_number(content: Any, steps: Steps) -> str:
    if not isinstance(content, str) or not NUMBER.fullmatch(content):
        raise Misfit(steps, f'wanted a number in quotes such as "1.5", found {quoted(content)}')
    if _significant(content) > DIGITS:
        raise Misfit(steps, f"{shorten(content)} has more than the {DIGITS} digits that DynamoDB stores")
    number = Decimal(content)
    if number and not SMALLEST <= number.adjusted() <= LARGEST:
        raise Misfit(steps, f"{shorten(content)} is out of DynamoDB's range, 1E{SMALLEST} to 9.9E+{LARGEST}")
    return content


def _read_binary(content: Any, steps: Steps) -> bytes:
    try:
        return base64.b64decode(_read_text(content, steps), validate=True)
    except binascii.Error as error:
        raise Misfit(steps, f"not base64: {str(error)[:1].lower()}{str(error)[1:]}") from error


def _read_flag(content: Any, steps: Steps) -> bool:
    if not isinstance(content, bool):
        raise Misfit(steps, f"wanted true or false, found {quoted(content)}")
    return content


def _read_null(content: Any, steps: Steps) -> bool:
    if content is not True:
        raise Misfit(steps, f"wanted true, found {quoted(content)}")
    return True


def _read_map(content: Any, steps: Steps) -> Item:
    if not isinstance(content, dict):
        raise Misfit(steps, f"wanted an object of typed values, found {quoted(content)}")
    return {name: read_value(value, (*steps, name)) for name, value in content.items()}


def _read_list(content: Any, steps: Steps) -> list[Value]:
    if not isinstance(content, list):
        raise Misfit(steps, f"wanted a list of typed values, found {quoted(content)}")
    return [read_value(value, (*steps, index)) for index, value in enumerate(content)]


def _set_of(read: Callable[[Any, Steps], Any], key: Callable[[Any], Any]) -> Callable[[Any, Steps], list[Any]]:
    def read_set(content: Any, steps: Steps) -> list[Any]:
        if not isinstance(content, list) or not content:
            raise Misfit(steps, f"wanted a set, a list of at least one entry, found {quoted(content)}")
        entries = [read(entry, (*steps, index)) for index, entry in enumerate(content)]
        if len(set(map(key, entries))) != len(entries):
            raise Misfit(steps, "duplicate entry in a set")
        return entries

    return read_set


def quoted(value: Any) -> str:
    """Return a value as JSON, shortened for a message."""
    return shorten(json.dumps(value, ensure_ascii=False, default=str))


def shorten(text: str) -> str:
    """Shorten a text for a message."""
    return text if len(text) <= 40 else f"{text[:39]}…"


READERS: dict[str, Callable[[Any, Steps], Any]] = {
    "S": _read_text,
    "N": _read_number,
    "B": _read_binary,
    "BOOL": _read_flag,
    "NULL": _read_null,
    "M": _read_map,
    "L": _read_list,
    "SS": _set_of(_read_text, str),
    "NS": _set_of(_read_number, Decimal),
    "BS": _set_of(_read_binary, bytes),
}
