"""The ddb commands as typed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema import fetch_table
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tests.support.answers import entries
from tests.support.chats import GROUP, dump
from tests.support.environments import PATIENCE_S, Finished

Ddb = Callable[..., Finished]
HEADERS = f"# group: {GROUP}\n# Person 1: andrewbrown\n# Person 2: bayko\n"


@pytest.fixture
def ddb(cli: Ddb, fresh: Settings) -> Ddb:
    """Run a command of ddb against a message table of its own."""

    def run(command: str, *words: str, **environ: str) -> Finished:
        return cli(f"ddb.{command}", *words, DDB_MESSAGE_TABLE=fresh.message_table, **environ)

    return run


def lines(text: str) -> list[str]:
    """Give the lines of a report with seconds and spaces evened out, without those of env.up."""
    evened = (re.sub(r" +", " ", re.sub(r"\d+\.\d\ds", "0s", line)).strip() for line in text.splitlines())
    return [line for line in evened if "env.up" not in line]


def test_seed_alone_brings_all_that_it_needs(ddb: Ddb, fresh: Settings) -> None:
    done = ddb("seed")
    assert (done.code, lines(done.stderr)[-1]) == (
        0,
        "ok ddb.seed 0s 120 messages written, the last one now, 4 group rows written",
    )
    again = ddb("seed")
    *needed, last = lines(again.stderr)
    assert "skip ddb.schema-load 1 table ACTIVE and as ddb/tables says" in needed
    assert (again.code, last.rpartition(",")[0]) == (0, "skip ddb.seed 120 messages and 4 group rows unchanged")
    assert len(dump(fresh)) == 124


def test_a_plan_changes_nothing(ddb: Ddb, fresh: Settings) -> None:
    done = ddb("schema-load", "--plan")
    assert (done.code, [line for line in lines(done.stdout) if line]) == (
        0,
        [
            "run ddb.schema-load",
            f"+ table {fresh.message_table}: key pk (S), sk (S), throughput 5/5, stream NEW_IMAGE",
            f"+ index message-group-sk-index of {fresh.message_table}: "
            "key message_group_uuid (S), sk (S), projection ALL, throughput 5/5",
        ],
    )
    assert fetch_table(connect(fresh), fresh.message_table) is None


def test_the_plan_of_a_seed_tells_what_would_be_written(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    ddb("seed")
    (tmp_path / "talk.txt").write_text(HEADERS + "Person 1: only this\n")
    before = dump(fresh)
    done = ddb("seed", "--file", str(tmp_path / "talk.txt"), "--plan")
    assert [line for line in lines(done.stdout) if line.startswith(("+", "-"))] == [
        f"+ 1 message of {tmp_path}/talk.txt (not as the file and the users are now)",
        f"- 108 old messages of {tmp_path}/talk.txt (not as the file and the users are now)",
        f"+ 2 group rows of {tmp_path}/talk.txt (not as the file and the users are now)",
        f"- 2 old group rows of {tmp_path}/talk.txt (not as the file and the users are now)",
    ]
    assert dump(fresh) == before


def test_a_file_is_given_from_any_folder(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text(HEADERS + "Person 1: only this\n")
    done = ddb("seed", "--file", "talk.txt")  # the cli fixture runs in tmp_path
    assert (done.code, [item["message"] for item in dump(fresh)]) == (0, ["only this"] * 3)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (HEADERS + "Person 1: a\nPerson 3: b\n", "talk.txt:5:1: neither 'Person 1:' nor 'Person 2:'"),
        (
            HEADERS.replace("bayko", "baiko") + "Person 1: a\n",
            "talk.txt:3:13: nobody in seeds/people.csv is called 'baiko'",
        ),
    ],
)
def test_a_wrong_conversation_writes_nothing(ddb: Ddb, fresh: Settings, tmp_path: Path, text: str, error: str) -> None:
    ddb("schema-load")
    (tmp_path / "talk.txt").write_text(text)
    done = ddb("seed", "--file", "talk.txt")
    assert (done.code, f"FAIL ddb.seed {error}" in lines(done.stderr), dump(fresh)) == (2, True, [])
    assert "Traceback" not in done.stderr


def test_a_wrong_table_file_makes_no_table(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('{"TableName": "cruddur-messages"\n "KeySchema": []}')
    done = ddb("schema-load", "--file", "table.json")
    assert (done.code, lines(done.stderr)) == (
        2,
        [
            "FAIL ddb.schema-load table.json:2:2: not JSON: expecting ',' delimiter",
            "hint check the quotes, commas and brackets here",
        ],
    )
    assert fetch_table(connect(fresh), fresh.message_table) is None


def test_a_table_file_may_come_by_a_pipe(ddb: Ddb, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    content = (TOOL / "ddb/tables/cruddur-messages.json").read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    done = ddb("schema-load", "--file", "pipe")
    writer.join()
    assert (done.code, lines(done.stderr)[-1]) == (
        0,
        "ok ddb.schema-load 0s 1 table created; 1 ACTIVE and as pipe says",
    )


NAMELESS = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Messages:
    Type: AWS::Serverless::SimpleTable
    Properties: {PrimaryKey: {Name: pk, Type: String}}
"""


def test_a_name_that_is_given_here_is_said_once_by_plan_and_by_run(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(NAMELESS)
    name = fresh.message_table
    note = f"ddb.schema-load | no TableName in template.yaml:5:17: using {name}"
    planned = ddb("schema-load", "--file", "template.yaml", "--plan")
    assert (planned.code, lines(planned.stdout)[-1], lines(planned.stderr)) == (
        0,
        f"+ table {name}: key pk (S), throughput on demand",
        [note],
    )
    done = ddb("schema-load", "--file", "template.yaml")
    assert (done.code, lines(done.stderr)) == (
        0,
        [note, "ok ddb.schema-load 0s 1 table created; 1 ACTIVE and as template.yaml says"],
    )
    again = ddb("schema-load", "--file", "template.yaml")
    assert lines(again.stderr) == [note, "skip ddb.schema-load 1 table ACTIVE and as template.yaml says"]


@pytest.mark.parametrize("words", [(), ("--force",), ("--replace",), ("--plan",)])
def test_a_template_without_a_table_is_passed_over_and_said(ddb: Ddb, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "serverless.yml").write_text("service: chat\nprovider: {name: aws}\n")
    done = ddb("schema-load", "--file", "serverless.yml", *words)
    note = "ddb.schema-load | serverless.yml: no table in it, skipped"
    assert (done.code, lines(done.stderr)[0]) == (0, note)
    assert "no table in the table files: nothing to do" in done.stderr + done.stdout


def test_a_difference_is_planned_and_then_made(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    ddb("schema-load")
    table = json.loads((TOOL / "ddb/tables/cruddur-messages.json").read_text())
    table["StreamSpecification"]["StreamViewType"] = "OLD_IMAGE"
    (tmp_path / "table.json").write_text(json.dumps(table))
    name = fresh.message_table
    change = f"~ table {name}: stream OLD_IMAGE (was NEW_IMAGE); turned off and on, with a new ARN"
    planned = ddb("schema-load", "--file", "table.json", "--plan")
    assert (planned.code, lines(planned.stdout)) == (0, ["run ddb.schema-load", change])
    done = ddb("schema-load", "--file", "table.json")
    assert (done.code, lines(done.stderr)) == (
        0,
        [
            f"ddb.schema-load | {change}",
            f"ddb.schema-load | ~ table {name}: stream OLD_IMAGE (was none)",
            "ok ddb.schema-load 0s 0 tables created, 2 changes made; 1 ACTIVE and as table.json says",
        ],
    )
    again = ddb("schema-load", "--file", "table.json")
    assert lines(again.stderr) == ["skip ddb.schema-load 1 table ACTIVE and as table.json says"]


def test_tables_are_listed_and_described(ddb: Ddb, fresh: Settings) -> None:
    ddb("schema-load")
    listed = next(line for line in lines(ddb("list-tables").stdout) if fresh.message_table in line)
    assert listed == f"{fresh.message_table} ACTIVE 0 pk (S), sk (S) message-group-sk-index 5/5 NEW_IMAGE"
    data = json.loads(ddb("list-tables", "--format", "json").stdout)["data"]
    assert [table for table in data if table["table"] == fresh.message_table] == [
        {
            "table": fresh.message_table,
            "status": "ACTIVE",
            "items": 0,
            "key": "pk (S), sk (S)",
            "indexes": "message-group-sk-index",
            "throughput": "5/5",
            "stream": "NEW_IMAGE",
        }
    ]
    assert lines(ddb("describe").stdout)[:3] == [f"table {fresh.message_table}", "status ACTIVE", "key pk (S), sk (S)"]
    described = json.loads(ddb("describe", "--format", "json").stdout)
    assert described["data"]["TableName"] == fresh.message_table


@pytest.mark.parametrize("words", [("describe", "nosuch"), ("scan", "nosuch"), ("scan", "--table", "nosuch")])
def test_a_missing_table_is_said(ddb: Ddb, words: tuple[str, ...]) -> None:
    done = ddb(*words)
    assert (done.code, done.stdout, lines(done.stderr)) == (
        1,
        "",
        [
            f"FAIL ddb.{words[0]} table nosuch does not exist",
            "hint run `inv ddb.schema-load` if its file is in ddb/tables, or run `inv ddb.list-tables` to see which do",
        ],
    )


def test_scan_prints_items_for_people_or_as_json_lines(ddb: Ddb, fresh: Settings) -> None:
    ddb("seed")
    as_json = ddb("scan", "--format", "json")
    items = entries(as_json.stdout, "item")
    assert sorted(items, key=lambda item: (item["pk"], item["sk"])) == dump(fresh)
    assert lines(as_json.stderr) == [f"ok ddb.scan 0s 124 items of {fresh.message_table}"]
    as_text = ddb("scan", "--limit", "2").stdout.splitlines()
    assert [line.split()[0] for line in as_text if line.startswith("  ")] == [
        "message",
        *(["message_group_uuid"] if "message_group_uuid" in items[0] else ["message_uuid"]),
        "user_display_name",
        "user_handle",
        "user_uuid",
    ] * 2
    assert [len(line.split()) for line in as_text if not line.startswith("  ")] == [2, 2]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--limit", "-1"), "--limit -1 is less than nothing"),
        (("--format", "jsn"), "--format 'jsn' is not one of text, json"),
    ],
)
def test_a_wrong_option_of_scan_is_said(ddb: Ddb, words: tuple[str, ...], error: str) -> None:
    done = ddb("scan", *words)
    assert (done.code, lines(done.stderr)[0]) == (2, f"FAIL ddb.scan {error}")


def test_a_reader_that_has_enough_is_no_error(ddb: Ddb, fresh: Settings, live_environment: dict[str, str]) -> None:
    ddb("seed")
    command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "ddb.scan"]
    environ = {"PATH": os.environ["PATH"], **live_environment, "DDB_MESSAGE_TABLE": fresh.message_table}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scanning:
        assert scanning.stdout is not None and scanning.stderr is not None
        scanning.stdout.close()
        assert (scanning.stderr.read().decode(), scanning.wait(PATIENCE_S)) == ("", 0)


def test_drop_asks_and_takes_yes(ddb: Ddb, fresh: Settings) -> None:
    ddb("schema-load")
    asked = ddb("drop")
    assert (asked.code, lines(asked.stderr)) == (
        3,
        [
            f"ddb.drop | will drop table {fresh.message_table}, 0 items, 0 bytes",
            "FAIL ddb.drop nothing was changed: the answer was not yes",
            "hint run `inv ddb.drop --yes`",
        ],
    )
    assert fetch_table(connect(fresh), fresh.message_table) is not None
    dropped = ddb("drop", "--yes")
    said = f"ok ddb.drop 0s dropped table {fresh.message_table}, 0 items, 0 bytes"
    assert (dropped.code, said in lines(dropped.stderr)) == (0, True)
    gone = ddb("drop", "--yes")
    assert (gone.code, lines(gone.stderr)[-1]) == (0, f"skip ddb.drop there is no table {fresh.message_table}")


def test_drop_respects_deletion_protection(ddb: Ddb, fresh: Settings) -> None:
    ddb("schema-load")
    connect(fresh).update_table(TableName=fresh.message_table, DeletionProtectionEnabled=True)
    done = ddb("drop", "--yes")
    assert (done.code, lines(done.stderr)[0]) == (
        1,
        f"FAIL ddb.drop table {fresh.message_table} has deletion protection",
    )
    assert fetch_table(connect(fresh), fresh.message_table) is not None


def test_a_described_table_may_be_written_to_a_table_file(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    ddb("schema-load")
    described = ddb("describe", "--as-file")
    assert described.code == 0
    (tmp_path / "again.json").write_text(described.stdout)
    again = ddb("schema-load", "--file", "again.json")
    assert (again.code, lines(again.stderr)) == (0, ["skip ddb.schema-load 1 table ACTIVE and as again.json says"])


def test_what_needs_the_table_stops_at_another_key_and_names_the_command(ddb: Ddb, fresh: Settings) -> None:
    name = fresh.message_table
    connect(fresh).create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    done = ddb("seed")
    report = [line for line in lines(done.stderr) if "db.setup" not in line]
    assert (done.code, report[-3:]) == (
        3,
        [
            f"FAIL ddb.schema-load table {name}: key pk (S), sk (S) (was pk (S)): DynamoDB cannot change that in place",
            "hint run `inv ddb.schema-load --replace`: it recreates the table and keeps the items",
            "not run ddb.seed",
        ],
    )


def test_what_needs_the_table_changes_it_in_place(ddb: Ddb, fresh: Settings) -> None:
    ddb("schema-load")
    connect(fresh).update_table(
        TableName=fresh.message_table,
        GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "message-group-sk-index"}}],
    )
    done = ddb("seed")
    told = "ok ddb.schema-load 0s 0 tables created, 1 change made; 1 ACTIVE and as ddb/tables says"
    assert (done.code, told in lines(done.stderr)) == (0, True)
