"""Orders of commands against the model: for `--model-seconds`, from `--model-seed` on; and the model by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import orders
from tests.support.machine import ROOT, namespace
from tests.support.orders import COMMANDS, KEPT, SET_UP, Command, Database, Entry, Table, World
from tests.support.reliability import Count

GRACE_S = 400
"""For the last step of a run, and for what comes before the first one, on a machine that is busy."""


def command(line: str) -> Command:
    return next(one for one in COMMANDS if one.line.startswith(line))


def after(world: World, *lines: str) -> World:
    for number, line in enumerate(lines):
        world = command(line).effect(world, f"text {number}")[0][0]
    return world


@pytest.mark.reliability("orders")
@pytest.mark.timeout(24 * 3600)
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system shows no processes under /proc")
def test_any_order_of_commands_kills_and_pauses_leaves_what_the_model_says(
    request: pytest.FixtureRequest, trials: Count
) -> None:
    seconds, seed = request.config.getoption("--model-seconds"), request.config.getoption("--model-seed")
    words = [
        *namespace(),
        sys.executable,
        "-m",
        "tests.support.machine",
        "--seconds",
        str(seconds),
        "--seed",
        str(seed),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)
    print(done.stdout)
    assert done.returncode == 0, f"--model-seed {seed}\n{done.stdout}\n{done.stderr}"
    trials(int(re.findall(r"^(\d+) steps$", done.stdout, re.MULTILINE)[0]))


def test_an_edited_schema_is_kept_until_setup_is_typed_and_undo_goes_back() -> None:
    edited = replace(SET_UP, files=1)
    assert {code for _, code in command("initial-setup").effect(edited, "")} == {3}
    built = after(edited, "db.setup")
    assert (built.database, built.undo) == (Database(1), (Entry((("database", SET_UP.database),)),))
    back = after(built, "undo")
    assert (back.database, back.undo) == (SET_UP.database, (Entry((("database", Database(1)),)),))
    assert after(back, "undo") == built


def test_a_restore_brings_back_all_and_keeps_what_was_there() -> None:
    world = after(SET_UP, "ddb.send-message", "snapshot.save a", "db.drop", "snapshot.restore a")
    assert (world.table, world.database) == (Table(seeded=True, messages=frozenset({"text 0"})), SET_UP.database)
    assert dict(world.undo[0].parts)["database"] is None
    assert after(world, "undo").database is None


def test_undo_brings_back_only_what_its_command_replaced_and_the_oldest_goes() -> None:
    world = after(SET_UP, "ddb.drop", "ddb.send-message", "undo")
    assert (world.table, world.undo[0].parts) == (SET_UP.table, (("table", Table(messages=frozenset({"text 1"}))),))
    assert len(after(SET_UP, *["db.reset"] * 5).undo) == KEPT
    assert after(SET_UP, "env.destroy", "db.drop").undo == ()


def test_a_pool_made_anew_is_another_one() -> None:
    world = after(SET_UP, "snapshot.save a", "env.destroy", "initial-setup")
    assert world.check_code == 0
    assert after(replace(SET_UP, pool=0), "cognito.sync-ids").pool == 2


def test_a_killed_command_leaves_its_parts_as_before_or_after() -> None:
    killed = orders.cut_short({SET_UP}, command("reset"), "")
    assert {world.up for world in killed} == {False, True}
    again = orders.run(killed, command("reset"), "", 0)
    assert {replace(world, undo=()) for world in again} == {replace(after(SET_UP, "reset"), undo=())}
    assert {orders.undo(world, "")[0][0].database for world in again} >= {SET_UP.database}


def test_two_at_once_may_come_in_either_order() -> None:
    both = orders.at_once({SET_UP}, command("env.down"), command("db.drop"), (0, 0))
    assert {world.up for world in both} == {False, True}
    assert {world.database for world in both} == {None}
