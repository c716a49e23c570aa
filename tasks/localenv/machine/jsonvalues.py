"""Values as JSON carries them between programs: typed, and none that a reader would round."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timezone
from typing import Any

SAFE_INTEGER = 2**53 - 1
"""The largest whole number that every reader keeps (RFC 8259, section 6)."""


def plain(value: Any) -> Any:
    """Return a value as JSON has it: records as objects, times in ISO 8601, exact numbers and what is left as text.

    Whole numbers beyond 2^53 - 1 and decimals become text, and so do numbers that JSON has not (NaN, Infinity).
    Binary becomes base64.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | Set):
        return [plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    return str(value)


def iso_time(epoch_s: float) -> str | None:
    """Return seconds since 1970 as a time in UTC, to the second; None for 0, which stands for an unknown time."""
    return datetime.fromtimestamp(int(epoch_s), timezone.utc).isoformat() if epoch_s else None
