"""env.export: what the app needs, written so that each reader reads back what was meant."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.cognito import seed
from tasks.localenv.cognito.users import noted_pools
from tasks.localenv.environment import exports
from tasks.localenv.errors import UsageError
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.settings.addresses import parse_postgres_url
from tests.conftest import Cli
from tests.support.environments import PATIENCE_S, environment
from tests.support.seeded import PEOPLE

NASTY = {
    "SPACES": "  two  words  ",
    "QUOTES": "it's \"said\" 'so'",
    "DOLLAR": "$HOME $$ a$ $(id)",
    "BACKTICK": "`id`",
    "BREAKS": "one\ntwo\n\nthree",
    "HASH": "a#b #c",
    "EQUALS": "=a=b=",
    "BANG": "!x! !!",
    "UNICODE": "naïve → 日本",
    "SIGNS": "*?[a]{b,c}~;&|<>()%41",
    "DASHES": "-n --",
}
BACKSLASHES = {"BACKSLASH": "a\\b\\\\c\\n\\'\\\"\\", "LAST": "ends\\"}
BRACES = {"BRACES": "${HOME} \\$X"}
SHELLS = ("sh", "bash", "dash", "zsh", "busybox")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_reads_back_what_was_meant(tmp_path: Path, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    meant = {**NASTY, **BACKSLASHES, **BRACES}
    (tmp_path / "exports").write_text(exports.as_shell(meant))
    script = 'eval "$(cat exports)"; exec env -0'
    command = [shell, "sh"] if shell == "busybox" else [shell]
    read = subprocess.run(
        [*command, "-c", script], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, check=True
    )
    found = dict(pair.split("=", 1) for pair in read.stdout.decode().split("\0") if pair)
    assert {name: found.get(name) for name in meant} == meant


@pytest.mark.parametrize("interpolate", [True, False])
def test_dotenv_reads_back_what_was_meant(interpolate: bool) -> None:
    from dotenv import dotenv_values

    meant = {**NASTY, **BACKSLASHES}
    assert dotenv_values(stream=io.StringIO(exports.as_dotenv(meant)), interpolate=interpolate) == meant


@pytest.mark.docker
def test_compose_and_docker_read_back_what_was_meant(tmp_path: Path) -> None:
    meant = {**NASTY, **BACKSLASHES}
    (tmp_path / "app.env").write_text(exports.as_dotenv(meant))
    (tmp_path / "compose.yml").write_text("services: {app: {image: none, env_file: app.env}}")
    read = subprocess.run(
        ["docker", "compose", "-p", "x", "config", "--format", "json"],
        cwd=tmp_path,
        env={name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ},
        stdout=subprocess.PIPE,
        check=True,
    )
    shown = json.loads(read.stdout)["services"]["app"]["environment"]
    assert {name: value.replace("$$", "$") for name, value in shown.items()} == meant

    lines = {name: value for name, value in {**meant, **BRACES}.items() if "\n" not in value}
    (tmp_path / "docker.env").write_text(exports.as_env_file(lines))
    run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "env", "--env-file", "docker.env"]
    shown_inside = subprocess.run(
        [*run, "postgres:17-alpine"], cwd=tmp_path, stdout=subprocess.PIPE, check=True, timeout=PATIENCE_S
    ).stdout.decode()
    found = dict(line.split("=", 1) for line in shown_inside.splitlines())
    assert {name: found.get(name) for name in lines} == lines


@pytest.mark.parametrize(
    ("write", "value", "message"),
    [
        (exports.as_dotenv, "${HOME}", "X has ${, which no .env file can hold for every reader"),
        (exports.as_dotenv, "$\\", "X has both $ and a backslash, which no .env file can hold for every reader"),
        (
            exports.as_env_file,
            "a\nb",
            "X has a line break, which a file for `docker run --env-file` cannot hold",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_refused(write: object, value: str, message: str) -> None:
    assert callable(write)
    with pytest.raises(UsageError) as caught:
        write({"X": value})
    assert caught.value.message == message


def test_github_gets_each_value_between_delimiters_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "github_env"
    file.write_text("BEFORE=1\n")
    exports.append_to(str(file), exports.as_github({"LINES": "one\ntwo", "PLAIN": "x=y"}))
    lines = file.read_text().splitlines()
    end = lines[1].removeprefix("LINES<<")
    assert len(end) == 20 and lines == ["BEFORE=1", f"LINES<<{end}", "one", "two", end, f"PLAIN<<{end}", "x=y", end]
    for path in ("", str(tmp_path)):
        with pytest.raises(UsageError, match="GITHUB_ENV"):
            exports.append_to(path, "")


def test_a_stopped_environment_gives_its_addresses_and_the_pool_that_was_noted(tmp_path: Path) -> None:
    url = "postgresql://me:p%40s%24s%20w@localhost:1/my%20db?sslmode=disable"
    settings = read_settings(environ={**environment(tmp_path), "CONNECTION_URL": url, "AWS_ACCESS_KEY_ID": "AKIA1"})
    assert settings.dynamodb and settings.cognito
    expected = {
        "CONNECTION_URL": url.replace("localhost", "127.0.0.1"),
        "AWS_ENDPOINT_URL_DYNAMODB": settings.dynamodb.url,
        "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": settings.cognito.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "DDB_MESSAGE_TABLE": "cruddur-messages",
    }
    assert exports.variables(settings) == expected
    (tmp_path / "user_pool").write_text("us-east-1_newest\nus-east-1_older\n")
    assert exports.variables(settings, legacy=True) == {
        **expected,
        "AWS_COGNITO_USER_POOL_ID": "us-east-1_newest",
        "AWS_COGNITO_ISSUER": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_newest",
        "AWS_COGNITO_JWKS_URL": f"{settings.cognito.url}/us-east-1_newest/.well-known/jwks.json",
        "AWS_ENDPOINT_URL": settings.dynamodb.url,
    }


def test_a_real_pool_comes_with_the_keys_for_it(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "s/+", "AWS_SESSION_TOKEN": "t"}
    pool = {"AWS_COGNITO_USER_POOL_ID": "eu-west-1_Real", "AWS_COGNITO_USER_POOL_CLIENT_ID": "c"}
    found = exports.variables(read_settings(environ={**environment(tmp_path), **keys, **pool}))
    assert {name: found.get(name) for name in (*keys, *pool)} == {**keys, **pool}
    assert "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER" not in found
    assert found["AWS_COGNITO_JWKS_URL"] == f"{found['AWS_COGNITO_ISSUER']}/.well-known/jwks.json"


def test_the_exported_variables_are_read_as_the_same_settings(live: Settings, cli: Cli) -> None:
    seed.apply(live, PEOPLE)
    told = cli("env.export", "--format", "json")
    assert (told.code, told.stderr) == (0, "")
    values = json.loads(told.stdout)["data"]
    assert values["AWS_COGNITO_USER_POOL_ID"] == noted_pools(live)[0]
    assert values["AWS_COGNITO_USER_POOL_CLIENT_ID"]
    read = read_settings(environ={**values, "LOCALENV_STATE_DIR": str(live.state_dir), "LOCALENV_DOTENV": "/dev/null"})
    assert (read.postgres, read.dynamodb, read.cognito) == (live.postgres, live.dynamodb, live.cognito)
    assert cli("env.export").stdout == exports.as_shell(values)


def test_nothing_but_the_data_is_on_stdout_and_what_is_down_is_said(cli: Cli, tmp_path: Path) -> None:
    down = cli("env.export", "--format", "docker", LOCALENV_STATE_DIR=str(tmp_path / "elsewhere"))
    assert down.code == 0 and "not all services run" in down.stderr
    assert all("=" in line for line in down.stdout.splitlines())
    github = cli("env.export", "--format", "github", GITHUB_ENV=str(tmp_path / "env"))
    assert (github.code, github.stdout) == (0, "") and "CONNECTION_URL<<" in (tmp_path / "env").read_text()


def test_it_is_for_the_local_target_and_known_formats(cli: Cli) -> None:
    prod = cli("env.export", "--target", "prod", PROD_CONNECTION_URL="postgresql://u:secret@db.example.com/cruddur")
    assert (prod.code, prod.stdout, "secret" in prod.stderr) == (2, "", False)
    unknown = cli("env.export", "--format", "dotnet")
    assert (unknown.code, "did you mean 'dotenv'?" in unknown.stderr) == (2, True)


def test_docker_desktop_reaches_this_machine_by_its_name(live: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_is_docker_desktop", lambda: True)
    inside, command = exports.for_container(live)
    assert command == "docker run"
    assert parse_postgres_url(exports.variables(inside)["CONNECTION_URL"]) == replace(
        live.postgres, host="host.docker.internal"
    )
