"""test and lint as commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from invoke import Exit

from tasks import dev
from tasks.localenv.machine.folders import TOOL
from tests.support.environments import inv

SIDE_BY_SIDE = ["-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal"]


def test_test_runs_pytest_at_the_root_and_hands_its_options_on(tmp_path: Path) -> None:
    done = inv("test", "--", "-n0", "tests/project/test_locks.py", environ={}, cwd=tmp_path)
    assert (done.code, done.stderr) == (0, "")
    assert "6 passed" in done.stdout.splitlines()[-1]


def test_only_selects_by_name(tmp_path: Path) -> None:
    done = inv("test", "--only", "hashes", "--", "-n0", "tests/project/test_locks.py", environ={}, cwd=tmp_path)
    assert "2 passed, 4 deselected" in done.stdout.splitlines()[-1]


def test_a_failing_test_ends_with_pytests_own_code(tmp_path: Path) -> None:
    failing = tmp_path / "test_no.py"
    failing.write_text("def test_no():\n    assert False\n")
    done = inv("test", "--", "-n0", str(failing), environ={}, cwd=tmp_path)
    assert (done.code, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("words", "workers"),
    [([], SIDE_BY_SIDE), (["-x"], SIDE_BY_SIDE), (["-n4"], []), (["--pdb"], []), (["-s"], [])],
)
def test_tests_run_side_by_side_unless_told_otherwise(words: list[str], workers: list[str]) -> None:
    assert dev._workers(words) == workers


def test_the_shell_scripts_are_found_by_their_first_line() -> None:
    assert {"inv", ".ci/run", ".ci/fresh-clone"} <= set(dev._scripts())


def test_without_the_developers_packages_the_way_to_them_is_named() -> None:
    with pytest.raises(Exit) as caught:
        dev._require("pytest", "no_such_module")
    assert (caught.value.code, caught.value.message) == (
        6,
        "no_such_module not installed: pip install -r requirements-dev.txt",
    )


def test_the_shell_scripts_are_clean() -> None:
    shellcheck = dev._program("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, *dev._scripts()], cwd=TOOL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_lint_neither_reads_settings_nor_waits_for_the_lock(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "CONNECTION_URL": "nonsense", "LOCALENV_STATE_DIR": str(tmp_path / "state")}
    command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "--dry", "lint"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "run   lint\n")
    assert not (tmp_path / "state").exists()
