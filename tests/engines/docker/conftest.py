"""These tests need a Docker engine with Compose v2, and skip where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.localenv.engines.docker.preflight import find_docker
from tasks.localenv.errors import LocalEnvError
from tests.engines.docker.shop import MakeShop, Shop, docker, make_shop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.get_closest_marker("docker")]
    reason = _why_not() if ours else ""
    for item in ours:
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"needs Docker: {reason}"))


def _why_not() -> str:
    try:
        find_docker()
    except LocalEnvError as error:
        return error.message
    return ""


@pytest.fixture
def new_shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeShop]:
    """Make checkouts with `new_shop(change)`; all that they made in the engine is removed afterwards."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-20:].strip("-")
    made: list[Shop] = []

    def make(*change: object) -> Shop:
        made.append(make_shop(tmp_path / f"{name}{len(made)}", *change))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for shop in made:
        for container in docker("ps", "--all", "--quiet", "--filter", shop.label).split():
            docker("rm", "--force", "--volumes", container)
        shop.services.destroy(print)


@pytest.fixture
def shop(new_shop: MakeShop) -> Shop:
    """A checkout of which nothing runs yet."""
    return new_shop()
