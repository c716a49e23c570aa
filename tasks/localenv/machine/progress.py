"""Work that takes long, counted: the step's display hears how far it has come once two seconds have passed.

The thread that watches the waits asks for it, so that what works only counts: some 0.1 µs a call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from .waiting import watched

SHOW_AFTER_S = 2.0
BYTES = "bytes"
SCALES = ((10**6, "MB"), (10**3, "kB"))

_display: ContextVar[Callable[[Progress], None]] = ContextVar("display", default=lambda progress: None)


@dataclass(eq=False)
class Progress:
    """How far a piece of work has come: `done` of `total` in `unit`, None where nobody knows how much it is.

    `unit` is a plural ("items"), BYTES, or empty for work that only takes its time.
    """

    what: str
    total: int | None
    unit: str
    display: Callable[[Progress], None]
    done: int = 0
    is_shown: bool = False
    is_over: bool = False
    started: float = field(default_factory=time.monotonic)
    told: float = 0.0
    """When the display said it last, for its own use."""
    _adding: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        """Note that so much more is done."""
        with self._adding:
            self.done += count

    def look(self, now: float) -> None:
        """Show it, where it has taken long enough."""
        if not self.is_over and (self.is_shown or now - self.started >= SHOW_AFTER_S):
            self.is_shown = True
            self.display(self)

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def rate(self) -> float:
        """Units per second since it began."""
        return self.done / self.seconds

    @property
    def left_s(self) -> float | None:
        """Return the seconds that are left at this rate; None where that cannot be known.

        A total that turns out to be too small (a table that grows while it is read) was none.
        """
        return (self.total - self.done) / self.rate if self.total and 0 < self.done <= self.total else None

    @property
    def counted(self) -> str:
        """How far it has come: 12,000 of 60,000 items."""
        scale = next((each for each in SCALES if max(self.total or 0, self.done) >= each[0]), (1, self.unit))
        size, unit = scale if self.unit == BYTES else (1, self.unit)
        known = self.total if self.total and self.done <= self.total else None
        done = f"{self.done // size:,}" + (f" of {known // size:,}" if known else "")
        return f"{done} {unit}" if unit else ""

    @property
    def speed(self) -> str:
        """How fast that was: 1,140/s."""
        if not self.unit or not self.done:
            return ""
        return f"{self.rate / 1e6:,.1f} MB/s" if self.unit == BYTES else f"{self.rate:,.0f}/s"

    @property
    def left(self) -> str:
        """How long it still takes: 3:20 min left; without a total how long it has taken."""
        return f"{self.seconds:.0f} s so far" if self.left_s is None else f"{_clock(self.left_s)} left"

    def __str__(self) -> str:
        return f"{self.what}: {', '.join(part for part in (self.counted, self.speed, self.left) if part)}"


@contextmanager
def displaying(display: Callable[[Progress], None]) -> Iterator[None]:
    """Show the work of this thread, and of those that work for it, some times a second, and when it is over."""
    before = _display.set(display)
    try:
        yield
    finally:
        _display.reset(before)


@contextmanager
def progress(what: str, total: int | None = None, unit: str = "") -> Iterator[Progress]:
    """Show the work of this context under what it is called; of the work within it, nothing by itself."""
    with part_of_progress(what, total, unit) as made, displaying(lambda inner: None):
        yield made


@contextmanager
def part_of_progress(what: str, total: int | None = None, unit: str = "") -> Iterator[Progress]:
    """Show work that has none within it; for generators, which must leave their caller's context as it is."""
    made = Progress(what, total, unit, _display.get())
    with watched(made):
        try:
            yield made
        finally:
            made.is_over = True
            if made.is_shown:
                made.display(made)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02} h"
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
