"""What the app's post confirmation function is told, in a file of the emulator's state: where the database is now.

The emulator outlives a change of .env, and runs the function much later; so whoever prepares the pool writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..machine import private
from ..machine.disk import disk_errors

if TYPE_CHECKING:
    from ..settings import Settings

VARIABLES = "cognito-function.variables"
"""The file's name, in the emulator's folder (engines/emulator_server knows it too, and imports nothing of ours)."""


def is_told(settings: Settings) -> bool:
    """Return whether the function would find the database of these settings."""
    try:
        return _file(settings).read_text() == _text(settings)
    except (OSError, ValueError):
        return False


def tell(settings: Settings) -> None:
    """Write the variables, where they differ."""
    if not is_told(settings):
        with disk_errors(settings.state_dir):
            private.make_folder(_file(settings).parent)
            private.write(_file(settings), _text(settings))


def _file(settings: Settings) -> Path:
    return settings.state_dir / "emulator" / VARIABLES


def _text(settings: Settings) -> str:
    has_database = "postgres" in settings.services
    return json.dumps({"CONNECTION_URL": settings.postgres.url(masked=False)} if has_database else {})
