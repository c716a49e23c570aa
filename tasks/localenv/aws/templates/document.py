"""The contents of a JSON or YAML file with the place of every value, for errors at path:line:column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import UsageError

Steps = tuple[str | int, ...]
"""The path to a value from the root: ("KeySchema", 0, "KeyType")."""

Places = Mapping[Steps, tuple[int, int]]
"""Line and column of each value, counted from 1."""


@dataclass(frozen=True)
class Document:
    """The contents of a file, or of a part of it. `shown` is its path as messages show it.

    `places` is only called for errors. `origins` maps a value of `data` that was assembled or moved to its steps in the
    file; the values below it follow.
    """

    shown: str
    data: Any
    places: Callable[[], Places]
    origins: Mapping[Steps, Steps] = field(default_factory=dict)

    def place(self, steps: Steps = ()) -> str:
        """Return path:line:column of a value, or of the nearest one around it that exists."""
        places, steps = self.places(), self._in_file(steps)
        while steps not in places:
            steps = steps[:-1]
        line, column = places[steps]
        return f"{self.shown}:{line}:{column}"

    def error(self, steps: Steps, message: str, *, hint: str = "") -> UsageError:
        """Return the error for a value."""
        return UsageError(f"{self.place(steps)}: {message}", hint=hint)

    def part(self, data: Any, origins: Mapping[Steps, Steps]) -> Document:
        """Return a document of data taken or made from this one. `origins` lead into this one."""
        return replace(self, data=data, origins={here: self._in_file(there) for here, there in origins.items()})

    def with_data(self, data: Any) -> Document:
        """Return a document of other data with the same places."""
        return replace(self, data=data)

    def _in_file(self, steps: Steps) -> Steps:
        for length in range(len(steps), -1, -1):
            if steps[:length] in self.origins:
                return (*self.origins[steps[:length]], *steps[length:])
        return steps
