"""How env.logs writes the lines of the services: the last ones under each other, or all as they come."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from . import _output
from ._graph import Exit, StepContext
from ._lazy import lazy
from .localenv.errors import INTERRUPTED
from .localenv.machine.columns import without_sequences

if TYPE_CHECKING:
    from .localenv import engines
    from .localenv.engines.service import LogLine
else:
    engines = lazy("localenv.engines")

WIDTH = len("dynamodb+cognito")
"""One program serves these two, so their lines have one name."""


def listed(found: dict[str, str]) -> list[str]:
    parts = [["", f"--- {name}", *(text or "(nothing)").split("\n")] for name, text in found.items()]
    return list(map(without_sequences, itertools.chain(*parts)))[1:]


def follow(c: StepContext, names: Sequence[str], lines: int) -> None:
    """Write lines until Ctrl-C, which is the end that is meant: no complaint, and the exit code of one."""
    found = _flushed(engines.follow(c.step.settings, names, lines))
    try:
        c.step.stream("line", found, lambda found: map(_Prefixed(), found), _as_value)
    except KeyboardInterrupt:
        raise Exit(code=INTERRUPTED) from None


def _flushed(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Let each line be read before the next one is waited for."""
    for line in lines:
        yield line
        sys.stdout.flush()


def _as_value(line: LogLine) -> dict[str, object]:
    return {"service": line.source, "text": without_sequences(line.text), "event": line.is_event}


class _Prefixed:
    """Writes lines under each other behind their services' names; on a terminal each name has its colour."""

    def __init__(self) -> None:
        plain = not _output.wants_colour(sys.stdout)
        self.colours = iter(()) if plain else itertools.cycle(("36", "33", "35"))
        self.names: dict[str, str] = {}

    def __call__(self, line: LogLine) -> _output.Marked:
        if line.source not in self.names:
            colour, name = next(self.colours, ""), f"{line.source:<{WIDTH}}"
            self.names[line.source] = f"\x1b[{colour}m{name}\x1b[0m" if colour else name
        text = without_sequences(line.text)
        return _output.Marked(self.names[line.source], f"   {text}" if line.is_event else f" | {text}".rstrip())
