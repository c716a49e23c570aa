"""The only way to read untrusted input: files, pipes, JSON. Limits bytes, lines, depth and number of values.

Every fault is a UsageError with its place; no declared size, name or type is trusted unchecked.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
import select
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from ..errors import UsageError

TEXT_BYTES = 16 << 20
"""A file that is read whole."""
NOTE_BYTES = 1 << 20
"""A note of our own."""
LINE_BYTES = 16 << 20
"""A line of a file of any length: longer than the JSON of any item of 400 kB, and short enough for memory."""
STREAM_BYTES = 4 << 30
"""A stream from a pipe, which is copied to disk."""
DEPTH = 100
"""Levels of JSON. An item of DynamoDB has 32, two levels of JSON each."""
VALUES = 500_000
"""Values in one JSON text. An item of 400 kB has 205,000 at most, each in an object of its own."""
DIGITS = 30
RATIO, RATIO_FROM = 500, 1 << 30
"""The largest ratio of gzip, checked from so many bytes on. The format's limit is 1,032; items reach 50."""
BLANK_LINES = 1_000_000
"""No real file has so many in a row."""
WRITER_S = 5.0
"""How long to wait for a writer to open a named pipe."""
GZIP_MAGIC = b"\x1f\x8b"
UTF16 = (b"\xff\xfe", b"\xfe\xff")

_STRING = re.compile(r'"[^"]*"?')
_BRACKET = re.compile(r"[\[\]{}]")


class DuplicateName(UsageError):
    """A name that occurs twice in one JSON object."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:40]!r} is in one object twice")


class Damaged(UsageError):
    """Compressed data that is damaged or truncated."""


def path_of(given: str) -> Path:
    """Return the path that a user typed. Raises UsageError for the home folder of an unknown user."""
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{given}: there is no such user", hint="write the folder out") from error


def is_there(path: Path) -> bool:
    """Return whether a path exists; one that is too long does not."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def is_stream(path: Path) -> bool:
    """Return whether a path can be read only once, such as <(…) or /dev/stdin."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; one that is too long is not."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def opened(path: Path, shown: str) -> Iterator[IO[bytes]]:
    """Open a file, a pipe or a terminal. Raises UsageError for anything else, and for errors while reading."""
    try:
        with _open(path, shown) as file:
            yield file
    except OSError as error:
        if error.filename not in (None, str(path)):
            raise
        raise unreadable(shown, error) from error


def unreadable(shown: str, error: OSError) -> UsageError:
    """Return the error for a file that cannot be read."""
    return UsageError(f"{shown}: {(error.strerror or str(error)).lower()}")


def read_bytes(path: Path, shown: str, *, at_most: int = TEXT_BYTES) -> bytes:
    """Read a whole file. Raises UsageError where it cannot be read, or is longer than `at_most`."""
    with opened(path, shown) as file:
        return read_stream(file, shown, at_most=at_most)


def read_stream(stream: IO[bytes], shown: str, *, at_most: int = TEXT_BYTES) -> bytes:
    """Read a stream to its end. Raises UsageError where it is longer than `at_most`."""
    data = stream.read(at_most + 1)
    if len(data) > at_most:
        raise UsageError(f"{shown}: longer than the {at_most:,} bytes that are read of such a file")
    return data


def read_text(path: Path, shown: str, *, at_most: int = TEXT_BYTES) -> str:
    """Read a whole UTF-8 file, with or without byte order mark, any line endings. Raises UsageError."""
    return text_of(read_bytes(path, shown, at_most=at_most), shown)


def text_of(data: bytes, shown: str) -> str:
    """Decode UTF-8 without NUL bytes. Raises UsageError at the first invalid byte."""
    require_utf8(data, shown)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown}: not UTF-8: {error.reason} at byte {error.start}") from error
    nul = text.find("\0")
    if nul >= 0:
        raise UsageError(f"{shown}:{text.count(chr(10), 0, nul) + 1}: a NUL byte", hint="save the file as UTF-8 text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def require_utf8(start: bytes, shown: str) -> None:
    """Raise UsageError for a file that starts like UTF-16, which Windows programs often write."""
    if start.startswith(UTF16):
        raise UsageError(f"{shown}: UTF-16, wanted UTF-8", hint="save the file as UTF-8")


def lines(file: IO[bytes], shown: str, *, hint: str = "") -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines, one in memory at a time. Raises UsageError for one that is too long."""
    number = filled = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise UsageError(f"{shown}:{number}: the line is longer than {LINE_BYTES:,} bytes", hint=hint)
        if len(line) > 2 or line.strip():
            filled = number
        elif number - filled > BLANK_LINES:
            raise UsageError(f"{shown}:{number}: {BLANK_LINES:,} blank lines", hint="look at what is in it")
        yield number, line


@contextmanager
def plain(file: IO[bytes], shown: str) -> Iterator[IO[bytes]]:
    """Yield the contents of an open file, decompressed on the fly where it starts like gzip.

    Raises UsageError for data that is damaged, truncated, or expands too much.
    """
    if cast("io.BufferedReader", file).peek(2)[:2] != GZIP_MAGIC:
        yield file
        return
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield cast("IO[bytes]", io.BufferedReader(_Swelling(unpacked, file, shown), 1 << 16))
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise Damaged(f"{shown}: the compressed data is damaged or cut short: {error}") from error


def json_of(text: str | bytes, shown: str, *, values: int = VALUES) -> Any:
    """Parse strict JSON: no duplicate names, NaN, oversized numbers or unpaired surrogates.

    Raises UsageError with the place of the fault, DuplicateName for a name that an object has twice.
    """
    if isinstance(text, bytes):
        text = text_of(text, shown)
    excess = json_excess(text, values)
    if excess:
        raise UsageError(f"{shown}: {excess}")
    try:
        found = STRICT.decode(text)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise UsageError(f"{shown}:{error.lineno}:{error.colno}: {problem}") from error
    except UnicodeEncodeError as error:
        raise UsageError(f"{shown}: half of a surrogate pair is not text") from error
    except DuplicateName as error:
        error.message = f"{shown}: {error.message}"
        raise
    except UsageError as error:
        error.message = f"{shown}: {error.message}"
        raise
    return found


def json_excess(text: str, values: int = VALUES) -> str:
    """Return which limit a JSON text exceeds, before it is parsed; empty if none.

    A text that is clearly small is only counted through, which takes a few microseconds.
    """
    opening = text.count("[") + text.count("{")
    if opening <= DEPTH and opening + text.count(",") <= values:
        return ""
    bare = _STRING.sub("", text.replace("\\\\", "").replace('\\"', ""))
    many = bare.count("[") + bare.count("{") + bare.count(",") > values
    if is_deeper(bare[:10_000] if many else bare, DEPTH):
        return f"nested deeper than {DEPTH} levels"
    return f"more than {values:,} values" if many else ""


def is_deeper(text: str, levels: int) -> bool:
    """Return whether a text ever has more than `levels` brackets open."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += 1 if found[0] in "[{" else -1
        if depth > levels:
            return True
    return False


def read_note(path: Path) -> Any:
    """Read a small JSON file of our own. Raises OSError where it is missing, ValueError where it is invalid."""
    path.stat()
    try:
        return json_of(read_bytes(path, str(path), at_most=NOTE_BYTES), str(path))
    except UsageError as error:
        raise ValueError(error.message) from error


def _open(path: Path, shown: str) -> IO[bytes]:
    """Open without blocking, check the type, and wait only for a pipe's writer."""
    if str(path) == "/dev/stdin":
        descriptor = os.dup(0)  # reopening would start over, and fails for a socket
    else:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except ValueError as error:
            raise UsageError(f"{shown!r}: {error}") from error
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{shown}: is a directory", hint="name a file")
    file = io.BufferedReader(_Raw(descriptor, "rb"))
    try:
        _require_kind(file, shown)
    except BaseException:
        file.close()
        raise
    return file


class _Raw(io.FileIO):
    """A file that remembers the size of its last read: None before there is data, 0 at the end."""

    came: int | None = None

    def readinto(self, buffer: Any) -> int | None:
        self.came = super().readinto(buffer)
        return self.came


def _require_kind(file: io.BufferedReader[_Raw], shown: str) -> None:
    """Raise UsageError for a device, and for a pipe without a writer; make all others blocking."""
    raw = file.raw
    status = os.fstat(raw.fileno())
    if stat.S_ISREG(status.st_mode):
        return
    is_null = status.st_rdev == Path(os.devnull).stat().st_rdev
    if stat.S_ISBLK(status.st_mode) or (stat.S_ISCHR(status.st_mode) and not raw.isatty() and not is_null):
        raise UsageError(f"{shown}: a device, where a file is wanted", hint="name a file")
    if os.get_blocking(raw.fileno()):
        return  # stdin
    if stat.S_ISFIFO(status.st_mode):
        ready, _, _ = select.select([raw], [], [], WRITER_S)
        if not ready and not file.peek(1) and raw.came == 0:
            raise UsageError(f"{shown}: nobody writes into this pipe", hint="start what writes into it, or name a file")
    os.set_blocking(raw.fileno(), True)


class _Swelling(io.RawIOBase):
    """The output of gzip, up to a maximal ratio to its input."""

    def __init__(self, unpacked: gzip.GzipFile, packed: IO[bytes], shown: str) -> None:
        self._unpacked, self._packed, self._shown = unpacked, packed, shown
        self._came = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._unpacked.read(len(buffer))
        buffer[: len(data)] = data
        self._came += len(data)
        if self._came > RATIO_FROM and self._came > RATIO * self._packed.tell():
            problem = f"it expands to more than {RATIO} times its size"
            raise UsageError(f"{self._shown}: {problem}", hint="unpack it first, and look at what is in it")
        return len(data)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise DuplicateName(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return found


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        many = "thousands" if len(text) > 1000 else "dozens"
        raise UsageError(f"a number has {many} of digits")
    return int(text)


def _fraction(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise UsageError(f"the number {text[:20]} is too large")
    return found


def _refuse(word: str) -> NoReturn:
    raise UsageError(f"{word} is not JSON")


STRICT = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=_whole, parse_float=_fraction, parse_constant=_refuse)
