"""Waits that are told: after 3 s each says what it waits for and until when, and at its deadline it is cut short.

One thread watches all waits of the process, so that a wait costs a few microseconds and needs no co-operation of what
blocks. What is said goes to the voice of the step that waits, which `parallel.side_by_side` hands on to its threads.
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
from typing import TypeVar

from ..errors import TimedOut
from ..hints import Command
from .ports import paused_behind

T = TypeVar("T")

SAY_AFTER_S = 3.0
LOOK_S = 2.0
"""What one question of a look may take: something that only looks never keeps anybody waiting."""
AWAY_LOOK_S = 5.0
"""The same for what is not on this machine: names, TLS, and the SDK that has to be loaded for it."""
STEP_S = 0.1

_voice: ContextVar[Callable[[str], None]] = ContextVar("voice", default=lambda line: None)
_most: ContextVar[float] = ContextVar("most", default=float("inf"))
_waits: dict[int, Wait] = {}
_numbers = itertools.count()
_starting = threading.Lock()
_watcher: list[threading.Thread] = []


@dataclass
class Wait:
    """Something that is waited for. `port` is that of a server on this machine, 0 where there is none."""

    what: str
    seconds: float | None
    say: Callable[[str], None]
    port: int = 0
    cut: Callable[[], None] = lambda: None
    started: float = field(default_factory=time.monotonic)
    is_told: bool = False
    is_over: bool = False

    def error(self, hint: str) -> TimedOut:
        """Make the error for a wait that came to its deadline; who keeps us waiting is named where it is paused."""
        why = paused_behind(self.port) if self.port else ""
        return TimedOut(
            f"{self.what}: no answer within {self.seconds:.0f} s{f': {why}' if why else ''}",
            hint=Command("env.up", when=", which lets it go on") if why else hint,
        )

    def look(self, now: float) -> None:
        """Say or end what is due by now."""
        passed = now - self.started
        if not self.is_told and passed >= SAY_AFTER_S:
            self.is_told = True
            self.say(self._told())
        if not self.is_over and self.seconds is not None and passed >= self.seconds:
            self.is_over = True
            self.cut()

    def _told(self) -> str:
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
    """Let the waits of this thread, and of those that work for it, be told by `say`."""
    before = _voice.set(say)
    try:
        yield
    finally:
        _voice.reset(before)


@contextmanager
def looking(seconds: float = LOOK_S) -> Iterator[None]:
    """Give each single wait in here this time at most."""
    before = _most.set(seconds)
    try:
        yield
    finally:
        _most.reset(before)


def is_looking() -> bool:
    """Tell whether waits are bounded by `looking`."""
    return _most.get() != float("inf")


def at_most(seconds: float) -> float:
    """Return how long a single wait may take here: `seconds`, or less while something only looks."""
    return min(seconds, _most.get())


@contextmanager
def waiting(
    what: str, seconds: float | None = None, *, port: int = 0, cut: Callable[[], None] = lambda: None
) -> Iterator[Wait]:
    """Wait in here for `what`. At the deadline `cut` is called from another thread, once, and `is_over` is set.

    `seconds` None is a wait without an end of its own, which gets one inside `looking`.
    """
    most = _most.get()
    bound = (None if most == float("inf") else most) if seconds is None else min(seconds, most)
    wait = Wait(what, bound, _voice.get(), port, cut)
    number = next(_numbers)
    _waits[number] = wait
    if not _watcher:
        _start_watching()
    try:
        yield wait
    finally:
        del _waits[number]


def within(seconds: float, what: str, job: Callable[[], T], *, hint: str) -> T:
    """Return what a job gives that nothing can cut short. Raises TimedOut; the job is then left to itself."""
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
    """End what another thread waits for on a socket: it reads the end of the connection then."""
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _start_watching() -> None:
    with _starting:
        if not _watcher:
            _watcher.append(threading.Thread(target=_watch, name="waits", daemon=True))
            with contextlib.suppress(RuntimeError):  # no further thread is to be had: then nobody speaks
                _watcher[0].start()


def _watch() -> None:
    while True:
        now = time.monotonic()
        for wait in list(_waits.values()):
            wait.look(now)
        time.sleep(STEP_S)
