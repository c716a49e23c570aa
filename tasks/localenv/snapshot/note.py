"""The note of a restore that is under way or was interrupted: which one, how far it got, and what to type then."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from ..hints import Command, either
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.reading import read_note as read_note_file
from .manifest import BEFORE

GO_BACK = f"inv snapshot.restore {BEFORE}"
UNREADABLE = "?"


@dataclass(frozen=True)
class Note:
    """`source` is the name of the snapshot being restored, the path of a file, or `?` if unknown.

    `command` is the command as typed. With `is_done` every store is restored, and only cleaning up is left: with
    `went_back` of `.before` itself, else of the snapshot that `.before` replaces.
    """

    source: str
    command: str
    is_done: bool = False
    went_back: bool = False

    @property
    def may_go_back(self) -> bool:
        """Return whether `before-restore` is the earlier state; during its own restore it is the source."""
        return self.source != BEFORE

    @property
    def hint(self) -> str:
        """Return the hint what to type while the stores are partly restored."""
        return either(Command.of(self.command), Command.of(GO_BACK, when="to go back") if self.may_go_back else "")

    @property
    def sentence(self) -> str:
        if self.is_done:
            return f"`{self.command}` has restored every store, and is cleaning up or was cut short: run it again"
        back = f", or `{GO_BACK}` to go back" if self.may_go_back else ""
        return f"`{self.command}` is under way or was cut short, and the stores are partly restored: run it again{back}"


def read_note(path: Path) -> Note | None:
    """Read a note; None without one. An unreadable one still means an unfinished restore."""
    try:
        data = read_note_file(path)
        return Note(str(data["source"]), str(data["command"]), data["done"] is True, data["back"] is True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Note(UNREADABLE, GO_BACK)


def write_note(path: Path, note: Note) -> None:
    """Write a note atomically; the settings read its `sentence`."""
    data = {
        "source": note.source,
        "command": note.command,
        "done": note.is_done,
        "back": note.went_back,
        "sentence": note.sentence,
        "since": time.time(),
    }
    write_whole(path, json.dumps(data))


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically and durably."""
    with disk_errors(path.parent):
        private.write(path, text, durably=True)
