"""Scanning: every page, and how items are written for people and for programs."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.localenv.dynamodb.client import TableMissing, connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.scan import as_text, plain, scan
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.settings import Settings


@pytest.fixture
def five(fresh: Settings) -> Settings:
    """Settings of a table with five items of 400 kB: three pages."""
    client = connect(fresh)
    apply_tables(client, read_tables(fresh))
    items = ({"pk": {"S": "a"}, "sk": {"S": str(number)}, "text": {"S": "x" * 400_000}} for number in range(5))
    write(client, fresh.message_table, puts(items))
    return fresh


@pytest.mark.parametrize(
    ("limit", "wanted"), [(0, "01234"), (1, "0"), (3, "012"), (4, "0123"), (5, "01234"), (9, "01234")]
)
def test_a_scan_goes_through_the_pages_up_to_its_limit(five: Settings, limit: int, wanted: str) -> None:
    assert "".join(item["sk"]["S"] for item in scan(connect(five), five.message_table, limit=limit)) == wanted


def test_pages_are_fetched_as_items_are_taken(five: Settings) -> None:
    calls: list[Any] = []
    client = connect(five)

    class Counting:
        def scan(self, **query: Any) -> Any:
            calls.append(query)
            return client.scan(**query)

    counting: Any = Counting()
    next(scan(counting, five.message_table))
    assert len(calls) == 1


def test_a_missing_table_is_said(fresh: Settings) -> None:
    with pytest.raises(TableMissing, match=f"table {fresh.message_table} does not exist"):
        list(scan(connect(fresh), fresh.message_table))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"S": "ñ"}, "ñ"),
        ({"N": "12"}, 12),
        ({"N": "-1.5"}, -1.5),
        ({"N": "1E+3"}, 1000),
        ({"N": "12345678901234567890123456789012345678"}, 12345678901234567890123456789012345678),
        ({"N": "0.12345678901234567890123456789"}, "0.12345678901234567890123456789"),
        ({"N": "1E+125"}, 1e125),
        ({"BOOL": False}, False),
        ({"NULL": True}, None),
        ({"B": b"\x00\xff"}, "AP8="),
        ({"B": "AP8="}, "AP8="),
        ({"SS": ["b", "a"]}, ["a", "b"]),
        ({"NS": ["10", "9"]}, [9, 10]),
        ({"BS": [b"b", b"a"]}, ["YQ==", "Yg=="]),
        ({"L": [{"S": "x"}, {"M": {"k": {"N": "1"}}}]}, ["x", {"k": 1}]),
        ({"M": {}}, {}),
    ],
)
def test_a_value_is_written_as_json_has_it(value: dict[str, Any], wanted: Any) -> None:
    assert plain(value) == wanted


def test_an_item_for_people_has_its_key_first_and_the_rest_aligned() -> None:
    item: dict[str, dict[str, Any]] = {
        "sk": {"S": "2026"},
        "message": {"S": 'Hi\x1b[31m "you"\u202e 🐕'},
        "pk": {"S": "MSG#1"},
        "likes": {"N": "3"},
        "tags": {"SS": ["b", "a"]},
    }
    assert as_text(item, ("pk", "sk")) == [
        "MSG#1  2026",
        "  likes    3",
        '  message  Hi\\u001b[31m "you"\\u202e 🐕',
        '  tags     ["a", "b"]',
    ]
