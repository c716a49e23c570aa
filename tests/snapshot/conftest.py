"""An environment for these tests alone: a snapshot is of all tables and pools, and others leave theirs in `live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import environment, permitted, reachable, running


@pytest.fixture(scope="session")
def live_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    environ = environment(reachable(tmp_path_factory.mktemp("snapshots")) / "state")
    with running(environ):
        yield environ


@pytest.fixture(scope="session")
def live(live_environment: dict[str, str]) -> Settings:
    return permitted(read_settings(environ=live_environment))
