"""Files of data into tables: what lands is what psql's \\copy makes of the file, and what is in doubt is asked."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.errors import LocalEnvError, UsageError
from tasks.localenv.machine.wheel import installed_programs
from tasks.localenv.postgres import dataload, load
from tasks.localenv.postgres.connection import client_environment, connect
from tasks.localenv.postgres.csvform import Asked
from tasks.localenv.settings import Settings
from tests.support.projects import rows, run_sql

TABLE = """
create table t (
    id int generated always as identity, name text not null, n numeric, made timestamptz, doc jsonb, tags text[],
    size int generated always as (length(name)) stored, note text default 'none'
);
create table twin (like t including all)
"""


@pytest.fixture
def base(database: Settings) -> Settings:
    load.create(database)
    run_sql(database, TABLE)
    return database


def put(tmp_path: Path, content: str | bytes, name: str = "a.csv") -> Path:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return tmp_path / name


def loaded(settings: Settings, path: Path, table: str = "t", **asked: Any) -> int:
    dataload.check_file(settings, path, Asked(**asked))
    return dataload.load(settings, path, table, Asked(**asked))[2]


def refused(settings: Settings, path: Path, table: str = "t", **asked: Any) -> LocalEnvError:
    before = rows(settings, f"select * from {table} order by 1") if table == "t" else []
    with pytest.raises(LocalEnvError) as caught:
        loaded(settings, path, table, **asked)
    caught.value.message = caught.value.message.replace(f"{path.parent}/", "")
    assert (rows(settings, f"select * from {table} order by 1") if table == "t" else []) == before
    return caught.value


def by_psql(settings: Settings, path: Path, columns: str, options: str = "") -> None:
    command = f"\\copy twin ({columns}) from '{path}' csv header {options}"
    program = str(installed_programs() / "bin" / "psql")
    subprocess.run(
        [program, "-X", "-v", "ON_ERROR_STOP=1", "-c", command], env=client_environment(settings.postgres), check=True
    )


FILES = {
    "name,n\nann,1\nbob,\n": "",
    'name,note\nann,\nbob,""\n"c, d","say ""hi"""\n': "",
    'name,note\n"two\nlines",x\n': "",
    "name,n\r\nann,1\r\nbob,2.50\r\n": "",
    "name;n\nann;1\nb,c;2\n": "delimiter ';'",
    "name\tnote\nann\tx, y; z\n": "delimiter E'\\t'",
    "name|note\nann|a;b\n": "delimiter '|'",
    "name\nann\nbob\n": "",
    'name,doc,tags,made\nann,"{""a"": [1, 2]}","{x,""y z""}",2026-01-02T03:04:05Z\n': "",
    "id,name\n7,ann\n9,bob\n": "",
    "\ufeffname,n\nänn,1\n": "",
    'name,note\nann,\\N\nbob,\\\n"x"y,"a"b"c"\n': "",
    "name,note\n ann , x \n": "",
    "name,n\nann,1": "",
}


@pytest.mark.parametrize("content", FILES)
def test_what_lands_is_what_psql_makes_of_it(content: str, base: Settings, tmp_path: Path) -> None:
    path = put(tmp_path, content)
    options = FILES[content]
    delimiter = {"delimiter ';'": ";", "delimiter E'\\t'": "\t", "delimiter '|'": "|"}.get(options, ",")
    columns = content.lstrip("\ufeff").splitlines()[0].replace(delimiter, ",")
    by_psql(base, path, columns, options)
    loaded(base, path)
    found = rows(base, "select t::text from t order by id")
    assert found == rows(base, "select twin::text from twin order by id")
    assert found


def test_a_file_of_each_encoding_lands_alike(base: Settings, tmp_path: Path) -> None:
    text = "name,note\nänn,ü\n"
    loaded(base, put(tmp_path, text.encode("utf-16")))
    loaded(base, put(tmp_path, text.encode("utf-8-sig")))
    loaded(base, put(tmp_path, text.encode("latin-1")), encoding="latin-1")
    loaded(base, put(tmp_path, text.encode("utf-16-be")), encoding="utf-16-be")
    loaded(base, put(tmp_path, gzip.compress(text.encode()), "a.csv.gz"))
    assert rows(base, "select name, note from t") == [("änn", "ü")] * 5


def test_a_file_without_a_header_goes_by_position(base: Settings, tmp_path: Path) -> None:
    loaded(base, put(tmp_path, "ann,1,2026-01-01,{},{},x\n"))  # without the identity
    loaded(base, put(tmp_path, "7,bob,1,2026-01-01,{},{},x\n"))
    assert rows(base, "select id, name from t order by 2") == [(1, "ann"), (7, "bob")]
    run_sql(base, "create table words (word text, meaning text)")
    assert "--no-header" in refused(base, put(tmp_path, "sun,star\n"), "words").hint
    assert loaded(base, put(tmp_path, "sun,star\n"), "words", header=False) == 1


def test_generated_columns_of_a_file_are_left_out(base: Settings, tmp_path: Path) -> None:
    loaded(base, put(tmp_path, 'name,size,note\nann,99,x\n"b,""\nc",98,"y,z"\n'))
    assert rows(base, "select name, size, note from t order by id") == [("ann", 3, "x"), ('b,"\nc', 5, "y,z")]


@pytest.mark.parametrize(
    ("content", "asked", "message", "hint"),
    [
        ("name,nmae\nx,y\n", {}, "a.csv:1: table t has no column 'nmae'", "did you mean 'name'?"),
        ("name,name\nx,y\n", {}, "a.csv:1: column 'name' is named twice", ""),
        ("", {}, "a.csv: there is nothing in it", ""),
        ("name\na,b\n", {}, "a.csv:1: a header of one column, above rows of several fields", "--delimiter"),
        ("name,note\n'a','b'\n", {}, "a.csv:2: whether the single quotes", "--quote"),
        ("1,2\n", {}, "a.csv:1: 2 fields by ',', and t has the columns", "--delimiter"),
        ("x,y\n", {"header": True}, "a.csv:1: table t has no column 'x'", ""),
        ("name\n", {"delimiter": ";;"}, "--delimiter ';;': wanted one character", ""),
        ("name\n", {"encoding": "klingon"}, "--encoding klingon: unknown", "latin-1"),
        (b"name,note\nann,x\nb\xe9b,x\n", {}, "a.csv:3: byte 0xe9 is not UTF-8", "--encoding"),
        ("name,note\nann,x\n".encode("utf-16-le"), {}, "a.csv:1: a NUL byte", "--encoding utf-16-le"),
        (b"PK\x03\x04....", {}, "a.csv: a zip archive, not CSV", "unzip"),
    ],
)
def test_what_cannot_be_or_is_in_doubt_is_an_error_of_usage(
    content: str | bytes, asked: dict[str, Any], message: str, hint: str, base: Settings, tmp_path: Path
) -> None:
    error = refused(base, put(tmp_path, content), **asked)
    assert isinstance(error, UsageError)
    assert error.message.startswith(message)
    assert hint in error.hint


def test_single_quotes_are_read_as_the_option_says(base: Settings, tmp_path: Path) -> None:
    path = put(tmp_path, "name,note\n'a,b','c'\n")
    loaded(base, path, quote="'")
    assert rows(base, "select name, note from t") == [("a,b", "c")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,n\nann,1\nbob,x\n", 'a.csv:3: column n: invalid input syntax for type numeric: "x"'),
        ('name,n\n"a\nb",1\n"c\nd",x\n', "a.csv:5: column n: invalid"),
        ("name,n\nann,1\nbob\n", 'a.csv:3: missing data for column "n"'),
        ("name,n\nann,1\nbob,1,2\n", "a.csv:3: extra data after last expected column"),
        ("name,n\nann,1\n,2\n", "a.csv:3: column name: null value in column"),
        ("name,size\nann,1\nbob,1,2\n", "a.csv:3: extra data after last expected column"),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_none_is_loaded(
    content: str, message: str, base: Settings, tmp_path: Path
) -> None:
    error = refused(base, put(tmp_path, content))
    assert error.message.startswith(message)
    assert "kept: table t is unchanged" in error.evidence


def test_constraints_name_the_line(base: Settings, tmp_path: Path) -> None:
    run_sql(base, "create table p (id int primary key); create table c (id int, p int references p deferrable)")
    twice = refused(base, put(tmp_path, "id\n1\n2\n1\n"), "p")
    assert twice.message.startswith('a.csv:4: duplicate key value violates unique constraint "p_pkey"')
    loaded(base, put(tmp_path, "id\n1\n"), "p")
    orphan = refused(base, put(tmp_path, 'id,p\n1,1\n"2\n",1\n3,7\n'.replace('"2\n"', "2")), "c")
    assert orphan.message.startswith("a.csv:4: column p: insert or update on table")
    lines = refused(base, put(tmp_path, '{"id": 1, "p": 1}\n\n{"id": 2, "p": 7}\n', "a.jsonl"), "c")
    assert lines.message.startswith("a.jsonl:3: column p: insert or update on table")


def test_lines_of_json_are_typed_by_the_table(base: Settings, tmp_path: Path) -> None:
    text = (
        '{"name": "a\\tb\\\\\\u00e4", "n": 12345678901234567.123456789, '
        '"doc": {"x": [1, null, "\\n"]}, "tags": ["p q", null]}\n'
        '\n{"name": "", "doc": "text", "note": null, "size": 9}\n'
    )
    assert loaded(base, put(tmp_path, text, "a.jsonl")) == 2
    assert rows(base, "select name, n::text, doc::text, tags, note, size from t order by id") == [
        ("a\tb\\ä", "12345678901234567.123456789", '{"x": [1, null, "\\n"]}', ["p q", None], "none", 5),
        ("", None, '"text"', None, None, 0),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"nmae": 1}', "a.jsonl:3: table t has no column 'nmae'"),
        ('{"name": {"a": 1}}', "a.jsonl:3: column name: an object, and the column is text"),
        ('{"name": "x", "n": "y"}', 'a.jsonl:3: column n: invalid input syntax for type numeric: "y"'),
        ('{"name": null}', "a.jsonl:3: column name: null value"),
        ('{"name": "x", "name": "y"}', "a.jsonl:3: 'name' is in one object twice"),
        ('{"name": "x"', "a.jsonl:3:13: not JSON: "),
        ('{"name": "x"} {}', "a.jsonl:3:15: not JSON: extra data"),
        ("[1]", "a.jsonl:3:1: not JSON: wanted an object"),
        ("7", "a.jsonl:3:1: not JSON: wanted an object"),
        ('{"doc": ' + "[" * 5000 + "}", "a.jsonl:3: nested deeper than 100 levels"),
    ],
)
def test_a_line_of_json_that_does_not_fit_is_named(line: str, message: str, base: Settings, tmp_path: Path) -> None:
    error = refused(base, put(tmp_path, f'{{"name": "first"}}\n\n{line}\n', "a.jsonl"))
    assert error.message.startswith(message)


def test_a_list_of_objects_is_named_with_the_way_out(base: Settings, tmp_path: Path) -> None:
    assert "jq -c '.[]'" in refused(base, put(tmp_path, '[{"name": "a"}]', "a.json")).hint


def test_tables_are_found_by_their_names(base: Settings, tmp_path: Path) -> None:
    run_sql(base, 'create schema s; create table s."Odd Name" ("A b" int); create view v as select 1 as name')
    assert loaded(base, put(tmp_path, "A b\n1\n"), 's."Odd Name"') == 1
    assert refused(base, put(tmp_path, "name\na\n"), "twni").hint == "did you mean 'twin'?"
    assert "is no table" in refused(base, put(tmp_path, "name\na\n"), "v").message
    assert "is no table" in refused(base, put(tmp_path, "name\na\n"), "localenv.ledger").message


def test_many_rows_are_loaded_and_an_error_at_the_end_takes_all_back(base: Settings, tmp_path: Path) -> None:
    many = "".join(f"name {number},{number}\n" for number in range(100_000))
    assert loaded(base, put(tmp_path, f"name,n\n{many}")) == 100_000
    run_sql(base, "truncate t")
    assert refused(base, put(tmp_path, f"name,n\n{many}last,x\n")).message.startswith("a.csv:100002: column n")


def test_a_reading_connection_writes_nothing(base: Settings, tmp_path: Path) -> None:
    from dataclasses import replace

    reading = replace(base, postgres=replace(base.postgres, permit=None))
    assert "read-only" in refused(reading, put(tmp_path, "name\na\n")).message
    with connect(base.postgres) as conn:
        assert conn.execute("select count(*) from t").fetchone() == (0,)
