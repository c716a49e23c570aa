"""Modules that a file names at its top and that are loaded when something of them is first used.

All that the tasks name takes 130 ms to load, as long as a command that does little; each command needs a small part of
it. So:

    if TYPE_CHECKING:
        from .localenv.postgres import load
    else:
        load = lazy("localenv.postgres.load")
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class LazyModule:
    """Stands for a module, and imports it for the first attribute that is asked for."""

    __slots__ = ("_module", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # asked for by what inspects objects, which must load nothing
            raise AttributeError(attribute)
        if self._module is None:
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)


def lazy(name: str) -> LazyModule:
    """Return a module of this package, by its name within it: an app has the package under another name."""
    return LazyModule(f"{__package__}.{name}")


def lazy_of_app(name: str) -> LazyModule:
    """Return a module of the app, by its full name; its folder is on the path once the app's part is loaded."""
    return LazyModule(name)
