"""Counts in sentences: one of a thing is not several."""

from __future__ import annotations

import pytest

from tasks.localenv.machine.words import counted


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (12_000, "pool user", "12,000 pool users"),
        (2, "match", "2 matches"),
        (1, "match", "1 match"),
        (3, "entry", "3 entries"),
        (2, "day", "2 days"),
        (2, "index", "2 indexes"),
    ],
)
def test_a_count_with_its_noun(count: int, noun: str, said: str) -> None:
    assert counted(count, noun) == said
