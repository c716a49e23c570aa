"""The state folder's own .gitignore, beside an app whose .gitignore does not know of that folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..machine import private
from ..machine.folders import TOOL

NAME, ALL = ".gitignore", "*\n"


def write(root: Path, state_dir: Path) -> None:
    """Have git pass over the folder, where the project is not this tool itself; a file of the user's stays as it is."""
    if root != TOOL and not os.path.lexists(state_dir / NAME):
        private.write(state_dir / NAME, ALL)
