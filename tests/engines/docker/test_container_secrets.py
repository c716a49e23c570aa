"""No secret goes out with the engine docker either, whether it works or fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.environments import environment, inv
from tests.trials.test_secrets import CLOSED, PASSWORD, PLANTED, leaking_files, leaks, watched

pytestmark = pytest.mark.docker


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    given = {**environment(tmp_path / "state"), **PLANTED, "LOCALENV_ENGINE": "docker"}
    port = given["CONNECTION_URL"].rpartition(":")[2].partition("/")[0]
    given["CONNECTION_URL"] = CLOSED.format(quote(PASSWORD, safe=""), port)
    yield given
    inv("env.destroy", "--confirm", "cruddur", environ=given)


def test_no_secret_is_shown_or_kept(environ: dict[str, str], tmp_path: Path) -> None:
    wrong = CLOSED.format(quote(f"wrong {PASSWORD}", safe=""), environ["CONNECTION_URL"].rpartition(":")[2][:-8])
    for words, changed in (
        (["initial-setup"], {}),
        (["snapshot.save", "one"], {}),
        (["env.logs"], {}),
        (["doctor"], {}),
        (["db.query", "select 1 / 0", "--format", "json"], {}),
        (["db.query", "select 1", "--format", "json"], {"CONNECTION_URL": wrong}),
        (["env.up"], {"DOCKER_HOST": "tcp://Kq7Vx:Zw9Rt@127.0.0.1:1"}),
    ):
        seen = watched(*words, environ={**environ, **changed})
        assert (words, leaks(seen.text), leaks("\n".join(seen.processes))) == (words, [], [])
    assert leaking_files(tmp_path) == []
