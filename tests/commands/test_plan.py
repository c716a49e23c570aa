"""What --plan says is what the run then does or refuses: every task of the graph, in the states that matter to it.

Both are run in this process on a real environment. The exit codes agree, the steps that the plan skips and runs are
those that the run skips and runs, a plan changes nothing, and each thing that it announces has happened afterwards.
A task without a row in ROWS, or a line of a plan that no row of ANNOUNCED knows, fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from invoke import Config, Exit

from tasks import ns
from tasks._executor import GraphExecutor
from tasks._graph import Step
from tasks.localenv import engines
from tasks.localenv.settings import read_settings
from tests.support import worlds
from tests.support.environments import environment, permitted, reachable
from tests.support.seeded import quiet
from tests.support.worlds import State, World

Arguments = dict[str, Any]
YES: Arguments = {"yes": True}
FORCE: Arguments = {"force": True}
SEND: Arguments = {"as_": "andrewbrown", "to": "bayko", "text": "Hello"}


@dataclass(frozen=True)
class Row:
    """Arguments of a task, and the states in which its plan is compared with its run.

    `result_codes` are exit codes that tell what was found, not that the run was refused: a plan cannot know them.
    """

    arguments: Arguments
    states: tuple[State, ...]
    result_codes: frozenset[int] = frozenset()


def row(*states: State, result_codes: tuple[int, ...] = (), **arguments: Any) -> Row:
    return Row(arguments, states, frozenset(result_codes))


BAD_TABLE = "bad.json"
FILES = {
    BAD_TABLE: '{"TableName": "x", "KeySchema": "no list"}',
    "bad.sql": "SELECT 'not closed",
    "two.sql": "SELECT 1; SELECT 2",
    "items.jsonl": '{"Item": {"pk": {"S": "GRP#1"}, "sk": {"S": "2026"}}}\n',
    "bad.jsonl": '{"Item": {"pk": {"S": ',
    "users.csv": "handle,display_name,email,cognito_user_id\nzed,Zed,zed@example.com,MOCK\n",
    "bad.csv": "handle,nonsense\nzed,Zed\n",
    "bad.txt": "group: nonsense\n",
}
AWS = "at AWS, which moto plays: tests/production/test_rds.py and tests/production/test_audit.py"
ENDLESS = "runs until Ctrl-C without --once"

ROWS: dict[str, list[Row] | str] = {
    "env.up": [
        row(worlds.destroyed, worlds.down, worlds.set_up),
        row(worlds.down, worlds.set_up, adopt=True),
        row(worlds.down, worlds.set_up, ports="standard"),
        row(worlds.set_up, ports="free"),
        row(worlds.set_up, ports="nope"),
    ],
    "env.down": [row(worlds.down, worlds.set_up)],
    "env.restart": [row(worlds.down, worlds.set_up)],
    "env.destroy": [row(worlds.set_up, worlds.destroyed, confirm="cruddur"), row(worlds.set_up, confirm="other")],
    "env.status": [row(worlds.set_up, worlds.down, result_codes=(4,))],
    "env.logs": [row(worlds.set_up), row(worlds.set_up, service="nope"), row(worlds.set_up, lines=-1)],
    "env.export": [row(worlds.set_up, worlds.down), row(worlds.set_up, format="nope")],
    "env.list": [row(worlds.set_up)],
    "initial-setup": [
        row(
            worlds.destroyed,
            worlds.nothing,
            worlds.set_up,
            worlds.schema_changed,
            worlds.foreign_database,
            worlds.table_missing,
            worlds.table_different,
            worlds.items_missing,
            worlds.user_missing,
            worlds.unlinked,
            worlds.empty_database,
        )
    ],
    "status": [row(worlds.set_up, worlds.down, result_codes=(4,)), row(worlds.set_up, format="xml")],
    "check": [
        row(worlds.set_up, worlds.unlinked, result_codes=(1,)),
        row(worlds.down, format="xml"),
        row(worlds.down, limit=-1),
        row(worlds.set_up, worlds.messages_ahead, worlds.table_missing, repair="future"),
        row(worlds.strays, repair="strays"),
        row(worlds.down, repair="nonsense"),
    ],
    "doctor": [row(worlds.set_up, result_codes=(6,))],
    "init": [row(worlds.set_up)],
    "exec": "runs a program of the user's",
    "completion": "prints a script: tests/commands/test_completion.py",
    "why": [row(worlds.set_up, name="andrewbrown"), row(worlds.set_up, worlds.down)],
    "reset": [
        row(worlds.set_up, worlds.nothing, worlds.schema_changed, worlds.table_missing, worlds.down, **YES),
        row(worlds.foreign_database, **YES),
        row(worlds.set_up),
    ],
    "db.create": [row(worlds.nothing, worlds.set_up, worlds.down)],
    "db.schema-load": [
        row(worlds.nothing, worlds.set_up, worlds.empty_database, worlds.foreign_database),
        row(worlds.schema_changed, result_codes=(1,)),
        row(worlds.schema_changed, worlds.set_up, worlds.empty_database, accept=True),
        row(worlds.set_up, worlds.down, file="bad.sql", result_codes=(1,)),
        row(worlds.set_up, worlds.down, file="missing.sql"),
    ],
    "db.migrate": [row(worlds.nothing, worlds.set_up, worlds.down, worlds.schema_changed)],
    "db.rollback": [row(worlds.nothing, worlds.set_up, worlds.foreign_database, confirm="cruddur")],
    "db.new-migration": [row(worlds.set_up, worlds.down), row(worlds.down, name="a/b")],
    "db.diff": [
        row(worlds.nothing, worlds.set_up, worlds.foreign_database),
        row(worlds.unlinked, format="json"),
        row(worlds.down, format="xml"),
    ],
    "db.seed": [
        row(worlds.nothing, worlds.set_up, worlds.empty_database, worlds.seed_changed, worlds.foreign_database),
        row(worlds.set_up, worlds.seed_changed, **FORCE),
        row(worlds.set_up, worlds.down, file="missing.sql"),
    ],
    "db.setup": [
        row(
            worlds.nothing,
            worlds.down,
            worlds.set_up,
            worlds.empty_database,
            worlds.schema_changed,
            worlds.undo_there,
            worlds.foreign_database,
            worlds.other_projects_database,
        ),
        row(worlds.set_up, worlds.undo_there, **FORCE),
        row(worlds.foreign_database, **YES),
    ],
    "undo": [
        row(worlds.nothing, worlds.set_up, worlds.undo_there, worlds.down),
        row(worlds.undo_with_changes, worlds.restore_cut_short),
        row(worlds.undo_with_changes, worlds.restore_cut_short, **YES),
        row(worlds.undo_there, keep="0"),
        row(worlds.branch_parked),
        row(worlds.undo_there, list=True),
        row(worlds.undo_there, worlds.down, id="nope"),
        row(worlds.down, keep="-1"),
        row(worlds.down, keep="1", list=True),
    ],
    "db.reset": [
        row(worlds.nothing, worlds.set_up, worlds.schema_changed, worlds.foreign_database),
        row(worlds.foreign_database, **YES),
    ],
    "db.drop": [row(worlds.nothing, worlds.set_up, worlds.undo_there, **YES), row(worlds.set_up)],
    "db.connect": "has the terminal to itself",
    "db.dump": [
        row(worlds.set_up, worlds.down, worlds.nothing, file="dump.sql"),
        row(worlds.set_up, file="no such folder/dump.sql"),
        row(worlds.set_up, file="dump.sql", schema_only=True, data_only=True),
        row(worlds.set_up),
    ],
    "db.load": [
        row(worlds.set_up, worlds.down, worlds.nothing, worlds.foreign_database, file="users.csv", table="users"),
        row(worlds.set_up, worlds.down, file="missing.csv", table="users"),
        row(worlds.set_up, file="users.csv", table="nobody"),
        row(worlds.set_up, file="bad.csv", table="users"),
        row(worlds.set_up, worlds.down, file="users.csv", table="users", delimiter=";;"),
        row(worlds.set_up, worlds.down, file="users.csv"),
    ],
    "db.sessions": [row(worlds.set_up), row(worlds.set_up, kill=True)],
    "db.query": [
        row(worlds.set_up, worlds.down, worlds.nothing, sql="SELECT 1"),
        row(worlds.set_up, worlds.down, file="two.sql"),
        row(worlds.set_up, worlds.down, file="missing.sql"),
        row(worlds.set_up),
        row(worlds.set_up, sql="SELECT %(a)s"),
        row(worlds.set_up, sql="UPDATE users SET display_name = 'x'", write=True),
    ],
    "ddb.schema-load": [
        row(
            worlds.nothing,
            worlds.set_up,
            worlds.table_missing,
            worlds.table_different,
            worlds.table_of_another_key,
            worlds.table_half_replaced,
            worlds.down,
        ),
        row(worlds.table_of_another_key, replace=True),
        row(worlds.table_of_another_key, replace=True, **YES),
        row(worlds.set_up, worlds.down, file=BAD_TABLE),
        row(worlds.set_up, worlds.down, file="missing.json"),
    ],
    "ddb.list-tables": [row(worlds.set_up, worlds.nothing)],
    "ddb.describe": [row(worlds.set_up), row(worlds.set_up, table="nope", result_codes=(1, 2))],
    "ddb.drop": [
        row(worlds.set_up, worlds.table_missing, worlds.table_half_replaced, **YES),
        row(worlds.set_up),
    ],
    "ddb.seed": [
        row(
            worlds.nothing,
            worlds.set_up,
            worlds.table_missing,
            worlds.items_missing,
            worlds.no_database,
            worlds.table_half_replaced,
            worlds.down,
        ),
        row(worlds.set_up, **FORCE),
        row(worlds.set_up, worlds.down, file="bad.txt"),
        row(worlds.set_up, worlds.down, file="missing.txt"),
    ],
    "ddb.scan": [row(worlds.set_up, worlds.down), row(worlds.set_up, worlds.down, limit=-1)],
    "ddb.query": [
        row(worlds.set_up, worlds.down, sql='SELECT * FROM "cruddur-messages"'),
        row(worlds.set_up, worlds.down, sql="nonsense"),
        row(worlds.set_up, worlds.down, sql="DELETE FROM \"cruddur-messages\" WHERE pk='a' AND sk='b'"),
        row(worlds.set_up, sql="DELETE FROM \"cruddur-messages\" WHERE pk='a' AND sk='b'", write=True),
        row(worlds.set_up, worlds.down),
    ],
    "ddb.export": [
        row(worlds.set_up, worlds.down, worlds.table_half_replaced, file="out.jsonl"),
        row(worlds.set_up, worlds.down, file="out.jsonl", s3="out"),
        row(worlds.set_up, worlds.down, file="no-folder/out.jsonl"),
        row(worlds.table_missing, file="out.jsonl"),
    ],
    "ddb.import": [
        row(worlds.set_up, worlds.table_missing, worlds.down, file="items.jsonl"),
        row(worlds.set_up, worlds.down, file="missing.jsonl"),
        row(worlds.set_up, worlds.down, file="bad.jsonl"),
        row(worlds.set_up, worlds.down),
    ],
    "ddb.list-conversations": [
        row(worlds.set_up, as_="andrewbrown"),
        row(worlds.set_up, worlds.down, as_="andrewbrown", before="yesterday"),
        row(worlds.set_up, worlds.down, as_="andrewbrown", limit=0),
        row(worlds.set_up, worlds.down),
    ],
    "ddb.get-conversation": [
        row(worlds.set_up, as_="andrewbrown", with_="bayko"),
        row(worlds.set_up, worlds.down, as_="andrewbrown"),
        row(worlds.set_up, worlds.down, as_="andrewbrown", with_="bayko", before="yesterday"),
    ],
    "ddb.send-message": [
        row(worlds.set_up, worlds.nothing, worlds.table_missing, worlds.table_half_replaced, **SEND),
        row(worlds.set_up, worlds.down, as_="andrewbrown", to="bayko"),
        row(worlds.set_up, worlds.down, as_="andrewbrown", text="Hello"),
        row(worlds.set_up, as_="andrewbrown", to="nobody", text="Hello"),
        row(worlds.set_up, as_="andrewbrown", to="andrewbrown", text="Hello"),
    ],
    "ddb.stream": [row(worlds.set_up, worlds.items_missing, worlds.table_missing, once=True)],
    "ddb.audit": AWS,
    "cognito.seed": [row(worlds.nothing, worlds.set_up, worlds.user_missing), row(worlds.set_up, **FORCE)],
    "cognito.sync-ids": [
        row(worlds.nothing, worlds.set_up, worlds.unlinked, worlds.user_missing, worlds.foreign_database)
    ],
    "cognito.token": [row(worlds.set_up, worlds.nothing, handle="bayko"), row(worlds.set_up)],
    "cognito.set-password": [row(worlds.set_up, worlds.nothing, handle="bayko"), row(worlds.set_up)],
    "cognito.list-users": [row(worlds.set_up, worlds.nothing)],
    "rds.update-sg-rule": AWS,
    "rds.status": AWS,
    "snapshot.save": [
        row(worlds.set_up, worlds.nothing, worlds.restore_cut_short, worlds.down, name="two"),
        row(worlds.table_that_cannot_be_saved, name="two"),
        row(worlds.snapshot_there, name="one"),
        row(worlds.snapshot_there, name="one", **YES),
        row(worlds.set_up, worlds.down, name="a/b"),
        row(worlds.set_up, worlds.down),
        row(worlds.set_up, worlds.down, name="two", file="out.zip"),
        row(worlds.set_up, worlds.nothing, name="two", file="out.tar.gz"),
    ],
    "snapshot.restore": [
        row(worlds.snapshot_there, worlds.restore_cut_short, name="one", **YES),
        row(worlds.snapshot_there, name="one"),
        row(worlds.set_up, worlds.down, name="one", **YES),
        row(worlds.set_up, worlds.down, **YES),
        row(worlds.set_up, worlds.down, file="missing.tar", **YES),
    ],
    "snapshot.list": [row(worlds.set_up, worlds.snapshot_there, worlds.branch_parked)],
    "snapshot.switch": [
        row(worlds.branch_parked, branch="main"),
        row(worlds.branch_parked, worlds.set_up, worlds.down, branch="nosuch"),
        row(worlds.down, worlds.set_up, worlds.branch_parked, if_running=True),
    ],
    "snapshot.hook": "writes into the repository of the user's",
    "snapshot.delete": [
        row(worlds.snapshot_there, worlds.restore_cut_short, name="one", confirm="one"),
        row(worlds.snapshot_there, name="one"),
        row(worlds.set_up, name="one", confirm="one"),
        row(worlds.branch_parked, name="main", confirm="main"),
    ],
}

Announced = Callable[["re.Match[str]", World, World], bool]


def _said(match: re.Match[str], before: World, after: World) -> bool:
    """Take a line that explains, and announces nothing."""
    return True


def _came_back(match: re.Match[str], before: World, after: World) -> bool:
    return after.oid(match[1]) in _kept(match[1], before) and _is_kept(match[1], before, after)


def _built(match: re.Match[str], before: World, after: World) -> bool:
    return after.oid(match[1]) not in (0, before.oid(match[1])) and _is_kept(match[1], before, after)


def _dropped(match: re.Match[str], before: World, after: World) -> bool:
    return after.oid(match[1]) == 0 < before.oid(match[1]) and _is_kept(match[1], before, after)


def _kept(name: str, world: World) -> set[int]:
    return {oid for each, oid, _ in world.databases if each.startswith(f"{name}__undo_")}


def _is_kept(name: str, before: World, after: World) -> bool:
    """Return whether what was replaced can be brought back; an empty database is not kept."""
    was_empty = next((not contents for each, _, contents in before.databases if each == name), True)
    return was_empty or before.oid(name) in _kept(name, after) or _kept(name, before) == _kept(name, after)


ANNOUNCED: dict[str, Announced] = {
    r"engine \w+: .*": _said,
    r"start (\S+) at .*": lambda m, before, after: m[1] in dict(after.running) and m[1] not in dict(before.running),
    r"create (\S+), empty": lambda m, before, after: not before.oid(m[1]) and after.oid(m[1]) > 0,
    r"create \S+__new: .*": _said,
    r"create \S+__diff from the files, compare, and drop it": lambda m, before, after: before == after,
    r"record \S+ as applied": lambda m, before, after: before.databases != after.databases,
    r"load .*": lambda m, before, after: before.databases != after.databases,
    r"apply .*": lambda m, before, after: before.databases != after.databases,
    r"rename it to (\S+);.*": _built,
    r"database (\S+): put back the one before .*": _came_back,
    r"database (\S+): remove it: there was none before .*": _dropped,
    r"table (\S+): put it back with its ([\d,]+) items": lambda m, before, after: (
        after.items(m[1]) == int(m[2].replace(",", ""))
    ),
    r"table (\S+): remove it, there was none": lambda m, before, after: after.items(m[1]) < 0,
    r"user pool: put back ([\d,]+) users, .*": lambda m, before, after: len(after.users) == int(m[1]),
    r"keep what is there now: .*": lambda m, before, after: not set(after.undo) <= set(before.undo),
    r"lose what changed since: .*": _said,
    r"lose with them the snapshots .*": lambda m, before, after: bool(before.snapshots) > bool(after.snapshots),
    r"remove what undoes .*": lambda m, before, after: len(after.undo) < len(before.undo),
    r"keep a copy of it for .*": lambda m, before, after: len(after.undo) > len(before.undo),
    r"end the session of .*": _said,
    r"drop table (\S+) with .*": lambda m, before, after: before.items(m[1]) >= 0 and after.items(m[1]) < 0,
    r"drop (\S+); `\S+ undo` brings it back": _dropped,
    r"keep a copy of it in \S+__template, .*": _said,
    r"copy (\S+__template)(, made from the same files .*)?": lambda m, before, after: (
        after.oid(m[1]) > 0 and (not m[2] or after.oid(m[1]) == before.oid(m[1]))
    ),
    r"create (user|app client|user pool)\b.*": lambda m, before, after: before.users != after.users,
    r"update user .*": lambda m, before, after: before.users != after.users,
    r"update (\S+): id .*": lambda m, before, after: before.databases != after.databases,
    r"unchanged \(.*": lambda m, before, after: before.databases == after.databases,
    r"write to (\S+), of .*": lambda m, before, after: before.tables != after.tables,
    r"~ group rows of .*": _said,
    r"- table (\S+), .*": lambda m, before, after: before.items(m[1]) >= 0 and after.items(m[1]) < 0,
    r"\+ table (\S+): .*": lambda m, before, after: before.items(m[1].rstrip(":")) < 0 <= after.items(m[1].rstrip(":")),
    r"± (replace|go on).*": lambda m, before, after: before.tables != after.tables,
    r"(~|±) table .*": lambda m, before, after: before.tables != after.tables,
    r"(\+|~|-) .*": lambda m, before, after: before.tables != after.tables,
    r"remove every row of database (\S+)": lambda m, before, after: before.databases != after.databases,
    r"remove table (\S+) with .*": lambda m, before, after: before.tables != after.tables,
    r"keep a copy of all stores as .*": lambda m, before, after: not set(after.undo) <= set(before.undo),
    r"leave all as it is: .*": lambda m, before, after: before == after,
    r"remove the data of branch .*": lambda m, before, after: len(after.undo) < len(before.undo),
    r"remove snapshot (\S+), .*": lambda m, before, after: (
        m[1] in dict(before.snapshots) and m[1] not in dict(after.snapshots)
    ),
    r"remove .*": lambda m, before, after: before != after,
    r"replace snapshot (\S+), .*": lambda m, before, after: dict(before.snapshots)[m[1]] != dict(after.snapshots)[m[1]],
    r"clone (\S+), .*": lambda m, before, after: len(after.snapshots) >= 1 and before.snapshots != after.snapshots,
    r"write .* to (\S+)": _said,
    r"replace database (\S+)": lambda m, before, after: before.oid(m[1]) != after.oid(m[1]),
    r"replace table (\S+) with its ([\d,]+) items by ([\d,]+)": lambda m, before, after: (
        after.items(m[1]) == int(m[3].replace(",", ""))
    ),
    r"replace the emulated pool by ([\d,]+) users, .*": lambda m, before, after: len(after.users) == int(m[1]),
    r"keep all of that: .*": lambda m, before, after: not set(after.undo) <= set(before.undo),
    r"[A-Z]+ \S+": _said,
}
"""Each line that a plan can have, and whether what it announces has happened. The first that matches counts."""


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code, and its lines: word, step, text."""

    code: int
    lines: list[tuple[str, str, str]]
    details: list[str]
    shown: str

    def steps(self, *words: str) -> dict[str, str]:
        return {name: word for word, name, _ in self.lines if word in words}


Command = Callable[..., Ran]


@dataclass
class Place:
    """An environment, and the state that it is in: a case that changed nothing leaves it to the next one."""

    environ: dict[str, str]
    standing: tuple[State, World] | None = None

    def bring(self, state: State) -> World:
        stood, self.standing = self.standing, None
        if stood and stood[0] is state:
            return stood[1]
        state(permitted(read_settings(environ=self.environ)))
        return self.look()

    def look(self) -> World:
        return worlds.look(permitted(read_settings(environ=self.environ)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An environment of our own, which every case brings into its state."""
    environ = environment(reachable(tmp_path_factory.mktemp("plan")) / "state")
    yield Place(environ)
    engines.destroy(read_settings(environ=environ), quiet)


@pytest.fixture
def command(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Run a command in this process, in a folder with FILES."""
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)

    def run(name: str, arguments: Arguments, *, plan: bool) -> Ran:
        capfd.readouterr()
        try:
            GraphExecutor(ns, Config()).execute((name, {**arguments, **({"plan": True} if plan else {})}))
            code = 0
        except Exit as ended:
            code = ended.code
        out, err = capfd.readouterr()
        told = f"{out}\n{err}" if plan else err
        lines = re.findall(r"^(ok|skip|run|FAIL) +([a-z][\w.-]+) *(.*)$", told, re.MULTILINE)
        return Ran(code, lines, re.findall(r"^      (\S.*)$", out, re.MULTILINE) if plan else [], out + err)

    return run


def cases() -> list[Any]:
    """Return every task with its arguments in every state, those of one state one after the other."""
    found = [
        (name, one, state)
        for name, rows in ROWS.items()
        if isinstance(rows, list)
        for one in rows
        for state in one.states
    ]
    return [
        pytest.param(name, one, state, id=f"{state.__name__}-{name}-{shown(one.arguments)}")
        for name, one, state in sorted(found, key=lambda case: case[2].__name__)
    ]


def shown(arguments: Arguments) -> str:
    return " ".join(f"{key.strip('_')}={value}" for key, value in arguments.items())


@pytest.mark.reliability("plan")
@pytest.mark.parametrize(("name", "row", "state"), cases())
def test_what_a_plan_says_is_what_the_run_does(
    place: Place, command: Command, name: str, row: Row, state: State
) -> None:
    before = place.bring(state)
    planned = command(name, row.arguments, plan=True)
    assert place.look() == before, f"the plan changed something\n{planned.shown}"
    ran = command(name, row.arguments, plan=False)
    after = place.look()
    place.standing = (state, after) if after == before else None
    told = f"\nplan: exit code {planned.code}\n{planned.shown}\nrun: exit code {ran.code}\n{ran.shown}"
    assert_codes_agree(name, row, planned, ran, told)
    assert_steps_agree(planned, ran, told)
    if ran.code == 0:
        assert_announced(planned, before, after, told)
    if ran.code == 2:
        assert before == after, f"refused, and yet something is changed{told}"
    if planned.steps("run", "skip").get(name) == "skip" and name in ran.steps("skip"):
        assert before.databases == after.databases and before.tables == after.tables, told


def assert_codes_agree(name: str, row: Row, planned: Ran, ran: Ran, told: str) -> None:
    """A plan that says `after …` of the task itself could not look: then only its own refusal of files counts."""
    open_ended = any(step == name and text.startswith("after ") for _, step, text in planned.lines)
    if planned.code == ran.code or (planned.code == 0 and ran.code in row.result_codes):
        return
    if planned.code == 0 and ran.code == 3 and re.search("the answer was not yes|nothing brings that back", ran.shown):
        return  # a question is no refusal, and the plan has shown what it is about
    assert open_ended and planned.code == 0 and ran.code != 2, told


def assert_steps_agree(planned: Ran, ran: Ran, told: str) -> None:
    plan_says = {step: (word, text) for word, step, text in planned.lines}
    for word, step, text in ran.lines:
        if step not in plan_says:
            continue
        said, reason = plan_says[step]
        if word == "skip" and said == "run":
            assert reason.startswith("after "), f"{step} was planned, and skipped{told}"
        if word == "ok":
            assert said == "run", f"{step} was not planned, and ran{told}"
        if word == "skip" and said == "skip":
            assert ageless(text) == ageless(reason), f"{step} was skipped for another reason{told}"


def ageless(text: str) -> str:
    return re.sub(r"\d+ (s|min|h) ago", "ago", text)


def assert_announced(planned: Ran, before: World, after: World, told: str) -> None:
    for line in planned.details:
        known = ((pattern, test) for pattern, test in ANNOUNCED.items() if re.fullmatch(pattern, line))
        pattern, test = next(known, ("", None))
        assert test is not None, f"no row of ANNOUNCED knows {line!r}{told}"
        match = re.fullmatch(pattern, line)
        assert match is not None and test(match, before, after), f"announced, but not so: {line}{told}"


def test_every_task_of_the_graph_has_a_row() -> None:
    assert set(ROWS) == {name for name in ns.task_names if isinstance(ns[name], Step)}


def test_every_row_without_a_state_says_why() -> None:
    assert all(rows for rows in ROWS.values())
