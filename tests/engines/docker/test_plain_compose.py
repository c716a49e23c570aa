"""Beside plain `docker compose up`: it is seen and named, and `env.up --adopt` takes over what it has."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.engines.docker import takeover
from tasks.localenv.engines.docker.api import DockerApi
from tasks.localenv.engines.docker.plaincompose import find_plain
from tasks.localenv.engines.docker.takeovernote import Takeover, note_takeover, read_takeover
from tasks.localenv.environment.adoption import adopt_taken_over
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError, PreflightFailed, UsageError
from tasks.localenv.machine.answers import Shape
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import ledger, setup
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.engines.docker.shop import FILE, MakeShop, Shop, docker
from tests.engines.docker.test_containers import DATA, read_data, write_data
from tests.support.environments import PATIENCE_S, Finished, inv, permitted
from tests.support.ports import find_free
from tests.support.seeded import quiet

pytestmark = pytest.mark.docker

IMAGE = "postgres:17-alpine"
_numbers = itertools.count()


@dataclass
class Plain:
    """What plain Compose has in a folder, under a project name that no other test has."""

    root: Path
    postgres: int = field(default_factory=find_free)
    dynamodb: int = field(default_factory=find_free)
    name: str = field(default_factory=lambda: f"plain{os.getpid()}x{next(_numbers)}")

    def __post_init__(self) -> None:
        (self.root / ".env").write_text(f"COMPOSE_PROJECT_NAME={self.name}\n")

    def run(self, *words: str) -> None:
        ports = {"POSTGRES_PORT": str(self.postgres), "DYNAMODB_PORT": str(self.dynamodb)}
        command = ["docker", "compose", *words]
        environ = {**os.environ, **ports}
        subprocess.run(command, cwd=self.root, env=environ, check=True, capture_output=True, timeout=PATIENCE_S)

    def remove(self) -> None:
        docker("compose", "-p", self.name, "down", "--volumes", "--remove-orphans", "--timeout", "0")

    def up(self, *services: str) -> None:
        self.run("up", "--detach", "--wait", *services)

    def container(self, service: str = "db") -> str:
        return f"{self.name}-{service}-1"

    def volumes(self) -> list[str]:
        listed = docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}")
        return sorted(listed.split())

    def settings(self, ours: Settings) -> Settings:
        """The settings that lead to its servers instead of ours."""
        return ours.with_ports({"postgres": self.postgres, "dynamodb": self.dynamodb})


@pytest.fixture
def plain(shop: Shop) -> Iterator[Plain]:
    made = Plain(shop.settings.root)
    yield made
    made.remove()


def adopt(shop: Shop) -> None:
    takeover.take_over(shop.settings, shop.said.append)


def seen(shop: Shop) -> str:
    """What is told of plain Compose, without the name that no other test has."""
    found = find_plain(shop.settings)
    return re.sub(r"plain\d+x\d+", "PLAIN", f"{found}; {found.hint(shop.settings)}") if found else ""


def test_it_is_named_whether_it_runs_is_stopped_or_left_its_volumes(
    shop: Shop, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = "plain `docker compose` has an environment of its own here: project PLAIN"
    hint = "run `inv env.up --adopt` to take its data over"
    assert seen(shop) == ""
    plain.up("db")
    assert seen(shop) == f"{start} runs at port {plain.postgres}; {hint}"
    embedded = Shop(replace(shop.settings, engine="embedded"))
    assert seen(embedded).endswith("run `inv env.up --adopt --engine docker` to take its data over")
    with monkeypatch.context() as away:
        away.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        assert seen(embedded) == ""
    plain.run("stop")
    assert seen(shop) == f"{start} is stopped; {hint}"
    plain.run("down")
    assert seen(shop) == f"{start} left PLAIN_db and PLAIN_dynamodb; {hint}"
    plain.run("down", "--volumes")
    assert seen(shop) == ""


def test_beside_ours_it_can_be_stopped_or_ours_given_up_for_it(shop: Shop, plain: Plain) -> None:
    plain.up("db")
    shop.up()
    assert seen(shop).partition("; ")[2] == (
        "stop it with `docker compose -p PLAIN down`, which keeps its volumes, or run `inv env.destroy`, which removes "
        "this environment's data, then run `inv env.up --adopt`"
    )
    with pytest.raises(ConfirmationNeeded) as both:
        adopt(shop)
    assert f"this checkout's environment runs too ({shop.container()}, " in both.value.message
    shop.services.stop(print)
    with pytest.raises(ConfirmationNeeded) as held:
        adopt(shop)
    assert f"has data of its own ({shop.settings.project_id}_db, " in held.value.message
    assert held.value.hint == "run `inv env.destroy` if its data may go, then the same command again"
    shop.services.destroy(print)
    adopt(shop)


def test_a_look_costs_one_listing_where_the_folder_has_containers(
    shop: Shop, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain.up("db")
    asked: list[str] = []
    get = DockerApi.get

    def spy(api: DockerApi, path: str, shape: Shape, **query: str) -> object:
        asked.append(path)
        return get(api, path, shape, **query)

    monkeypatch.setattr(DockerApi, "get", spy)
    assert find_plain(shop.settings)
    assert asked == ["/containers/json"]


def test_its_data_are_ours_from_then_on_and_its_volumes_stay(shop: Shop, plain: Plain) -> None:
    plain.up()
    write_data(Shop(plain.settings(shop.settings)))
    volumes = plain.volumes()
    plan = takeover.plan_takeover(shop.settings)
    assert [line.replace(plain.name, "PLAIN") for line in plan[:1]] == [
        "stop and remove container PLAIN-db-1 of Compose project PLAIN"
    ] and len(plan) == 4
    assert (docker("inspect", "--format", "{{.State.Status}}", plain.container()), shop.left()) == ("running", [])
    adopt(shop)
    shop.up()
    assert (read_data(shop), plain.volumes(), seen(shop)) == (DATA, volumes, "")
    assert docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={plain.name}") == ""
    adopt(shop)
    named = [thing for thing in shop.services.owned_resources() if "adopted" in thing]
    assert named[0] == f"volume {shop.settings.project_id}_db (adopted from {plain.name}_db, which stays)"
    docker("volume", "rm", f"{plain.name}_db")
    (last, _) = [thing for thing in shop.services.owned_resources() if "adopted" in thing]
    assert last.endswith(f"(adopted from {plain.name}_db, which is gone: these are the only data)")
    shop.services.destroy(print)
    assert (shop.left(), read_takeover(shop.settings)) == ([], None)
    assert seen(shop).partition(": ")[2].startswith("project PLAIN left PLAIN_dynamodb")


class Cut(Exception):
    """The command was killed."""


@pytest.mark.parametrize(("after", "again"), [(0, "start"), (1, "adopt"), (2, "start")])
def test_a_takeover_that_was_cut_short_goes_on(shop: Shop, plain: Plain, after: int, again: str) -> None:
    plain.up()
    write_data(Shop(plain.settings(shop.settings)))
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) > after:
            raise Cut

    with pytest.raises(Cut):
        takeover.take_over(shop.settings, say)
    assert len(plain.volumes()) == 2
    if again == "adopt":
        adopt(shop)
    shop.up()
    assert read_data(shop) == DATA


@pytest.mark.parametrize("way", ["adopt", "destroy"])
def test_a_copy_that_a_killed_command_left_running_is_in_nobodys_way(shop: Shop, plain: Plain, way: str) -> None:
    plain.up("db")
    ours, project = f"{shop.settings.project_id}_db", shop.settings.project_id
    given = (f"project={project}", "service=takeover", "oneoff=False", "config-hash=takeover")
    labels = [f"com.docker.compose.{label}" for label in given]
    volume = ["volume", "create", "--label", labels[0], "--label", "com.docker.compose.volume=db", ours]
    docker(*volume)
    words = [word for label in labels for word in ("--label", label)]
    docker("run", "--detach", "--name", f"{project}-takeover", "-v", f"{ours}:/to", *words, IMAGE, "sleep", "600")
    note_takeover(shop.settings, Takeover(plain.name, {f"{plain.name}_db": ours}))
    if way == "adopt":
        shop.up()
        assert shop.statuses()["postgres"] == "running"
    shop.services.destroy(print)
    assert (shop.left(), plain.volumes()[0]) == ([], f"{plain.name}_db")


def test_a_begun_takeover_whose_source_is_gone_says_so(shop: Shop) -> None:
    note_takeover(shop.settings, Takeover("gone", {"gone_db": f"{shop.settings.project_id}_db"}))
    with pytest.raises(LocalEnvError) as caught:
        shop.up()
    assert caught.value.message == "volume gone_db, of which a copy was begun, is gone"
    assert caught.value.hint == "run `inv env.destroy` to drop what was begun"


def test_without_one_there_is_nothing_to_adopt(shop: Shop) -> None:
    with pytest.raises(UsageError, match="plain `docker compose` has no environment for this folder"):
        adopt(shop)


def test_data_of_another_release_are_refused_before_anything_is_touched(shop: Shop, plain: Plain) -> None:
    plain.up("db")
    docker("exec", plain.container(), "sh", "-c", "echo 16 > /var/lib/postgresql/data/PG_VERSION")
    with pytest.raises(PreflightFailed) as caught:
        adopt(shop)
    file = "db of docker-compose.yml"
    assert caught.value.message == f"volume {plain.name}_db holds data of PostgreSQL 16, and {file} runs 17"
    assert (docker("inspect", "--format", "{{.State.Status}}", plain.container()), shop.left()) == ("running", [])
    assert read_takeover(shop.settings) is None


def test_data_in_an_anonymous_volume_are_refused(new_shop: MakeShop) -> None:
    shop = new_shop(lambda text: text.replace("    volumes:\n      - db:/var/lib/postgresql/data\n", ""))
    plain = Plain(shop.settings.root)
    plain.up("db")
    try:
        with pytest.raises(PreflightFailed, match="gives db no volume: its data are in its container"):
            adopt(shop)
    finally:
        plain.remove()


def test_a_project_of_two_folders_is_refused(shop: Shop, plain: Plain, tmp_path: Path) -> None:
    plain.up("db")
    other = tmp_path / "other"
    other.mkdir()
    (other / "docker-compose.yml").write_text(
        f"services: {{stray: {{image: 'postgres:17-alpine', command: sleep 600, container_name: {plain.name}-stray}}}}"
    )
    command = ["docker", "compose", "-p", plain.name, "up", "--detach"]
    subprocess.run(command, cwd=other, check=True, capture_output=True, timeout=PATIENCE_S)
    with pytest.raises(PreflightFailed) as caught:
        adopt(shop)
    assert caught.value.message.endswith(f"of another folder too: {plain.name}-stray of {other}")
    assert caught.value.hint == f"run `docker rm -f {plain.name}-stray`, then run `inv env.up --adopt`"


@dataclass
class App:
    """The Cruddur app in a folder of its own, and plain Compose at the addresses that it has."""

    root: Path
    plain: Plain

    def inv(self, *words: str, **environ: str) -> Finished:
        given = {
            "LOCALENV_APP": str(self.root),
            "LOCALENV_DOTENV": "/dev/null",
            "LOCALENV_ENGINE": "docker",
            "XDG_CACHE_HOME": str(self.root.with_name("cache")),
            "CONNECTION_URL": f"postgresql://postgres:password@localhost:{self.plain.postgres}/cruddur",
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://localhost:{self.plain.dynamodb}",
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": f"http://localhost:{self.cognito}",
        }
        return inv(*words, environ={**given, **environ}, cwd=self.root)

    cognito: int = field(default_factory=find_free)

    @property
    def settings(self) -> Settings:
        environ = {"LOCALENV_DOTENV": "/dev/null", "LOCALENV_ENGINE": "docker"}
        found = read_settings(root=self.root, environ=environ)
        return permitted(self.plain.settings(found))

    def rows(self) -> list[tuple[str]]:
        with connect(self.settings.postgres) as conn:
            return conn.execute("SELECT message FROM activities WHERE message LIKE 'Mine%'").fetchall()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    root = tmp_path / "cruddur"
    root.mkdir()
    for name in ("sql", "seeds", "ddb"):
        shutil.copytree(TOOL / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "docker-compose.yml").write_text(FILE)
    made = App(root, Plain(root))
    yield made
    made.inv("env.destroy", "--confirm", "cruddur")
    made.plain.remove()


def fill(app: App) -> None:
    """Fill plain Compose's database as the app's own scripts do, which leave no ledger."""
    app.plain.up()
    setup.setup(app.settings, quiet, typed=True)
    with connect(app.settings.postgres) as conn:
        conn.execute("DROP SCHEMA localenv CASCADE")
        conn.execute("INSERT INTO activities (user_uuid, message) SELECT uuid, 'Mine' FROM users LIMIT 1")


def test_initial_setup_names_it_and_after_adopting_keeps_its_rows(app: App) -> None:
    fill(app)
    line = f"plain `docker compose` has an environment of its own here: project {app.plain.name} runs at ports "
    embedded = app.inv("env.up", "--adopt", "--engine", "embedded")
    assert embedded.code == 2 and "run `inv env.up --adopt --engine docker`" in embedded.stderr
    refused = app.inv("initial-setup")
    assert refused.code == 6 and line in refused.stderr
    assert (
        f"taken by container {app.plain.container()} of Compose project {app.plain.name} in {app.root}"
        in refused.stderr
    )
    assert re.search("^ +hint +run `inv env.up --adopt` to take its data over, or", refused.stderr, re.MULTILINE)
    assert line in app.inv("env.status").stderr and line in app.inv("doctor").stdout

    plan = app.inv("env.up", "--adopt", "--plan")
    assert plan.code == 0 and f"copy volume {app.plain.name}_db to " in plan.stdout and app.rows() == [("Mine",)]

    adopted = app.inv("env.up", "--adopt")
    assert adopted.code == 0, adopted.stderr
    assert "sql/schema.sql and the seeds count as applied; `inv db.setup --force` builds it anew" in adopted.stderr
    assert line not in adopted.stderr
    again = app.inv("env.up", "--adopt")
    assert again.stderr.startswith("skip  env.up") and "already running (docker)" in again.stderr
    ready = app.inv("initial-setup")
    assert (ready.code, app.rows()) == (0, [("Mine",)]), ready.stderr
    assert re.search(r"skip  db\.setup +unchanged", ready.stderr)
    destroyed = app.inv("env.destroy")
    assert (destroyed.code, f"(adopted from {app.plain.name}_db, which stays)" in destroyed.stderr) == (3, True)


def test_a_database_with_another_schema_is_kept_and_named(app: App) -> None:
    fill(app)
    with connect(app.settings.postgres) as conn:
        conn.execute("ALTER TABLE users RENAME TO persons")
    adopted = app.inv("env.up", "--adopt")
    assert adopted.code == 0 and "sql/schema.sql is not its schema (without public.users)" in adopted.stderr
    refused = app.inv("initial-setup")
    assert (refused.code, app.rows()) == (3, [("Mine",)])
    assert "kept as it is: sql/schema.sql is not applied" in refused.stderr and "inv db.setup" in refused.stderr


def test_a_database_of_another_name_is_named(app: App) -> None:
    app.plain.up()
    with connect(app.settings.postgres, database="postgres", autocommit=True) as conn:
        conn.execute("CREATE DATABASE shop")
    adopted = app.inv("env.up", "--adopt")
    assert "it has no database cruddur, but shop: CONNECTION_URL names the one to use" in adopted.stderr


def test_of_a_takeover_the_database_is_marked_once(shop: Shop, plain: Plain) -> None:
    plain.up()
    setup_in = plain.settings(shop.settings).postgres
    with connect(setup_in, database="postgres", autocommit=True) as conn:
        conn.execute("CREATE DATABASE cruddur")
    with connect(setup_in) as conn:
        conn.execute("CREATE TABLE kept (word text)")
    adopt(shop)
    shop.up()
    engines_choice = replace(shop.settings, engine="docker")
    assert ledger.observe(shop.settings.postgres).project_id is None
    assert adopt_taken_over(engines_choice).startswith(f"adopted the data of Compose project {plain.name}; database")
    assert ledger.observe(shop.settings.postgres).project_id == shop.settings.project_id
    assert (adopt_taken_over(engines_choice), engines.choose(engines_choice).engine) == ("", "docker")
