"""The conversation commands as typed: who sees what, how it looks, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from ddb import messages
from tasks.ddb.conversations import _time
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tests.conftest import Cli
from tests.support.environments import Finished, inv
from tests.support.seeded import PEOPLE, half_replaced

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
UUIDS = {person.handle: str(person.uuid) for person in PEOPLE}


@pytest.fixture
def ddb(cli: Cli, fresh: Settings) -> Cli:
    """Run a command of ddb against a table of the test's own."""

    def run(command: str, *words: str) -> Finished:
        return cli(f"ddb.{command}", *words, DDB_MESSAGE_TABLE=fresh.message_table)

    return run


def data_of(finished: Finished) -> Any:
    assert finished.code == 0, finished.stderr
    return json.loads(finished.stdout)["data"]


def texts(finished: Finished) -> list[str]:
    return [line[21:] for line in finished.stdout.splitlines() if not line.startswith("consumed")]


def test_a_message_on_a_fresh_clone_brings_what_it_needs_and_is_read_by_both(ddb: Cli, fresh: Settings) -> None:
    sent = ddb("send-message", "--as", "andrewbrown", "--to", "londo", "--text", "Hello!")
    assert (sent.code, sent.stdout) == (0, "")
    assert "sent in new group" in sent.stderr and "consumed capacity: 10 units, table 8, index 2" in sent.stderr
    answer = ddb("send-message", "--as", "londo", "--to", "andrewbrown", "--text", "漢字 and\nmore", "--format", "json")
    assert data_of(answer)["is_new_group"] is False
    group = data_of(answer)["group"]
    for words in (("--as", "andrewbrown", "--with", "londo"), ("--as", "londo", "--group", group.upper())):
        read = ddb("get-conversation", *words)
        assert texts(read) == ["andrewbrown  Hello!", "londo        漢字 and", "             more"]
        assert read.stdout.endswith("\nconsumed capacity: 0.5 units, table 0.5, index 0\n")
    listed = ddb("list-conversations", "--as", "andrewbrown")
    assert texts(listed) == ["londo  漢字 and more"]
    assert len(list(scan(connect(fresh), fresh.message_table))) == 4


def test_conversations_come_page_by_page_with_the_next_command(ddb: Cli, fresh: Settings) -> None:
    assert ddb("seed").code == 0
    newest = data_of(ddb("get-conversation", "--as", "bayko", "--group", GROUP, "--limit", "2", "--format", "json"))
    before = newest["messages"][0]["sk"]
    assert (newest["cursor"], [item["sk"] for item in newest["messages"]]) == (
        before,
        sorted(item["sk"] for item in newest["messages"]),
    )
    command = f"inv ddb.get-conversation --as bayko --group {GROUP} --limit 2 --before {before}"
    assert (newest["next"], newest["capacity"]) == (command, {"total": 0.5, "table": 0.5, "index": 0.0})
    shown = ddb("get-conversation", "--as", "bayko", "--group", GROUP, "--limit", "2")
    assert f"older ones: `{command}`" in shown.stderr
    older = data_of(ddb(*command.split()[1].split(".")[1:], *command.split()[2:], "--format", "json"))
    page = messages.list_messages(connect(fresh), fresh.message_table, GROUP, limit=4)
    assert older["messages"] == page.items[:1:-1]
    nothing = ddb("get-conversation", "--as", "bayko", "--group", GROUP, "--before", "2001-01-01")
    assert nothing.stdout == "no messages before that\nconsumed capacity: 0.5 units, table 0.5, index 0\n"
    listed = data_of(ddb("list-conversations", "--as", "andrewbrown", "--limit", "1", "--format", "json"))
    assert [row["user_handle"] for row in listed["conversations"]] == ["bayko"]
    assert listed["next"].startswith("inv ddb.list-conversations --as andrewbrown --limit 1 --before ")


@pytest.mark.parametrize(
    ("given", "sort_key"),
    [
        ("", ""),
        ("2026-11-21T16:25:56.472584+00:00", "2026-11-21T16:25:56.472584+00:00"),
        ("2026-11-21T18:54:15+02:00", "2026-11-21T16:54:15.000000+00:00"),
        ("2026-11-21T16:54Z", "2026-11-21T16:54:00.000000+00:00"),
        ("2026-11-21 16:54:15", messages.format_time(datetime(2026, 11, 21, 16, 54, 15).astimezone(timezone.utc))),
        ("2026-11", messages.format_time(datetime(2026, 11, 1).astimezone(timezone.utc))),
        ("2026", messages.format_time(datetime(2026, 1, 1).astimezone(timezone.utc))),
    ],
)
def test_a_time_may_be_given_as_it_is_shown(given: str, sort_key: str) -> None:
    assert _time(given) == sort_key


def test_a_half_replaced_table_is_not_read(ddb: Cli, fresh: Settings) -> None:
    assert ddb("seed").code == 0
    with half_replaced(fresh) as said:
        for words in (("list-conversations",), ("get-conversation", "--with", "bayko")):
            done = ddb(*words, "--as", "andrewbrown")
            assert (done.code, done.stdout, said in done.stderr) == (3, "", True)


BROKEN: tuple[dict[str, Any] | None, ...] = (
    None,
    {"N": "7"},
    {"S": ""},
    {"NULL": True},
    {"M": {}},
    {"S": "x" * 60_000},
)
"""What may stand in place of an attribute: nothing, another type, an empty text, a long one."""


def broken_items(whole: list[Any]) -> Iterator[Any]:
    """Yield copies of items with one attribute each that is not as it should be, and odd times."""
    for number, item in enumerate(whole):
        for attribute in item.keys() - {"pk", "sk"}:
            for turn, value in enumerate(BROKEN if attribute != "message_group_uuid" else (None,)):  # a key of an index
                at = f"2026-11-{turn + 1:02}T10:{number:02}:{len(attribute):02}.000000+00:00"
                made = {**item, "sk": {"S": at}, attribute: value}
                yield {name: value for name, value in made.items() if value is not None}
        for at in ("never", "2026-13-45T99:99:99", "2026-11-01"):
            yield {**item, "sk": {"S": at}}


def test_items_that_are_not_as_they_should_be_are_named_and_the_others_shown(
    ddb: Cli, fresh: Settings, cli: Cli
) -> None:
    assert ddb("seed").code == 0
    client, table = connect(fresh), fresh.message_table
    of_group = [item for item in scan(client, table) if item["pk"]["S"] in (f"MSG#{GROUP}", f"GRP#{UUIDS['bayko']}")]
    kinds = {item["pk"]["S"]: item for item in of_group}
    for item in broken_items(list(kinds.values())):
        client.put_item(TableName=table, Item=item)
    variables = {"DDB_MESSAGE_TABLE": table}
    read = ddb("get-conversation", "--as", "bayko", "--group", GROUP, "--limit", "500")
    assert (read.code, len(texts(read)) > 40) == (0, True)
    assert re.search(rf"item MSG#{GROUP} 2026-11-02T10:0\d:11.000000\+00:00 has no text as user_handle\n", read.stderr)
    assert re.search(rf"item MSG#{GROUP} 2026-11-01T10:0\d:07.000000\+00:00 has no text as message\n", read.stderr)
    for words in (
        ("ddb.get-conversation", "--as", "bayko", "--with", "andrewbrown"),
        ("ddb.list-conversations", "--as", "bayko", "--limit", "200"),
        ("why", "bayko"),
        ("why", GROUP),
        ("check",),
        ("check", "--limit", "1000"),
        ("status",),
        ("ddb.seed", "--plan"),
        ("ddb.stream", "--once"),
        ("ddb.send-message", "--as", "bayko", "--group", GROUP, "--text", "hello"),
        ("ddb.export",),
        ("check", "--plan"),
    ):
        for form in (("--format", "json"), ()):
            done = cli(*words, *form, **variables)
            assert "Traceback" not in done.stderr + done.stdout, words
            assert done.code in (0, 1, 3), (words, done.stderr)


def test_a_message_is_read_from_stdin(ddb: Cli, fresh: Settings, live_environment: dict[str, str]) -> None:
    assert ddb("schema-load").code == 0
    environ = {**live_environment, "DDB_MESSAGE_TABLE": fresh.message_table}
    words = ["ddb.send-message", "--as", "bayko", "--to", "londo", "--text", "-", "--format", "json"]
    sent = inv(*words, environ=environ, text="  of two\nlines\n")
    assert data_of(sent)["message"]["message"] == "  of two\nlines"


def test_a_plan_sends_nothing(ddb: Cli, fresh: Settings) -> None:
    assert ddb("schema-load").code == 0
    new = ddb("send-message", "--as", "andrewbrown", "--to", "bayko", "--text", "Hello", "--plan")
    assert new.stdout.splitlines()[-2:] == ["      + 1 message of andrewbrown in a new group", "      + 2 group rows"]
    assert list(scan(connect(fresh), fresh.message_table)) == []


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (("list-conversations",), 2, "--as is missing", "say who: --as andrewbrown"),
        (
            ("list-conversations", "--as", "andrewbrawn"),
            2,
            "--as: no user has the handle 'andrewbrawn'",
            "did you mean 'andrewbrown'?",
        ),
        (("list-conversations", "--as", "bayko", "--limit", "0"), 2, "--limit 0 shows nothing", "give 1 or more"),
        (
            ("list-conversations", "--as", "bayko", "--before", "yesterday"),
            2,
            "--before 'yesterday' is not a time",
            "write it as 2026-11-21T10:30",
        ),
        (
            ("list-conversations", "bayko", "--before", "2026-13-45"),
            2,
            "--before '2026-13-45' is not a time",
            "as 2026",
        ),
        (("get-conversation", "--as", "bayko"), 2, "--with and --group: one of them is needed", "say --with HANDLE"),
        (
            ("get-conversation", "--as", "bayko", "--group", "x"),
            2,
            "--group 'x' is not a uuid",
            "say --with HANDLE, or a group's uuid",
        ),
        (
            ("get-conversation", "--as", "bayko", "--with", "londo"),
            2,
            "bayko and londo have no conversation",
            "run `inv ddb.send-message --as bayko --to londo --text Hello` to start one",
        ),
        (
            ("get-conversation", "--as", "londo", "--group", GROUP),
            2,
            f"londo is not in group {GROUP}",
            "run `inv ddb.list-conversations --as londo`",
        ),
        (
            ("send-message", "--as", "londo", "--group", GROUP, "--text", "x"),
            2,
            f"nothing was sent: londo is not in group {GROUP}",
            "run `inv ddb.list-conversations --as londo --format json` to see the groups",
        ),
        (
            ("send-message", "--as", "londo", "--to", "bayko"),
            2,
            "the message is missing",
            "add --text 'Hello', or --text - to read it from stdin",
        ),
        (
            ("send-message", "--as", "londo", "--to", "bayko", " "),
            2,
            "nothing was sent: the message is empty",
            "give another text or receiver",
        ),
        (
            ("send-message", "--as", "londo", "--group", GROUP, "x", "--plan"),
            2,
            f"londo is not in group {GROUP}",
            "run `inv ddb.list-conversations --as londo`",
        ),
        (
            ("get-conversation", "--as", "londo", "--with", "londo"),
            2,
            "londo has no conversation with themselves",
            "give somebody else's handle",
        ),
        (
            ("send-message", "--as", "londo", "--to", "londo", "--text", "x"),
            2,
            "nothing was sent: londo cannot write to themselves",
            "give another text or receiver",
        ),
        (
            ("send-message", "--as", "londo", "--to", "bayko", "--text", "x", "--confirm", "y"),
            2,
            "--confirm 'y' is not the name of what would change: ",
            "correct --confirm, or leave it out",
        ),
    ],
)
def test_a_wrong_option_is_said_with_the_way_out(
    ddb: Cli, fresh: Settings, words: tuple[str, ...], code: int, message: str, hint: str
) -> None:
    assert ddb("schema-load").code == 0
    done = ddb(*words)
    lines = done.stderr.splitlines()
    failed = next(number for number, line in enumerate(lines) if line.startswith("FAIL"))
    assert (done.code, message in lines[failed], hint in lines[failed + 1]) == (code, True, True)
    assert list(scan(connect(fresh), fresh.message_table)) == []


def test_somebody_without_conversations_is_told_so(ddb: Cli) -> None:
    assert ddb("schema-load").code == 0
    listed = ddb("list-conversations", "--as", "londo")
    assert listed.stdout == "londo has no conversations\nconsumed capacity: 0.5 units, table 0.5, index 0\n"


def test_without_the_table_the_command_to_run_is_named(ddb: Cli, fresh: Settings) -> None:
    listed = ddb("list-conversations", "--as", "londo")
    assert (listed.code, "run `inv ddb.schema-load`" in listed.stderr) == (1, True)
    assert f"table {fresh.message_table} does not exist" in listed.stderr


def test_the_apps_modules_need_nothing_but_the_standard_library() -> None:
    code = "import sys; before = set(sys.modules); import ddb.messages; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=TOOL, capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert tops - sys.stdlib_module_names == {"ddb"}
