"""A file of data as text: unpacked, decoded, its lines numbered. Knows nothing of tables."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from ..errors import UsageError
from ..machine.reading import is_folder, is_stream, is_there, lines, opened, plain
from .dumpforms import GZIP, HEAD_BYTES, TEXTS, require_text

CHUNK_BYTES = 1 << 18
MARKS = {codecs.BOM_UTF8: "utf-8-sig", **{mark: name.lower() for mark, name in TEXTS.items()}}
"""Byte order marks and the encodings that they stand for."""


@contextmanager
def opened_text(path: Path, shown: str, encoding: str = "") -> Iterator[IO[bytes]]:
    """Open a file, gzip or not, as UTF-8 without a byte order mark; `encoding` is for a file that has none.

    Raises UsageError for another kind of file, and at the line that is not in its encoding.
    """
    if not is_there(path):
        raise UsageError(f"{shown}: no such file")
    if is_folder(path) or is_stream(path):
        raise UsageError(f"{shown}: not a file, and it is read twice", hint="save it to a file, and name that")
    with opened(path, shown) as file, plain(file, shown) as stream:
        head = cast("io.BufferedReader", stream).peek(HEAD_BYTES)[:HEAD_BYTES]
        marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), "")
        if not marked:
            require_text(head, shown, wanted="CSV or JSON lines")
        yield io.BufferedReader(_Decoded(stream, marked or encoding or "utf-8", shown), CHUNK_BYTES)


def is_packed(path: Path) -> bool:
    """Return whether a file is compressed by gzip."""
    with opened(path, str(path)) as file:
        return file.read(len(GZIP)) == GZIP


def is_encoding(name: str) -> bool:
    """Return whether Python decodes text of this encoding."""
    try:
        return isinstance("".encode(name), bytes) and b"".decode(name) == ""
    except (LookupError, ValueError):
        return False


def text_lines(stream: IO[bytes], shown: str) -> Iterator[str]:
    """Yield the lines of an open text, with their ends."""
    for _, line in lines(stream, shown):
        yield line.decode()


class _Decoded(io.RawIOBase):
    """A stream in another encoding as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str, shown: str) -> None:
        self._stream, self._encoding, self._shown = stream, encoding, shown
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._left = b""
        self._line = 1
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._is_over:
            self._left = self._decode(self._stream.read(CHUNK_BYTES))
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def _decode(self, data: bytes) -> bytes:
        self._is_over = not data
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self._line + self._newlines_before(error)
            raise UsageError(
                f"{self._shown}:{line}: byte 0x{error.object[error.start : error.start + 1].hex()} is not "
                f"{self._encoding.removesuffix('-sig').upper()}",
                hint="name the encoding: --encoding windows-1252, latin-1, …",
            ) from error
        self._line += text.count("\n")
        nul = text.find("\0")
        if nul >= 0:
            line = self._line - text.count("\n", nul)
            hint = "name the encoding where it is UTF-16: --encoding utf-16-le; else remove the byte"
            raise UsageError(f"{self._shown}:{line}: a NUL byte, which text in PostgreSQL cannot hold", hint=hint)
        return text.encode("utf-8", "surrogatepass")

    def _newlines_before(self, error: UnicodeDecodeError) -> int:
        return error.object[: error.start].decode(self._encoding, "ignore").count("\n")
