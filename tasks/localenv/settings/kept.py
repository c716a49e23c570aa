"""Notes in the state folder: the ports that env.up has chosen, and which project owns the embedded engine's data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..machine import private
from ..machine.reading import read_note

PROJECT = re.compile(r"[a-z0-9-]+-[0-9a-f]{6}")
"""The form of `settings.project_id`."""


def kept_ports(state_dir: Path, project: str) -> dict[str, int]:
    """Read the ports that env.up has chosen, by service; empty if none.

    Another project's note, which came with a copied or moved folder, is ignored.
    """
    try:
        note = read_note(_file(state_dir))
        return {str(s): int(port) for s, port in note["ports"].items()} if note["project"] == project else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def are_fixed(state_dir: Path, project: str) -> bool:
    """Return whether the kept ports are those that the user asked for, which no start replaces."""
    try:
        note = read_note(_file(state_dir))
        return note["project"] == project and note["fixed"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def keep_ports(state_dir: Path, project: str, ports: Mapping[str, int], *, fixed: bool = False) -> None:
    """Save the ports for every later command of this checkout."""
    private.make_folder(state_dir)
    private.write(_file(state_dir), json.dumps({"project": project, "ports": dict(ports), "fixed": fixed}))


def kept_project(state_dir: Path) -> str:
    """Read which project owns the embedded engine's data; empty if not noted yet."""
    try:
        return (state_dir / "run" / "project").read_text()
    except OSError:
        return ""


def keep_project(state_dir: Path, project: str) -> None:
    """Note which project owns the embedded engine's data, atomically."""
    note = state_dir / "run" / "project"
    private.make_folder(note.parent)
    private.write(note, project)


def _file(state_dir: Path) -> Path:
    return state_dir / "ports"
