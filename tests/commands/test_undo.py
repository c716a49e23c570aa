"""`inv undo` as typed: each command that replaces something can be undone, over all stores, and the undo as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.dynamodb import copies, schema
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.dynamodb.schema.definition import fetch_definition
from tasks.localenv.postgres import databases
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.snapshot.entries import Entries
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.support.seeded import quiet
from tests.support.snapshots import State, change, leftovers, look

ITEM = '{"pk": {"S": "GRP#x"}, "sk": {"S": "2026-01-01"}}\n'
OTHER_KEY = {
    "Type": "AWS::DynamoDB::Table",
    "Properties": {
        "TableName": "cruddur-messages",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    },
}


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    made = environment(reachable(tmp_path_factory.mktemp("undo")) / "state")
    done = inv("initial-setup", environ=made)
    assert done.code == 0, done.stderr
    yield made
    engines.destroy(read_settings(environ=made), quiet)


@pytest.fixture
def mine(environ: dict[str, str]) -> Iterator[Settings]:
    """The settings of an environment that has its seeds; nothing is left over at the end."""
    settings = permitted(read_settings(environ=environ))
    copies.drop_table(connect_dynamodb(settings), f"{settings.message_table}-more")
    for words in (["reset", "--yes"], ["undo", "--keep", "0"], ["initial-setup"]):
        done = inv(*words, environ=environ)
        assert done.code == 0, done.stderr
    yield settings
    assert leftovers(settings) == []


@pytest.fixture
def do(environ: dict[str, str], tmp_path: Path) -> Any:
    def run(*words: str, code: int = 0) -> Finished:
        done = inv(*words, environ=environ, cwd=tmp_path)
        assert done.code == code, done.stderr
        return done

    return run


def listed(do: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(do("undo", "--list", "--format", "json").stdout)["data"]
    return found


def count(settings: Settings, table: str) -> int:
    with connect(settings.postgres, autocommit=True) as conn:
        row = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    return int(row[0]) if row else 0


REPLACING: list[tuple[list[str], list[str]]] = [
    (["reset", "--yes"], ["database cruddur", "table cruddur-messages (123 items)", "5 pool users"]),
    (["db.setup", "--force"], ["database cruddur"]),
    (["db.reset"], ["database cruddur"]),
    (["db.drop", "--yes"], ["database cruddur"]),
    (["db.schema-load", "--file", "more.sql"], ["database cruddur"]),
    (["ddb.drop", "--yes"], ["table cruddur-messages (123 items)"]),
    (["ddb.schema-load", "--file", "other.json", "--replace", "--yes"], ["table cruddur-messages (123 items)"]),
    (["ddb.import", "items.jsonl"], ["table cruddur-messages (123 items)"]),
    (
        ["snapshot.restore", "kept", "--yes"],
        [
            "database cruddur",
            "table cruddur-messages (123 items)",
            "table cruddur-messages-more (0 items)",
            "5 pool users",
        ],
    ),
]


@pytest.mark.parametrize(("words", "brings_back"), REPLACING, ids=lambda value: " ".join(value[:2]))
def test_what_a_command_replaced_comes_back_and_can_go_again(
    mine: Settings, do: Any, tmp_path: Path, words: list[str], brings_back: list[str]
) -> None:
    (tmp_path / "more.sql").write_text("CREATE TABLE more (id int);\nDROP TABLE activities;\n")
    (tmp_path / "items.jsonl").write_text(ITEM)
    one = {"Resources": {"Messages": OTHER_KEY}}
    (tmp_path / "other.json").write_text(json.dumps(one))
    if words[0] == "snapshot.restore":
        do("snapshot.save", "kept", "--yes")
    change(mine)
    if "--replace" in words:  # only one item a partition fits a table without sort key
        for item in list(connect_dynamodb(mine).scan(TableName=mine.message_table)["Items"])[1:]:
            key = {name: item[name] for name in ("pk", "sk")}
            connect_dynamodb(mine).delete_item(TableName=mine.message_table, Key=key)
        brings_back = ["table cruddur-messages (1 item)"]
    before = seen(mine)
    told = do(*words).stderr
    assert f"`inv undo` brings back {', '.join(brings_back)}\n" in told
    after = seen(mine)
    assert after != before
    (entry,) = listed(do)
    assert (entry["command"], entry["bringsBack"], entry["state"]) == (f"inv {' '.join(words)}", brings_back, "ok")
    for state in (before, after, before):
        do("undo")
        assert seen(mine) == state
    assert len(listed(do)) == 1


def seen(settings: Settings) -> tuple[State | str, list[dict[str, Any]]]:
    """What the stores hold, and how their tables are defined."""
    client = connect_dynamodb(settings)
    shapes = [fetch_definition(client, name).properties for name in sorted(schema.fetch_names(client))]
    with databases.maintenance(settings.postgres) as conn:
        there = databases.exists(conn, settings.postgres.database)
    return (look(settings) if there else "no database"), shapes


def test_one_table_that_comes_back_does_not_rewind_another_store(mine: Settings, do: Any) -> None:
    do("ddb.drop", "--yes")
    changed = change_rows(mine)
    do("undo")
    assert (count(mine, "users"), changed) == (changed, count(mine, "users"))
    with connect(mine.postgres, autocommit=True) as conn:
        row = conn.execute("SELECT count(*) FROM users WHERE display_name LIKE '% II'").fetchone()
    assert row == (changed,)


def change_rows(settings: Settings) -> int:
    with connect(settings.postgres, autocommit=True) as conn:
        return conn.execute("UPDATE users SET display_name = display_name || ' II'").rowcount


def test_what_changed_since_is_named_and_asked_about(mine: Settings, do: Any) -> None:
    do("reset", "--yes")
    change_rows(mine)
    with connect(mine.postgres, autocommit=True) as conn:
        conn.execute("DELETE FROM activities WHERE uuid = (SELECT uuid FROM activities LIMIT 1)")
    do("ddb.send-message", "--as", "andrewbrown", "--to", "bayko", "--text", "hello")
    pool = find_pool(mine)
    pool.call("AdminCreateUser", UserPoolId=pool.id, Username="new@example.com")
    pool.call("AdminDeleteUser", UserPoolId=pool.id, Username="imani@example.com")
    asked = do("undo", code=3).stderr
    for line in (
        "will lose what changed since: 6 rows of database cruddur were added or changed",
        "will lose what changed since: 1 row of database cruddur was removed",
        "will lose what changed since: table cruddur-messages has 1 item more",
        "will lose what changed since: 1 user signed up: new@example.com",
        "will lose what changed since: 1 user left the pool: imani@example.com",
        "`inv undo --yes`",
    ):
        assert line in asked
    present = look(mine)
    do("undo", "--yes")
    assert look(mine) != present
    do("undo")
    assert look(mine) == present


def test_so_many_are_kept_the_oldest_goes_first_and_any_of_them_comes_back(mine: Settings, do: Any) -> None:
    for number in range(4):
        with connect(mine.postgres, autocommit=True) as conn:
            conn.execute(b"UPDATE users SET display_name = '%d'" % number)
        told = do("db.reset").stderr
    assert " ago) cannot be undone any more: only 3 are kept" in told
    entries = listed(do)
    assert [entry["command"] for entry in entries] == ["inv db.reset"] * 3
    do("undo", entries[1]["id"])
    with connect(mine.postgres, autocommit=True) as conn:
        assert conn.execute("SELECT DISTINCT display_name FROM users").fetchall() == [("2",)]
    shown = do("undo", "--list").stdout.splitlines()
    assert shown[0].split()[:4] == ["ID", "WHEN", "COMMAND", "SIZE"]
    assert [line.split()[-2:] for line in shown[1:]] == [["database", "cruddur"]] * 3
    assert "removed 2; the newest 1 are kept" in do("undo", "--keep", "1").stderr
    assert len(listed(do)) == 1


def test_more_than_a_size_is_not_kept_but_the_newest_always_is(
    mine: Settings, do: Any, environ: dict[str, str]
) -> None:
    small = {**environ, "LOCALENV_UNDO_MB": "1"}
    for _ in range(2):
        told = inv("db.reset", environ=small).stderr
    assert "cannot be undone any more: all together have more than 0.001 GB" in told
    assert len(listed(do)) == 1
    told = inv("db.reset", environ={**environ, "LOCALENV_UNDO_KEEP": "0"}).stderr
    assert ("cannot be undone any more: only 0 are kept" in told, "brings back" in told) == (True, False)
    assert listed(do) == []


def test_a_command_that_fails_leaves_what_it_replaced_and_one_that_changed_nothing_leaves_nothing(
    mine: Settings, do: Any, tmp_path: Path
) -> None:
    before = look(mine)
    (tmp_path / "bad.sql").write_text("DROP TABLE activities;\nSELEC 1;\n")
    do("db.schema-load", "--file", "bad.sql", code=1)
    assert (look(mine), listed(do)) == (before, [])
    (tmp_path / "one.sql").write_text("INSERT INTO nosuch VALUES (1)")
    told = do("db.drop", "--yes", "db.query", "--write", "--file", "one.sql", code=1).stderr
    assert "`inv undo` brings back database cruddur" in told
    assert "is under way or was cut short: run it again, or `inv undo` brings back" in do("db.sessions").stderr
    do("undo", "--yes")
    assert (look(mine), "cut short" in do("db.sessions").stderr) == (before, False)


def test_what_an_earlier_version_kept_comes_back_too(mine: Settings, do: Any) -> None:
    before, name = look(mine), mine.postgres.database
    with databases.maintenance(mine.postgres) as conn:
        databases.clone(conn, mine.postgres, name, f"{name}__undo")
    change_rows(mine)
    (entry,) = listed(do)
    assert (entry["id"], entry["bringsBack"]) == ("earlier", [f"database {name}"])
    assert "what has changed since is not known" in do("undo", code=3).stderr
    do("undo", "--yes")
    assert look(mine) == before


def test_a_database_whose_note_is_lost_is_listed_and_comes_back(mine: Settings, do: Any) -> None:
    before = look(mine)
    do("db.reset")
    (entry,) = Entries(mine).all()
    assert entry.folder
    (entry.folder / "entry.json").unlink()
    do("undo", "--yes")
    assert look(mine) == before


def test_there_is_nothing_to_undo_after_what_keeps_nothing(mine: Settings, do: Any) -> None:
    do("db.query", "--write", "DELETE FROM activities")
    do("ddb.send-message", "--as", "andrewbrown", "--to", "bayko", "--text", "hello")
    do("db.setup")
    do("ddb.export", "--file", "items.jsonl")
    do("ddb.import", "items.jsonl")
    assert listed(do) == []
    assert "there is nothing to undo" in do("undo", code=1).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope"], "'nope' is not the id of something to undo"),
        (["0000beef"], "there is no '0000beef' to undo"),
        (["--keep", "x"], "--keep: 'x' is not a whole number"),
        (["--keep", "1", "--list"], "undo brings back one state, or lists them with --list, or removes some"),
        (["--target", "prod"], "undo does not exist for --target prod"),
    ],
)
def test_what_cannot_be_is_said(mine: Settings, do: Any, words: list[str], said: str) -> None:
    assert said in do("undo", *words, code=2).stderr
