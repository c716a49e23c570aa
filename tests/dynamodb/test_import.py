"""Imports: all files checked before anything is written, and only what differs is written."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.itemwriter import fetch, puts, write
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables, require_table
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.dynamodb.transfer import importing, keys_of, s3folder
from tasks.localenv.dynamodb.transfer.importing import Outcome
from tasks.localenv.dynamodb.transfer.itemfile import as_line
from tasks.localenv.dynamodb.transfer.s3folder import Part
from tasks.localenv.dynamodb.transfer.typed import comparable_item
from tasks.localenv.errors import TimedOut, UsageError
from tasks.localenv.settings import Settings

Import = Callable[..., Outcome]


@pytest.fixture
def table(fresh: Settings) -> str:
    """The name of an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    return fresh.message_table


@pytest.fixture
def load(fresh: Settings, table: str) -> Import:
    """Check files and write their items."""

    def run(*parts: Part, **options: Any) -> Outcome:
        client = connect(fresh)
        keys = keys_of(client, table)
        importing.check(list(parts), keys)
        return importing.apply(client, table, list(parts), keys, **options)

    return run


def item(number: int, text: str = "") -> Any:
    return {"pk": {"S": "a"}, "sk": {"S": f"{number:04}"}, **({"text": {"S": text}} if text else {})}


def file_of(path: Path, *items: Any) -> Part:
    path.write_text("".join(f"{as_line(each)}\n" for each in items))
    return Part(path, path.name)


def items_of(settings: Settings) -> list[Any]:
    found = [comparable_item(item) for item in scan(connect(settings), settings.message_table)]
    return sorted(found, key=lambda item: item["sk"])


def test_an_import_writes_what_differs_and_says_so(fresh: Settings, load: Import, tmp_path: Path) -> None:
    first = file_of(tmp_path / "a", *map(item, range(250)))
    assert load(first) == Outcome(new=250)
    assert load(first) == Outcome(unchanged=250)
    second = file_of(tmp_path / "b", item(300), *(item(number, "x" * (number % 2)) for number in range(250)))
    assert load(second) == Outcome(new=1, replaced=125, unchanged=125)
    assert items_of(fresh) == [comparable_item(item(number, "x" * (number % 2))) for number in range(250)] + [
        comparable_item(item(300))
    ]


def test_only_new_items_are_written_where_that_is_wished(fresh: Settings, load: Import, tmp_path: Path) -> None:
    load(file_of(tmp_path / "a", item(1, "old"), item(2)))
    assert load(file_of(tmp_path / "b", item(1, "new"), item(2), item(3)), only_new=True) == Outcome(
        new=1, unchanged=1, kept=1
    )
    assert items_of(fresh) == [comparable_item(each) for each in (item(1, "old"), item(2), item(3))]


def test_a_plan_counts_and_writes_nothing(fresh: Settings, table: str, tmp_path: Path) -> None:
    client = connect(fresh)
    parts = [file_of(tmp_path / "a", item(1), item(2))]
    assert importing.plan(client, table, parts, keys_of(client, table), only_new=False) == Outcome(new=2)
    assert items_of(fresh) == []


def test_nothing_is_written_where_a_line_of_the_last_file_is_wrong(
    fresh: Settings, load: Import, tmp_path: Path
) -> None:
    good, bad = file_of(tmp_path / "a", item(1)), file_of(tmp_path / "b", item(2), item(1), *map(item, range(3, 15)))
    bad.path.write_text(bad.path.read_text() + "x\n" * 12)
    with pytest.raises(UsageError) as caught:
        load(good, bad)
    assert (caught.value.message, caught.value.evidence.splitlines()[:1], caught.value.evidence.splitlines()[-2:]) == (
        "b:2: pk 'a', sk '0001' is already on a:1",
        ["b:15:1: not JSON: expecting value"],
        ["b:23:1: not JSON: expecting value", "and 3 more"],
    )
    assert items_of(fresh) == []


def test_what_keys_may_have_is_known_for_table_and_indexes(fresh: Settings, table: str) -> None:
    assert keys_of(connect(fresh), table).longest == {"pk": 2048, "sk": 1024, "message_group_uuid": 2048}


def test_stdin_is_kept_in_a_file_for_the_time_of_the_import(tmp_path: Path) -> None:
    with importing.sources("-", lambda: io.BytesIO(b"line\n")) as parts:
        (part,) = parts
        assert (part.shown, part.path.read_text()) == ("stdin", "line\n")
    assert not part.path.exists()


def test_a_pipe_is_kept_in_a_file_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"line\n",))
    writer.start()
    with importing.sources(str(tmp_path / "pipe"), io.BytesIO) as parts:
        assert [(part.shown, part.path.read_text()) for part in parts] == [(f"{tmp_path}/pipe", "line\n")]
    writer.join()


def test_keys_that_were_not_looked_at_are_asked_for_again() -> None:
    asked: list[Any] = []

    class Slow:
        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - botocore's name
            keys = RequestItems["t"]["Keys"]
            asked.append(keys)
            return {"Responses": {"t": keys[:2]}, "UnprocessedKeys": {"t": {"Keys": keys[2:]}} if keys[2:] else {}}

    class Stuck:
        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - botocore's name
            return {"Responses": {}, "UnprocessedKeys": RequestItems}

    slow: Any = Slow()
    stuck: Any = Stuck()
    keys: list[Any] = [1, 2, 3, 4, 5]
    assert fetch(slow, "t", keys, sleep=lambda pause_s: None) == keys
    assert asked == [[1, 2, 3, 4, 5], [3, 4, 5], [5]]
    with pytest.raises(TimedOut, match="table t returned no more items for 0 s: its read capacity is used up"):
        fetch(stuck, "t", [1], sleep=lambda pause_s: None, stalled_s=0)


@pytest.fixture
def export(fresh: Settings, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the format of S3 with five items in three files."""
    monkeypatch.setattr(s3folder, "ITEMS_A_FILE", 2)
    write(connect(fresh), table, puts(map(item, range(5))))
    folder = tmp_path / "export"
    description = require_table(connect(fresh), table).description
    assert s3folder.write_folder(folder, "copy", scan(connect(fresh), table), description)[0] == 5
    return folder


def test_an_exported_folder_is_imported(fresh: Settings, load: Import, export: Path) -> None:
    parts = s3folder.find_parts(export.parent, "there")
    assert [(part.shown, part.items) for part in parts] == [
        ("there/export/data/00000.json.gz", 2),
        ("there/export/data/00001.json.gz", 2),
        ("there/export/data/00002.json.gz", 1),
    ]
    assert load(*parts) == Outcome(unchanged=5)


def test_the_request_of_a_folder_is_one_that_awss_import_takes(export: Path) -> None:
    import botocore.session
    from botocore.validate import ParamValidator

    request = json.loads((export / "import-table.json").read_text())
    shape: Any = botocore.session.Session().get_service_model("dynamodb").operation_model("ImportTable").input_shape
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert request["TableCreationParameters"]["TableName"] == "copy"
    assert request["S3BucketSource"]["S3KeyPrefix"] == "copy/data/"
    assert sorted(path.name for path in (export / "data").iterdir()) == [f"0000{number}.json.gz" for number in range(3)]


def test_an_on_demand_table_is_imported_on_demand() -> None:
    description: Any = {
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "i",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
                "IndexStatus": "ACTIVE",
                "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
            }
        ],
    }
    assert s3folder.import_request("t", description)["TableCreationParameters"] == {
        "TableName": "t",
        "AttributeDefinitions": description["AttributeDefinitions"],
        "KeySchema": description["KeySchema"],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "i",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    }


def test_the_request_defines_no_attribute_that_only_a_local_index_is_keyed_by() -> None:
    types = {"pk": "S", "sk": "S", "by": "N", "global": "S"}
    key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    by_global = [{"AttributeName": "global", "KeyType": "HASH"}]
    description: Any = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        "KeySchema": key,
        "GlobalSecondaryIndexes": [{"IndexName": "g", "KeySchema": by_global, "Projection": {"ProjectionType": "ALL"}}],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "l",
                "KeySchema": [key[0], {"AttributeName": "by", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }
    wanted = s3folder.import_request("t", description)["TableCreationParameters"]
    assert [each["AttributeName"] for each in wanted["AttributeDefinitions"]] == ["pk", "sk", "global"]


def _spoil(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def _swap(folder: Path) -> None:
    (folder / "data/00000.json.gz").write_bytes((folder / "data/00002.json.gz").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (_swap, "x/data/00000.json.gz: its MD5 is "),
        (lambda folder: (folder / "data/00001.json.gz").unlink(), "x/data/00001.json.gz: missing, but manifest"),
        (_spoil("manifest-files.json", '"itemCount": 2', '"itemCount": 3'), "x: 6 items in manifest-files.json, but 5"),
        (_spoil("manifest-files.json", "{", ""), "x/manifest-files.json:1: wanted itemCount, md5Checksum"),
        (_spoil("manifest-summary.json", "DYNAMODB_JSON", "ION"), "x/manifest-summary.json: ION, wanted DYNAMODB_JSON"),
        (_spoil("manifest-summary.json", "FULL", "INCREMENTAL"), "manifest-summary.json: INCREMENTAL_EXPORT holds"),
        (_spoil("manifest-summary.json", "{", "["), "x/manifest-summary.json:2:"),
        (lambda folder: (folder / "manifest-files.json").unlink(), "x/manifest-files.json: no such file"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_its_manifest_is_refused(
    load: Import, export: Path, spoil: Callable[[Path], None], error: str
) -> None:
    spoil(export)
    with pytest.raises(UsageError) as caught:
        load(*s3folder.find_parts(export, "x"))
    assert error in caught.value.message


def test_a_file_with_other_items_than_its_manifest_counts_is_refused(load: Import, export: Path) -> None:
    _spoil("manifest-files.json", '"itemCount": 2', '"itemCount": 1')(export)
    _spoil("manifest-summary.json", '"itemCount": 5', '"itemCount": 4')(export)
    with pytest.raises(UsageError, match=r"x/data/00000.json.gz: 2 items, but its manifest says 1"):
        load(*s3folder.find_parts(export, "x"))


def test_a_folder_without_a_manifest_gives_its_files_of_items(tmp_path: Path) -> None:
    for name in ("b.json", "a.jsonl.gz", "c.csv", ".hidden.json", "notes.txt", "_started", "d.gz"):
        (tmp_path / name).touch()
    assert [part.shown for part in s3folder.find_parts(tmp_path, "in")] == ["in/a.jsonl.gz", "in/b.json", "in/c.csv"]


def test_folders_without_items_and_with_several_exports_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in: no files of items in this folder"):
        s3folder.find_parts(tmp_path, "in")
    for name in ("1-a", "2-b"):
        (tmp_path / "AWSDynamoDB" / name).mkdir(parents=True)
        (tmp_path / "AWSDynamoDB" / name / "manifest-summary.json").touch()
    with pytest.raises(UsageError, match="in: 2 exports in this folder: AWSDynamoDB/1-a, AWSDynamoDB/2-b"):
        s3folder.find_parts(tmp_path, "in")


def test_an_empty_folder_is_filled_even_the_one_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description: Any = {"AttributeDefinitions": [], "KeySchema": []}
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real")
    assert s3folder.write_folder(Path(), "t", [item(1)], description)[0] == 1
    names = ["data", "import-table.json", "manifest-files.json", "manifest-summary.json"]
    assert sorted(path.name for path in Path().iterdir()) == names
    with pytest.raises(UsageError, match=r"^\. already exists and is not empty"):
        s3folder.write_folder(Path(), "t", [], description)
    (tmp_path / "real").rename(tmp_path / "old")
    (tmp_path / "real").mkdir()
    s3folder.write_folder(tmp_path / "link", "t", [item(1)], description)
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == names
    assert (tmp_path / "link").is_symlink()


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(UsageError, match="already exists and is not empty"):
        s3folder.write_folder(tmp_path / "there", "t", [], {})
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "file"]
