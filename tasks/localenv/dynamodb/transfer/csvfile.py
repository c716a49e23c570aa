"""Reads CSV as AWS's import from S3 does: names in the first line, strings in all columns but those of keys.

Cells are separated as the names are: by commas, semicolons or tabs. Connects to nothing. Source: Amazon DynamoDB
Developer Guide, "Amazon S3 import formats for DynamoDB".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import IO, cast

from ...errors import UsageError
from ...machine.reading import lines, require_utf8
from ...machine.words import counted
from .itemline import Keys, Line, checked_item, require_keys
from .typed import NUMBER, Misfit, check_size, shorten

DELIMITERS = (",", ";", "\t")
EXCELS = ["sep=", ""]
"""The row that Excel writes before the names, `sep=;`."""
ROW_BYTES = 2 << 20
"""An item has at most 400 kB, and each byte may be a doubled quote."""


def read_csv(file: IO[bytes], shown: str, keys: Keys) -> Iterator[Line]:
    """Read the items of a CSV file, a row in memory. Raises UsageError if the file cannot be read on."""
    with closing(_rows(file, shown, keys)) as rows:
        place, names = next(rows, ("", []))
        if names == EXCELS:
            place, names = next(rows, ("", []))
        _check_columns(place, names)
        for place, row in rows:
            if len(row) == len(names):
                yield _line_of(place, dict(zip(names, row, strict=True)), keys)
            else:
                yield Line(
                    place, {}, UsageError(f"{place}: {counted(len(row), 'column')}, but {len(names)} in the first line")
                )


def _rows(file: IO[bytes], shown: str, keys: Keys) -> Generator[tuple[str, list[str]], None, None]:
    """Yield the rows that are not blank, each with the place of its first line."""
    csv.field_size_limit(ROW_BYTES)
    start = cast("io.BufferedReader", file).peek(1).decode("utf-8-sig", errors="ignore")
    pieces = _Pieces(file, shown)
    reader = csv.reader(pieces, strict=True, delimiter=_delimiter(start, keys))
    last_line = 0
    try:
        for row in reader:
            if row:
                yield f"{shown}:{last_line + 1}", row
            last_line = reader.line_num
            pieces.row_bytes = 0
    except csv.Error as error:
        raise UsageError(f"{shown}:{reader.line_num}: {error}") from error


def _delimiter(start: str, keys: Keys) -> str:
    """Return what separates the names in the first line: the comma, unless only another one shows the table's key."""
    head = start.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    if head[:4] == "sep=" and head[4:] in DELIMITERS:
        return head[4:]
    wanted = {name for name, _ in keys.key}
    for delimiter in DELIMITERS:
        names = next(csv.reader([head], delimiter=delimiter), [])
        if wanted.issubset(names) if wanted else len(names) > 1:
            return delimiter
    return next((each for each in DELIMITERS if each in head), ",")


class _Pieces:
    """The lines of a file for the csv module. Raises UsageError if a row gets too long."""

    def __init__(self, file: IO[bytes], shown: str) -> None:
        self.row_bytes = 0
        self._shown = shown
        self._pieces = self._read(file)

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def _read(self, file: IO[bytes]) -> Iterator[str]:
        for number, line in lines(file, self._shown):
            place = f"{self._shown}:{number}"
            if number == 1:
                require_utf8(line, self._shown)
            self.row_bytes += len(line)
            if self.row_bytes > ROW_BYTES:
                raise UsageError(f"{place}: the row is longer than any item", hint="look for an unclosed quote")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UsageError(f"{place}: not UTF-8: {error.reason}") from error
            yield from io.StringIO(text, newline="")  # a lone \r also ends a line


def _check_columns(place: str, names: list[str]) -> None:
    """Raise UsageError if a column has no name, or that of another."""
    for number, name in enumerate(names, 1):
        if not name:
            raise UsageError(f"{place}: column {number} has no name", hint="the first line names the attributes")
        if name in names[: number - 1]:
            raise UsageError(f"{place}: {name!r} is the name of two columns", hint="rename or remove one of the two")


def _number_hint(cell: str) -> str:
    """Return how to write a number: no spaces, and a point before its decimals, not a comma."""
    return "write digits, and a point before the decimals" + (", no comma" if "," in cell else "")


def _line_of(place: str, row: dict[str, str], keys: Keys) -> Line:
    """Return the item of a row. An empty cell is an empty string; in a key of only an index, it is left out."""
    in_key = {name for name, _ in keys.key}
    left_out = {name for name, value in row.items() if not value and name in keys.types and name not in in_key}
    try:
        require_keys(row, keys)
        data = {name: {keys.types.get(name, "S"): value} for name, value in row.items() if name not in left_out}
        item = checked_item(data, keys)
        check_size(item, sum(len(name) + len(value) for name, value in row.items()))
    except Misfit as error:
        name = error.steps[0] if error.steps else ""
        is_number = error.steps[1:] == ("N",) and not NUMBER.fullmatch(row[str(name)])
        problem = f"{name!r} is a number such as 1.5, found {shorten(row[str(name)])!r}" if is_number else error.message
        return Line(
            place, {}, UsageError(f"{place}: {problem}", hint=_number_hint(row[str(name)]) if is_number else error.hint)
        )
    return Line(place, item)
