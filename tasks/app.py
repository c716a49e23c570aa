"""The one place that names the app's part: the module that tells the library what the app's items mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .localenv.environment.app import App
    from .localenv.settings import Settings

PART = "ddb/chat.py"
"""Where the part is, from the root of the project. Without this file the app has none."""


def part(settings: Settings) -> App | None:
    """Load the app's part where it has one."""
    if not (settings.root / PART).is_file():
        return None
    from ddb import chat

    return chat
