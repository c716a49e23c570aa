"""Texts in columns: wide characters, emoji, control characters, long and many lines."""

from __future__ import annotations

import pytest

from tasks.localenv.machine.columns import aligned, cut, harmless, padded, width, wrapped


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", 0),
        ("abc", 3),
        ("héllo", 5),
        ("he\u0301llo", 5),
        ("漢字", 4),
        ("한국어", 6),
        ("👍", 2),
        ("👍🏽", 2),
        ("👩\u200d👩\u200d👧", 2),
        ("❤\ufe0f", 2),
        ("zero\u200bwidth", 9),
    ],
)
def test_a_text_takes_so_many_cells(text: str, cells: int) -> None:
    assert (width(text), width(padded(text, 12))) == (cells, 12)


def test_a_text_is_cut_by_cells_and_becomes_one_line() -> None:
    assert [cut(text, 6) for text in ("short", "longer than", "a\nb  c", "漢字漢字", "👍🏽👍🏽👍🏽👍🏽")] == [
        "short",
        "longe…",
        "a b c",
        "漢字…",
        "👍🏽👍🏽…",
    ]


def test_a_long_text_wraps_at_spaces_or_else_where_it_must() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("漢字漢字漢", 4) == ["漢字", "漢字", "漢"]
    assert wrapped("one\n\ntwo ", 7) == ["one", "", "two"]
    assert wrapped("as long as it likes to be", 0) == ["as long as it likes to be"]
    assert wrapped("", 7) == [""]


def test_control_characters_are_named() -> None:
    assert harmless("\x1b[31mred\x07 \u202eback\udcff") == "\\u001b[31mred\\u0007 \\u202eback\\udcff"
    assert wrapped("a\tb\x1b[2J", 0) == ["a   b\\u001b[2J"]


def test_columns_hold_whatever_is_in_them() -> None:
    rows = [
        ("10:00", "bayko", "short"),
        ("10:01", "漢字さん", "two\nlines"),
        ("10:02", "x", "one two three four five six"),
    ]
    assert list(aligned(rows, 41)) == [
        "10:00  bayko     short",
        "10:01  漢字さん  two",
        "                 lines",
        "10:02  x         one two three four five",
        "                 six",
    ]
    assert list(aligned([], 40)) == []
