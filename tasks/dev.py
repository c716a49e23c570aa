"""test and lint: for those who change this project. They need requirements-dev.txt, which ./inv installs for them.

Plain Invoke tasks: they neither read the settings nor take part in the graph.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context, Exit, task

from ._lazy import lazy
from .localenv.machine.folders import TOOL

if TYPE_CHECKING:
    from .localenv.machine import shell
else:
    shell = lazy("localenv.machine.shell")

PREFLIGHT = 6

LINTERS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("tasks._schemas", "--check"),
)


@task(name="test", auto_shortflags=False, help={"only": "tests whose name matches this, as for pytest -k"})
def run_tests(c: Context, only: str = "") -> None:
    """Run the tests; pytest's own options follow --."""
    _require("pytest")
    words = shlex.split(c.remainder or "")
    command = [sys.executable, "-m", "pytest", "-rs", *_workers(words), *(["-k", only] if only else []), *words]
    code = shell.attach(command, cwd=TOOL)
    if code:
        raise Exit(code=code)


@task(auto_shortflags=False)
def lint(c: Context) -> None:
    """Check style, format and types, the JSON schemas, and the shell scripts."""
    _require("ruff", "mypy")
    commands: list[list[str]] = [[sys.executable, "-m", *words] for words in LINTERS]
    shellcheck = _program("shellcheck")
    if shellcheck:
        commands.append([shellcheck, *_scripts()])
    else:
        print("no shellcheck here: the shell scripts are not checked", file=sys.stderr)
    failed = [command for command in commands if shell.attach(command, cwd=TOOL)]
    if failed:
        raise Exit(code=1)


def _workers(words: list[str]) -> list[str]:
    """Run tests side by side, one more than there are cores since they wait for servers; or as the caller's -n says.

    A worker that is done takes half of what another still has: the slow tests lie close together.
    """
    own = ("-n", "--numprocesses", "--pdb", "-s", "--capture=no", "-p")
    count = (os.cpu_count() or 1) + 1
    return [] if any(word.startswith(own) for word in words) else ["-n", str(count), "--dist", "worksteal"]


def _require(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Exit(f"{' and '.join(missing)} not installed: pip install -r requirements-dev.txt", code=PREFLIGHT)


def _program(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name)


def _scripts() -> list[str]:
    """List the shell scripts: files at known places whose first line names a shell."""
    places: list[Any] = [TOOL / "inv", *sorted((TOOL / ".ci").glob("*")), *sorted(TOOL.rglob("*.sh"))]
    inside = [path for path in places if path.is_file() and ".venv" not in path.parts and ".local" not in path.parts]
    return [str(path.relative_to(TOOL)) for path in inside if path.read_bytes()[:60].split(b"\n")[0].endswith(b"sh")]
