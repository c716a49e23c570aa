"""How the program begins and ends: Ctrl-C, closed and full streams, limits, odd terminals and homes; no tracebacks."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from tasks._start import LEAST_BYTES
from tasks.localenv.machine.folders import TOOL
from tests.support.environments import KEPT, Finished, environment, inv

pytestmark = pytest.mark.reliability("faults")

SCRIPT = [str(TOOL / "inv")]
MODULE = [sys.executable, "-m", "invoke", "--search-root", str(TOOL)]
needs_script = pytest.mark.skipif(not (TOOL / ".venv" / "bin" / "python").exists(), reason="./inv has no .venv yet")
both = pytest.mark.parametrize("command", [pytest.param(SCRIPT, marks=needs_script, id="inv"), MODULE])
LOST = "FAIL  inv  stdout cannot be written: no space left on device"


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of an environment of which nothing runs, nor is anything left of what a test starts."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    given = {**kept, **environment(tmp_path / "state")}
    yield given
    if (tmp_path / "state").exists():
        inv("env.destroy", "--confirm", "cruddur", environ=given)


def run(command: list[str], environ: dict[str, str], **keywords: object) -> Finished:
    done = subprocess.run(  # type: ignore[call-overload]
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, **keywords
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


def shell(line: str, command: list[str], environ: dict[str, str]) -> Finished:
    """Run a line of a shell, in which `inv` stands for the command."""
    return run(["sh", "-c", line.replace("inv", " ".join(f"'{word}'" for word in command), 1)], environ)


@both
@pytest.mark.parametrize("words", ["--list", "env.status", "nosuch"])
def test_any_of_the_streams_may_be_closed(command: list[str], words: str, environ: dict[str, str]) -> None:
    whole = shell(f"inv {words}", command, environ)
    for closed in product(("", "<&-"), ("", ">&-"), ("", "2>&-")):
        done = shell(f"inv {words} {' '.join(closed)}", command, environ)
        assert done == Finished(whole.code, "" if closed[1] else whole.stdout, "" if closed[2] else whole.stderr), (
            closed
        )


@both
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_also_of_what_invoke_prints_itself(command: list[str], environ: dict[str, str]) -> None:
    for words in ("--list", "--help db.seed"):
        done = shell(f"inv {words} >/dev/full", command, environ)
        assert (done.code, done.stderr.splitlines()[0]) == (6, LOST)
        assert shell(f"inv {words} >/dev/full 2>/dev/full", command, environ) == Finished(6, "", "")
        assert shell(f"inv {words} | true", command, environ) == Finished(0, "", "")
    assert shell("inv nosuch 2>/dev/full", command, environ) == Finished(2, "", "")


@needs_script
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_so_it_is_before_the_tasks_are_loaded(environ: dict[str, str]) -> None:
    for words in ("--version", "--help"):
        done = shell(f"inv {words} >/dev/full", SCRIPT, environ)
        assert (done.code, done.stderr.splitlines()[0]) == (6, LOST)


@needs_script
@pytest.mark.skipif(
    subprocess.run(["env", "--block-signal=INT", "true"], capture_output=True).returncode != 0,
    reason="env cannot keep signals back here",
)
def test_ctrl_c_at_any_moment_is_130_and_no_traceback(environ: dict[str, str]) -> None:
    """Each run is interrupted a little later than the one before, from its first millisecond to its end."""
    at_once: Callable[[], object] = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    ended: set[tuple[int, str]] = set()
    for step in range(40):
        process = subprocess.Popen(
            [*SCRIPT, "--list"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=at_once,
        )
        try:
            process.wait(step * 0.005)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        ended.add((process.wait(60), process.communicate()[1]))
    # -2: before the script's first line; 0: it was done already
    assert ended <= {(130, ""), (-2, ""), (0, "")}
    assert (130, "") in ended


@needs_script
def test_ctrl_c_that_is_ignored_stays_so(environ: dict[str, str]) -> None:
    deaf: Callable[[], object] = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    process = subprocess.Popen(
        [*SCRIPT, "--list"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=deaf
    )
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout.startswith("the whole environment"), stderr) == (0, True, "")


@both
@pytest.mark.parametrize(
    ("limit", "value"),
    [
        (resource.RLIMIT_NOFILE, 14),
        (resource.RLIMIT_NOFILE, 20),
        (resource.RLIMIT_AS, 20_000_000),
        (resource.RLIMIT_AS, 30_000_000),
        (resource.RLIMIT_AS, 60_000_000),
        (resource.RLIMIT_AS, 200_000_000),
        (resource.RLIMIT_AS, LEAST_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_STACK, 300_000),
    ],
)
def test_low_limits_of_the_process_are_told(
    command: list[str], limit: int, value: int, environ: dict[str, str]
) -> None:
    def lower() -> None:
        resource.setrlimit(limit, (value, value))

    for words in (["env.status"], ["doctor"], ["env.up"]):
        if command is MODULE and value < 60_000_000 and limit == resource.RLIMIT_AS:
            continue  # Invoke does not even load, and nothing of ours is there yet
        done = run([*command, *words], environ, preexec_fn=lower)
        assert done.code in (0, 4, 5, 6), done


@both
def test_the_least_memory_is_enough(command: list[str], environ: dict[str, str]) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (LEAST_BYTES, LEAST_BYTES))

    for words in (["initial-setup"], ["status"], ["env.destroy", "--confirm", "cruddur"]):
        done = run([*command, *words], environ, preexec_fn=lower)
        assert done.code == 0, done


@both
@pytest.mark.parametrize(
    "variables",
    [
        {"COLUMNS": "0"},
        {"COLUMNS": "20"},
        {"COLUMNS": "-1"},
        {"COLUMNS": "abc", "LINES": "x"},
        {"TERM": "unknown"},
        {"LC_ALL": "C", "LANG": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
        {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"},
    ],
    ids=str,
)
def test_odd_variables_change_nothing(command: list[str], variables: dict[str, str], environ: dict[str, str]) -> None:
    for words in (["--help", "db.query"], ["env.status"]):
        assert run([*command, *words], {**environ, **variables}).code in (0, 4)


@needs_script
@pytest.mark.parametrize("home", ["/dev/null/none", ""])
def test_a_home_that_is_none_changes_nothing(home: str, environ: dict[str, str]) -> None:
    # With SCRIPT alone: called as a module, Invoke reads its configuration there before anything of ours is loaded.
    for words in (["--list"], ["--help", "db.query"], ["env.status"], ["env.list"]):
        assert run([*SCRIPT, *words], {**environ, "HOME": home, "XDG_CACHE_HOME": home}).code in (0, 4)


@both
def test_what_an_encoding_has_not_got_is_escaped(command: list[str], environ: dict[str, str]) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain = [command[0], "-X", "utf8=0", *command[1:]] if command is MODULE else command
    done = run([*plain, "n\u00f6such\u6f22\U0001f44d"], {**environ, **ascii_only})
    assert done.code == 2
    assert "there is no task" in done.stderr


@both
def test_a_narrow_terminal_is_wide_enough_for_the_list(command: list[str], environ: dict[str, str]) -> None:
    line = f"stty cols 20; {' '.join(command)} --list"
    done = run(["script", "-qec", line, "/dev/null"], {**environ, "TERM": "xterm"})
    assert (done.code, "Show services, data and freshness" in " ".join(done.stdout.split())) == (0, True)


@both
def test_a_current_folder_that_was_removed_is_no_fault(
    command: list[str], environ: dict[str, str], tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    for words in ("--list", "env.status", "db.seed --plan --file x.sql"):
        done = shell(f"mkdir {gone} && cd {gone} && rmdir {gone} && inv {words}", command, environ)
        assert done.code in (0, 2, 4, 6)


@needs_script
def test_a_fault_of_this_program_is_told_with_its_traceback(environ: dict[str, str], tmp_path: Path) -> None:
    """A copy of the program with a mistake in it; a secret that is in the error's text is not shown."""
    import shutil

    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("inv", "tasks.py", "requirements.txt", "requirements-dev.txt"):
        shutil.copy2(TOOL / name, copy)
    for name in ("tasks", "ddb", "sql", "seeds"):
        shutil.copytree(TOOL / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / ".venv").symlink_to(TOOL / ".venv")
    status = copy / "tasks" / "env.py"
    status.write_text(
        status.read_text().replace('"""Show each service', 'raise KeyError(os.environ["PGPASSWORD"])\n    """')
    )
    done = subprocess.run(
        [str(copy / "inv"), "env.status", "--format", "json"],
        env={**environ, "PGPASSWORD": "Kq7Vx Zw9Rt"},
        capture_output=True,
        text=True,
    )
    lines = [" ".join(line.split()) for line in done.stderr.splitlines() if not line.startswith("warn")]
    assert done.returncode == 1
    assert lines[0] == "FAIL env.status this is a fault of inv itself: KeyError: '***'"
    assert lines[1] == "| Traceback (most recent call last):"
    assert lines[-1].startswith("hint report it with the lines above")
    assert '"name": "fault"' in done.stdout
    assert "Kq7Vx" not in done.stdout + done.stderr
    status.write_text("this is no Python\n")
    broken = subprocess.run([str(copy / "inv"), "--list"], env=environ, capture_output=True, text=True)
    assert (broken.returncode, "SyntaxError" in broken.stderr) == (1, True)
    assert broken.stderr.splitlines()[-1] == "FAIL  inv  its own files cannot be loaded"
