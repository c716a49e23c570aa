"""The README's route: what stands there is run."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from ddb import messages
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tests.support.boto import local_client
from tests.support.chats import ANDREW, BAYKO, LONDO

BLOCKS = re.findall(r"```python\n(.*?)```", (TOOL / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def table(fresh: Settings) -> Settings:
    """Settings of an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    return fresh


def test_the_routes_bodies_send_and_show_messages(table: Settings) -> None:
    route: dict[str, Any] = {}
    exec(compile(BLOCKS[0], "README.md", "exec"), route)
    where = local_client(table, "dynamodb"), table.message_table
    sent, status = route["post_message"](*where, ANDREW, BAYKO, {"message": "Hello!"})
    assert (status, sent["message"], sent["user_handle"]) == (201, "Hello!", "andrewbrown")
    group = sent["pk"].removeprefix("MSG#")
    body = {"message": "Hello to you.", "message_group_uuid": group}
    assert route["post_message"](*where, BAYKO, None, body)[1] == 201
    refused = {"errors": [f"londo is not in group {group}"]}, 422
    assert route["post_message"](*where, LONDO, None, body) == refused
    refused = {"errors": ["the message is not a text"]}, 422
    for wrong in ({}, {"message": None}, {"message": 5}, {"message_group_uuid": group}):
        assert route["post_message"](*where, ANDREW, BAYKO, wrong) == refused
    assert route["post_message"](*where, ANDREW, None, {"message": "Hello?"}) == (
        {"errors": ["there is no such receiver"]},
        422,
    )
    shown, status = route["get_messages"](*where, BAYKO, group)
    assert (status, [item["message"] for item in shown["messages"]], shown["next"]) == (
        200,
        ["Hello to you.", "Hello!"],
        "",
    )
    assert route["get_messages"](*where, LONDO, group) == ({"errors": ["not in this group"]}, 403)


def test_the_route_says_when_it_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    route: dict[str, Any] = {}
    exec(compile(BLOCKS[0], "README.md", "exec"), route)

    def refuse(*_: object, **__: object) -> None:
        raise messages.Busy("the table refused")

    monkeypatch.setattr(messages, "create_message_group", refuse)
    body = {"message": "Hello!"}
    assert route["post_message"](None, "table", ANDREW, BAYKO, body) == ({"errors": ["the table refused"]}, 503)


def test_the_route_calls_the_body_with_all_that_it_takes() -> None:
    """Without Flask: the decorator, the app's own functions and the request are the test's."""
    taken: list[tuple[Any, ...]] = []

    class App:
        def route(self, path: str, methods: list[str]) -> Any:
            taken.append((path, methods))
            return lambda body: body

    names: dict[str, Any] = {}
    exec(compile(BLOCKS[0], "README.md", "exec"), names)
    names |= {
        "app": App(),
        "dynamodb": "client",
        "request": SimpleNamespace(json={"message": "Hello!"}),
        "current_user": lambda: ANDREW,
    }
    names |= {"receiver_of": lambda request: BAYKO}
    names["post_message"] = lambda client, table, sender, receiver, body: taken.append((client, table, sender, body))
    exec(compile(BLOCKS[1], "README.md", "exec"), names)
    names["api_messages"]()
    assert taken == [
        ("/api/messages", ["POST"]),
        ("client", "cruddur-messages", ANDREW, {"message": "Hello!"}),
    ]
