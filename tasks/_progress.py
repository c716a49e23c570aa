"""How a run shows the progress of its steps on stderr: bars on a terminal, a line each ten seconds elsewhere.

The bars are the last lines of the terminal. They make room for whatever else is written there, and for questions.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._lazy import lazy

if TYPE_CHECKING:
    from . import _bars
    from .localenv.machine.progress import Progress
else:
    _bars = lazy("_bars")

LINE_EVERY_S = 10.0
_drawn: list[_bars.Bars] = []
_drawing = threading.RLock()
_in_their_place = 0
"""How many write to the terminal now: until they are done, no bar is drawn."""


def show(progress: Progress, name: str, width: int, say: Callable[[str, str], None]) -> None:
    """Show how far a step's work has come; called some times a second, and once it is over.

    `width` is that of the names of steps, and `say` writes a line under such a name.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _drawing:
            if progress.is_over or not _in_their_place:
                _all_bars().show(f"      {name:<{width}} |", progress)
    elif not progress.is_over and time.monotonic() - (progress.told or progress.started) >= LINE_EVERY_S:
        progress.told = time.monotonic()
        say(name, str(progress))


def end() -> None:
    """Take all bars off the terminal for good: the run was interrupted, and threads of it may still work."""
    without_bars().__enter__()


@contextmanager
def without_bars() -> Iterator[None]:
    """Write to the terminal, or ask there, where the bars are; the next look at them brings them back below."""
    global _in_their_place
    with _drawing:
        _in_their_place += 1
        if _drawn:
            _drawn[0].hide()
    try:
        yield
    finally:
        with _drawing:
            _in_their_place -= 1


def _all_bars() -> _bars.Bars:
    if not _drawn:
        _drawn.append(_bars.Bars(sys.stderr))
    return _drawn[0]
