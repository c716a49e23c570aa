"""Programs that do not start: each cause is told, and none is a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tasks.localenv import shell
from tasks.localenv.errors import PreflightFailed, TimedOut


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(PreflightFailed, match="^no-such-program is not installed$"):
        shell.run(["no-such-program"])


def test_a_folder_that_is_missing_is_not_taken_for_the_program(tmp_path: Path) -> None:
    with pytest.raises(PreflightFailed, match=f"^folder {tmp_path / 'gone'} does not exist$"):
        shell.run([sys.executable, "-V"], cwd=tmp_path / "gone")


@pytest.mark.parametrize("door", ["run", "spawn", "follow", "attach"])
def test_a_file_that_is_no_program_is_told(tmp_path: Path, door: str) -> None:
    program = tmp_path / "program"
    program.write_text("")
    program.chmod(0o600)
    with pytest.raises(PreflightFailed, match=f"^{program} cannot be started: "):
        if door == "run":
            shell.run([program])
        elif door == "spawn":
            shell.spawn([program], log=tmp_path / "log")
        elif door == "follow":
            shell.follow([program], on_line=print)
        else:
            shell.attach([program])


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(TimedOut, match="did not end within 0 s$"):
        shell.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.1)
