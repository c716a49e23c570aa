"""Whose data the stores hold: a note beside the entries of `undo`, of each engine. And what a killed switch left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .. import engines
from ..checkout import ownership
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.reading import read_note
from .entries import Entries, Found

if TYPE_CHECKING:
    from pathlib import Path

    from ..settings import Settings

NOTE = "branches.json"


@dataclass(frozen=True)
class Loaded:
    """The branch whose data the stores hold, empty if not known; `parked` is the entry that the last switch made."""

    branch: str = ""
    parked: str = ""


def read_loaded(settings: Settings) -> Loaded:
    """Return what is noted for the engine in use."""
    try:
        return Loaded(**_read(settings)[engines.choose(settings).engine])
    except (KeyError, TypeError):
        return Loaded()


@contextmanager
def noted(settings: Settings, loaded: Loaded) -> Iterator[None]:
    """Note whose data are loaded; where the body fails, the former note is back."""
    former = read_loaded(settings)
    _write(settings, loaded)
    try:
        yield
    except Exception:
        _write(settings, former)
        raise


def cut_short(settings: Settings) -> Found | None:
    """Return what a killed switch has parked, and only partly replaced."""
    engine = engines.choose(settings).engine
    found = (each for each in Entries(settings).all() if each.is_open and each.entry.is_parked)
    return next((each for each in found if each.entry.engine == engine), None)


def owner(settings: Settings) -> str:
    """Return the branch whose data a switch parks: that of a killed switch, else the one noted; empty if not known."""
    half = cut_short(settings)
    return half.entry.branch if half else read_loaded(settings).branch


def parked(settings: Settings) -> list[Found]:
    """Return the data of branches that can be loaded, of every engine, newest first."""
    return [each for each in Entries(settings).all() if each.entry.is_parked and not each.is_open]


def _write(settings: Settings, loaded: Loaded) -> None:
    notes = {**_read(settings), engines.choose(settings).engine: asdict(loaded)}
    with disk_errors(settings.state_dir):
        private.write(ownership.folder(settings, "undo") / NOTE, json.dumps(notes) + "\n", durably=True)


def _read(settings: Settings) -> dict[str, Any]:
    try:
        found = read_note(_file(settings))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _file(settings: Settings) -> Path:
    return settings.state_dir / "undo" / NOTE
