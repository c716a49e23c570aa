"""The chosen engine and the reason, kept in the state folder for the next command."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from ..checkout.ownership import remove_note
from ..machine import private
from ..machine.reading import read_note

EngineName = Literal["docker", "embedded"]


@dataclass(frozen=True)
class Choice:
    """The engine that runs the services, and the reason for it."""

    engine: EngineName
    reason: str


def read_choice(state_dir: Path) -> Choice | None:
    """Read the choice that env.up kept; None if there is none, or it is unreadable."""
    try:
        kept = read_note(state_dir / "engine")
        return Choice(cast(EngineName, kept["engine"]), kept["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_choice(state_dir: Path, choice: Choice) -> None:
    if read_choice(state_dir) != choice:  # write only a change: the disk may be full
        private.make_folder(state_dir)
        private.write(state_dir / "engine", json.dumps(asdict(choice)))


def forget_choice(state_dir: Path) -> None:
    """Make the next start choose again. On a read-only disk the choice stays, which is harmless."""
    with suppress(OSError):
        remove_note(state_dir, "engine")
