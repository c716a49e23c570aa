"""Resolves variables of the Serverless Framework, ${self:custom.table}, from their own file alone.

Source: Serverless Framework, "Variables": ${source:address, fallback}, nested; a fallback is a quoted string or another
source. Options, the environment and other files are not read: their fallbacks are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import UsageError
from .document import Document, Steps

START = re.compile(r"\$\{(?=\s*[A-Za-z][\w.-]*(?:\(|:(?!:)))")
"""The start of a variable. ${AWS::Region}, ${Parameter} and ${Resource.Arn} are CloudFormation's own."""
CANDIDATE = re.compile(r"([A-Za-z][\w.-]*)(?:\((.*)\))?(?::(.*))?", re.DOTALL)
NUMBER = re.compile(r"-?\d{1,15}")
LITERALS = {"true": True, "false": False}
MAX_DEPTH = 10
MAX_LOOKUPS = 10_000
MAX_LENGTH = 100_000
"""The most characters of a text with its variables replaced."""
HINT = "write the value itself"
MISSING = object()


@dataclass(frozen=True)
class Resolved:
    """A text with its variables replaced, or the value of a lone variable, and the steps to it."""

    value: Any
    steps: Steps


class Variables:
    """The variables of a file. `document` knows the places; `data` is the whole file, if that differs."""

    def __init__(self, document: Document, stand_ins: Mapping[str, str], data: Any = None) -> None:
        self._document = document
        self._data = document.data if data is None else data
        self._stand_ins = stand_ins
        self._active: list[str] = []
        self._lookups = 0

    def within(self, document: Document) -> Variables:
        """Return the variables for a document made from the file: steps refer to `document`."""
        return Variables(document, self._stand_ins, self._data)

    def resolve(self, text: str, steps: Steps) -> Resolved:
        """Return a text with its variables replaced. Raises UsageError, naming one without a value."""
        if "${" not in text:
            return Resolved(text, steps)
        pieces: list[str] = []
        position = length = 0
        while start := START.search(text, position):
            end = self._end(text, start.start(), steps)
            found = self._value(text[start.end() : end], steps)
            if found.value is MISSING:
                raise self._unknown(text[start.start() : end + 1], steps)
            if start.start() == 0 and end == len(text) - 1:
                return found
            pieces += [text[position : start.start()], self._text(found.value, text[start.start() : end + 1], steps)]
            length += len(pieces[-1]) + len(pieces[-2])
            if length > MAX_LENGTH:
                raise self._document.error(steps, f"variables expand to more than {MAX_LENGTH:,} characters", hint=HINT)
            position = end + 1
        return Resolved("".join([*pieces, text[position:]]), steps) if pieces else Resolved(text, steps)

    def _end(self, text: str, start: int, steps: Steps) -> int:
        """Return the position of the brace that closes the variable at `start`."""
        depth, quote, position = 0, "", start
        while position < len(text):
            char = text[position]
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif text.startswith("${", position):
                depth += 1
                position += 1
                if depth > MAX_DEPTH:
                    raise self._document.error(steps, f"variables are nested deeper than {MAX_DEPTH} levels", hint=HINT)
            elif char == "}":
                depth -= 1
                if depth == 0:
                    return position
            position += 1
        raise self._document.error(steps, f"{_cut(text[start:])} is not closed", hint="close it with }")

    def _value(self, expression: str, steps: Steps) -> Resolved:
        for candidate in _candidates(expression):
            found = self._candidate(candidate.strip(), steps)
            if found.value is not MISSING and found.value is not None:
                return found
        return Resolved(MISSING, steps)

    def _candidate(self, text: str, steps: Steps) -> Resolved:
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            return Resolved(text[1:-1], steps)
        start = START.match(text)
        if start and self._end(text, 0, steps) == len(text) - 1:
            return self._value(text[start.end() : -1], steps)
        text = self._text(self.resolve(text, steps).value, text, steps)
        if text in LITERALS:
            return Resolved(LITERALS[text], steps)
        if NUMBER.fullmatch(text):
            return Resolved(int(text), steps)
        source = CANDIDATE.fullmatch(text)
        return self._source(source[1], source[2] or "", source[3] or "", steps) if source else Resolved(MISSING, steps)

    def _source(self, source: str, inner: str, address: str, steps: Steps) -> Resolved:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS or len(self._active) > 20:
            raise self._document.error(steps, "too many variables, or a cycle of them", hint=HINT)
        if (source, address) in (("sls", "stage"), ("self", "provider.stage")):
            return self._first((("provider", "stage"),), "dev", steps)
        if (source, address) in (("aws", "region"), ("self", "provider.region")):
            return self._first((("provider", "region"),), self._stand_ins.get("AWS::Region"), steps)
        if source == "self":
            return self._at(tuple(address.split(".")), address, steps)
        if source == "aws" and address == "accountId":
            return Resolved(self._stand_ins.get("AWS::AccountId"), steps)
        if source == "param":
            stage = str(self._first((("provider", "stage"),), "dev", steps).value)
            paths = [path for name in (stage, "default") for path in (("stages", name, "params"), ("params", name))]
            return self._first([(*path, address) for path in paths], None, steps)
        if source == "strToBool" and inner.strip("'\" ") in ("true", "false", "0", "1"):
            return Resolved(inner.strip("'\" ") in ("true", "1"), steps)
        return Resolved(MISSING, steps)

    def _first(self, paths: Any, default: Any, steps: Steps) -> Resolved:
        for path in paths:
            found = self._at(path, ".".join(path), steps)
            if found.value is not MISSING:
                return found
        return Resolved(MISSING if default is None else default, steps)

    def _at(self, path: Steps, address: str, steps: Steps) -> Resolved:
        """Look up a value of the file by its path."""
        if address in self._active:
            raise self._document.error(steps, f"${{self:{address}}} refers to itself", hint=HINT)
        self._active.append(address)
        try:
            found: Any = self._data
            where: Steps = ()
            for name in path if address else ():
                found, where = self._below(found, where, str(name))
                if isinstance(found, str):
                    resolved = self.resolve(found, where)
                    found, where = resolved.value, resolved.steps
                if found is MISSING:
                    break
            return Resolved(found, where)
        finally:
            self._active.pop()

    @staticmethod
    def _below(value: Any, steps: Steps, name: str) -> tuple[Any, Steps]:
        if isinstance(value, dict) and name in value:
            return value[name], (*steps, name)
        if isinstance(value, list) and name.isdecimal() and len(name) < 6 and int(name) < len(value):
            return value[int(name)], (*steps, int(name))
        return MISSING, steps

    def _text(self, value: Any, shown: str, steps: Steps) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
        raise self._document.error(
            steps, f"{_cut(shown)} is not a string but is used in one", hint="use a string there"
        )

    def _unknown(self, variable: str, steps: Steps) -> UsageError:
        return self._document.error(steps, f"{_cut(variable)} has no value in this file", hint=_hint(variable))


def _hint(variable: str) -> str:
    source = re.split(r"[:(]", variable[2:].strip(), maxsplit=1)[0]
    if source == "file":
        return "other files are not read: write the value itself, or use that file instead of this one"
    if source == "self":
        return "define it in this file, or add a fallback: ${self:custom.name, 'value'}"
    return f"add a fallback: ${{{source}:…, 'value'}}; nothing outside this file is read"


def _candidates(expression: str) -> Iterator[str]:
    """Split at the commas outside quotes, brackets and variables."""
    depth, quote, start = 0, "", 0
    for position, char in enumerate(expression):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "({":
            depth += 1
        elif char in ")}":
            depth -= 1
        elif char == "," and depth == 0:
            yield expression[start:position]
            start = position + 1
    yield expression[start:]


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
