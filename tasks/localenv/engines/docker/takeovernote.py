"""The note of a takeover from plain Compose: which project, which volumes, and how far it came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, cast

from ...machine import private
from ...machine.reading import read_note
from ...settings import Settings

NOTE = "adopted.json"
Stage = Literal["copying", "copied", "adopted"]
"""copying: our volumes are incomplete. copied: the database is not marked as ours yet. adopted: done."""


@dataclass(frozen=True)
class Takeover:
    """A takeover of `project`; `volumes` are its own, each with ours that is a copy of it."""

    project: str
    volumes: Mapping[str, str]
    stage: Stage = "copying"


def read_takeover(settings: Settings) -> Takeover | None:
    """Read the note; None without one, or where it is unreadable."""
    try:
        note = read_note(settings.state_dir / NOTE)
        volumes = {str(theirs): str(ours) for theirs, ours in note["volumes"].items()}
        return Takeover(str(note["project"]), volumes, cast(Stage, note["stage"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def note_takeover(settings: Settings, takeover: Takeover) -> None:
    private.make_folder(settings.state_dir)
    private.write(settings.state_dir / NOTE, json.dumps(asdict(takeover)))


def note_stage(settings: Settings, stage: Stage) -> None:
    """Note how far a takeover came, if there is one."""
    found = read_takeover(settings)
    if found and found.stage != stage:
        note_takeover(settings, replace(found, stage=stage))
