"""Announced waits: after 3 s each says what it waits for and until when, and at its deadline it is interrupted.

One thread watches all waits of the process, and its progress (progress.py): a wait costs a few microseconds, and the
blocking call need not cooperate. Announcements go to the voice of the waiting step, which `parallel.side_by_side`
passes to its threads.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ..errors import TimedOut
from ..hints import Command
from .ports import paused_behind

T = TypeVar("T")

SAY_AFTER_S = 3.0
LOOK_S = 2.0
"""The limit of one request of a command that only reads: it must never keep the user waiting."""
AWAY_LOOK_S = 5.0
"""The same for a remote service: name resolution, TLS, and loading the SDK."""
STEP_S = 0.1

_voice: ContextVar[Callable[[str], None]] = ContextVar("voice", default=lambda line: None)
_most: ContextVar[float] = ContextVar("most", default=float("inf"))
_watched: dict[int, Watched] = {}
_numbers = itertools.count()
_starting = threading.Lock()
_watcher: list[threading.Thread] = []


class Watched(Protocol):
    """What the watching thread looks at, ten times a second."""

    def look(self, now: float) -> None: ...


@dataclass
class Wait:
    """A wait for something. `port` is that of a server on this machine, 0 where there is none."""

    what: str
    seconds: float | None
    say: Callable[[str], None]
    port: int = 0
    cut: Callable[[], None] = lambda: None
    started: float = field(default_factory=time.monotonic)
    is_announced: bool = False
    is_over: bool = False

    def error(self, hint: str) -> TimedOut:
        """Return the error for a wait that reached its deadline; it names the server's process if that is paused."""
        why = paused_behind(self.port) if self.port else ""
        return TimedOut(
            f"{self.what}: no answer within {self.seconds:.0f} s{f': {why}' if why else ''}",
            hint=Command("env.up", when=", which resumes it") if why else hint,
        )

    def look(self, now: float) -> None:
        """Announce or interrupt the wait if that is due."""
        passed = now - self.started
        if not self.is_announced and passed >= SAY_AFTER_S:
            self.is_announced = True
            self.say(self._announcement())
        if not self.is_over and self.seconds is not None and passed >= self.seconds:
            self.is_over = True
            self.cut()

    def _announcement(self) -> str:
        until = f"until {time.strftime('%H:%M:%S', time.localtime(time.time() + self.left_s))}"
        why = paused_behind(self.port) if self.port else ""
        return f"waiting for {self.what}, {'Ctrl-C ends that' if self.seconds is None else until}" + (
            f": {why}" if why else ""
        )

    @property
    def left_s(self) -> float:
        return 0.0 if self.seconds is None else max(0.0, self.started + self.seconds - time.monotonic())


@contextmanager
def speaking(say: Callable[[str], None]) -> Iterator[None]:
    """Announce the waits of this thread, and of those that work for it, through `say`."""
    before = _voice.set(say)
    try:
        yield
    finally:
        _voice.reset(before)


@contextmanager
def looking(seconds: float = LOOK_S) -> Iterator[None]:
    """Limit each single wait in this context."""
    before = _most.set(seconds)
    try:
        yield
    finally:
        _most.reset(before)


def is_looking() -> bool:
    """Return whether waits are limited by `looking`."""
    return _most.get() != float("inf")


def at_most(seconds: float) -> float:
    """Return how long a single wait may take here: `seconds`, or less within `looking`."""
    return min(seconds, _most.get())


@contextmanager
def waiting(
    what: str, seconds: float | None = None, *, port: int = 0, cut: Callable[[], None] = lambda: None
) -> Iterator[Wait]:
    """Announce that this context waits for `what`. At the deadline another thread sets `is_over` and calls `cut` once.

    `seconds` None is a wait without a deadline of its own; within `looking` it gets one.
    """
    most = _most.get()
    bound = (None if most == float("inf") else most) if seconds is None else min(seconds, most)
    wait = Wait(what, bound, _voice.get(), port, cut)
    with watched(wait):
        yield wait


@contextmanager
def watched(what: Watched) -> Iterator[None]:
    """Have the watching thread look at something while this context lasts."""
    number = next(_numbers)
    _watched[number] = what
    if not _watcher:
        _start_watching()
    try:
        yield
    finally:
        del _watched[number]


def within(seconds: float, what: str, job: Callable[[], T], *, hint: str) -> T:
    """Return the result of a job that cannot be interrupted. Raises TimedOut; the job is then abandoned."""
    answers: queue.SimpleQueue[tuple[bool, T | BaseException]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((True, job()))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, whatever it is
            answers.put((False, error))

    with waiting(what, seconds) as wait:
        threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
        try:
            done, answer = answers.get(timeout=wait.left_s)
        except queue.Empty:
            raise wait.error(hint) from None
    if not done:
        assert isinstance(answer, BaseException)
        raise answer
    return answer  # type: ignore[return-value]  # the pair says which of the two it is


def hang_up(connection: socket.socket | None) -> None:
    """Shut a socket down, so that a thread waiting on it reads the end of the connection."""
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _start_watching() -> None:
    with _starting:
        if not _watcher:
            _watcher.append(threading.Thread(target=_watch, name="waits", daemon=True))
            with contextlib.suppress(RuntimeError):  # no further thread to be had: then nothing is announced
                _watcher[0].start()


def _watch() -> None:
    while True:
        now = time.monotonic()
        for each in list(_watched.values()):
            each.look(now)
        time.sleep(STEP_S)
