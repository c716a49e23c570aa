"""Files that mean harm, given to the real commands: refused in words, with a place, in little memory."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.errors import UsageError
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import read_people
from tests.support.hostile import Measured, header, measured, refused, swollen

pytestmark = pytest.mark.reliability("hostile input")

Town = dict[str, str]
Make = Callable[[Path], Any]
SPACE = 3 << 29
"""Address space that a command gets here: 1.5 GB, of which it needs some 300 MB for nothing."""
GOOD = '{"pk":"a","sk":"b"}\n'


@pytest.fixture
def table(fresh: Settings, live_environment: Town) -> Town:
    """The variables of the environment, with an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    return {**live_environment, "DDB_MESSAGE_TABLE": fresh.message_table}


@pytest.fixture
def restored(live_environment: Town) -> Callable[[Path], Measured]:
    def run(file: Path) -> Measured:
        words = ("snapshot.restore", "--plan", "--file", str(file))
        return measured(*words, environ=live_environment, at_most=SPACE)

    return run


def gz(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def text(content: str) -> Make:
    return lambda path: path.write_text(content)


def binary(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def many(head: str, unit: str, count: int, tail: str = "") -> Make:
    """Write a large text; it is not made before it is wanted."""
    return lambda path: path.write_text(head + unit * count + tail)


def packed(content: bytes) -> Make:
    return binary(gz(content))


def bomb(block: bytes) -> Make:
    return lambda path: swollen(path, 2 << 30, block=block)


ITEMS: dict[str, tuple[str, Make, str]] = {
    "a line without an end": ("a.jsonl.gz", bomb(b"a"), ":1: the line is longer"),
    "blank lines without an end": ("a.jsonl.gz", bomb(b"\n"), "1,000,000 blank lines"),
    "lists in a line": ("a.jsonl", many('{"pk":"a","sk":"b","x":[', "[],", 5_000_000, "[]]}"), "values"),
    "objects in a line": ("a.jsonl", many('{"pk":"a","x":[', '{"":0},', 2_000_000, "0]}"), "values"),
    "deep lists": ("a.jsonl", many("", "[", 1_000_000), "nested deeper than the 32 levels"),
    "deep objects": ("a.jsonl", many("", '{"a":', 1_000_000), "nested deeper than the 32 levels"),
    "deep within bounds": ("a.jsonl", text('{"pk":"a","sk":"b","x":' + "[" * 90 + "]" * 90 + "}"), "32 levels"),
    "a long number": ("a.jsonl", many('{"pk":"a","sk":"b","n":', "1", 1_000_000, "}"), "38 digits"),
    "a large exponent": ("a.jsonl", text('{"pk":"a","sk":"b","n":1e999999999}'), "wanted a number"),
    "NaN": ("a.jsonl", text('{"pk":"a","sk":"b","n":NaN}'), "NaN is not JSON"),
    "Infinity": ("a.jsonl", text('{"pk":"a","sk":"b","n":-Infinity}'), "Infinity is not JSON"),
    "a name twice": ("a.jsonl", text('{"pk":"a","sk":"b","x":{"y":1,"y":2}}'), "'y' is in one object twice"),
    "a surrogate": ("a.jsonl", text('{"pk":"\\ud800","sk":"b"}'), "surrogate"),
    "a surrogate in a name": ("a.jsonl", text('{"pk":"a","sk":"b","\\udfff":1}'), "surrogate"),
    "not UTF-8": ("a.jsonl", binary(GOOD.encode() + b"\xff\n"), ":2: not UTF-8"),
    "UTF-16": ("a.jsonl", binary(GOOD.encode("utf-16")), "UTF-16, wanted UTF-8"),
    "NUL bytes": ("a.jsonl", binary(b"\0" * 100), ":1:1: not JSON"),
    "gzip cut short": ("a.jsonl.gz", binary(gz(GOOD.encode() * 9)[:-9]), "damaged or cut short"),
    "gzip and garbage": ("a.jsonl.gz", binary(gz(GOOD.encode()) + b"garbage"), "damaged or cut short"),
    "gzip with a bad block": ("a.jsonl.gz", binary(gz(b"x")[:10] + b"\xff" * 50), "damaged or cut short"),
    "a long field of CSV": ("a.csv", many("pk,sk\n", "a", 20 << 20), "longer than"),
    "an open quote of CSV": ("a.csv", many('pk,sk\n"a', "b\n", 10 << 20), "longer than"),
    "fields over many lines": ("a.csv", many('pk,sk\n"', '\n","', 5 << 20), "longer than"),
    "many columns": ("a.csv", many("", ",", 15 << 20), "longer than"),
    "a gzip bomb of CSV": ("a.csv.gz", bomb(b"a"), ":1: the line is longer"),
    "a folder": ("a.jsonl", lambda p: p.mkdir(), "no files of items in this folder"),
    "nobody's pipe": ("a.jsonl", os.mkfifo, "nobody writes into this pipe"),
    "a socket": ("a.jsonl", lambda p: _socket(p), "no such device or address"),
    "a loop of links": ("a.jsonl", lambda p: p.symlink_to(p), "too many levels of symbolic links"),
}  # fmt: skip


def _socket(path: Path) -> None:
    os.chdir(path.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


@pytest.mark.parametrize("case", ITEMS)
def test_items_that_mean_harm_are_refused(table: Town, tmp_path: Path, case: str) -> None:
    name, make, said = ITEMS[case]
    make(tmp_path / name)
    done = measured("ddb.import", str(tmp_path / name), environ=table, at_most=SPACE)
    refused(done, f"{tmp_path / name}", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ddb.import", "/dev/zero"), "a device, where a file is wanted"),
        (("ddb.import", "/dev/random"), "a device, where a file is wanted"),
        (("ddb.schema-load", "--file", "/dev/zero"), "a device, where a file is wanted"),
        (("ddb.query", "--file", "/dev/zero"), "a device, where a file is wanted"),
        (("ddb.seed", "--file", "/dev/zero"), "a device, where a file is wanted"),
        (("db.query", "--file", "/dev/zero"), "a device, where a file is wanted"),
        (("db.seed", "--file", "/dev/zero"), "a device, where a file is wanted"),
        (("db.schema-load", "--file", "/dev/zero"), "a device, where a file is wanted"),
        (("ddb.query", "--file", "/"), "is a directory"),
        (("db.query", "--file", "/"), "is a directory"),
        (("ddb.import", "~nobody-has-this-name/x"), "there is no such user"),
        (("db.query", "--file", "~nobody-has-this-name/x"), "there is no such user"),
        (("ddb.import", "a" * 300), "file name too long"),
        (("ddb.schema-load", "--file", "a" * 300), "file name too long"),
        (("ddb.seed", "--file", "a" * 300), "file name too long"),
    ],
)
def test_what_is_no_file_is_refused(table: Town, words: tuple[str, ...], said: str) -> None:
    refused(measured(*words, environ=table, at_most=SPACE), said)


SEND = ("ddb.send-message", "--to", "bayko", "--text", "-")


@pytest.mark.parametrize("words", [("ddb.import", "-"), SEND, ("ddb.schema-load", "--file", "-")])
def test_a_stream_without_an_end_is_refused(table: Town, words: tuple[str, ...]) -> None:
    with subprocess.Popen(["head", "-c", str(5 << 30), "/dev/zero"], stdout=subprocess.PIPE) as endless:
        done = measured(*words, environ=table, stdin=endless.stdout, at_most=SPACE)
        assert endless.stdout
        endless.stdout.close()
    assert "Traceback" not in done.output and done.code in (1, 2, 6), done.output


def test_a_pipe_with_a_slow_writer_is_waited_for(table: Town, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(GOOD,))
    writer.start()
    done = measured("ddb.import", str(tmp_path / "pipe"), environ=table)
    writer.join()
    assert (done.code, "1 new" in done.output) == (0, True), done.output


def test_what_is_large_and_well_goes_in_and_takes_no_more_memory_than_a_little(table: Town, tmp_path: Path) -> None:
    def plan(name: str, lines: Iterator[str]) -> Measured:
        with gzip.open(tmp_path / name, "wt", 1) as file:
            file.writelines(lines)
        return measured("ddb.import", str(tmp_path / name), "--plan", environ=table, at_most=SPACE)

    little = plan("a.jsonl.gz", iter([GOOD]))
    many = plan("b.jsonl.gz", (f'{{"pk":"a","sk":"{number}"}}\n' for number in range(20_000)))
    large = plan("c.jsonl.gz", (f'{{"pk":"{n}","sk":"b","x":"{"ab" * 204_500}"}}\n' for n in range(20)))
    nulls = ",".join(['{"NULL":true}'] * 200_000)
    knotty = plan("d.jsonl.gz", (f'{{"pk":{{"S":"{n}"}},"sk":{{"S":"b"}},"x":{{"L":[{nulls}]}}}}\n' for n in range(3)))
    assert (little.code, many.code, large.code, knotty.code) == (0, 0, 0, 0), knotty.output
    assert "20,000 new" in many.output and "20 new" in large.output
    assert many.peak_bytes < 2 * little.peak_bytes
    assert large.peak_bytes < 3 * little.peak_bytes
    assert knotty.peak_bytes < 5 * little.peak_bytes


def test_large_values_are_written(table: Town, tmp_path: Path) -> None:
    nulls = ",".join(['{"NULL":true}'] * 100_000)
    file = tmp_path / "a.jsonl"
    with file.open("w") as out:
        for n in range(3):
            out.write(f'{{"pk":{{"S":"{n}"}},"sk":{{"S":"b"}},"x":{{"L":[{nulls}]}}}}\n')
    done = measured("ddb.import", str(file), environ=table, at_most=SPACE)
    assert (done.code, "3 new" in done.output) == (0, True), done.output


IN_TEMPLATE = '{"Resources": {"a": {"Type": "AWS::DynamoDB::Table", "Properties": '
SUB = '{"Fn::Sub": ["x", '
LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
TABLES = {
    "laughs": ("t.yaml", text(LAUGHS), "is an alias"),
    "deep flow": ("t.yaml", text("[" * 100_000), "nested"),
    "deep blocks": ("t.yaml", text("".join(f"{' ' * n}a:\n" for n in range(1200))), "nested"),
    "a large file": ("t.yaml", many("", "- a\n", 3_000_000), "longer than the"),
    "an infinite number": ("t.yaml", text("TableName: .inf\n"), "cannot be read as"),
    "NaN": ("t.yaml", text("TableName: .nan\n"), "cannot be read as"),
    "a large number": ("t.yaml", text(f"TableName: 0x{'f' * 10_000}\n"), "cannot be read as"),
    "control characters": ("t.yaml", text("TableName: \x01\n"), "not YAML"),
    "code": ("t.yaml", text("!!python/object/apply:os.system ['true']\n"), ""),
    "deep JSON": ("t.json", many("", "[", 1_000_000), "nested deeper"),
    "a wide JSON": ("t.json", many("[", "[],", 5_000_000, "[]]"), "values"),
    "a large JSON": ("t.json", many("[", " ", 20 << 20, "]"), "longer than"),
    "a name twice": ("t.json", text('{"TableName": "a",\n "TableName": "b"}'), "t.json:2:15: 'TableName' is in one"),
    "JSON's NaN": ("t.json", text('{"TableName": NaN}'), "NaN is not JSON"),
    "JSON's exponent": ("t.json", text('{"TableName": 1e999}'), "too large"),
    "a half character": ("t.json", text('{"TableName": "\\ud800"}'), "half of a surrogate pair"),
    "NUL": ("t.json", text('{"TableName":\n "a\0"}'), "t.json:2: a NUL byte"),
    "strings of escapes": ("t.json", many('{"TableName": "', "\\n", 7_000_000, '"}'), ""),
    "deep function": ("t.json", text(IN_TEMPLATE + SUB * 40 + "{}" + "]}" * 40 + "}}}"), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_table_files_that_mean_harm_are_refused(table: Town, tmp_path: Path, case: str) -> None:
    name, make, said = TABLES[case]
    make(tmp_path / name)
    done = measured("ddb.schema-load", "--file", str(tmp_path / name), environ=table, at_most=SPACE)
    refused(done, f"{tmp_path / name}", said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("SELECT " + "(" * 20_000, "nested deeper"),
        ("SELECT * FROM t WHERE " + "((((a=1 OR b=2) OR " * 2000, "nested deeper"),
        ("x" * (1 << 20), "longer than"),
        ("SELECT '" + "\0", "a NUL byte"),
    ],
)
def test_a_statement_that_means_harm_is_refused(table: Town, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "q.sql").write_text(content)
    refused(measured("ddb.query", "--file", str(tmp_path / "q.sql"), environ=table, at_most=SPACE), "q.sql", said)


def test_a_parameter_that_is_nested_deep_is_text(table: Town) -> None:
    statement = f'SELECT * FROM "{table["DDB_MESSAGE_TABLE"]}" WHERE pk = ?'
    for value in ('{"S":' * 20_000, '{"L":[' * 45 + "]}" * 45):
        done = measured("ddb.query", statement, "--param", value, environ=table, at_most=SPACE)
        assert "Traceback" not in done.output and done.code in (0, 2), done.output[-500:]


SQL = {
    "comments": (many("", "-- a\n", 12 << 20), ""),
    "a string of escapes": (many("SELECT E'", "\\n", 3 << 20), ""),
    "one line": (many("SELECT 1 ", " ", 20 << 20, "FROM FROM;"), "syntax error"),
    "many words": (many("", "a ", 10 << 20), "syntax error"),
    "rows for nobody": (text("SELECT repeat('x', 100000) FROM generate_series(1, 30000);"), ""),
    "notices": (
        text("DO $$ BEGIN FOR i IN 1..100000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$;"),
        "left out",
    ),
}


@pytest.mark.parametrize("case", SQL)
def test_sql_of_any_kind_takes_little_memory(
    live_environment: Town, database: Settings, tmp_path: Path, case: str
) -> None:
    make, said = SQL[case]
    make(tmp_path / "s.sql")
    url = live_environment["CONNECTION_URL"].rpartition("/")[0] + "/" + database.postgres.database
    environ = {**live_environment, "CONNECTION_URL": url}
    done = measured("db.schema-load", "--file", str(tmp_path / "s.sql"), environ=environ, at_most=SPACE)
    assert "Traceback" not in done.output and said in done.output, done.output[-2000:]
    assert done.peak_bytes < 700 << 20


def pax(size: int) -> bytes:
    return header("manifest.json", size, tarfile.XHDTYPE)


def huge(start: bytes, size: int = 2 << 30) -> Callable[[Path], Any]:
    return lambda path: swollen(path, size, start=start)


def member(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + content + b"\0" * (-len(content) % 512)


LISTS = b"[" + b"[]," * 300_000 + b"[]]"
NUMBER = b'{"schemaVersion": ' + b"1" * 9999 + b"}"
MANIFEST = b'{"schemaVersion": 1}'


def _record(content: bytes) -> bytes:
    return header("x", len(content), tarfile.XHDTYPE) + content.ljust(512, b"\0") + member("manifest.json", MANIFEST)


def _renamed() -> bytes:
    return _record(b"22 path=../../evil.sh\n")


def _negative() -> bytes:
    block = bytearray(header("manifest.json", 0))
    block[124:136] = b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


ARCHIVES: dict[str, tuple[Make, str]] = {
    "a pax header": (huge(pax(6 << 30)), "an extended header of"),
    "a pax header for all": (huge(header("g", 6 << 30, tarfile.XGLTYPE)), "not a plain file"),
    "a long name": (huge(header("././@LongLink", 6 << 30, tarfile.GNUTYPE_LONGNAME)), "not a plain file"),
    "a long link": (huge(header("././@LongLink", 6 << 30, tarfile.GNUTYPE_LONGLINK)), "not a plain file"),
    "a sparse file": (huge(header("manifest.json", 6 << 30, tarfile.GNUTYPE_SPARSE)), "not a plain file"),
    "zeros": (huge(b""), "not a snapshot"),
    "a manifest": (huge(header("manifest.json", 6 << 30)), "not a snapshot"),
    "a manifest within bounds": (huge(header("manifest.json", 16 << 20)), "not the manifest"),
    "a manifest of lists": (packed(member("manifest.json", LISTS)), "not the manifest"),
    "a deep manifest": (packed(member("manifest.json", b"[" * 1_000_000)), "not the manifest"),
    "a manifest's number": (packed(member("manifest.json", NUMBER)), "not the manifest"),
    "a manifest that is a link": (packed(header("manifest.json", 0, tarfile.SYMTYPE, "/etc/x")), "not a plain file"),
    "a device": (packed(header("manifest.json", 0, tarfile.CHRTYPE)), "not a plain file"),
    "a pipe in it": (packed(header("manifest.json", 0, tarfile.FIFOTYPE)), "not a plain file"),
    "another path": (packed(_renamed()), "an extended header with 'path'"),
    "a sparse map": (packed(_record(b"27 GNU.sparse.major=1234567\n"[:27])), "an extended header"),
    "a record that lies": (packed(_record(b"999999 mtime=1\n")), "cannot be read"),
    "a negative size": (packed(_negative()), "not a snapshot"),
    "no tar": (packed(b"x" * 2000), "not a snapshot, or cut short"),
    "nothing": (binary(b""), "not a snapshot, or cut short"),
    "zip": (binary(b"PK\3\4" + b"\0" * 2000), "not a snapshot, or cut short"),
    "a folder": (lambda p: p.mkdir(), "is a directory"),
    "nobody's pipe": (os.mkfifo, "can be read only once"),
    "a version": (packed(member("manifest.json", b'{"schemaVersion": "' + b"x" * 5000 + b'"}')), "manifest of version"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives_that_mean_harm_are_refused(restored: Callable[[Path], Measured], tmp_path: Path, case: str) -> None:
    make, said = ARCHIVES[case]
    make(tmp_path / "a.tar.gz")
    done = restored(tmp_path / "a.tar.gz")
    refused(done, str(tmp_path / "a.tar.gz"), said)
    assert done.peak_bytes < 500 << 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"person,handle,display_name,email\n" + b"a" * 900_000, "field larger than field limit"),
        (b"person,handle,display_name,email\n" + b"a,b,c,d@e.f\n" * 200_000, "longer than"),
        ("person,handle,display_name,email\n".encode("utf-16"), "UTF-16"),
        (b"person,handle,display_name,email\na,\0,c,d@e.f\n", "seeds/people.csv:2: a NUL byte"),
        (b"person\n" * 9, "the columns are"),
    ],
)
def test_people_who_mean_harm_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "people.csv").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_people(tmp_path)
    assert said in caught.value.message and "seeds/people.csv" in caught.value.message


@pytest.mark.parametrize("content", [b"x\0", b"\xff\xfe#\0", b"Person 1: a\n" * 2_000_000])
def test_conversations_that_mean_harm_are_refused(table: Town, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "talk.txt").write_bytes(content)
    refused(measured("ddb.seed", "--file", str(tmp_path / "talk.txt"), environ=table, at_most=SPACE), "talk.txt")


def test_a_manifest_of_s3_that_means_harm_is_refused(table: Town, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    summary: dict[str, Any] = {"outputFormat": "DYNAMODB_JSON", "exportType": "FULL_EXPORT", "itemCount": 1}
    for line in (
        "[" * 100_000,
        '{"itemCount": 1e999, "md5Checksum": "", "dataFileS3Key": "x"}',
        '{"itemCount": 1, "md5Checksum": "", "dataFileS3Key": "' + "x" * 300 + '"}',
        '{"itemCount": ' + "9" * 5000 + ', "md5Checksum": "", "dataFileS3Key": "x"}',
        '{"itemCount": 1, "md5Checksum": "", "dataFileS3Key": "../../../etc/passwd"}',
    ):
        (tmp_path / "manifest-summary.json").write_text(json.dumps(summary))
        (tmp_path / "manifest-files.json").write_text(line)
        refused(measured("ddb.import", str(tmp_path), environ=table, at_most=SPACE), "manifest-files.json:1")


def test_notes_of_our_own_that_are_spoilt_do_no_harm(live_environment: Town) -> None:
    state = Path(live_environment["LOCALENV_STATE_DIR"])
    for name in ("ports", "compose.json", "undo/0000beef.open/entry.json"):
        note = state / name
        before = note.read_bytes() if note.exists() else None
        note.parent.mkdir(exist_ok=True, parents=True)
        note.write_text("[" * 100_000)
        try:
            done = measured("snapshot.list", environ=live_environment)
        finally:
            note.unlink() if before is None else note.write_bytes(before)
        assert "Traceback" not in done.output, done.output[-2000:]
