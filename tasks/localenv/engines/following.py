"""The services' logs as they are written: line by line, across restarts, until the reader stops."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from .daemon import Daemon
from .service import LogLine, Source

LOOK_EVERY_S = 0.1
CHUNK = 1 << 20
TAIL = 256_000
"""How far back, in bytes, the last lines of a file are searched."""


def follow(sources: Sequence[Source], every_s: float = LOOK_EVERY_S) -> Iterator[LogLine]:
    """Yield the lines of all sources as they come, forever."""
    while True:
        found = [line for source in sources for line in source.read()]
        yield from found
        if not found:
            time.sleep(every_s)


@dataclass
class FileSource:
    """The log file of a daemon. Each start begins a new file and keeps the previous one beside it."""

    name: str
    daemon: Daemon
    lines: int
    _file: IO[bytes] | None = None
    _rest: bytes = b""
    _alive: bool | None = None

    def read(self) -> list[LogLine]:
        alive = self.daemon.is_alive  # checked before reading, so that the last lines precede the "ended" event
        found = self._begin() if self._file is None and self._alive is None else []
        found += self._grown()
        if not alive and self._alive is not False:
            found += self._flushed()
            found.append(LogLine(self.name, "ended" if self._alive else "does not run", is_event=True))
        elif alive and self._alive is False:
            found.append(LogLine(self.name, "runs", is_event=True))
        self._alive = alive
        return found

    def _begin(self) -> list[LogLine]:
        """Return the last lines of the file, and seek behind them."""
        self._open()
        if self._file is None:
            return []
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - TAIL))
        *whole, self._rest = self._file.read().split(b"\n")
        return [self._line(line) for line in whole[size > TAIL :][-self.lines :]] if self.lines else []

    def _grown(self) -> list[LogLine]:
        found: list[LogLine] = []
        if self._file is not None:
            found = self._new_lines()
            if self._is_replaced():
                found += [*self._new_lines(), *self._flushed()]
                self._file.close()
                self._file = None
        if self._file is None:
            self._open()
            found += self._new_lines()
        return found

    def _new_lines(self) -> list[LogLine]:
        if self._file is None:
            return []
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # truncated
            self._file.seek(0)
            self._rest = b""
        found: list[LogLine] = []
        while chunk := self._file.read(CHUNK):
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            found += map(self._line, whole)
        return found

    def _is_replaced(self) -> bool:
        assert self._file
        try:
            now = self.daemon.log.stat()
        except OSError:
            return not self.daemon.log.parent.exists() or os.fstat(self._file.fileno()).st_nlink == 0
        ours = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino)

    def _open(self) -> None:
        try:
            self._file = self.daemon.log.open("rb")
        except OSError:
            self._file = None

    def _flushed(self) -> list[LogLine]:
        rest, self._rest = self._rest, b""
        return [self._line(rest)] if rest else []

    def _line(self, line: bytes) -> LogLine:
        return LogLine(self.name, line.decode(errors="replace").rstrip("\r"))


def file_source(daemon: Daemon, services: Sequence[str], lines: int) -> list[Source]:
    """Return the log of these services of a daemon; empty where it has none of them."""
    return [FileSource("+".join(services), daemon, lines)] if services else []
