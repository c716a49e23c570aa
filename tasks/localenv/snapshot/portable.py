"""The portable form: one tar file with the manifest first, then the parts that it names, and nothing else.

A file from elsewhere is not trusted: only the names that a snapshot has are read, each into a name of our own, no
further than the manifest says it is long, and what does not have the hash that it says is refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .. import private
from ..ages import ago
from ..disk import disk_errors, no_space
from ..errors import UsageError
from .manifest import File, Manifest, read_manifest

MANIFEST = "manifest.json"
MANIFEST_BYTES = 16 << 20
SUFFIXES = (".tar.gz", ".tgz", ".tar")
CHUNK = 1 << 20


def check_path(path: Path) -> None:
    """Raise UsageError for a path that a snapshot cannot be written to."""
    _check_suffix(path)
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder", hint="make it, or correct --file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: there is something else than a file", hint="name another one with --file")


def replaced(path: Path) -> str:
    """Say what a snapshot written to this path would replace; empty where there is nothing."""
    if not path.exists():
        return ""
    try:
        found = read(path)
    except UsageError:
        return f"replace {path}, which is not a snapshot that can be read"
    return f"replace {path}, snapshot {found.name} made {ago(found.age_s)}"


def pack(folder: Path, manifest: Manifest, path: Path) -> None:
    """Write a snapshot's folder to one file, whole or not at all. It can hold passwords: for the owner's eyes only."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = manifest.as_json().encode()
    try:
        with disk_errors(path.parent):
            with _created(part) as raw, tarfile.open(fileobj=raw, mode="w" if path.suffix == ".tar" else "w:gz") as tar:
                about = tarfile.TarInfo(MANIFEST)
                about.size = len(text)
                tar.addfile(about, io.BytesIO(text))
                for file in manifest.files():
                    about = tarfile.TarInfo(file.name)
                    about.size = file.size_bytes
                    with (folder / file.name).open("rb") as content:
                        tar.addfile(about, content)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Manifest:
    """Read the manifest of a file. Raises UsageError for a file that is no snapshot."""
    with _opened(path) as tar:
        return _manifest(path, tar)


def unpack(path: Path, folder: Path) -> Manifest:
    """Write the parts of a file into a folder, each one checked. Raises UsageError before anything else is changed."""
    with _opened(path) as tar:
        manifest = _manifest(path, tar)
        wanted = {file.name: file for file in manifest.files()}
        needed = sum(file.size_bytes for file in wanted.values())
        if needed > shutil.disk_usage(folder).free:
            raise no_space(folder, f"{path} needs {needed:,} bytes")
        while member := tar.next():  # iterating would begin with the manifest again
            file = wanted.pop(member.name, None)
            if file is None or not member.isreg() or member.size != file.size_bytes:
                raise UsageError(f"{path}: {member.name!r} is not as its manifest says")
            with disk_errors(folder):
                _extract(path, tar, member, file, folder / file.name)
        if wanted:
            raise UsageError(f"{path}: it ends before {', '.join(wanted)}", hint="fetch or save it again")
    return manifest


def verify(folder: Path, file: File, shown: str) -> None:
    """Raise UsageError when a file of a snapshot is not what it was when it was saved."""
    digest = hashlib.sha256()
    try:
        with (folder / file.name).open("rb") as content:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise UsageError(f"{shown}: {file.name}: {(error.strerror or str(error)).lower()}") from error
    if digest.hexdigest() != file.sha256:
        raise UsageError(f"{shown}: {file.name} has changed since it was saved", hint="nothing was restored")


def _extract(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, file: File, target: Path) -> None:
    content = tar.extractfile(member)
    assert content
    digest = hashlib.sha256()
    with content, private.create(target) as out:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise UsageError(f"{path}: {file.name} is damaged", hint="fetch or save it again")


def _manifest(path: Path, tar: tarfile.TarFile) -> Manifest:
    member = tar.next()
    if member is None or member.name != MANIFEST or not member.isreg() or member.size > MANIFEST_BYTES:
        raise UsageError(f"{path}: not a snapshot", hint="`inv snapshot.save NAME --file PATH` writes one")
    content = tar.extractfile(member)
    assert content
    manifest = read_manifest(content.read(), f"{path}: {MANIFEST}")
    if not manifest.is_portable:
        raise UsageError(f"{path}: its database is not in it", hint="save it with `inv snapshot.save NAME --file PATH`")
    return manifest


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a file to be read from front to back; what is wrong with it on the way is a UsageError."""
    _check_suffix(path)
    try:
        with tarfile.open(path, "r|" if path.suffix == ".tar" else "r|gz") as tar:
            yield tar
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: not a snapshot, or cut short: {error}", hint="fetch or save it again") from error
    except OSError as error:
        if error.filename not in (None, str(path)):
            raise
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{path}: {reason}") from error


@contextmanager
def _created(part: Path) -> Iterator[IO[bytes]]:
    with private.create(part) as raw:
        yield raw
        raw.flush()
        os.fsync(raw.fileno())


def _check_suffix(path: Path) -> None:
    if not path.name.endswith(SUFFIXES):
        raise UsageError(f"{path}: not the name of a snapshot's file", hint=f"let it end in {', '.join(SUFFIXES)}")
