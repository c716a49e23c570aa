"""Reads and writes files of items: writes atomically, reads with the place of every error.

Connects to nothing. Written lines are {"Item":{"pk":{"S":"a"}}} with names and sets sorted, so equal items give equal
bytes. AWS's export to S3 writes such lines, and its import from S3 takes them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from ...errors import UsageError
from ...machine.reading import lines, opened, plain, require_utf8
from ...machine.wholefile import written_whole
from .csvfile import read_csv
from .itemdocument import Form, form_of, read_values
from .itemline import ONE_A_LINE, Fill, Keys, Line, cut_off, end_of_stream, read_line
from .typed import Item, as_written

CSV = re.compile(r"\.[ct]sv(\.gz)?$")


def as_line(item: Item) -> str:
    """Return an item (DynamoDB JSON, from any client) as a line, without a line end."""
    values = {name: as_written(value) for name, value in item.items()}
    line = json.dumps({"Item": values}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    # Half a surrogate pair, which UTF-8 cannot encode, is written as a JSON escape.
    return line if line.isascii() else line.encode(errors="backslashreplace").decode()


@dataclass(frozen=True)
class Written:
    """A file of items: their number, its size, and the SHA-256 (hexadecimal) and MD5 of its bytes."""

    items: int
    size_bytes: int
    sha256: str
    md5: bytes


def write_lines(path: Path, items: Iterable[Item]) -> Written:
    """Write items to a file, compressed where its name ends in .gz. Raises as `written_whole` does."""
    with written_whole(path) as raw:
        return _write(raw, items, compressed=path.suffix == ".gz")


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
    """Writes to a file, and keeps the size and the hashes of what was written."""

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


def read_lines(path: Path, shown: str, keys: Keys, fill: Fill | None = None) -> Iterator[Line]:
    """Read the items of a file, one in memory; detects compression by the first bytes, CSV by the suffix.

    An item is DynamoDB JSON, bare or within {"Item": …}, or plain JSON, bare or within {"item": …}: the value of its
    key tells which. They are one a line, or in JSON as `itemdocument` reads it. The envelope that ends the stream of a
    command is passed over, if it ended well. An item that does not fit the table has an error at path:line:column.
    `fill` is that of `read_line`. Raises UsageError if the file cannot be read on.
    """
    with open_plain(path, shown) as file:
        if CSV.search(path.name):
            yield from read_csv(file, shown, keys)
            return
        start = cast("io.BufferedReader", file).peek(1)
        require_utf8(start, shown)
        if (form := form_of(start, keys)) is not Form.LINES:
            yield from read_values(file, shown, keys, fill, answer=form is Form.ANSWER)
            return
        for number, text in _texts(file, shown):
            place = f"{shown}:{number}"
            end = end_of_stream(text)
            if end != "ok":
                yield Line(place, {}, cut_off(place)) if end else read_line(place, text, keys, fill)


def read_items(path: Path, shown: str, keys: Keys) -> Iterator[Item]:
    """Read the items of a file. Raises UsageError at path:line:column for the first line that is not one."""
    for line in read_lines(path, shown, keys):
        if line.error:
            raise line.error
        yield line.item


@contextmanager
def open_plain(path: Path, shown: str) -> Iterator[IO[bytes]]:
    """Open a file, and decompress it as it is read. Raises UsageError if it cannot be read."""
    with opened(path, shown) as raw, plain(raw, shown) as file:
        yield file


def raw_lines(path: Path, shown: str) -> Iterator[bytes]:
    """Yield the lines of a file without line ends, one in memory. Raises UsageError as read_lines does."""
    with open_plain(path, shown) as file:
        for _, line in lines(file, shown, hint=ONE_A_LINE):
            yield line.rstrip(b"\n")


def _texts(file: IO[bytes], shown: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    for number, line in lines(file, shown, hint=ONE_A_LINE):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{shown}:{number}: not UTF-8: {error.reason} at byte {error.start + 1}") from error
        if text.strip():
            yield number, text
