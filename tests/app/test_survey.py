"""Which items do not agree with each other, decided as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ddb.causes import FUTURE, LISTED, MEMBERS, OFFSET, ROWS, STRAY, UNFOUND, UNREADABLE
from ddb.consistency import LOOKED_AT_AGAIN, Fault, Survey
from ddb.messages import Item, group_items, message_item

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


@dataclass(frozen=True)
class User:
    uuid: str
    handle: str
    display_name: str = ""


ANN, BOB, EVE = User("u-ann", "ann"), User("u-bob", "bob"), User("u-eve", "eve")


def message(minute: int, sender: User = ANN, group: str = "g") -> Item:
    return message_item(group, NOW + timedelta(minutes=minute), f"m{minute}", f"text {minute}", sender)


def conversation() -> list[Item]:
    """Two messages and the rows of both users."""
    last = message(-1, BOB)
    return [message(-2), last, *group_items("g", last, (ANN, BOB))]


def faults(items: list[Item]) -> list[Fault]:
    survey = Survey(NOW)
    for item in items:
        survey.add(item)
    return list(survey.faults())


def test_a_conversation_as_it_should_be_has_no_faults_in_any_order() -> None:
    assert faults(conversation()) == faults(conversation()[::-1]) == []


def test_an_empty_table_has_no_faults() -> None:
    assert faults([]) == []


def test_a_second_row_of_one_user_is_surplus() -> None:
    old = group_items("g", message(-2), (ANN, BOB))[0]
    assert faults([old, *conversation()]) == [Fault("group g", "user u-ann has 2 group rows", ROWS)]


def test_a_missing_row_is_named() -> None:
    assert faults(conversation()[:3]) == [Fault("group g", "user u-bob is in it and has no group row", ROWS)]


def test_messages_without_rows_and_rows_without_messages_are_named() -> None:
    rows = conversation()[2:]
    assert faults(conversation()[:2]) == [Fault("group g", "messages and no group row: nobody finds them", ROWS)]
    assert faults(rows) == [
        Fault("group g", f"group row of user {uuid} without a message", ROWS) for uuid in ("u-ann", "u-bob")
    ]


def test_of_messages_of_one_user_alone_nobody_can_make_the_rows() -> None:
    text = "messages and no group row: nobody finds them, nor do they tell which two it is of"
    assert faults([message(-2), message(-1)]) == [Fault("group g", text, UNFOUND, 2)]


def test_where_rows_tell_of_more_than_two_the_one_without_a_row_is_named() -> None:
    stray = group_items("g", message(-1, BOB), (ANN, EVE))[1]
    items = [*conversation(), {**stray, "user_uuid": {"S": "u-lost"}}]
    assert faults(items) == [Fault("group g", "user u-lost is in it and has no group row", MEMBERS)]


def test_a_row_that_lags_behind_the_newest_message_is_named() -> None:
    found = faults([*conversation(), message(0)])
    assert [fault.text for fault in found] == [
        f"group row of user {uuid} is of 2026-11-21T11:59:00.000000+00:00, "
        "the newest message of 2026-11-21T12:00:00.000000+00:00"
        for uuid in ("u-ann", "u-bob")
    ]


def test_a_row_with_another_text_is_named() -> None:
    items = conversation()
    items[2] = {**items[2], "message": {"S": "another"}}
    assert faults(items) == [Fault("group g", "group row of user u-ann has another text than the newest message", ROWS)]


def test_a_sender_who_is_not_in_the_group_is_named() -> None:
    assert faults([*conversation(), message(-3, EVE)]) == [
        Fault("group g", "user u-eve has sent a message and is not in it", MEMBERS)
    ]


def test_times_of_the_future_and_times_that_nobody_can_read_are_counted() -> None:
    last = message(5, BOB)
    old = {**message(-2), "sk": {"S": "2026-11-21T11:58:00Z"}}
    assert faults([old, last, *group_items("g", last, (ANN, BOB))]) == [
        Fault("group g", "1 of 2 messages with a time that the app cannot read", UNREADABLE),
        Fault("group g", "1 of 2 messages with a time in the future: new ones do not show", FUTURE),
    ]


def test_a_time_with_another_offset_is_out_of_place() -> None:
    """Its text is later than those of an hour that follow: they would not be the newest message."""
    last = {**message(-1), "sk": {"S": "2026-11-21T12:59:00.000000+01:00"}}
    text = "1 of 2 messages with another offset than +00:00 in their time: they are not in their place"
    assert faults([message(-2, BOB), last, *group_items("g", last, (ANN, BOB))]) == [Fault("group g", text, OFFSET)]


def test_items_of_another_kind_are_surplus() -> None:
    stray: Item = {"pk": {"S": "X#1"}, "sk": {"S": "a"}}
    assert faults([stray]) == [Fault("item X#1 a", "neither a message nor a group row", STRAY)]


def test_a_message_among_the_groups_is_named() -> None:
    items = conversation()
    items[0] = {**items[0], "message_group_uuid": {"S": "g"}}
    assert faults(items) == [
        Fault(
            "message g 2026-11-21T11:58:00.000000+00:00",
            "carries message_group_uuid: it shows among the groups",
            LISTED,
        )
    ]


def test_of_very_many_items_the_last_one_named_stands_for_the_others() -> None:
    found = faults([{"pk": {"S": f"X#{number}"}, "sk": {"S": "a"}} for number in range(10_000)])
    assert (len(found), sum(fault.count for fault in found)) == (LOOKED_AT_AGAIN, 10_000)
