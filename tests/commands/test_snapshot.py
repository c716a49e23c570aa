"""The snapshot commands as typed, and killed in the middle: the same command again, and everything is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.dynamodb.copies import Items
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.snapshot import listing
from tasks.localenv.snapshot.entries import Entries
from tasks.localenv.snapshot.shelf import Shelf
from tests.support.environments import KEPT, PATIENCE_S, Finished, environment, inv, permitted, reachable, wait_until
from tests.support.seeded import quiet
from tests.support.snapshots import State, change, leftovers, look

Town = dict[str, str]
KILLED_AT_SWAP = f"""
import os, sys
sys.path.insert(0, {str(TOOL)!r})
from tasks.localenv.postgres import aside
aside.replace_by = lambda *arguments, **more: os.kill(os.getpid(), 9)
from invoke.main import program
program.run()
"""
"""`inv` that dies when tables and pool have changed, and the database has not."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The variables of an environment that is set up, and may be changed."""
    environ = environment(reachable(tmp_path_factory.mktemp("town")) / "state")
    done = inv("initial-setup", environ=environ)
    assert done.code == 0, done.stderr
    yield environ
    engines.destroy(read_settings(environ=environ), quiet)


@pytest.fixture(scope="module")
def states(town: Town) -> tuple[State, State]:
    """Two states, which the snapshots `a` and `b` hold."""
    settings = permitted(read_settings(environ=town))
    first = look(settings)
    assert inv("snapshot.save", "a", environ=town).code == 0
    second = change(settings)
    assert inv("snapshot.save", "b", environ=town).code == 0
    return first, second


def restore(town: Town, name: str, *words: str) -> Finished:
    return inv("snapshot.restore", name, "--yes", *words, environ=town)


def words_of(name: str) -> list[str]:
    return ["--search-root", str(TOOL), "snapshot.restore", name, "--yes"]


def variables_of(town: Town) -> dict[str, str]:
    return {**{key: os.environ[key] for key in KEPT if key in os.environ}, **town}


def kill_a_restore(town: Town, settings: Settings, name: str, when: Callable[[Path], bool], then_s: float) -> None:
    """Start a restore, and kill it `then_s` after `when` holds for the folder of the snapshots."""
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", *words_of(name)],
        env=variables_of(town),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: when(Shelf(settings).folder) or process.poll() is not None)
    time.sleep(then_s)  # not a wait for anything: the moment of the kill
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)


def is_open(settings: Settings) -> bool:
    return any(each.is_open for each in Entries(settings).all())


def begun(folder: Path) -> bool:
    return any((folder.parent / "undo").glob("*.open/pool.json"))


def preparing(folder: Path) -> bool:
    return any((folder.parent / "undo").glob("*.open"))


@pytest.mark.parametrize(("when", "then_s"), [(preparing, 0.01), (begun, 0.0), (begun, 0.01), (begun, 0.04)])
@pytest.mark.reliability("kills")
def test_a_killed_restore_is_completed_by_the_same_command(
    town: Town, states: tuple[State, State], when: Callable[[Path], bool], then_s: float
) -> None:
    settings = permitted(read_settings(environ=town))
    restore(town, "b")
    kill_a_restore(town, settings, "a", when, then_s)
    told = inv("db.sessions", environ=town).stderr
    assert ("`inv snapshot.restore a --yes` is under way or was cut short" in told) == is_open(settings)
    done = restore(town, "a")
    assert (done.code, look(settings)) == (0, states[0])
    assert (leftovers(settings), Entries(settings).has_open) == ([], False)


@pytest.mark.reliability("kills")
def test_a_killed_restore_is_taken_back_by_undo(town: Town, states: tuple[State, State]) -> None:
    settings = permitted(read_settings(environ=town))
    restore(town, "b")
    killed = subprocess.run([sys.executable, "-c", KILLED_AT_SWAP, *words_of("a")], env=variables_of(town), check=False)
    assert (killed.returncode, is_open(settings)) == (-signal.SIGKILL, True)
    assert "what has changed since is not known" in inv("undo", environ=town).stderr
    done = inv("undo", "--yes", environ=town)
    assert (done.code, look(settings)) == (0, states[1])
    assert (leftovers(settings), Entries(settings).has_open) == ([], False)


def test_a_restore_shows_what_it_replaces_and_needs_a_yes(town: Town, states: tuple[State, State]) -> None:
    asked = inv("snapshot.restore", "a", environ=town)
    assert asked.code == 3
    assert "will replace database cruddur" in asked.stderr
    assert "`inv snapshot.restore --name a --yes`" in asked.stderr
    planned = inv("snapshot.restore", "a", "--plan", environ=town)
    assert planned.code == 0
    assert "replace the emulated pool by 6 users" in planned.stdout


def test_a_restore_ends_with_the_check(town: Town, states: tuple[State, State]) -> None:
    done = restore(town, "b")  # without one pool user, and one item
    assert (done.code, look(permitted(read_settings(environ=town)))) == (1, states[1])
    assert "restored as it was saved, but" in done.stderr
    done = restore(town, "a")
    assert done.code == 0
    assert "6 users, 6 pool users and 124 items agree, as in snapshot a" in done.stderr


def test_the_list_is_text_or_json(town: Town, states: tuple[State, State]) -> None:
    shown = inv("snapshot.list", environ=town).stdout.splitlines()
    assert shown[0].split() == ["NAME", "MADE", "ENGINE", "COMMIT", "ROWS", "ITEMS", "USERS", "SIZE"]
    data = json.loads(inv("snapshot.list", "--format", "json", environ=town).stdout)["data"]
    rows = {row["name"]: (row["state"], row["engine"], row["rows"], row["items"], row["users"]) for row in data}
    assert rows["a"] == ("ok", "embedded", 25, 124, 6)
    assert rows["b"] == ("ok", "embedded", 25, 123, 5)


def test_a_name_is_replaced_only_after_a_yes_and_deleted_after_another(town: Town) -> None:
    assert inv("snapshot.save", "c", environ=town).code == 0
    again = inv("snapshot.save", "c", environ=town)
    assert (again.code, "will replace snapshot c, made" in again.stderr) == (3, True)
    assert inv("snapshot.save", "c", "--yes", environ=town).code == 0
    refused = inv("snapshot.delete", "c", environ=town)
    assert (refused.code, "will remove snapshot c, made" in refused.stderr) == (3, True)
    assert inv("snapshot.delete", "c", "--confirm", "c", environ=town).code == 0
    gone = inv("snapshot.delete", "c", "--confirm", "c", environ=town)
    assert (gone.code, "there is no snapshot 'c'" in gone.stderr) == (2, True)


def test_a_file_is_replaced_only_after_a_yes_and_knows_its_name(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "my snapshots.tar"
    file.write_text("my thesis")
    asked = inv("snapshot.save", "c", "--file", str(file), environ=town)
    assert (asked.code, file.read_text()) == (3, "my thesis")
    assert f"will replace {file}, which is not a snapshot that can be read" in asked.stderr
    assert inv("snapshot.save", "c", "--yes", "--file", str(file), environ=town).code == 0
    planned = inv("snapshot.restore", "--plan", "--file", str(file), environ=town)
    assert (planned.code, f"run the SQL in {file}" in planned.stdout) == (0, True)
    other = inv("snapshot.restore", "d", "--file", str(file), environ=town)
    assert (other.code, f"run `inv snapshot.restore c --file '{file}'`" in other.stderr) == (2, True)


def without_marker(state: State) -> tuple[int, dict[str, Items], list[tuple[str, str, str]]]:
    """Leave out what the project's name goes into: the hash of the rows, of which one is the database's marker."""
    return state.postgres.rows, state.tables, state.users


def test_a_moved_folder_keeps_its_data_users_and_snapshots(town: Town, states: tuple[State, State]) -> None:
    restore(town, "a")
    here = Path(town["LOCALENV_STATE_DIR"])
    moved = {**town, "LOCALENV_STATE_DIR": str(here.with_name("moved"))}
    assert inv("env.down", environ=town).code == 0
    here.rename(moved["LOCALENV_STATE_DIR"])
    try:
        done = inv("initial-setup", environ=moved)
        assert (done.code, "which came with the folder" in done.stderr) == (0, True), done.stderr
        settings = permitted(read_settings(environ=moved))
        assert without_marker(look(settings)) == without_marker(states[0])
        assert [each.state for each in listing.find(settings) if each.name in "ab"] == ["", ""]
        restore(moved, "b")
        assert (without_marker(look(settings)), leftovers(settings)) == (without_marker(states[1]), [])
    finally:
        assert inv("env.down", environ=moved).code == 0
        Path(moved["LOCALENV_STATE_DIR"]).rename(here)
        assert inv("env.up", environ=town).code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("save", "a/b"), 2, "'a/b' is not a name for a snapshot"),
        (("save",), 2, "put it after the command: `inv snapshot.save seeded`"),
        (("restore", "check"), 2, "there is no snapshot 'check'"),
        (("save", "x", "--file", "x.zip"), 2, "end it in .tar.gz"),
        (("save", "x", "--file", "/nowhere/x.tar.gz"), 2, "/nowhere: no such folder"),
        (("restore", "x", "--file", "/nowhere/x.tar.gz"), 2, "/nowhere/x.tar.gz: no such file"),
        (("restore", "x"), 2, "there is no snapshot 'x'"),
        (("restore", "x", "--target", "prod"), 2, "snapshot.restore does not exist for --target prod"),
    ],
)
def test_what_cannot_be_is_said(town: Town, words: tuple[str, ...], code: int, message: str) -> None:
    done = inv(f"snapshot.{words[0]}", *words[1:], environ=town)
    assert (done.code, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
