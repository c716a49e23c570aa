"""Seeding conversations: what is written, what a second time does, and what users sent in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ddb import messages
from ddb.messages import format_time
from ddb.seeding import check_sizes
from ddb.seeding.conversation import Mistake
from ddb.seeding.stored import message_id
from ddb.streams import group_rows, transactions
from tasks.localenv.dynamodb import itemwriter
from tasks.localenv.dynamodb.client import TableMissing, connect
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.settings import Settings
from tests.support import chats
from tests.support.chats import (
    ANDREW,
    BAYKO,
    GROUP,
    LONDO,
    NOW,
    ago,
    dump,
    make_seed,
    make_seeding,
    messages_of,
    plant,
    rows_of,
    send,
)

OTHER_GROUP = "0f6b6d0e-3c41-4b7e-9a55-7d1c5a0e9b42"
THREE = make_seed(["one", "two", "three"])
SEEDED = [
    ("09:28:00.000000", "andrewbrown", "one"),
    ("09:29:00.000000", "bayko", "two"),
    ("09:30:00.000000", "andrewbrown", "three"),
]
ROWS = [
    ("andrewbrown", "2026-11-21T09:30:00.000000+00:00", "bayko", "three"),
    ("bayko", "2026-11-21T09:30:00.000000+00:00", "andrewbrown", "three"),
]


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    return fresh


def check(settings: Settings, *seeds: Any, now: datetime = NOW) -> str | None:
    return make_seeding(settings, *seeds, now=now).check()


def test_messages_are_a_minute_apart_and_the_last_one_is_now(table: Settings) -> None:
    assert plant(table, THREE) == "3 messages written, the last one now, 2 group rows written"
    assert (messages_of(table), rows_of(table)) == (SEEDED, ROWS)


def test_ids_follow_from_group_and_number(table: Settings) -> None:
    plant(table, THREE)
    found = [item["message_uuid"] for item in dump(table) if "message_uuid" in item]
    assert found == [message_id(GROUP, number) for number in range(3)]
    assert message_id(GROUP, 0) == "963534b3-d5a0-5712-a871-6ec7128ab8a9"


def test_a_second_seed_changes_nothing(table: Settings) -> None:
    plant(table, THREE)
    before = dump(table)
    later = NOW + timedelta(hours=3)
    assert check(table, THREE, now=later) == "3 messages and 2 group rows unchanged, last one 3 h ago"
    assert plant(table, THREE, now=later) == "nothing to do"
    assert dump(table) == before


def test_asked_for_anew_the_last_one_is_now_again(table: Settings) -> None:
    plant(table, THREE)
    later = NOW + timedelta(hours=3)
    assert plant(table, THREE, now=later, anew=True) == (
        "3 messages written, the last one now, 2 group rows written, 5 old items removed"
    )
    assert [at for at, _, _ in messages_of(table)] == ["12:28:00.000000", "12:29:00.000000", "12:30:00.000000"]


def test_nothing_seeded_is_no_reason_to_skip(table: Settings) -> None:
    assert check(table, THREE) is None


def test_without_the_table_there_is_nothing_to_check(fresh: Settings) -> None:
    with pytest.raises(TableMissing):
        check(fresh, THREE)


@pytest.mark.parametrize(
    "changed",
    [
        make_seed(["one", "two", "three!"]),
        make_seed(["one", "two"]),
        make_seed(["one", "two", "three", "four"]),
        make_seed([f"line {number}" for number in range(150)]),
        make_seed(["one", "two", "three"], users=(replace(ANDREW, uuid=LONDO.uuid), BAYKO)),
        make_seed(["one", "two", "three"], users=(replace(ANDREW, handle="andy"), BAYKO)),
        make_seed(["one", "two", "three"], users=(ANDREW, replace(BAYKO, display_name="A. B."))),
        make_seed(["one", "two", "three"], users=(BAYKO, ANDREW)),
    ],
    ids=["text", "shorter", "longer", "much longer", "uuid", "handle", "display name", "people swapped"],
)
def test_a_changed_conversation_replaces_the_old_one_whole(table: Settings, changed: Any) -> None:
    later = NOW + timedelta(hours=1)
    plant(table, changed, now=later)
    wanted = dump(table)
    plant(table, THREE, now=later)
    assert check(table, changed, now=later) is None
    plant(table, changed, now=later)
    assert dump(table) == wanted
    plant(table, THREE, now=NOW)
    plant(table, changed, now=later)
    assert dump(table) == wanted


def test_a_long_old_conversation_goes_away_whole_for_a_short_one(table: Settings) -> None:
    plant(table, make_seed([f"line {number}" for number in range(2500)]), now=ago(minutes=7))
    plant(table, THREE)
    assert (messages_of(table), rows_of(table)) == (SEEDED, ROWS)


def test_sent_messages_stay_and_the_rows_carry_the_true_last_one(table: Settings) -> None:
    plant(table, THREE, now=ago(hours=2))
    sent = send(table, "and by hand", ago(hours=1, seconds=-7))
    assert check(table, THREE) is None  # the rows do not know of it: nobody wrote them anew
    assert plant(table, THREE) == "2 group rows written, 2 old items removed, 1 sent message kept"
    sort_key = sent["sk"]["S"]
    assert rows_of(table) == [
        ("andrewbrown", sort_key, "bayko", "and by hand"),
        ("bayko", sort_key, "andrewbrown", "and by hand"),
    ]
    assert check(table, THREE) == "3 messages and 2 group rows unchanged, last one 2 h ago"


def test_sent_messages_survive_a_new_seed(table: Settings) -> None:
    plant(table, THREE, now=ago(hours=2))
    send(table, "before", ago(hours=3))
    send(table, "between", ago(hours=1))
    send(table, "after", NOW + timedelta(seconds=30), sender=ANDREW)
    changed = make_seed(["ONE", "TWO", "THREE"])
    assert plant(table, changed).endswith("3 sent messages kept")
    assert [text for _, _, text in messages_of(table)] == ["before", "between", "ONE", "TWO", "THREE", "after"]
    assert {row[3] for row in rows_of(table)} == {"after"}


def test_a_sent_message_at_the_very_time_of_a_seeded_one_is_not_overwritten(table: Settings) -> None:
    send(table, "was here first", ago(minutes=2))
    plant(table, THREE)
    assert messages_of(table) == [
        ("09:27:59.999999", "andrewbrown", "one"),
        ("09:28:00.000000", "bayko", "was here first"),
        ("09:28:59.999999", "bayko", "two"),
        ("09:29:59.999999", "andrewbrown", "three"),
    ]


def test_two_conversations_of_one_user_do_not_share_a_row(table: Settings) -> None:
    other = make_seed(["Londo?"], group=OTHER_GROUP, users=(ANDREW, LONDO))
    plant(table, THREE, other)
    assert rows_of(table) == ROWS
    assert rows_of(table, OTHER_GROUP) == [
        ("andrewbrown", "2026-11-21T09:29:59.999999+00:00", "londo", "Londo?"),
        ("londo", "2026-11-21T09:29:59.999999+00:00", "andrewbrown", "Londo?"),
    ]
    assert check(table, THREE, other) == "4 messages and 4 group rows unchanged, last one 0 s ago"


def test_another_group_is_left_alone(table: Settings) -> None:
    other = make_seed(["Londo?"], group=OTHER_GROUP, users=(ANDREW, LONDO))
    plant(table, other)
    before = dump(table)
    plant(table, THREE)
    plant(table, make_seed(["four"]), now=NOW + timedelta(minutes=5))
    assert [item for item in dump(table) if item in before] == before


def test_doubled_and_foreign_rows_are_tidied_up(table: Settings) -> None:
    plant(table, THREE)
    client = connect(table)
    row = next(item for item in _raw(table) if item["pk"]["S"] == f"GRP#{ANDREW.uuid}")
    client.put_item(TableName=table.message_table, Item={**row, "sk": {"S": "2026-11-20T00:00:00.000000+00:00"}})
    client.put_item(TableName=table.message_table, Item={**row, "pk": {"S": f"GRP#{LONDO.uuid}"}})
    assert check(table, THREE) is None
    assert plant(table, THREE) == "2 old items removed"
    assert (messages_of(table), rows_of(table)) == (SEEDED, ROWS)


def test_a_lost_row_comes_back(table: Settings) -> None:
    plant(table, THREE)
    key = {"pk": {"S": f"GRP#{ANDREW.uuid}"}, "sk": {"S": ROWS[0][1]}}
    connect(table).delete_item(TableName=table.message_table, Key=key)
    assert check(table, THREE) is None
    assert plant(table, THREE, now=NOW + timedelta(hours=1)) == "1 group row written"
    assert (messages_of(table), rows_of(table)) == (SEEDED, ROWS)


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        (
            datetime(2025, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
            "begun in 2025, and the app shows those of this year",
        ),
        (NOW + timedelta(microseconds=1), "in the future"),
    ],
)
def test_what_the_app_would_not_show_is_seeded_anew(table: Settings, planted: datetime, why: str) -> None:
    plant(table, THREE, now=planted)
    assert check(table, THREE) is None
    assert make_seeding(table, THREE).plan_lines() == [
        f"+ 3 messages of talk.txt ({why})",
        f"- 3 old messages of talk.txt ({why})",
        f"+ 2 group rows of talk.txt ({why})",
        f"- 2 old group rows of talk.txt ({why})",
    ]
    plant(table, THREE)
    assert (messages_of(table), rows_of(table)) == (SEEDED, ROWS)


def test_a_conversation_across_new_year_is_seeded_anew_once_it_fits_into_the_year(table: Settings) -> None:
    plant(table, THREE, now=datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc))
    too_early, in_time = (datetime(2026, 1, 1, 0, minute, tzinfo=timezone.utc) for minute in (1, 2))
    assert check(table, THREE, now=too_early) == "3 messages and 2 group rows unchanged, last one 0 s ago"
    assert check(table, THREE, now=in_time) is None
    plant(table, THREE, now=in_time)
    assert [at[:5] for at, _, _ in messages_of(table)] == ["00:00", "00:01", "00:02"]


def test_a_missing_or_changed_message_is_noticed(table: Settings) -> None:
    plant(table, THREE)
    client = connect(table)
    second = next(item for item in _raw(table) if item.get("message") == {"S": "two"})
    key = {"pk": second["pk"], "sk": second["sk"]}
    client.delete_item(TableName=table.message_table, Key=key)
    assert check(table, THREE) is None
    client.put_item(TableName=table.message_table, Item={**second, "extra": {"S": "x"}})
    assert check(table, THREE) is None
    client.put_item(TableName=table.message_table, Item={**second, "sk": {"S": "2026-11-21T09:29:01.000000+00:00"}})
    assert check(table, THREE) is None
    client.put_item(TableName=table.message_table, Item={**second, "sk": {"S": "yesterday"}})
    assert check(table, THREE) is None
    plant(table, THREE)
    assert (messages_of(table), rows_of(table)) == (SEEDED, ROWS)


def test_an_id_that_only_looks_derived_is_a_sent_message(table: Settings) -> None:
    item = send(table, "mine", ago(hours=1))
    foreign = {**item, "message_uuid": {"S": "6f1c7a5e-2f39-5c0b-9a64-0f6f0b8b1d11"}}
    connect(table).put_item(TableName=table.message_table, Item=foreign)
    plant(table, THREE)
    assert [text for _, _, text in messages_of(table)] == ["mine", "one", "two", "three"]
    assert check(table, THREE) == "3 messages and 2 group rows unchanged, last one 0 s ago"


class CutShort(Exception):
    """Stands for kill -9: the run ends here, whatever it was about to do."""


@pytest.mark.parametrize("calls", range(11))
@pytest.mark.reliability("kills")
def test_a_run_cut_short_anywhere_is_repaired_by_the_next(
    table: Settings, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    long = [f"line {number}" for number in range(120)]
    plant(table, make_seed(long), now=ago(hours=2))
    send(table, "by hand", ago(hours=1, seconds=-7))
    changed = make_seed([*long[:100], "changed"])
    made = [0]

    def cut(original: Any) -> Any:
        def counted(*words: Any) -> Any:
            made[0] += 1
            if made[0] > calls:
                raise CutShort
            return original(*words)

        return counted

    monkeypatch.setattr(itemwriter, "_send", cut(itemwriter._send))
    monkeypatch.setattr(group_rows, "commit", cut(transactions.commit))
    with pytest.raises(CutShort):
        plant(table, changed, now=ago(minutes=30))
    monkeypatch.undo()
    plant(table, changed)
    texts = [text for _, _, text in messages_of(table)]
    assert sorted(texts) == sorted([*long[:100], "changed", "by hand"])
    assert [text for text in texts if text != "by hand"] == [*long[:100], "changed"]
    minutes = 30 if calls == 10 else 0  # then all that was missing were the rows
    at = format_time(ago(minutes=minutes))
    assert rows_of(table) == [(row[0], at, row[2], "changed") for row in ROWS]
    age = "30 min ago" if minutes else "0 s ago"
    assert check(table, changed) == f"101 messages and 2 group rows unchanged, last one {age}"


@pytest.mark.parametrize("calls", range(4))
def test_a_message_sent_while_a_seed_runs_stays_the_last_one(
    table: Settings, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    plant(table, THREE, now=ago(hours=2))
    made = [0]

    def sending(original: Any) -> Any:
        def then(*words: Any, **options: Any) -> Any:
            made[0] += 1
            if made[0] == calls + 1:
                at = NOW + timedelta(seconds=1)
                messages.create_message(connect(table), table.message_table, GROUP, BAYKO, "meanwhile", at=at)
            return original(*words, **options)

        return then

    monkeypatch.setattr(chats, "write", sending(itemwriter.write))
    monkeypatch.setattr(group_rows, "newest_message", sending(group_rows.newest_message))
    monkeypatch.setattr(group_rows, "find_rows", sending(group_rows.find_rows))
    plant(table, make_seed(["ONE", "TWO"]))
    assert [text for _, _, text in messages_of(table)] == ["ONE", "TWO", "meanwhile"]
    time = "2026-11-21T09:30:01.000000+00:00"
    assert rows_of(table) == [
        ("andrewbrown", time, "bayko", "meanwhile"),
        ("bayko", time, "andrewbrown", "meanwhile"),
    ]
    assert check(table, make_seed(["ONE", "TWO"])) == "2 messages and 2 group rows unchanged, last one 0 s ago"


def test_an_item_too_large_is_found_before_anything_is_written(table: Settings) -> None:
    seed = make_seed(["fine", "é" * 204_750])
    with pytest.raises(Mistake) as caught:
        check_sizes(seed, NOW)
    assert (caught.value.message, caught.value.hint) == (
        "talk.txt:5: an item of 409,733 bytes, and DynamoDB takes 409,600 at most",
        "shorten this message",
    )


def test_the_largest_item_allowed_is_taken(table: Settings) -> None:
    seed = make_seed(["fine", "é" * 204_683])
    check_sizes(seed, NOW)
    plant(table, seed)
    assert check(table, seed) == "2 messages and 2 group rows unchanged, last one 0 s ago"


def _raw(settings: Settings) -> list[dict[str, Any]]:
    found: Any = connect(settings).scan(TableName=settings.message_table)["Items"]
    return list(found)
