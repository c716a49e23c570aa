"""Brings tables and pool back where a command fails that changes all stores or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import LocalEnvError
from .keeper import Keeper
from .putback import Stores, put_back

if TYPE_CHECKING:
    from ..settings import Settings
    from ..settings.guard import Keeper as AnyKeeper


@contextmanager
def going_back(settings: Settings, keeper: AnyKeeper | None) -> Iterator[Stores | None]:
    """Yield the present tables and pool as they were kept; where the body fails, put these back.

    The body replaces the database last, all or nothing.
    """
    present = Stores.of_entry(keeper.entry, keeper.folder) if isinstance(keeper, Keeper) else None
    try:
        yield present
        if isinstance(keeper, Keeper):
            keeper.done()
    except Exception as error:  # whatever it is, even a bug of ours: the stores must not stay partly restored
        outcome = _go_back(settings, keeper, present)
        if isinstance(error, LocalEnvError):
            error.evidence = "\n".join(filter(None, [error.evidence, outcome]))
        raise


def _go_back(settings: Settings, keeper: AnyKeeper | None, present: Stores | None) -> str:
    if present is None or not isinstance(keeper, Keeper):
        return ""
    try:
        put_back(settings, present, None)
    except LocalEnvError as error:
        return f"going back failed too: {error.message}"
    keeper.discard()
    return "kept: every store is as it was before"
