"""initial-setup --hook with containers: what a restarted workspace has lost of them comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.settings import read_settings
from tests.engines.docker.shop import docker
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.support.seeded import quiet

pytestmark = pytest.mark.docker


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of an environment that does not exist yet, and is gone afterwards."""
    variables = {**environment(reachable(tmp_path) / "state"), "LOCALENV_ENGINE": "auto"}
    yield variables
    settings = permitted(read_settings(environ=variables))
    engines.down(settings, quiet)  # the one that was kept last
    engines.destroy(settings, quiet)


def hook(environ: dict[str, str], **more: str) -> tuple[Finished, set[str]]:
    """Run the hook; give what it did besides looking."""
    done = inv("initial-setup", "--hook", environ={**environ, **more})
    assert done.code == 0, done.stderr
    return done, set(re.findall(r"^ok +([\w.-]+)", done.stderr, re.MULTILINE)) - {"check", "initial-setup"}


def lose(project: str, service: str, volume: str) -> None:
    """Remove a container and its volume, as a workspace does that keeps its folder alone."""
    docker("rm", "--force", f"{project}-{service}-1")
    docker("volume", "rm", f"{project}_{volume}")


def test_after_a_restart_containers_and_volumes_come_back_and_without_docker_it_goes_on_embedded(
    environ: dict[str, str],
) -> None:
    project = permitted(read_settings(environ=environ)).project_id
    done, _ = hook(environ)
    assert " (docker): postgres 127.0.0.1:" in done.stdout, done.stderr
    docker("stop", f"{project}-dynamodb-local-1")
    lose(project, "db", "db")
    done, did = hook(environ)
    assert did == {"env.up", "db.setup", "cognito.sync-ids"}, done.stderr
    lose(project, "dynamodb-local", "dynamodb")
    done, did = hook(environ)
    assert did == {"env.up", "ddb.schema-load", "ddb.seed"}, done.stderr
    docker("stop", f"{project}-db-1", f"{project}-dynamodb-local-1")
    gone = {"DOCKER_HOST": "unix:///nonexistent/docker.sock", "LOCALENV_HOOK_WAIT_S": "1"}
    done, did = hook(environ, **gone)
    assert " (embedded, no Docker engine answered within 1 s): postgres 127.0.0.1:" in done.stdout, done.stderr
    assert {"env.up", "db.setup", "ddb.seed"} <= did
