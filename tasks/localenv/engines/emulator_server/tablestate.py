"""What is in the saved state of a DynamoDB table: its items. Knows the form of the file alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .poolstate import PAYLOAD


def items_of(state: bytes) -> Iterator[dict[str, Any]]:
    """Yield the items of a table, as DynamoDB JSON. Raises ValueError for anything else than its state."""
    try:
        for table in json.loads(state)[PAYLOAD]["tables"]["data"].values():
            for partition in table["items"].values():
                yield from partition.values()
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no state of a table") from error
