"""Items to a file and back: exactly as they were, whole or not at all, and the same bytes for the same items."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb import transfer
from tasks.localenv.dynamodb.client import TableMissing, connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.dynamodb.transfer.itemfile import as_line, write_lines
from tasks.localenv.dynamodb.transfer.typed import comparable_item
from tasks.localenv.errors import UsageError
from tasks.localenv.settings import Settings

ODD: dict[str, Any] = {
    "pk": {"S": "ñ\n\u2028\x00🐕"},
    "sk": {"S": "all types"},
    "binary": {"B": b"\x00\xff\n"},
    "number": {"N": "12345678901234567890123456789012345678"},
    "small": {"N": "-1E-130"},
    "texts": {"SS": ["b", "a", ""]},
    "numbers": {"NS": ["10", "9", "-1.5"]},
    "binaries": {"BS": [b"b", b"a"]},
    "flag": {"BOOL": False},
    "null": {"NULL": True},
    "empty": {"S": ""},
    "nested": {"L": [{"M": {"": {"B": b""}, "list": {"L": []}}}, {"M": {}}, {"N": "0"}]},
}


@pytest.fixture
def table(fresh: Settings) -> str:
    """The name of an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    return fresh.message_table


def items_of(settings: Settings) -> list[Any]:
    found = [comparable_item(item) for item in scan(connect(settings), settings.message_table)]
    return sorted(found, key=lambda item: (item["pk"], item["sk"]))


def many(count: int) -> list[Any]:
    return [{"pk": {"S": f"p{number % 7}"}, "sk": {"S": f"{number:05}"}, "n": {"N": "1"}} for number in range(count)]


@pytest.mark.parametrize("name", ["items.jsonl", "items.jsonl.gz"])
def test_every_type_of_value_survives_a_round_trip(fresh: Settings, table: str, tmp_path: Path, name: str) -> None:
    client = connect(fresh)
    write(client, table, puts([ODD, *many(60)]))
    before = items_of(fresh)
    exported = transfer.export_items(client, table, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert exported == transfer.Exported(61, len(content), hashlib.sha256(content).hexdigest())
    client.delete_table(TableName=table)
    apply_tables(client, read_tables(fresh))
    assert transfer.import_items(client, table, tmp_path / name) == 61
    assert items_of(fresh) == before


def test_the_same_items_give_the_same_bytes(tmp_path: Path) -> None:
    turned = {**dict(reversed(ODD.items())), "binary": {"B": "AP8K"}, "texts": {"SS": ["", "a", "b"]}}
    first = write_lines(tmp_path / "a.jsonl.gz", [ODD])
    assert write_lines(tmp_path / "b.gz", [turned]) == first
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).decode() == as_line(ODD) + "\n"


def test_a_line_is_as_the_export_to_s3_has_it() -> None:
    assert as_line(
        {"b": {"BS": [b"b", b"a"]}, "a": {"NS": ["10", "9"]}, "ñ": {"M": {"y": {"S": "é"}, "x": {"N": "1"}}}}
    ) == ('{"Item":{"a":{"NS":["9","10"]},"b":{"BS":["YQ==","Yg=="]},"ñ":{"M":{"x":{"N":"1"},"y":{"S":"é"}}}}}')


def test_half_a_surrogate_pair_is_written_as_json_escapes_it(tmp_path: Path) -> None:
    write_lines(tmp_path / "a", [{"pk": {"S": "\ud800"}}])
    assert json.loads((tmp_path / "a").read_bytes()) == {"Item": {"pk": {"S": "\ud800"}}}


def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text("old")

    def failing() -> Any:
        yield ODD
        raise UsageError("no more")

    with pytest.raises(UsageError, match="no more"):
        write_lines(tmp_path / "items.jsonl", failing())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("items.jsonl", "old")]


def test_an_export_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_lines(tmp_path / "link", [ODD])
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "file").is_symlink()) == (True, False)
    assert (tmp_path / "file").read_text() == as_line(ODD) + "\n"


def test_a_missing_table_or_folder_is_said(fresh: Settings, tmp_path: Path) -> None:
    with pytest.raises(TableMissing):
        transfer.export_items(connect(fresh), fresh.message_table, tmp_path / "a")
    with pytest.raises(TableMissing):
        transfer.import_items(connect(fresh), fresh.message_table, tmp_path / "a")
    with pytest.raises(UsageError, match="exists and is not a file"):
        write_lines(tmp_path, [])
    with pytest.raises(UsageError, match="no such folder"):
        write_lines(tmp_path / "nosuch" / "a", [])
    assert list(tmp_path.iterdir()) == []
