"""What a run keeps for `undo` of that which its steps replace or remove: one entry for all of a command line."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from ._lazy import lazy
from .localenv.checkout.lock import command_line
from .localenv.errors import LocalEnvError

if TYPE_CHECKING:
    from .localenv.settings import Settings
    from .localenv.snapshot import entries
    from .localenv.snapshot import keeper as keepers
    from .localenv.snapshot.keeper import Keeper
else:
    entries = lazy("localenv.snapshot.entries")
    keepers = lazy("localenv.snapshot.keeper")


class Keeping:
    """The keeper of one run, made when a step first replaces something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keeper: Keeper | None = None

    def keeper_for(self, settings: Settings) -> Keeper:
        """Return the run's keeper; `settings` have the permit of the step that asks first."""
        with self._lock:
            if self._keeper is None:
                self._keeper = keepers.Keeper(settings, command_line())
            return self._keeper

    def finish(self) -> list[str]:
        """Complete what is kept, once all steps are done; return lines that say how to go back."""
        return self._keeper.finish() if self._keeper else []

    def settle(self, settings: Settings) -> None:
        """Clean up after killed runs where this one keeps nothing; it holds the lock."""
        if self._keeper or not any(settings.state_dir.glob("undo/*.open")):
            return
        with suppress(LocalEnvError), entries.connected(settings) as conn:
            entries.Entries(settings).settle(conn)

    def give_up(self) -> list[str]:
        """Settle what is kept by a run that failed; return lines that say how to go back."""
        if self._keeper is None:
            return []
        return self._keeper.finish() if self._keeper.is_done else [line for line in [self._keeper.give_up()] if line]
