"""The emulated user pool: seeding it, listing it, and writing its ids into the database."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from invoke import Config, Exit
from moto import mock_aws

from tasks import ns
from tasks._executor import GraphExecutor
from tasks.localenv.aws.wire import Api, api
from tasks.localenv.cognito import seed, sync, users
from tasks.localenv.cognito.sync import Queries
from tasks.localenv.cognito.users import PoolUser, find_pool, look_for_pool
from tasks.localenv.errors import LocalEnvError, ServiceFailed, UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, emulated_pool_file
from tasks.localenv.settings.people import Person
from tests.support.environments import Finished
from tests.support.seeded import PEOPLE

ANN = Person("ann", "ann", "Ann Ash", "ann@example.com")
BOB = Person("bob", "bob", "Bob Birch", "bob@example.com")
QUERIES = Queries(TOOL / "sql/users/cognito_ids.sql", TOOL / "sql/users/set_cognito_user_ids.sql")
SCHEMA = """
CREATE TABLE public.users (
    uuid uuid DEFAULT gen_random_uuid() PRIMARY KEY, handle text NOT NULL, email text NOT NULL,
    cognito_user_id text NOT NULL
)
"""


@pytest.fixture
def own(live: Settings, tmp_path: Path) -> Settings:
    """`live` for a project of its own: no pool is called after it yet."""
    return replace(live, project_id=f"test-{uuid.uuid4().hex[:8]}", state_dir=tmp_path)


@pytest.fixture
def with_users(own: Settings, database: Settings) -> Settings:
    """`own` with a database that has a table of users, and nobody in it."""
    name = database.postgres.database
    with connect(database.postgres, database="postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    with connect(database.postgres) as connection:
        connection.execute(SCHEMA)
    return replace(own, postgres=database.postgres)


def add_rows(settings: Settings, *handles: str, sub: str = "MOCK") -> None:
    with connect(settings.postgres) as connection:
        for handle in handles:
            connection.execute(
                "INSERT INTO users (handle, email, cognito_user_id) VALUES (%s, %s, %s)",
                (handle, f"{handle}@example.com", sub),
            )


def ids(settings: Settings) -> dict[str, str]:
    with connect(settings.postgres) as connection:
        return dict(connection.execute("SELECT handle, cognito_user_id FROM users ORDER BY handle").fetchall())


def facts(user: PoolUser) -> tuple[Any, ...]:
    return (user.person, user.handle, user.name, user.email, user.email_verified, user.status, user.enabled)


def add_pool_users(settings: Settings, *attributes: dict[str, str]) -> None:
    call, pool = api(settings, "cognito-idp"), find_pool(settings).id
    for given in attributes:
        listed = [{"Name": name, "Value": value} for name, value in given.items()]
        name = given.get("email") or f"u{uuid.uuid4().hex}@example.com"
        call("AdminCreateUser", UserPoolId=pool, Username=name, UserAttributes=listed)


def test_everybody_gets_a_confirmed_user_who_can_sign_in(own: Settings) -> None:
    said = seed.apply(own, [ANN, BOB])
    pool = find_pool(own)
    assert said == f"2 users in pool {pool.id}, 2 created"
    assert sorted(facts(user) for user in pool.users()) == [
        ("ann", "ann", "Ann Ash", "ann@example.com", True, "CONFIRMED", True),
        ("bob", "bob", "Bob Birch", "bob@example.com", True, "CONFIRMED", True),
    ]
    signed_in = api(own, "cognito-idp")(
        "InitiateAuth",
        ClientId=seed.find_client(pool),
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ann@example.com", "PASSWORD": seed.PASSWORD},
    )
    assert signed_in["AuthenticationResult"]["TokenType"] == "Bearer"
    assert emulated_pool_file(own.state_dir).read_text() == f"{pool.id}\n"


def test_a_second_seed_changes_nothing(own: Settings) -> None:
    seed.apply(own, [ANN, BOB])
    before = list(find_pool(own).users())
    assert seed.examine(own, [ANN, BOB]).is_complete
    assert seed.apply(own, [ANN, BOB]) == f"2 users in pool {find_pool(own).id}, unchanged"
    assert list(find_pool(own).users()) == before


def test_a_changed_person_keeps_their_sub(own: Settings) -> None:
    seed.apply(own, [ANN, BOB])
    before = {user.person: user.sub for user in find_pool(own).users()}
    renamed = replace(ANN, handle="annie", email="annie@example.com")
    assert seed.examine(own, [renamed, BOB]).plan() == [
        "update user ann: email 'annie@example.com', preferred_username 'annie', email_verified 'true'"
    ]
    assert seed.apply(own, [renamed, BOB]) == f"2 users in pool {find_pool(own).id}, 1 changed"
    after = {user.person: user for user in find_pool(own).users()}
    assert {user.person: user.sub for user in after.values()} == before
    assert facts(after["ann"]) == ("ann", "annie", "Ann Ash", "annie@example.com", True, "CONFIRMED", True)


def test_an_interrupted_seed_is_completed(own: Settings) -> None:
    seed.apply(own, [BOB])
    call, pool = api(own, "cognito-idp"), find_pool(own)
    call("AdminCreateUser", UserPoolId=pool.id, Username=ANN.email)
    emulated_pool_file(own.state_dir).unlink()
    found = seed.examine(own, [ANN, BOB])
    assert (found.is_complete, found.noted, len(found.changes)) == (False, False, 1)
    seed.apply(own, [ANN, BOB])
    assert [facts(user)[1:] for user in find_pool(own).users()] == [
        ("bob", "Bob Birch", "bob@example.com", True, "CONFIRMED", True),
        ("ann", "Ann Ash", "ann@example.com", True, "CONFIRMED", True),
    ]
    assert seed.examine(own, [ANN, BOB]).is_complete


def test_other_users_are_left_alone(own: Settings) -> None:
    seed.apply(own, [ANN])
    add_pool_users(own, {"email": "eve@example.com"}, {})
    strangers = seed.unseeded_users(own, [ANN])
    assert seed.apply(own, [replace(ANN, handle="annie")]) == f"3 users in pool {find_pool(own).id}, 1 changed"
    assert seed.unseeded_users(own, [ANN]) == strangers
    assert [user.handle for user in strangers] == [None, None]


def test_a_pool_that_vanished_is_made_anew_and_its_id_is_remembered(own: Settings) -> None:
    seed.apply(own, [ANN])
    first = find_pool(own).id
    api(own, "cognito-idp")("DeleteUserPool", UserPoolId=first)
    assert look_for_pool(own) is None
    seed.apply(own, [ANN])
    second = find_pool(own).id
    assert second != first
    assert users.noted_pools(own) == [second, first]


def test_a_missing_pool_names_the_command_that_makes_it(own: Settings) -> None:
    with pytest.raises(LocalEnvError) as raised:
        find_pool(own)
    assert raised.value.message == f"no user pool called {own.project_id} in the emulator at {own.cognito}"
    assert raised.value.hint == "run `inv cognito.seed`"


def test_the_prod_target_needs_a_real_pool(own: Settings) -> None:
    prod = replace(own, target="prod", dynamodb=None, cognito=None)
    with pytest.raises(UsageError, match="--target prod needs AWS_COGNITO_USER_POOL_ID, which is not set"):
        look_for_pool(prod)
    seed.apply(own, [ANN])
    emulated = find_pool(own).id
    with pytest.raises(UsageError, match=f"AWS_COGNITO_USER_POOL_ID names the emulated pool {emulated}"):
        look_for_pool(replace(prod, user_pool_id=emulated))


def test_all_pages_are_read(own: Settings) -> None:
    people = [Person(f"p{n}", f"p{n}", f"P {n}", f"p{n}@example.com") for n in range(130)]
    seed.apply(own, people)
    assert sorted(user.handle or "" for user in find_pool(own).users()) == sorted(p.handle for p in people)
    assert seed.examine(own, people).is_complete


def answers(*bodies: dict[str, Any]) -> tuple[Api, list[dict[str, Any]]]:
    """An API that gives these answers, and the parameters it was called with."""
    asked: list[dict[str, Any]] = []
    waiting = iter(bodies)

    def call(operation: str, /, **parameters: Any) -> dict[str, Any]:
        asked.append({"operation": operation, **parameters})
        return next(waiting)

    return call, asked


def test_an_empty_page_is_not_the_last_one() -> None:
    call, asked = answers(
        {"Users": [], "PaginationToken": "a"}, {"PaginationToken": "b"}, {"Users": [{"Username": "x"}]}
    )
    assert [user.username for user in users.Pool("p", call).users()] == ["x"]
    same = {"operation": "ListUsers", "UserPoolId": "p", "Limit": 60}
    assert asked == [same, {**same, "PaginationToken": "a"}, {**same, "PaginationToken": "b"}]


def test_a_page_that_leads_to_itself_is_an_error() -> None:
    call, _ = answers({"PaginationToken": "a"}, {"PaginationToken": "a"})
    with pytest.raises(ServiceFailed, match="ListUsers keeps returning the same page"):
        list(users.Pool("p", call).users())


def test_ids_are_synced_and_a_second_time_there_is_nothing_to_do(with_users: Settings) -> None:
    seed.apply(with_users, [ANN, BOB])
    subs = {user.handle: user.sub for user in find_pool(with_users).users()}
    add_rows(with_users, "ann", "bob", "eve")
    found = sync.compare(with_users, QUERIES)
    assert found.sentence == "0 of 3 users have their sub"
    assert sync.apply(with_users, QUERIES, found) == 2
    assert ids(with_users) == {**subs, "eve": "MOCK"}
    again = sync.compare(with_users, QUERIES)
    assert again.sentence == "2 of 3 users have their sub"
    assert again.lines() == [
        f"keep ann: has its sub {subs['ann']}",
        f"keep bob: has its sub {subs['bob']}",
        "no pool user for eve (id in the database: MOCK): no pool user has this preferred_username",
    ]
    assert sync.apply(with_users, QUERIES, again) == 0


def test_a_new_pool_replaces_the_old_ids(with_users: Settings) -> None:
    add_rows(with_users, "ann", sub="11111111-1111-4111-8111-111111111111")
    seed.apply(with_users, [ANN])
    (user,) = find_pool(with_users).users()
    found = sync.compare(with_users, QUERIES)
    assert found.lines() == [f"update ann: id 11111111-1111-4111-8111-111111111111 -> {user.sub}"]
    sync.apply(with_users, QUERIES, found)
    assert ids(with_users) == {"ann": user.sub}


def test_it_is_an_error_when_nobody_matches(with_users: Settings) -> None:
    seed.apply(with_users, [BOB])
    add_rows(with_users, "ann")
    with pytest.raises(LocalEnvError) as raised:
        sync.apply(with_users, QUERIES, sync.compare(with_users, QUERIES))
    pool = find_pool(with_users).id
    assert raised.value.message == f"none of the 1 users in the database has a user in pool {pool}, which has 1"
    assert raised.value.evidence == "ann (id in the database: MOCK): no pool user has this preferred_username"
    assert ids(with_users) == {"ann": "MOCK"}


def test_it_is_an_error_when_the_database_has_no_users(with_users: Settings) -> None:
    seed.apply(with_users, [BOB])
    with pytest.raises(LocalEnvError, match="the database has no users"):
        sync.apply(with_users, QUERIES, sync.compare(with_users, QUERIES))


def test_the_fix_is_a_command_that_works_as_it_stands(with_users: Settings) -> None:
    seed.apply(with_users, [BOB])
    add_pool_users(with_users, {"email": "ANN@example.com"})
    add_rows(with_users, "ann", "bob")
    (left,) = sync.compare(with_users, QUERIES).match.users
    stranger = next(user for user in find_pool(with_users).users() if user.person != "bob")
    assert left.fix == (
        f"run `aws cognito-idp admin-update-user-attributes --endpoint-url http://{with_users.cognito} "
        f"--region us-east-1 --user-pool-id {find_pool(with_users).id} --username {stranger.username} "
        "--user-attributes Name=preferred_username,Value=ann`"
    )


@pytest.fixture
def with_stranger(live: Settings) -> Iterator[Settings]:
    """`live`, with a pool user of whom nothing is known but an address; the other tests never meet them."""
    seed.apply(live, PEOPLE)
    known = {user.username for user in find_pool(live).users()}
    add_pool_users(live, {"email": "nobody@example.com"})
    yield live
    call, pool = api(live, "cognito-idp"), find_pool(live)
    for user in list(pool.users()):
        if user.username not in known:
            call("AdminDeleteUser", UserPoolId=pool.id, Username=user.username)


def test_list_users_shows_everybody_also_without_attributes(
    cli: Callable[..., Finished], with_stranger: Settings
) -> None:
    everybody = list(find_pool(with_stranger).users())
    text = cli("cognito.list-users")
    assert (text.code, text.stderr) == (0, "")
    assert text.stdout.splitlines()[0].split() == ["HANDLE", "NAME", "E-MAIL", "SUB", "USERNAME", "STATUS"]
    assert len(text.stdout.splitlines()) == len(everybody) + 1
    assert text.stdout.splitlines()[-1].split()[:3] == ["-", "-", "nobody@example.com"]
    listed = json.loads(cli("cognito.list-users", "--format", "json").stdout)["data"]
    assert sorted(user["sub"] for user in listed) == sorted(user.sub for user in everybody)
    assert {user["handle"] for user in listed} >= {None, "andrewbrown", "bayko", "londo"}


def test_seeding_is_skipped_for_a_real_pool(live: Settings) -> None:
    real = replace(live, cognito=None, user_pool_id="us-east-1_AbCdEfGhI")
    c: Any = SimpleNamespace(step=SimpleNamespace(settings=real))
    assert ns["cognito.seed"].check(c) == "AWS_COGNITO_USER_POOL_ID names a real pool: us-east-1_AbCdEfGhI"
    c.step.settings = replace(real, target="prod")
    assert ns["cognito.seed"].check(c) == "target prod: the users of a real pool are its own"


@pytest.fixture
def prod(with_users: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Production, played by `with_users`: its database, and its pool in place of a real one."""
    seed.apply(with_users, [ANN])
    monkeypatch.setattr(users, "api", lambda settings, service: api(with_users, service))
    monkeypatch.setenv("LOCALENV_STATE_DIR", str(with_users.state_dir / "prod"))
    monkeypatch.setenv("PROD_CONNECTION_URL", with_users.postgres.url(masked=False))
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", find_pool(with_users).id)
    with mock_aws():
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield with_users


def sync_ids(**options: Any) -> int:
    """Run cognito.sync-ids in this process; give its exit code."""
    try:
        GraphExecutor(ns, Config()).execute(("cognito.sync-ids", options))
    except Exit as end:
        return int(end.code)
    return 0


def test_production_is_written_to_with_its_name_alone(prod: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    add_rows(prod, "ann", "eve")
    assert sync_ids(target="prod") == 3
    assert ids(prod) == {"ann": "MOCK", "eve": "MOCK"}
    told = capsys.readouterr().err
    assert f"{prod.postgres.database} is production data, and nobody is here to confirm" in told
    assert "target prod: account 123456789012" in told
    assert "no pool user for eve (id in the database: MOCK): no pool user has this preferred_username" in told
    assert sync_ids(target="prod", confirm=prod.postgres.database) == 0
    (user,) = find_pool(prod).users()
    assert ids(prod) == {"ann": user.sub, "eve": "MOCK"}


def test_a_plan_shows_what_would_be_written_and_writes_nothing(
    prod: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    add_rows(prod, "ann")
    (user,) = find_pool(prod).users()
    assert sync_ids(target="prod", plan=True) == 0
    assert f"      update ann: id MOCK -> {user.sub}" in capsys.readouterr().out.splitlines()
    assert ids(prod) == {"ann": "MOCK"}


def test_the_command_fails_when_nobody_matches(prod: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    add_rows(prod, "eve")
    assert sync_ids(target="prod") == 1
    assert "none of the 1 users in the database has a user in pool" in capsys.readouterr().err
