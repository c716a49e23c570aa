"""A large table of DynamoDB Local in its container: its rows are copied and put back, and the server's file is safe."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.dynamodb import copies, rows
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.engines.docker import dynamodbfile
from tasks.localenv.engines.docker.sdk import open_sdk
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.snapshot import save
from tests.support.environments import environment, permitted, reachable
from tests.support.keeping import restored, undone
from tests.support.seeded import quiet

pytestmark = pytest.mark.docker
COUNT = 300


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    environ = environment(reachable(tmp_path_factory.mktemp("items")) / "state")
    environ |= {"LOCALENV_ENGINE": "docker", "LOCALENV_SERVICES": "dynamodb"}
    settings = permitted(read_settings(environ=environ))
    engines.up(settings, quiet)
    yield settings
    engines.destroy(settings, quiet)


@pytest.fixture
def client(town: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client, of a server with a table whose items are not written one by one."""
    client = connect(town)
    copies.drop_table(client, "big")
    client.create_table(
        TableName="big",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    write(client, "big", puts({"id": {"N": str(n)}, "text": {"S": "x" * n}} for n in range(COUNT)))
    monkeypatch.setattr(rows, "FROM", COUNT)
    monkeypatch.setattr(copies, "import_items", None)
    return client


def test_a_snapshot_and_its_undo_bring_every_item_back(town: Settings, client: Any) -> None:
    then = copies.measure_items(client, "big")
    save.save(town, "a", quiet)
    write(client, "big", puts({"id": {"N": str(n)}} for n in range(COUNT, COUNT + 9)))
    now = copies.measure_items(client, "big")
    restored(town, "a")
    assert copies.measure_items(client, "big") == then
    undone(town)
    assert copies.measure_items(client, "big") == now
    assert [state.status for state in engines.look(town)] == ["running"]


def test_a_copy_is_one_instant_while_the_app_writes(town: Settings, client: Any, tmp_path: Path) -> None:
    store = dynamodbfile.find(town)
    assert store
    numbers = itertools.count(COUNT)
    for round_ in range(3):
        write(client, "big", puts({"id": {"N": str(next(numbers))}} for _ in range(5)))
        with store.copied() as path:
            assert rows.save(path, "big", tmp_path / f"{round_}.rows") == COUNT + 5 * (round_ + 1)


def spoil(store: dynamodbfile.ContainerStore, *, fails: bool) -> None:
    with store.changed() as path:
        path.write_bytes(b"")
        if fails:
            raise LocalEnvError("no")


@pytest.mark.parametrize("where", ["before", "journal", "after"])
def test_what_fails_half_way_leaves_the_servers_own_file(
    town: Settings, client: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    then = copies.measure_items(client, "big")
    store = dynamodbfile.find(town)
    assert store
    if where == "journal":
        monkeypatch.setattr(
            dynamodbfile, "TAKE_OVER", f"cd /to && touch {dynamodbfile.NAME}-journal && {dynamodbfile.TAKE_OVER}"
        )
    if where == "after":
        monkeypatch.setattr(dynamodbfile, "run_once", lambda *_: (1, "no"))
    with pytest.raises(LocalEnvError):
        spoil(store, fails=where == "before")
    assert copies.measure_items(client, "big") == then


def test_a_container_that_a_kill_left_stopped_or_paused_is_started_with_all_its_items(
    town: Settings, client: Any
) -> None:
    then = copies.measure_items(client, "big")
    store = dynamodbfile.find(town)
    assert store
    for leave in ("pause", "stop"):
        with open_sdk(store.endpoint) as docker:
            getattr(docker.containers.get(store.container_id), leave)()
        engines.up(town, quiet)
        assert copies.measure_items(client, "big") == then
