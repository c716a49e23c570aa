"""Programs that do not start: each cause is told, and none is a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.localenv.errors import PreflightFailed, TimedOut
from tasks.localenv.machine import shell


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(PreflightFailed, match=r"^no-such-program is not installed$"):
        shell.run(["no-such-program"])


def test_a_folder_that_is_missing_is_not_taken_for_the_program(tmp_path: Path) -> None:
    with pytest.raises(PreflightFailed, match=rf"^folder {tmp_path / 'gone'} does not exist$"):
        shell.run([sys.executable, "-V"], cwd=tmp_path / "gone")


@pytest.mark.parametrize("door", ["run", "spawn", "follow", "attach"])
def test_a_file_that_is_no_program_is_told(tmp_path: Path, door: str) -> None:
    program = tmp_path / "program"
    program.write_text("")
    program.chmod(0o600)
    doors: dict[str, Callable[[], object]] = {
        "run": lambda: shell.run([program]),
        "spawn": lambda: shell.spawn([program], log=tmp_path / "log"),
        "follow": lambda: shell.follow([program], on_line=print),
        "attach": lambda: shell.attach([program]),
    }
    with pytest.raises(PreflightFailed, match=rf"^{program} cannot be started: "):
        doors[door]()


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(TimedOut, match=r"did not end within 0 s$"):
        shell.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.1)


@pytest.mark.parametrize(
    ("number", "reason", "remedy"),
    [
        (errno.EAGAIN, "resource temporarily unavailable", "`ulimit -u`"),
        (errno.EMFILE, "too many open files", "`ulimit -n 1024`"),
        (errno.ENOMEM, "cannot allocate memory", "no memory left"),
    ],
)
def test_a_limit_of_the_system_is_told_with_its_remedy(number: int, reason: str, remedy: str) -> None:
    with pytest.raises(PreflightFailed) as caught, shell.starting(["psql"]):
        raise OSError(number, os.strerror(number))
    assert caught.value.message == f"psql cannot be started: {reason}"
    assert remedy in caught.value.hint
