"""Explaining an id: what it is, where it is, and whether the stores agree on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ddb import messages, references
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.environment import why
from tasks.localenv.environment.check import ADD_ROWS, FOLLOW, SEED
from tasks.localenv.environment.why import Fact, Why
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError, UsageError
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tests.support.chats import GROUP
from tests.support.environments import Finished
from tests.support.seeded import PEOPLE, QUERIES, complete, eager, half_replaced

ANDREW = next(person for person in PEOPLE if person.handle == "andrewbrown")


@pytest.fixture
def settings(live: Settings, database: Settings, fresh: Settings, tmp_path: Path) -> Settings:
    """A filled environment of the test's own."""
    return complete(live, tmp_path, database, fresh)


def explain(settings: Settings, name: str) -> Why:
    return why.explain(settings, eager(), QUERIES, PEOPLE, name)


def sub_of(settings: Settings, handle: str) -> str:
    return next(user.sub for user in find_pool(settings).users() if user.handle == handle)


def findings(found: Why) -> list[str]:
    return [f"{case.subject}: {case.text}; {finding.fix}" for finding in found.findings for case in finding.cases]


def execute(settings: Settings, statement: bytes) -> None:
    with connect(settings.postgres) as connection:
        connection.execute(statement)


def test_a_half_replaced_table_is_not_asked(settings: Settings) -> None:
    with half_replaced(settings) as said, pytest.raises(ConfirmationNeeded, match=said):
        explain(settings, "andrewbrown")


def test_a_user_is_found_by_every_name_and_explained_the_same(settings: Settings) -> None:
    sub, uuid = sub_of(settings, "andrewbrown"), str(ANDREW.uuid)
    facts = [
        Fact("postgres", "user", f"uuid {uuid}, handle andrewbrown, e-mail andrew@example.com, sub {sub}"),
        Fact(
            "cognito",
            "pool user",
            f"sub {sub}, handle andrewbrown, e-mail andrew@example.com, username {sub}, CONFIRMED",
        ),
        Fact(
            "seeds",
            "person",
            f"person andrewbrown, uuid {uuid}, handle andrewbrown, e-mail andrew@example.com (seeds/people.csv)",
        ),
        Fact("dynamodb", "own group row", "2 items"),
        Fact("dynamodb", "group row of another user", "2 items"),
        Fact("dynamodb", "message sent", "60 items"),
    ]
    for name, kind in (
        ("andrewbrown", "the handle of a user in the database"),
        ("ANDREW@example.com", "the e-mail of a user in the database"),
        (uuid, "the uuid of a user in the database"),
        (sub, "the sub of a user in the database"),
    ):
        found = explain(settings, name)
        assert (found.kinds[0], found.facts[:-1], found.findings) == (kind, facts, [])


def test_a_group_a_message_and_an_activity_are_known_by_their_uuids(settings: Settings) -> None:
    group = explain(settings, GROUP)
    assert (group.sentence, group.facts, group.findings) == (
        f"{GROUP} is the uuid of a group",
        [
            Fact("dynamodb", "group row", "2 items"),
            Fact("dynamodb", "message", "108 items"),
            Fact("dynamodb", "in group", GROUP),
        ],
        [],
    )
    client = connect_dynamodb(settings)
    item = next(iter(references.of_group(client, settings.message_table, GROUP))).item
    message = next(
        mention.item["message_uuid"]["S"]
        for mention in references.of_group(client, settings.message_table, GROUP)
        if mention.what == "message"
    )
    assert "message_uuid" not in item
    found = explain(settings, message)
    assert (found.kinds, found.facts[0].store, f"message_uuid {message}" in found.facts[0].text) == (
        ["the uuid of a message"],
        "dynamodb",
        True,
    )
    with connect(settings.postgres) as connection:
        rows = connection.execute(b"SELECT uuid::text FROM activities LIMIT 1").fetchall()
    activity = explain(settings, rows[0][0])
    assert (activity.kinds, activity.facts[0].what) == (["the uuid of an activity"], "activity")


def test_an_id_that_is_nowhere_gets_the_nearest_handles(settings: Settings) -> None:
    with pytest.raises(LocalEnvError) as caught:
        explain(settings, "andrewbrwn")
    assert (caught.value.message, caught.value.hint) == (
        "'andrewbrwn' not found: no user, pool user, person or item has it",
        "did you mean 'andrewbrown'?",
    )
    with pytest.raises(LocalEnvError, match="not found"):
        explain(settings, "00000000-0000-4000-8000-000000000000")
    with pytest.raises(UsageError, match="why wants an id"):
        explain(settings, " ")


def test_a_missing_link_is_found_with_what_to_run(settings: Settings) -> None:
    execute(settings, b"UPDATE users SET cognito_user_id = 'MOCK'")
    sub = sub_of(settings, "bayko")
    found = explain(settings, sub)
    assert (found.kinds, findings(found)) == (
        ["the sub of a pool user"],
        [f"user bayko: id MOCK in the database, sub {sub} in the pool; run `inv cognito.sync-ids`"],
    )


def test_a_user_who_went_is_still_known_by_pool_people_and_items(settings: Settings) -> None:
    execute(settings, b"DELETE FROM users WHERE handle = 'andrewbrown'")
    found = explain(settings, "andrewbrown")
    user = next(user for user in find_pool(settings).users() if user.handle == "andrewbrown")
    assert [fact.store for fact in found.facts] == ["cognito", "seeds", *["dynamodb"] * 4]
    assert findings(found) == [
        f"pool user {user}: no user in the database has the handle 'andrewbrown'; "
        "run `inv db.seed --force`, or remove the pool users",
        f"person andrewbrown: not in the database with uuid {ANDREW.uuid}; run `inv db.seed --force`",
        f"user {ANDREW.uuid} (andrewbrown): named by 64 items, but not in the database; {SEED}",
    ]


def test_an_old_handle_in_items_is_found(settings: Settings) -> None:
    execute(settings, b"UPDATE users SET handle = 'londo2' WHERE handle = 'tomas'")
    found = explain(settings, "londo2")
    assert [fact.store for fact in found.facts][:3] == ["postgres", "cognito", "seeds"]
    assert [finding.cases[0].subject for finding in found.findings][:1] == [
        "user londo2 (id in the database: " + sub_of(settings, "tomas") + ")"
    ]


def test_the_uuid_of_a_stranger_in_items_is_known(settings: Settings) -> None:
    stranger = "99999999-0000-4000-8000-000000000009"
    row = {
        "pk": {"S": f"GRP#{stranger}"},
        "sk": {"S": "2026-11-21T09:30:00.000000+00:00"},
        "message_group_uuid": {"S": GROUP},
        "user_uuid": {"S": str(ANDREW.uuid)},
    }
    connect_dynamodb(settings).put_item(TableName=settings.message_table, Item=row)
    found = explain(settings, stranger)
    newest = next(messages.each_message(connect_dynamodb(settings), settings.message_table, GROUP))["sk"]["S"]
    behind = (
        f"group {GROUP}: group row of user {stranger} is of {row['sk']['S']}, the newest message of {newest}; {FOLLOW}"
    )
    assert (found.kinds, findings(found)) == (
        ["the uuid of a user in items"],
        [f"user {stranger}: named by 1 item, but not in the database; {ADD_ROWS}", behind],
    )
    lost = "88888888-0000-4000-8000-000000000008"
    connect_dynamodb(settings).put_item(
        TableName=settings.message_table, Item={**row, "user_uuid": {"S": lost}, "user_handle": {"S": "lost"}}
    )
    found = explain(settings, lost)
    unknown = f"group {GROUP}: user {lost} is in it and has no group row; run `inv check --repair members`"
    assert (found.kinds, findings(found)) == (
        ["the uuid of a user in items"],
        [f"user {lost} (lost): named by 1 item, but not in the database; {ADD_ROWS}", behind, unknown],
    )


def test_what_check_finds_of_a_group_is_found_by_its_users_and_its_uuid(settings: Settings) -> None:
    client, table = connect_dynamodb(settings), settings.message_table
    bayko = next(str(person.uuid) for person in PEOPLE if person.handle == "bayko")
    (row,) = messages.each_group_row_of(client, table, bayko)
    client.delete_item(TableName=table, Key=messages.key_of(row))
    said = [f"group {GROUP}: user {bayko} is in it and has no group row; {FOLLOW}"]
    assert [findings(explain(settings, name)) for name in ("bayko", "andrewbrown", GROUP)] == [said] * 3
    (other,) = messages.each_row_in_group(client, table, GROUP)
    client.delete_item(TableName=table, Key=messages.key_of(other))
    said = [f"group {GROUP}: messages and no group row: nobody finds them; {FOLLOW}"]
    message = next(messages.each_message(client, table, GROUP))["message_uuid"]["S"]
    assert [findings(explain(settings, name)) for name in (GROUP, message)] == [said] * 2


def test_without_a_pool_the_rest_is_told(settings: Settings) -> None:
    found = explain(replace(settings, project_id="nobodys"), "bayko")
    assert findings(found)[0] == "user pool: does not exist; run `inv cognito.seed`"


def test_why_prints_text_json_and_the_nearest(cli: Callable[..., Finished]) -> None:
    assert cli("ddb.seed").code == cli("cognito.sync-ids").code == 0
    done = cli("why", "andrewbrown", "--format", "json")
    data = json.loads(done.stdout)["data"]
    assert (done.code, data["id"], data["agrees"], data["findings"]) == (0, "andrewbrown", True, [])
    as_text = cli("why", str(ANDREW.uuid)).stdout.splitlines()
    assert as_text[0] == (
        f"{ANDREW.uuid} is the uuid of a user in the database and the uuid of a person in seeds/people.csv"
    )
    assert as_text[-1] == "all of this agrees"
    nowhere = cli("why", "baiko")
    assert (nowhere.code, nowhere.stderr.splitlines()[-1].split("hint")[1].strip()) == (1, "did you mean 'bayko'?")
