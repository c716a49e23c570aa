"""How a CSV file is written: its delimiter, its quotes, and whether its first line names columns. Reads no file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import UsageError

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_RECORDS = 200
SAMPLE_CHARS = 1 << 20
NAMES = {"\t": "tab"}
_NO_NAME = re.compile(r"[\s\d.,:+/%-]*")
"""A value that names no column: empty, a number, a date."""


@dataclass(frozen=True)
class Column:
    """A column of a table. `type` is as SQL names it, `category` PostgreSQL's letter: A is an array."""

    name: str
    type: str
    category: str
    is_generated: bool
    is_identity: bool
    has_default: bool


@dataclass(frozen=True)
class Asked:
    """What the options say of a file; empty and None are left to be found out."""

    delimiter: str = ""
    quote: str = ""
    header: bool | None = None
    encoding: str = ""


@dataclass(frozen=True)
class Form:
    """How a file is written. `columns` are those of its fields; `dropped` are the fields that are not loaded."""

    delimiter: str
    quote: str
    header: bool
    columns: tuple[str, ...]
    dropped: frozenset[int] = frozenset()

    @property
    def loaded(self) -> tuple[str, ...]:
        """The columns that are loaded."""
        return tuple(name for place, name in enumerate(self.columns) if place not in self.dropped)

    def __str__(self) -> str:
        return f"CSV, {_shown(self.delimiter)}, {'with' if self.header else 'without'} a header"


def split(record: str, delimiter: str, quote: str) -> list[str]:
    """Return the fields of a record as they are written, with their quotes."""
    fields = [""]
    for number, piece in enumerate(record.split(quote)):
        fields[-1] += quote * bool(number)
        if number % 2:
            fields[-1] += piece
        else:
            first, *others = piece.split(delimiter)
            fields[-1] += first
            fields += others
    return fields


def records(lines: Iterable[str], quote: str) -> Iterator[str]:
    """Yield the records of lines, with their line ends: a quoted value may have line breaks."""
    parts: list[str] = []
    quotes = 0
    for line in lines:
        parts.append(line)
        quotes += line.count(quote)
        if quotes % 2 == 0:
            yield "".join(parts)
            parts, quotes = [], 0
    if parts:
        yield "".join(parts)


def sample(lines: Iterable[str], quote: str) -> list[str]:
    """Return the first records without their line ends; the last of many, which may be cut short, is left out."""
    taken: list[str] = []
    size = 0
    for record in records(_first(lines), quote):
        if taken and (len(taken) == SAMPLE_RECORDS or size > SAMPLE_CHARS):
            break
        taken.append(record.rstrip("\r\n"))
        size += len(record)
    return taken[:-1] if size > SAMPLE_CHARS and len(taken) > 1 else taken


def _first(lines: Iterable[str]) -> Iterator[str]:
    size = 0
    for line in lines:
        yield line
        size += len(line)
        if size > SAMPLE_CHARS:
            return


def find_form(found: Sequence[str], columns: Sequence[Column], asked: Asked, where: str, table: str) -> Form:
    """Return how a file is written, from its first records. Raises UsageError, with the option, where that is in doubt.

    `where` is the file in messages.
    """
    if not found:
        raise UsageError(f"{where}: there is nothing in it", hint="name another file")
    quote = asked.quote or '"'
    fields = {each: [split(one, each, quote) for one in found] for each in _candidates(asked)}
    known = {column.name for column in columns}
    heads = {each: names_of(rows[0], quote) for each, rows in fields.items()}
    named = [each for each in fields if asked.header is not False and _are_columns(heads[each], known)]
    if named:
        delimiter = _of_header(named, fields, where)
        _require_quote(fields[delimiter], asked, where)
        dropped = [place for place, name in enumerate(heads[delimiter]) if _is_generated(columns, name)]
        return Form(delimiter, quote, True, tuple(heads[delimiter]), frozenset(dropped))
    best = max(fields, key=lambda each: len(known.intersection(heads[each])))
    if asked.header or (asked.header is None and known.intersection(heads[best])):
        raise _no_column(heads[best], known, where, table)
    delimiter, chosen = _by_width(fields, columns, asked, where, table)
    _require_quote(fields[delimiter], asked, where)
    if asked.header is None and not any(map(_NO_NAME.fullmatch, heads[delimiter])):
        shown = ", ".join(heads[delimiter])
        raise UsageError(
            f"{where}:1: {shown[:80]}: whether this is a header or a row is in doubt",
            hint="pass --no-header where it is a row; else name the columns as the table does, and pass --header",
        )
    return Form(delimiter, quote, False, chosen)


def _candidates(asked: Asked) -> tuple[str, ...]:
    return (asked.delimiter,) if asked.delimiter else DELIMITERS


def names_of(fields: Iterable[str], quote: str) -> list[str]:
    """Return fields without the quotes around them."""
    return [field[1:-1].replace(quote * 2, quote) if field[:1] == quote == field[-1:] else field for field in fields]


def _are_columns(names: Sequence[str], known: Collection[str]) -> bool:
    return len(set(names)) == len(names) and all(name in known for name in names)


def _is_generated(columns: Sequence[Column], name: str) -> bool:
    return any(column.is_generated for column in columns if column.name == name)


def _of_header(named: Sequence[str], fields: dict[str, list[list[str]]], where: str) -> str:
    """Return the delimiter that makes the first line a list of columns; one column has none."""
    if several := [each for each in named if len(fields[each][0]) > 1]:
        return several[0]
    if len(named) > 1 and any(len(row) > 1 for each in named for row in fields[each]):
        raise _in_doubt(f"{where}:1: a header of one column, above rows of several fields")
    return named[0]


def _by_width(
    fields: dict[str, list[list[str]]], columns: Sequence[Column], asked: Asked, where: str, table: str
) -> tuple[str, tuple[str, ...]]:
    """Return the delimiter, and the columns, of a file without a header: the one that gives a field for each column."""
    stored = [column.name for column in columns if not column.is_generated]
    given = [column.name for column in columns if not column.is_generated and not column.is_identity]
    wanted = {len(each): tuple(each) for each in (given, stored)}
    fitting = [each for each, rows in fields.items() if len(rows[0]) in wanted and len({*map(len, rows)}) == 1]
    split_up = [each for each in fitting if len(fields[each][0]) > 1] or fitting[:1]
    if len(split_up) > 1:
        raise _in_doubt(f"{where}: {' and '.join(map(_shown, split_up))} divide its lines alike")
    if split_up:
        return split_up[0], wanted[len(fields[split_up[0]][0])]
    delimiter = max(fields, key=lambda each: len(fields[each][0]))
    row = next((n for n, row in enumerate(fields[delimiter]) if len(row) not in wanted), 0)
    count = len(fields[delimiter][row])
    raise UsageError(
        f"{where}:{1 + row}: {count} fields by {_shown(delimiter)}, and {table} has the columns {', '.join(stored)}",
        hint="name the file's columns in its first line, or pass --delimiter" if not asked.delimiter else "correct it",
    )


def _in_doubt(what: str) -> UsageError:
    return UsageError(f"{what}: the delimiter is in doubt", hint="pass --delimiter, such as --delimiter ';' or tab")


def _require_quote(rows: Iterable[Sequence[str]], asked: Asked, where: str) -> None:
    """Raise UsageError where values stand in single quotes, which would be a part of them."""
    if asked.quote:
        return
    for number, row in enumerate(rows, 1):
        if any('"' in field for field in row):
            return
        if any(len(field) > 1 and field[0] == field[-1] == "'" for field in row):
            raise UsageError(
                f"{where}:{number}: whether the single quotes belong to the values is in doubt",
                hint="pass --quote \"'\" where they enclose values, --quote '\"' where they belong to them",
            )


def _no_column(names: Sequence[str], known: Collection[str], where: str, table: str) -> UsageError:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return UsageError(f"{where}:1: column {twice!r} is named twice", hint="correct the first line")
    name = next(name for name in names if name not in known)
    return no_column(f"{where}:1", name, known, table, "; pass --no-header where the first line is a row")


def no_column(place: str, name: str, known: Collection[str], table: str, otherwise: str = "") -> UsageError:
    """Return the error for a name that is no column of the table."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(sorted(known))}"
    return UsageError(f"{place}: table {table} has no column {name!r}", hint=hint + otherwise)


def _shown(delimiter: str) -> str:
    return NAMES.get(delimiter, repr(delimiter))
