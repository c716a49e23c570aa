"""The app's items: their exact shapes, and the app's own readers on seeded data."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ddb import messages
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.settings import Settings
from tests.support.boto import local_client
from tests.support.chats import ANDREW, BAYKO, GROUP, LONDO, NOW, ago, make_seed, plant, send

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MESSAGE = messages.message_item(GROUP, NOW, "0d3e", "Hello!", ANDREW)


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    return fresh


@pytest.fixture
def boto3_client(table: Settings) -> DynamoDBClient:
    """The client that the app itself uses."""
    return local_client(table, "dynamodb")


def test_a_message_has_these_attributes_and_no_others() -> None:
    assert messages.message_item(GROUP, NOW, "0d3e", "Hello!", ANDREW) == {
        "pk": {"S": f"MSG#{GROUP}"},
        "sk": {"S": "2026-11-21T09:30:00.000000+00:00"},
        "message_uuid": {"S": "0d3e"},
        "message": {"S": "Hello!"},
        "user_uuid": {"S": ANDREW.uuid},
        "user_display_name": {"S": "Andrew Brown"},
        "user_handle": {"S": "andrewbrown"},
    }


def test_each_of_the_two_has_a_row_with_the_other_ones_data() -> None:
    assert messages.group_items(GROUP, MESSAGE, (ANDREW, BAYKO)) == [
        {
            "pk": {"S": f"GRP#{ANDREW.uuid}"},
            "sk": {"S": "2026-11-21T09:30:00.000000+00:00"},
            "message_group_uuid": {"S": GROUP},
            "message": {"S": "Hello!"},
            "user_uuid": {"S": BAYKO.uuid},
            "user_display_name": {"S": "Andrew Bayko"},
            "user_handle": {"S": "bayko"},
        },
        {
            "pk": {"S": f"GRP#{BAYKO.uuid}"},
            "sk": {"S": "2026-11-21T09:30:00.000000+00:00"},
            "message_group_uuid": {"S": GROUP},
            "message": {"S": "Hello!"},
            "user_uuid": {"S": ANDREW.uuid},
            "user_display_name": {"S": "Andrew Brown"},
            "user_handle": {"S": "andrewbrown"},
        },
    ]


@pytest.mark.parametrize(
    ("at", "sort_key"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "2026-01-02T03:04:05.000000+00:00"),
        (datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=timezone.utc), "2026-01-02T03:04:05.000060+00:00"),
        (
            datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-5))),
            "2026-01-02T03:04:05.000006-05:00",
        ),
    ],
)
def test_a_time_is_written_with_microseconds_and_offset_and_read_again(at: datetime, sort_key: str) -> None:
    assert (messages.format_time(at), messages.parse_time(sort_key)) == (sort_key, at)


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="a time without its offset"):
        messages.format_time(datetime(2026, 1, 2))


def test_the_users_in_an_item_are_named() -> None:
    row, _ = messages.group_items(GROUP, MESSAGE, (ANDREW, BAYKO))
    assert (messages.user_references(MESSAGE), messages.user_references(row), messages.user_references({})) == (
        [(ANDREW.uuid, "andrewbrown")],
        [(ANDREW.uuid, ""), (BAYKO.uuid, "bayko")],
        [],
    )


def as_the_app_reads(client: DynamoDBClient, table: str, pk: str, year: str) -> list[dict[str, str]]:
    """Read as the app does: this year's, newest first, twenty at most."""
    answer = client.query(
        TableName=table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :year)",
        ExpressionAttributeValues={":pk": {"S": pk}, ":year": {"S": year}},
        ScanIndexForward=False,
        Limit=20,
    )
    return [{name: value["S"] for name, value in item.items()} for item in answer["Items"]]


def test_the_app_sees_the_newest_twenty_of_this_year_newest_first(
    table: Settings, boto3_client: DynamoDBClient
) -> None:
    plant(table, make_seed([f"line {number}" for number in range(1, 31)]))
    send(table, "from last year", ago(days=365))
    found = as_the_app_reads(boto3_client, table.message_table, f"MSG#{GROUP}", "2026")
    assert [item["message"] for item in found] == [f"line {number}" for number in range(30, 10, -1)]
    assert found[0] == {
        "pk": f"MSG#{GROUP}",
        "sk": "2026-11-21T09:30:00.000000+00:00",
        "message_uuid": found[0]["message_uuid"],
        "message": "line 30",
        "user_uuid": BAYKO.uuid,
        "user_display_name": "Andrew Bayko",
        "user_handle": "bayko",
    }


def test_messages_come_newest_first_page_by_page_also_those_of_last_year(
    table: Settings, boto3_client: DynamoDBClient
) -> None:
    plant(table, make_seed([f"line {number}" for number in range(1, 5)]))
    send(table, "from last year", ago(days=365))
    pages: list[list[str]] = []
    cursor = ""
    while not pages or cursor:
        page = messages.list_messages(boto3_client, table.message_table, GROUP, limit=2, before=cursor)
        pages.append([item["message"] for item in page.items])
        cursor = page.cursor
    assert pages == [["line 4", "line 3"], ["line 2", "line 1"], ["from last year"]]


def test_the_last_page_has_no_cursor_even_when_it_is_full(table: Settings, boto3_client: DynamoDBClient) -> None:
    plant(table, make_seed(["line 1", "line 2"]))
    page = messages.list_messages(boto3_client, table.message_table, GROUP, limit=2)
    assert ([item["message"] for item in page.items], page.cursor) == (["line 2", "line 1"], "")
    assert page.capacity == {"total": 0.5, "table": 0.5, "index": 0.0}


def test_a_page_of_nothing_is_refused_and_one_of_everything_is_not(
    table: Settings, boto3_client: DynamoDBClient
) -> None:
    plant(table, make_seed(["line 1", "line 2"]))
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f"limit={limit}: a page has one item at least"):
            messages.list_messages(boto3_client, table.message_table, GROUP, limit=limit)
    asked: list[int] = []

    def query(**parameters: Any) -> Any:
        asked.append(parameters["Limit"])
        return boto3_client.query(**parameters)

    client: Any = SimpleNamespace(query=query)
    page = messages.list_messages(client, table.message_table, GROUP, limit=2**31 - 1)
    assert ([item["message"] for item in page.items], page.cursor, asked) == (["line 2", "line 1"], "", [1000])


def test_a_page_of_large_messages_is_full_too(table: Settings, boto3_client: DynamoDBClient) -> None:
    plant(table, make_seed([f"{number} {'x' * 300_000}" for number in range(8)]))
    page = messages.list_messages(boto3_client, table.message_table, GROUP, limit=7)
    assert [item["message"][0] for item in page.items] == list("7654321")
    assert page.cursor == page.items[-1]["sk"]


def test_the_app_sees_its_groups_newest_first(table: Settings, boto3_client: DynamoDBClient) -> None:
    other = "0f6b6d0e-3c41-4b7e-9a55-7d1c5a0e9b42"
    plant(table, make_seed(["hi", "hello"]), make_seed(["Londo?", "Yes!"], group=other, users=(ANDREW, LONDO)))
    found = messages.list_message_groups(boto3_client, table.message_table, ANDREW.uuid)
    assert [(row["message_group_uuid"], row["user_handle"], row["message"]) for row in found.items] == [
        (GROUP, "bayko", "hello"),
        (other, "londo", "Yes!"),
    ]
    assert found.cursor == ""
    assert as_the_app_reads(boto3_client, table.message_table, f"GRP#{ANDREW.uuid}", "2026") == found.items


def test_the_index_holds_group_rows_only(table: Settings, boto3_client: DynamoDBClient) -> None:
    plant(table, make_seed(["hi", "hello", "how are you?"]))
    found = boto3_client.scan(TableName=table.message_table, IndexName="message-group-sk-index")["Items"]
    assert sorted(item["pk"]["S"] for item in found) == [f"GRP#{ANDREW.uuid}", f"GRP#{BAYKO.uuid}"]
    rows = messages.each_row_in_group(boto3_client, table.message_table, GROUP)
    assert sorted(row["pk"]["S"] for row in rows) == [f"GRP#{ANDREW.uuid}", f"GRP#{BAYKO.uuid}"]


def test_all_messages_come_however_many_pages_they_fill(table: Settings, boto3_client: DynamoDBClient) -> None:
    plant(table, make_seed([f"{number} {'x' * 300_000}" for number in range(8)]))
    found = messages.each_message(boto3_client, table.message_table, GROUP)
    assert [item["message"]["S"].split()[0] for item in found] == list("76543210")
