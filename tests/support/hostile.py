"""What the tests of hostile input share: archives of our own making, and commands whose memory is measured."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.localenv.machine.folders import TOOL
from tests.support.environments import KEPT


@dataclass(frozen=True)
class Measured:
    """What a command did, and the most memory that it had."""

    code: int
    output: str
    peak_bytes: int


MEASURE = """
import resource, subprocess, sys
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
code = subprocess.call(sys.argv[2:], stderr=subprocess.STDOUT)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""
"""A small process between: Linux counts the memory of the process that forks to the one that it becomes."""


def measured(*words: str, environ: dict[str, str], stdin: Any = subprocess.DEVNULL, at_most: int = 0) -> Measured:
    """Run `inv` in a process of its own and measure it; `at_most` is the most address space that it gets."""
    command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), *words]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", MEASURE, str(at_most), *command],
        env={**{name: os.environ[name] for name in KEPT if name in os.environ}, "NO_COLOR": "1", **environ},
        stdin=stdin,
        capture_output=True,
        check=True,
    )
    code, peak = map(int, done.stderr.split())
    return Measured(code, done.stdout.decode(), peak * (1 if sys.platform == "darwin" else 1024))


def refused(done: Measured, *said: str, code: int = 2) -> None:
    """Assert that a command failed as it should: in words, not in a traceback."""
    assert "Traceback" not in done.output, done.output[-3000:]
    assert done.code == code, done.output[-3000:]
    for words in said:
        assert words in done.output, done.output[-3000:]


Parts = dict[str, bytes]
Edit = Callable[[Parts, dict[str, Any]], None]


def parts_of(file: Path) -> Parts:
    """Read all members of a snapshot's file."""
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def edited(file: Path, target: Path, edit: Edit) -> Path:
    """Write a snapshot with other parts: `edit` changes them and the manifest, whose sizes and hashes follow."""
    parts = parts_of(file)
    manifest: dict[str, Any] = json.loads(parts.pop("manifest.json"))
    edit(parts, manifest)
    for entry in _files_of(manifest):
        content = parts[entry["name"]]
        entry |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    packed(target, {"manifest.json": json.dumps(manifest).encode(), **parts})
    return target


def _files_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    tables = [table[name] for table in manifest["tables"] for name in ("definition", "content")]
    return [manifest["postgres"]["file"], *tables, *([manifest["cognito"]["file"]] if manifest["cognito"] else [])]


def packed(target: Path, parts: Parts) -> None:
    """Write members as they are given."""
    with tarfile.open(target, "w:gz") as tar:
        for name, content in parts.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))


def with_sql(text: str, *, instead: bool = False) -> Edit:
    """Put SQL behind that of the snapshot, or in its place."""

    def edit(parts: Parts, manifest: dict[str, Any]) -> None:
        parts["postgres.sql"] = text.encode() if instead else parts["postgres.sql"] + b"\n" + text.encode()

    return edit


def swollen(target: Path, size_bytes: int, *, start: bytes = b"", block: bytes = b"\0") -> Path:
    """Write a small gzip file out of which much comes: gzip may be joined, so that it is packed once."""
    piece = 16 << 20
    packed = gzip.compress(block * (piece // len(block)), 9)
    with target.open("wb") as out:
        out.write(gzip.compress(start) if start else b"")
        for _ in range(size_bytes // piece):
            out.write(packed)
    return target


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Write the header of a member, whatever it says."""
    about = tarfile.TarInfo(name)
    about.size, about.type, about.linkname = size, kind, link
    return about.tobuf(tarfile.GNU_FORMAT)
