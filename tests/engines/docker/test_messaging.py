"""Senders, the stream's function, seeds and check beside each other, on Amazon's own DynamoDB Local."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.settings import Settings, read_settings
from tests.app.test_at_once import made, prove_that_nothing_is_lost
from tests.conftest import JAR
from tests.support.environments import environment, permitted, reachable
from tests.support.seeded import quiet


@pytest.fixture(
    params=[
        pytest.param({"LOCALENV_ENGINE": "docker"}, id="docker", marks=pytest.mark.docker),
        pytest.param({"DYNAMODB_LOCAL_JAR": JAR}, id="DynamoDB Local", marks=pytest.mark.jar),
    ]
)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of an engine with services of its own; they are gone afterwards."""
    found = permitted(read_settings(environ={**environment(reachable(tmp_path) / "state"), **request.param}))
    engines.up(found, quiet)
    yield found
    engines.destroy(found, quiet)


def test_nothing_is_lost_and_no_alarm_is_false(settings: Settings) -> None:
    prove_that_nothing_is_lost(made(settings))
