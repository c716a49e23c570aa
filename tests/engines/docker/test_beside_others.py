"""Containers beside those of other checkouts: their logs as they are written, and what is left of a gone checkout."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.engines.service import Source
from tasks.localenv.environment.neighbours import list_neighbours
from tests.engines.docker.shop import Shop, docker
from tests.support.environments import PATIENCE_S

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def _own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_containers_log_is_followed_across_restarts_and_new_containers(shop: Shop) -> None:
    (source,) = shop.services.sources(["postgres"], 1)
    found = [line.text for line in source.read()]
    assert found == ["does not run"]
    read = eager(source)
    shop.up()
    assert "database system is ready to accept connections" in read("ready to accept connections")
    container = shop.container()
    docker("restart", "--time", "5", container)
    assert "database system is shut down\nended" in read("ended", "runs", "starting PostgreSQL", "ready to accept")
    docker("rm", "--force", container)
    assert "\nended" in "\n" + read("ended")
    shop.up()
    assert read("runs", "ready to accept connections").startswith("runs\n")


def eager(source: Source) -> Callable[..., str]:
    """Read from a source until all of the words have come, in this order."""

    def read(*words: str) -> str:
        found: list[str] = []
        end = time.monotonic() + PATIENCE_S
        while not re.search(".*".join(words), "\n".join(found), re.DOTALL):
            assert time.monotonic() < end, "\n".join(found)
            found += [line.text for line in source.read()]
            time.sleep(0.05)
        return "\n".join(found)

    return read


def test_what_docker_has_of_a_gone_checkout_is_listed_with_the_command_that_removes_it(shop: Shop) -> None:
    shop.up()
    shop.settings.root.rename(shop.settings.root.with_name("moved"))
    (row,) = [row for row in list_neighbours(shop.settings) if row.project_id == shop.settings.project_id]
    shop.settings.root.with_name("moved").rename(shop.settings.root)
    assert (row.path, row.exists, row.engine, row.state) == (str(shop.settings.root), False, "docker", "running")
    assert row.remove == f"docker compose -p {row.project_id} down --volumes" and row.size_bytes > 0


def test_volumes_alone_are_not_mixed_up_with_the_folder_one_stands_in(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.up()
    docker("compose", "-p", shop.settings.project_id, "down")
    (tmp_path / ".local" / "postgres").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    elsewhere = replace(shop.settings, root=tmp_path, state_dir=tmp_path / ".local", project_id="another-000000")
    (row,) = [row for row in list_neighbours(elsewhere) if row.project_id == shop.settings.project_id]
    assert (row.path, row.exists, row.engine, row.state) == ("", False, "docker", "stopped")
    assert row.remove == f"docker compose -p {row.project_id} down --volumes"
