"""What an engine leaves in the state folder for the next command: which engine was chosen, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from ..reading import read_note

EngineName = Literal["docker", "embedded"]


@dataclass(frozen=True)
class Choice:
    """The engine that runs the services, and the reason why it is this one."""

    engine: EngineName
    reason: str


def read_choice(state_dir: Path) -> Choice | None:
    """Read the choice that env.up kept; None when there is none, or it cannot be read."""
    try:
        kept = read_note(state_dir / "engine")
        return Choice(cast(EngineName, kept["engine"]), kept["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_choice(state_dir: Path, choice: Choice) -> None:
    state_dir.mkdir(parents=True, exist_ok=True)
    fresh = state_dir / "engine.new"
    fresh.write_text(json.dumps(asdict(choice)))
    fresh.replace(state_dir / "engine")


def forget_choice(state_dir: Path) -> None:
    (state_dir / "engine").unlink(missing_ok=True)
