"""What a look at the whole table puts right, when nobody has followed its stream."""

from __future__ import annotations

from typing import Any

import pytest

from ddb import consistency, messages
from ddb.causes import UNFOUND
from ddb.consistency import Survey
from ddb.repairs import Repaired, repair
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.postgres.handles import User
from tasks.localenv.settings import Settings
from tests.support.chats import (
    ANDREW,
    BAYKO,
    GROUP,
    LONDO,
    NOW,
    ago,
    dump,
    make_seed,
    messages_of,
    plant,
    rows_of,
    send,
)


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of a table with a conversation of two messages."""
    apply_tables(connect(fresh), read_tables(fresh))
    plant(fresh, make_seed(["one", "two"]), now=ago(minutes=1))
    return fresh


def survey(settings: Settings) -> Survey:
    found = Survey()
    for item in scan(connect(settings), settings.message_table):
        found.add(item)
    return found


def repaired(settings: Settings, *users: User) -> list[Repaired]:
    return list(repair(connect(settings), settings.message_table, survey(settings), users))


def own_rows(settings: Settings, user: User) -> list[Any]:
    return list(messages.each_group_row_of(connect(settings), settings.message_table, user.uuid))


def remove(settings: Settings, *rows: Any) -> None:
    for row in rows:
        connect(settings).delete_item(TableName=settings.message_table, Key=messages.key_of(row))


RIGHT = [
    ("andrewbrown", "2026-11-21T09:29:00.000000+00:00", "bayko", "two"),
    ("bayko", "2026-11-21T09:29:00.000000+00:00", "andrewbrown", "two"),
]


def test_rows_that_are_right_are_left(table: Settings) -> None:
    assert (repaired(table), repaired(table, ANDREW, BAYKO), rows_of(table)) == ([], [], RIGHT)


def test_a_missing_row_and_both_missing_rows_are_made_with_the_names_in_the_messages(table: Settings) -> None:
    remove(table, *own_rows(table, BAYKO))
    assert (repaired(table), rows_of(table)) == ([Repaired(GROUP, 1)], RIGHT)
    remove(table, *own_rows(table, BAYKO), *own_rows(table, ANDREW))
    assert (repaired(table), rows_of(table)) == ([Repaired(GROUP, 2)], RIGHT)


def test_surplus_rows_and_rows_without_a_message_go(table: Settings) -> None:
    (row,) = own_rows(table, BAYKO)
    old = {**row, "sk": {"S": messages.format_time(ago(days=1))}}
    lost = {**old, "message_group_uuid": {"S": "99999999-0000-4000-8000-000000000000"}}
    for item in (old, {**lost, "pk": {"S": f"GRP#{LONDO.uuid}"}}):
        connect(table).put_item(TableName=table.message_table, Item=item)
    assert sorted(one.moved for one in repaired(table)) == [1, 1]
    assert (rows_of(table), len(dump(table))) == (RIGHT, 4)


def test_names_of_today_come_into_the_rows_and_not_into_the_messages(table: Settings) -> None:
    bay = User(BAYKO.uuid, "bay", "Bay")
    assert repaired(table, bay, ANDREW) == [Repaired(GROUP, 1)]
    assert [row[2] for row in rows_of(table)] == ["bay", "andrewbrown"]
    assert {handle for _, handle, _ in messages_of(table)} == {"andrewbrown", "bayko"}
    assert repaired(table, bay, ANDREW) == []


def test_a_third_user_is_left_as_found_and_the_rows_follow(table: Settings) -> None:
    (row,) = own_rows(table, BAYKO)
    connect(table).put_item(TableName=table.message_table, Item={**row, "pk": {"S": f"GRP#{LONDO.uuid}"}})
    send(table, "three", NOW)
    assert repaired(table, ANDREW, BAYKO) == [Repaired(GROUP, 6)]
    assert [(row[0], row[3]) for row in rows_of(table)] == [
        ("andrewbrown", "three"),
        ("bayko", "three"),
        ("londo", "three"),
    ]


def test_after_a_repair_only_what_it_cannot_know_is_left(table: Settings) -> None:
    client, name = connect(table), table.message_table
    other, alone = "88888888-0000-4000-8000-000000000000", "99999999-0000-4000-8000-000000000000"
    remove(table, *own_rows(table, ANDREW))
    send(table, "late", NOW)
    send(table, "?", ago(minutes=2), group=alone)
    for sender in (BAYKO, LONDO):
        send(table, "hi", ago(minutes=3 + (sender is LONDO)), sender=sender, group=other)
    repaired(table)
    found = consistency.confirmed(client, name, survey(table).faults(), sleep=lambda seconds: None)
    assert [(fault.group, fault.cause) for fault in found] == [(alone, UNFOUND)]
