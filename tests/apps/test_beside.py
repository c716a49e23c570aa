"""The tool beside an app, as docs/adopt.md has it: a folder of the app, named by LOCALENV_APP, or installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.localenv.machine.folders import TOOL, find_app
from tests.support.answers import entries
from tests.support.environments import KEPT, PATIENCE_S, Finished, environment, reachable
from tests.support.ports import find_free

FILES = ("tasks", "ddb", "seeds", "sql", "tasks.py", "requirements.txt", "docker-compose.yml")
"""All that a checkout of this tool has, the chat's own files too: none of those are the app's."""
TASKS = """
from invoke import task

from {package} import ns


@task(pre=[ns.collections["db"].tasks["setup"]])
def prices(c):
    \"\"\"Print the prices, as the app has it.\"\"\"
    c.run("echo 3 EUR")


ns.add_task(prices)
"""

Run = Callable[..., Finished]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Path]:
    """The shop with a .env of its own, in a git repository that knows nothing of this tool's state."""
    root = reachable(tmp_path) / "shop"
    shutil.copytree(Path(__file__).parent / "shop", root)
    given = {**environment(root / ".local"), "LOCALENV_ENGINE": "embedded"}
    for name in ("LOCALENV_DOTENV", "LOCALENV_STATE_DIR", "XDG_CACHE_HOME"):
        given.pop(name)
    given["CONNECTION_URL"] = given["CONNECTION_URL"].replace("cruddur", "shop")
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    subprocess.run(["git", "init", "-q", root], check=True)
    yield root
    if (root / ".local").exists():
        run(
            root,
            "env.destroy",
            "--confirm",
            "shop",
            search=root if (root / "tasks.py").exists() else root / "localenv",
        )


def run(cwd: Path, *words: str, search: Path | None = None, environ: dict[str, str] | None = None) -> Finished:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    given = {
        **kept,
        "NO_COLOR": "1",
        "XDG_CACHE_HOME": str(Path(tempfile.gettempdir()) / "localenv-tests-cache"),
        **(environ or {}),
    }
    command = [sys.executable, "-m", "invoke", *(["--search-root", str(search)] if search else []), *words]
    done = subprocess.run(command, env=given, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


def put_beside(app: Path) -> Path:
    """Copy this tool into a folder of the app."""
    tool = app / "localenv"
    tool.mkdir()
    for name in FILES:
        if (TOOL / name).is_dir():
            shutil.copytree(TOOL / name, tool / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(TOOL / name, tool)
    return tool


def products(inv: Run) -> object:
    done = inv("db.query", "SELECT sku FROM products ORDER BY sku", "--format", "json")
    return entries(done.stdout, "row") if done.code == 0 else done


def test_one_line_brings_the_namespaces_into_the_tasks_of_an_app(app: Path) -> None:
    put_beside(app)
    (app / "tasks.py").write_text(TASKS.format(package="localenv.tasks"))
    (app / "web").mkdir()

    def inv(*words: str, **environ: str) -> Finished:
        return run(app / "web", *words, environ=environ)

    listed = inv("--list").stdout
    assert "  prices " in listed and "  db.setup " in listed and "  test " not in listed
    done = inv("prices")
    assert (done.code, done.stdout) == (0, "3 EUR\n"), done
    assert "shop made from sql/schema.sql, seeds/sql/01_products.sql" in done.stderr
    assert inv("prices", "db.setup", "--force").code == 0
    assert products(inv) == [{"sku": "mug"}, {"sku": "tea"}]
    assert inv("initial-setup").code == 0
    hooked = inv("initial-setup", "--hook")
    assert (hooked.code, "ready" in hooked.stdout) == (0, True), hooked
    assert "FAIL" not in inv("doctor").stdout
    assert inv("db.setup", "--zz").stderr.startswith("FAIL  db.setup  there is no option --zz")
    shown = subprocess.run(["git", "status", "--short", "-uall"], cwd=app, capture_output=True, text=True, check=True)
    assert not [line for line in shown.stdout.splitlines() if ".local" in line]
    assert not (app / "localenv" / ".local").exists()
    assert inv("env.destroy", "--confirm", "shop").code == 0
    assert sorted(path.name for path in (app / ".local").iterdir()) == [".gitignore", "lock"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1 / 0", "tasks.py:3: ZeroDivisionError: division by zero"),
        ("from localenv.tasks import nothing", "tasks.py:3: ImportError: cannot import name 'nothing'"),
        ("@task\ndef prices(c):\n    {}['a']\nns.add_task(prices)", "tasks.py:5: KeyError: 'a'"),
    ],
)
def test_a_fault_of_the_apps_own_tasks_is_told_as_theirs(app: Path, line: str, told: str) -> None:
    put_beside(app)
    (app / "tasks.py").write_text(f"from localenv.tasks import ns\nfrom invoke import task\n{line}\n")
    done = run(app, "prices")
    assert done.code == 1, done
    assert told in done.stderr and "this is in the app's own tasks" in done.stderr, done
    assert "a fault of inv itself" not in done.stderr


def test_a_setting_of_the_tool_names_the_folder_of_the_app(app: Path) -> None:
    tool = put_beside(app)
    (tool / ".env").write_text("CONNECTION_URL=postgresql://nobody@127.0.0.1:1/wrong\nLOCALENV_APP=..\n")

    def inv(*words: str, **environ: str) -> Finished:
        return run(app, *words, search=tool, environ=environ)

    assert inv("db.setup").code == 0
    assert products(inv) == [{"sku": "mug"}, {"sku": "tea"}]
    assert inv("env.down").code == 0
    lost = inv("env.status", LOCALENV_APP="../nowhere")
    assert (lost.code, "LOCALENV_APP: there is no folder" in lost.stderr) == (2, True)


def test_an_app_has_it_as_a_package_too(app: Path, tmp_path: Path) -> None:
    built, site = tmp_path / "built", tmp_path / "site"
    uv = [sys.executable, "-m", "uv", "--quiet", "--system-certs"]  # as pip does
    subprocess.run([*uv, "build", "--out-dir", built, TOOL], check=True)
    wheel, source = next(built.glob("*.whl")), next(built.glob("*.tar.gz"))
    assert (wheel.name.split("-")[0], source.name.split("-")[0]) == ("localenv", "localenv")
    subprocess.run([*uv, "pip", "install", "--no-deps", "--target", site, wheel], check=True)
    (app / "tasks.py").write_text(TASKS.format(package="localenv"))

    def inv(*words: str, **environ: str) -> Finished:
        return run(app, *words, environ={"PYTHONPATH": str(site), **environ})

    assert inv("prices").stdout == "3 EUR\n"
    assert products(inv) == [{"sku": "mug"}, {"sku": "tea"}]
    assert "FAIL" not in inv("doctor").stdout
    assert inv("env.destroy", "--confirm", "shop").code == 0


def test_whose_folder_is_the_apps(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.mkdir()
    importer = tmp_path / "app"
    assert find_app(tool, {}, None) == tool
    assert find_app(tool, {}, importer) == importer
    assert find_app(tool, {"LOCALENV_APP": "../shop"}, importer) == tmp_path / "shop"
    assert find_app(tool, {"LOCALENV_APP": "/srv/shop"}, None) == Path("/srv/shop")
    (tool / ".env").write_text("export LOCALENV_APP='../a shop'  # ours\n")
    assert find_app(tool, {}, importer) == tmp_path / "a shop"
    assert find_app(tool, {"LOCALENV_APP": "../b"}, None) == tmp_path / "b"


THEIRS = """
services:
  database:
    image: postgres:17-alpine
    environment: {{POSTGRES_USER: shop, POSTGRES_PASSWORD: "of the shop"}}
    ports: ["{postgres}:5432"]
    volumes: [rows:/var/lib/postgresql/data]
  dynamo:
    image: amazon/dynamodb-local:3.3.0
    command: -jar DynamoDBLocal.jar -sharedDb -inMemory
    ports: ["{dynamodb}:8000"]
  cache:
    image: postgres:17-alpine
    command: ["sleep", "600"]
volumes:
  rows:
"""


def test_what_is_missing_is_written_from_what_an_app_has(app: Path) -> None:
    tool = put_beside(app)
    shutil.copy(TOOL / "inv", tool)
    shutil.copy(TOOL / "requirements-dev.txt", tool)
    (tool / ".venv").symlink_to(TOOL / ".venv")
    (app / "backend" / "db").mkdir(parents=True)
    (app / "sql" / "schema.sql").rename(app / "backend" / "db" / "schema.sql")
    (app / "seeds" / "sql" / "01_products.sql").rename(app / "backend" / "db" / "seed.sql")
    (app / ".env").unlink()
    port = find_free()
    (app / "compose.yaml").write_text(THEIRS.format(postgres=port, dynamodb=find_free()))

    def inv(*words: str, **environ: str) -> Finished:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        given = {**kept, "NO_COLOR": "1", "LOCALENV_ENGINE": "embedded", **environ}
        done = subprocess.run([tool / "inv", *words], env=given, cwd=app, capture_output=True, text=True, check=False)
        return Finished(done.returncode, done.stdout, done.stderr)

    planned = inv("init", "--plan", LOCALENV_APP="..").stdout
    for written in ("tasks.py", ".env", "sql/schema.sql", "seeds/sql/01_seed.sql"):
        assert f"write {written}, from " in planned
        assert not (app / written).exists()
    assert inv("init", LOCALENV_APP="..").code == 0
    assert f"CONNECTION_URL=postgresql://shop:of%20the%20shop@127.0.0.1:{port}/shop\n" in (app / ".env").read_text()
    assert (app / "sql" / "schema.sql").read_text().endswith("\\ir '../backend/db/schema.sql'\n")
    before = {path: path.read_bytes() for path in app.glob("*/*.sql")}
    assert "nothing to write" in inv("init").stderr
    there = (app / ".env").read_text()
    (app / ".env").write_text("CONNECTION_URL=postgresql://u:p@db.abc.rds.amazonaws.com/x\n")
    assert (inv("init").code, inv("env.up").code) == (0, 8)  # it reads no settings
    (app / ".env").write_text(there)
    assert before == {path: path.read_bytes() for path in app.glob("*/*.sql")}
    assert inv("initial-setup").code == 0
    assert products(inv) == [{"sku": "mug"}, {"sku": "tea"}]
    assert inv("env.destroy", "--confirm", "shop").code == 0


@pytest.mark.docker
def test_the_compose_file_of_an_app_is_used_whatever_it_calls_its_services(app: Path) -> None:
    put_beside(app)
    (app / "tasks.py").write_text(TASKS.format(package="localenv.tasks"))
    postgres, dynamodb = find_free(), find_free()
    (app / "docker-compose.yml").write_text(THEIRS.format(postgres=postgres, dynamodb=dynamodb))
    (app / ".env").write_text(
        f"CONNECTION_URL=postgresql://shop:of%20the%20shop@127.0.0.1:{postgres}/shop\n"
        f"AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:{dynamodb}\nLOCALENV_ENGINE=docker\n"
    )

    def inv(*words: str) -> Finished:
        return run(app, *words)

    assert inv("prices").code == 0
    shown = json.loads(inv("env.status", "--format", "json").stdout)["data"]
    assert {one["service"]: one["status"] for one in shown} == {
        "postgres": "running",
        "dynamodb": "running",
        "cache": "running",
    }
    assert products(inv) == [{"sku": "mug"}, {"sku": "tea"}]
    assert "database system is ready" in inv("env.logs", "postgres", "--lines", "50").stdout
    assert "running" in inv("env.list").stdout
    assert inv("env.down").code == 0
    there = (app / ".env").read_text()
    (app / ".env").write_text(there.replace(f":{postgres}/", f":{find_free()}/"))
    other = inv("env.up")
    assert (other.code, f"publishes port {postgres} for database, and CONNECTION_URL has " in other.stderr) == (
        2,
        True,
    ), other
    (app / ".env").write_text(there)
    assert inv("env.up").code == 0
    assert inv("env.down").code == 0
    (app / "docker-compose.yml").write_text("services: {web: {image: 'postgres-exporter:1'}}\n")
    lacking = inv("env.up")
    assert (lacking.code, "docker-compose.yml has no postgres" in lacking.stderr) == (2, True), lacking
    (app / "docker-compose.yml").unlink()
    assert inv("env.destroy", "--confirm", "shop").code == 0
