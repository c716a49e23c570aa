"""Seeds for any table: read with their placeholders, checked as a whole, and written once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.localenv.dynamodb import copies, tableseeds
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.placeholders import Filler
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.schema import apply_tables, wait_until_active
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.dynamodb.tableseeds import TableSeeds
from tasks.localenv.dynamodb.transfer.itemline import Keys, read_line
from tasks.localenv.dynamodb.transfer.typed import Misfit
from tasks.localenv.errors import UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import read_people

PEOPLE = read_people(TOOL)
ANDREW = next(person for person in PEOPLE if person.person == "andrewbrown")
NOW = datetime(2026, 11, 26, 12, 30, 0, 250000, tzinfo=timezone.utc)
KEYS = Keys((("pk", "S"), ("sk", "S")), {"pk": "S", "sk": "S"})
FILE = "seeds/ddb/cruddur-messages.jsonl"


def filled(text: str, keys: Keys = KEYS) -> Any:
    line = read_line("f:1", text, keys, Filler(PEOPLE, NOW))
    if line.error:
        raise line.error
    return line.item


def error_of(text: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        filled(text)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{{person.andrewbrown}}", {"S": str(ANDREW.uuid)}),
        ("USER#{{person.andrewbrown}}", {"S": f"USER#{ANDREW.uuid}"}),
        ("{{ person.andrewbrown.handle }}", {"S": ANDREW.handle}),
        ("{{person.andrewbrown.email}}", {"S": ANDREW.email}),
        ("{{person.andrewbrown.display_name}}!", {"S": f"{ANDREW.display_name}!"}),
        ("{{now}}", {"S": "2026-11-26T12:30:00.250000+00:00"}),
        ("{{now-5m}}", {"S": "2026-11-26T12:25:00.250000+00:00"}),
        ("{{ now - 3d }} {{now+2h}}", {"S": "2026-11-23T12:30:00.250000+00:00 2026-11-26T14:30:00.250000+00:00"}),
        ("{{epoch}}", {"N": str(int(NOW.timestamp()))}),
        ("{{epoch-1h}}", {"N": str(int(NOW.timestamp()) - 3600)}),
        ("TTL#{{epoch+1w}}", {"S": f"TTL#{int(NOW.timestamp()) + 7 * 86400}"}),
        ("{{{{now}}", {"S": "{{now}}"}),
        ("{now} }} {", {"S": "{now} }} {"}),
    ],
)  # fmt: skip
def test_placeholders_have_values(written: str, value: Any) -> None:
    assert filled(json.dumps({"pk": "a", "sk": "b", "x": written}))["x"] == value
    assert filled(json.dumps({"pk": "a", "sk": "b", "x": [{"y": written}]}))["x"] == {"L": [{"M": {"y": value}}]}
    kind, text = next(iter(value.items()))
    typed = {"pk": {"S": "a"}, "sk": {"S": "b"}, "x": {kind: written}}
    assert filled(json.dumps({"Item": typed}))["x"] == filled(json.dumps(typed))["x"] == {kind: text}


def test_names_have_placeholders_too() -> None:
    found = filled('{"pk": "a", "sk": "b", "unread": {"{{person.andrewbrown}}": 3}}')
    assert found["unread"] == {"M": {str(ANDREW.uuid): {"N": "3"}}}


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("{{person.andrewbrwn}}", "nobody in seeds/people.csv is called 'andrewbrwn'", "did you mean 'andrewbrown'?"),
        ("{{person.baiko.email}}", "nobody in seeds/people.csv is called 'baiko'", "did you mean 'bayko'?"),
        ("{{person.andrewbrown.mail}}", "a person has no 'mail'", "did you mean 'email'?"),
        ("{{person.}}", "nobody in seeds/people.csv is called ''", "use one of andrewbrown"),
        ("{{nwo-5m}}", "{{nwo-5m}} is not a placeholder", "did you mean 'now'?"),
        ("{{now-5min}}", "{{now-5min}}: 'min' is not a unit of time", "use one of s (seconds), m (minutes)"),
        ("{{now-5}}", "{{now-5}} is not a placeholder", "did you mean 'now'? use {{now-5m}}"),
        ("{{now-999999999w}}", "{{now-999999999w}} is out of range", "use a smaller number"),
        ("Hello {{name", "{{name is not closed", "close it with }}"),
        ("{{}}", "{{}} is not a placeholder", "use {{now-5m}}"),
    ],
)
def test_a_wrong_placeholder_is_said_with_its_column_and_a_way_out(written: str, message: str, hint: str) -> None:
    found = error_of(json.dumps({"pk": "a", "sk": "b", "x": ["ok", written]}))
    assert (found[0], found[1][: len(hint)]) == (f"f:1:36: {message}", hint)


def test_what_is_put_together_is_checked_against_the_key() -> None:
    assert error_of('{"pk": "a", "sk": "{{epoch}}"}')[0] == "f:1:19: 'sk' is a key of type S, found N"
    message, hint = error_of('{"pk": "a", "sk": {{now}}}')
    assert (message[:16], hint) == ("f:1:20: not JSON", "write {{…}} in quotes")
    number = Keys((("id", "N"),), {"id": "N"})
    assert filled('{"id": "{{epoch}}"}', number) == {"id": {"N": str(int(NOW.timestamp()))}}


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.text("{}now-+5mepochrs.d \u00e9", max_size=30))
def test_any_text_is_filled_or_refused(text: str) -> None:
    try:
        found = Filler(PEOPLE, NOW)(text, (), True)
    except Misfit:
        return
    assert isinstance(found, str | int)
    assert "{{" in text or found == text


@pytest.fixture
def project(fresh: Settings, tmp_path: Path) -> Settings:
    """A project of its own with the people, and an empty message table."""
    apply_tables(connect(fresh), read_tables(fresh))
    (tmp_path / "seeds/ddb").mkdir(parents=True)
    (tmp_path / "seeds/people.csv").write_text((TOOL / "seeds/people.csv").read_text())
    return replace(fresh, root=tmp_path)


@pytest.fixture
def numbers(project: Settings) -> Iterator[str]:
    """The name of a table whose key is a number."""
    client, name = connect(project), f"{project.message_table}-numbers"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "at", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "at", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    wait_until_active(client, name)
    yield name
    copies.drop_table(client, name)


def write_file(project: Settings, *lines: Any, name: str = FILE) -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (project.root / name).write_text("".join(f"{text}\n" for text in texts))


def items(project: Settings, table: str = "") -> list[Any]:
    found = scan(connect(project), table or project.message_table)
    return sorted(found, key=lambda item: json.dumps(item, sort_keys=True))


def seeds(project: Settings, now: datetime = NOW) -> TableSeeds:
    return tableseeds.prepare(project, now=now)


FIXED = [
    {"pk": "USER#{{person.andrewbrown}}", "sk": "profile", "seen": "{{now-5m}}", "ttl": "{{epoch+1h}}", "tags": ["a"]},
    {"Item": {"pk": {"S": "b"}, "sk": {"S": "{{person.bayko.handle}}"}, "kinds": {"SS": ["x", "y"]}}},
]
MOVING = [
    {"pk": "LOG", "sk": "{{now-5m}}", "text": "one"},
    {"pk": "LOG", "sk": "{{now-3d}}", "text": "two"},
    {"pk": "LOG", "sk": "AT#{{epoch-1h}}", "text": "two"},
    {"pk": "LOG#{{now}}", "sk": "x"},
]


def test_seeds_are_planned_written_and_then_there(project: Settings) -> None:
    write_file(project, *FIXED, "", *MOVING)
    first = seeds(project)
    assert (first.check(), first.plan_lines()) == (None, [f"+ 6 items of {FILE} into {project.message_table}"])
    assert items(project) == []
    assert first.apply() == "6 items of seeds/ddb written"
    before = items(project)
    assert before[-1] == {
        "pk": {"S": f"USER#{ANDREW.uuid}"},
        "sk": {"S": "profile"},
        "seen": {"S": "2026-11-26T12:25:00.250000+00:00"},
        "ttl": {"N": str(int(NOW.timestamp()) + 3600)},
        "tags": {"L": [{"S": "a"}]},
    }
    later = seeds(project, NOW + timedelta(days=2, hours=3, seconds=1))
    assert (later.check(), later.plan_lines()) == ("seeds/ddb: 6 items already there", [])
    assert later.apply() == "0 items of seeds/ddb written; 6 items already there"
    assert items(project) == before


def test_what_somebody_changed_is_left_as_it_is(project: Settings) -> None:
    write_file(project, *FIXED, *MOVING)
    seeds(project).apply()
    client = connect(project)
    for item in items(project):
        if item["pk"]["S"].startswith("USER") or item.get("text") == {"S": "one"}:
            client.put_item(TableName=project.message_table, Item={**item, "text": {"S": "mine"}})
    before = items(project)
    later = seeds(project, NOW + timedelta(days=9))
    assert later.check() == "seeds/ddb: 6 items already there, 2 of them kept with other contents"
    assert later.apply().startswith("0 items of seeds/ddb written")
    assert items(project) == before


def test_what_is_gone_and_what_is_new_is_written(project: Settings) -> None:
    write_file(project, *FIXED, *MOVING)
    seeds(project).apply()
    client, table = connect(project), project.message_table
    gone = next(item for item in items(project) if item.get("text") == {"S": "one"})
    client.delete_item(TableName=table, Key={name: gone[name] for name in ("pk", "sk")})
    write_file(project, *FIXED, *MOVING, {"pk": "LOG", "sk": "{{now}}", "text": "three"})
    later = seeds(project, NOW + timedelta(hours=1))
    assert later.plan_lines() == [f"+ 2 items of {FILE} into {table}; 5 items already there"]
    assert later.apply() == "2 items of seeds/ddb written; 5 items already there"
    assert seeds(project, NOW + timedelta(days=1)).check() == "seeds/ddb: 7 items already there"


def test_items_that_are_the_same_but_for_their_times_are_counted(project: Settings) -> None:
    twins = [{"pk": "LOG", "sk": f"{{{{now-{number}m}}}}"} for number in range(1, 31)]
    write_file(project, *twins[:20])
    seeds(project).apply()
    write_file(project, *twins)
    assert seeds(project, NOW + timedelta(days=1)).apply() == "10 items of seeds/ddb written; 20 items already there"
    assert seeds(project, NOW + timedelta(days=2)).check() == "seeds/ddb: 30 items already there"


def test_a_key_may_be_a_number_of_seconds(project: Settings, numbers: str) -> None:
    name = f"seeds/ddb/{numbers}.jsonl"
    write_file(project, {"at": "{{epoch-1h}}", "x": 1}, {"at": 7, "x": 1.50}, name=name)
    assert seeds(project).apply() == "2 items of seeds/ddb written"
    before = items(project, numbers)
    assert seeds(project, NOW + timedelta(days=3, seconds=7)).check() == "seeds/ddb: 2 items already there"
    assert len(before) == 2


def test_without_a_folder_there_is_nothing_to_do(project: Settings) -> None:
    assert (seeds(project).check(), seeds(project).plan_lines()) == ("no seeds/ddb/*.jsonl", [])
    (project.root / "seeds/ddb").rmdir()
    assert seeds(project).check() == "no seeds/ddb/*.jsonl"
    tableseeds.precheck(project)


def test_all_files_are_checked_before_anything_is_written(project: Settings, numbers: str) -> None:
    write_file(project, *FIXED, {"pk": "a"}, {"pk": "b", "sk": "{{person.bayko.handle}}"})
    write_file(project, {"at": "x"}, "{", name=f"seeds/ddb/{numbers}.jsonl")
    with pytest.raises(UsageError) as caught:
        seeds(project)
    assert (caught.value.message, caught.value.evidence.splitlines()) == (
        f"{FILE}:3:1: no 'sk', which is in the table's key",
        [
            f"{FILE}:4: pk 'b', sk 'bayko' is already on {FILE}:2",
            f"seeds/ddb/{numbers}.jsonl:1:8: 'at' is a key of type N, found S",
            f"seeds/ddb/{numbers}.jsonl:2:2: not JSON: expecting property name enclosed in double quotes",
        ],
    )
    assert items(project) == []


def test_a_glance_needs_no_table(project: Settings) -> None:
    write_file(project, {"x": "{{person.nobody}}"}, name="seeds/ddb/nosuch.jsonl")
    with pytest.raises(UsageError, match=r"nosuch\.jsonl:1:7: nobody in seeds/people\.csv is called 'nobody'"):
        tableseeds.precheck(project)


def test_a_table_that_is_not_there_is_named_with_the_nearest(project: Settings) -> None:
    write_file(project, {"pk": "a"}, name=f"seeds/ddb/{project.message_table}x.jsonl")
    with pytest.raises(UsageError) as caught:
        seeds(project)
    assert (caught.value.message, caught.value.hint) == (
        f"seeds/ddb/{project.message_table}x.jsonl: table {project.message_table}x does not exist",
        f"did you mean {project.message_table}.jsonl?",
    )


@pytest.mark.parametrize("name", ["t.json", "t.ndjson", "t.csv", "t.jsonl.gz"])
def test_a_file_that_would_not_be_read_is_an_error(project: Settings, name: str) -> None:
    (project.root / "seeds/ddb/README.md").write_text("notes")
    write_file(project, "{}", name=f"seeds/ddb/{name}")
    with pytest.raises(UsageError, match=rf"seeds/ddb/{name}: seeds are \*\.jsonl"):
        tableseeds.find_files(project)


def test_two_files_for_one_table_are_an_error(project: Settings) -> None:
    write_file(project, {"pk": "a", "sk": "b"})
    write_file(project, {"pk": "a", "sk": "b"}, name=f"seeds/ddb/{project.message_table}.jsonl")
    with pytest.raises(UsageError, match=rf"\.jsonl is for table {project.message_table} too"):
        tableseeds.find_files(project)
