"""Whatever table an engine accepts comes back from a snapshot, an export and a table file, or is refused at save.

The tables are drawn from botocore's model of CreateTable, today's and one with members that nobody knows yet.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from tasks.localenv import engines
from tasks.localenv.aws.emulatordoor import door_to_tables
from tasks.localenv.dynamodb import copies, schema, transfer
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.copies import Files
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema.definition import fetch_definition
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.dynamodb.transfer.itemfile import as_line
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.settings import Settings, read_settings
from tests.conftest import JAR
from tests.support import apimodel
from tests.support.environments import environment, permitted, reachable

TODAY = apimodel.shapes()
LATER = apimodel.of_next_year(TODAY)
NUMBERS = itertools.count()
VALUES: dict[str, Any] = {"S": "é", "N": "-1.5", "B": b"\x00\xff"}
FEW = trying(
    max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


@dataclass(frozen=True)
class Engine:
    settings: Settings

    @property
    def client(self) -> Any:
        return connect(self.settings)


@pytest.fixture(scope="module", params=["emulator", pytest.param("jar", marks=pytest.mark.jar)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "emulator":
        yield Engine(request.getfixturevalue("live"))
        return
    settings = permitted(read_settings(environ=environment(reachable(tmp_path_factory.mktemp("jar")) / "state")))
    settings = replace(settings, dynamodb_local_jar=Path(JAR))
    engines.up(settings, print)
    yield Engine(settings)
    engines.destroy(settings, print)


def shown(value: Any) -> Any:
    """Return what an engine shows, without moments and ids, and without what says that something is off."""
    if isinstance(value, list):
        return sorted(
            map(shown, value), key=lambda each: str(each.get("IndexName")) if isinstance(each, dict) else each
        )
    if not isinstance(value, dict):
        return value
    found = {
        name: shown(each)
        for name, each in value.items()
        if not name.endswith("DateTime") and name not in ("TableId", "LatestStreamArn", "LatestStreamLabel")
    }
    if found.get("SSEDescription", {}).get("Status") == "DISABLED":
        del found["SSEDescription"]
    if found.get("TableClassSummary") == {"TableClass": "STANDARD"}:
        del found["TableClassSummary"]
    return {name: each for name, each in found.items() if each not in ({}, {"StreamEnabled": False})}


def look(client: Any, name: str) -> Any:
    """Return a table as the engine shows it, with its items."""
    description = client.describe_table(TableName=name)["Table"]
    tags: Any = []
    if ":ddblocal:" not in description["TableArn"]:
        tags = client.list_tags_of_resource(ResourceArn=description["TableArn"]).get("Tags", [])
    description["AttributeDefinitions"].sort(key=lambda each: str(each["AttributeName"]))
    items = sorted(map(as_line, scan(client, name, consistent=True)))
    return shown(description), sorted(json.dumps(tag, sort_keys=True) for tag in tags), items


def fill(client: Any, parameters: dict[str, Any]) -> None:
    """Put an item with every key attribute, and one with those of the table alone."""
    whole = {
        each["AttributeName"]: {each["AttributeType"]: VALUES[each["AttributeType"]]}
        for each in parameters["AttributeDefinitions"]
    }
    key = {each["AttributeName"]: whole[each["AttributeName"]] for each in parameters["KeySchema"]}
    other = {name: {kind: {"S": "z", "N": "7", "B": b"z"}[kind] for kind in value} for name, value in key.items()}
    write(client, parameters["TableName"], puts([{**whole, "beside": {"S": "x"}}, other]))


def outcome(engine: Engine, drawn: dict[str, Any]) -> str:
    """Take a table there and back; return which way it went, and fail where it is another one afterwards."""
    client, name = engine.client, f"drawn-{next(NUMBERS)}"
    parameters = {**drawn, "TableName": name}
    try:
        client.create_table(**parameters)
    except LocalEnvError as error:
        return f"refused by the engine: {error.message}"
    try:
        schema.wait_until_active(client, name)
        fill(client, parameters)
        before = look(client, name)
        with tempfile.TemporaryDirectory() as folder:
            files = Files(Path(folder) / "definition.json", Path(folder) / "items.jsonl.gz")
            try:
                held = copies.save_table(client, name, files)
            except LocalEnvError as error:
                if not error.message.startswith(f"table {name} is not one that a snapshot could restore: "):
                    raise
                return f"refused at save: {error.message}"
            if door := door_to_tables(engine.settings):  # the emulator's own state, beside what every engine has
                as_state = Files(Path(folder) / "own.json", Path(folder) / "items.state")
                own = copies.save_table(client, name, as_state, door=door)
                copies.drop_table(client, name)
                copies.replace_table(client, name, as_state, own, door=door)
                assert look(client, name) == before
            copies.drop_table(client, name)
            copies.check_files(name, files, held)
            copies.replace_table(client, name, files, held)
            assert look(client, name) == before
            by_table_file_and_import(engine, name, Path(folder))
            assert look(client, name) == before
    finally:
        copies.drop_table(client, name)
    return "survives"


def by_table_file_and_import(engine: Engine, name: str, folder: Path) -> None:
    client, file, items = engine.client, folder / "table.json", folder / "export.jsonl"
    file.write_text(json.dumps(fetch_definition(client, name).properties, indent=2, ensure_ascii=False))
    transfer.export_items(client, name, items)
    copies.drop_table(client, name)
    tables = read_tables(engine.settings, str(file))
    schema.apply_tables(client, tables)
    assert schema.check_tables(client, tables)
    transfer.import_items(client, name, items)


@pytest.mark.parametrize("path", [path for path in apimodel.paths(TODAY) if len(path) <= 2], ids=".".join)
@FEW
@given(data=st.data())
def test_what_is_accepted_comes_back_or_is_refused_at_save(engine: Engine, path: Any, data: st.DataObject) -> None:
    outcome(engine, data.draw(apimodel.tables(TODAY, path)))


@pytest.mark.parametrize("path", [path for path in apimodel.paths(LATER) if path[-1] == "AddedLater"], ids=".".join)
@trying(FEW, max_examples=1)
@given(data=st.data())
def test_so_is_what_has_a_member_that_nobody_knows_yet(engine: Engine, path: Any, data: st.DataObject) -> None:
    outcome(engine, data.draw(apimodel.tables(LATER, path)))


def test_the_tables_are_not_all_refused(engine: Engine) -> None:
    key = {"AttributeName": "a", "KeyType": "HASH"}
    table = {"KeySchema": [key], "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}]}
    index = {"IndexName": "by-a", "KeySchema": [key], "Projection": {"ProjectionType": "ALL"}}
    plain = {**table, "BillingMode": "PAY_PER_REQUEST", "GlobalSecondaryIndexes": [index]}
    assert outcome(engine, plain) == "survives"
    warm = {**index, "WarmThroughput": {"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 5000}}
    kept = outcome(engine, {**plain, "GlobalSecondaryIndexes": [warm]})
    assert kept == "survives" or kept.endswith("does not keep GlobalSecondaryIndexes[0].WarmThroughput")
