"""An SQL file as read from disk: its bytes, its name, and the place of an offset in it. Runs nothing."""

from __future__ import annotations

import codecs
import hashlib
import itertools
import mmap
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..errors import LocalEnvError, UsageError
from ..machine.columns import caret_line
from ..machine.disk import disk_errors
from ..machine.reading import STREAM_BYTES, is_stream, is_there, opened
from .dumpforms import HEAD_BYTES, require_text
from .lexer import BOM, Text

IN_MEMORY_BYTES = 16 << 20
"""Larger files are mapped; smaller ones are read, so that an editor may truncate them meanwhile."""
CONTEXT_BYTES = 4096
"""Bytes read on either side of a place to show its line, which may be as long as the file."""
_UNFINISHED = re.compile(rb"[\x80-\xbf]+")
"""Continuation bytes of UTF-8."""


class SqlError(LocalEnvError):
    """An SQL file that cannot be run as it is. The message starts with path:line:column.

    `sqlstate` is Postgres's own code, if Postgres rejected it; `unknown_person` the name that pg_temp.person() did not
    find, if that was the cause; `kept` says what holds now, where that is not what held before. `mended` is the text
    of the statement as the hint would have it, with the number of the line in it where the error was (proof.py).
    """

    name = "sql"
    sqlstate = ""
    unknown_person = ""
    kept = ""
    mended: tuple[bytes, int] = (b"", 0)


@dataclass(frozen=True)
class SqlFile:
    """A readable SQL file. `name` is its path in messages and in the ledger: relative to the project.

    `included` are the files that it includes, by the offset of the line that names each. `digest` is the SHA-256 of the
    dump that the text was made from, where it was. A file of rows has the `copy` that reads them from stdin.
    """

    name: str
    text: Text
    included: Mapping[int, SqlFile] = field(default_factory=dict)
    digest: str = ""
    copy: bytes = b""

    @property
    def sha256(self) -> str:
        """Return a digest of the text, or of what it was made from, and of the included files, if any."""
        if self.digest:
            return self.digest
        digest = hashlib.sha256(self.text)
        for file in self.included.values():
            digest.update(f"{file.name} {file.sha256}".encode())
        return digest.hexdigest()

    @property
    def size_bytes(self) -> int:
        """The size of the text, and of the included files."""
        return len(self.text) + sum(file.size_bytes for file in self.included.values())

    def line_at(self, offset: int) -> int:
        """Return the number of the line at a byte offset, from 1."""
        return 1 + sum(chunk.count(b"\n") for chunk in _chunks(self.text, 0, offset))

    def offset_of_line(self, line: int, start: int = 0) -> int:
        """Return the offset of the `line`-th line after the one that contains `start` (0 is that line itself)."""
        offset = self.text.rfind(b"\n", 0, start) + 1
        for _ in range(line):
            found = self.text.find(b"\n", offset)
            if found < 0:
                break
            offset = found + 1
        return offset

    def place(self, offset: int) -> str:
        """Return a byte offset as path:line:column; columns count characters from 1."""
        start = self._line_start(offset)
        column = 1 + sum(len(_UNFINISHED.sub(b"", chunk)) for chunk in _chunks(self.text, start, offset))
        return f"{self.name}:{self.line_at(offset)}:{column}"

    def caret(self, offset: int) -> str:
        """Return the line at a byte offset, with a caret under the offset."""
        start, end = self._line_start(offset), self.text.find(b"\n", offset)
        end = len(self.text) if end < 0 else end
        first = max(start, offset - CONTEXT_BYTES)
        while first > start and self.text[first] & 0xC0 == 0x80:  # not in the middle of a character
            first -= 1
        line = self.text[first : min(end, offset + CONTEXT_BYTES)].decode(errors="replace").rstrip("\r")
        return caret_line(line, len(self.text[first:offset].decode(errors="replace")), is_cut=first > start)

    def error(self, offset: int, message: str, *, hint: str = "", evidence: str = "") -> SqlError:
        """Return an error that names a place in this file and shows it."""
        shown = "\n".join(part for part in (self.caret(offset), evidence) if part)
        return SqlError(f"{self.place(offset)}: {message}", hint=hint, evidence=shown)

    def _line_start(self, offset: int) -> int:
        start = self.text.rfind(b"\n", 0, offset) + 1
        return len(BOM) if start == 0 and self.text[:3] == BOM else start


def read_sql(path: Path, root: Path, copy: bytes = b"") -> SqlFile:
    """Read a file and check that it is UTF-8 text without NUL bytes; of the rows of a `copy` nothing is checked.

    Raises UsageError when it cannot be read, SqlError with the place of the first byte that is not text.
    """
    name = display_name(path, root)
    if not is_there(path):
        raise UsageError(f"{name}: no such file")
    with opened(path, name) as given:
        file = SqlFile(name, text_of(given, name, is_file=not is_stream(path)), copy=copy)
    return file if copy else checked(file)


def text_of(given: IO[bytes], name: str, *, is_file: bool) -> Text:
    """Read a small file, map a large one; large input from a pipe is saved to disk first."""
    if is_file and os.fstat(given.fileno()).st_size > IN_MEMORY_BYTES:
        return mmap.mmap(given.fileno(), 0, access=mmap.ACCESS_READ)
    start = given.read(IN_MEMORY_BYTES + 1)
    if len(start) <= IN_MEMORY_BYTES:
        return start
    rest = itertools.chain([start], iter(lambda: given.read(1 << 20), b""))
    with disk_errors(Path(tempfile.gettempdir())), tempfile.TemporaryFile(prefix="localenv-") as saved:
        for chunk in rest:
            saved.write(chunk)
            if saved.tell() > STREAM_BYTES:
                raise UsageError(f"{name}: longer than the {STREAM_BYTES:,} bytes that are read from a pipe")
        saved.flush()
        return mmap.mmap(saved.fileno(), 0, access=mmap.ACCESS_READ)


def display_name(path: Path, root: Path) -> str:
    """Return a path relative to the project, or an absolute one when it lies elsewhere."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links out of the project
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(absolute)


_SETS_ENCODING = re.compile(rb"\bclient_encoding\b|\bset\s+names\b", re.IGNORECASE)


def checked(file: SqlFile) -> SqlFile:
    """Return the file. Raises UsageError for another kind of file, SqlError at the first byte that is not text."""
    require_text(file.text[:HEAD_BYTES], file.name)
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, nul = 0, -1
    for chunk in itertools.chain(_chunks(file.text, 0, len(file.text)), [b""]):
        pending = len(decoder.getstate()[0])
        if nul < 0 <= (found := chunk.find(b"\0")):
            nul = offset + found
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            bad = offset - pending + error.start
            if _SETS_ENCODING.search(file.text, 0, bad):
                nul = file.text.find(b"\0") if nul < 0 else nul
                break  # the server reads it as the file says, and refuses what is not
            raise SqlError(
                f"{file.place(bad)}: byte 0x{file.text[bad : bad + 1].hex()} is not UTF-8",
                hint="save the file as UTF-8; for a dump, `pg_dump --encoding=UTF8`",
            ) from error
        offset += len(chunk)
    if nul >= 0:
        raise SqlError(f"{file.place(nul)}: a NUL byte", hint="remove it: text in PostgreSQL cannot contain one")
    return file


def _chunks(text: Text, start: int, end: int, size: int = 1 << 20) -> Iterator[bytes]:
    for offset in range(start, end, size):
        yield text[offset : min(offset + size, end)]
