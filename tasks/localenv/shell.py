"""The only door to other programs. A command is a list; nothing goes through a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import PreflightFailed, TimedOut


@dataclass(frozen=True)
class Completed:
    """A finished program: its exit code, and what it printed."""

    code: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 60,
    text: str = "",
    user: int | None = None,
    group: int | None = None,
) -> Completed:
    """Run a program to its end and return what it said, whatever its exit code. `text` is its stdin.

    Raises PreflightFailed when the program does not exist, TimedOut when it outlives `timeout_s`.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env=None if env is None else dict(env),
            cwd=cwd,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
    except FileNotFoundError as error:
        raise PreflightFailed(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{Path(str(command[0])).name} did not end within {timeout_s:.0f} s") from error
    return Completed(done.returncode, done.stdout, done.stderr)


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    stdin: IO[str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: int | None = None,
    group: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that outlives this one: own session, no stdin unless given, output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )


def attach(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> int:
    """Run a program with this terminal as its own (psql, pgcli, pytest) and return its exit code."""
    return subprocess.call([str(part) for part in command], env=None if env is None else dict(env), cwd=cwd)
