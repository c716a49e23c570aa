"""A program that outlives the command: started detached, known by a lock that the kernel holds for it.

The program gets its lease file as stdin, locked. The lock lives as long as the program or any child of it, so a pid
that was given to somebody else, or a stranger on the port, is never taken for ours. The lease says the pid, then
the version once the program was ready.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .. import shell
from ..errors import LocalEnvError, ServiceFailed
from ..ports import command_of
from .service import Deadline

STEP_S = 0.01
LOG_BYTES = 1_000_000
"""A log longer than this is put aside as .1 at the next start; the one before that is dropped."""

# The child notes its own pid, so that there is no moment at which it runs and nobody knows it.
WITH_PID = 'echo $$ >&0 && exec "$@"'


_children: list[subprocess.Popen[bytes]] = []
"""Programs that this very process started: they stay unfinished children until they are polled."""


@dataclass(frozen=True)
class Account:
    """A system user that a program runs as."""

    user: int
    group: int


@dataclass(frozen=True)
class Daemon:
    """A detached program of this project.

    `marker` is a part of its command line that no other project's program has: a path of this state folder.
    """

    name: str
    lease: Path
    log: Path
    marker: str

    @property
    def is_alive(self) -> bool:
        """Tell whether the program, or a child that it left behind, runs."""
        try:
            with self.lease.open() as file:
                return not _lock(file, fcntl.LOCK_SH)  # shared, so that lookers do not see each other
        except FileNotFoundError:
            return False

    @property
    def pid(self) -> int:
        """Give the program's process id, 0 when its main process is gone."""
        noted = self._line(0)
        pid = int(noted) if noted.isdigit() else 0
        return pid if pid and self.marker in command_of(pid) else 0

    @property
    def version(self) -> str:
        """Give what `mark_ready` noted; empty while the program has never been ready."""
        return self._line(1)

    @property
    def since(self) -> float:
        """Give the time of the start, in seconds since the epoch; 0 when there was none."""
        try:
            return self.lease.stat().st_mtime
        except OSError:
            return 0

    def start(
        self,
        command: Sequence[str | Path],
        *,
        deadline: Deadline,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start the program. What an earlier one left behind is waited for, then ended."""
        self.lease.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.lease.open("a+") as lease:
            self._take(lease, deadline)
            lease.truncate(0)
            self._put_log_aside()
            process = shell.spawn(
                ["/bin/sh", "-c", WITH_PID, "sh", *command],
                log=self.log,
                stdin=lease,
                env=env,
                cwd=cwd,
                user=account.user if account else None,
                group=account.group if account else None,
            )
        _children.append(process)
        return process

    def wait_ready(
        self, process: subprocess.Popen[bytes], is_ready: Callable[[], bool], deadline: Deadline, hint: str
    ) -> None:
        """Wait until the program is ready. Raises ServiceFailed when it ends, TimedOut at the deadline."""
        while not is_ready():
            code = process.poll()
            if code is not None:
                raise ServiceFailed(f"{self.name} {_ended(code)} while it started", evidence=self.tail(), hint=hint)
            deadline.check(self.name)
            time.sleep(STEP_S)

    def mark_ready(self, version: str) -> None:
        """Note that the program was ready, and what it is."""
        since = self.since
        with self.lease.open("a") as file:
            file.write(f"{version}\n")
        os.utime(self.lease, (since, since))

    def stop(self, gently: signal.Signals, *, within_s: float = 30) -> None:
        """End the program: by `gently`, and by force when it is not gone in time. Returns once all of it is gone."""
        end = time.monotonic() + within_s
        asked = 0
        while self.is_alive:
            pid = self.pid
            late = time.monotonic() > end
            if pid and (late or pid != asked):
                _signal(pid, signal.SIGKILL if late else gently)
                asked = pid
            if late:
                self.end_leftovers()
                if time.monotonic() > end + 10:
                    raise LocalEnvError(f"{self.name} (pid {pid}) does not end", hint="end it by hand")
            time.sleep(STEP_S)
        _children[:] = [child for child in _children if child.poll() is None]

    def end_leftovers(self) -> None:
        """End what a dead program left behind: every process whose stdin is our lease. Linux only; others wait."""
        for pid in lease_holders(self.lease):
            _signal(pid, signal.SIGKILL)

    def tail(self, lines: int = 20) -> str:
        """Give the last lines of the log, oldest first."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 64_000))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _take(self, lease: IO[str], deadline: Deadline) -> None:
        grace_s = time.monotonic() + 2
        while not _lock(lease):
            if time.monotonic() > grace_s:
                self.end_leftovers()
            deadline.check(f"the end of an earlier {self.name}")
            time.sleep(STEP_S)

    def _line(self, number: int) -> str:
        try:
            return self.lease.read_text().splitlines()[number]
        except (OSError, IndexError):
            return ""

    def _put_log_aside(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))


def lease_holders(lease: Path) -> list[int]:
    """List the processes that have the lease as stdin. Empty where /proc does not tell."""
    if not Path("/proc/self/fd").exists():
        return []
    ours = str(lease.resolve())
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        try:
            if name.isdigit() and os.readlink(f"/proc/{name}/fd/0") == ours:  # noqa: PTH115
                found.append(int(name))
        except OSError:
            continue
    return found


def _lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise LocalEnvError(
            f"pid {pid} belongs to another user", hint="run the command as the user who started it"
        ) from error


def _ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
