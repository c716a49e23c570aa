"""The real dbmate, fetched from npm once and kept: migrations have to be its own as well as ours."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from tasks.localenv.settings import Settings
from tests.support.environments import PATIENCE_S
from tests.support.npm import fetch

RELEASE = "2.36.0"
NAMES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def find_dbmate() -> Path | str:
    """Return the program, or why there is none."""
    package = f"@dbmate/{sys.platform}-{NAMES.get(platform.machine().lower(), platform.machine())}@{RELEASE}"
    return fetch(package, "bin/dbmate", f"dbmate-{RELEASE}")


def run(program: Path, settings: Settings, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run dbmate on the project's migrations and database."""
    url = f"{settings.postgres.url(masked=False)}?sslmode=disable"
    given = ["--url", url, "--migrations-dir", str(settings.root / "sql/migrations"), "--env-file", "/dev/null"]
    return subprocess.run(
        [str(program), *given, *([] if path else ["--no-dump-schema"]), *words],
        env={"PATH": path} if path else {},
        cwd=settings.root,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
