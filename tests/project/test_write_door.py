"""The door of writes: who may make a permit, which steps need one, and that none is left out.

Read from the source and from the declarations of the steps, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

from tasks import ns
from tasks._graph import Step
from tasks.localenv.postgres import load
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tests.conftest import Cli
from tests.project.test_layers import MODULES, calls

pytestmark = pytest.mark.reliability("guard")

GUARD = "tasks.localenv.settings.guard"
STEPS = {name: ns[name] for name in ns.task_names if isinstance(ns[name], Step)}
WRITING = {name: step for name, step in STEPS.items() if not step.effect.reads or step.effects}


def test_only_the_guard_makes_permits_and_only_a_run_asks_it() -> None:
    made = {name for name in MODULES for _, call in calls(name) if call.rpartition(".")[2] == "Permit"}
    asked = {name for name in MODULES for _, call in calls(name) if call in ("guard.decide", "guard.decide_at_aws")}
    given = {name for name in MODULES for _, call in calls(name) if call == "guard.permitted"}
    assert (made, asked, given) == ({GUARD}, {"tasks._run"}, {"tasks._run"})


@pytest.mark.parametrize(
    ("call", "doors"),
    [
        ("connection_class().connect", {"tasks.localenv.postgres.connection"}),
        ("LocalApi", {"tasks.localenv.aws.wire"}),
        ("session.create_client", {"tasks.localenv.aws.boto"}),
    ],
)
def test_stores_are_opened_at_their_doors_alone(call: str, doors: set[str]) -> None:
    assert {name for name in MODULES for _, called in calls(name) if called == call} == doors


WITHOUT_A_STORE = {"env.up", "env.down", "env.restart", "env.destroy"}
"""They start, stop and remove the services themselves; the engines know their own by mark and process."""


def test_every_step_that_writes_asks_the_guard() -> None:
    """In its body, or in a function of its module that the body calls."""
    without = {name for name, step in WRITING.items() if not asks(step)}
    assert without == WITHOUT_A_STORE - {"env.up", "env.restart"}  # these two adopt what came with a moved folder


def asks(step: Step) -> bool:
    tree = ast.parse(Path(step.body.__code__.co_filename).read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    seen: set[str] = set()
    left = [step.body.__name__]
    while left:
        name = left.pop()
        seen.add(name)
        for node in itertools.chain.from_iterable(map(ast.walk, functions[name].body)):  # without its decorators
            if isinstance(node, ast.Attribute) and node.attr.startswith("writable"):
                return True
            if isinstance(node, ast.Name) and node.id in functions.keys() - seen:
                left.append(node.id)
    return False


def test_no_step_that_reads_asks_the_guard() -> None:
    assert {name for name, step in STEPS.items() if name not in WRITING and asks(step)} == set()


ROWS = Path(__file__).parents[2] / "seeds" / "people.csv"
IN_DATABASE: dict[str, tuple[str, ...]] = {
    "cognito.sync-ids": (),
    "db.create": (),
    "db.diff": (),
    "db.drop": ("--yes",),
    "db.load": ("--file", str(ROWS), "--table", "theirs"),
    "db.migrate": (),
    "db.query": ("--write", "--sql", "delete from theirs"),
    "db.reset": (),
    "db.rollback": ("--confirm", "cruddur"),
    "db.schema-load": (),
    "db.seed": (),
    "db.sessions": ("--kill",),
    "db.setup": (),
    "reset": ("--yes",),
    "undo": (),
    "snapshot.restore": ("one", "--yes"),
    "snapshot.save": ("one", "--yes"),
    "snapshot.switch": ("feat",),
}
"""Every step that changes the database, and how it is called here."""
READ_ONLY = {"db.connect"}
"""Opens a session that may not write."""
OTHER_STORES = {
    "check", "cognito.seed", "cognito.set-password", "ddb.drop", "ddb.import", "ddb.query", "ddb.schema-load",
    "ddb.seed", "ddb.send-message", "ddb.stream", "rds.update-sg-rule", "snapshot.delete",
}  # fmt: skip
"""Every step that changes something else than the database."""


def test_every_step_that_writes_is_known_for_what_it_writes_to() -> None:
    assert WRITING.keys() == IN_DATABASE.keys() | READ_ONLY | OTHER_STORES | WITHOUT_A_STORE


@pytest.fixture
def foreign(database: Settings) -> Settings:
    """A database that another project has marked, with a table of its own."""
    load.create(database)
    with connect(database.postgres) as conn:
        conn.execute("UPDATE localenv.marker SET project_id = 'other-123456'")
        conn.execute("CREATE TABLE theirs AS SELECT 1 AS id")
    return database


def test_a_database_of_another_project_is_changed_by_no_step(foreign: Settings, cli: Cli) -> None:
    name, url = foreign.postgres.database, foreign.postgres.url(masked=False)
    told = {}
    for step, words in IN_DATABASE.items():
        done = cli(step, *words, CONNECTION_URL=url)
        told[step] = done.code, "Traceback" in done.stderr
    # A step may fail earlier, for what it needs is not there; none goes on.
    assert {step: found for step, found in told.items() if found[0] not in (0, 1, 2, 3) or found[1]} == {}
    assert {step for step, (code, _) in told.items() if code == 0} <= {"db.create", "db.migrate"}  # nothing to do
    by_session = cli("db.connect", CONNECTION_URL=url, text="delete from theirs;\n")
    assert "read-only transaction" in by_session.stderr
    with connect(foreign.postgres) as conn:
        assert conn.execute("SELECT id FROM theirs").fetchall() == [(1,)]
        assert conn.execute("SELECT project_id FROM localenv.marker").fetchall() == [("other-123456",)]
    consented = cli("db.query", "--write", "--sql", "delete from theirs", "--confirm", name, CONNECTION_URL=url)
    assert (consented.code, consented.stdout) == (0, "DELETE 1\n")


def test_the_hint_of_a_refusal_is_what_lets_it_happen(foreign: Settings, cli: Cli) -> None:
    name, url = foreign.postgres.database, foreign.postgres.url(masked=False)
    refused = cli("db.drop", "--yes", CONNECTION_URL=url)
    assert f"database {name} belongs to project other-123456" in refused.stderr
    assert f"pass --confirm {name} to use it as this project's own" in refused.stderr
    assert cli("db.drop", "--yes", "--confirm", name, CONNECTION_URL=url).code == 0
    assert load.check_created(foreign) is None
