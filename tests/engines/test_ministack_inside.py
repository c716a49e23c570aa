"""Each piece of ministack's inside that engines/emulator_server/inside.py uses, and what breaks without it.

A failing test here names what a new release has changed. How to move to one stands in that module.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.aws.emulatordoor import door_to
from tasks.localenv.aws.wire import AwsError, api
from tasks.localenv.engines.emulator_server import inside, poolstate
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings

ACCOUNT, REGION = "000000000000", "us-east-1"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """ministack, imported into this very process with our settings; where it writes its objects of S3."""
    folder = tmp_path_factory.mktemp("inside")
    before = dict(os.environ)
    os.environ.update(inside.settings(folder, "sts,dynamodb,dynamodbstreams,s3,cognito-idp", "9229"))
    inside.load()
    yield folder / "s3"
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def cognito(objects: Path) -> Iterator[Any]:
    """The module of Cognito, with what was in it before put back at the end."""
    before = inside.dump("cognito")
    yield module("services.cognito")
    inside.replace_cognito(before)


def module(name: str) -> Any:
    return importlib.import_module(f"{inside.PACKAGE}.{name}")


def ask(scope: dict[str, Any], body: bytes = b"") -> tuple[int, bytes]:
    """Ask ministack's own application, without anything of ours before it."""
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    whole = {"type": "http", "headers": [(b"host", b"localhost")], "query_string": b"", "client": ("127.0.0.1", 1)}
    asyncio.run(inside.application()({**whole, **scope, "raw_path": scope["path"].encode()}, receive, send))
    return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])


def call(target: str, body: Any) -> tuple[int, Any]:
    headers = [
        (b"host", b"localhost"),
        (b"x-amz-target", target.encode()),
        (b"content-type", b"application/x-amz-json"),
    ]
    status, text = ask({"method": "POST", "path": "/", "headers": headers}, json.dumps(body).encode())
    return status, json.loads(text)


def test_the_version_is_the_one_that_is_pinned() -> None:
    """Else these tests prove nothing about what others install."""
    pinned = re.search(r'"ministack==([\d.]+)"', (TOOL / "pyproject.toml").read_text())
    assert pinned and pinned[1] == version("ministack")


def test_application_is_an_asgi_application_that_needs_no_lifespan(objects: Path) -> None:
    """Else nothing is served: its lifespan would look for Docker containers to remove and run scripts under /etc."""
    assert call("DynamoDB_20120810.ListTables", {})[0] == 200


def test_settings_services_limits_what_is_served(live: Settings) -> None:
    """Else the emulator serves 100 APIs, of which some start containers and open ports."""
    assert live.dynamodb
    connection = HTTPConnection(live.dynamodb.host, live.dynamodb.port)
    connection.request("POST", "/", "{}", {"X-Amz-Target": "AmazonSQS.CreateQueue"})
    assert connection.getresponse().status >= 400
    connection.close()


def test_settings_s3_writes_objects_below_the_state_folder(objects: Path) -> None:
    """Else an avatar that the app uploads is gone after a restart, or in everybody's /tmp."""
    s3 = module("services.s3")
    assert s3.S3_PERSIST is True
    assert str(objects) == s3.DATA_DIR


def test_settings_its_own_saving_is_off(objects: Path) -> None:
    """Else it writes the same files as saving.py, and names no reason when it cannot."""
    assert module("core.persistence").PERSIST_STATE is False


@pytest.mark.parametrize("name", sorted({*inside.STATES.values(), "s3"}))
def test_states_each_is_a_module_that_gives_and_takes_its_state(objects: Path, name: str) -> None:
    """Else nothing is saved, or nothing comes back."""
    state = module(f"services.{name}").get_state()
    assert isinstance(state, dict)
    text = inside.dump(name)
    assert inside.parse(name, text).keys() == state.keys()
    inside.restore(name, text)
    assert inside.dump(name) == text


def test_states_the_services_in_a_target_are_those_it_serves(objects: Path) -> None:
    """Else a change is not noticed, and lost with the next stop."""
    assert {
        target: inside.changed_state(request("POST", f"{target}_1.Put")) for target in inside.STATES
    } == inside.STATES
    for target in ("DynamoDB_20120810.ListTables", "DynamoDBStreams_20120810.ListStreams"):
        assert call(target, {})[0] == 200
    assert call("AWSCognitoIdentityProviderService.ListUserPools", {"MaxResults": 1})[0] == 200


def request(method: str, target: str = "", path: str = "/") -> dict[str, Any]:
    return {"method": method, "path": path, "headers": [(b"x-amz-target", target.encode())] if target else []}


def test_sign_in_paths_are_served_by_cognito(objects: Path) -> None:
    """Else a token that a page got is not saved."""
    status, text = ask({"method": "POST", "path": "/oauth2/token"}, b"grant_type=none")
    assert status == 400 and b"error" in text and b"<Error>" not in text


def test_own_paths_are_all_below_an_underscore(objects: Path) -> None:
    """Else any program, or a page, could wipe everything through a path that the emulator does not close."""
    assert ask({"method": "GET", "path": "/_ministack/health"})[0] == 200
    source = Path(module("app").__file__).read_text()
    paths = re.findall(r'"(/_?(?:ministack|localstack|aws)/[^"]*)"', source)
    assert "/_ministack/reset" in paths and all(path.startswith(inside.OWN_PATHS) for path in paths)


def test_parse_once_its_parsers_take_text_and_nobody_changes_what_they_give(objects: Path) -> None:
    """Else a query of 100,000 items takes 2.5 s instead of 0.4, or a second one finds other tokens than were there."""
    dynamodb = module("services.dynamodb")
    text = "attribute_not_exists(pk) AND #a = :v"
    before = copy.deepcopy(dynamodb._tokenize(text))
    inside.parse_once()
    table = {
        "TableName": "parsed",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    put = {"TableName": "parsed", "Item": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    assert call("DynamoDB_20120810.CreateTable", table)[0] == 200
    assert [call("DynamoDB_20120810.PutItem", put)[0] for _ in range(3)] == [200, 400, 400]
    assert dynamodb._tokenize(text) == before
    assert dynamodb._tokenize.cache_info().hits > 0
    assert dynamodb._condition_syntax_error.cache_info is not None
    assert call("DynamoDB_20120810.DeleteTable", {"TableName": "parsed"})[0] == 200


def test_dump_is_what_it_reads_itself(objects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its own program does not read our files, nor we those of an earlier version of this tool."""
    persistence = module("core.persistence")
    monkeypatch.setattr(persistence, "PERSIST_STATE", True)
    monkeypatch.setattr(persistence, "STATE_DIR", str(tmp_path))
    (tmp_path / "dynamodb.json").write_bytes(inside.dump("dynamodb"))
    read = persistence.load_state("dynamodb")
    assert read is not None
    persistence.save_state("dynamodb", read)
    assert inside.parse("dynamodb", (tmp_path / "dynamodb.json").read_bytes()).keys() == read.keys()


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"payload": {}}'),
        b'{"__ministack_format__": 3, "payload": []}',
        b'{"__ministack_format__": 99, "payload": {}}',
        b'{"__ministack_format__": "x", "payload": {}}',
    ],
)
def test_parse_refuses_what_is_no_state(objects: Path, text: bytes) -> None:
    """Else a broken file keeps the emulator from starting, or a newer one is misread."""
    with pytest.raises(ValueError, match=r"^(not a state of cognito|written in format )"):
        inside.parse("cognito", text)


def test_restore_refuses_what_the_module_does_not_take(cognito: Any) -> None:
    """Else a file of the wrong shape ends the start with a traceback."""
    broken = json.loads(inside.dump("cognito"))
    broken["payload"]["user_pools"] = {"__account_region_scoped__": True, "data": {"0\0us-east-1\0'us-east-1_x'": 3}}
    with pytest.raises(ValueError, match="Error: "):
        inside.restore("cognito", json.dumps(broken).encode())


def test_replace_cognito_every_part_of_the_state_has_a_variable_that_can_be_emptied(cognito: Any) -> None:
    """Else snapshot.restore leaves users of before in the pool."""
    call("AWSCognitoIdentityProviderService.CreateUserPool", {"PoolName": "one"})
    state = cognito.get_state()
    for name in state:
        held = getattr(cognito, f"_{name}")
        assert hasattr(getattr(held, "_data", held), "clear"), name
    kept = inside.dump("cognito")
    call("AWSCognitoIdentityProviderService.CreateUserPool", {"PoolName": "two"})
    inside.replace_cognito(kept)
    listed = call("AWSCognitoIdentityProviderService.ListUserPools", {"MaxResults": 60})[1]["UserPools"]
    assert [pool["Name"] for pool in listed if pool["Name"] in ("one", "two")] == ["one"]
    with pytest.raises(ValueError, match="other parts"):
        inside.replace_cognito(json.dumps({"__ministack_format__": 3, "payload": {"user_pools": {}}}).encode())
    assert inside.dump("cognito") == kept


def test_users_of_a_state_are_those_of_the_pool(live: Settings) -> None:
    """Else snapshots cannot prove that they hold the users, nor that a restore brought them back."""
    cognito = api(live, "cognito-idp")
    pool = cognito("CreateUserPool", PoolName="former")["UserPool"]["Id"]
    user = cognito("AdminCreateUser", UserPoolId=pool, Username="somebody")["User"]
    sub = next(each["Value"] for each in user["Attributes"] if each["Name"] == "sub")
    state = door_to(live).fetch()
    assert (pool, "somebody", sub) in poolstate.users_of(state)
    names = {
        one["Id"]: one["Name"] for one in poolstate._pools(json.loads(poolstate.renamed(state, "former", "latter")))
    }
    assert names[pool] == "latter"
    cognito("DeleteUserPool", UserPoolId=pool)
    with pytest.raises(AwsError):
        cognito("DescribeUserPool", UserPoolId=pool)


def test_copy_nothing_gives_the_same_dump(tmp_path: Path) -> None:
    """Else a save takes twice as long; it changes `copy` for good, hence in a process of its own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from emulator_server import inside\n"
        "inside.load()\n"
        "dynamodb = inside._module('dynamodb')\n"
        "dynamodb._tables['t'] = {'items': {'a': {'b': {'pk': {'B': b'bytes'}}}}}\n"
        "before = inside.dump('dynamodb')\n"
        "inside.copy_nothing()\n"
        "assert inside.dump('dynamodb') == before and len(before) > 300\n"
        "held = dynamodb.get_state()['tags']\n"
        "assert held is dynamodb._tags, 'it copies by other means'\n"
    )
    engines = Path(inside.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, str(engines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_write_objects_finds_those_whose_body_is_still_in_memory(
    objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an object that came while the disk was full is never written, and nobody is told."""
    s3 = module("services.s3")
    headers = [(b"host", b"localhost")]
    assert ask({"method": "PUT", "path": "/bucket", "headers": headers})[0] == 200
    assert inside.write_objects()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(s3, "_atomic_write", fail)
    assert ask({"method": "PUT", "path": "/bucket/key", "headers": headers}, b"content")[0] == 200
    assert not inside.write_objects()
    monkeypatch.undo()
    assert inside.write_objects()
    assert (objects / ACCOUNT / "bucket" / "key").read_bytes() == b"content"


def test_nothing_else_of_this_project_names_what_is_inside_ministack() -> None:
    """Else a new release fails somewhere else."""
    ours = Path("tasks/localenv/engines/emulator_server/inside.py")
    pattern = re.compile(r"ministack\.(app|core|services)|__ministack_format__|from ministack|import ministack")
    found = [path.relative_to(TOOL) for top in ("tasks", "ddb") for path in (TOOL / top).rglob("*.py")]
    assert [path for path in found if pattern.search((TOOL / path).read_text())] == [ours]


def test_a_table_is_dumped_with_all_that_belongs_to_it_and_replaced_alone(objects: Path) -> None:
    """Else a restore would lose what it does not know of, or take from another table."""
    dynamodb: Any = inside._module("dynamodb")
    assert [part for part in inside.TABLE_PARTS if not hasattr(dynamodb, f"_{part}")] == []
    names = ("dumped", "dumped-2")
    for name in names:
        call("DynamoDB_20120810.CreateTable", table_of(name))
        call("DynamoDB_20120810.PutItem", {"TableName": name, "Item": {"id": {"S": name}}})
        call(
            "DynamoDB_20120810.UpdateTimeToLive",
            {"TableName": name, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "until"}},
        )
    region = next(key[1] for key in dynamodb._tables._data if key[2] == "dumped")
    saved, before = inside.dump_table(region, "dumped"), described(*names)
    call("DynamoDB_20120810.DeleteTable", {"TableName": "dumped"})
    call("DynamoDB_20120810.PutItem", {"TableName": "dumped-2", "Item": {"id": {"S": "new"}}})
    changed = described("dumped-2")
    assert inside.replace_table(region, "dumped", saved) == 1
    assert described(*names) == {**before, **changed}
    for wrong in ("dumped-2", "other"):
        with pytest.raises(ValueError, match="not the state of table"):
            inside.replace_table(region, wrong, saved)
    with pytest.raises(ValueError, match="not the state of a table"):
        inside.replace_table(region, "dumped", inside.dump("dynamodb"))
    with pytest.raises(KeyError):
        inside.require_table(region, "other")
    assert described(*names) == {**before, **changed}


def table_of(name: str) -> dict[str, Any]:
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "Tags": [{"Key": "of", "Value": name}],
    }


def described(*names: str) -> dict[str, Any]:
    """What is to be seen of tables: description, items, tags and time to live."""
    found: dict[str, Any] = {}
    for name in names:
        table = call("DynamoDB_20120810.DescribeTable", {"TableName": name})[1]["Table"]
        found[name] = (
            table,
            call("DynamoDB_20120810.Scan", {"TableName": name})[1]["Items"],
            call("DynamoDB_20120810.ListTagsOfResource", {"ResourceArn": table["TableArn"]})[1],
            call("DynamoDB_20120810.DescribeTimeToLive", {"TableName": name})[1],
        )
    return found
