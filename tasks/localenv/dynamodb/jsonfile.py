"""A JSON file whose every value knows its place, for messages that start with path:line:column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError

TOKEN = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+')

Steps = tuple[str | int, ...]
"""The way to a value from the top: ("KeySchema", 0, "KeyType")."""


@dataclass(frozen=True)
class JsonFile:
    """The contents of a JSON file. `shown` is its path as messages give it."""

    shown: str
    text: str
    data: Any

    def place(self, steps: Steps = ()) -> str:
        """Give path:line:column of a value, or of the nearest one around it that exists."""
        offsets = dict(_offsets(self.text))
        while steps not in offsets:
            steps = steps[:-1]
        before = self.text[: offsets[steps]]
        return f"{self.shown}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"

    def error(self, steps: Steps, message: str, *, hint: str = "") -> UsageError:
        """Make the error for a value that is wrong."""
        return UsageError(f"{self.place(steps)}: {message}", hint=hint)


def read_json(path: Path, shown: str) -> JsonFile:
    """Read a JSON file. Raises UsageError with the place where it stops being JSON, or UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return JsonFile(shown, text, json.loads(text))
    except OSError as error:
        raise UsageError(f"{shown}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown}: not UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{shown}:{error.lineno}:{error.colno}: not JSON: {error.msg[0].lower()}{error.msg[1:]}"
        ) from error


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
