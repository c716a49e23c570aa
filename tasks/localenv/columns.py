"""Text in a terminal's columns: how wide it shows, cut and wrapped to a width, nothing in it that moves the cursor.

Widths are those of Unicode's East Asian Width (UAX #11): wide and full-width characters take two cells, marks that
combine with the character before them take none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

JOINER, VARIANT = "\u200d", "\ufe0f"


def width(text: str) -> int:
    """Count the cells that a text takes."""
    return sum(cells for _, cells in _clusters(text))


def padded(text: str, cells: int) -> str:
    """Fill a text up with spaces to so many cells."""
    return text + " " * max(0, cells - width(text))


def harmless(text: str) -> str:
    """Write control characters as what they are called, so that a message cannot play with the terminal; tabs too."""
    return "".join(
        _named(char) if unicodedata.category(char) in ("Cc", "Cs") or char in BIDI else char for char in text
    )


BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of the text around them, also of that in other columns."""


def cut(text: str, cells: int) -> str:
    """Make one line of a text, and cut it to so many cells, the last of them a `…` where something is missing."""
    line = harmless(" ".join(text.split()))
    if width(line) <= cells:
        return line
    return _first(line, cells - 1) + "…"


def wrapped(text: str, cells: int) -> list[str]:
    """Cut a text into lines of so many cells at most, at spaces where there are any; its own lines stay lines.

    `cells` of 0 leaves lines as long as they are.
    """
    lines = [harmless(line.rstrip()) for line in text.expandtabs(4).splitlines()] or [""]
    return [part for line in lines for part in (_wrapped_line(line, cells) if cells else [line])]


def aligned(rows: Iterable[tuple[str, str, str]], total: int) -> Iterator[str]:
    """Write rows of two short texts and a long one, which wraps within its own column. `total` cells; 0: no limit."""
    kept = [(harmless(one), harmless(other), text) for one, other, text in rows]
    left = max((width(one) for one, _, _ in kept), default=0)
    middle = max((width(other) for _, other, _ in kept), default=0)
    indent = left + middle + 4
    for one, other, text in kept:
        first, *rest = wrapped(text, max(20, total - indent) if total else 0)
        yield f"{padded(one, left)}  {padded(other, middle)}  {first}".rstrip()
        yield from (f"{'':<{indent}}{line}".rstrip() for line in rest)


def _wrapped_line(line: str, cells: int) -> list[str]:
    parts = []
    while width(line) > cells:
        head = _first(line, cells)
        space = head.rfind(" ")
        if line[len(head) : len(head) + 1] != " " and space > 0:
            head = head[:space]
        parts.append(head.rstrip())
        line = line[len(head) :].lstrip(" ")
    return [*parts, line]


def _first(line: str, cells: int) -> str:
    """Give the start of a line that fits; one character at least."""
    taken, used = "", 0
    for cluster, needed in _clusters(line):
        if taken and used + needed > cells:
            break
        taken, used = taken + cluster, used + needed
    return taken


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Part a text into what shows as one character, with the cells that it takes."""
    cluster, cells = "", 0
    for char in text:
        if cluster and (_joins(char) or cluster.endswith(JOINER)):
            cluster += char
            cells = 2 if char == VARIANT else cells
            continue
        if cluster:
            yield cluster, cells
        cluster, cells = char, _cells(char)
    if cluster:
        yield cluster, cells


def _joins(char: str) -> bool:
    """Tell whether a character changes the one before it: an accent, a joiner, a colour of skin."""
    return unicodedata.category(char) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= char <= "\U0001f3ff"


def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _named(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"
