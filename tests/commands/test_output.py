"""Where output cannot go: closed streams and full disks stop no work, and a lost result is said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.localenv.machine.folders import TOOL
from tests.conftest import Cli
from tests.support.environments import PATIENCE_S

INV = f"'{sys.executable}' -m invoke --search-root '{TOOL}'"
Shell = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def shell(live_environment: dict[str, str]) -> Shell:
    """Run a line of a shell, in which `inv` stands for the command."""

    def run(line: str) -> tuple[int, str, str]:
        command = ["sh", "-c", line.replace("inv", INV, 1)]
        done = subprocess.run(
            command, env=live_environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_stops_no_work_and_a_lost_result_is_said(shell: Shell) -> None:
    code, stdout, _ = shell("inv env.export 2>/dev/full")
    assert (code, "export CONNECTION_URL=" in stdout) == (0, True)
    assert shell("inv env.up 2>/dev/full") == (0, "", "")
    code, _, stderr = shell("inv env.export >/dev/full")
    assert (code, stderr.splitlines()[0]) == (6, "FAIL  env.export  stdout cannot be written: no space left on device")


def test_a_closed_stream_stops_no_work_and_is_not_mixed_up_with_the_other(shell: Shell) -> None:
    code, stdout, _ = shell("inv env.export 2>&-")
    assert (code, "export CONNECTION_URL=" in stdout) == (0, True)
    assert shell("inv env.up 2>&-") == (0, "", "")
    assert shell("inv env.export >&-") == (0, "", "")


def test_a_wrong_number_is_a_usage_error(cli: Cli) -> None:
    done = cli("env.logs", "--lines", "many")
    assert (done.code, done.stdout, done.stderr) == (
        2,
        "",
        "FAIL  inv  --lines: 'many' is not a whole number\n",
    )
    assert [line for line in cli("env.logs", "-n", "0").stdout.splitlines() if line and line[:3] != "---"] == [
        "(nothing)"
    ] * 3
