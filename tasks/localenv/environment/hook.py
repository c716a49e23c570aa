"""Runs initial-setup unattended: Gitpod, dev containers, CI. Waits for Docker, keeps a log, ends with one line.

Runs the plain command as a child process, so that there is always a log, a verdict, an exit code and an end.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from ..checkout import ownership
from ..engines.docker.api import DockerApi
from ..engines.docker.endpoint import find_endpoint
from ..engines.state import read_choice
from ..errors import INTERRUPTED, LocalEnvError, TimedOut
from ..machine import private, shell
from ..machine.columns import harmless
from ..machine.disk import disk_errors
from ..machine.masking import masked
from ..settings import Settings, read_settings

Say = Callable[[str], None]

POLL_S = 0.5
KEPT_LOGS = 5
COMMAND = "initial-setup"
DOCKER_PROGRAMS = ("docker", "docker-compose")


@dataclass(frozen=True)
class Verdict:
    """How the hook ended: its exit code, and one line about it."""

    code: int
    line: str


@dataclass
class Log:
    """The log of one run, with the time on each line. A link without time and pid points to the newest."""

    path: Path
    file: IO[str]

    @classmethod
    def begin(cls, folder: Path) -> Log:
        """Open a new log and remove the oldest. Raises PreflightFailed if the folder is not writable."""
        with disk_errors(folder):
            private.make_folder(folder)
            path = folder / f"{COMMAND}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
            file = io.TextIOWrapper(private.append(path), "utf-8", "replace", line_buffering=True)
        log = cls(path, file)
        with contextlib.suppress(OSError):  # a file system without links
            fresh = folder / f"{COMMAND}.{os.getpid()}"
            fresh.symlink_to(path.name)
            fresh.replace(log.link)
        with contextlib.suppress(OSError):  # another user's
            others = sorted(other for other in folder.glob(f"{COMMAND}-*.log") if other != path)
            for old in others[: 1 - KEPT_LOGS]:
                old.unlink(missing_ok=True)
        return log

    @property
    def link(self) -> Path:
        return self.path.with_name(f"{COMMAND}.log")

    @property
    def shown(self) -> Path:
        """The link, unless a later run has replaced it."""
        return self.link if self.link.resolve() == self.path.resolve() else self.path

    def write(self, line: str) -> None:
        """Write one line. Ignores a full disk: the command reports it."""
        with contextlib.suppress(OSError):
            self.file.write(f"{datetime.now().isoformat(' ', 'milliseconds')}  {harmless(masked(line))}\n")


@dataclass
class Output:
    """The command's output about a failure: the first FAIL with its hint, the steps not run, the last line."""

    failed: str = ""
    hint: str = ""
    not_run: str = ""
    last: str = ""
    _awaits_hint: bool = field(default=False, repr=False)

    def add(self, line: str) -> None:
        found = re.match(r"(FAIL| {4})  (not run|\S+) +(.*)", line)
        word, name, text = found.groups() if found else ("", "", "")
        if word == "FAIL" and not self.failed and name != "interrupted":
            self.failed, self._awaits_hint = f"{name}: {text}", True
        elif name == "hint" and self._awaits_hint:
            self.hint, self._awaits_hint = text, False
        elif name == "not run":
            self.not_run = text
        if line.strip():
            self.last = line.strip()

    @property
    def where(self) -> str:
        """How far it got."""
        return f"; not finished: {self.not_run}" if self.not_run else f"; last: {self.last}" if self.last else ""

    @property
    def next_command(self) -> str:
        """The command in the hint, else initial-setup without --hook."""
        named = re.search(r"`((?:[^`]*/)?inv'? [^`]+)`", self.hint)
        return named[1] if named else f"inv {COMMAND}"


def run(engine: str, options: Sequence[str], echo: Say, relay: Say) -> Verdict:
    """Run initial-setup and return the verdict; each line goes to the log, and to `echo` or `relay`.

    `echo` takes the hook's own lines, `relay` those of the command, which are sanitized already. `engine` is the value
    of --engine, `options` are others for the command. Raises LocalEnvError before the log exists, for a wrong setting
    or a read-only state folder.
    """
    started = time.monotonic()
    settings = read_settings(engine=engine)
    with disk_errors(settings.state_dir):
        ownership.require_usable(settings.state_dir)
        log = Log.begin(ownership.folder(settings, "logs"))
    output = Output()

    def say(line: str) -> None:
        log.write(line)
        echo(line)

    def on_line(line: str) -> None:
        output.add(line)
        log.write(line)
        relay(line)

    log.write(f"inv {COMMAND} --hook, pid {os.getpid()}, in {settings.root}, engine {settings.engine}")
    try:
        absent = await_docker(settings, say)
        words = _arguments(settings, absent, [*options, *(["--engine", engine] if engine else [])], say)
        code = _follow(words, settings, started, on_line)
        verdict = command_failure(code, output, log) if code else _ready(engine, time.monotonic() - started, absent)
    except KeyboardInterrupt:
        verdict = failure(INTERRUPTED, "interrupted", log=log)
    except LocalEnvError as error:
        verdict = failure(error.code, f"{error.message}{output.where}", log=log)
    log.write(f"{verdict.line} (exit code {verdict.code})")
    return verdict


def failure(code: int, what: str, *, next_command: str = f"inv {COMMAND}", log: Log | None = None) -> Verdict:
    """Return the verdict of a failure: what failed, where the log is and what to run."""
    place = f"see {_near(log.shown)}, " if log else ""
    return Verdict(code, f"localenv: FAILED {' '.join(what.split())} ({place}run `{next_command}`)")


def command_failure(code: int, output: Output, log: Log) -> Verdict:
    """Return the verdict of a failed command; `code` is negative for the signal that ended it."""
    what = output.failed or output.last or "no output"
    if code < 0:
        what, code = f"ended by {signal.Signals(-code).name}{output.where}", 1
    return failure(code, what, next_command=output.next_command, log=log)


def _near(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _arguments(settings: Settings, absent: str, options: list[str], say: Say) -> list[str]:
    """Return the arguments of the command. `auto` would keep a Docker engine that is gone, so this switches."""
    kept = read_choice(settings.state_dir)
    if not (absent and kept and settings.engine == "auto"):
        return [COMMAND, *options]
    say(f"localenv: {absent}: using the embedded engine; the data in the containers stay as they are")
    options = [*options, "--engine", "embedded"]
    return ["env.down", *options, COMMAND, *options]


def await_docker(settings: Settings, say: Say) -> str:
    """Wait for a Docker engine if one is wanted and may start; return why there is none, else an empty text."""
    kept = read_choice(settings.state_dir)
    wanted = kept.engine if kept and settings.engine == "auto" else settings.engine
    if wanted == "embedded" or not any(map(shutil.which, DOCKER_PROGRAMS)) or not (reason := _why_unavailable()):
        return ""
    started, wait_s = time.monotonic(), min(settings.hook_wait_s, settings.hook_timeout_s)
    say(f"localenv: waiting up to {wait_s:.0f} s for Docker: {reason}")
    while _why_unavailable():
        left_s = started + wait_s - time.monotonic()
        if left_s <= 0:
            return f"no Docker engine answered within {wait_s:.0f} s"
        time.sleep(min(POLL_S, left_s))
    say(f"localenv: Docker answered after {time.monotonic() - started:.1f} s")
    return ""


def _why_unavailable() -> str:
    """Return why no engine answers yet; empty if one does, or if waiting would not help."""
    try:
        endpoint = find_endpoint()
    except LocalEnvError:
        return ""
    try:
        DockerApi(endpoint).ping()
    except LocalEnvError as error:
        return "" if isinstance(error.__cause__, PermissionError) else error.message
    return ""


def _follow(words: list[str], settings: Settings, started: float, on_line: Say) -> int:
    """Run `inv` the same way as this process. Raises TimedOut."""

    def check_time() -> None:
        if time.monotonic() - started > settings.hook_timeout_s:
            raise TimedOut(f"not ready after {settings.hook_timeout_s:.0f} s")

    return shell.follow(shell.inv_command(*words), on_line=on_line, on_tick=check_time)


def _ready(engine: str, took_s: float, absent: str) -> Verdict:
    """Return the verdict with the services' addresses; reads the settings again, since ports may have changed."""
    settings = read_settings(engine=engine)
    kept = read_choice(settings.state_dir)
    name = kept.engine if kept else settings.engine
    reason = f", {absent}" if absent and name == "embedded" else ""
    addresses = {"postgres": settings.postgres, "dynamodb": settings.dynamodb, "cognito": settings.cognito}
    places = [
        f"{service} {address.host}:{address.port}" if address else f"{service} in AWS"
        for service, address in addresses.items()
        if service in settings.services
    ]
    return Verdict(0, f"localenv: ready in {took_s:.1f}s ({name}{reason}): {', '.join(places)}")
