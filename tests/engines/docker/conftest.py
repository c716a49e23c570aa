"""These tests need a Docker engine with Compose v2, and skip where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.docker.shop import MakeShop, Shop, docker, make_shop


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
