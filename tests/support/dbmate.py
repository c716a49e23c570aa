"""The real dbmate, fetched from npm once and kept: migrations have to be its own as well as ours."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tasks.localenv.settings import Settings
from tests.support.environments import PATIENCE_S

RELEASE = "2.36.0"
CACHE = Path.home() / ".cache" / "localenv-tests"
NAMES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def find_dbmate() -> Path | str:
    """Return the program, or why there is none."""
    program = CACHE / f"dbmate-{RELEASE}"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    package = f"@dbmate/{sys.platform}-{NAMES.get(platform.machine().lower(), platform.machine())}@{RELEASE}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        packed = subprocess.run(
            [npm, "pack", package, "--silent"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        found = list(Path(folder).glob("*.tgz"))
        if packed.returncode or not found:
            return f"npm has no {package}: {packed.stderr.strip()[-200:]}"
        with tarfile.open(found[0]) as archive:
            content = archive.extractfile("package/bin/dbmate")
            assert content is not None
            part = Path(folder) / "dbmate"
            part.write_bytes(content.read())
        part.chmod(0o755)
        part.replace(program)
    return program


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
