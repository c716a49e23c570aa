"""DynamoDB Local's own rows: what they hold comes back exactly, and as items where the form is another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.dynamodb import copies, rows
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.copies import Files
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.errors import UsageError
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.snapshot import save, undoing
from tests.conftest import JAR
from tests.support.environments import environment, permitted, reachable
from tests.support.keeping import restored
from tests.support.seeded import quiet

pytestmark = pytest.mark.jar

TABLE = "a.b-c_d"
KEY = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
VALUES: dict[str, Any] = {
    "text": {"S": 'quote " \\ and \u00fc \U0001f600'},
    "empty": {"S": ""},
    "number": {"N": "-1234567890.1234567890123456789012345678"},
    "large": {"N": "1E+125"},
    "bytes": {"B": "AP+A"},
    "yes": {"BOOL": True},
    "none": {"NULL": True},
    "texts": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.50"]},
    "many": {"BS": ["AA==", "/w=="]},
    "list": {"L": [{"S": "x"}, {"M": {"N": {"N": "1"}}}]},
    "map": {"M": {"B": {"B": "Yg=="}}},
}


SETS = {"texts": "SS", "numbers": "NS", "many": "BS"}
"""These have no order."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    environ = {**environment(reachable(tmp_path_factory.mktemp("rows")) / "state"), "LOCALENV_SERVICES": "dynamodb"}
    settings = replace(permitted(read_settings(environ=environ)), dynamodb_local_jar=Path(JAR))
    engines.up(settings, quiet)
    yield settings
    engines.destroy(settings, quiet)


@pytest.fixture
def client(local: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a server with one table, every item of which is worth its rows."""
    monkeypatch.setattr(rows, "FROM", 1)
    client = connect(local)
    make(client)
    yield client
    copies.drop_table(client, TABLE)


def make(client: Any, **changes: Any) -> None:
    copies.drop_table(client, TABLE)
    index = [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    described: dict[str, Any] = {
        "TableName": TABLE,
        "KeySchema": KEY,
        "AttributeDefinitions": [
            {"AttributeName": n, "AttributeType": t} for n, t in zip(("pk", "sk", "g"), "SNB", strict=True)
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [{"IndexName": "by.g", "KeySchema": index, "Projection": {"ProjectionType": "ALL"}}],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "by-l",
                "KeySchema": [KEY[0], {"AttributeName": "g", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    } | changes
    client.create_table(**{name: value for name, value in described.items() if value})
    write(client, TABLE, puts(items()))


def items() -> list[dict[str, Any]]:
    found = [{"pk": {"S": f"p{n % 3}"}, "sk": {"N": str(n - 20)}, "n": {"N": str(n)}} for n in range(40)]
    return [*found, {"pk": {"S": "all"}, "sk": {"N": "0.5"}, "g": {"B": "AQI="}, **VALUES}]


def query(client: Any, index: str = "", **values: Any) -> list[Any]:
    condition = " AND ".join(f"{name} = :{name}" for name in values)
    asked = {"TableName": TABLE, "KeyConditionExpression": condition, **({"IndexName": index} if index else {})}
    answer: list[Any] = client.query(**asked, ExpressionAttributeValues={f":{n}": v for n, v in values.items()})[
        "Items"
    ]
    return answer


def everything(client: Any) -> Any:
    kept = sorted(scan(client, TABLE, consistent=True), key=lambda item: (item["pk"]["S"], item["sk"]["N"]))
    for item in kept:
        item.update({name: {kind: sorted(item[name][kind])} for name, kind in SETS.items() if name in item})
    found = query(client, "by.g", g={"B": "AQI="}), query(client, "by-l", pk={"S": "all"}, g={"B": "AQI="})
    by_index = [[item["sk"]["N"] for item in each] for each in found]
    return kept, by_index, query(client, pk={"S": "p1"})


def saved(settings: Settings, folder: Path) -> tuple[Files, copies.Items]:
    table = next(each for each in save.save_tables(settings, folder) if each.name == TABLE)
    return Files(folder / table.definition.name, folder / table.content.name), copies.Items(table.items, table.sha256)


def test_rows_come_back_with_every_type_and_index(
    local: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = everything(client)
    save.save(local, "a", quiet)
    client.put_item(TableName=TABLE, Item={"pk": {"S": "new"}, "sk": {"N": "1"}})
    client.delete_item(TableName=TABLE, Key={"pk": {"S": "all"}, "sk": {"N": "0.5"}})
    monkeypatch.setattr(copies, "import_items", None)  # not item by item
    restored(local, "a")
    assert everything(client) == then
    client.put_item(TableName=TABLE, Item={"pk": {"S": "p1"}, "sk": {"N": "999"}})
    assert [item["sk"]["N"] for item in query(client, pk={"S": "p1"})][-1] == "999"
    assert client.describe_table(TableName=TABLE)["Table"]["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
    undoing.forget(local, 0)


@pytest.mark.parametrize("other", ["form", "index", "order"])
def test_rows_of_another_form_come_back_as_items(local: Settings, client: Any, tmp_path: Path, other: str) -> None:
    files, held = saved(local, tmp_path)
    assert files.are_rows
    then = everything(client)
    copies.drop_table(client, TABLE)
    if other == "form":
        with sqlite3.connect(files.content) as conn:
            conn.execute("UPDATE form SET sql = 'v9' WHERE name = 'cf'")
        held = replace(held, sha256=copies.file_sha256(files.content))
        make(client)
    elif other == "index":
        make(client, LocalSecondaryIndexes=None)
    else:
        make(client, GlobalSecondaryIndexes=None)
    if other == "form":
        copies.make_empty(client, TABLE, files)
    store = engines.find_item_store(local)
    assert store
    with store.changed() as path:
        assert copies.fill(path, TABLE, files, held) is False
    copies.replace_table(client, TABLE, files, held)
    assert everything(client) == then


def test_rows_that_are_damaged_are_refused(local: Settings, client: Any, tmp_path: Path) -> None:
    files, held = saved(local, tmp_path)
    files.content.write_bytes(files.content.read_bytes()[:5000])
    store = engines.find_item_store(local)
    assert store
    with store.changed() as path, pytest.raises(UsageError, match="not those that were saved"):
        copies.fill(path, TABLE, files, held)
    with pytest.raises(UsageError, match="not rows of DynamoDB Local"):
        list(rows.read(files.content))
