"""env.*: what a user types and what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.engines.embedded.home import find_home
from tasks.localenv.settings import read_settings
from tests.conftest import Cli
from tests.support.environments import Finished, environment, inv, permitted, reachable


class Own:
    """An environment for one test: runs `inv` against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = reachable(folder)
        self.environ = environment(self.folder / "state")

    def __call__(self, *words: str, text: str = "", **environ: str) -> Finished:
        return inv(*words, environ={**self.environ, **environ}, cwd=self.folder, text=text)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    """An environment that is not up yet, and is gone afterwards."""
    made = Own(tmp_path)
    yield made
    if not (made.folder / "state").is_file():
        engines.destroy(read_settings(environ=made.environ), print)


def addresses(environ: dict[str, str]) -> list[str]:
    settings = permitted(read_settings(environ=environ))
    return [f"127.0.0.1:{settings.postgres.port}", str(settings.dynamodb), str(settings.cognito)]


def test_the_life_of_an_environment(own: Own) -> None:
    postgres, dynamodb, cognito = addresses(own.environ)
    plan = own("env.up", "--plan")
    assert plan.stdout.splitlines() == [
        "run   env.up",
        "      engine embedded: as --engine or LOCALENV_ENGINE says",
        f"      start postgres at {postgres}",
        f"      start dynamodb at {dynamodb}",
        f"      start cognito at {cognito}",
    ]
    assert not (own.folder / "state").exists()

    up = own("env.up")
    assert up.code == 0
    assert re.fullmatch(
        rf"ok    env.up +\d+\.\d\ds  postgres {postgres} \(PostgreSQL 18\.\d+\), "
        rf"dynamodb {dynamodb} \(ministack [\d.]+\), cognito {cognito} \(ministack [\d.]+\)",
        up.stderr.splitlines()[-1],
    )
    again = own("env.up")
    everything = f"postgres {postgres}, dynamodb {dynamodb}, cognito {cognito}"
    assert (again.code, again.stdout) == (0, "")
    assert again.stderr.split(maxsplit=2) == ["skip", "env.up", f"{everything}, already running (embedded)\n"]

    restart = own("env.restart")
    assert restart.stderr.splitlines()[-1].endswith(everything)

    down = own("env.down")
    assert down.code == 0 and down.stderr.splitlines()[-1].endswith("stopped; the data is kept")
    assert own("env.down").stderr.split(maxsplit=2) == ["skip", "env.down", "not running\n"]

    unasked = own("env.destroy")
    assert unasked.code == 3
    assert "env.destroy --confirm cruddur" in unasked.stderr.splitlines()[-1]
    assert find_home(permitted(read_settings(environ=own.environ))).data.exists()
    destroyed = own("env.destroy", "--confirm", "cruddur")
    assert destroyed.code == 0
    assert [path.name for path in (own.folder / "state").iterdir()] == ["lock"]
    assert own("env.destroy", "--confirm", "cruddur").stderr.split("  ")[-1] == "nothing to remove\n"


def test_status_shows_services_and_exits_4_when_one_is_down(own: Own) -> None:
    status = own("env.status")
    assert status.code == 4
    assert [line.split()[:3] for line in status.stdout.splitlines()] == [
        ["SERVICE", "STATUS", "ADDRESS"],
        *(
            [service, "stopped", address]
            for service, address in zip(("postgres", "dynamodb", "cognito"), addresses(own.environ), strict=True)
        ),
    ]
    assert not (own.folder / "state").exists()


def test_status_as_json_is_one_envelope(cli: Cli, live_environment: dict[str, str]) -> None:
    status = cli("env.status", "--format", "json")
    assert (status.code, status.stderr) == (0, "")
    envelope = json.loads(status.stdout)
    (step,) = envelope["steps"]
    assert {**envelope, "data": None, "steps": [{**step, "seconds": 0}]} == {
        "schemaVersion": 2,
        "command": "env.status",
        "effect": "reads",
        "status": "ok",
        "data": None,
        "steps": [{"name": "env.status", "status": "ok", "seconds": 0, "sentence": ""}],
        "warnings": [],
        "undo": [],
        "error": None,
    }
    assert [(row["service"], row["status"], row["address"]) for row in envelope["data"]] == [
        (service, "running", address)
        for service, address in zip(("postgres", "dynamodb", "cognito"), addresses(live_environment), strict=True)
    ]
    assert all(re.fullmatch(r"pid \d+", row["holder"]) and row["since"].endswith("+00:00") for row in envelope["data"])


def test_logs_show_the_last_lines_of_each_service(cli: Cli) -> None:
    every = json.loads(cli("env.logs", "--lines", "3", "--format", "json").stdout)["data"]
    assert list(every) == ["postgres", "dynamodb", "cognito"]
    one = cli("env.logs", "--service", "postgres", "--lines", "1000")
    assert one.stdout.startswith("--- postgres\n")
    assert "database system is ready to accept connections" in one.stdout
    near = cli("env.logs", "--service", "postgre")
    assert (near.code, "did you mean 'postgres'?" in near.stderr) == (2, True)


def test_another_engine_than_the_running_one_is_exit_3(cli: Cli) -> None:
    other = cli("env.up", "--engine", "docker")
    assert other.code == 3
    assert "the services run under the engine embedded, not docker" in other.stderr


@pytest.mark.parametrize("task", ["env.up", "env.down", "env.restart"])
def test_nothing_is_started_or_stopped_for_production(cli: Cli, task: str) -> None:
    for force in ((), ("--force",)):
        done = cli(task, "--target", "prod", *force, PROD_CONNECTION_URL="postgresql://u:p@db.example.com/cruddur")
        assert (done.code, done.stderr.rstrip().endswith("target prod: nothing to start here")) == (0, True)


def test_destroy_does_not_exist_for_production(cli: Cli) -> None:
    done = cli(
        "env.destroy",
        "--confirm",
        "cruddur",
        "--target",
        "prod",
        PROD_CONNECTION_URL="postgresql://u:p@db.example.com/cruddur",
    )
    assert done.code == 2
    assert "env.destroy does not exist for --target prod" in done.stderr


def test_a_state_folder_that_is_a_file_is_a_preflight_failure(own: Own) -> None:
    (own.folder / "state").touch()
    for task in ("env.up", "env.status", "env.down", "env.destroy"):
        done = own(task)
        assert (done.code, "Traceback" in done.stderr) == (6, False), done.stderr


def test_help_lines_fit(cli: Cli) -> None:
    listed = cli("--list").stdout.splitlines()
    lines = [line for line in listed if line.strip().startswith("env.")]
    assert len(lines) >= 5
    assert all(len(line.split(maxsplit=1)[1]) <= 70 for line in lines)
