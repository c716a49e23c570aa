"""inv exec: a command with everything up and the app's variables; its exit code is that of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.environments import Finished, environment, inv


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    given = environment(tmp_path / "state")
    yield given
    inv("env.destroy", "--confirm", "cruddur", environ=given)


def test_a_command_has_the_variables_and_gives_the_exit_code(environ: dict[str, str]) -> None:
    def run(*words: str) -> Finished:
        return inv("exec", "--", *words, environ=environ)

    done = run("sh", "-c", 'printf "%s|%s\\n" "$1" "$CONNECTION_URL" "$AWS_COGNITO_JWKS_URL"; exit 7', "sh", "a  b")
    values = json.loads(inv("env.export", "--format", "json", environ=environ).stdout)["data"]
    assert (done.code, done.stdout) == (
        7,
        f"a  b|{values['CONNECTION_URL']}\n{values['AWS_COGNITO_JWKS_URL']}|\n",
    ), done
    assert run("sh", "-c", "kill -TERM $$").code == 128 + 15
    assert (run("true").code, run("nosuchprogram").code) == (0, 6)
    assert inv("db.query", "SELECT 1", environ=environ).code == 0  # no lock is held
    nothing = inv("exec", environ=environ)
    assert (nothing.code, "exec wants a command" in nothing.stderr) == (2, True)


def test_for_ci_all_is_gone_afterwards_also_where_the_command_fails(environ: dict[str, str]) -> None:
    done = inv("exec", "--destroy", "--", "false", environ=environ)
    assert done.code == 1
    assert inv("env.status", environ=environ).code == 4
    assert "nothing to remove" in inv("env.destroy", "--confirm", "cruddur", environ=environ).stderr
