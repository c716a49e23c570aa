"""JSON files whose every value knows its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import UsageError
from .document import Document, Places, Steps

TOKEN = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+')


def read_text(path: Path, shown: str) -> str:
    """Read a file. Raises UsageError where it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{shown}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown}: not UTF-8: {error.reason} at byte {error.start}") from error


def read_json(path: Path, shown: str) -> Document:
    """Read a JSON file. Raises UsageError with the place where it stops being JSON, or UTF-8."""
    text = read_text(path, shown)
    try:
        return document_of(shown, text, json.loads(text))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{shown}:{error.lineno}:{error.colno}: not JSON: {error.msg[0].lower()}{error.msg[1:]}"
        ) from error
    except ValueError as error:  # Python converts 4,300 digits at most
        raise UsageError(f"{shown}: a number has thousands of digits") from error
    except RecursionError as error:
        raise UsageError(f"{shown}: nested too deeply") from error


def document_of(shown: str, text: str, data: object) -> Document:
    """Make the document of a JSON text and of what it holds."""
    return Document(shown, data, lambda: _places(text))


def _places(text: str) -> Places:
    places = {}
    for steps, offset in _offsets(text):
        before = text[:offset]
        places[steps] = (before.count("\n") + 1, len(before) - before.rfind("\n"))
    return places


def _offsets(text: str) -> Iterator[tuple[Steps, int]]:
    """Find where each value of a valid JSON text starts."""
    tokens = list(TOKEN.finditer(text))
    position = 0

    def value(steps: Steps) -> Iterator[tuple[Steps, int]]:
        nonlocal position
        opening = tokens[position]
        yield steps, opening.start()
        position += 1
        if opening.group() not in "{[":
            return
        count = 0
        while tokens[position].group() not in "}]":
            if tokens[position].group() == ",":
                position += 1
            name: str | int = count
            if opening.group() == "{":
                name = json.loads(tokens[position].group())
                position += 2
            yield from value((*steps, name))
            count += 1
        position += 1

    return value(())
