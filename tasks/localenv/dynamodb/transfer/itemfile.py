"""Files of items, one a line: written whole or not at all, read line by line with the place of all that is wrong.

Nothing connects here. A line as it is written: {"Item":{"pk":{"S":"a"}}}, names and sets in order, so that the same
items give the same bytes. AWS's export to S3 writes such lines, and its import from S3 takes them.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NoReturn

from ...disk import disk_errors
from ...errors import UsageError
from ..files.document import Steps
from ..files.jsonfile import document_of
from ..tables import Key
from .typed import TOO_DEEP, Item, Misfit, check_size, from_plain, ordered, read_item, told

LINE_BYTES = 16 * 1024 * 1024
"""Longer than the JSON of any item of 400 kB, and short enough for memory."""
GZIP_MAGIC = b"\x1f\x8b"
ONE_A_LINE = "write one item a line: `jq -c '.[]'` takes an array apart, `jq -c .` an item of several lines"


@dataclass(frozen=True)
class Keys:
    """What a line must have: the table's key. `types` are those of all attributes that it or an index is keyed by."""

    key: Key
    types: dict[str, str]


@dataclass(frozen=True)
class Line:
    """An item (binary as bytes) and its place in a file, path:line; or what is wrong with the line there."""

    place: str
    item: Item
    error: UsageError | None = None


def as_line(item: Item) -> str:
    """Write an item (DynamoDB JSON, from any client) as a line, without its end."""
    values = {name: ordered(value) for name, value in item.items()}
    line = json.dumps({"Item": values}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    # Half a surrogate pair, which no UTF-8 holds, is written as JSON's escape of it.
    return line if line.isascii() else line.encode(errors="backslashreplace").decode()


@dataclass(frozen=True)
class Written:
    """A file of items: how many, its size, and the SHA-256 (hexadecimal) and MD5 of its bytes."""

    items: int
    size_bytes: int
    sha256: str
    md5: bytes


def write_lines(path: Path, items: Iterable[Item]) -> Written:
    """Write items to a file, compressed where its name ends in .gz: all of them, or the file stays as it was.

    Raises PreflightFailed for a full disk or a folder that may not be written to, UsageError where there is none.
    """
    need_folder(path.parent)
    path = path.resolve()  # of a link the file that it leads to is replaced
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: there, and not a file", hint="name a file, or - for stdout")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with disk_errors(path.parent):
            with part.open("wb") as raw:
                written = _write(raw, items, compressed=path.suffix == ".gz")
                os.fsync(raw.fileno())
            part.replace(path)
            _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return written


def need_folder(folder: Path) -> None:
    """Raise UsageError where there is no such folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="make it, or correct the path")


def _write(raw: IO[bytes], items: Iterable[Item], *, compressed: bool) -> Written:
    sink = _Hashing(raw)
    count = 0
    # No name and no time in the header: the same items give the same bytes.
    out: Any = gzip.GzipFile("", "wb", 6, sink, mtime=0) if compressed else sink
    for item in items:
        out.write(as_line(item).encode() + b"\n")
        count += 1
    if compressed:
        out.close()
    return Written(count, sink.size_bytes, sink.sha256.hexdigest(), sink.md5.digest())


class _Hashing:
    """Writes through to a file, and knows the size and the hashes of what went by."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes) -> int:
        self.size_bytes += len(data)
        self.sha256.update(data)
        self.md5.update(data)
        return self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()


def read_lines(path: Path, shown: str, keys: Keys) -> Iterator[Line]:
    """Read the items of a file, a line in memory; compressed ones are known by their first bytes, CSV by its suffix.

    A line is an item in DynamoDB JSON, bare or within {"Item": …}, or plain JSON: its key tells which. One that is no
    item of such a table has an error at path:line:column. Raises UsageError where reading cannot go on.
    """
    with open_plain(path, shown) as file:
        if path.suffixes[-1:] == [".csv"] or path.suffixes[-2:] == [".csv", ".gz"]:
            yield from _read_csv(file, shown, keys)
            return
        for number, text in _texts(file, shown):
            yield _line(f"{shown}:{number}", text, keys)


def read_items(path: Path, shown: str, keys: Keys) -> Iterator[Item]:
    """Read the items of a file. Raises UsageError at path:line:column for the first line that is none."""
    for line in read_lines(path, shown, keys):
        if line.error:
            raise line.error
        yield line.item


@contextmanager
def open_plain(path: Path, shown: str) -> Iterator[IO[bytes]]:
    """Open a file, and decompress it as it is read. What cannot be read is a UsageError."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not compressed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked  # type: ignore[misc]
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UsageError(f"{shown}: the compressed data is damaged or cut short: {error}") from error
    except OSError as error:
        raise unreadable(shown, error) from error


def unreadable(shown: str, error: OSError) -> UsageError:
    """Make the error for a file that the system does not let us read."""
    return UsageError(f"{shown}: {(error.strerror or str(error)).lower()}")


def _texts(file: IO[bytes], shown: str) -> Iterator[tuple[int, str]]:
    """Give the lines that are not blank, with their numbers."""
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise UsageError(f"{shown}:{number}: the line is longer than {LINE_BYTES:,} bytes", hint=ONE_A_LINE)
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{shown}:{number}: not UTF-8: {error.reason} at byte {error.start + 1}") from error
        if text.strip():
            yield number, text


def _line(place: str, text: str, keys: Keys) -> Line:
    """Read a line of JSON; what is wrong with it is said with its column."""
    try:
        item = _item_of(LOADER.decode(text.strip()), keys)
        check_size(item, len(text))
        return Line(place, item)
    except json.JSONDecodeError as error:
        column = len(text) - len(text.lstrip()) + error.colno
        problem, hint = f"not JSON: {error.msg[0].lower()}{error.msg[1:]}", ONE_A_LINE if text.strip() in "[{" else ""
    except Misfit as error:
        place_in_line = document_of("", text, None).place(error.steps) if error.steps else "1"
        column, problem, hint = int(place_in_line.rpartition(":")[2]), error.message, error.hint
    except RecursionError:
        column, problem, hint = 1, TOO_DEEP, ""
    return Line(place, {}, UsageError(f"{place}:{column}: {problem}", hint=hint))


def _item_of(data: Any, keys: Keys) -> Item:
    """Make the item of what a line holds: the key's value is an object where it is typed, else it is plain."""
    steps: Steps = ()
    hash_key = keys.key[0][0]
    if isinstance(data, dict) and set(data) == {"Item"} and not (hash_key == "Item" and _is_key_value(data["Item"])):
        data, steps = data["Item"], ("Item",)
    if not isinstance(data, dict):
        raise Misfit(steps, f"wanted an item, found {told(data)}", hint=ONE_A_LINE if isinstance(data, list) else "")
    for stranger in ("NewImage", "OldImage"):
        if stranger in data and hash_key not in data:
            raise Misfit(steps, "a change of an incremental export, and no item", hint="use a full export")
    _need_keys(data, keys, steps)
    if not steps and not isinstance(data[hash_key], dict):
        data = {name: from_plain(value) for name, value in data.items()}
    item = read_item(data, steps)
    _check_keys(item, keys, steps)
    return item


def _is_key_value(value: Any) -> bool:
    """Tell whether this is the value of an attribute called Item, and not an item."""
    return not (isinstance(value, dict) and "Item" in value)


def _need_keys(data: Collection[str], keys: Keys, steps: Steps = ()) -> None:
    for name, _ in keys.key:
        if name not in data:
            raise Misfit(steps, f"no {name!r}, which is in the table's key")


def _check_keys(item: Item, keys: Keys, steps: Steps = ()) -> None:
    """Raise Misfit where the value of a key, the table's or an index's, is of another type or empty."""
    for name, wanted in keys.types.items():
        if name not in item:
            continue
        ((kind, content),) = item[name].items()
        if kind != wanted:
            raise Misfit((*steps, name), f"{name!r} is a key of type {wanted}, found {kind}")
        if content in ("", b""):
            raise Misfit((*steps, name), f"{name!r} is a key, and keys are not empty")


def _read_csv(file: IO[bytes], shown: str, keys: Keys) -> Iterator[Line]:
    """Read CSV as AWS's import from S3 does: names in the first line, text in all columns but those of keys."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        names = next(reader, [])
        last_line = reader.line_num
        for row in reader:
            place, last_line = f"{shown}:{last_line + 1}", reader.line_num
            if len(row) != len(names):
                raise UsageError(f"{place}: {len(row)} columns, and {len(names)} in the first line")
            yield _line_of_row(place, dict(zip(names, row, strict=True)), keys)
    except csv.Error as error:
        raise UsageError(f"{shown}:{reader.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown}:{reader.line_num + 1}: not UTF-8: {error.reason}") from error
    finally:
        text.detach()


def _line_of_row(place: str, row: dict[str, str], keys: Keys) -> Line:
    try:
        _need_keys(row, keys)
        item = read_item({name: {keys.types.get(name, "S"): value} for name, value in row.items()})
        _check_keys(item, keys)
        check_size(item, sum(map(len, row.values())))
    except Misfit as error:
        return Line(place, {}, UsageError(f"{place}: {error.message}", hint=error.hint))
    return Line(place, item)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Misfit((), f"{next(name for name in names if names.count(name) > 1)!r} is in one object twice")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise Misfit((), f"{word} is not JSON, and no number of DynamoDB")


LOADER = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=Decimal, parse_constant=_refuse_constant)


def _sync_folder(folder: Path) -> None:
    """Make the new name last, too (fsync(2): syncing a file does not sync its entry in the folder)."""
    with suppress(OSError):
        entry = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)
