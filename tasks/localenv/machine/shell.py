"""The only module that starts other programs. A command is a list; nothing goes through a shell."""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import PreflightFailed, TimedOut
from . import private
from .folders import SEARCH_ROOT, TOOL

TICK_S = 0.2
INTERRUPT_S = 5.0
"""How long a program may take to end after SIGINT."""
LIMITS = {
    errno.EAGAIN: "end some programs, or raise the limit of processes (`ulimit -u`), then run the same command again",
    errno.ENOMEM: "end some programs: there is no memory left; then run the same command again",
    errno.EMFILE: "raise the limit of open files (`ulimit -n 1024`), then run the same command again",
    errno.ENFILE: "end some programs: the system has no open files left; then run the same command again",
}


@dataclass(frozen=True)
class Completed:
    """A finished program: its exit code, and what it printed."""

    code: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def starting(command: Sequence[str | Path]) -> Iterator[None]:
    """Turn a failure to start a program into PreflightFailed: it is missing, forbidden, or exceeds a limit."""
    try:
        yield
    except FileNotFoundError as error:
        missing = "folder" if error.filename not in (None, str(command[0])) else ""
        raise PreflightFailed(
            f"folder {error.filename} does not exist" if missing else f"{command[0]} is not installed"
        ) from error
    except OSError as error:
        hint = LIMITS.get(error.errno or 0, "correct that, then run the same command again")
        reason = (error.strerror or str(error)).lower()
        raise PreflightFailed(f"{command[0]} cannot be started: {reason}", hint=hint) from error


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 60,
    text: str = "",
    output: IO[bytes] | None = None,
    user: int | None = None,
    group: int | None = None,
) -> Completed:
    """Run a program to its end and return its output, whatever its exit code. `text` is its stdin.

    Its stdout goes to `output` where that is given.
    Raises PreflightFailed when the program does not start, TimedOut when it runs longer than `timeout_s`.
    """
    try:
        with starting(command):
            done = subprocess.run(
                [str(part) for part in command],
                env=None if env is None else dict(env),
                cwd=cwd,
                input=text,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=timeout_s,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(
            f"{Path(str(command[0])).name} did not end within {timeout_s:.0f} s", hint="run the same command again"
        ) from error
    return Completed(done.returncode, done.stdout or "", done.stderr)


@contextlib.contextmanager
def piped(command: Sequence[str | Path], errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program whose stdout is read while it runs, and its stderr written to a file; end it with the block."""
    words = [str(part) for part in command]
    with (
        starting(command),
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


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
    """Start a program that outlives this one: own session, no stdin unless given, output appended to `log`.

    Files that it creates are private to its user, whatever the umask of this command.
    """
    with private.append(log) as output, starting(command):
        return subprocess.Popen(
            [str(part) for part in command],
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=private.OTHERS,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )


def follow(
    command: Sequence[str | Path],
    *,
    on_line: Callable[[str], None],
    on_tick: Callable[[], None] = lambda: None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Run a program, call back for each line as it is written and every `TICK_S`, and return the exit code.

    The program has its own process group. An error from a callback ends it, as Ctrl-C and our own end do: by SIGINT,
    so that it can clean up; after TimedOut its last lines are read too.
    """
    with starting(command):
        process = subprocess.Popen(
            [str(part) for part in command],
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    end = functools.partial(_interrupt, process)
    atexit.register(end)  # a step in a daemon thread ends without notice
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(process, lines), daemon=True).start()
    try:
        _dispatch(lines, on_line, on_tick)
        return process.wait()
    except TimedOut:
        end()
        with contextlib.suppress(queue.Empty):  # another process may keep its stdout open
            while (line := lines.get(timeout=1)) is not None:
                on_line(line)
        raise
    finally:
        end()
        atexit.unregister(end)


def _dispatch(
    lines: queue.SimpleQueue[str | None], on_line: Callable[[str], None], on_tick: Callable[[], None]
) -> None:
    """Call back for each line until the last, and in between every `TICK_S`."""
    due = time.monotonic() + TICK_S
    while True:
        try:
            line = lines.get(timeout=max(0.0, due - time.monotonic()))
        except queue.Empty:
            on_tick()
            due = time.monotonic() + TICK_S
            continue
        if line is None:
            return
        on_line(line)


def _read_lines(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            lines.put(line.rstrip("\n"))
    lines.put(None)


def _interrupt(process: subprocess.Popen[str]) -> None:
    """End a program and its children; by SIGKILL when it does not end in time."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(INTERRUPT_S)


def inv_command(*words: str) -> list[str]:
    """Return the command that runs these tasks as this process was started: by ./inv, or by Invoke itself."""
    start = ["-I", "-S", str(TOOL / "tasks" / "_start.py")] if sys.flags.isolated else ["-m", "invoke"]
    return [sys.executable, *start, "--search-root", str(SEARCH_ROOT), *words]


def attach(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: IO[str] | None = None,
) -> int:
    """Run a program in this terminal (psql, pgcli, pytest) and return its exit code.

    `stdout` is where its output goes instead.
    """
    with starting(command):
        variables = None if env is None else dict(env)
        return subprocess.call([str(part) for part in command], env=variables, cwd=cwd, stdout=stdout)
