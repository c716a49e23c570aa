"""Completion in the real shells, and what a Tab may not do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import _complete, ns
from tasks._graph import Step
from tasks._lists import completions
from tasks.localenv.machine.folders import TOOL
from tests.support.environments import PATIENCE_S, wait_until

BASH = """
eval "$(inv completion bash)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_localenv_inv
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; autoload -Uz compinit; compinit -u -D; eval "$(inv completion zsh)"; echo REA""DY'
zpty -r -m z ready '*READY*'
zpty -w -n z $'inv db.new-mi\\t'
zpty -r -m z out '*db.new-migration*' && print -r -- found
"""


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Variables with which `inv` is the one of this checkout, with a cache of its own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "inv").symlink_to(TOOL / "inv")
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TERM": "dumb",
        "LOCALENV_STATE_DIR": str(tmp_path / "state"),
    }


def run(shell: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=shell, cwd=TOOL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["inv", "db.re"], ["db.reset"]),
        (["./inv", "db.new-"], ["db.new-migration"]),
        ([str(TOOL / "inv"), "why", "andrew"], ["andrewbrown"]),
        (["inv", "ddb.scan", "cruddur"], ["cruddur-messages"]),
        (["inv", "env.up", "--engine", "=", "d"], ["docker"]),
        (["inv", "db.drop", "--f"], ["--force", "--format"]),
        (["inv", "db.drop", "--t"], [""]),
        (["inv", "exec", "--", "pyt"], [""]),
        (["inv", "--help", "cognito.tok"], ["cognito.token"]),
    ],
)
def test_bash_completes_as_the_tool_is_called(shell: dict[str, str], words: list[str], wanted: list[str]) -> None:
    assert run(shell, "bash", "-c", BASH, "bash", *words).splitlines() == wanted


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes(shell: dict[str, str]) -> None:
    assert run(shell, "zsh", "-f", "-c", ZSH).strip().endswith("found")


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_with_what_each_is_about(shell: dict[str, str]) -> None:
    script = 'inv completion fish | source; complete -C "inv db.res"; complete -C "./inv cognito.token lon"'
    wanted = ["db.reset\tPut the contents back to schema and seeds.", "londo\tLondo Mollari"]
    assert run(shell, "fish", "--no-config", "-c", script).splitlines() == wanted


def test_a_tab_without_a_list_says_nothing_and_has_it_made(shell: dict[str, str], tmp_path: Path) -> None:
    assert run(shell, "inv", "__complete", "db.res") == ""
    wait_until(lambda: any(tmp_path.glob("cache/localenv/completion/*.json")))
    assert run(shell, "inv", "__complete", "db.res").startswith("db.reset\t")
    assert not (tmp_path / "state").exists()


def test_a_list_that_is_older_than_the_tasks_is_used_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ddb").mkdir()
    before = _complete.stamp(str(tmp_path), str(tmp_path))
    (tmp_path / "ddb" / "table.json").write_text("{}")
    assert _complete.stamp(str(tmp_path), str(tmp_path)) != before
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = Path(_complete.cache_file(str(tmp_path)))
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"stamp": before}))
    assert _complete.read(str(tmp_path), str(tmp_path)) == ({"stamp": before}, False)
    place.write_text("{")
    assert _complete.read(str(tmp_path), str(tmp_path)) == (None, False)


def test_a_tab_loads_neither_invoke_nor_the_tasks() -> None:
    def loaded(code: str) -> int:
        ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True)
        return int(ran.stdout)

    tab = f"import sys; sys.path.insert(0, {str(TOOL / 'tasks')!r}); import _complete; print(len(sys.modules))"
    assert loaded(tab) - loaded("import sys, os, zlib; print(len(sys.modules))") <= 3


def test_each_task_has_an_example_and_each_word_a_source() -> None:
    steps = {name: ns[name] for name in ns.task_names if isinstance(ns[name], Step)}
    assert [name for name, step in steps.items() if "inv " not in step.example] == []
    words = {name: each["word"] for name, each in completions()["tasks"].items() if each["word"]}
    sourceless = {"db.new-migration", "db.query", "ddb.query", "ddb.send-message"}  # a text of one's own
    assert {name for name, word in words.items() if not word["values"]} == sourceless
