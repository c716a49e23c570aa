"""What repairs all items of a cause: nothing that somebody sent is lost, and a second time nothing changes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ddb import batches, mending, messages, retiming
from ddb.causes import CAUSES, CLAIM, FORMER, FUTURE, LISTED, MEMBERS, OFFSET, ROWS, STRAY, UNFOUND, UNREADABLE
from ddb.consistency import Survey
from ddb.repairs import Repaired
from tasks.localenv import engines
from tasks.localenv.dynamodb import copies
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.postgres.handles import User
from tasks.localenv.settings import Settings, read_settings
from tests.conftest import JAR
from tests.support.chats import ANDREW, BAYKO, GROUP, LONDO, dump, make_seed, plant, rows_of, send
from tests.support.environments import environment, permitted, reachable
from tests.support.seeded import quiet

USERS = (ANDREW, BAYKO, LONDO)
OTHER = "88888888-0000-4000-8000-000000000000"
NOBODY = User("99999999-0000-4000-8000-000000000009", "nobody", "Nobody")


@pytest.fixture(scope="module")
def jar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of Amazon's DynamoDB Local."""
    settings = permitted(read_settings(environ=environment(reachable(tmp_path_factory.mktemp("local")) / "state")))
    settings = replace(settings, dynamodb_local_jar=Path(JAR))
    engines.up(settings, quiet)
    yield settings
    engines.destroy(settings, quiet)


ON_BOTH = pytest.mark.parametrize("table", ["fresh", pytest.param("jar", marks=pytest.mark.jar)], indirect=True)
"""On the emulator and on Amazon's DynamoDB Local: what each of them must understand of the writes."""


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings of a table with a conversation of two messages, the last one of two hours ago."""
    settings: Settings = request.getfixturevalue(getattr(request, "param", "fresh"))
    client = connect(settings)
    apply_tables(client, read_tables(settings))
    plant(settings, make_seed(["one", "two"]), now=datetime.now(timezone.utc) - timedelta(hours=2))
    yield settings
    copies.drop_table(client, settings.message_table)


def repairs(settings: Settings, cause: str, users: Sequence[User] = USERS) -> list[Any]:
    client, name = connect(settings), settings.message_table
    return list(mending.repairs(client, name, cause, partial(scan, client, name), users))


def mend(settings: Settings, cause: str, users: Sequence[User] = USERS) -> list[Repaired]:
    return [one.perform() for one in repairs(settings, cause, users)]


def lines(settings: Settings, cause: str, users: Sequence[User] = USERS) -> list[str]:
    return [line for one in repairs(settings, cause, users) for line in one.lines()]


def causes(settings: Settings) -> Counter[str]:
    survey = Survey()
    for item in scan(connect(settings), settings.message_table):
        survey.add(item)
    return Counter({fault.cause: fault.count for fault in survey.faults()})


def put(settings: Settings, *items: Any) -> None:
    write(connect(settings), settings.message_table, puts(items))


def key(pk: str, sk: str = "1") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def texts(settings: Settings, group: str = GROUP) -> list[str]:
    return [item["message"] for item in dump(settings) if item["pk"] == f"MSG#{group}"]


def old_seed(settings: Settings, count: int, group: str = GROUP, started: timedelta = timedelta(0)) -> None:
    """Put what the old seed script does: a message a minute from now on, and no rows."""
    began = datetime.now(timezone.utc) + started
    senders = (ANDREW, BAYKO)
    put(
        settings,
        *(
            messages.message_item(group, began + timedelta(minutes=n), f"id-{n}", f"old {n}", senders[n % 2])
            for n in range(1, count + 1)
        ),
    )


@ON_BOTH
def test_103_messages_in_the_future_keep_text_id_and_order_and_the_rows_follow(table: Settings) -> None:
    old_seed(table, 103)
    assert causes(table)[FUTURE] == 103
    before = dump(table)
    (line,) = lines(table, FUTURE)
    assert line.startswith(f"~ 103 messages of group {GROUP}, the newest of ")
    assert dump(table) == before
    assert mend(table, FUTURE) == [Repaired(GROUP, 103)]
    after = dump(table)
    assert causes(table) == {}
    assert texts(table) == ["one", "two", *(f"old {n}" for n in range(1, 104))]
    assert {row[3] for row in rows_of(table)} == {"old 103"}
    without_time = [{**item, "sk": ""} for item in before if item["pk"].startswith("MSG#")]
    assert [{**item, "sk": ""} for item in after if item["pk"].startswith("MSG#")] == without_time
    assert mend(table, FUTURE) == []
    assert dump(table) == after


def test_a_plan_tells_how_many_move_along(table: Settings) -> None:
    old_seed(table, 200, started=timedelta(hours=-1))
    assert [line.partition(" of group")[0] for line in lines(table, FUTURE)] == [
        "~ 140 messages",
        "~ 62 messages before them, which move along: the order stays",
    ]


def test_10_000_messages_move_in_batches(table: Settings) -> None:
    old_seed(table, 10_000)
    assert mend(table, FUTURE) == [Repaired(GROUP, 10_002)]
    assert causes(table) == {}
    assert texts(table)[-1] == "old 10000"


def test_a_repair_that_is_cut_short_keeps_the_order_and_ends_right(table: Settings) -> None:
    old_seed(table, 103)
    client, name = connect(table), table.message_table
    moves = retiming.read_moves(client, name, GROUP, FUTURE)
    some = dict(sorted(moves.items())[:50])
    assert retiming.apply_moves(client, name, GROUP, some) == (50, "")
    mend(table, FUTURE)
    assert causes(table) == {}
    assert texts(table) == ["one", "two", *(f"old {n}" for n in range(1, 104))]


def test_of_two_repairs_that_found_the_same_the_second_changes_nothing(table: Settings) -> None:
    old_seed(table, 103)
    client, name = connect(table), table.message_table
    first, second = (next(mending.repairs(client, name, FUTURE, lambda: scan(client, name), ())) for _ in range(2))
    assert first.perform() == Repaired(GROUP, 103)
    after = dump(table)
    assert (second.perform(), dump(table)) == (Repaired(GROUP, 0), after)


@ON_BOTH
def test_a_message_that_changes_meanwhile_is_left_as_it_is_and_told(table: Settings) -> None:
    old_seed(table, 103)
    client, name = connect(table), table.message_table
    moves = retiming.read_moves(client, name, GROUP, FUTURE)
    seen = list(retiming._in_order(client, name, GROUP, moves))
    changed = {**seen[60], "message": {"S": "edited"}}
    changes = [batches.replace(name, one, {**one, "sk": {"S": moves[one["sk"]["S"]]}}) for one in seen]
    put(table, changed)
    assert batches.perform(client, changes) == (102, "1 item changed meanwhile, and left as found")
    assert "edited" in texts(table)
    mend(table, FUTURE)
    assert (causes(table), len(texts(table))) == ({}, 105)


def test_senders_beside_a_repair_lose_nothing(table: Settings) -> None:
    old_seed(table, 300)
    client, name, sent = connect(table), table.message_table, []

    def send_some() -> None:
        for number in range(20):
            sent.append(messages.create_message(client, name, GROUP, ANDREW, f"new {number}"))

    sender = threading.Thread(target=send_some)
    sender.start()
    mend(table, FUTURE)
    sender.join()
    assert mend(table, FUTURE) == []
    assert Counter(texts(table)) == Counter(
        ["one", "two", *(f"old {n}" for n in range(1, 301)), *(f"new {n}" for n in range(20))]
    )
    mend(table, ROWS)
    assert causes(table) == {}


@pytest.mark.parametrize(
    ("cause", "sk", "becomes"),
    [
        (OFFSET, "2026-11-21T12:59:00.000000+02:00", "2026-11-21T10:59:00.000000+00:00"),
        (UNREADABLE, "2026-11-21T10:58:00Z", "2026-11-21T10:58:00.000000+00:00"),
        (UNREADABLE, "yesterday", ""),
    ],
)
def test_a_time_of_another_form_becomes_one_as_the_app_writes_it(
    table: Settings, cause: str, sk: str, becomes: str
) -> None:
    item = {**messages.message_item(GROUP, datetime.now(timezone.utc), "id", "kept", BAYKO), "sk": {"S": sk}}
    put(table, item)
    assert causes(table)[cause] == 1
    assert [line[:30] for line in lines(table, cause)] == [f"~ 1 message of group {GROUP}"[:30]]
    assert mend(table, cause) == [Repaired(GROUP, 1)]
    assert causes(table) == {}
    found = next(item for item in dump(table) if item["message"] == "kept")
    assert (found["message_uuid"], found["sk"] >= becomes, found["sk"].endswith("+00:00")) == ("id", True, True)
    assert mend(table, cause) == []


@ON_BOTH
def test_items_of_no_kind_go_and_the_plan_names_each(table: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "AT_ONCE", 100)
    odd = {"n": {"N": "1"}, "l": {"L": [{"S": "a"}]}, "s": {"SS": ["b", "a"]}}
    strays = [{**key(f"X#{number:05}"), **odd} for number in range(248)]
    put(table, *strays, key("GRP#x"), key("--'\"$HOME"))
    before = dump(table)
    told = lines(table, STRAY)
    assert (len(told), "- item X#00007 1" in told, dump(table) == before) == (250, True, True)
    assert [one.moved for one in mend(table, STRAY)] == [100, 100, 50]
    assert (causes(table), len(dump(table)), mend(table, STRAY)) == ({}, 4, [])


@ON_BOTH
def test_a_message_among_the_groups_keeps_all_but_the_attribute(table: Settings) -> None:
    first = next(item for item in scan(connect(table), table.message_table) if item["pk"]["S"].startswith("MSG#"))
    before = dump(table)
    put(table, {**first, "message_group_uuid": {"S": GROUP}})
    assert causes(table) == {LISTED: 1}
    assert lines(table, LISTED)[0].startswith(f"~ message MSG#{GROUP} ")
    assert mend(table, LISTED) == [Repaired("", 1)]
    assert (dump(table), mend(table, LISTED)) == (before, [])


def test_a_start_that_is_still_the_same_after_a_while_goes(table: Settings) -> None:
    left, living = key("NEW#1#2", "NEW"), key("NEW#3#4", "NEW")
    put(table, *({**one, "claim": {"S": "mine"}} for one in (left, living)))
    assert len(lines(table, CLAIM)) == 2

    def meanwhile(seconds: float) -> None:
        assert 2 < seconds <= 3
        put(table, {**living, "claim": {"S": "somebody else's"}})

    client, name = connect(table), table.message_table
    (one,) = mending.repairs(client, name, CLAIM, partial(scan, client, name), USERS, sleep=meanwhile)
    assert one.perform() == Repaired("", 1, "1 item changed meanwhile, and left as found")
    assert [item["pk"] for item in dump(table) if item["pk"].startswith("NEW#")] == ["NEW#3#4"]


def test_whoever_sent_a_message_into_a_group_of_others_gets_a_row(table: Settings) -> None:
    at = datetime.now(timezone.utc) - timedelta(hours=3)
    for minute in range(3):
        send(table, f"hi {minute}", at + timedelta(minutes=minute), sender=LONDO)
    assert causes(table) == {MEMBERS: 1}
    assert lines(table, MEMBERS) == [f"+ group row of user {LONDO.uuid} in group {GROUP}"]
    assert mend(table, MEMBERS) == [Repaired(GROUP, 1)]
    assert (causes(table), len(texts(table))) == ({}, 5)
    assert [row[0] for row in rows_of(table)] == ["andrewbrown", "bayko", "londo"]
    assert mend(table, MEMBERS) == []


def test_a_sender_who_is_in_no_database_gets_a_row_too(table: Settings) -> None:
    """Their message is seen by the two: it stays, and once there is such a user they find it."""
    send(table, "hi", datetime.now(timezone.utc) - timedelta(hours=3), sender=NOBODY)
    assert mend(table, MEMBERS) == [Repaired(GROUP, 1)]
    assert (causes(table), len(texts(table))) == ({}, 3)


def test_a_row_that_tells_of_somebody_who_is_gone_tells_of_another_one(table: Settings) -> None:
    row = messages.group_items(GROUP, {**key("", "2020"), "message": {"S": ""}}, (LONDO, NOBODY))[0]
    put(table, row)
    assert causes(table)[MEMBERS] == 1
    mend(table, MEMBERS)
    assert causes(table) == {}
    assert [(row[0], row[2]) for row in rows_of(table)][2] == ("londo", "andrewbrown")


def test_messages_that_nobody_finds_get_a_row_for_each_user_who_sent_one(table: Settings) -> None:
    for number, sender in enumerate(USERS):
        send(table, f"three {number}", datetime.now(timezone.utc), sender=sender, group=OTHER)
    send(table, "alone", datetime.now(timezone.utc), sender=LONDO, group=NOBODY.uuid)
    assert causes(table) == {UNFOUND: 1}
    assert sum(one.moved for one in mend(table, UNFOUND)) == 4
    assert (causes(table), texts(table, NOBODY.uuid), len(texts(table, OTHER))) == ({}, ["alone"], 3)
    assert [row[0] for row in rows_of(table, NOBODY.uuid)] == ["londo"]


def test_messages_of_which_no_user_is_left_go_and_the_plan_names_each(table: Settings) -> None:
    at = datetime.now(timezone.utc)
    for minute in (1, 2):
        send(table, "lost", at - timedelta(minutes=minute), sender=NOBODY, group=OTHER)
    assert len(lines(table, UNFOUND)) == 2
    assert all(line.startswith(f"- message of group {OTHER}, which no user is in: ") for line in lines(table, UNFOUND))
    assert mend(table, UNFOUND) == [Repaired(OTHER, 2)]
    assert (causes(table), texts(table, OTHER), len(texts(table))) == ({}, [], 2)


def test_messages_of_a_user_who_has_another_uuid_by_now_are_not_removed(table: Settings) -> None:
    send(table, "mine", datetime.now(timezone.utc), sender=User("old", "londo", "Londo"), group=OTHER)
    (left,) = mend(table, UNFOUND)
    assert (left.error, texts(table, OTHER)) == (
        "its users have other uuids in the database: that comes first",
        ["mine"],
    )


@ON_BOTH
def test_items_of_a_database_of_before_become_those_of_its_users_today(table: Settings) -> None:
    """Two times built anew: a group has rows of three uuids a user, of one moment where the stream moved them all."""
    again = [User(f"{n}-{user.handle}", user.handle, user.display_name) for n in (1, 2) for user in (ANDREW, BAYKO)]
    last = next(messages.each_message(connect(table), table.message_table, GROUP))
    for pair in (again[:2], again[2:]):
        put(table, *messages.group_items(GROUP, last, (pair[0], pair[1])))
        send(table, "before", datetime.now(timezone.utc) - timedelta(days=1), sender=pair[0])
        send(table, "lonely", datetime.now(timezone.utc) - timedelta(days=1), sender=pair[1], group=OTHER)
    assert len(lines(table, FORMER)) == 8
    assert sum(one.moved for one in mend(table, FORMER)) == 8
    uuids = {item["user_uuid"] for item in dump(table)} | {row[0] for row in rows_of(table)}
    assert uuids == {ANDREW.uuid, BAYKO.uuid, "andrewbrown", "bayko"}
    assert [(row[0], row[2], row[3]) for row in rows_of(table)] == [
        ("andrewbrown", "bayko", "two"),
        ("bayko", "andrewbrown", "two"),
    ]
    assert (texts(table).count("before"), mend(table, FORMER)) == (2, [])
    assert set(causes(table)) == {UNFOUND}


def test_a_uuid_of_two_users_or_of_nobody_known_is_left(table: Settings) -> None:
    twins = (*USERS, User("another", "londo", "Londo"))
    send(table, "?", datetime.now(timezone.utc), sender=User("old", "londo", "Londo"), group=OTHER)
    send(table, "?", datetime.now(timezone.utc), sender=NOBODY, group=OTHER)
    assert mend(table, FORMER, twins) == []


def test_rows_are_settled_as_the_stream_does(table: Settings) -> None:
    send(table, "late", datetime.now(timezone.utc))
    assert lines(table, ROWS) == [f"~ rows of group {GROUP}: 4 changes"]
    assert mend(table, ROWS) == [Repaired(GROUP, 4)]
    assert (causes(table), mend(table, ROWS)) == ({}, [])


def test_every_cause_of_a_survey_has_a_repair(table: Settings) -> None:
    assert [cause for cause in CAUSES if mend(table, cause)] == []


class Throttled:
    """A client whose transactions are refused for want of capacity, after so many."""

    def __init__(self, client: Any, after: int) -> None:
        self._client, self._left = client, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **parameters: Any) -> Any:
        if self._left == 0:
            raise Refused
        self._left -= 1
        return self._client.transact_write_items(**parameters)


class Refused(Exception):
    def __init__(self) -> None:
        self.response = {"Error": {"Code": "ProvisionedThroughputExceededException"}}


def test_a_table_short_of_capacity_is_told_with_what_was_done(table: Settings) -> None:
    strays = [key(f"X#{number:03}") for number in range(250)]
    put(table, *strays)
    client: Any = Throttled(connect(table), 1)
    changes = (batches.delete(table.message_table, one) for one in strays)
    done, error = batches.perform(client, changes, patience_s=0.2)
    assert (done, "short of capacity" in error) == (100, True)
    assert causes(table) == {STRAY: 51}
