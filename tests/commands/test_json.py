"""What commands answer with --format json: one envelope however they end, streams with an end, schemas that fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import _schemas, ns
from tasks._graph import Step
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.machine.jsonvalues import iso_time, plain
from tests.conftest import Cli
from tests.support.answers import answer, entries, faults
from tests.support.environments import KEPT, PATIENCE_S, Finished, environment, inv

AS_JSON = ("--format", "json")


@pytest.mark.parametrize(
    ("line", "code", "command", "message"),
    [
        ("ddb.sed --format json", 2, "inv", "there is no task 'ddb.sed'"),
        ("--format=json ddb.seed", 2, "inv", "there is no option --format"),
        ("ddb.seed --format=json --fiel x", 2, "ddb.seed", "there is no option --fiel"),
        ("why --format json", 2, "why", "why wants an id"),
        ("ddb.scan --format json --limit x", 2, "inv", "--limit: 'x' is not a whole number"),
        ("ddb.scan --format json --limit -1", 2, "ddb.scan", "--limit -1 is less than nothing"),
        ("exec --format json", 2, "exec", "exec wants a command"),
        ("db.reset --target prod --format json", 2, "db.reset", "db.reset does not exist for --target prod"),
        (
            "db.connect --format json",
            2,
            "db.connect",
            "db.connect --format json: a session at the terminal has no answer",
        ),
        ("db.dump - --format json", 2, "db.dump", "db.dump --format json: stdout has the SQL"),
        ("env.status --format json env.export --format dotenv", 2, "env.status env.export", "one answer as JSON, and"),
        ("db.seed --plan db.create --format json", 2, "db.seed db.create", "the tasks on this command line have diff"),
    ],
)
def test_a_mistake_is_an_envelope_too(line: str, code: int, command: str, message: str, tmp_path: Path) -> None:
    words = ["db.dump", "--file", *line.split()[1:]] if line.startswith("db.dump -") else line.split()
    done = inv(*words, environ=environment(tmp_path / "state"))
    found = answer(done.stdout)
    assert (done.code, found["error"]["code"], found["command"], found["status"]) == (code, code, command, "error")
    assert found["error"]["message"].startswith(message)
    assert message in done.stderr
    assert faults("inv", done.stdout) == []


def test_what_stands_behind_the_dashes_asks_for_nothing(tmp_path: Path) -> None:
    done = inv("exec", "--frce", "--", "x", *AS_JSON, environ=environment(tmp_path / "state"))
    assert (done.code, done.stdout) == (2, "")


def test_a_fault_of_the_program_is_an_envelope_too(tmp_path: Path) -> None:
    done = inv("env.status", *AS_JSON, environ={**environment(tmp_path / "state"), "LOCALENV_STATE_DIR": "/dev/null/x"})
    assert (done.code, faults("env.status", done.stdout)) == (answer(done.stdout)["error"]["code"], [])


def test_a_plan_changes_nothing_and_names_each_step(tmp_path: Path) -> None:
    done = inv("db.setup", "--plan", *AS_JSON, environ=environment(tmp_path / "state"))
    found = answer(done.stdout)
    assert (done.code, done.stderr, faults("db.setup", done.stdout)) == (0, "", [])
    up, setup = found["data"]["plan"]
    assert (up["step"], up["action"], up["lines"][0].split(":")[0]) == ("env.up", "run", "engine embedded")
    assert (setup["step"], setup["reason"], setup["lines"]) == ("db.setup", "after env.up", [])
    assert {step["status"] for step in found["steps"]} == {"not run"}


def test_a_task_that_writes_says_what_it_did_and_how_to_go_back(cli: Cli, table_name: str) -> None:
    where = {"DDB_MESSAGE_TABLE": table_name}
    made = answer(cli("ddb.schema-load", *AS_JSON, **where).stdout)
    assert (made["effect"], made["steps"][0]["status"]) == ("writes", "skip")
    assert made["data"]["sentence"].startswith("1 table created")
    again = answer(cli("ddb.schema-load", *AS_JSON, **where).stdout)
    assert [step["status"] for step in again["steps"]] == ["skip", "skip"]
    refused = cli("ddb.drop", *AS_JSON, **where)
    assert (refused.code, answer(refused.stdout)["error"]["name"]) == (3, "confirmation-needed")
    assert answer(refused.stdout)["error"]["commands"] == ["inv ddb.drop --yes"]
    items = '{"pk": "a", "sk": "1"}\n'
    written = answer(cli("ddb.import", "-", *AS_JSON, text=items, **where).stdout)
    assert {**written["data"], "sentence": ""} == {
        "sentence": "",
        "table": table_name,
        **{"items": 1, "new": 1, "replaced": 0, "unchanged": 0, "kept": 0},
    }
    dropped = cli("ddb.drop", "--yes", *AS_JSON, **where)
    assert answer(dropped.stdout)["undo"][-1:] == [f"`inv undo` brings back table {table_name} (1 item)"]
    assert faults("ddb.drop", dropped.stdout) == []


def test_what_a_scan_streams_can_be_imported_again_but_not_half_of_it(cli: Cli, table_name: str) -> None:
    where = {"DDB_MESSAGE_TABLE": table_name}
    items = '{"pk": "a", "sk": "1", "m": {"S": "no type"}}\n{"Item": {"pk": {"S": "b"}, "sk": {"S": "2"}}}\n'
    assert cli("ddb.import", "-", text=items, **where).code == 0
    scanned = cli("ddb.scan", *AS_JSON, **where)
    found = entries(scanned.stdout, "item")
    assert sorted(found, key=lambda item: item["pk"]) == [
        {"pk": "a", "sk": "1", "m": {"S": "no type"}},
        {"pk": "b", "sk": "2"},
    ]
    exported = cli("ddb.export", *AS_JSON, **where)
    assert {item["pk"]["S"] for item in entries(exported.stdout, "Item")} == {"a", "b"}
    for lines in (scanned.stdout, exported.stdout):
        again = cli("ddb.import", "-", *AS_JSON, text=lines, **where)
        assert answer(again.stdout)["data"]["unchanged"] == 2, again
    half = scanned.stdout.replace('"status": "ok", "data"', '"status": "error", "data"')
    refused = cli("ddb.import", "-", text=half, **where)
    assert (refused.code, "stdin:3:1: the command that wrote this failed: items are missing" in refused.stderr) == (
        2,
        True,
    )


Shell = Callable[[str], Finished]


@pytest.fixture
def shell(live_environment: dict[str, str]) -> Shell:
    """Run a line of a shell, in which `inv` stands for the command."""

    def run(line: str) -> Finished:
        command = ["sh", "-c", line.replace("inv", f"'{sys.executable}' -m invoke --search-root '{TOOL}'", 1)]
        environ = {**{name: os.environ[name] for name in KEPT if name in os.environ}, **live_environment}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    for line in ("db.query 'select * from generate_series(1, 100000)'", "env.status"):
        done = shell(f"(inv {line} --format json; echo $? >&2) | true")
        assert done.stderr.splitlines()[-1] == "0"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_answer_that_is_lost_is_an_error(shell: Shell) -> None:
    done = shell("inv env.status --format json >/dev/full")
    assert (done.code, "stdout cannot be written: no space left on device" in done.stderr) == (6, True)


def test_ctrl_c_ends_with_an_envelope(live_environment: dict[str, str]) -> None:
    environ = {**{name: os.environ[name] for name in KEPT if name in os.environ}, **live_environment}
    words = [
        sys.executable,
        "-m",
        "invoke",
        "--search-root",
        str(TOOL),
        "exec",
        *AS_JSON,
        "--",
        "sh",
        "-c",
        "echo up; sleep 60",
    ]
    with subprocess.Popen(
        words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        while "up\n" not in running.stderr.readline():
            assert running.poll() is None
        os.killpg(running.pid, signal.SIGINT)
        out = running.stdout.read()
        assert (running.wait(timeout=PATIENCE_S), answer(out)["error"]["code"]) == (130, 130)
        assert faults("exec", out) == []


def test_exec_gives_its_exit_code_and_keeps_stdout_for_the_answer(cli: Cli) -> None:
    done = cli("exec", *AS_JSON, "--", "sh", "-c", "echo here; exit 3")
    found = answer(done.stdout)
    assert (done.code, found["data"]) == (3, {"command": ["sh", "-c", "echo here; exit 3"], "exitCode": 3})
    assert (found["error"]["code"], "here\n" in done.stderr, faults("exec", done.stdout)) == (3, True, [])
    fine = cli("exec", *AS_JSON, "--", "true")
    assert (fine.code, answer(fine.stdout)["status"]) == (0, "ok")


def test_docs_schema_is_as_the_code_says() -> None:
    assert _schemas.main(["--check"]) == 0
    tasks = {name for name in ns.task_names if isinstance(ns[name], Step)}
    assert {path.stem for path in _schemas.FOLDER.glob("*.json")} == {*tasks, _schemas.ANY_RUN}


def test_a_schema_refuses_what_does_not_fit(tmp_path: Path) -> None:
    done = inv("env.status", *AS_JSON, environ=environment(tmp_path / "state"))
    assert faults("env.status", done.stdout) == []
    body = json.loads(done.stdout)
    first = {**body["data"][0], "since": 5}
    assert faults("env.status", json.dumps({**body, "data": [first]})) != []
    assert faults("env.status", json.dumps({**body, "data": [{**body["data"][0], "more": 1}]})) != []
    assert faults("env.status", json.dumps({**body, "status": "ok"})) != []


def test_times_and_numbers_are_those_that_every_reader_keeps() -> None:
    assert plain([2**53 - 1, 2**53, -(2**53), True, float("inf")]) == [
        2**53 - 1,
        str(2**53),
        str(-(2**53)),
        True,
        "inf",
    ]
    assert (iso_time(0), iso_time(1764239400.7)) == (None, "2025-11-27T10:30:00+00:00")
