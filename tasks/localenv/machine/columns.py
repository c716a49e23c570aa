"""Text in a terminal's columns: how wide it shows, cut and wrapped to a width, nothing in it that moves the cursor.

Widths are those of Unicode's East Asian Width (UAX #11): wide and full-width characters take two cells, marks that
combine with the character before them take none.
"""

from __future__ import annotations

import json
import re
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
    """Write what would move the cursor, turn the direction of the text, or show as nothing, as JSON escapes it.

    A value becomes part of one line that way, and what is JSON stays so. Emoji and scripts keep their joiners.
    """
    if text.isprintable():
        return text
    return re.sub(UNSAFE, lambda found: _escaped(found[0]), text)


def harmless_lines(text: str) -> str:
    """Do that to a text of several lines, which stay lines, with tabs in them."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return re.sub(UNSAFE, lambda found: found[0] if found[0] in "\n\t" else _escaped(found[0]), text)


def without_sequences(text: str) -> str:
    """Leave out what a program wrote to move the cursor or change colours (ECMA-48: CSI, OSC and their like)."""
    return re.sub(SEQUENCES, "", text) if "\x1b" in text or "\x9b" in text else text


UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls, line and paragraph ends, marks that turn the direction, invisible characters, halves of surrogate pairs."""

SEQUENCES = (
    "\x1b[\\[][0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]"
)


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
    lines = [harmless(line.rstrip()) for line in text.expandtabs(4).rstrip("\n").split("\n")]
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


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
