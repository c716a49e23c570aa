"""Reads JSON files, every value with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import UsageError
from ...machine.reading import DuplicateName, json_of, read_text
from .document import Document, Places, Steps

TOKEN = re.compile(r'[{}\[\],:]|"[^"]*"|[^\s{}\[\],:"]+')
"""For a text with masked escapes: alternatives within a string would take 115 bytes a character."""


def read_json(path: Path, shown: str) -> Document:
    """Read a JSON file. Raises UsageError with the place of the first error in JSON or UTF-8."""
    text = read_text(path, shown)
    try:
        return document_of(shown, text, json_of(text, shown))
    except DuplicateName as error:
        message = error.message.replace(shown, _place_of_duplicate(shown, text), 1)
        raise UsageError(message, hint="remove one of the two") from error
    except UsageError as error:
        error.hint = error.hint or "check the quotes, commas and brackets here"
        raise


def _place_of_duplicate(shown: str, text: str) -> str:
    seen: set[Steps] = set()
    for steps, line, column in _walk(text):
        if steps in seen:
            return f"{shown}:{line}:{column}"
        seen.add(steps)
    return shown


def document_of(shown: str, text: str, data: object) -> Document:
    """Return the document of a JSON text and its data."""
    return Document(shown, data, lambda: _places(text))


def _places(text: str) -> Places:
    return {steps: (line, column) for steps, line, column in _walk(text)}


def _walk(text: str) -> Iterator[tuple[Steps, int, int]]:
    """Yield the line and column of each value of a valid JSON text, in linear time and memory."""
    line, line_start, before = 1, 0, 0
    for steps, offset in _offsets(text):
        line += text.count("\n", before, offset)
        line_start = max(line_start, text.rfind("\n", before, offset) + 1)
        before = offset
        yield steps, line, offset - line_start + 1


def _offsets(text: str) -> Iterator[tuple[Steps, int]]:
    """Yield the offset of each value of a valid JSON text."""
    plain = text.replace("\\\\", "__").replace('\\"', "__")
    steps: list[str | int] = []
    kinds: list[str] = []
    wants_name = False
    for token in TOKEN.finditer(plain):
        char = plain[token.start()]
        if char in "}]":
            kinds.pop()
            steps.pop()
            wants_name = False
        elif char == ",":
            wants_name = kinds[-1] == "{"
            steps[-1] = "" if wants_name else int(steps[-1]) + 1
        elif wants_name:
            steps[-1] = json.loads(text[token.start() : token.end()])
            wants_name = False
        elif char != ":":
            yield tuple(steps), token.start()
            if char in "{[":
                wants_name = char == "{"
                kinds.append(char)
                steps.append("" if wants_name else 0)
