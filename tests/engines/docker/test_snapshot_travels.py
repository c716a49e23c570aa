"""Snapshots beside containers: by clone, and by a file that goes from one engine to the other and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.snapshot.entries import Entries
from tests.support.environments import environment, inv, permitted, reachable
from tests.support.seeded import quiet
from tests.support.snapshots import change, leftovers, look

Town = tuple[dict[str, str], Settings]


@pytest.fixture
def towns(tmp_path: Path) -> Iterator[dict[str, Town]]:
    """An environment of each engine, set up; gone afterwards."""
    made: dict[str, Town] = {}
    for name in ("docker", "embedded"):
        environ = {**environment(reachable(tmp_path) / name), "LOCALENV_ENGINE": name}
        made[name] = environ, permitted(read_settings(environ=environ))
    yield made
    for _, settings in made.values():
        engines.destroy(settings, quiet)


def done(town: Town, *words: str) -> str:
    finished = inv(*words, environ=town[0])
    assert finished.code == 0, finished.stderr
    return finished.stderr


@pytest.mark.docker
def test_a_snapshot_comes_back_under_docker_and_goes_to_the_other_engine_and_back(
    towns: dict[str, Town], tmp_path: Path
) -> None:
    docker, embedded = towns["docker"], towns["embedded"]
    done(docker, "initial-setup")
    saved = look(docker[1])
    done(docker, "snapshot.save", "a")
    done(docker, "snapshot.save", "a", "--file", str(tmp_path / "docker.tar.gz"))
    changed = change(docker[1])
    assert changed.postgres != saved.postgres and changed.tables != saved.tables and changed.users != saved.users
    done(docker, "snapshot.restore", "a", "--yes")
    assert (look(docker[1]), leftovers(docker[1])) == (saved, [])

    done(embedded, "env.up")
    done(embedded, "snapshot.restore", "a", "--yes", "--file", str(tmp_path / "docker.tar.gz"))
    there = look(embedded[1])
    assert (there.tables, there.users, there.postgres.rows) == (saved.tables, saved.users, saved.postgres.rows)
    assert "unchanged" in done(embedded, "initial-setup")

    done(embedded, "snapshot.save", "b", "--file", str(tmp_path / "embedded.tar.gz"))
    told = done(docker, "snapshot.restore", "b", "--yes", "--file", str(tmp_path / "embedded.tar.gz"))
    assert "6 users, 6 pool users and 124 items agree" in told
    assert look(docker[1]).tables == saved.tables
    newest = Entries(docker[1]).all()[0].entry
    done(docker, "env.down")
    other = inv("undo", newest.id, "--engine", "embedded", environ=docker[0])
    assert "ran under the engine docker, and embedded runs now" in other.stderr
    assert f"`inv undo {newest.id} --engine docker`" in other.stderr
    done(docker, "env.down", "--engine", "embedded")
    done(docker, "undo", newest.id, "--engine", "docker")
    assert (look(docker[1]), leftovers(docker[1])) == (saved, [])
