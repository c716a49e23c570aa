"""What the file system refuses, as errors of ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import PreflightFailed

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
FULL = ("No space left on device", "Check free disk space")
"""How other programs say it: strerror(ENOSPC) in the C locale, and PostgreSQL's hint after a write fell short."""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk, a read-only file system, missing rights and a path that cannot be into PreflightFailed."""
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
        raise


def lost_output(error: OSError) -> PreflightFailed:
    """Make the error for a stdout that takes no more."""
    return PreflightFailed(
        f"stdout cannot be written: {(error.strerror or str(error)).lower()}",
        hint="what the command changed is changed; only its output is lost: write it elsewhere",
    )


def tells_of_full_disk(text: str) -> bool:
    """Tell whether a program's output says that the disk is full."""
    return any(words in text for words in FULL)


def no_space(folder: Path, evidence: str = "") -> PreflightFailed:
    """Make the error for a full disk."""
    return PreflightFailed(
        f"no space left on the disk of {folder}",
        hint="free some space, then run the same command again",
        evidence=evidence,
    )
