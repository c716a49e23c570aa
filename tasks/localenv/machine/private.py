"""The only way to write private folders and files: modes 0700 and 0600, whatever the umask.

Used for the state folder, the index of checkouts, and whatever else may hold a password. A symbolic link at the last
part of a path is not followed, and only regular files are opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO

FOLDER_MODE = 0o700
FILE_MODE = 0o600
OTHERS = 0o077
"""The bits of group and others."""


def make_folder(path: Path) -> None:
    """Create a folder, and missing parents, for its owner alone. An existing one stays as it is."""
    if path.is_dir():
        return
    try:
        path.mkdir(mode=FOLDER_MODE)
        path.chmod(FOLDER_MODE)  # a umask may have taken bits of the owner too
    except FileNotFoundError:
        if path == path.parent:
            raise
        make_folder(path.parent)
        make_folder(path)
    except FileExistsError:
        if not path.is_dir():  # otherwise another command has just created it
            raise


def descriptor(path: Path, flags: int) -> int:
    """Open a file, created if the flags say so, and revoke others' rights if an earlier version left any."""
    # Without O_NONBLOCK a pipe of that name would make us wait for its other end.
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode):
        os.close(opened)
        raise OSError(errno.EEXIST, "not a plain file", str(path))
    if stat.S_IMODE(found.st_mode) != FILE_MODE and flags & (os.O_WRONLY | os.O_RDWR):
        with contextlib.suppress(PermissionError):  # another user's, who lets us write
            os.fchmod(opened, FILE_MODE)
    return opened


def create(path: Path) -> IO[bytes]:
    """Open a file for writing, truncated."""
    return os.fdopen(descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")


def append(path: Path) -> IO[bytes]:
    """Open a file for appending."""
    return os.fdopen(descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def write(path: Path, content: str | bytes, *, durably: bool = False) -> None:
    """Write a file atomically; `durably`: flushed to disk before it gets its name."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with create(fresh) as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durably:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def close_to_others(path: Path) -> None:
    """Revoke the rights of group and others on a folder or file of an earlier version. Links have none."""
    mode = path.lstat().st_mode
    if mode & OTHERS and not stat.S_ISLNK(mode):
        path.chmod(stat.S_IMODE(mode) & ~OTHERS)
