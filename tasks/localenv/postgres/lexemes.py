"""The tokens of a rejected statement, to see what stands before the place of an error. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .lexer import Text

_TOKEN = re.compile(
    rb"""(?P<blank>[ \t\r\n\f\v]+|--[^\r\n]*|/\*.*?\*/)
    | (?P<body>\$(?P<tag>[A-Za-z_]?\w*)\$.*?\$(?P=tag)\$)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'?|'(?:[^']|'')*'?)
    | (?P<name>"(?:[^"]|"")*"?|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)
    | (?P<number>\d[\d.]*(?:[eE][+-]?\d+)?)
    | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A token: its kind (body, string, name, number, sign), text, byte offsets, and depth in parentheses."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    @property
    def word(self) -> str:
        """The text in lower case, as keywords are compared."""
        return self.text.lower()


def read_tokens(text: Text, start: int, end: int) -> list[Token]:
    """Return the tokens between two byte offsets of a file; a parenthesis has the depth around it."""
    found: list[Token] = []
    depth = 0
    for match in _TOKEN.finditer(text, start, end):
        kind = match.lastgroup if match.lastgroup != "tag" else "body"
        if match["blank"] is not None:
            continue
        if match["body"] is not None:
            kind = "body"
        depth -= match.group() == b")"
        found.append(Token(kind or "sign", match.group().decode(errors="replace"), match.start(), match.end(), depth))
        depth += match.group() == b"("
    return found


def split_list(tokens: Sequence[Token]) -> list[list[Token]]:
    """Return the items of a list, which commas at the depth of its first token part."""
    items: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == "," and token.depth == tokens[0].depth:
            items.append([])
        else:
            items[-1].append(token)
    return items


def inside(tokens: Sequence[Token], opening: int) -> list[Token]:
    """Return the tokens between an opening parenthesis, given by its index, and its closing one."""
    depth = tokens[opening].depth
    for index in range(opening + 1, len(tokens)):
        if tokens[index].text == ")" and tokens[index].depth == depth:
            return list(tokens[opening + 1 : index])
    return []
