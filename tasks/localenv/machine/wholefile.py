"""A file that the user named, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import UsageError
from . import private
from .disk import disk_errors


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write; it takes the place of `path` at the end of the block, and stays if that fails.

    It may be production's data, and is for its owner alone. Of a link, the file that it leads to is replaced.
    Raises PreflightFailed for a full disk or a folder that may not be written to, UsageError where there is none.
    """
    require_folder(path.parent)
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} exists and is not a file", hint="name a file, or - for stdout")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with disk_errors(path.parent):
            with private.create(part) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def require_folder(folder: Path) -> None:
    """Raise UsageError if the folder does not exist."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="create it, or correct the path")


def _sync_folder(folder: Path) -> None:
    """Sync the new name as well (fsync(2): syncing a file does not sync its directory entry)."""
    with suppress(OSError):
        entry = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


def write_new(path: Path, text: str) -> None:
    """Write a text file that is not there yet. Raises UsageError where it is: nothing is written over."""
    with disk_errors(path.parent):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise UsageError(f"{path} already exists", hint="it stays as it is; run the same command again") from None
