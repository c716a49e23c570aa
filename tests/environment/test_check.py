"""The three stores held against each other: clean after seeding, and a finding with its command for what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from ddb import messages
from ddb.claims import STALE_S
from ddb.consistency import PAUSES_S, Survey, confirmed
from tasks.localenv.cognito import seed
from tasks.localenv.cognito.matching import DatabaseUser, Match, Pair, Unmatched
from tasks.localenv.cognito.users import PoolUser, find_pool
from tasks.localenv.dynamodb.client import connect as dynamodb
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.environment import check
from tasks.localenv.environment.check import Report
from tasks.localenv.environment.findings import Case, Finding, grouped
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError
from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.handles import User
from tasks.localenv.settings import Settings
from tests.support.environments import Finished
from tests.support.seeded import PEOPLE, QUERIES, complete, eager, half_replaced

LONDO = next(str(person.uuid) for person in PEOPLE if person.person == "londo")


@pytest.fixture
def whole(live: Settings, tmp_path: Path, database: Settings, fresh: Settings) -> Settings:
    """A filled environment of its own."""
    return complete(live, tmp_path, database, fresh)


def examine(settings: Settings, *, at_most: int = 20) -> Report:
    return check.examine(settings, eager(), QUERIES, PEOPLE, at_most=at_most)


class Counting:
    """A client that counts the items that queries give."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.items = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, **parameters: Any) -> Any:
        answer = self._client.query(**parameters)
        self.items += len(answer["Items"])
        return answer


def told(settings: Settings) -> list[tuple[str, int, str, str, str]]:
    """Give of each finding its cause and count, its first subject with what is wrong, and the hint."""
    found = examine(settings).findings
    return [(one.cause, one.count, one.cases[0].subject, one.cases[0].text, one.fix) for one in found]


def execute(settings: Settings, statement: bytes) -> None:
    with connect(settings.postgres) as connection:
        connection.execute(statement)


def sub_of(settings: Settings, handle: str) -> str:
    return next(user.sub for user in find_pool(settings).users() if user.handle == handle)


def group_rows(settings: Settings) -> list[Any]:
    return [item for item in scan(dynamodb(settings), settings.message_table) if messages.group_of(item)]


def test_a_seeded_environment_is_clean(whole: Settings) -> None:
    items = sum(1 for _ in scan(dynamodb(whole), whole.message_table))
    report = examine(whole)
    assert report == Report(len(PEOPLE), len(PEOPLE), items, (), 0)
    assert report.sentence == f"{len(PEOPLE)} users, {len(PEOPLE)} pool users and {items} items agree"
    assert items >= 102


def test_a_half_replaced_table_is_no_reason_to_seed(whole: Settings) -> None:
    with half_replaced(whole) as said, pytest.raises(ConfirmationNeeded, match=said):
        examine(whole)


def test_an_id_that_was_never_synced_is_found(whole: Settings) -> None:
    execute(whole, b"UPDATE users SET cognito_user_id = 'MOCK' WHERE handle = 'londo'")
    text = f"id MOCK in the database, sub {sub_of(whole, 'londo')} in the pool"
    assert told(whole) == [("unlinked", 1, "user londo", text, "run `inv cognito.sync-ids`")]


def test_users_of_one_side_are_found(whole: Settings) -> None:
    pool = find_pool(whole)
    sub = sub_of(whole, "londo")
    pool.call("AdminDeleteUser", UserPoolId=pool.id, Username="londo@example.com")
    for name in ("eve", "not-confirmed-yet", ""):
        attributes = [{"Name": "preferred_username", "Value": name}] if name else []
        user = {"UserPoolId": pool.id, "Username": f"{name or 'nobody'}@example.com"}
        pool.call("AdminCreateUser", **user, UserAttributes=attributes)
        if name != "not-confirmed-yet":
            pool.call("AdminSetUserPassword", **user, Password=seed.PASSWORD, Permanent=True)
    assert told(whole) == [
        (
            "no-pool-user",
            1,
            f"user londo (id in the database: {sub})",
            "no pool user has this preferred_username",
            "run `inv cognito.seed`",
        ),
        (
            "signed-up",
            1,
            "pool user eve (eve@example.com)",
            "no user in the database has the handle 'eve'",
            "run `inv cognito.sync-ids --create`",
        ),
    ]
    without = replace(QUERIES, create=None)  # an app whose own function adds rows, somewhere else
    found = check.examine(whole, eager(), without, PEOPLE).findings
    assert [finding.cause for finding in found] == ["no-pool-user"]


def test_items_of_users_that_the_database_does_not_know_are_one_finding(whole: Settings) -> None:
    execute(whole, b"DELETE FROM users WHERE handle IN ('andrewbrown', 'bayko')")
    (_, finding) = examine(whole).findings
    names = {person.handle: str(person.uuid) for person in PEOPLE}
    subjects = sorted(f"user {names[handle]} ({handle})" for handle in ("andrewbrown", "bayko"))
    assert [case.subject for case in finding.cases] == subjects
    assert (finding.cause, finding.fix) == ("no-row", "run `inv db.seed --force`")
    assert finding.count == sum(int(case.text.split()[2]) for case in finding.cases)


def test_a_handle_that_group_rows_still_have_is_found(whole: Settings) -> None:
    pool = find_pool(whole)
    renamed = [{"Name": "preferred_username", "Value": "andy"}]
    pool.call("AdminUpdateUserAttributes", UserPoolId=pool.id, Username="andrew@example.com", UserAttributes=renamed)
    execute(whole, b"UPDATE users SET handle = 'andy' WHERE handle = 'andrewbrown'")
    ((cause, count, subject, text, fix),) = told(whole)
    assert subject.endswith("(andrewbrown)")
    assert (cause, count, text) == ("rows", 2, "called that by 2 items, but 'andy' in the database")
    assert fix == "run `inv ddb.stream --once`"


def test_a_surplus_row_is_found(whole: Settings) -> None:
    row = group_rows(whole)[0]
    old = {**row, "sk": {"S": "2020-01-01T00:00:00.000000+00:00"}}
    dynamodb(whole).put_item(TableName=whole.message_table, Item=old)
    text = f"user {row['pk']['S'][4:]} has 2 group rows"
    assert told(whole) == [("rows", 1, f"group {messages.group_of(row)}", text, "run `inv ddb.stream --once`")]


def test_findings_beyond_the_limit_are_counted(whole: Settings) -> None:
    execute(whole, b"UPDATE users SET cognito_user_id = 'MOCK'")
    dynamodb(whole).put_item(TableName=whole.message_table, Item={"pk": {"S": "X"}, "sk": {"S": "1"}})
    report = examine(whole, at_most=1)
    (finding,) = report.findings
    assert (finding.count, len(finding.cases), report.total, report.concerned) == (len(PEOPLE), 3, 2, len(PEOPLE) + 1)
    assert report.counted == f"2 findings ({len(PEOPLE) + 1} items)"
    first, *subjects, more, hint, others = report.lines()
    assert first == f"{len(PEOPLE)} users whose id in the database is not the sub in the pool"
    assert [": id MOCK in the database" in line for line in subjects] == [True] * 3
    assert (more, hint, others) == (
        f"  and {len(PEOPLE) - 3} more",
        "  hint: run `inv cognito.sync-ids`",
        "and 1 more",
    )


def test_a_missing_table_is_an_error_with_its_command(whole: Settings) -> None:
    with pytest.raises(LocalEnvError, match="table nothing-here does not exist"):
        examine(replace(whole, message_table="nothing-here"))


def test_a_missing_database_is_an_error_with_its_command(whole: Settings) -> None:
    with pytest.raises(LocalEnvError) as raised:
        examine(replace(whole, postgres=replace(whole.postgres, database="nothing_here")))
    assert raised.value.hint == "run `inv db.setup`"


def test_pool_users_without_a_handle_are_nobodys_concern() -> None:
    user = PoolUser("s", "u", None, None, None, False, "CONFIRMED", True)
    row = DatabaseUser("1", "ann", "", "MOCK")
    match = Match((Pair(row, user),), (), (Unmatched("", "u2", "no preferred_username"),))
    (case,) = check.link_cases(match, PEOPLE, QUERIES, is_emulated=True)
    text = "id MOCK in the database, sub s in the pool"
    assert (case.subject, case.text, case.fix) == ("user ann", text, "run `inv cognito.sync-ids`")


def test_commands_of_one_subject_each_become_one_line() -> None:
    cases = [Case("c", "users", f"user {n}", "t", f"run `aws set {n}`") for n in range(2)]
    assert grouped(cases) == [Finding("c", "users", 2, 2, tuple(cases), "run `aws set 0 && aws set 1`")]


def test_the_command_is_clean_after_initial_setup_and_fails_on_a_finding(
    cli: Callable[..., Finished], database: Settings, fresh: Settings
) -> None:
    where = {"CONNECTION_URL": database.postgres.url(masked=False), "DDB_MESSAGE_TABLE": fresh.message_table}
    assert cli("initial-setup", **where).code == 0
    clean = cli("check", **where)
    assert (clean.code, clean.stdout) == (0, "")
    assert clean.stderr.startswith("ok    check")
    execute(database, b"UPDATE users SET cognito_user_id = 'MOCK' WHERE handle = 'bayko'")
    text = cli("check", **where)
    assert text.code == 1
    assert "1 finding: users, user pool and items do not belong together" in text.stderr
    assert "hint: run `inv cognito.sync-ids`" in text.stderr
    listed = cli("check", "--format", "json", **where)
    assert listed.code == 1
    envelope = json.loads(listed.stdout)
    assert (envelope["status"], envelope["data"]["total"], envelope["error"]["name"]) == ("error", 1, "failure")
    (finding,) = envelope["data"]["findings"]
    assert (finding["subject"], finding["subjects"], finding["count"]) == ("user bayko", ["user bayko"], 1)
    assert (finding["cause"], finding["commands"]) == ("unlinked", ["inv cognito.sync-ids"])
    for words in (("why", "bayko"), ("why", "bayko", "--format", "json"), ("check", "--format", "json")):
        assert "run `./inv cognito.sync-ids`" in cli(*words, LOCALENV_INV="./inv", **where).stdout
    assert cli("cognito.sync-ids", **where).code == 0
    assert cli("check", **where).code == 0


def test_what_passes_while_it_is_looked_at_again_is_no_finding(whole: Settings) -> None:
    """A message without its rows yet, an old row not gone yet: seen by the scan, and right a moment later."""
    table, client = whole.message_table, dynamodb(whole)
    row = group_rows(whole)[0]
    group = messages.group_of(row)
    old = {**row, "sk": {"S": "2020-01-01T00:00:00.000000+00:00"}}
    for item in (old, {"pk": {"S": "NEW#1#2"}, "sk": {"S": "NEW"}}):
        client.put_item(TableName=table, Item=item)
    survey = Survey()
    for item in scan(client, table):
        survey.add(item)
    faults = list(survey.faults())
    assert len(faults) == 2

    def settle(seconds: float) -> None:
        for key in (messages.key_of(old), {"pk": {"S": "NEW#1#2"}, "sk": {"S": "NEW"}}):
            client.delete_item(TableName=table, Key=key)

    assert list(confirmed(client, table, faults, sleep=lambda seconds: None)) == faults
    assert list(confirmed(client, table, faults, sleep=settle)) == []
    assert group == faults[1].group or group == faults[0].group


def test_a_start_of_a_conversation_is_a_finding_when_it_stays(whole: Settings) -> None:
    client, table = dynamodb(whole), whole.message_table
    slept: list[float] = []
    key = {"pk": {"S": "NEW#1#2"}, "sk": {"S": "NEW"}}
    client.put_item(TableName=table, Item={**key, "claim": {"S": "one"}})
    survey = Survey()
    for item in scan(client, table):
        survey.add(item)
    (fault,) = survey.faults()
    assert (fault.text, fault.seen) == ("a start of a conversation that was cut short", key)
    assert list(confirmed(client, table, [fault], sleep=slept.append)) == [fault]
    assert (len(slept), sum(slept)) == (len(PAUSES_S) + 1, STALE_S)

    def start_another(seconds: float) -> None:
        if seconds > max(PAUSES_S):
            client.put_item(TableName=table, Item={**key, "claim": {"S": "another"}})

    assert list(confirmed(client, table, [fault], sleep=start_another)) == []


def test_a_group_is_looked_at_again_without_reading_its_messages(whole: Settings) -> None:
    row = group_rows(whole)[0]
    key = messages.key_of(row)
    counting = Counting(dynamodb(whole))
    table, client = whole.message_table, cast("Any", counting)
    client.delete_item(TableName=table, Key=key)
    survey = Survey()
    for item in scan(client, table):
        survey.add(item)
    counting.items = 0
    (fault,) = confirmed(client, table, survey.faults(), sleep=lambda seconds: None)
    assert fault.text == f"user {row['pk']['S'][4:]} is in it and has no group row"
    assert counting.items <= 4 * len(PAUSES_S)


def test_a_row_that_stays_behind_is_found_although_messages_keep_coming(whole: Settings) -> None:
    table, client = whole.message_table, dynamodb(whole)
    row = group_rows(whole)[0]
    group = messages.group_of(row)
    sender = User(row["user_uuid"]["S"], row["user_handle"]["S"], row["user_display_name"]["S"])
    number = 0

    def send_one(seconds: float = 0) -> None:
        nonlocal number
        number += 1
        item = messages.message_item(group, datetime.now(timezone.utc), f"m{number}", "as the app puts it", sender)
        client.put_item(TableName=table, Item=item)

    send_one()
    survey = Survey()
    for item in scan(client, table):
        survey.add(item)
    newest = next(messages.each_message(client, table, group))["sk"]["S"]
    found = [fault.text for fault in confirmed(client, table, survey.faults(), sleep=send_one)]
    assert [text.endswith(f"is of {row['sk']['S']}, the newest message of {newest}") for text in found] == [True, True]
