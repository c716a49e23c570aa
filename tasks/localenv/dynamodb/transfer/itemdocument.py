"""Reads items from JSON that is not one a line: arrays, answers of the AWS CLI, batch files, items over several lines.

Holds one item in memory, whatever the size of the file. Connects to nothing. Source of the forms: Amazon DynamoDB API
Reference, Scan, Query, BatchGetItem, BatchWriteItem, TransactGetItems.
"""

from __future__ import annotations

import codecs
import enum
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from ...errors import UsageError
from ...machine.reading import LINE_BYTES
from .itemline import ONE_A_LINE, Fill, Keys, Line, read_line
from .typed import TOO_DEEP

PIECE_BYTES = 1 << 16
LISTS = ("Items", "Responses")
GROUPS = ("RequestItems", "Responses")
"""Members with a list of items for each table."""
MORE = ("LastEvaluatedKey", "NextToken")
"""What an answer has beside its items where it is a part of them; null where it is not."""
BESIDE = ("Count", "ScannedCount", "ConsumedCapacity", "LastEvaluatedKey", "NextToken", "$metadata", "ResponseMetadata")
"""What answers have beside their items."""

_MEMBER = re.compile(r'\s*[{,]\s*"((?:[^"\\]|\\.)*)"\s*:\s*')
_REQUESTS = re.compile(r'\[\s*\{\s*"(Put|Delete)Request"\s*:\s*\{')
_NAMELESS = re.compile(r"\s*[\[{]\s*")
SPACE = " \t\r\n"
_SPACE = re.compile(f"[{SPACE}]*")
_EXTENT = json.JSONDecoder(parse_int=str, parse_float=str)
"""Finds the end of a value only: numbers may be of any length."""


class Form(enum.Enum):
    """What a file of JSON holds: an item a line, values of any layout, or an answer or batch with items in it."""

    LINES = enum.auto()
    VALUES = enum.auto()
    ANSWER = enum.auto()


def form_of(start: bytes, keys: Keys) -> Form:
    """Return the form of a file by its first few thousand bytes. An object with the table's key is an item."""
    head = start.decode("utf-8-sig", errors="ignore").lstrip()
    if head.startswith("["):
        return Form.VALUES
    if _is_answer(head, keys.key[0][0] if keys.key else ""):
        return Form.ANSWER
    return Form.VALUES if head.partition("\n")[0].strip() == "{" and "\n" in head else Form.LINES


def _is_answer(head: str, hash_key: str) -> bool:
    at = 0
    while found := _MEMBER.match(head, at):
        name, at = found[1], found.end()
        if name == hash_key:
            return False
        if _REQUESTS.match(head, at) or (name in GROUPS and head.startswith("{", at)):
            return True
        if name in LISTS and head.startswith("[", at):
            return _holds_items(head, at, hash_key)
        if name not in BESIDE:
            return False
        try:
            _, at = _EXTENT.raw_decode(head, at)
        except (ValueError, RecursionError):
            return False
    return False


def _holds_items(head: str, at: int, hash_key: str) -> bool:
    """Return whether the list at `at` is empty or starts with an item that has the key; any object if "" is the key."""
    inside = _NAMELESS.match(head, at)
    start = inside.end() if inside else at
    if head.startswith("]", start):
        rest = _MEMBER.match(head, start + 1)
        return rest is None or rest[1] in BESIDE
    if not head.startswith("{", start):
        return False
    try:
        _, end = _EXTENT.raw_decode(head, start)
    except (ValueError, RecursionError):
        end = len(head)
    return not hash_key or json.dumps(hash_key, ensure_ascii=False) in head[start:end]


def read_values(file: IO[bytes], shown: str, keys: Keys, fill: Fill | None, *, answer: bool) -> Iterator[Line]:
    """Read the items of a file, those within answers if it has such. Raises UsageError if it cannot be read on."""
    stream = _Stream(file, shown, answer=answer)
    for line, column, text in stream.items():
        read = read_line(f"{shown}:{line}", text, keys, fill, column=column)
        yield replace(read, place=f"{shown}:{line}:{column}")


class _Stream:
    """The values of a JSON text, each as its line, its column and its text."""

    def __init__(self, file: IO[bytes], shown: str, *, answer: bool) -> None:
        self._file, self._shown, self._answer = file, shown, answer
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._at, self._ended = "", 0, False
        self._line = self._column = 1
        self._table = ""
        self._cut_off: UsageError | None = None

    def items(self) -> Iterator[tuple[int, int, str]]:
        while char := self._char():
            if char == "[":
                yield from self._elements()
            elif char == "{" and self._answer:
                self._cut_off = None
                yield from self._members()
            else:
                yield self._value()
        if self._cut_off:
            raise self._cut_off

    def _elements(self) -> Iterator[tuple[int, int, str]]:
        self._take("[")
        while self._char() != "]":
            yield self._value()
            if self._char() != "]":
                self._take(",")
        self._take("]")

    def _members(self, group: str = "") -> Iterator[tuple[int, int, str]]:
        """Yield the items of an answer, of a batch, or of the `group` of tables in one."""
        self._take("{")
        while self._char() != "}":
            line, column, name = self._value()
            self._take(":")
            char, name = self._char(), name.strip('"')
            if char == "[" and not group and name in LISTS:
                yield from self._elements()
            elif char == "{" and not group and name in GROUPS:
                yield from self._members(name)
            elif char == "[" and (group or name not in BESIDE):
                self._only(name, f"{self._shown}:{line}:{column}", group)
                yield from self._elements()
            elif not group and name in MORE and char != "n":
                self._cut_off = UsageError(
                    f"{self._shown}:{line}:{column}: not all items: {name} says that more follow",
                    hint="fetch them without --no-paginate, --max-items and --limit, or import this part alone: "
                    "`jq -c '.Items[]'` prints its items, one a line",
                )
                self._value()
            else:
                self._value()
            if self._char() != "}":
                self._take(",")
        self._take("}")

    def _only(self, table: str, place: str, group: str) -> None:
        """Raise UsageError for the items of a second table."""
        if self._table not in ("", table):
            path = f".{group}" if group else "."
            hint = f"import one at a time: `jq -c '{path}[\"{table}\"][]'` prints the items of {table}, one a line"
            raise UsageError(f"{place}: items of another table, {table}, after those of {self._table}", hint=hint)
        self._table = table

    def _char(self) -> str:
        """Return the next character that is no space, "" at the end."""
        while True:
            char = self._text[self._at : self._at + 1]
            if char and char not in SPACE:
                return char
            found = _SPACE.match(self._text, self._at)
            self._skip((found.end() if found else self._at) - self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _take(self, wanted: str) -> None:
        found = self._char()
        if found != wanted:
            what = f"found {found!r}" if found else "the file ends here"
            raise self._error(self._at, f"not JSON: wanted {wanted!r}, {what}")
        self._skip(1)

    def _value(self) -> tuple[int, int, str]:
        """Take the next value."""
        if not self._char():
            raise self._error(self._at, "not JSON: the file ends here")
        line, column = self._line, self._column
        while True:
            try:
                _, end = _EXTENT.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._more():
                    break
            except json.JSONDecodeError as error:
                if not self._more():
                    at_end = error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated")
                    problem = "the file ends within this" if at_end else f"{error.msg[:1].lower()}{error.msg[1:]}"
                    raise self._error(self._at if at_end else error.pos, f"not JSON: {problem}") from error
            except RecursionError:
                raise self._error(self._at, TOO_DEEP) from None
        text = self._text[self._at : end]
        self._skip(len(text))
        return line, column, text

    def _skip(self, count: int) -> None:
        self._line, self._column = self._position(self._at + count)
        self._at += count

    def _position(self, at: int) -> tuple[int, int]:
        """Return the line and column of an offset in the text ahead."""
        new_lines = self._text.count("\n", self._at, at)
        if not new_lines:
            return self._line, self._column + at - self._at
        return self._line + new_lines, at - self._text.rfind("\n", self._at, at)

    def _more(self) -> bool:
        """Read on, as much again as is ahead, and return whether there was more."""
        ahead = len(self._text) - self._at
        if ahead > LINE_BYTES:
            error = self._error(self._at, f"longer than {LINE_BYTES:,} characters, more than any item")
            error.hint = ONE_A_LINE
            raise error
        piece = b"" if self._ended else self._file.read(max(PIECE_BYTES, ahead))
        self._ended = not piece
        try:
            self._text, self._at = self._text[self._at :] + self._decode(piece, final=self._ended), 0
        except UnicodeDecodeError as error:
            raise self._error(len(self._text), f"not UTF-8: {error.reason}") from error
        return not self._ended

    def _error(self, at: int, message: str) -> UsageError:
        line, column = self._position(at)
        return UsageError(f"{self._shown}:{line}:{column}: {message}")
