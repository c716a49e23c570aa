"""The project's lock as one run takes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .localenv.checkout.lock import ProjectLock, command_line

if TYPE_CHECKING:
    from ._run import Run


class StepLock:
    """The project's lock as the steps of one run take it: once, for the first step that needs it, until the last."""

    def __init__(self) -> None:
        self._lock: ProjectLock | None = None
        self._started = time.time()

    @property
    def held(self) -> bool:
        return self._lock is not None and self._lock.held

    @property
    def was_taken(self) -> bool:
        return self._lock is not None

    def take(self, run: Run) -> None:
        """Wait for the lock. Raises TimedOut when another run keeps it."""
        self._lock = ProjectLock(run.settings.state_dir)
        self._lock.acquire(command_line(), run.say)

    def release(self) -> None:
        if self._lock:
            self._lock.release()

    def was_used_by_others(self, run: Run) -> bool:
        """Return whether another run has held the lock since this one began."""
        return ProjectLock(run.settings.state_dir).used_since(self._started)
