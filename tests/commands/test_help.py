"""What --help, --list, --version and --graph show, and which words are understood."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tasks import ns
from tasks._graph import Step
from tests.support.script import script

STEPS = {name: ns[name] for name in ns.task_names if isinstance(ns[name], Step)}


def test_version_and_help_speak_of_this_tool(tmp_path: Path) -> None:
    assert re.fullmatch(r"localenv \d+\.\d+\.\d+ \(Invoke 3\.[\d.]+\)\n", script("--version", home=tmp_path).stdout)
    shown = script("--help", home=tmp_path).stdout
    assert "inv[oke]" not in shown and "--prompt-for-sudo-password" not in shown and "the whole environment" in shown
    assert "--prompt-for-sudo-password" in script("--help-all", home=tmp_path).stdout


def test_the_list_is_grouped_and_fits(tmp_path: Path) -> None:
    shown = script(home=tmp_path, COLUMNS="80").stdout
    assert [line for line in shown.splitlines() if line and not line.startswith(" ")] == [
        "the whole environment", "cognito", "db", "ddb", "env", "rds", "snapshot",
    ]  # fmt: skip
    assert max(map(len, shown.splitlines())) <= 80
    narrow = script("--list", home=tmp_path, COLUMNS="20").stdout
    assert max(map(len, narrow.splitlines())) <= 28
    assert "db.setup" not in script("--list", "ddb", home=tmp_path).stdout


@pytest.mark.parametrize("name", ["db.reset", "undo", "why", "env.destroy", "lint", "test"])
def test_help_of_a_task_says_what_it_needs_and_does(name: str, tmp_path: Path) -> None:
    shown = script("--help", name, home=tmp_path).stdout
    assert f"inv {name}" in shown.splitlines()[0]
    if name in STEPS:
        assert re.search(r"^  example +\S", shown, re.MULTILINE)
        assert re.search(r"^  needs +\S", shown, re.MULTILINE) and re.search(r"^  exit codes +0 ", shown, re.MULTILINE)
    assert script(name, "--help", home=tmp_path).stdout == shown


def test_options_that_make_no_difference_are_not_offered(tmp_path: Path) -> None:
    def shown(name: str) -> str:
        return script("--help", name, home=tmp_path).stdout

    assert "--target" not in shown("db.drop") and "--force" not in shown("status")
    assert "--target" in shown("db.query") and "--force" in shown("db.setup")


def test_the_graph_is_shown_and_nothing_runs(tmp_path: Path) -> None:
    shown = script("initial-setup", "--graph", home=tmp_path).stdout.splitlines()
    assert shown[0] == "env.up" and shown[-1].startswith("initial-setup  ")
    graph = json.loads(script("db.reset", "--graph", "--format", "json", home=tmp_path).stdout)["data"]["graph"]
    assert graph[-1] == {"step": "db.reset", "waitsFor": ["db.create"]}
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["db"], "hint  it has db.create, db.drop"),
        (["db", "setup"], "inv db.setup`?"),
        (["ddb.lst"], "inv ddb.list-tables`"),
        (["dbsetup"], "inv db.setup`?"),
        (["db.seed", "-f", "more.sql"], "did you mean --file or --force or --format?"),
        (["db.reset", "-c", "x"], "there is no option -c"),
    ],
)
def test_what_is_mistyped_is_told_with_the_nearest(words: list[str], said: str, tmp_path: Path) -> None:
    done = script(*words, home=tmp_path)
    assert (done.code, said in done.stderr) == (2, True), done.stderr
