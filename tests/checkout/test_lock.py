"""The project's lock: one writer at a time, and a second one knows for whom it waits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.localenv.checkout.lock import ProjectLock, command_line
from tasks.localenv.errors import LockHeld, PreflightFailed
from tests.support.environments import as_nobody, reachable

HOLD = """
import sys
from pathlib import Path
from tasks.localenv.checkout.lock import ProjectLock, command_line
lock = ProjectLock(Path(sys.argv[1]))
lock.acquire("inv db.seed", print)
print("held", flush=True)
sys.stdin.read()
"""


def hold_elsewhere(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    return holder


def test_a_free_lock_is_taken_at_once(tmp_path: Path) -> None:
    said: list[str] = []
    lock = ProjectLock(tmp_path)
    lock.acquire("inv db.seed", said.append)
    assert (lock.held, said) == (True, [])
    lock.release()
    assert not lock.held


def test_a_lock_that_this_run_has_is_not_waited_for(tmp_path: Path) -> None:
    lock = ProjectLock(tmp_path)
    lock.acquire("inv db.seed", pytest.fail)
    lock.acquire("inv db.seed", pytest.fail)
    assert lock.held
    lock.release()


def test_a_second_run_says_for_whom_it_waits_and_goes_on_when_the_first_ends(tmp_path: Path) -> None:
    said: list[str] = []
    with hold_elsewhere(tmp_path) as holder:

        def tell(line: str) -> None:
            said.append(line)
            assert holder.stdin
            holder.stdin.close()

        second = ProjectLock(tmp_path)
        second.acquire("inv check", tell)
        second.release()
    assert [re.sub(r"\d+ s ago", "0 s ago", line) for line in said] == [
        f"waiting for `inv db.seed` (pid {holder.pid}, started 0 s ago)"
    ]


@pytest.mark.reliability("kills")
def test_a_killed_run_holds_no_lock(tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path) as holder:
        holder.kill()
    said: list[str] = []
    lock = ProjectLock(tmp_path)
    lock.acquire("inv db.seed", said.append)
    assert (lock.held, said) == (True, [])
    lock.release()


def test_a_wait_that_is_over_names_the_holder(tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path) as holder:
        with pytest.raises(LockHeld, match=rf"`inv db.seed` \(pid {holder.pid}"):
            ProjectLock(tmp_path, wait_s=0.1).acquire("inv check", lambda _: None)
        holder.kill()


def test_a_file_in_place_of_the_folder_is_a_preflight_failure(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(PreflightFailed, match="state: file exists"):
        ProjectLock(tmp_path / "state").acquire("inv db.seed", print)


def test_a_folder_that_may_not_be_made_is_a_preflight_failure(tmp_path: Path) -> None:
    closed = reachable(tmp_path)
    closed.chmod(0o511)
    with as_nobody(), pytest.raises(PreflightFailed) as caught:
        ProjectLock(closed / "state").acquire("inv db.seed", print)
    assert caught.value.message == f"{closed}/state: permission denied"
    assert "LOCALENV_STATE_DIR" in caught.value.hint


def test_a_run_is_named_as_its_user_typed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["inv", "--search-root", "/a checkout", "db.query", "--sql", "select 1"])
    assert command_line() == "inv db.query --sql 'select 1'"
