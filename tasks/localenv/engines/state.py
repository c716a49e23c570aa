"""What an engine leaves in the state folder for the next command: which engine was chosen, and why."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from ..errors import PreflightFailed

EngineName = Literal["docker", "embedded"]


@dataclass(frozen=True)
class Choice:
    """The engine that runs the services, and the reason why it is this one."""

    engine: EngineName
    reason: str


def read_choice(state_dir: Path) -> Choice | None:
    """Read the choice that env.up kept; None when there is none, or it cannot be read."""
    try:
        kept = json.loads((state_dir / "engine").read_text())
        return Choice(cast(EngineName, kept["engine"]), kept["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_choice(state_dir: Path, choice: Choice) -> None:
    state_dir.mkdir(parents=True, exist_ok=True)
    fresh = state_dir / "engine.new"
    fresh.write_text(json.dumps(asdict(choice)))
    fresh.replace(state_dir / "engine")


def forget_choice(state_dir: Path) -> None:
    (state_dir / "engine").unlink(missing_ok=True)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into PreflightFailed."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PreflightFailed(f"no space left for {where}", hint="free some disk space and run it again") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise PreflightFailed(
                f"{where} cannot be written: {error.strerror}",
                hint="run the command as the owner of the folder, or set LOCALENV_STATE_DIR to a folder of yours",
            ) from error
        raise
