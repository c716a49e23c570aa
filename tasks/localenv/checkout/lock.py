"""The project's lock: one run at a time changes the environment; a second one waits, and names the first."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import LockHeld
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.masking import masked
from ..machine.reading import read_note
from .ownership import foreign


class ProjectLock:
    """An flock on a file in the state folder; the kernel releases it with the process, however that ends.

    It works without writing, so that a command can free space on a full disk. The note of the holder is written if
    possible.
    """

    def __init__(self, state_dir: Path, wait_s: float = 600) -> None:
        self._path = state_dir / "lock"
        self._wait_s = wait_s
        self._opened = -1

    @property
    def held(self) -> bool:
        return self._opened >= 0

    def acquire(self, command: str, say: Callable[[str], None]) -> None:
        """Acquire the lock, unless it is held already; `command` is shown to others.

        Raises LockHeld when it does not become free within the waiting time.
        """
        if self.held:
            return
        with disk_errors(self._path.parent):
            opened = self._open()
            if not _try(opened):
                self._wait(opened, say)
        self._opened = opened
        self._note(json.dumps({"pid": os.getpid(), "command": command, "since": time.time()}))

    def used_since(self, moment: float) -> bool:
        """Return whether another run holds the lock, or acquired or released it since `moment` (epoch seconds)."""
        try:
            opened = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try(opened) or os.fstat(opened).st_mtime >= moment
        finally:
            os.close(opened)

    def release(self) -> None:
        """Release the lock for the next run."""
        if self.held:
            self._note("")
            os.close(self._opened)
            self._opened = -1

    def _open(self) -> int:
        """Open what is locked: the file; the folder itself if the file cannot or must not be created.

        It must not in a folder with foreign files: a start there is refused.
        """
        folder = self._path.parent
        private.make_folder(folder)
        if not foreign(folder):
            with suppress(OSError):  # no space, or a disk that is read-only
                return private.descriptor(self._path, os.O_RDWR | os.O_CREAT)
            with suppress(OSError):
                return private.descriptor(self._path, os.O_RDONLY)
        return os.open(folder, os.O_RDONLY | os.O_CLOEXEC)

    def _note(self, text: str) -> None:
        with suppress(OSError):
            os.ftruncate(self._opened, 0)
            os.pwrite(self._opened, text.encode(), 0)

    def _wait(self, opened: int, say: Callable[[str], None]) -> None:
        who = self._holder()
        say(f"waiting for {who}")
        end = time.monotonic() + self._wait_s
        while not _try(opened):
            if time.monotonic() > end:
                os.close(opened)
                raise LockHeld(
                    f"the lock is still held by {who} after {self._wait_s:.0f} s",
                    hint="wait for that run to end, or stop it, then run the same command again",
                )
            time.sleep(0.05)

    def _holder(self) -> str:
        try:
            holder = read_note(self._path)
            return f"`{holder['command']}` (pid {holder['pid']}, started {time.time() - holder['since']:.0f} s ago)"
        except (OSError, ValueError, KeyError, TypeError):
            return "another run of this project"


def _try(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def command_line() -> str:
    """Return this run's command line as the user typed it, masked."""
    words = sys.argv[1:]
    if words[:1] == ["--search-root"]:  # added by ./inv
        words = words[2:]
    return masked(shlex.join(["inv", *words]))
