"""Notes in the state folder: the ports that env.up has picked, and whose the data of the embedded engine are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .reading import read_note


def kept_ports(state_dir: Path, project: str) -> dict[str, int]:
    """Read the ports that env.up has picked, by service; none when there are none.

    The note of another project came here with a copied or moved folder, and does not count.
    """
    try:
        note = read_note(_file(state_dir))
        return {str(s): int(port) for s, port in note["ports"].items()} if note["project"] == project else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def keep_ports(state_dir: Path, project: str, ports: Mapping[str, int]) -> None:
    """Write the ports down for every later command of this checkout."""
    state_dir.mkdir(parents=True, exist_ok=True)
    fresh = state_dir / "ports.new"
    fresh.write_text(json.dumps({"project": project, "ports": dict(ports)}))
    fresh.replace(_file(state_dir))


def forget_ports(state_dir: Path) -> None:
    """Let the defaults hold again."""
    _file(state_dir).unlink(missing_ok=True)


def kept_project(state_dir: Path) -> str:
    """Read which project the data of the embedded engine belong to; empty where nobody has noted it yet."""
    try:
        return (state_dir / "run" / "project").read_text()
    except OSError:
        return ""


def keep_project(state_dir: Path, project: str) -> None:
    """Write down whose the data of the embedded engine are, whole or not at all."""
    fresh = state_dir / "run" / "project.new"
    fresh.parent.mkdir(parents=True, exist_ok=True)
    fresh.write_text(project)
    fresh.replace(fresh.with_suffix(""))


def _file(state_dir: Path) -> Path:
    return state_dir / "ports"
