"""A file system whose files can share their blocks, in a file that is mounted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAKERS = {"mkfs.btrfs": ("-q",), "mkfs.xfs": ("-q", "-m", "reflink=1")}
IMAGE_BYTES = 1 << 30


def why_not_mounted() -> str:
    """Return why none can be mounted here; empty where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux mounts a file system"
    if not any(map(shutil.which, MAKERS)):
        return f"none of {', '.join(MAKERS)} is installed"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"


@contextmanager
def mounted(folder: Path, image: Path) -> Iterator[None]:
    """Mount one on a folder, of IMAGE_BYTES in a sparse file."""
    maker = next(name for name in MAKERS if shutil.which(name))
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run([maker, *MAKERS[maker], str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used_bytes(folder: Path) -> int:
    """Return how much of the file system of a folder is in use, once all that was written is on it."""
    subprocess.run(["sync", "--file-system", str(folder)], check=True)
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
