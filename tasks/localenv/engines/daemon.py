"""A program that outlives the command: started detached, identified by a lock that the kernel holds for it.

The program gets its lease file as stdin, locked. The lock lives as long as the program or any child of it, so a
recycled pid, or a foreign program on the port, is never mistaken for ours. The lease holds the pid, then the version
once the program was ready.
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

from ..checkout.ownership import Made, removable
from ..errors import LocalEnvError, ServiceFailed
from ..hints import inv
from ..machine import private, shell
from ..machine.disk import has_room, no_space, reports_full_disk
from ..machine.ports import command_of, commands, paused_among, paused_text
from ..machine.waiting import waiting
from .service import Deadline, Say

STEP_S = 0.01
LOST_S = 30.0
KILLED_S = 10.0
"""How long the system may take to end a killed process."""
LEASE_BYTES = 128
# The child notes its own pid, so that it never runs unknown.
WITH_PID = 'echo $$ >&0 && exec "$@"'

OUTDATED = f"it runs with other settings than .env has now; {inv('env.up')} restarts it"
LOST = f"it runs although its state folder is gone; {inv('env.up')} replaces it, {inv('env.down')} stops it"

_children: list[subprocess.Popen[bytes]] = []
"""Programs that this process itself started: they stay zombies until they are polled."""


@dataclass(frozen=True)
class Account:
    """The system user that a program runs as."""

    user: int
    group: int


@dataclass(frozen=True)
class Wait:
    """How long to wait for a start, and the hint when it fails."""

    deadline: Deadline
    hint: str


@dataclass(frozen=True)
class Daemon:
    """A detached program of this project.

    `marker` is a part of its command line that no other program has, neither another project's nor one that merely
    mentions it. `leftover_s` is how long its children may take to end after it.
    """

    name: str
    lease: Path
    log: Path
    marker: str
    leftover_s: float = 1

    @property
    def is_alive(self) -> bool:
        """Return whether the program, or a child that it left behind, runs."""
        try:
            lease = private.descriptor(self.lease, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _lock(lease, fcntl.LOCK_SH)  # shared, so that concurrent checks do not see each other
        finally:
            os.close(lease)

    @property
    def pid(self) -> int:
        """Return the program's process id, 0 when its main process is gone."""
        noted = self._line(0)
        pid = int(noted) if noted.isdigit() else 0
        return pid if pid and (self.marker in command_of(pid) or self._is_held_by(pid)) else 0

    @property
    def paused(self) -> str:
        """Describe which of its processes are paused, by SIGSTOP for example; empty when none is.

        One of many counts: a paused session holds its locks, and whatever waits for it waits forever.
        """
        pids = self._paused()
        return f"{paused_text(pids)}; {inv('env.up')} resumes it" if pids else ""

    def resume(self, say: Say) -> None:
        """Resume its paused processes, as a start does with paused containers."""
        pids = self._paused()
        if pids:
            say(f"{self.name}: {paused_text(pids)}; resuming")
        for pid in pids:
            _signal(pid, signal.SIGCONT)

    def _paused(self) -> list[int]:
        pid = self.pid
        return paused_among(pid) if pid else []

    @property
    def holder(self) -> str:
        """Describe its process for a human, also a lost one; empty when its main process is gone."""
        pids = [pid] if (pid := self.pid) and self.is_alive else self.lost
        return f"pid {', '.join(map(str, pids))}" if pids else ""

    @property
    def lost(self) -> list[int]:
        """List the processes of this program whose lease is gone: the state folder was removed, moved or replaced.

        They are identified by their command line, which names the project.
        """
        if self.is_alive:
            return []
        return sorted(pid for pid, command in commands().items() if self.marker in command and may_signal(pid))

    @property
    def version(self) -> str:
        """Return the version noted by `mark_ready`; empty until the program was ready."""
        return self._line(1)

    @property
    def since(self) -> float:
        """Return the time of the start, in seconds since the epoch; 0 when there was none."""
        try:
            return self.lease.stat().st_mtime
        except OSError:
            return 0

    def start(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start the program. An earlier one must have ended: see `stop`."""
        private.make_folder(self.lease.parent)
        private.make_folder(self.log.parent)
        with os.fdopen(private.descriptor(self.lease, os.O_RDWR | os.O_CREAT), "r+") as lease:
            self._take(lease.fileno())
            # Overwritten in place, by the child too: that works on a full disk, or one without free inodes.
            os.pwrite(lease.fileno(), b"\n" * LEASE_BYTES, 0)
            os.ftruncate(lease.fileno(), LEASE_BYTES)
            os.utime(lease.fileno())
            self._rotate_log()
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

    def runs(self, command: Sequence[str | Path]) -> bool:
        """Return whether the running program was started by this exact command: same ports, same folders."""
        pid = self.pid
        arguments = " ".join(str(part) for part in command[1:]).strip()  # a Python may replace the first word
        return bool(pid) and command_of(pid).endswith(arguments)

    def wait_ready(self, process: subprocess.Popen[bytes] | None, is_ready: Callable[[], bool], wait: Wait) -> None:
        """Wait until the program is ready; without `process`, one that another command started.

        Raises ServiceFailed when it ends, PreflightFailed when the disk is full, TimedOut at the deadline.
        """
        with waiting(f"{self.name} to become ready", wait.deadline.left_s):
            while not is_ready():
                code = process.poll() if process else None if self.is_alive else 0
                if code is not None:
                    raise self._death(code, wait.hint)
                wait.deadline.check(self.name, self.paused)
                time.sleep(STEP_S)

    def mark_ready(self, version: str) -> None:
        """Note that the program was ready, and what it is."""
        since = self.since
        lease = private.descriptor(self.lease, os.O_RDWR)
        try:
            os.pwrite(lease, f"{version}\n".encode()[: LEASE_BYTES // 2], len(self._line(0)) + 1)
            os.utime(lease, (since, since))
        finally:
            os.close(lease)

    def stop(self, gently: signal.Signals, *, within_s: float = 30) -> None:
        """Stop the program by the signal `gently`, and by SIGKILL after the time. Returns once all of it is gone.

        Children of a dead program (a session in the middle of a query) get `leftover_s` to end by themselves.
        """
        with waiting(f"{self.name} to end", within_s + KILLED_S):
            self._end(gently, within_s)
        _children[:] = [child for child in _children if child.poll() is None]

    def _end(self, gently: signal.Signals, within_s: float) -> None:
        started = time.monotonic()
        asked = 0
        while self.is_alive:
            pid, waited_s = self.pid, time.monotonic() - started
            if pid and pid != asked:
                for paused in self._paused():  # a paused program reacts only to SIGKILL, and would lose its changes
                    _signal(paused, signal.SIGCONT)
                _signal(pid, gently)
                asked = pid
            elif waited_s > (within_s if pid else self.leftover_s):
                self._kill_all()
            if waited_s > within_s + KILLED_S:
                raise LocalEnvError(f"{self.name} (pid {pid or 'unknown'}) does not end", hint="end it by hand")
            time.sleep(STEP_S)

    def end_lost(self, gently: signal.Signals) -> list[int]:
        """Stop the `lost` processes, by SIGKILL after `LOST_S`, and return them."""
        ended = self.lost
        started = time.monotonic()
        for pid in ended:
            _signal(pid, gently)
        while left := [pid for pid in ended if self.marker in command_of(pid)]:
            waited_s = time.monotonic() - started
            if waited_s > LOST_S + KILLED_S:
                raise LocalEnvError(f"{self.name} (pid {left[0]}) does not end", hint="end it by hand")
            for pid in left if waited_s > LOST_S else ():
                _signal(pid, signal.SIGKILL)
            time.sleep(STEP_S)
        return ended

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, oldest first."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 64_000))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:] if lines else ())
        except OSError:
            return ""

    def _take(self, lease: int) -> None:
        end = time.monotonic() + 5
        while not _lock(lease):
            if time.monotonic() > end:
                raise ServiceFailed(
                    f"{self.name} is being started by another command",
                    hint="wait for that one to end, then run the same command again",
                )
            time.sleep(STEP_S)

    def _kill_all(self) -> None:
        for pid in {self.pid, *lease_holders(self.lease)} - {0}:
            _signal(pid, signal.SIGKILL)

    def _death(self, code: int, hint: str) -> LocalEnvError:
        evidence = self.tail()
        if reports_full_disk(evidence):
            return no_space(self.lease.parent, evidence)
        return ServiceFailed(f"{self.name} {_ended(code)} while it started", evidence=evidence, hint=hint)

    def _line(self, number: int) -> str:
        try:
            return self.lease.read_text().splitlines()[number]
        except (OSError, IndexError):
            return ""

    def _rotate_log(self) -> None:
        """Begin a new log for this run; the previous one is kept where there is space."""
        if not self.log.exists():
            return
        if has_room(self.log.parent):
            self.log.replace(self.log.with_suffix(".log.1"))
        else:
            os.truncate(self.log, 0)

    def _is_held_by(self, pid: int) -> bool:
        """Return whether a process has the lease as its stdin. False without /proc."""
        try:
            held, own = os.stat(f"/proc/{pid}/fd/0"), self.lease.stat()  # noqa: PTH116 - a name of the kernel's
        except OSError:
            return False
        return (held.st_dev, held.st_ino) == (own.st_dev, own.st_ino)


def end_lost(daemon: Daemon, say: Say, gently: signal.Signals = signal.SIGTERM) -> None:
    """Stop a program's processes whose state folder is gone, and report it."""
    for pid in daemon.end_lost(gently):
        say(f"{daemon.name} (pid {pid}) stopped: its state folder was gone")


def owned(daemon: Daemon, folders: Mapping[Path, Made]) -> list[str]:
    """List what `destroy` would stop and remove of a program: lost processes, and what is in its folders."""
    lost = [f"{daemon.name} (pid {pid}), which runs although its state folder is gone" for pid in daemon.lost]
    return lost + [str(place) for folder, made in folders.items() for place in removable(folder, made)]


def lease_holders(lease: Path) -> list[int]:
    """List the processes that have the lease as stdin. Empty without /proc."""
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


def _lock(file: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def may_signal(pid: int) -> bool:
    """Return whether a process exists, is this user's (any, for root), and is not in a container."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        own, its = (os.readlink(f"/proc/{one}/ns/pid") for one in ("self", pid))  # noqa: PTH115
    except OSError:  # no /proc, or not readable
        return True
    return own == its


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
