"""Two folders: the tool's own, and that of the app whose environment it is. A copy or fork of the tool is both in one.

Beside an app the tool is a folder of it, a git submodule, or installed. Then the app's folder is the one that
LOCALENV_APP names (in the environment, or in the tool's own .env; from the tool's folder if relative), else the one of
the app's tasks.py, which imports the tasks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from ..errors import UsageError

PACKAGE = Path(__file__).resolve().parents[2]
TOOL = PACKAGE if (PACKAGE / "docker-compose.yml").is_file() else PACKAGE.parent
"""The folder of tasks/; the package itself where it is installed: a wheel has the other files within."""
VARIABLE = "LOCALENV_APP"
IS_IMPORTED = __package__ != "tasks.localenv.machine"
"""Whether an app's own tasks.py imports the tasks, under another name than Invoke gives to that file."""


def find_app(tool: Path, environ: Mapping[str, str], importer: Path | None) -> Path:
    """Return the app's folder. One that is not there is reported where the settings are read."""
    given = environ.get(VARIABLE) or _in_file(tool / ".env")
    if given:
        return Path(os.path.abspath(tool / Path(given).expanduser()))  # noqa: PTH100 - links stay, as in the shell
    return importer or tool


def require_app(root: Path) -> None:
    """Raise UsageError where that is the app's folder, and not there."""
    if root == APP and not root.is_dir():
        raise UsageError(f"{VARIABLE}: there is no folder {root}", hint="name the folder of the app")


def _in_file(dotenv: Path) -> str:
    try:
        if VARIABLE not in dotenv.read_text(encoding="utf-8", errors="replace"):
            return ""
        from dotenv import dotenv_values

        return dotenv_values(dotenv, interpolate=False).get(VARIABLE) or ""
    except (OSError, ValueError):
        return ""


def _importer() -> Path | None:
    """Return the folder of the app's tasks.py, or of its package tasks/: what imports us and is not ours."""
    passed_over = tuple(map(str, (PACKAGE, Path(__file__).parents[2], Path(os.__file__).parent, "<")))
    frame: FrameType | None = sys._getframe()
    while frame and frame.f_code.co_filename.startswith(passed_over):
        frame = frame.f_back
    if frame is None:
        return None
    folder = Path(os.path.abspath(frame.f_code.co_filename)).parent  # noqa: PTH100
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


APP = find_app(TOOL, os.environ, _importer() if IS_IMPORTED else None)
SEARCH_ROOT = APP if IS_IMPORTED else TOOL
"""Where Invoke finds the tasks.py of this run."""
