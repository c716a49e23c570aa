"""Packages of npm for tests, fetched once and kept: what real apps and tools use beside this one."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

CACHE = Path.home() / ".cache" / "localenv-tests"


def fetch(package: str, file: str, kept: str) -> Path | str:
    """Return a file of a package, kept under that name; or why there is none."""
    path = CACHE / kept
    if path.exists():
        return path
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        packed = subprocess.run(
            [npm, "pack", package, "--silent"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        found = list(Path(folder).glob("*.tgz"))
        if packed.returncode or not found:
            return f"npm has no {package}: {packed.stderr.strip()[-200:]}"
        with tarfile.open(found[0]) as archive:
            content = archive.extractfile(f"package/{file}")
            assert content is not None
            part = Path(folder) / "part"
            part.write_bytes(content.read())
        part.chmod(0o755)
        part.replace(path)
    return path
