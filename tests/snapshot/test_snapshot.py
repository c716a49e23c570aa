"""Snapshots of real servers: all three stores come back as they were, or none is changed."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.aws.emulatordoor import door_to
from tasks.localenv.cognito.seed import PASSWORD, find_client
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.dynamodb import copies
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema.definition import fetch_definition
from tasks.localenv.errors import LocalEnvError, UsageError
from tasks.localenv.postgres import databases, ledger, properties
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tasks.localenv.snapshot import listing, restore, save, undoing
from tasks.localenv.snapshot.entries import Entries
from tasks.localenv.snapshot.manifest import read_manifest
from tasks.localenv.snapshot.shelf import Shelf
from tests.support.environments import PATIENCE_S
from tests.support.keeping import restored, run, undone
from tests.support.seeded import complete, quiet
from tests.support.snapshots import Edit, Part, as_other_project, beside, change, flipped, leftovers, look, repacked


@pytest.fixture
def mine(live: Settings, tmp_path: Path, database: Settings, fresh: Settings) -> Iterator[Settings]:
    """The settings of a filled environment of its own."""
    settings = beside(live, complete(live, tmp_path / "state", database, fresh))
    yield settings
    copies.drop_table(connect_dynamodb(settings), f"{settings.message_table}-more")


def names(settings: Settings) -> list[tuple[str, str]]:
    return [(each.name, each.state) for each in listing.find(settings)]


def open_entries(settings: Settings) -> list[str]:
    return [each.entry.command for each in Entries(settings).all() if each.is_open]


def test_a_restore_brings_back_all_stores_and_undo_what_it_replaced(mine: Settings) -> None:
    saved = look(mine)
    save.save(mine, "a", quiet)
    changed = change(mine)
    assert (changed.postgres, changed.users) != (saved.postgres, saved.users) and changed.tables != saved.tables
    restored(mine, "a")
    assert look(mine) == saved
    undone(mine)
    assert look(mine) == changed
    undone(mine)
    assert look(mine) == saved
    assert names(mine) == [("a", "")]
    assert leftovers(mine) == []


def test_a_user_who_comes_back_signs_in_as_before(mine: Settings) -> None:
    pool = find_pool(mine)
    client_id = find_client(pool)
    save.save(mine, "a", quiet)
    change(mine)
    pool.call("DeleteUserPool", UserPoolId=pool.id)
    restored(mine, "a")
    assert (find_pool(mine).id, find_client(pool)) == (pool.id, client_id)
    signed_in = pool.call(
        "InitiateAuth",
        ClientId=client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "imani@example.com", "PASSWORD": PASSWORD},
    )
    assert signed_in["AuthenticationResult"]["TokenType"] == "Bearer"


def test_what_belongs_to_the_database_as_a_whole_comes_back(mine: Settings) -> None:
    name = mine.postgres.database
    with databases.maintenance(mine.postgres) as conn:
        conn.execute("CREATE ROLE clerk_of_snapshots")
        try:
            for statement in (
                "COMMENT ON DATABASE {} IS 'it''s ours'",
                "ALTER DATABASE {} CONNECTION LIMIT 77",
                'ALTER DATABASE {} SET search_path = "$user", "a, b", public',
                "ALTER DATABASE {} SET localenv.word = 'x=y'",
                "ALTER ROLE clerk_of_snapshots IN DATABASE {} SET work_mem = '5MB'",
                "REVOKE ALL ON DATABASE {} FROM PUBLIC",
                "GRANT CONNECT ON DATABASE {} TO clerk_of_snapshots WITH GRANT OPTION",
                "ALTER DATABASE {} OWNER TO clerk_of_snapshots",
            ):
                conn.execute(statement.format(name).encode())
            wanted = properties.fetch(conn, name)
            save.save(mine, "a", quiet)
            restored(mine, "a")
            assert properties.fetch(conn, name) == wanted
            assert [setting.value for setting in wanted.settings] == ["x=y", '"$user", "a, b", public', "5MB"]
        finally:
            databases.drop(conn, name)
            undoing.forget(mine, 0)
            conn.execute("DROP ROLE clerk_of_snapshots")


def test_clients_that_come_back_at_once_do_not_get_in_the_way(mine: Settings) -> None:
    import psycopg

    done, refusals = threading.Event(), []

    def client() -> None:
        while not done.is_set():
            try:
                with connect(mine.postgres, autocommit=True) as conn:
                    while not done.is_set():
                        conn.execute("SELECT 1")
            except psycopg.OperationalError:
                continue  # ended, as it should be
            except LocalEnvError as error:
                refusals.append(error.message)

    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in clients:
        thread.start()
    try:
        for _ in range(3):
            save.save(mine, "a", quiet)
    finally:
        done.set()
        for thread in clients:
            thread.join(PATIENCE_S)
    assert (names(mine), refusals) == ([("a", "")], [])


@pytest.mark.reliability("kills")
def test_what_a_killed_save_left_is_removed_by_the_next(mine: Settings) -> None:
    shelf = Shelf(mine)
    manifest_id, folder = shelf.new()
    (folder / "items-0.jsonl.gz").write_bytes(b"half")
    with databases.maintenance(mine.postgres) as conn:
        databases.create(conn, shelf.clone_name(manifest_id))
        databases.create(conn, shelf.clone_name("0000beef"))
    assert len(leftovers(mine)) == 3
    said: list[str] = []
    save.save(mine, "a", said.append)
    assert leftovers(mine) == []
    assert said == [
        f"cleaned up after a killed command: removed {manifest_id}",
        f"removed the clone {shelf.clone_name('0000beef')}, which a killed command left unfinished",
    ]


def test_a_clone_whose_folder_is_gone_is_listed_and_can_be_deleted(mine: Settings) -> None:
    save.save(mine, "a", quiet)
    shutil.rmtree(mine.state_dir / "snapshots")
    assert names(mine) == [("a", listing.ORPHAN)]
    listing.delete(mine, "a", quiet)
    assert names(mine) == []
    with pytest.raises(UsageError, match="there is no snapshot 'a'"):
        listing.require_deletable(mine, "a")


def test_only_the_items_that_differ_are_written(mine: Settings) -> None:
    client, table = connect_dynamodb(mine), mine.message_table
    saved = look(mine)
    save.save(mine, "a", quiet)
    changed, deleted, *_ = scan(client, table)
    key = {name: changed[name] for name in ("pk", "sk")}
    client.put_item(TableName=table, Item={**changed, "more": {"NS": ["2", "1"]}})
    client.delete_item(TableName=table, Key={name: deleted[name] for name in ("pk", "sk")})
    client.put_item(TableName=table, Item={"pk": key["pk"], "sk": {"S": "nobody's"}})
    made = client.describe_table(TableName=table)["Table"]["CreationDateTime"]
    restored(mine, "a")
    assert look(mine) == saved
    assert client.describe_table(TableName=table)["Table"]["CreationDateTime"] == made


def test_a_table_that_was_defined_otherwise_is_made_anew(mine: Settings) -> None:
    client, table = connect_dynamodb(mine), mine.message_table
    saved, shape = look(mine), fetch_definition(client, table).properties
    save.save(mine, "a", quiet)
    copies.drop_table(client, table)
    client.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    restored(mine, "a")
    assert (look(mine), fetch_definition(client, table).properties) == (saved, shape)


def keyed(name: str, *keys: str, **changes: Any) -> dict[str, Any]:
    """The parameters of a table with indexes that have these keys: "ab|cd", the partition's attributes first."""
    indexes = [
        {
            "IndexName": f"by-{number}",
            "KeySchema": [
                {"AttributeName": attribute, "KeyType": kind}
                for part, kind in zip(key.split("|"), ("HASH", "RANGE"), strict=True)
                for attribute in part
            ],
            "Projection": {"ProjectionType": "ALL"},
            **changes,
        }
        for number, key in enumerate(keys)
    ]
    names = sorted({"a", *"".join(keys).replace("|", "")})
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in names],
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": indexes,
    }


def test_a_table_whose_indexes_have_several_key_attributes_comes_back(mine: Settings) -> None:
    client, name = connect_dynamodb(mine), f"{mine.message_table}-more"
    client.create_table(**keyed(name, "abcd|efgh", "bc|", "b|cd", "bc|d"))
    client.put_item(TableName=name, Item={each: {"S": each} for each in "abcdefgh"})
    saved, shape = look(mine), fetch_definition(client, name)
    save.save(mine, "a", quiet)
    copies.drop_table(client, name)
    restored(mine, "a")
    assert (look(mine), fetch_definition(client, name)) == (saved, shape)


def test_a_table_that_could_not_be_restored_is_refused_at_save_and_nothing_is_left(
    mine: Settings, tmp_path: Path
) -> None:
    client, name = connect_dynamodb(mine), f"{mine.message_table}-more"
    save.save(mine, "a", quiet)
    client.create_table(**keyed(name, "abcde|"))
    held, wrong = look(mine), f"table {name} is not one that a snapshot could restore: .*KeyType is 'HASH'"
    with pytest.raises(LocalEnvError, match=wrong):
        save.save(mine, "b", quiet)
    with pytest.raises(LocalEnvError, match=wrong):
        save.save_file(mine, "b", tmp_path / "b.tar", quiet)
    with pytest.raises(LocalEnvError, match=wrong):
        restore.plan(mine, "a", None)
    with pytest.raises(LocalEnvError, match=wrong):
        restored(mine, "a")
    copies.drop_table(client, name)
    client.create_table(**keyed(name, "a|b", WarmThroughput={"ReadUnitsPerSecond": 13000}))
    with pytest.raises(LocalEnvError, match=r"a definition does not keep GlobalSecondaryIndexes\[0\].WarmThroughput"):
        save.save(mine, "b", quiet)
    assert (look(mine), names(mine), leftovers(mine)) == (held, [("a", "")], [])
    assert not (tmp_path / "b.tar").exists()


def test_a_real_pool_is_left_alone_and_that_is_said(mine: Settings) -> None:
    real = replace(mine, cognito=None, user_pool_id="us-east-1_RealPool1")
    assert save.save(real, "a", quiet).endswith("no emulated pool")
    users = look(mine).users
    said: list[str] = []
    with run(real) as its:
        restore.restore(its, "a", said.append)
    assert said == ["leave user pool us-east-1_RealPool1 as it is: it is a real one"]
    with run(mine) as its:
        restore.restore(its, "a", said.append)
    assert said[1:] == ["leave the emulated pool as it is: the snapshot was saved without one"]
    assert look(mine).users == users


def test_another_project_on_the_same_server_sees_none_of_it(mine: Settings, tmp_path: Path) -> None:
    save.save(mine, "a", quiet)
    other = as_other_project(mine, tmp_path / "other", "other-abcdef")
    assert names(other) == []
    with pytest.raises(UsageError, match="there is no snapshot 'a'"):
        restored(other, "a")
    save.save(other, "a", quiet)
    listing.delete(other, "a", quiet)
    assert names(mine) == [("a", "")]


def test_a_long_database_name_leaves_room_for_the_clones(mine: Settings) -> None:
    long = replace(mine, postgres=replace(mine.postgres, database=mine.postgres.database + "_" + "é" * 24))
    with databases.maintenance(mine.postgres) as conn:
        databases.clone(conn, mine.postgres, mine.postgres.database, long.postgres.database)
    try:
        save.save(long, "a", quiet)
        restored(long, "a")
        assert names(long) == [("a", "")]
    finally:
        listing.delete(long, "a", quiet)
        undoing.forget(long, 0)


def test_a_snapshot_that_was_tampered_with_is_refused_before_anything_changes(mine: Settings) -> None:
    save.save(mine, "a", quiet)
    changed = change(mine)
    (mine.state_dir / "snapshots" / "a" / "pool.json").write_text("{}")
    with pytest.raises(UsageError, match=r"snapshot a: pool.json has changed since it was saved"):
        restored(mine, "a")
    assert look(mine) == changed
    assert (names(mine), leftovers(mine)) == ([("a", "")], [])


def test_a_clone_that_is_gone_is_said_before_anything_changes(mine: Settings) -> None:
    save.save(mine, "a", quiet)
    with databases.maintenance(mine.postgres) as conn:
        databases.drop(conn, Shelf(mine).clone_name(Shelf(mine).read("a").id))
    assert names(mine) == [("a", listing.LOST)]
    with pytest.raises(UsageError, match=r"its clone is not on the server at"):
        restored(mine, "a")
    manifest = mine.state_dir / "snapshots" / "a" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"engine": "embedded"', '"engine": "docker"'))
    with pytest.raises(UsageError, match="was saved under the engine docker, and embedded runs now") as caught:
        restored(mine, "a")
    assert "--file a.tar.gz" in caught.value.hint


def test_a_snapshot_of_another_database_is_refused_and_keeps_its_clone(mine: Settings) -> None:
    save.save(mine, "a", quiet)
    name = mine.postgres.database
    other = replace(mine, postgres=replace(mine.postgres, database="other"))
    with pytest.raises(UsageError, match=f"was saved of database {name}, and CONNECTION_URL names other"):
        restored(other, "a")
    assert names(other) == [("a", "")]
    listing.delete(other, "a", quiet)
    assert (names(mine), leftovers(mine)) == ([], [])


def test_a_snapshot_that_is_being_saved_is_no_orphan(mine: Settings) -> None:
    save.save(mine, "a", quiet)
    folder = mine.state_dir / "snapshots"
    (folder / "a").rename(folder / f".new-{Shelf(mine).read('a').id}")
    assert names(mine) == [("a", listing.PENDING)]
    save.save(mine, "b", quiet)
    assert names(mine) == [("a", ""), ("b", "")]


def test_what_an_earlier_version_left_of_a_restore_is_kept_as_a_snapshot(mine: Settings) -> None:
    save.save(mine, "a", quiet)
    folder = mine.state_dir / "snapshots"
    (folder / "a").rename(folder / ".before")
    (folder / "unfinished.json").write_text("{}")
    said: list[str] = []
    save.save(mine, "b", said.append)
    told = "a restore of an earlier version was cut short: what it replaced is snapshot before-restore"
    assert said[0] == told and (names(mine), leftovers(mine)) == ([("b", ""), ("before-restore", "")], [])
    changed, saved = change(mine), Shelf(mine).read("before-restore")
    restored(mine, "before-restore")
    assert look(mine) != changed and saved.name == "a"


def test_a_file_goes_to_another_project_with_its_users(mine: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    saved = look(mine)
    save.save_file(mine, "a", file, quiet)
    change(mine)
    other = as_other_project(mine, tmp_path / "other", "other-abcdef")
    restored(other, "a", file=file)
    now = look(other)
    assert (now.tables, now.users) == (saved.tables, saved.users)
    assert now.postgres.rows == saved.postgres.rows
    assert ledger.observe(other.postgres).project_id == "other-abcdef"
    assert (other.state_dir / "user_pool").read_text() == (mine.state_dir / "user_pool").read_text()
    assert (names(other), leftovers(other)) == ([], [])
    undoing.forget(other, 0)


def with_pool(content: bytes) -> Edit:
    """Replace the pool, and make the manifest fit: nothing but the emulator itself can find that out."""

    def edit(parts: list[Part]) -> list[Part]:
        manifest: dict[str, Any] = json.loads(parts[0][1])
        manifest["cognito"]["file"] |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return [("manifest.json", json.dumps(manifest).encode()), *parts[1:-1], ("pool.json", content)]

    return edit


def test_a_failure_in_the_middle_goes_back_to_what_was_there(mine: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    save.save_file(mine, "a", file, quiet)
    state = json.loads(door_to(mine).fetch())
    state["__ministack_format__"] = 99
    changed = change(mine)
    with pytest.raises(LocalEnvError, match="written in format 99") as caught:
        restored(mine, "a", file=repacked(file, with_pool(json.dumps(state).encode())))
    assert caught.value.evidence == "kept: every store is as it was before"
    assert look(mine) == changed
    assert (names(mine), leftovers(mine), open_entries(mine)) == ([], [], [])


def test_a_failure_that_nobody_thought_of_goes_back_too(mine: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    save.save_file(mine, "a", file, quiet)
    changed = change(mine)

    def mistake(settings: Settings) -> None:
        raise KeyError("Item")

    with pytest.raises(KeyError):
        restored(mine, "a", file=file, prove=mistake)
    assert (look(mine), open_entries(mine)) == (changed, [])


def test_items_that_are_none_are_refused_before_anything_changes(mine: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    save.save_file(mine, "a", file, quiet)
    changed = change(mine)

    def edit(parts: list[Part]) -> list[Part]:
        content = gzip.compress(b"{}\n")
        manifest: dict[str, Any] = json.loads(parts[0][1])
        found = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for table in manifest["tables"]:
            table["content"] |= found
        kept = [(name, content if name.startswith("items-") else text) for name, text in parts[1:]]
        return [("manifest.json", json.dumps(manifest).encode()), *kept]

    with pytest.raises(UsageError, match=r"items of table .*:1:1: no 'pk', which is in the table's key"):
        restored(mine, "a", file=repacked(file, edit))
    assert (look(mine), open_entries(mine)) == (changed, [])


def test_sql_that_this_server_does_not_take_changes_nothing(mine: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    save.save_file(mine, "a", file, quiet)
    before = look(mine)

    def edit(parts: list[Part]) -> list[Part]:
        sql = parts[1][1] + b"CREATE NONSENSE;\n"
        manifest: dict[str, Any] = json.loads(parts[0][1])
        manifest["postgres"]["file"] |= {"size_bytes": len(sql), "sha256": hashlib.sha256(sql).hexdigest()}
        return [("manifest.json", json.dumps(manifest).encode()), ("postgres.sql", sql), *parts[2:]]

    with pytest.raises(LocalEnvError, match=r'postgres.sql:\d+:8: syntax error at or near "NONSENSE"') as caught:
        restored(mine, "a", file=repacked(file, edit))
    assert caught.value.evidence.endswith("nothing was restored")
    assert look(mine) == before


def test_a_bad_file_changes_nothing_and_leaves_nothing(mine: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    save.save_file(mine, "a", file, quiet)
    before = look(mine)
    with pytest.raises(UsageError, match=r"pool.json is damaged"):
        restored(mine, "a", file=repacked(file, lambda parts: [*parts[:-1], flipped(parts[-1])]))
    assert look(mine) == before
    assert (names(mine), leftovers(mine)) == ([], [])


def test_a_manifest_is_read_as_it_was_written(mine: Settings) -> None:
    save.save(mine, "A-1_b", quiet)
    text = (mine.state_dir / "snapshots" / "A-1_b" / "manifest.json").read_text()
    found = read_manifest(text, "it")
    assert found.as_json() == text
    assert found.sentence.startswith("25 rows, ") and found.sentence.endswith(", 6 pool users")
    assert Shelf(mine).twin("a-1_B") == "A-1_b"
