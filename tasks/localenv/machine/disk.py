"""Errors of the file system as errors of ours."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ..errors import PreflightFailed, UsageError
from .reading import STREAM_BYTES

UNFIT = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
BROKEN = {
    errno.EBUSY,
    errno.EXDEV,
    errno.ENOTEMPTY,
    errno.EISDIR,
    errno.EIO,
    errno.ESTALE,
    errno.EFBIG,
    errno.ENXIO,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
    errno.EINVAL,
}
"""A mount point in the way, a failing disk, a file system without a usual feature."""
FULL = ("No space left on device", "Check free disk space")
"""How other programs report it: strerror(ENOSPC) in the C locale, and PostgreSQL's hint after a short write."""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk, a read-only file system, missing rights or an invalid path into PreflightFailed."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(folder) from error
        if error.errno in UNFIT:
            raise PreflightFailed(
                f"{where}: {(error.strerror or 'not permitted').lower()}",
                hint="run the command as the owner of that folder, or set LOCALENV_STATE_DIR to a folder of yours",
            ) from error
        if error.errno in BROKEN:
            raise PreflightFailed(
                f"{where}: {(error.strerror or 'it failed').lower()}",
                hint=f"look at what {where} is (`mount`, `ls -ld`), or set LOCALENV_STATE_DIR to a plain folder",
            ) from error
        raise


@contextmanager
def spooled(stream: IO[bytes], shown: str) -> Iterator[IO[bytes]]:
    """Copy a stream to a named temporary file that can be read twice. Raises UsageError beyond STREAM_BYTES."""
    with tempfile.NamedTemporaryFile(prefix="localenv-") as kept:
        with disk_errors(Path(kept.name).parent):
            left = STREAM_BYTES
            while chunk := stream.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    raise UsageError(f"{shown}: longer than the {STREAM_BYTES:,} bytes that are read of a pipe")
                kept.write(chunk)
            kept.flush()
        yield cast("IO[bytes]", kept)


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user may still write to the disk of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def has_room(folder: Path) -> bool:
    """Return whether another megabyte and a few files fit. File systems without a limit on files report 0 of 0."""
    found = os.statvfs(folder)
    return free_bytes(folder) > 1_000_000 and (not found.f_files or found.f_favail > 10)


def lost_output(error: OSError) -> PreflightFailed:
    """Return the error for a stdout that cannot be written."""
    return PreflightFailed(
        f"stdout cannot be written: {(error.strerror or str(error)).lower()}",
        hint="what the command changed is changed; only its output is lost: write it elsewhere",
    )


def reports_full_disk(text: str) -> bool:
    """Return whether a program's output reports a full disk."""
    return any(words in text for words in FULL)


def no_space(folder: Path, evidence: str = "") -> PreflightFailed:
    """Return the error for a full disk."""
    return PreflightFailed(
        f"no space left on the disk of {folder}",
        hint="free some space, then run the same command again",
        evidence=evidence,
    )
