"""Environments for tests: the variables that describe one, and the command line run against it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.localenv import engines
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings, guard, read_settings
from tests.support import warm
from tests.support.ports import find_free

KEPT = ("PATH", "HOME", "PYTHONPATH")
"""What a command gets of the environment of the tests."""


UNPRIVILEGED_UID = 65534
PATIENCE_S = 300
"""For what must come to pass, on however busy a machine: a deadline that only a hang meets."""


made: list[Path] = []
"""Folders outside pytest's own; conftest removes them at the end."""


@dataclass(frozen=True)
class Finished:
    """What a command did: its exit code and what it wrote."""

    code: int
    stdout: str
    stderr: str


def environment(state_dir: Path) -> dict[str, str]:
    """Give the variables of an embedded environment in `state_dir` on free ports."""
    return {
        "LOCALENV_DOTENV": "/dev/null",  # the developer's own is not the tests' business
        "LOCALENV_STATE_DIR": str(state_dir),
        "LOCALENV_ENGINE": "embedded",
        "AWS_DEFAULT_REGION": "us-east-1",  # the target prod wants to be told
        "XDG_CACHE_HOME": str(state_dir.with_name("cache")),  # nor is the developer's index of checkouts
        "CONNECTION_URL": f"postgresql://postgres:password@localhost:{find_free()}/cruddur",
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://localhost:{find_free()}",
        "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": f"http://localhost:{find_free()}",
    }


@contextmanager
def running(environ: Mapping[str, str]) -> Iterator[Settings]:
    """Have the environment of these variables up for a while; gives its settings with the guard's permit."""
    settings = permitted(read_settings(environ=environ))
    try:
        engines.up(settings, lambda line: None)
        yield settings
    finally:
        engines.destroy(settings, lambda line: None)


def permitted(settings: Settings) -> Settings:
    """Return the settings with the guard's permit to change what is theirs, as a step would get it."""
    return guard.permitted(settings, guard.decide(settings, guard.WRITES, guard.Observed("what the tests made")))


def permitted_at_aws(settings: Settings) -> Settings:
    """Return the settings with the guard's permit to change what is at AWS."""
    return guard.permitted(settings, guard.decide_at_aws(settings, guard.WRITES, guard.Observed("what the tests made")))


def reachable(folder: Path) -> Path:
    """Give a folder that every user may pass through: as root, PostgreSQL runs as another user.

    pytest's own folders are closed, and closed again by every other session that starts.
    """
    if os.geteuid() != 0:
        return folder
    made.append(Path(tempfile.mkdtemp(prefix="localenv-tests-")))
    made[-1].chmod(0o711)
    return made[-1]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights for a while, where one is root: no mode stops root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(UNPRIVILEGED_UID)
    try:
        yield
    finally:
        os.seteuid(0)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something holds. Fails after PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def inv(*words: str, environ: dict[str, str], cwd: Path = TOOL, text: str = "") -> Finished:
    """Run `inv` on this project from any folder, with `environ` over a bare environment."""
    variables = {**{name: os.environ[name] for name in KEPT if name in os.environ}, "NO_COLOR": "1", **environ}
    words = ("--search-root", str(TOOL), *words)
    if sys.platform == "linux" and not warm.needs_own_python(variables):
        return _run_warm(words, variables, cwd, text)
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        env=variables,
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def _run_warm(words: Sequence[str], variables: Mapping[str, str], cwd: Path, text: str) -> Finished:
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(text.encode())
        stdin.seek(0)
        code = warm.start(words, variables, str(cwd), (stdin, stdout, stderr)).wait(PATIENCE_S)
        for stream in (stdout, stderr):
            stream.seek(0)
        return Finished(code, stdout.read().decode(), stderr.read().decode())
