"""Matches stored items with seeds, whose relative times have moved since. Connects to nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from .placeholders import WRITTEN_TIME
from .transfer.importing import identity
from .transfer.itemline import Keys
from .transfer.typed import Item, comparable

SHIFT = timedelta(days=1, seconds=1)
"""A seed is read now and this much later: what differs is a relative time."""


@dataclass(frozen=True)
class Seed:
    """An item of a file as it is now, and as it would be later."""

    place: str
    item: Item
    later: Item


class Stored:
    """The items of a table that no seed has been matched with yet."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._items: dict[str, Item] = {}
        self._by_texts: dict[tuple[str, ...], dict[tuple[Any, ...], list[str]]] = {}

    def add(self, items: Iterable[Item]) -> None:
        self._items.update((identity(item, self._keys), item) for item in items)

    def take(self, key: str) -> bool:
        """Remove the item of a key and return whether there was one."""
        return self._items.pop(key, None) is not None

    def take_match(self, seed: Seed) -> Item | None:
        """Remove and return an item that matches a seed but for its times. Compares those with equal fixed texts."""
        names = tuple(sorted(name for name, value in seed.item.items() if "S" in value and value == seed.later[name]))
        if names not in self._by_texts:
            found: dict[tuple[Any, ...], list[str]] = defaultdict(list)
            for key, item in self._items.items():
                found[_texts(item, names)].append(key)
            self._by_texts[names] = found
        for key in self._by_texts[names].get(_texts(seed.item, names), ()):
            if key in self._items and is_same(self._items[key], seed):
                return self._items.pop(key)
        return None


def is_same(stored: Item, seed: Seed) -> bool:
    """Return whether a stored item matches a seed, relative times aside."""
    return stored.keys() == seed.item.keys() and all(
        _is_same(comparable(stored[name]), comparable(value), comparable(seed.later[name]))
        for name, value in seed.item.items()
    )


def _is_same(stored: Any, now: Any, later: Any) -> bool:
    """Compare results of `comparable`: now and later differ in relative times."""
    if now == later:
        return bool(stored == now)
    if isinstance(now, dict):
        names = set(now) & set(later)
        return (
            isinstance(stored, dict)
            and len(stored) == len(now)
            and all(name in stored and _is_same(stored[name], now[name], later[name]) for name in names)
        )
    if isinstance(now, list | tuple):
        return (
            isinstance(stored, list | tuple)
            and len(stored) == len(now)
            and all(_is_same(*each) for each in zip(stored, now, later, strict=True))
        )
    if isinstance(now, str):
        return isinstance(stored, str) and _times(stored, now, later) is not None
    return type(stored) is type(now)


def _times(stored: str, now: str, later: str) -> list[tuple[str, str]] | None:
    """Return the relative times of `stored` and `now` in pairs; None if the texts differ in anything else."""
    parts = [WRITTEN_TIME.split(text) for text in (stored, now, later)]
    if len({len(each) for each in parts}) != 1:
        return None
    found = []
    for one, other, third in zip(*parts, strict=True):
        if other != third and WRITTEN_TIME.fullmatch(one):
            found.append((one, other))
        elif one != other:
            return None
    return found


def time_shifts(stored: Item, seed: Seed, keys: Keys) -> set[timedelta]:
    """Return how far the times in the key of a stored item are from those of its seed."""
    found: set[timedelta] = set()
    for name, kind in keys.key:
        texts = [item[name][kind] for item in (stored, seed.item, seed.later)]
        if all(isinstance(text, str) for text in texts):
            for pair in _times(*texts) or ():
                before, now = map(_time, pair)
                if before and now:
                    found.add(before - now)
    return found


def _time(written: str) -> datetime | None:
    """Parse a time as `placeholders` writes it; None if it only looks like one."""
    try:
        if written.isdecimal():
            return datetime.fromtimestamp(int(written), timezone.utc)
        return datetime.fromisoformat(written)
    except (ValueError, OverflowError, OSError):
        return None


def _texts(item: Item, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(name, {}).get("S") for name in names)
