"""Stored values that drive a terminal, start lines, or speak to a CI: in no command's output do they get through."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import _output
from tasks._output import annotation
from tasks.localenv.machine.columns import harmless, harmless_lines, without_sequences
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.cognito.test_pool import add_pool_users
from tests.support.answers import entries
from tests.support.boto import local_client
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.trials.test_secrets import TASKS, WORDS

pytestmark = pytest.mark.reliability("hostile input")

EVIL = (
    "Eve\n::error::boom\n  ::add-mask::e\r\x1b[31mred\x1b]0;title\x07\x9b2J\x7f\u0085\u2028"
    "\u202eabc\u2066\u200b##[error]z"
)
HARMLESS = (
    "Eve\\n::error::boom\\n  ::add-mask::e\\r\\u001b[31mred\\u001b]0;title\\u0007\\u009b2J\\u007f\\u0085\\u2028"
    "\\u202eabc\\u2066\\u200b#\\u0023[error]z"
)
CI = {"GITHUB_ACTIONS": "true"}
FORMATS = ("Cf", "Cc", "Zl", "Zp", "Cs")


def assert_clean(done: Finished) -> None:
    """Nothing in it drives a terminal, and whatever looks like a command to the CI is the annotation of a failure."""
    text = done.stdout + done.stderr
    assert [char for char in text if char not in "\n\t" and unicodedata.category(char) in FORMATS] == []
    assert "##[" not in text
    commands = [line for line in text.split("\n") if line.lstrip().startswith("::")]
    failures = [line for line in done.stderr.split("\n") if line.startswith("FAIL")]
    assert all(line.startswith("::error") for line in commands)
    assert len(commands) == len(failures), done


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in each store of which such values are."""
    environ = {**environment(reachable(tmp_path_factory.mktemp("evil")) / "state"), **CI}
    made = inv("initial-setup", environ=environ)
    assert made.code == 0, made
    settings = permitted(read_settings(environ=environ))
    _plant(settings)
    yield environ
    inv("env.destroy", "--confirm", "cruddur", environ=environ)


def _plant(settings: Settings) -> None:
    with connect(settings.postgres) as connection:
        connection.execute(
            "INSERT INTO users (uuid, display_name, handle, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)",
            (str(uuid.uuid4()), EVIL, EVIL, EVIL, EVIL),
        )
        connection.execute("UPDATE users SET display_name = %s WHERE handle = 'andrewbrown'", (EVIL,))
    add_pool_users(settings, {"preferred_username": EVIL, "name": EVIL, "email": "eve@example.com"})
    dynamodb = local_client(settings, "dynamodb")
    table = settings.message_table
    stored: Any = dynamodb.scan(TableName=table)["Items"]
    message = next(item for item in stored if item["pk"]["S"].startswith("MSG#"))
    row = next(item for item in stored if item["pk"]["S"].startswith("GRP#"))
    planted: tuple[Any, ...] = (
        {**message, "sk": {"S": "2030-01-01T00:00:00.000000"}, "message": {"S": EVIL}, "user_handle": {"S": EVIL}},
        {**row, "message": {"S": EVIL}, "user_handle": {"S": EVIL}},
        {"pk": {"S": EVIL}, "sk": {"S": EVIL}, EVIL: {"M": {EVIL: {"L": [{"S": EVIL}]}}}},
        {"pk": {"S": f"MSG#{EVIL}"}, "sk": {"S": EVIL}, "user_uuid": {"S": EVIL}, "message": {"S": EVIL}},
    )
    for item in planted:
        dynamodb.put_item(TableName=table, Item=item)


@pytest.mark.parametrize("name", TASKS)
def test_no_stored_value_gets_through(name: str, evil: dict[str, str]) -> None:
    words = [name, *WORDS.get(name, [])]
    if not TASKS[name].effect.reads or name in ("initial-setup", "db.connect"):
        words = [*(word for word in words if word != "--yes"), "--plan"]
    assert_clean(inv(*words, environ=evil))


def test_values_are_told_from_the_structure_around_them(evil: dict[str, str]) -> None:
    table = inv("db.query", "select handle, 1 as one from users where handle like 'Eve%'", environ=evil)
    assert [line.split("  ")[0].rstrip() for line in table.stdout.split("\n")[2:]] == [
        HARMLESS.split("  ")[0],
        "",
    ]
    assert table.stdout.count("\n") == 3
    data = inv("db.query", "select handle from users where handle like 'Eve%'", "--format", "json", environ=evil)
    assert entries(data.stdout, "row") == [{"handle": EVIL}]
    users = inv("cognito.list-users", environ=evil)
    (line,) = [line for line in users.stdout.split("\n") if line.startswith("Eve")]
    assert line.startswith(f"{HARMLESS}  {HARMLESS}  eve@example.com")
    exported = inv("ddb.export", environ=evil)
    items = [json.loads(line)["Item"] for line in exported.stdout.splitlines() if line]
    assert {"pk": {"S": EVIL}, "sk": {"S": EVIL}, EVIL: {"M": {EVIL: {"L": [{"S": EVIL}]}}}} in items


def test_what_a_server_raises_or_logs_gets_no_line_of_its_own(evil: dict[str, str]) -> None:
    statement = "do $$ begin raise exception E'%' using detail = E'%', hint = E'%'; end $$"
    raised = inv("db.query", statement.replace("%", r"a\n::error::b\r\x1b[2Jc"), "--write", environ=evil)
    assert (raised.code, raised.stdout) == (1, "")
    assert_clean(raised)
    inv("db.query", r"do $$ begin raise log E'a\n::error::b\r\x1b[2Jc\x1b]0;t\x07d'; end $$", "--write", environ=evil)
    for words in (["env.logs"], ["env.logs", "--format", "json"]):
        assert_clean(inv(*words, environ=evil))


@pytest.mark.parametrize(
    "words",
    [
        (EVIL,),
        (f"--{EVIL}",),
        ("db.seed", f"--{EVIL}"),
        ("env.status", EVIL),
        ("db.query", EVIL),
        ("db.query", "--file", EVIL),
        ("db.query", "select %(a)s", "--param", f"{EVIL}={EVIL}"),
        ("why", EVIL),
        ("ddb.scan", EVIL),
        ("ddb.query", f"SELECT {EVIL}"),
        ("ddb.import", EVIL),
        ("ddb.seed", "--file", EVIL),
        ("ddb.schema-load", "--file", EVIL),
        ("ddb.send-message", "--as", EVIL, "--to", EVIL, "--text", EVIL),
        ("snapshot.save", EVIL),
        ("snapshot.restore", "--file", EVIL),
        ("env.logs", "--lines", EVIL),
        ("env.status", "--engine", EVIL),
        ("env.status", "--format", EVIL),
        ("status", "--target", EVIL),
    ],
    ids=lambda words: " ".join(words).replace(EVIL, "X"),
)
def test_words_of_the_command_line_do_not_either(words: tuple[str, ...], evil: dict[str, str]) -> None:
    if words[0] in (EVIL, f"--{EVIL}"):  # Invoke's own parser fails on these, before there is a run to annotate
        evil = {name: value for name, value in evil.items() if name not in CI} | {"CI": "true"}
    done = inv(*words, environ=evil)
    text = done.stdout + done.stderr
    assert [char for char in text if char not in "\n\t" and unicodedata.category(char) in FORMATS] == []
    assert [line for line in text.split("\n") if line.lstrip().startswith("::") and "FAIL" not in text] == []


def test_file_names_and_lines_of_files_do_not_either(evil: dict[str, str], tmp_path: Path) -> None:
    name = EVIL.replace("/", "")
    for suffix, text, command in (
        (".sql", f"select 1;\nselect '{EVIL}' from nowhere;\n", ("db.seed", "--file")),
        (".jsonl", '{"Item":{"pk":{"S":"\x1b[2J"}}}\n::error::x\n', ("ddb.import", "--file")),
        (".txt", f"{EVIL}\n", ("ddb.seed", "--file")),
        (".json", f'{{"{EVIL}": ', ("ddb.schema-load", "--file")),
    ):
        path = tmp_path / f"{name}{suffix}"
        path.write_text(text)
        assert_clean(inv(*command, str(path), environ=evil))


def test_a_terminal_is_not_driven_either(evil: dict[str, str]) -> None:
    """On a terminal the marks have colour, and nothing else has."""
    done = subprocess.run(
        ["script", "-qec", f"{_invoke()} check; {_invoke()} cognito.list-users", "/dev/null"],
        env={**os.environ, **evil, "TERM": "xterm", "GITHUB_ACTIONS": ""},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    left = without_sequences(done.stdout.replace("\x1b[31mFAIL\x1b[0m", "").replace("\r\n", "\n"))
    assert "\\u001b[31mred" in left
    assert left == harmless_lines(left)


def _invoke() -> str:
    import sys

    from tasks.localenv.machine.folders import TOOL

    return f"{sys.executable} -m invoke --search-root {TOOL}"


def test_an_annotation_escapes_what_github_reads_in_it() -> None:
    assert annotation("a,b%c.sql:1:2: 50% of\n::error::x, y: z") == (
        "::error file=a%2Cb%25c.sql,line=1,col=2::a,b%25c.sql:1:2: 50%25 of%0A::error::x, y: z"
    )
    assert annotation("no place\r: here") == "::error::no place\\r: here"


def test_an_annotation_names_the_file_from_the_root_of_the_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The app may be a folder of it, and the command may be called in any other."""
    app = tmp_path / "repository" / "apps" / "chat"
    (app / "sql").mkdir(parents=True)
    (app / "sql" / "schema.sql").touch()
    (tmp_path / "elsewhere.sql").touch()
    monkeypatch.setattr("tasks.localenv.machine.folders.APP", app)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "repository"))
    monkeypatch.chdir(app / "sql")
    for file, told in (
        ("sql/schema.sql", "apps/chat/sql/schema.sql"),
        ("schema.sql", "apps/chat/sql/schema.sql"),
        (str(app / "sql" / "schema.sql"), "apps/chat/sql/schema.sql"),
        (str(tmp_path / "elsewhere.sql"), str(tmp_path / "elsewhere.sql")),
        ("gone.sql", "gone.sql"),
        ("x" * 300, "x" * 300),
    ):
        assert annotation(f"{file}:3: wrong").startswith(f"::error file={told},line=3::")
    monkeypatch.delenv("GITHUB_WORKSPACE")
    assert annotation("sql/schema.sql:3: wrong").startswith("::error file=sql/schema.sql,line=3::")


def test_a_line_is_one_line_and_a_cell_is_one_cell() -> None:
    assert _output.table([("a\nb", 1), "between", ("漢字", None)], ("X", "Y")) == [
        "X     Y",
        "a\\nb  1",
        "between",
        "漢字",
    ]
    assert harmless("👩\u200d👩\u200d👧 ok\u00a0é\t") == "👩\u200d👩\u200d👧 ok\u00a0é\\t"
