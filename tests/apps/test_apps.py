"""Two apps that are not the chat, each in a copy of the project as docs/adopt.md says: all commands work.

The shop has a database and a DynamoDB table, and nobody; the club has people in database and pool, and no DynamoDB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.localenv.machine.folders import TOOL
from tests.support.answers import entries
from tests.support.environments import KEPT, PATIENCE_S, Finished, environment, reachable, wait_until
from tests.support.ports import find_free

HERE = Path(__file__).parent
FILES = ("tasks", "tasks.py", "requirements.txt", "docker-compose.yml")
PRODUCTS, BOTH = "SELECT sku FROM products ORDER BY sku", [{"sku": "mug"}, {"sku": "tea"}]
ENGINES = ["embedded", pytest.param("docker", marks=pytest.mark.docker)]


@dataclass(frozen=True)
class Inv:
    """The `inv` of a copy."""

    root: Path
    environ: dict[str, str]

    def __call__(self, *words: str, **environ: str) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            env={**self.environ, **environ},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str, str], Inv]]:
    """Make a copy of the project with an app's own files, and give its `inv`."""
    made: list[Inv] = []

    def copy(app: str, engine: str) -> Inv:
        root = reachable(tmp_path) / app
        shutil.copytree(HERE / app, root)
        for name in FILES:
            source = TOOL / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root)
        given = {**environment(root / ".local"), "LOCALENV_ENGINE": engine}
        cache = given.pop("XDG_CACHE_HOME")
        given["CONNECTION_URL"] = given["CONNECTION_URL"].replace("cruddur", app)
        given = {name: value for name, value in given.items() if name not in ("LOCALENV_DOTENV", "LOCALENV_STATE_DIR")}
        (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        kept = {name: os.environ[name] for name in (*KEPT, "DOCKER_HOST") if name in os.environ}
        inv = Inv(root, {**kept, "NO_COLOR": "1", "XDG_CACHE_HOME": cache})
        made.append(inv)
        return inv

    yield copy
    for inv in made:
        inv("env.destroy", "--confirm", inv.root.name)


def done(finished: Finished) -> list[str]:
    """Give what a command that worked has said, a line each, without the time that it took."""
    assert finished.code == 0, finished.stdout + finished.stderr
    return [" ".join(line.split()) for line in (finished.stdout + finished.stderr).splitlines()]


def steps(finished: Finished) -> dict[str, tuple[str, str]]:
    """Give word and reason of each step."""
    told = [line.split(maxsplit=2) for line in done(finished)]
    return {line[1]: (line[0], line[2] if len(line) > 2 else "") for line in told if line[0] in ("ok", "skip")}


def skipped(finished: Finished) -> dict[str, str]:
    return {name: reason for name, (word, reason) in steps(finished).items() if word == "skip"}


def services(inv: Callable[..., Finished]) -> list[str]:
    """Name the services that run."""
    return [state["service"] for state in json.loads("\n".join(done(inv("env.status", "--format", "json"))))["data"]]


def rows(inv: Inv, query: str) -> object:
    """Give what a query gives."""
    return entries("\n".join(done(inv("db.query", query, "--format", "json"))), "row")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_shop_has_orders_and_nobody(make: Callable[[str, str], Inv], engine: str) -> None:
    inv = make("shop", engine)
    nobody = "this app has no seeds/people.csv and no sql/users/cognito_ids.sql"
    absent = {
        "cognito.seed": nobody,
        "cognito.sync-ids": nobody,
        "ddb.seed": "this app has no seeds/conversations",
        "check": "nothing to compare: this app has neither pool users nor a part that knows its items",
    }
    assert skipped(inv("initial-setup")) == absent
    again = steps(inv("initial-setup"))
    assert [name for name, (word, _) in again.items() if word != "skip"] == ["initial-setup"]
    assert again["ddb.schema-load"] == ("skip", "1 table ACTIVE and as ddb/tables says")
    put = "INSERT INTO orders VALUE {'number': 1, 'sku': 'tea'}"
    done(inv("ddb.query", put, "--write"))
    assert entries(inv("ddb.scan", "--format", "json").stdout, "item") == [{"number": 1, "sku": "tea"}]
    assert any("tea" in line for line in done(inv("db.query", "--file", "sql/products/prices.sql")))

    shown = done(inv("status"))
    assert f"left out: cognito ({nobody})" in shown
    assert any(line.startswith("dynamodb orders 1 item") for line in shown)
    assert f"left out: cognito ({nobody})" in done(inv("env.status"))
    assert services(inv) == ["postgres", "dynamodb"]
    assert "nothing to compare" in done(inv("check"))[-1]
    nothing = inv("why", "tea")
    assert (nothing.code, "nothing to compare" in nothing.stderr) == (2, True)
    asked = inv("cognito.list-users")
    assert (asked.code, nobody in asked.stderr) == (2, True)

    done(inv("snapshot.save", "one"))
    done(inv("db.query", "DELETE FROM products", "--write"))
    done(inv("ddb.query", "DELETE FROM orders WHERE number = 1", "--write"))
    done(inv("snapshot.restore", "one", "--yes"))
    assert rows(inv, PRODUCTS) == BOTH
    assert done(inv("ddb.scan"))[-1].endswith("1 item of orders")
    assert "reset" in steps(inv("reset", "--yes"))
    assert done(inv("ddb.scan"))[-1].endswith("0 items of orders")
    done(inv("env.down"))
    done(inv("env.up"))
    assert rows(inv, PRODUCTS) == BOTH
    done(inv("env.destroy", "--confirm", inv.root.name))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_club_has_people_and_no_dynamodb(make: Callable[[str, str], Inv], engine: str) -> None:
    inv = make("club", engine)
    no_tables = "this app has no ddb/tables"
    first = inv("initial-setup")
    assert skipped(first) == {"ddb.schema-load": no_tables, "ddb.seed": no_tables}
    assert steps(first)["check"][1].endswith("2 users and 2 pool users agree")
    again = steps(inv("initial-setup"))
    assert [name for name, (word, _) in again.items() if word != "skip"] == ["check", "initial-setup"]
    assert f"left out: dynamodb ({no_tables})" in done(inv("status"))
    assert f"left out: dynamodb ({no_tables})" in done(inv("env.status"))
    assert services(inv) == ["postgres", "cognito"]
    assert done(inv("check"))[-1].endswith("2 users and 2 pool users agree")
    assert "ada is the handle of a user in the database" in done(inv("why", "ada"))[0]
    assert (inv("ddb.scan").code, inv("why", "ad").code) == (2, 1)

    done(inv("snapshot.save", "one"))
    done(inv("db.query", "UPDATE users SET cognito_user_id = 'x' WHERE handle = 'ada'", "--write"))
    assert "in the pool" in inv("check").stderr
    done(inv("snapshot.restore", "one", "--yes"))
    done(inv("check"))
    done(inv("db.query", "DELETE FROM meetings", "--write"))
    done(inv("reset", "--yes"))
    assert rows(inv, "SELECT topic FROM meetings") == [{"topic": "engines"}]
    done(inv("check"))
    done(inv("env.down"))
    done(inv("env.up"))
    done(inv("check"))
    done(inv("env.destroy", "--confirm", inv.root.name))


def test_an_app_without_a_database_keeps_its_items(make: Callable[[str, str], Inv]) -> None:
    shop = make("shop", "embedded")

    def inv(*words: str) -> Finished:
        return shop(*words, LOCALENV_SERVICES="dynamodb")

    out = "LOCALENV_SERVICES leaves it out"
    told = skipped(inv("initial-setup"))
    assert {name: told[name] for name in ("db.setup", "cognito.seed", "ddb.seed")} == dict.fromkeys(
        ("db.setup", "cognito.seed", "ddb.seed"), out
    )
    assert services(inv) == ["dynamodb"]
    assert f"left out: postgres ({out}), cognito ({out})" in done(inv("status"))
    done(inv("ddb.query", "INSERT INTO orders VALUE {'number': 1}", "--write"))
    done(inv("snapshot.save", "one"))
    assert any(line.endswith("all stores are reset to the seeds") for line in done(inv("reset", "--yes")))
    assert done(inv("ddb.scan"))[-1].endswith("0 items of orders")
    done(inv("snapshot.restore", "one", "--yes"))
    assert done(inv("ddb.scan"))[-1].endswith("1 item of orders")
    assert [line for line in done(inv("snapshot.list")) if line.startswith("one ")]
    done(inv("snapshot.delete", "one", "--confirm", "one"))
    asked = inv("db.query", "SELECT 1")
    assert (asked.code, out in asked.stderr) == (2, True)
    in_a_file = inv("snapshot.save", "--file", "one.tar", "one")
    assert (in_a_file.code, "a file holds the database" in in_a_file.stderr) == (2, True)
    done(inv("env.destroy", "--confirm", shop.root.name))


def test_items_for_any_table_are_seeded_once_kept_where_edited_and_back_after_a_reset(
    make: Callable[[str, str], Inv],
) -> None:
    inv = make("shop", "embedded")
    seeds = inv.root / "seeds" / "ddb"
    seeds.mkdir()
    (seeds / "orders.jsonl").write_text('{"number": 1, "sku": "tea", "at": "{{now-5m}}"}\n{"nummer": 2}\n')
    refused = inv("ddb.seed")
    assert (refused.code, "seeds/ddb/orders.jsonl:2:1: no 'number'" in refused.stderr) == (2, True), refused.stderr
    assert entries(inv("ddb.scan", "--format", "json").stdout, "item") == []
    tea = '{"number": 1, "sku": "tea", "at": "{{now-5m}}"}'
    (seeds / "orders.jsonl").write_text(f'{tea}\n{{"number": 2, "sku": "mug"}}\n')
    assert steps(inv("initial-setup"))["ddb.seed"][0] == "ok"
    assert skipped(inv("ddb.seed"))["ddb.seed"].startswith("seeds/ddb: ")
    done(inv("ddb.query", "UPDATE orders SET sku = 'milk' WHERE number = 2", "--write"))
    done(inv("ddb.query", "DELETE FROM orders WHERE number = 1", "--write"))
    assert "1 item of seeds/ddb written" in steps(inv("ddb.seed"))["ddb.seed"][1]
    assert '"milk"' in inv("ddb.scan", "--format", "json").stdout
    done(inv("reset", "--yes"))
    items = entries(inv("ddb.scan", "--format", "json").stdout, "item")
    assert {item["number"]: item["sku"] for item in items} == {1: "tea", 2: "mug"}


OVERRIDE = """
services:
  cache:
    image: postgres:17-alpine
    command: ["sh", "-c", "echo the cache is warm; trap 'exit 143' TERM; sleep 600 & wait"]
    ports: ["127.0.0.1:{port}:6379"]
  job:
    image: postgres:17-alpine
    command: ["echo", "the bucket is there"]
  tools:
    image: postgres:17-alpine
    profiles: [debug]
  web:
    build: ./web
"""


def states(inv: Inv, code: int = 0) -> dict[str, str]:
    """Give the status of each service."""
    shown = inv("env.status", "--format", "json")
    assert shown.code == code, shown
    return {state["service"]: state["status"] for state in json.loads(shown.stdout)["data"]}


def test_other_services_of_the_compose_file_are_left_out_under_embedded(make: Callable[[str, str], Inv]) -> None:
    inv = make("shop", "embedded")
    (inv.root / "docker-compose.override.yml").write_text(OVERRIDE.format(port=find_free()))
    left_out = "left out: cache, job, web (docker has them: --engine docker)"
    assert any(line.endswith(left_out) for line in done(inv("env.up")))
    assert left_out in done(inv("env.status"))
    assert inv("env.logs", "cache").code == 2


@pytest.mark.docker
def test_other_services_of_the_compose_file_are_started_listed_and_logged(make: Callable[[str, str], Inv]) -> None:
    inv, port = make("shop", "docker"), find_free()
    (inv.root / "docker-compose.override.yml").write_text(OVERRIDE.format(port=port))
    (inv.root / "web").mkdir()
    (inv.root / "web" / "Dockerfile").write_text("FROM scratch\nCOPY nothing /\n")
    told = done(inv("env.up"))
    assert any("web is not started: " in line and "nothing" in line for line in told), told
    assert states(inv, code=4)["cache"] == "running"
    (inv.root / "web" / "Dockerfile").write_text('FROM postgres:17-alpine\nCMD ["sleep", "600"]\n')
    told = done(inv("env.up"))
    assert f"cache 127.0.0.1:{port} (postgres:17-alpine" in told[-1], told
    ours = {"postgres": "running", "dynamodb": "running"}
    wait_until(lambda: states(inv) == {**ours, "cache": "running", "job": "ended", "web": "running"})
    assert any(line.startswith(f"cache running 127.0.0.1:{port}") for line in done(inv("status")))
    assert done(inv("env.logs", "cache")) == ["--- cache", "the cache is warm"]
    assert done(inv("env.logs", "job"))[:2] == ["--- job", "the bucket is there"]
    assert [line for line in done(inv("env.logs", "--lines", "1")) if line.startswith("---")] == [
        "--- postgres",
        "--- dynamodb",
        "--- cache",
        "--- job",
        "--- web",
    ]
    assert "`postgres`" not in inv("env.logs", "cash").stderr  # the nearest word is the cache

    subprocess.run(["docker", "stop", *containers(inv, "cache")], check=True, capture_output=True)
    assert states(inv, code=4)["cache"] == "stopped"
    assert "skip" in steps(inv("db.setup"))["env.up"]  # it needs the database alone
    assert any(line.endswith("start cache") for line in done(inv("env.up", "--plan")))
    done(inv("env.up"))
    assert states(inv)["cache"] == "running"

    subprocess.run(["docker", "kill", *containers(inv, "cache")], check=True, capture_output=True)
    assert states(inv, code=4)["cache"] == "failed"
    done(inv("env.down"))
    done(inv("env.destroy", "--confirm", inv.root.name))
    assert containers(inv, "cache") == []


def containers(inv: Inv, service: str) -> list[str]:
    """List the containers of a service of the shop."""
    given = ["--filter", f"label=com.docker.compose.project.working_dir={inv.root}"]
    named = ["--filter", f"label=com.docker.compose.service={service}"]
    listed = subprocess.run(["docker", "ps", "-aq", *given, *named], check=True, capture_output=True, text=True)
    return listed.stdout.split()
