"""Data of Git branches as typed and by the hook: parked and brought back, over all stores, killed as well."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.dynamodb import schema
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tasks.localenv.snapshot import loaded
from tests.support.environments import environment, reachable
from tests.support.gitprojects import Project
from tests.support.seeded import quiet
from tests.support.snapshots import State, change, leftovers, look

KILLED_AT_SWAP = """
import os, sys
sys.path.insert(0, {root!r})
from tasks.localenv.postgres import aside
aside.replace_by = lambda *arguments, **more: os.kill(os.getpid(), 9)
from invoke.main import program
program.run()
"""
"""`inv` that dies when tables and pool have changed, and the database has not."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = reachable(tmp_path_factory.mktemp("branches"))
    environ = environment(folder / "state")
    del environ["LOCALENV_STATE_DIR"]  # .local, as everywhere: each worktree has its own
    made = Project.make(folder / "project", environ)
    made.inv("initial-setup")
    made.inv("snapshot.hook")
    yield made
    engines.destroy(made.settings, quiet)


@pytest.fixture
def project(shared: Project) -> Iterator[Project]:
    """The project on `main` with its seeds, and no other branch or data of one; nothing is left over at the end."""
    shared.git("checkout", "-q", "-f", "main")
    for name in ("feat", "other", "feat/login"):
        if shared.run("git", "rev-parse", "-q", "--verify", f"refs/heads/{name}").code == 0:
            shared.git("branch", "-q", "-D", name)
    for name in {str(each["name"]) for each in listed(shared)}:
        shared.inv("snapshot.delete", name, "--confirm", name)
    shared.inv("reset", "--yes")
    shared.inv("undo", "--keep", "0")
    yield shared
    assert leftovers(shared.settings) == []


def listed(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(project.inv("snapshot.list", "--format", "json").stdout)["data"]
    return found


def names(project: Project) -> set[str]:
    """The names of the handles, to tell one database from another."""
    with connect(project.settings.postgres, autocommit=True) as conn:
        return {name for (name,) in conn.execute("SELECT display_name FROM users").fetchall()}


def two_branches(project: Project) -> tuple[State, State]:
    """Make the branch `feat` with data of its own, be on it, and return the states of main and feat."""
    first = look(project.settings)
    project.git("checkout", "-b", "feat")
    return first, change(project.settings)


def test_a_checkout_parks_the_data_of_one_branch_and_brings_those_of_the_other(project: Project) -> None:
    first = look(project.settings)
    told = project.git("checkout", "-b", "feat").stderr
    assert told.splitlines()[1:] == [told.splitlines()[1]]
    assert told.endswith("data of feat, a copy to start with; that of main is kept\n")
    assert look(project.settings) == first
    second = change(project.settings)
    told = project.git("checkout", "main").stderr
    assert "data of main, as of " in told
    assert told.endswith(" ago; that of feat is kept\n")
    assert (len(told.splitlines()), look(project.settings)) == (2, first)
    project.git("checkout", "feat")
    assert look(project.settings) == second
    (parked,) = listed(project)
    assert (parked["name"], parked["kind"], parked["items"], parked["users"]) == ("main", "branch", 124, 6)


def test_a_switch_is_undone_and_redone(project: Project) -> None:
    first, second = two_branches(project)
    project.git("checkout", "main")
    for state, loaded_now in ((second, "feat"), (first, "main"), (second, "feat")):
        project.inv("undo")
        assert (look(project.settings), loaded.owner(project.settings)) == (state, loaded_now)


def test_undo_of_a_command_on_a_branch_comes_before_the_switch(project: Project) -> None:
    two_branches(project)
    before = look(project.settings)
    project.inv("db.reset")
    project.inv("undo", "--yes")
    assert (look(project.settings), loaded.owner(project.settings)) == (before, "feat")


def test_data_of_branches_stay_when_what_can_be_undone_is_removed(project: Project) -> None:
    first, second = two_branches(project)
    for _ in range(4):
        project.inv("db.reset")
    project.inv("undo", "--keep", "0")
    project.git("checkout", "main")
    assert (look(project.settings), first == second) == (first, False)


def test_commands_before_and_after_a_switch_on_one_line_keep_what_is_theirs(project: Project) -> None:
    project.inv("snapshot.switch", "feat", code=2)  # there is no such branch
    project.git("-c", "core.hooksPath=/dev/null", "branch", "feat")
    before = look(project.settings)
    rename(project, "main")
    project.inv("db.reset", "snapshot.switch", "feat", "ddb.drop", "--yes")
    rename(project, "feat")
    project.inv("snapshot.switch", "main")
    assert look(project.settings).tables == before.tables
    assert names(project) != {"main"}
    project.inv("snapshot.switch", "feat")
    assert (names(project), tables(project.settings)) == ({"feat"}, set())
    ids = [each["id"] for each in json.loads(project.inv("undo", "--list", "--format", "json").stdout)["data"]]
    assert len(ids) == 3  # the switch, db.reset and ddb.drop


def rename(project: Project, name: str) -> None:
    with connect(project.settings.postgres, autocommit=True) as conn:
        conn.execute("UPDATE users SET display_name = %s", (name,))


def kill_a_switch(project: Project, branch: str) -> None:
    code = KILLED_AT_SWAP.format(root=str(project.root))
    words = ["--search-root", str(project.root), "snapshot.switch", branch]
    killed = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=project.root, env=project.variables, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.mark.reliability("kills")
@pytest.mark.parametrize("words", [["snapshot.switch", "main"], ["snapshot.switch", "feat"], ["undo", "--yes"]])
def test_a_killed_switch_goes_on_or_back(project: Project, words: list[str]) -> None:
    first, second = two_branches(project)
    kill_a_switch(project, "main")
    assert "is under way or was cut short" in project.inv("db.sessions").stderr
    project.inv(*words)
    wanted = (first, "main") if words[-1] == "main" else (second, "feat")
    assert (look(project.settings), loaded.owner(project.settings)) == wanted
    project.inv("snapshot.switch", "feat" if wanted[1] == "main" else "main")
    assert look(project.settings) == (second if wanted[1] == "main" else first)


@pytest.mark.reliability("kills")
def test_after_a_killed_switch_a_third_branch_starts_with_what_was_there_before(project: Project) -> None:
    first, second = two_branches(project)
    project.git("-c", "core.hooksPath=/dev/null", "branch", "other")
    kill_a_switch(project, "main")
    project.inv("snapshot.switch", "other")
    assert look(project.settings) == second
    for name, state in (("main", first), ("feat", second)):
        project.inv("snapshot.switch", name)
        assert look(project.settings) == state


def test_a_switch_that_fails_leaves_every_store_as_it_is(project: Project) -> None:
    _, second = two_branches(project)
    (parked,) = loaded.parked(project.settings)
    assert parked.folder
    file = parked.folder / "pool.json"
    text = file.read_bytes()
    file.write_bytes(text[:-2])
    told = project.git("checkout", "main", code=0).stderr
    assert "pool.json has changed since it was saved" in told
    assert (look(project.settings), loaded.owner(project.settings)) == (second, "feat")
    file.write_bytes(text)


def test_what_is_no_checkout_of_a_branch_switches_nothing(project: Project) -> None:
    _, second = two_branches(project)
    (project.root / "note.txt").write_text("one\n")
    project.git("add", "note.txt")
    project.git("commit", "-q", "-m", "note")
    for words in (
        ["checkout", "--detach"],
        ["checkout", "main", "--", "README.md"],
        ["checkout", "feat"],
        ["rebase", "main"],
        ["bisect", "start", "feat", "main"],
        ["bisect", "reset"],
    ):
        told = project.git(*words).stderr
        assert "snapshot.switch" not in told
        assert loaded.owner(project.settings) == "feat"
    assert look(project.settings) == second


def test_the_hook_starts_nothing_and_works_from_a_subfolder(project: Project) -> None:
    first = look(project.settings)
    project.inv("env.down")
    told = project.git("checkout", "-b", "feat").stderr
    assert "snapshot.switch" not in told
    assert engines.is_down(project.settings)
    project.git("checkout", "main")
    project.inv("env.up")
    done = project.run("git", "checkout", "feat", cwd=project.root / "tasks")
    assert "data of feat, a copy to start with; that of main is kept" in done.stderr
    assert look(project.settings) == first


def test_data_of_a_deleted_branch_are_listed_and_removed(project: Project) -> None:
    project.git("checkout", "-b", "feat/login")
    project.git("checkout", "main")
    project.git("branch", "-D", "feat/login")
    shown = project.inv("snapshot.list").stdout
    assert "data of a branch that Git does not have any more" in shown
    assert (
        "removed the data of branch feat/login"
        in project.inv("snapshot.delete", "feat/login", "--confirm", "feat/login").stderr
    )
    assert listed(project) == []


def test_data_of_a_branch_under_another_engine_are_removed_there(project: Project) -> None:
    project.git("checkout", "-b", "feat")
    project.git("checkout", "main")
    (note,) = project.settings.state_dir.glob("undo/*/entry.json")
    written = note.read_text()
    note.write_text(written.replace('"embedded"', '"docker"'))
    refused = project.inv("snapshot.delete", "feat", "--confirm", "feat", code=2).stderr
    assert "the data of branch feat are those of the engine docker, and embedded runs now" in refused
    assert "inv snapshot.delete feat --confirm feat --engine docker" in refused
    assert note.exists()
    note.write_text(written)


def test_a_branch_names_a_snapshot(project: Project) -> None:
    project.git("checkout", "-b", "feat/login")
    project.inv("snapshot.save", "--branch")
    assert [each["name"] for each in listed(project) if each["kind"] == "snapshot"] == ["feat-login-d668f0"]
    saved = look(project.settings)
    rename(project, "changed")
    project.inv("snapshot.restore", "--branch", "--yes")
    assert look(project.settings) == saved
    assert "leave out one" in project.inv("snapshot.save", "one", "--branch", code=2).stderr


def test_a_snapshot_is_written_to_a_file_as_it_is(project: Project, tmp_path: Path) -> None:
    saved, file = look(project.settings), tmp_path / "kept.tar.gz"
    project.inv("snapshot.save", "kept")
    change(project.settings)
    now = look(project.settings)
    project.inv("snapshot.save", "kept", "--from-snapshot", "--file", str(file))
    assert look(project.settings) == now
    project.inv("snapshot.restore", "--file", str(file), "--yes")
    assert look(project.settings) == saved
    assert "--file" in project.inv("snapshot.save", "kept", "--from-snapshot", code=2).stderr


def test_a_snapshot_of_another_worktree_is_listed_and_restored(project: Project, tmp_path: Path) -> None:
    saved = look(project.settings)
    project.inv("snapshot.save", "kept")
    folder = project.root.with_name("beside")
    project.git("worktree", "add", "-b", "other", str(folder))
    folder.chmod(0o711)
    shared = {key: value for key, value in project.environ.items() if "://" not in value}
    there, here = (Project(root, {**shared, "LOCALENV_DOTENV": ".env"}) for root in (project.root, folder))
    for place, addresses in ((there, project.environ), (here, environment(tmp_path))):
        lines = [f"{key}={value}" for key, value in addresses.items() if "://" in value]
        (place.root / ".env").write_text("\n".join(lines) + "\n")
    try:
        assert not (folder / ".local").exists()  # its hook has run, and done nothing
        here.inv("initial-setup")
        (row,) = listed(here)
        assert (row["name"], row["worktree"]) == ("kept", str(project.root))
        change(here.settings)
        here.inv("snapshot.restore", "kept", "--worktree", "nosuch", "--yes", code=2)
        there.inv("env.down")
        here.inv("snapshot.restore", "kept", "--worktree", "main", "--yes")
        restored = look(here.settings)
        assert (restored.tables, restored.users, restored.postgres.rows) == (
            saved.tables,
            saved.users,
            saved.postgres.rows,
        )
        assert engines.is_down(there.settings)
    finally:
        engines.destroy(here.settings, quiet)
        (project.root / ".env").unlink()
        project.git("worktree", "remove", "--force", str(folder))
        project.inv("env.up")


def test_a_hook_of_the_users_is_kept_and_one_that_cannot_have_a_block_is_refused(project: Project) -> None:
    file = project.root / ".git/hooks/post-checkout"
    ours = file.read_text()
    try:
        file.write_text("#!/bin/sh\necho mine\n(exit 3)\n")
        project.inv("snapshot.hook")
        told = project.git("checkout", "-b", "feat", code=1).stderr  # as without the block
        assert "mine\n" in told
        assert "data of feat" in told
        assert "has the hook already" in project.inv("snapshot.hook").stderr
        project.inv("snapshot.hook", "--remove")
        assert file.read_text() == "#!/bin/sh\necho mine\n(exit 3)\n"
        for text in ("#!/usr/bin/env python3\nprint()\n", "#!/bin/sh\nexit 0\n"):
            file.write_text(text)
            assert "snapshot.switch --if-running" in project.inv("snapshot.hook", code=2).stderr
            assert file.read_text() == text
    finally:
        file.write_text(ours)
        file.chmod(0o755)
    assert os.access(file, os.X_OK)


def test_the_hook_goes_where_git_looks_for_it(project: Project) -> None:
    project.git("config", "core.hooksPath", ".githooks")
    try:
        project.inv("snapshot.hook")
        file = project.root / ".githooks/post-checkout"
        assert (os.access(file, os.X_OK), "--if-running" in file.read_text()) == (True, True)
        project.inv("snapshot.hook", "--remove")
        assert not file.exists()
    finally:
        project.git("config", "--unset", "core.hooksPath")


def tables(settings: Settings) -> set[str]:
    return set(schema.fetch_names(connect_dynamodb(settings)))


def test_a_plan_names_what_a_switch_would_replace(project: Project) -> None:
    two_branches(project)
    told = project.inv("snapshot.switch", "main", "--plan").stdout
    assert "table cruddur-messages-more: remove it, there was none" in told
    assert tables(project.settings) == {"cruddur-messages", "cruddur-messages-more"}
    project.inv("snapshot.switch", "main")
    assert tables(project.settings) == {"cruddur-messages"}
