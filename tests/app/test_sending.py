"""Sending: new groups and existing ones, many senders at once, clocks that differ, and what is refused."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from ddb import claims, messages
from ddb.consistency import Survey
from ddb.messages import NotSent, Sent
from ddb.streams import transactions
from tasks.localenv.aws.wire import AwsError
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.machine.parallel import side_by_side
from tasks.localenv.settings import Settings
from tests.support.boto import local_client
from tests.support.chats import (
    ANDREW,
    BAYKO,
    GROUP,
    LONDO,
    NOW,
    dump,
    make_seed,
    make_seeding,
    messages_of,
    plant,
    rows_of,
    send,
    surplus_rows,
)

MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    return fresh


@pytest.fixture(params=["boto3", "ours"])
def client(request: pytest.FixtureRequest, table: Settings) -> Any:
    """The client that the app itself uses, and the one of this project's commands."""
    return local_client(table, "dynamodb") if request.param == "boto3" else connect(table)


def faults(settings: Settings, now: datetime | None = None) -> list[str]:
    survey = Survey(now)
    for item in scan(connect(settings), settings.message_table):
        survey.add(item)
    return [f"{fault.subject}: {fault.text}" for fault in survey.faults()]


def test_a_message_to_somebody_new_starts_a_group(table: Settings, client: Any) -> None:
    sent = messages.create_message_group(client, table.message_table, ANDREW, BAYKO, "Hello!", at=NOW)
    assert sent == Sent(
        sent.group,
        {
            "pk": f"MSG#{sent.group}",
            "sk": "2026-11-21T09:30:00.000000+00:00",
            "message_uuid": sent.message["message_uuid"],
            "message": "Hello!",
            "user_uuid": ANDREW.uuid,
            "user_display_name": "Andrew Brown",
            "user_handle": "andrewbrown",
        },
        True,
        sent.capacity,
    )
    assert messages_of(table, sent.group) == [("09:30:00.000000", "andrewbrown", "Hello!")]
    assert rows_of(table, sent.group) == [
        ("andrewbrown", "2026-11-21T09:30:00.000000+00:00", "bayko", "Hello!"),
        ("bayko", "2026-11-21T09:30:00.000000+00:00", "andrewbrown", "Hello!"),
    ]
    assert len(dump(table)) == 3


def test_a_message_into_a_group_moves_the_rows_of_both(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one", "two"]))
    sent = messages.create_message(client, table.message_table, GROUP, BAYKO, "three", at=NOW + timedelta(minutes=1))
    assert (sent.group, sent.is_new_group, sent.message["message"]) == (GROUP, False, "three")
    assert rows_of(table) == [
        ("andrewbrown", "2026-11-21T09:31:00.000000+00:00", "bayko", "three"),
        ("bayko", "2026-11-21T09:31:00.000000+00:00", "andrewbrown", "three"),
    ]
    assert len(dump(table)) == 5


def test_a_message_to_somebody_known_goes_into_the_group_of_the_two(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]))
    for sender, receiver in ((BAYKO, ANDREW), (ANDREW, BAYKO)):
        sent = messages.create_message_group(client, table.message_table, sender, receiver, "more")
        assert (sent.group, sent.is_new_group) == (GROUP, False)
    assert len(dump(table)) == 5


def test_what_was_consumed_is_told_for_table_and_index(table: Settings, client: Any) -> None:
    sent = messages.create_message_group(client, table.message_table, ANDREW, BAYKO, "Hello!", at=NOW)
    assert sent.capacity["total"] == sent.capacity["table"] + sent.capacity["index"]
    assert sent.capacity["index"] > 0


def test_a_stranger_to_the_group_is_refused(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]))
    before = dump(table)
    with pytest.raises(NotSent, match=f"londo is not in group {GROUP}"):
        messages.create_message(client, table.message_table, GROUP, LONDO, "let me in")
    with pytest.raises(NotSent, match="londo is not in group nowhere"):
        messages.create_message(client, table.message_table, "nowhere", LONDO, "hello?")
    assert dump(table) == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the message is empty"),
        (" \n\t", "the message is empty"),
        ("x" * 409_600, "the message makes an item of 409,"),
        ("\udcff", "the message is not UTF-8"),
    ],
    ids=["nothing", "blank", "large", "bytes"],
)
def test_a_text_that_cannot_be_a_message_is_refused(table: Settings, text: str, why: str) -> None:
    with pytest.raises(NotSent, match=why):
        messages.create_message_group(connect(table), table.message_table, ANDREW, BAYKO, text)
    with pytest.raises(NotSent, match=why):
        messages.create_message(connect(table), table.message_table, GROUP, ANDREW, text)
    assert dump(table) == []


def test_nobody_writes_to_themselves(table: Settings) -> None:
    with pytest.raises(NotSent, match="andrewbrown cannot write to themselves"):
        messages.create_message_group(connect(table), table.message_table, ANDREW, ANDREW, "Hello me")


def test_an_older_message_leaves_the_rows(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]))
    before = rows_of(table)
    messages.create_message(client, table.message_table, GROUP, BAYKO, "late", at=NOW - timedelta(hours=1))
    assert [text for _, _, text in messages_of(table)] == ["late", "one"]
    assert rows_of(table) == before


def test_a_taken_time_gives_the_next_one(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one", "two"]))
    for text in ("three", "four"):
        messages.create_message(client, table.message_table, GROUP, BAYKO, text, at=NOW)
    assert messages_of(table)[1:] == [
        ("09:30:00.000000", "bayko", "two"),
        ("09:30:00.000001", "bayko", "three"),
        ("09:30:00.000002", "bayko", "four"),
    ]
    assert {row[1:] for row in rows_of(table)} == {
        ("2026-11-21T09:30:00.000002+00:00", "bayko", "four"),
        ("2026-11-21T09:30:00.000002+00:00", "andrewbrown", "four"),
    }


def test_a_row_of_another_group_is_never_overwritten(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]))
    sent = messages.create_message_group(client, table.message_table, ANDREW, LONDO, "Londo?", at=NOW)
    assert sent.message["sk"] == "2026-11-21T09:30:00.000001+00:00"
    assert (len(rows_of(table)), len(rows_of(table, sent.group)), len(dump(table))) == (2, 2, 6)


def test_a_clock_that_is_a_little_behind_does_not_hide_a_message(table: Settings, client: Any) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(seconds=30)
    plant(table, make_seed(["from a fast clock"]), now=ahead)
    sent = messages.create_message(client, table.message_table, GROUP, ANDREW, "from a slow one")
    assert sent.message["sk"] == messages.format_time(ahead + MICROSECOND)


def test_a_last_message_far_in_the_future_is_not_followed(table: Settings, client: Any) -> None:
    future = datetime.now(timezone.utc) + timedelta(days=2)
    plant(table, make_seed(["from the future"]), now=future)
    sent = messages.create_message(client, table.message_table, GROUP, ANDREW, "now")
    assert sent.message["sk"] < messages.format_time(datetime.now(timezone.utc))
    assert {row[3] for row in rows_of(table)} == {"from the future"}


def test_names_are_those_that_the_users_have_now(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]))
    renamed = type(BAYKO)(BAYKO.uuid, "andy", "Andy")
    messages.create_message(client, table.message_table, GROUP, renamed, "two", at=NOW + MICROSECOND)
    assert [row[:3:2] for row in rows_of(table)] == [("andrewbrown", "andy"), ("bayko", "andrewbrown")]


def test_a_lost_row_of_the_partner_comes_back(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]))
    key = {"pk": {"S": f"GRP#{BAYKO.uuid}"}, "sk": {"S": rows_of(table)[0][1]}}
    client.delete_item(TableName=table.message_table, Key=key)
    messages.create_message(client, table.message_table, GROUP, ANDREW, "two", at=NOW + MICROSECOND)
    assert [(row[0], row[2], row[3]) for row in rows_of(table)] == [
        ("andrewbrown", "bayko", "two"),
        ("bayko", "andrewbrown", "two"),
    ]


@pytest.mark.reliability("crowds")
def test_many_senders_at_once_lose_nothing_and_leave_one_row_each(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]), now=datetime.now(timezone.utc))

    def work(sender: Any, number: int) -> Callable[[], None]:
        def talk() -> None:
            for index in range(8):
                messages.create_message(client, table.message_table, GROUP, sender, f"{number}.{index}")

        return talk

    side_by_side([work((ANDREW, BAYKO)[number % 2], number) for number in range(4)])
    texts = Counter(text for _, _, text in messages_of(table))
    assert texts == Counter(["one", *(f"{number}.{index}" for number in range(4) for index in range(8))])
    assert faults(table) == []


def test_a_new_group_is_started_once_however_many_start_it(table: Settings, client: Any) -> None:
    def start(number: int) -> Callable[[], Sent]:
        pair = (ANDREW, LONDO) if number % 2 else (LONDO, ANDREW)
        return lambda: messages.create_message_group(client, table.message_table, *pair, f"hello {number}")

    sent: list[Sent] = side_by_side([start(number) for number in range(6)])
    assert (len({one.group for one in sent}), sum(one.is_new_group for one in sent)) == (1, 1)
    assert len(dump(table)) == 6 + 2
    assert faults(table) == []


def test_a_claim_left_by_somebody_who_died_is_taken_over(
    table: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "STALE_S", 0.05)
    claims.Claim(client, table.message_table, ANDREW.uuid, LONDO.uuid).take()
    sent = messages.create_message_group(client, table.message_table, ANDREW, LONDO, "anybody there?")
    assert sent.is_new_group
    assert len(dump(table)) == 3


class Cut:
    """A client one of whose operations fails: before it is done, or after, so that only the answer is lost."""

    def __init__(self, client: Any, operation: str, *, done: bool = False) -> None:
        self._client, self._operation, self._done = client, operation, done

    def __getattr__(self, name: str) -> Any:
        def fail(**parameters: Any) -> Any:
            if self._done:
                getattr(self._client, name)(**parameters)
            self._operation = ""
            raise Stopped

        return fail if name == self._operation else getattr(self._client, name)


class Stopped(BaseException):
    """Not an error: a KeyboardInterrupt, for example."""


@pytest.mark.parametrize(
    ("operation", "done"), [("transact_write_items", False), ("put_item", True), ("get_item", False)]
)
def test_whoever_fails_leaves_no_claim(table: Settings, client: Any, operation: str, done: bool) -> None:
    if operation == "get_item":
        claims.Claim(client, table.message_table, ANDREW.uuid, LONDO.uuid).take()
    before = dump(table)
    cut: Any = Cut(client, operation, done=done)
    with pytest.raises(Stopped):
        messages.create_message_group(cut, table.message_table, ANDREW, LONDO, "anybody there?")
    assert dump(table) == before


def test_a_time_in_another_offset_hides_no_answer(table: Settings, client: Any) -> None:
    """Items have the order of their texts: 19:12 at +02:00 comes after 17:13 in UTC."""
    plant(table, make_seed(["one"]), now=datetime.now(timezone.utc) - timedelta(hours=4))
    laptop = datetime.now(timezone(timedelta(hours=2)))
    send(table, "from a laptop", laptop)
    messages.settle_rows(client, table.message_table, GROUP, (ANDREW, BAYKO))
    sent = [messages.create_message(client, table.message_table, GROUP, ANDREW, text) for text in ("so", "it", "is")]
    page = messages.list_messages(client, table.message_table, GROUP)
    assert [item["message"] for item in page.items] == ["is", "it", "so", "from a laptop", "one"]
    assert {row[3] for row in rows_of(table)} == {"is"}
    times = [messages.parse_time(one.message["sk"]) for one in sent]
    assert laptop < times[0] < times[1] < times[2] <= datetime.now(timezone.utc)


def test_more_rows_than_a_transaction_takes_hinder_nobody(table: Settings, client: Any) -> None:
    plant(table, make_seed(["one"]))
    surplus_rows(table, 120)
    messages.create_message(client, table.message_table, GROUP, ANDREW, "older", at=NOW - timedelta(days=1))
    assert len(rows_of(table)) == 122
    messages.create_message(client, table.message_table, GROUP, ANDREW, "two", at=NOW + MICROSECOND)
    rows = rows_of(table)
    assert (len(rows), [row[3] for row in rows].count("two")) == (2 + 122 - 97, 2)
    messages.create_message(client, table.message_table, GROUP, ANDREW, "three", at=NOW + MICROSECOND * 2)
    assert {row[3] for row in rows_of(table)} == {"three"} and len(rows_of(table)) == 2


def test_a_text_that_only_a_row_with_its_names_has_no_room_for_is_refused(table: Settings, client: Any) -> None:
    named = type(BAYKO)(BAYKO.uuid, "bayko", "Bayko" * 100)
    messages.create_message_group(client, table.message_table, ANDREW, named, "short")
    (row,) = messages.each_group_row_of(client, table.message_table, ANDREW.uuid)
    before = dump(table)
    with pytest.raises(NotSent, match="the message makes an item of more than 409,600 bytes"):
        messages.create_message(client, table.message_table, messages.group_of(row), ANDREW, "x" * 409_300)
    assert dump(table) == before


@pytest.mark.parametrize("text", [None, 5, b"bytes", ["list"]])
def test_what_is_not_a_text_is_refused(table: Settings, text: Any) -> None:
    with pytest.raises(NotSent, match="the message is not a text"):
        messages.create_message(connect(table), table.message_table, GROUP, ANDREW, text)


def test_ids_may_be_uuids(table: Settings, client: Any) -> None:
    andrew, bayko = (
        SimpleNamespace(uuid=uuid.UUID(user.uuid), handle=user.handle, display_name=user.display_name)
        for user in (ANDREW, BAYKO)
    )
    name: Any = table.message_table
    group: Any = uuid.UUID(messages.create_message_group(client, name, andrew, bayko, "Hello!", at=NOW).group)
    with pytest.raises(NotSent, match="andrewbrown cannot write to themselves"):
        messages.create_message_group(client, name, andrew, ANDREW, "Hello me")
    assert not messages.create_message_group(client, name, BAYKO, andrew, "Hi", at=NOW + MICROSECOND).is_new_group
    messages.create_message(client, name, group, bayko, "Me again", at=NOW + MICROSECOND * 2)
    assert messages.is_member(client, name, group, andrew.uuid)
    assert messages.settle_rows(client, name, group, (andrew, bayko)) == (0, 0)
    assert [row["message"] for row in messages.list_message_groups(client, name, andrew.uuid).items] == ["Me again"]
    assert len(list(messages.each_row_in_group(client, name, group))) == 2
    assert (len(rows_of(table, str(group))), faults(table)) == (2, [])


def test_a_seed_after_sent_messages_keeps_them_and_leaves_the_rows(table: Settings) -> None:
    plant(table, make_seed(["one"]), now=NOW)
    later = NOW + timedelta(minutes=5)
    messages.create_message(connect(table), table.message_table, GROUP, BAYKO, "sent", at=later)
    before = dump(table)
    seeding = make_seeding(table, make_seed(["one"]), now=later)
    assert seeding.check() == "1 messages and 2 group rows unchanged, last one 5 min ago"
    assert (plant(table, make_seed(["one"]), now=later), dump(table)) == ("1 sent message kept", before)
    plant(table, make_seed(["another"]), now=later - timedelta(minutes=1))
    assert {row[3] for row in rows_of(table)} == {"sent"}


def test_a_message_put_as_the_app_puts_it_is_no_hindrance(table: Settings) -> None:
    plant(table, make_seed(["one"]))
    send(table, "by the app", NOW + timedelta(seconds=1))
    messages.create_message(connect(table), table.message_table, GROUP, ANDREW, "ours", at=NOW + timedelta(seconds=2))
    assert faults(table, NOW + timedelta(days=1)) == []


class Refusing:
    """A client whose transactions and claims are refused, `times` times; everything else is asked of the real one."""

    def __init__(self, client: Any, error: Exception, times: int = 10**6) -> None:
        self.client, self.error, self.left = client, error, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def transact_write_items(self, **parameters: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            raise self.error
        return self.client.transact_write_items(**parameters)


def cancelled(*codes: str) -> AwsError:
    reasons = [{"Code": code} for code in codes]
    code = "TransactionCanceledException"
    return AwsError("dynamodb TransactWriteItems", code, "no", details={"CancellationReasons": reasons})


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (cancelled("None", "TransactionConflict"), "others write to the same group"),
        (cancelled("ConditionalCheckFailed"), "others write to the same group"),
        (cancelled("ThrottlingError", "None"), "it is short of capacity (ThrottlingError)"),
        (
            cancelled("TransactionConflict", "ProvisionedThroughputExceeded"),
            "it is short of capacity (ProvisionedThroughputExceeded)",
        ),
        (
            AwsError("dynamodb TransactWriteItems", "RequestLimitExceeded", "no"),
            "it is short of capacity (RequestLimitExceeded)",
        ),
    ],
    ids=["conflict", "condition", "throttled", "both", "limit"],
)
def test_who_gives_up_says_what_it_was(
    table: Settings, error: Exception, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(table, make_seed(["one"]))
    monkeypatch.setattr(transactions.Attempts.__init__, "__defaults__", (0.1,))
    before = dump(table)
    client: Any = Refusing(connect(table), error)
    with pytest.raises(messages.Busy, match=rf" attempts in 0\.1 s: {re.escape(cause)}$"):
        messages.create_message(client, table.message_table, GROUP, BAYKO, "two")
    with pytest.raises(messages.Busy, match=rf" attempts in 0\.1 s: {re.escape(cause)}$"):
        messages.create_message_group(client, table.message_table, ANDREW, LONDO, "hello")
    assert [item for item in dump(table) if "claim" not in item] == before


@pytest.mark.parametrize("error", [cancelled("ThrottlingError"), cancelled("TransactionConflict")])
def test_what_has_passed_is_no_reason_to_give_up(table: Settings, error: Exception) -> None:
    plant(table, make_seed(["one"]))
    client: Any = Refusing(connect(table), error, 3)
    messages.create_message(client, table.message_table, GROUP, BAYKO, "two")
    client.left = 3
    messages.create_message_group(client, table.message_table, ANDREW, LONDO, "hello")
    assert [text for _, _, text in messages_of(table)] == ["one", "two"]
    assert faults(table) == []
