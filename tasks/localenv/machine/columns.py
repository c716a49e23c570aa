"""Text in terminal columns: its width, cut and wrapped to a width, with control characters escaped.

Widths follow Unicode's East Asian Width (UAX #11): wide and full-width characters take two cells, combining marks
none.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator

CARET_CHARS = 110
"""Characters of a long line that are shown around a caret."""
JOINER, VARIANT = "\u200d", "\ufe0f"


def width(text: str) -> int:
    """Return the number of cells that a text takes."""
    return sum(cells for _, cells in _clusters(text))


def padded(text: str, cells: int) -> str:
    """Pad a text with spaces to a width in cells."""
    return text + " " * max(0, cells - width(text))


def harmless(text: str) -> str:
    """Escape, as JSON does, what moves the cursor, changes the text's direction or is invisible.

    The result is part of one line, and JSON stays JSON. Emoji and scripts keep their joiners.
    """
    if text.isprintable():
        return text
    return re.sub(UNSAFE, lambda found: _escaped(found[0]), text)


def harmless_lines(text: str) -> str:
    """Escape a text like `harmless`, but keep its line breaks and tabs."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return re.sub(UNSAFE, lambda found: found[0] if found[0] in "\n\t" else _escaped(found[0]), text)


def without_sequences(text: str) -> str:
    """Remove escape sequences for cursor and colours (ECMA-48: CSI, OSC and the like)."""
    return re.sub(SEQUENCES, "", text) if "\x1b" in text or "\x9b" in text else text


UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls, line and paragraph separators, direction marks, invisible characters, unpaired surrogates."""

SEQUENCES = (
    "\x1b[\\[][0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]"
)


def cut(text: str, cells: int) -> str:
    """Join a text into one line and cut it to a width in cells, ending in `…` where something is missing."""
    line = harmless(" ".join(text.split()))
    if width(line) <= cells:
        return line
    return _first(line, cells - 1) + "…"


def wrapped(text: str, cells: int) -> list[str]:
    """Wrap a text to a width in cells, at spaces where there are any; its line breaks are kept.

    `cells` of 0 wraps nothing.
    """
    lines = [harmless(line.rstrip()) for line in text.expandtabs(4).rstrip("\n").split("\n")]
    return [part for line in lines for part in (_wrapped_line(line, cells) if cells else [line])]


def caret_line(line: str, index: int, *, is_cut: bool = False) -> str:
    """Return a line with a caret under character `index`, cut around it when long; `is_cut`: its start is missing.

    What is not shown as itself (form feed, U+2028) takes the cells of its escape.
    """
    first = max(0, min(index - CARET_CHARS // 2, len(line) - CARET_CHARS))
    shown = line[first : first + CARET_CHARS]
    before = "".join("\t" if char == "\t" else " " * width(harmless(char)) for char in line[first:index])
    cut = "…" if first or is_cut else ""
    more = "…" if first + CARET_CHARS < len(line) else ""
    return f"{cut}{shown}{more}\n{' ' * len(cut)}{before}^"


def aligned(rows: Iterable[tuple[str, str, str]], total: int) -> Iterator[str]:
    """Yield rows of two short texts and a long one, which wraps in its own column. `total` cells; 0: no limit."""
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
    """Return the start of a line that fits; one character at least."""
    taken, used = "", 0
    for cluster, needed in _clusters(line):
        if taken and used + needed > cells:
            break
        taken, used = taken + cluster, used + needed
    return taken


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Split a text into visible characters, each with its width in cells."""
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
    """Return whether a character modifies the one before it: an accent, a joiner, a skin tone."""
    return unicodedata.category(char) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= char <= "\U0001f3ff"


def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
