"""An untrusted tar file, read sequentially, one member at a time, with bounded headers.

Python's own reader loads a pax header of any declared size into memory, and follows GNU's sparse maps. A snapshot needs
neither: its members are plain files with short names. Source of the format: POSIX.1-2017, pax, "ustar Interchange
Format" and "pax Extended Header".
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import UsageError
from ..machine.reading import Damaged, opened, plain

BLOCK = 512
PAX_BYTES = 64 << 10
AGAIN = "fetch or save it again"
_RECORD = re.compile(rb"(\d{1,6}) ([^=\n]{1,200})=")
_HARMLESS = re.compile(r"[acm]time|uid|gid|uname|gname|comment|charset|hdrcharset|(LIBARCHIVE|SCHILY|VENDOR)\..*")


@dataclass(frozen=True)
class Member:
    """A plain file in the archive: its name, unchecked, and its size."""

    name: str
    size_bytes: int


class Members:
    """The members of an archive, in order. `next` skips what was not read of the previous one."""

    def __init__(self, stream: IO[bytes], shown: str) -> None:
        self._stream = stream
        self._shown = shown
        self._left = self._padding = 0

    def next(self) -> Member | None:
        """Return the next member, None at the end. Raises UsageError for anything but plain files in a tar."""
        for _ in self.chunks():
            pass
        self._pass(self._padding)
        self._padding = 0
        about = self._header()
        size: int | None = None
        if about and about.type == tarfile.XHDTYPE:
            size = self._extended(about.size)
            about = self._header()
        if about is None:
            return None
        if about.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or about.sparse:
            raise UsageError(f"{self._shown}: {about.name[:100]!r} does not match the manifest: not a plain file")
        self._left = about.size if size is None else size
        if self._left < 0:
            raise self._broken("a size below zero")
        self._padding = -self._left % BLOCK
        return Member(about.name, self._left)

    def chunks(self) -> Iterator[bytes]:
        """Yield the rest of the current member. Raises UsageError where the archive ends early."""
        while self._left:
            chunk = self._take(min(self._left, 1 << 20))
            self._left -= len(chunk)
            yield chunk

    def _header(self) -> tarfile.TarInfo | None:
        block = self._stream.read(BLOCK)
        if not block.strip(b"\0"):
            if len(block) < BLOCK:
                raise self._broken("unexpected end of data")
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            raise self._broken(str(error)) from error

    def _extended(self, size: int) -> int | None:
        """Skip a pax header and return the size in it, for members from 8 GiB on. Accepts only harmless fields."""
        if not 0 <= size <= PAX_BYTES:
            raise self._broken(f"an extended header of {size:,} bytes")
        data = self._take(size)
        self._pass(-size % BLOCK)
        position, found = 0, None
        while position < len(data) and data[position]:
            record = _RECORD.match(data, position)
            end = position + int(record[1]) if record else 0
            if not record or not record.end() < end <= len(data):
                raise self._broken("an extended header that cannot be read")
            name, value = record[2].decode(errors="replace"), data[record.end() : end - 1]
            if name == "size" and re.fullmatch(rb"\d{1,15}", value):
                found = int(value)
            elif not _HARMLESS.fullmatch(name):
                raise self._broken(f"an extended header with {name!r}")
            position = end
        return found

    def _take(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        if len(chunk) < size:
            raise self._broken("unexpected end of data")
        return chunk

    def _pass(self, size: int) -> None:
        self._take(size)

    def _broken(self, why: str) -> UsageError:
        return UsageError(f"{self._shown}: not a snapshot, or cut short: {why}", hint=AGAIN)


@contextmanager
def members(path: Path) -> Iterator[Members]:
    """Open an archive, compressed or not, for sequential reading."""
    shown = str(path)
    try:
        with opened(path, shown) as file, plain(file, shown) as stream:
            yield Members(stream, shown)
    except Damaged as error:
        raise UsageError(f"{shown}: not a snapshot, or cut short: {error.message}", hint=AGAIN) from error
