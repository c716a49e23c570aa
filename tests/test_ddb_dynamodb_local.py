"""Table changes on DynamoDB Local, which knows no tags, recovery and classes, and takes its time for an index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.dynamodb import items, schema
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema.contents import read_contents
from tasks.localenv.settings import read_settings
from tests.environments import environment, reachable
from tests.test_ddb_changes import after, before, read, table
from tests.test_ddb_replace import rekeyed, some_items

pytestmark = pytest.mark.jar
LACKING = "not on this engine: point-in-time recovery, table class, tags"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = read_settings(environ=environment(reachable(tmp_path_factory.mktemp("local")) / "state"))
    settings = replace(settings, dynamodb_local_jar=Path(os.environ["DYNAMODB_LOCAL_JAR"]))
    engines.up(settings, print)
    yield connect(settings)
    engines.destroy(settings, print)


def test_every_change_is_made_and_what_is_lacking_is_told(client: Any, tmp_path: Path) -> None:
    schema.apply_tables(client, read(tmp_path, before("changing")))
    done = schema.apply_tables(client, read(tmp_path, after("changing")))
    assert done == f"0 tables created, 11 changes made; 1 ACTIVE and as ddb/tables says; {LACKING}"
    files = read(tmp_path, after("changing"))
    assert schema.check_tables(client, files) == f"1 table ACTIVE and as ddb/tables says; {LACKING}"
    assert schema.plan_tables(client, files) == [
        "table changing: table class: not on this engine",
        "table changing: point-in-time recovery: not on this engine",
        "table changing: tags: not on this engine",
    ]


def test_a_replaced_table_keeps_its_items(client: Any, tmp_path: Path) -> None:
    schema.apply_tables(client, read(tmp_path, table("moving")))
    items.write(client, "moving", items.puts(some_items()))
    held = read_contents(client, "moving")
    done = schema.apply_tables(client, read(tmp_path, rekeyed("moving")), replace=True)
    assert (done.partition(";")[0], read_contents(client, "moving")) == (
        f"0 tables created, 1 table replaced, {held.count} items before and after, 1 change made",
        held,
    )
