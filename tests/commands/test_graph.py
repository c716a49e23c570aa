"""The graph executor: order, skipping, side by side, plan, force, failure, Ctrl-C and the lock."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke import Collection, Config, Executor, Exit

from tasks._executor import GraphExecutor
from tasks._graph import READS, WRITES, Found, StepContext, step
from tasks._output import Reporter
from tasks.localenv.checkout.lock import ProjectLock
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError, ServiceFailed, UsageError
from tasks.localenv.hints import Command
from tasks.localenv.settings.guard import Effect
from tests.support.environments import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


class Stage:
    """A small collection of steps that note what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.tasks: dict[str, Any] = {}

    def add(self, name: str, *before: str, body: Callable[[StepContext], Any] | None = None, **options: Any) -> None:
        def run(c: StepContext) -> Any:
            self.ran.append(name)
            return body(c) if body else f"did {name}"

        run.__name__ = name
        self.tasks[name] = step(**{"effect": WRITES, "pre": [self.tasks[b] for b in before], **options})(run)

    def run(
        self, *names: str | tuple[str, dict[str, Any]], executor: type[Executor] = GraphExecutor, **run: Any
    ) -> None:
        overrides = {"run": run}
        executor(Collection(**self.tasks), Config(overrides=overrides)).execute(*names)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("LOCALENV_STATE_DIR", str(tmp_path))
    return Stage()


def shown(text: str) -> list[str]:
    """Give the lines with their seconds taken out and their spaces folded."""
    return [re.sub(r"\s+", " ", re.sub(r"\d+\.\d\ds", "", line)).strip() for line in text.splitlines()]


def diamond(stage: Stage) -> None:
    stage.add("up")
    stage.add("left", "up")
    stage.add("right", "up")
    stage.add("top", "left", "right")


def test_each_step_runs_once_after_what_it_needs(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    diamond(stage)
    stage.run("top")
    assert (stage.ran[0], sorted(stage.ran[1:3]), stage.ran[3]) == ("up", ["left", "right"], "top")
    lines = shown(capsys.readouterr().err)
    assert (lines[0], sorted(lines[1:3]), lines[3]) == (
        "ok up did up",
        ["ok left did left", "ok right did right"],
        "ok top did top",
    )


def test_what_a_later_task_needs_waits_for_the_tasks_typed_before_it(stage: Stage) -> None:
    gone: list[str] = []
    stage.add("up")
    stage.add("drop", "up", body=lambda c: gone.append("data"))
    stage.add("load", "up", check=lambda c: None if gone else "it is all there")
    stage.add("all", "up", "load")
    stage.run("drop", "all")
    assert stage.ran == ["up", "drop", "load", "all"]


def test_a_task_typed_twice_runs_once(stage: Stage) -> None:
    diamond(stage)
    stage.run("left", "left", "up")
    assert stage.ran == ["up", "left"]


def test_independent_steps_run_side_by_side(stage: Stage) -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE_S)  # passes only when both are inside at once
    stage.add("left", body=lambda c: meeting.wait() and None)
    stage.add("right", body=lambda c: meeting.wait() and None)
    stage.add("top", "left", "right")
    stage.run("top")
    assert stage.ran[-1] == "top"


def test_a_step_alone_has_the_main_thread_and_the_terminal(stage: Stage) -> None:
    seen: dict[str, Any] = {}
    stage.add("up", body=lambda c: seen.update(thread=threading.current_thread(), stream=c.config.run.in_stream))
    stage.run("up")
    assert seen == {"thread": threading.main_thread(), "stream": None}


def test_steps_side_by_side_have_an_empty_stdin_and_prefixed_lines(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE_S)

    def body(c: StepContext) -> None:
        meeting.wait()
        c.run("cat; echo hello from $0")

    stage.add("left", body=body)
    stage.add("right", body=body)
    stage.add("top", "left", "right", body=lambda c: None)
    stage.run("top")
    out = shown(capsys.readouterr().err)
    assert sum(re.match(r"(left|right) \| hello from ", line) is not None for line in out) == 2


def test_a_step_waits_for_what_it_names_and_does_not_bring_it(stage: Stage) -> None:
    stage.add("up")
    stage.add("seed", "up")
    stage.add("check", "up", after=[stage.tasks["seed"]])
    stage.add("top", "check", "seed")
    stage.run("top")
    assert stage.ran == ["up", "seed", "check", "top"]
    stage.ran.clear()
    stage.run("check")
    assert stage.ran == ["up", "check"]
    stage.ran.clear()
    stage.run("check", "seed")
    assert stage.ran == ["up", "check", "seed"]


def test_a_step_whose_check_gives_a_reason_is_skipped(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.add("up", check=lambda c: "already running")
    stage.add("seed", "up", check=lambda c: None)
    stage.run("seed")
    assert stage.ran == ["seed"]
    assert shown(capsys.readouterr().err) == ["skip up already running", "ok seed did seed"]


def test_force_runs_what_was_typed_and_not_what_it_needs(stage: Stage) -> None:
    stage.add("up", check=lambda c: "already running")
    stage.add("seed", "up", check=lambda c: "unchanged")
    stage.run(("seed", {"force": True}))
    assert stage.ran == ["seed"]


def test_force_on_an_aggregate_reaches_the_steps_that_it_stands_for(stage: Stage) -> None:
    stage.add("seed", check=lambda c: "unchanged")
    stage.add("setup", "seed", aggregate=True)
    stage.run(("setup", {"force": True}))
    assert stage.ran == ["seed", "setup"]


@pytest.mark.parametrize("dry", [True, False])
def test_a_plan_changes_nothing_and_asks_checks_only_where_nothing_runs_before(
    stage: Stage, capsys: pytest.CaptureFixture[str], *, dry: bool
) -> None:
    asked: list[str] = []
    stage.add("up", check=lambda c: "already running")
    stage.add("tables", "up", check=lambda c: asked.append("tables"), plan=lambda c: ["+ table messages"])
    stage.add("seed", "tables", check=lambda c: asked.append("seed"))
    stage.run(("seed", {} if dry else {"plan": True}), dry=dry)
    assert (stage.ran, asked) == ([], ["tables"])
    assert shown(capsys.readouterr().out) == [
        "skip up already running",
        "run tables",
        "+ table messages",
        "run seed after tables",
    ]


def refusing(c: StepContext) -> None:
    raise UsageError("x.sql: no such file")


@pytest.mark.parametrize("options", [{}, {"plan": True}])
def test_inputs_that_cannot_be_are_refused_before_anything_starts(
    stage: Stage, capsys: pytest.CaptureFixture[str], options: dict[str, bool]
) -> None:
    stage.add("up")
    stage.add("seed", "up", inputs=refusing)
    with pytest.raises(Exit) as caught:
        stage.run(("seed", options))
    assert (caught.value.code, stage.ran) == (2, [])
    assert [*shown(capsys.readouterr().err)] == ["FAIL seed x.sql: no such file"]


def test_inputs_of_what_a_step_needs_are_asked_in_a_plan_and_left_to_the_body_in_a_run(stage: Stage) -> None:
    stage.add("load", inputs=refusing)
    stage.add("seed", "load")
    stage.run("seed")
    assert stage.ran == ["load", "seed"]
    with pytest.raises(Exit) as caught:
        stage.run(("seed", {"plan": True}))
    assert caught.value.code == 2


def test_of_two_tasks_on_a_line_one_may_write_what_the_other_reads(stage: Stage) -> None:
    stage.add("export")
    stage.add("load", inputs=refusing)
    stage.run("export", "load")
    assert stage.ran == ["export", "load"]


def test_what_can_be_read_once_is_left_to_the_body(stage: Stage) -> None:
    def load(c: StepContext, file: str = "") -> None:
        stage.ran.append("load")

    stage.tasks["load"] = step(effect=WRITES, inputs=refusing)(load)
    stage.run(("load", {"file": "-"}))
    assert stage.ran == ["load"]


def test_a_plan_shows_its_lines_before_it_refuses(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    def plan(c: StepContext) -> Iterator[str]:
        yield "± table messages"
        raise ConfirmationNeeded("DynamoDB cannot change that in place")

    stage.add("load", plan=plan)
    with pytest.raises(Exit) as caught:
        stage.run(("load", {"plan": True}))
    told = capsys.readouterr()
    assert (caught.value.code, shown(told.out)) == (3, ["run load", "± table messages"])
    assert shown(told.err) == ["FAIL load DynamoDB cannot change that in place"]


def test_a_failure_lets_running_branches_end_and_starts_nothing_new(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = threading.Event()

    def fail(c: StepContext) -> None:
        failed.set()
        raise ConfirmationNeeded("the seed changed", hint="run `inv db.setup`", evidence="sql/a.sql\n^")

    stage.add("left", body=fail)
    stage.add("right", body=lambda c: failed.wait(PATIENCE_S) and "ended")
    stage.add("after", "right")
    stage.add("top", "left", "after")
    with pytest.raises(Exit) as caught:
        stage.run("top")
    lines = shown(capsys.readouterr().err)
    assert caught.value.code == 3
    assert sorted(stage.ran[:2]) == ["left", "right"] and "top" not in stage.ran
    told = ["FAIL left the seed changed", "| sql/a.sql", "| ^", "hint run `inv db.setup`"]
    assert [line for line in lines[:5] if line != "ok right ended"] == told
    assert lines[-1] in ("not run after, top", "not run top", "not run top, after")


def test_a_programming_error_keeps_its_traceback(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.add("bad", body=lambda c: 1 // 0)
    with pytest.raises(Exit) as caught:
        stage.run("bad")
    lines = shown(capsys.readouterr().err)
    assert caught.value.code == 1
    assert lines[0].startswith("FAIL bad this is a fault of inv itself: ZeroDivisionError: integer division")
    assert lines[1] == "| Traceback (most recent call last):"
    assert lines[-1].startswith("hint report it with the lines above")


def test_a_failing_command_keeps_its_own_exit_code(stage: Stage) -> None:
    from invoke import UnexpectedExit

    stage.add("bad", body=lambda c: c.run("exit 7", hide=True, in_stream=io.StringIO()))
    with pytest.raises(UnexpectedExit) as caught:
        stage.run("bad")
    assert caught.value.result.exited == 7


def test_tasks_on_one_command_line_keep_their_order(stage: Stage) -> None:
    stage.add("up")
    stage.add("drop", "up")
    stage.add("create", "up")
    stage.run("drop", "create")
    assert stage.ran == ["up", "drop", "create"]


def test_a_call_equal_to_a_needed_one_runs_once(stage: Stage) -> None:
    stage.add("up")
    stage.add("seed", "up")
    stage.run("seed", ("up", {"plan": False}))
    assert stage.ran == ["up", "seed"]


def test_tasks_with_different_options_on_one_line_are_refused(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.add("db")
    stage.add("ddb")
    with pytest.raises(Exit) as caught:
        stage.run(("db", {"target": "prod"}), "ddb")
    assert (caught.value.code, stage.ran) == (2, [])
    assert "different options" in capsys.readouterr().err


def test_a_local_step_does_not_exist_for_prod(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.add("drop", local_only=True)
    with pytest.raises(Exit) as caught:
        stage.run(("drop", {"target": "prod"}))
    assert (caught.value.code, stage.ran) == (2, [])
    assert "drop does not exist for --target prod" in capsys.readouterr().err


def test_a_local_only_task_is_refused_before_what_it_needs_runs(stage: Stage) -> None:
    stage.add("up")
    stage.add("load", "up", local_only=True)
    stage.add("all", "load", local_only=True, aggregate=True)
    with pytest.raises(Exit) as caught:
        stage.run(("all", {"target": "prod"}))
    assert (caught.value.code, stage.ran) == (2, [])


def test_the_same_tasks_run_one_by_one_under_invokes_own_executor(stage: Stage) -> None:
    diamond(stage)
    stage.run("top", executor=Executor)
    assert stage.ran == ["up", "left", "right", "top"]


def test_a_run_that_waited_for_the_lock_asks_its_check_again(stage: Stage, tmp_path: Path) -> None:
    other = ProjectLock(tmp_path)
    other.acquire("inv initial-setup", lambda line: None)
    answers = iter([None, "unchanged"])

    def check(c: StepContext) -> str | None:
        answer = next(answers)
        if answer is None:
            threading.Timer(0.1, other.release).start()
        return answer

    stage.add("seed", check=check)
    stage.run("seed")
    assert stage.ran == []


def test_a_run_that_waited_for_the_lock_asks_all_that_it_needs_again(stage: Stage, tmp_path: Path) -> None:
    other = ProjectLock(tmp_path)
    other.acquire("inv env.down", lambda line: None)
    is_up = True

    def end_other() -> None:
        nonlocal is_up
        is_up = False
        other.release()

    def check_seed(c: StepContext) -> str | None:
        threading.Timer(0.1, end_other).start() if other.held else None
        return None

    stage.add("up", check=lambda c: "running" if is_up else None)
    stage.add("setup", "up", check=lambda c: "unchanged" if is_up or "up" not in stage.ran else None)
    stage.add("seed", "setup", check=check_seed)
    stage.run("seed")
    assert stage.ran == ["up", "setup", "seed"]


@pytest.mark.parametrize("effect", [READS, WRITES])
def test_what_only_looked_beside_another_run_looks_again_once_that_has_ended(
    stage: Stage, tmp_path: Path, effect: Effect
) -> None:
    other = ProjectLock(tmp_path)
    other.acquire("inv env.restart", lambda line: None)

    def scan(c: StepContext) -> str:
        if other.held:
            threading.Timer(0.1, other.release).start()
            raise ServiceFailed("nothing answers")
        return "3 items"

    stage.add("up", check=lambda c: "running")
    stage.add("scan", "up", effect=effect, lock=False, body=scan)
    stage.run("scan")
    assert stage.ran == ["scan", "scan"]


def test_what_fails_with_nobody_beside_it_is_not_tried_again(stage: Stage) -> None:
    def scan(c: StepContext) -> str:
        raise ServiceFailed("nothing answers")

    stage.add("scan", effect=READS, body=scan)
    with pytest.raises(Exit) as caught:
        stage.run("scan")
    assert (caught.value.code, stage.ran) == (4, ["scan"])


def test_what_was_let_to_write_is_not_done_twice(stage: Stage, tmp_path: Path) -> None:
    other = ProjectLock(tmp_path)
    other.acquire("inv env.restart", lambda line: None)

    def send(c: StepContext) -> str:
        c.step.may_write = True
        raise ServiceFailed("nothing answers")

    stage.add("send", lock=False, body=send)
    with pytest.raises(Exit):
        stage.run("send")
    other.release()
    assert stage.ran == ["send"]


@pytest.mark.parametrize("how", [{"effect": READS}, {"lock": False}])
def test_a_step_that_reads_or_needs_no_lock_waits_for_nobody(
    stage: Stage, tmp_path: Path, how: dict[str, bool]
) -> None:
    other = ProjectLock(tmp_path)
    other.acquire("inv initial-setup", lambda line: None)
    stage.add("scan", **how, body=lambda c: None)
    stage.run("scan")
    other.release()
    assert stage.ran == ["scan"]


@pytest.mark.parametrize(("aggregate", "planned"), [(False, "run   all\n"), (True, "run   up\nrun   all  after up\n")])
def test_a_flag_may_stand_in_for_what_a_step_needs_and_the_plan_of_an_aggregate_shows_it_nonetheless(
    stage: Stage, capsys: pytest.CaptureFixture[str], aggregate: bool, planned: str
) -> None:
    stage.add("up")

    def everything(c: StepContext, hook: bool = False) -> None:
        stage.ran.append("all")

    stage.tasks["all"] = step(pre=[stage.tasks["up"]], alone="hook", aggregate=aggregate, effect=READS)(everything)
    stage.run(("all", {"hook": True}), dry=True)
    assert (stage.ran, capsys.readouterr().out) == ([], planned)
    stage.run(("all", {"hook": True}))
    assert stage.ran == ["all"]
    stage.run("all")
    assert stage.ran == ["all", "up", "all"]


def envelope_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the envelope, with the seconds of its steps taken out: the only line on stdout."""
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    for one in found["steps"]:
        assert one.pop("seconds") >= 0
    return found


def test_as_json_a_failed_run_is_one_object_with_all_of_its_steps(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(c: StepContext) -> None:
        c.step.reporter.warn("scan", "old")
        raise LocalEnvError("table gone", hint=Command("ddb.schema-load"), evidence=["a", "b"])

    stage.add("up", check=lambda c: "up already")
    stage.add("scan", "up", body=fail, effect=READS)
    stage.add("after", "scan")
    with pytest.raises(Exit) as ended:
        stage.run(("after", {"format": "json"}))
    assert (ended.value.code, envelope_of(capsys)) == (
        1,
        {
            "schemaVersion": 2,
            "command": "after",
            "effect": "writes",
            "status": "error",
            "data": None,
            "steps": [
                {"name": "up", "status": "skip", "sentence": "up already"},
                {"name": "scan", "status": "failed", "sentence": "table gone"},
                {"name": "after", "status": "not run", "sentence": ""},
            ],
            "warnings": ["old"],
            "undo": [],
            "error": {
                "code": 1,
                "name": "failure",
                "message": "table gone",
                "hint": "run `inv ddb.schema-load`",
                "commands": ["inv ddb.schema-load"],
                "retryable": False,
                "evidence": ["a", "b"],
            },
        },
    )
    with pytest.raises(Exit):
        stage.run(("scan", {"format": "jsn"}))
    assert "did you mean 'json'?" in capsys.readouterr().err


def test_as_json_several_tasks_are_one_object_and_a_sentence_is_data(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    def count(c: StepContext) -> str:
        c.step.note(items=3)
        return "wrote 3 items"

    stage.add("write", body=count)
    stage.add("look", body=lambda c: c.step.emit([1, 2], "1, 2"), effect=READS)
    stage.run("write", ("look", {"format": "json"}))
    found = envelope_of(capsys)
    assert (found["command"], found["effect"], found["data"]) == (
        "write look",
        "writes",
        [
            {"command": "write", "effect": "writes", "data": {"sentence": "wrote 3 items", "items": 3}},
            {"command": "look", "effect": "reads", "data": [1, 2]},
        ],
    )
    stage.run("write", ("look", {"format": "json"}), dry=True)
    planned = envelope_of(capsys)["data"]["plan"]
    assert [(one["step"], one["action"]) for one in planned] == [("write", "run"), ("look", "run")]
    stage.run(("look", {"format": "json"}), executor=Executor)
    assert json.loads(capsys.readouterr().out)["data"] == [1, 2]


def test_an_exit_code_that_a_result_asks_for_is_that_of_the_error(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(c: StepContext) -> None:
        c.step.emit(["postgres"], "postgres")
        raise Found(ServiceFailed("postgres not running"))

    def leave(c: StepContext) -> None:
        raise Exit(code=0)

    stage.add("status", body=down, effect=READS)
    stage.add("leave", body=leave, effect=READS)
    with pytest.raises(Exit) as ended:
        stage.run(("status", {"format": "json"}))
    found = envelope_of(capsys)
    assert (ended.value.code, found["error"]["code"], found["data"]) == (4, 4, ["postgres"])
    with pytest.raises(Exit):
        stage.run(("leave", {"format": "json"}))
    assert envelope_of(capsys)["status"] == "ok"
    with pytest.raises(Exit):
        stage.run("status")
    assert capsys.readouterr() == ("postgres\n", "")


def test_a_failing_line_becomes_an_annotation_on_github(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(c: StepContext) -> None:
        raise LocalEnvError("seeds/sql/users.sql:14:9: null value\nin column")

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    stage.add("seed", body=body)
    with pytest.raises(Exit):
        stage.run("seed")
    assert capsys.readouterr().err.splitlines()[-1] == (
        "::error file=seeds/sql/users.sql,line=14,col=9::seeds/sql/users.sql:14:9: null value%0Ain column"
    )


@pytest.mark.parametrize("branches", [1, 2])
def test_ctrl_c_ends_at_once_with_130_and_says_what_did_not_run(tmp_path: Path, branches: int) -> None:
    script = textwrap.dedent(
        f"""
        import sys, time
        from invoke import Collection, Config, Program
        from tasks._executor import GraphExecutor
        from tasks._graph import WRITES, step

        @step(effect=WRITES)
        def one(c):
            sys.stdout.write("started\\n"); sys.stdout.flush()
            time.sleep(600)

        @step(effect=WRITES)
        def two(c):
            sys.stdout.write("started\\n"); sys.stdout.flush()
            time.sleep(600)

        @step(effect=WRITES, pre=[one, two][:{branches}])
        def top(c):
            pass

        class Settings(Config):
            @staticmethod
            def global_defaults():
                defaults = Config.global_defaults()
                defaults["tasks"]["executor_class"] = "tasks._executor.GraphExecutor"
                return defaults

        Program(namespace=Collection(one, two, top), config_class=Settings).run("inv top")
        """
    )
    environ = {**os.environ, "LOCALENV_STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for _ in range(branches):
        assert child.stdout.readline() == "started\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 130
    assert shown(err)[-2:] == [
        f"not run {'one, ' if branches == 1 else 'one, two, '}top",
        "FAIL interrupted run the same command again to go on",
    ]


def test_a_hint_shows_the_command_as_the_user_types_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALENV_INV", "../inv")
    Reporter().failed("db.seed", LocalEnvError("no database", hint="run `inv db.setup`"))
    assert shown(capsys.readouterr().err) == ["FAIL db.seed no database", "hint run `../inv db.setup`"]


def interactive(stage: Stage, body: Callable[[StepContext], Any], monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Run one step with a terminal whose user types `answer`, or ends the input where that is empty."""

    def typed(question: str) -> str:
        if not answer:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    stage.add("drop", body=body)
    stage.run("drop")


def test_a_typed_yes_is_enough(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interactive(stage, lambda c: c.step.require_yes(["drop cruddur"], yes=False), monkeypatch, " Yes ")
    assert shown(capsys.readouterr().err) == ["drop | will drop cruddur", "ok drop"]


@pytest.mark.parametrize("answer", ["no", "yeah", ""])
def test_any_other_answer_and_ctrl_d_change_nothing(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    with pytest.raises(Exit) as caught:
        interactive(stage, lambda c: c.step.require_yes(["drop cruddur"], yes=False), monkeypatch, answer)
    assert caught.value.code == 3
    assert shown(capsys.readouterr().err)[1:] == [
        "FAIL drop nothing was changed: the answer was not yes",
        "hint run `inv drop --yes`",
    ]
