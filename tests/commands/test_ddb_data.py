"""ddb.query, ddb.export and ddb.import as typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.settings import Settings
from tests.support.answers import entries
from tests.support.chats import dump
from tests.support.environments import Finished, inv

Ddb = Callable[..., Finished]


@pytest.fixture
def ddb(live_environment: dict[str, str], fresh: Settings, tmp_path: Path) -> Ddb:
    """Run a command of ddb against a message table of its own, with three items."""
    apply_tables(connect(fresh), read_tables(fresh))
    items = ({"pk": {"S": "a"}, "sk": {"S": str(number)}, "n": {"N": str(number)}} for number in range(3))
    write(connect(fresh), fresh.message_table, puts(items))
    environ = {**live_environment, "DDB_MESSAGE_TABLE": fresh.message_table}

    def run(command: str, *words: str, text: str = "") -> Finished:
        return inv(f"ddb.{command}", *words, environ=environ, cwd=tmp_path, text=text)

    return run


def last_lines(done: Finished, count: int = 1) -> list[str]:
    lines = [re.sub(r" +", " ", re.sub(r"\d+\.\d\ds", "0s", line)).strip() for line in done.stderr.splitlines()]
    return lines[-count:]


def test_a_query_prints_its_items_and_what_they_cost(ddb: Ddb, fresh: Settings) -> None:
    name = fresh.message_table
    statement = f'SELECT * FROM "{name}" WHERE pk = ? AND n > ?'
    as_text = ddb("query", "--sql", statement, "--param", "a", "--param", '{"N": "0"}')
    assert (as_text.code, as_text.stdout.splitlines()) == (
        0,
        ["pk  sk  n", "--  --  -", "a   1   1", "a   2   2"],
    )
    assert re.fullmatch(rf"ok ddb.query 0s SELECT {name}: 2 items, [\d.]+ capacity units", last_lines(as_text)[0])
    as_json = ddb("query", "--sql", f'SELECT sk FROM "{name}"', "--limit", "2", "--format", "json")
    assert entries(as_json.stdout, "item") == [{"sk": "0"}, {"sk": "1"}]
    assert last_lines(as_json, 2)[0] == (
        f"warn ddb.query reads the whole table {name}: no pk = … or pk IN […] in WHERE"
    )


def test_a_query_changes_data_only_with_write(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text(f"DELETE FROM \"{fresh.message_table}\"\nWHERE pk = 'a' AND sk = '1'\n")
    refused = ddb("query", "--file", "q.sql")
    assert (refused.code, last_lines(refused, 4)) == (
        2,
        [
            "FAIL ddb.query q.sql:1:1: DELETE changes data",
            f'| DELETE FROM "{fresh.message_table}"',
            "| ^",
            "hint pass --write to let it change data",
        ],
    )
    planned = ddb("query", "--file", "q.sql", "--write", "--plan")
    assert planned.stdout.splitlines()[-1] == f"      DELETE {fresh.message_table}"
    assert len(dump(fresh)) == 3
    done = ddb("query", "--file", "q.sql", "--write")
    assert (done.code, [item["sk"] for item in dump(fresh)]) == (0, ["0", "2"])


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ((), 2, "ddb.query wants one statement, as text or as --file"),
        (("--sql", "SELECT * FROM nosuch"), 1, "table nosuch does not exist"),
        (("--sql", "SELECT * FROM t", "--limit", "-1"), 2, "--limit -1 is less than nothing"),
        (("--file", "nosuch.sql"), 2, "nosuch.sql: no such file or directory"),
    ],
)
def test_a_wrong_query_is_said(ddb: Ddb, words: tuple[str, ...], code: int, error: str) -> None:
    done = ddb("query", *words)
    assert (done.code, f"FAIL ddb.query {error}" in last_lines(done, 3)) == (code, True)


def test_an_export_comes_back_by_file_folder_and_pipe(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    name, before = fresh.message_table, dump(fresh)
    size = (tmp_path / "a.jsonl.gz", ddb("export", "--file", "a.jsonl.gz"))[0].stat().st_size
    assert last_lines(ddb("export", "a.jsonl.gz")) == [
        f"ok ddb.export 0s 3 items of {name} in a.jsonl.gz ({size} bytes)"
    ]
    piped = ddb("export", "-")
    assert piped.stdout == ddb("export").stdout
    assert piped.stdout.splitlines()[0] == '{"Item":{"n":{"N":"0"},"pk":{"S":"a"},"sk":{"S":"0"}}}'
    exported = last_lines(ddb("export", "--s3", "a folder"))[0]
    assert exported.startswith(f"ok ddb.export 0s 3 items of {name} in a folder (")
    assert exported.endswith(
        f"`aws s3 sync 'a folder/data' s3://YOUR-BUCKET/{name}/data`, then "
        "`aws dynamodb import-table --cli-input-json 'file://a folder/import-table.json'`"
    )
    both = ddb("export", "--s3", "b", "b.jsonl", "--plan")
    assert (both.code, last_lines(both, 2)[0]) == (
        2,
        "FAIL ddb.export ddb.export writes to b.jsonl or to --s3 b, not to both",
    )
    again = ddb("export", "--s3", "a folder")
    assert (again.code, last_lines(again, 2)[0]) == (2, "FAIL ddb.export a folder already exists and is not empty")
    for words in (("a.jsonl.gz",), ("--file", "a folder"), ("-",)):
        connect(fresh).delete_item(TableName=name, Key={"pk": {"S": "a"}, "sk": {"S": "1"}})
        done = ddb("import", *words, text=piped.stdout)
        assert f"ok ddb.import 0s 3 items for {name}: 1 new, 0 replaced, 2 unchanged" in last_lines(done, 3)
        assert dump(fresh) == before


def test_an_import_is_planned_without_a_write(ddb: Ddb, fresh: Settings) -> None:
    text = '{"pk": "a", "sk": "1", "n": 5}\n{"pk": "b", "sk": "1"}\n'
    done = ddb("import", "--file", "-", "--plan", text=text)
    assert (done.code, done.stdout.splitlines()[-1], len(dump(fresh))) == (
        0,
        f"      write to {fresh.message_table}, of 2 items: 1 new, 1 replaced, 0 unchanged",
        3,
    )
    kept = ddb("import", "--file", "-", "--only-new", text=text)
    said = f"ok ddb.import 0s 2 items for {fresh.message_table}: 1 new, 0 replaced, 0 unchanged, 1 kept as they are"
    assert said in last_lines(kept, 3)
    assert dump(fresh)[1] == {"pk": "a", "sk": "1", "n": 1}


def test_a_wrong_import_names_the_lines_and_writes_nothing(ddb: Ddb, fresh: Settings, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"pk": "b", "sk": "1"}\n{"pk": "b"}\n{"pk": "b", "sk": "1"}\n')
    done = ddb("import", "--file", "bad.jsonl")
    assert (done.code, last_lines(done, 2), len(dump(fresh))) == (
        2,
        [
            "FAIL ddb.import bad.jsonl:2:1: no 'sk', which is in the table's key",
            "| bad.jsonl:3: pk 'b', sk '1' is already on bad.jsonl:1",
        ],
        3,
    )
    nothing = ddb("import")
    assert (nothing.code, last_lines(nothing, 2)[0]) == (2, "FAIL ddb.import ddb.import wants a file")
