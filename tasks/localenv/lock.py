"""The project's lock: one run at a time changes the environment, a second one waits and says for whom."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .disk import disk_errors
from .errors import LockHeld
from .masking import masked


class ProjectLock:
    """An flock on a file under the state folder; the kernel drops it with the process, however that ends."""

    def __init__(self, state_dir: Path, wait_s: float = 600) -> None:
        self._path = state_dir / "lock"
        self._wait_s = wait_s
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self, command: str, say: Callable[[str], None]) -> None:
        """Take the lock, which may be held already; `command` is what others are told.

        Raises LockHeld when it is not free within the waiting time.
        """
        if self.held:
            return
        with disk_errors(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+")
        if not _try(file):
            self._wait(file, say)
        with disk_errors(self._path.parent):
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "command": command, "since": time.time()}))
            file.flush()
        self._file = file

    def release(self) -> None:
        """Let the next run go on."""
        if self._file:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def _wait(self, file: IO[str], say: Callable[[str], None]) -> None:
        who = self._holder()
        say(f"waiting for {who}")
        end = time.monotonic() + self._wait_s
        while not _try(file):
            if time.monotonic() > end:
                file.close()
                raise LockHeld(
                    f"the lock is still held by {who} after {self._wait_s:.0f} s",
                    hint="wait for that run to end, or stop it, then run the same command again",
                )
            time.sleep(0.05)

    def _holder(self) -> str:
        try:
            holder = json.loads(self._path.read_text())
            return f"`{holder['command']}` (pid {holder['pid']}, started {time.time() - holder['since']:.0f} s ago)"
        except (OSError, ValueError, KeyError):
            return "another run of this project"


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def command_line() -> str:
    """Give this run as the user typed it, for others to read."""
    words = sys.argv[1:]
    if words[:1] == ["--search-root"]:  # ./inv says so for the user
        words = words[2:]
    return masked(shlex.join(["inv", *words]))
