"""Commands that an error or a finding suggests: as values, which keep their arguments. Nothing runs here.

A hint is text. One that names a command of ours is a `Command`, so that its printer knows which: it leaves out a
command that has just failed, and adds the options of the run (tasks/_advice.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any


def inv(*words: str) -> str:
    """Return a command of ours as texts show it; the printer replaces `inv` with what this user types."""
    return f"`{shlex.join(('inv', *words))}`"


class Command(str):
    """A hint to run a command of ours. `first` is what to do before it, `when` why or when it helps."""

    words: tuple[str, ...]
    first: str
    when: str

    def __new__(cls, *words: str, first: str = "", when: str = "") -> Command:
        does = f"{first}, then run" if first else "run"
        space = "" if when[:1] in ("", ",", ":", ";") else " "
        self = super().__new__(cls, f"{does} {inv(*words)}{space}{when}")
        self.words, self.first, self.when = words, first, when
        return self

    @classmethod
    def of(cls, typed: str, *, when: str = "") -> Command:
        """Return the hint for a command given as text: "inv db.setup --yes"."""
        return cls(*shlex.split(typed)[1:], when=when)

    def __deepcopy__(self, memo: dict[int, Any]) -> Command:
        return self

    @property
    def shown(self) -> str:
        """The command alone."""
        return inv(*self.words)

    def replaced(self, words: Sequence[str]) -> Command:
        """Return the same hint with other arguments."""
        return Command(*words, first=self.first, when=self.when)


class Choice(str):
    """Alternative hints, the best one first."""

    parts: tuple[str, ...]

    def __new__(cls, parts: Sequence[str]) -> Choice:
        self = super().__new__(cls, ", or ".join(parts))
        self.parts = tuple(parts)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Choice:
        return self


def either(*ways: str) -> str:
    """Return these alternatives as one hint, without the empty ones."""
    parts = [part for way in ways for part in parts_of(way)]
    return parts[0] if len(parts) == 1 else Choice(parts)


def parts_of(hint: str) -> tuple[str, ...]:
    """Return the alternatives in a hint: commands and texts."""
    return hint.parts if isinstance(hint, Choice) else (hint,) if hint else ()


def commands_of(hint: str) -> list[Command]:
    """Return the commands of ours in a hint, the best one first."""
    return [part for part in parts_of(hint) if isinstance(part, Command)]


def words_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return a task's arguments as command-line words."""
    words: list[str] = []
    for name, value in arguments.items():
        flag = f"--{name.strip('_').replace('_', '-')}"
        if (name, value) == ("format", "text"):
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [] if one in (None, False, "") else [flag] if one is True else [flag, str(one)]
    return words


START = Command("env.up")
RESTART = Command("env.restart", when=", then the same command again")
LOGS = Command("env.logs", when="to see what the services say")
DOCTOR = Command("doctor", when="to see what this machine lacks")
