"""The state on disk: one JSON document per service, replaced atomically, and what could not be saved.

ministack itself saves only at a clean stop. Here it is saved about a second after a change, by a forked child, which
has a frozen copy of the memory: the server does not pause, and a killed server loses about a second of writes. A
caller that needs everything on disk calls `save`, which returns why it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import RUNNING, UNSAVED, inside

SAVE_AFTER_S = 1.0
PAUSE_PER_SAVING = 3
"""A save that took n seconds is followed by a pause of at least 3 n: saving uses at most a quarter of one core."""
LOG_BYTES = 5_000_000
UNKNOWN = 255
"""The exit code of a child that failed without an errno."""


@dataclass(frozen=True)
class Failure:
    """Why changes are not on disk, and since when (seconds since the epoch)."""

    reason: str
    since: float


class Store:
    """The state files, and the number of unsaved changes of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes: Counter[str] = Counter()
        self.failure: Failure | None = None
        self._on_disk: set[str] = set()
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()
        self._began = 0.0
        self._child = 0

    def note(self, name: str) -> None:
        """Count a change, before its request is answered."""
        self.changes[name] += 1
        self._woken.set()

    def restore(self) -> None:
        """Load the saved state. An unreadable file is renamed and logged, never overwritten."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                inside.restore(path.stem, path.read_bytes())
                self._on_disk.add(path.stem)
            except ValueError as error:
                aside = path.with_name(f"{path.name}.unreadable-{time.time():.0f}")
                path.replace(aside)
                log(f"the saved state {path.name} cannot be read ({error}); it was put aside as {aside.name}")
        inside.load()
        (self.folder / RUNNING).write_text(str(os.getpid()))

    async def run(self) -> None:
        """Save a second after each change, while the server lives. Ends it when its folder is gone."""
        while True:
            if not self._is_there():
                log("the state folder was removed; nothing can be kept, so the emulator ends")
                os._exit(3)
            cut_log()
            if not self._pending():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), timeout=SAVE_AFTER_S)
                self._woken.clear()
                continue
            await asyncio.sleep(SAVE_AFTER_S)
            started = time.monotonic()
            await self.save()
            await asyncio.sleep(PAUSE_PER_SAVING * (time.monotonic() - started))

    async def save(self) -> Failure | None:
        """Save all changes noted before this call; return why that failed. Concurrent callers share an attempt."""
        asked = time.monotonic()
        async with self._turn:
            if self._began <= asked:
                await self._attempt()
            return self.failure

    def close(self) -> None:
        """Save the remaining changes and mark the stop as clean."""
        if self._child:
            os.waitpid(self._child, 0)
        names = self._pending()
        if names and not self._is_there():
            return
        reason = _objects(names)
        inside.copy_nothing()
        reason = _reason(self._write(names)) or reason
        if reason:
            self._failed(reason)
            return
        for mark in (UNSAVED, RUNNING):
            with contextlib.suppress(OSError):
                (self.folder / mark).unlink(missing_ok=True)

    def _pending(self) -> list[str]:
        """List the states that are not on disk: changed since the last save, or their file was removed."""
        return sorted({*self.changes, *(name for name in self._on_disk if not self._file(name).exists())})

    def _is_there(self) -> bool:
        return (self.folder / RUNNING).exists()

    async def _attempt(self) -> None:
        self._began = time.monotonic()
        names, taken = self._pending(), self.changes.copy()
        try:
            reason = await self._save_in_child(names) if names else ""
        except Exception as error:  # noqa: BLE001 - whatever it was, it is retried a second later
            log(traceback.format_exc())
            reason = f"{type(error).__name__}: {error}"
        if reason:
            self._failed(reason)
            return
        self.changes -= taken
        self._on_disk.update(names)
        if self.failure:
            log("saved again")
            self.failure = None
        with contextlib.suppress(OSError):
            (self.folder / UNSAVED).unlink(missing_ok=True)

    def _failed(self, reason: str) -> None:
        if self.failure and self.failure.reason == reason:
            return
        self.failure = Failure(reason, self.failure.since if self.failure else time.time())
        log(f"cannot save {' and '.join(self._pending())}: {reason}")
        with contextlib.suppress(OSError):  # the disk is probably full
            (self.folder / UNSAVED).touch()

    async def _save_in_child(self, names: list[str]) -> str:
        """Save in a forked child; return why that failed, empty on success."""
        if not self._is_there():
            return "its folder was removed"
        if reason := _objects(names):
            return reason
        self._child = fork(lambda: self._write(names))
        try:
            return _reason(await ended(self._child))
        finally:
            self._child = 0

    def _write(self, names: list[str]) -> int:
        """Write each of these states; return 0, or the errno of the first failure."""
        codes = []
        for name in names:
            try:
                write_whole(self._file(name), inside.dump(name))
            except OSError as error:
                codes.append(error.errno or UNKNOWN)
            except Exception:  # noqa: BLE001 - the others are still written
                log(traceback.format_exc())
                codes.append(UNKNOWN)
        return codes[0] if codes else 0

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def fork(work: Callable[[], int]) -> int:
    """Do work in a child, which has a frozen copy of the memory; return its process id. Its exit code is the result."""
    child = os.fork()
    if child:
        return child
    code = UNKNOWN
    try:
        inside.copy_nothing()
        code = work()
    finally:
        os._exit(code)


async def ended(child: int) -> int:
    """Wait for a child and return its exit code, negative for a signal."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        await asyncio.sleep(0.005)


async def save_table(region: str, name: str, path: Path) -> str:
    """Write a table to a file, by a child; return why that failed. Raises KeyError where there is none."""
    inside.require_table(region, name)

    def write() -> int:
        try:
            write_whole(path, inside.dump_table(region, name))
        except OSError as error:
            return error.errno or UNKNOWN
        except Exception:  # noqa: BLE001 - told by the log
            log(traceback.format_exc())
            return UNKNOWN
        return 0

    return _reason(await ended(fork(write)))


def write_whole(path: Path, text: bytes) -> None:
    """Replace a file once the new one is completely on disk. On OSError the old one is unchanged."""
    new = path.with_name(f"{path.name}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # some file systems report a full disk only here
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def close_to_others(folder: Path) -> None:
    """Revoke others' rights on the folder's contents: an earlier version left them readable."""
    for parent, _, names in os.walk(folder):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            with contextlib.suppress(OSError):  # not the owner: then writing fails too, and reports it
                if not path.is_symlink() and path.stat().st_mode & 0o077:
                    path.chmod(path.stat().st_mode & 0o700)


def log(text: str) -> None:
    """Write a line to the log, which is our stderr, unless the disk is full."""
    with contextlib.suppress(OSError):
        print(text.rstrip(), file=sys.stderr, flush=True)


def cut_log() -> None:
    """Truncate the log when it is too long; it is open for appending."""
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > LOG_BYTES:
            os.ftruncate(2, 0)


def _objects(names: list[str]) -> str:
    """Write the remaining S3 objects if any changed; return why that failed."""
    return "" if "s3" not in names or inside.write_objects() else "an object of S3 cannot be written"


def _reason(code: int) -> str:
    if code < 0:
        return f"the program that saves was ended by {signal.Signals(-code).name}"
    if code in (0, UNKNOWN):
        return "" if code == 0 else "it cannot be written; the log says why"
    return os.strerror(code)
