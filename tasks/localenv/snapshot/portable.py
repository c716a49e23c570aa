"""The portable form: one tar file with the manifest first, then the parts that it lists, and nothing else.

A file from elsewhere is not trusted: only a snapshot's member names are read, each into a name of our own, up to the
size in the manifest, and a part with another hash is refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from ..errors import UsageError
from ..hints import inv
from ..machine import private
from ..machine.ages import ago
from ..machine.disk import disk_errors, no_space
from ..machine.progress import BYTES, Progress, progress
from ..machine.reading import is_stream, is_there, opened
from .archive import AGAIN, Members, members
from .manifest import File, Manifest, read_manifest

MANIFEST = "manifest.json"
MANIFEST_BYTES = 16 << 20
SUFFIXES = (".tar.gz", ".tgz", ".tar")
CHUNK = 1 << 20
WRITES_ONE = f"save one with {inv('snapshot.save', 'NAME', '--file', 'PATH')}"


def check_path(path: Path) -> None:
    """Raise UsageError for a path that a snapshot cannot be written to."""
    _check_suffix(path)
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder", hint="create it, or correct --file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a regular file", hint="name another one with --file")


def replaced(path: Path) -> str:
    """Return what a snapshot written to this path would replace; empty if nothing."""
    if not path.exists():
        return ""
    try:
        found = read(path)
    except UsageError:
        return f"replace {path}, which is not a snapshot that can be read"
    return f"replace {path}, snapshot {found.name} made {ago(found.age_s)}"


def pack(folder: Path, manifest: Manifest, path: Path) -> None:
    """Write a snapshot's folder to one file, atomically. It may contain passwords, so only its owner can read it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = manifest.as_json().encode()
    try:
        with disk_errors(path.parent):
            packing = progress(f"packing {path.name}", sum(file.size_bytes for file in manifest.files()), BYTES)
            with _created(part) as raw, _writer(raw, path) as tar, packing as done:
                about = tarfile.TarInfo(MANIFEST)
                about.size = len(text)
                tar.addfile(about, io.BytesIO(text))
                for file in manifest.files():
                    about = tarfile.TarInfo(file.name)
                    about.size = file.size_bytes
                    with (folder / file.name).open("rb") as content:
                        tar.addfile(about, _Counted(content, done))
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Manifest:
    """Read a file's manifest. Raises UsageError if the file is not a snapshot."""
    with _opened(path) as tar:
        return _manifest(path, tar)


def unpack(path: Path, folder: Path) -> Manifest:
    """Extract the parts of a file into a folder and verify each. Raises UsageError before anything else is changed."""
    with _opened(path) as tar:
        manifest = _manifest(path, tar)
        wanted = {file.name: file for file in manifest.files()}
        needed = sum(file.size_bytes for file in wanted.values())
        if needed > shutil.disk_usage(folder).free:
            raise no_space(folder, f"{path} needs {needed:,} bytes")
        while member := tar.next():
            file = wanted.pop(member.name, None)
            if file is None or member.size_bytes != file.size_bytes:
                raise UsageError(f"{path}: {member.name[:100]!r} does not match the manifest")
            with disk_errors(folder), progress(f"unpacking {file.name}", file.size_bytes, BYTES) as done:
                _extract(path, tar, file, folder / file.name, done)
        if wanted:
            raise UsageError(f"{path}: it ends before {', '.join(wanted)}", hint=AGAIN)
    return manifest


def verify(folder: Path, file: File, shown: str) -> None:
    """Raise UsageError when a file of a snapshot has changed since it was saved."""
    digest = hashlib.sha256()
    with opened(folder / file.name, f"{shown}: {file.name}") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != file.sha256:
        raise UsageError(f"{shown}: {file.name} has changed since it was saved", hint="nothing was restored")


class _Counted:
    """A file whose bytes count as done when they are read."""

    def __init__(self, file: IO[bytes], done: Progress) -> None:
        self._file = file
        self._done = done

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._done.add(len(chunk))
        return chunk


def _writer(raw: IO[bytes], path: Path) -> tarfile.TarFile:
    """Open the archive for writing. In GNU format a large member's size fits into its own header."""
    mode: Literal["w", "w:gz"] = "w" if path.suffix == ".tar" else "w:gz"
    return tarfile.open(fileobj=raw, mode=mode, format=tarfile.GNU_FORMAT)


def _extract(path: Path, tar: Members, file: File, target: Path, done: Progress) -> None:
    digest = hashlib.sha256()
    with private.create(target) as out:
        for chunk in tar.chunks():
            digest.update(chunk)
            out.write(chunk)
            done.add(len(chunk))
    if digest.hexdigest() != file.sha256:
        raise UsageError(f"{path}: {file.name} is damaged", hint=AGAIN)


def _manifest(path: Path, tar: Members) -> Manifest:
    member = tar.next()
    if member is None or member.name != MANIFEST or member.size_bytes > MANIFEST_BYTES:
        raise UsageError(f"{path}: not a snapshot", hint=WRITES_ONE)
    manifest = read_manifest(b"".join(tar.chunks()), f"{path}: {MANIFEST}")
    if not manifest.is_portable:
        raise UsageError(f"{path}: its database is not in it", hint=WRITES_ONE)
    return manifest


@contextmanager
def _opened(path: Path) -> Iterator[Members]:
    """Open a file for sequential reading. Faults are UsageErrors, also while it is read."""
    _check_suffix(path)
    if not is_there(path):
        raise UsageError(f"{path}: no such file")
    if is_stream(path):
        raise UsageError(f"{path}: can be read only once", hint="write it to a file first: it is read twice")
    with members(path) as found:
        yield found


@contextmanager
def _created(part: Path) -> Iterator[IO[bytes]]:
    with private.create(part) as raw:
        yield raw
        raw.flush()
        os.fsync(raw.fileno())


def _check_suffix(path: Path) -> None:
    if not path.name.endswith(SUFFIXES):
        raise UsageError(f"{path}: not the name of a snapshot's file", hint=f"end it in {', '.join(SUFFIXES)}")
