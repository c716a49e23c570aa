"""What a run looks like on the terminal: one line a step, results on stdout, everything else on stderr.

What is written here is lines: a line break within one is part of a value, and is shown as what it is called. The
streams themselves (_door.py) see to the rest.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _progress
from ._door import defused, write_bytes, write_json, write_own
from .localenv.errors import LocalEnvError
from .localenv.machine import folders
from .localenv.machine.columns import harmless, harmless_lines, padded, width
from .localenv.machine.masking import masked

if TYPE_CHECKING:
    from .localenv.machine.progress import Progress

WORTH_A_TOTAL_S = 2
_printed = 0
COLOURS = {"ok": "32", "skip": "2", "run": "36", "FAIL": "31", "warn": "33"}

Cell = Any
Row = Iterable[Cell] | str
"""The cells of a table's row, or a line of its own between the others."""


class Marked(NamedTuple):
    """A line that begins with a mark of our own making, which may hold colour."""

    mark: str
    text: str


Line = str | Marked
Lines = str | Iterable[Line]
"""One line, or several."""


def wants_colour(stream: Any) -> bool:
    """Return whether a stream gets colour, as NO_COLOR, FORCE_COLOR and CLICOLOR_FORCE ask, else as a terminal does."""
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


class Reporter:
    """Hears what happens to the steps and writes it down. Safe to call from several threads."""

    def __init__(self, width: int = 12) -> None:
        self.width = width
        self.warnings: list[str] = []
        self._lock = threading.Lock()
        self._colour = wants_colour(sys.stderr)

    def done(self, name: str, seconds: float, sentence: str) -> None:
        self.line("ok", name, f"{seconds:6.2f}s  {sentence}".rstrip())

    def skipped(self, name: str, reason: str) -> None:
        self.line("skip", name, f"         {reason}")

    def warn(self, name: str, text: str) -> None:
        self.warnings.append(text)
        self.line("warn", name, text)

    def progress(self, name: str, text: str) -> None:
        """Write one line of a step's own progress, prefixed with the step's name."""
        self._write(f"      {name:<{self.width}} | {text}")

    def show_progress(self, name: str, progress: Progress) -> None:
        """Show how far a step has come: `machine.progress.displaying` calls it."""
        _progress.show(progress, name, self.width, self.progress)

    def failed(self, name: str, error: LocalEnvError) -> None:
        self.line("FAIL", name, error.message)
        for line in error.evidence.split("\n") if error.evidence else ():
            self._write(f"      {'':<{self.width}} | {line}")
        if error.hint:
            self.line("", "hint", error.hint)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            self._write(Marked(annotation(error.message), ""))

    def total(self, chain: list[tuple[str, float]], seconds: float) -> None:
        """Say how long all of it took, and which steps one after the other took the longest; a short run needs none."""
        if seconds < WORTH_A_TOTAL_S or len(chain) < 2:
            return
        slowest = " > ".join(f"{name} {took:.1f} s" for name, took in chain)
        self.line("", "total", f"{seconds:6.2f}s  slowest: {slowest}")

    def not_run(self, names: Iterable[str]) -> None:
        listed = ", ".join(names)
        if listed:
            self.line("", "not run", listed)

    def line(self, word: str, name: str, text: str) -> None:
        mark, rest = f"{word:<4}", f"  {name:<{self.width}}  {text}".rstrip()
        coloured = self._colour and word in COLOURS
        self._write(Marked(f"\x1b[{COLOURS[word]}m{mark}\x1b[0m", rest) if coloured else f"{mark}{rest}".rstrip())

    def _write(self, line: Line) -> None:
        with self._lock:
            say(line)


def say(line: Line) -> None:
    """Write a line to stderr. A reader that had enough (`2>&1 | head`), or a full disk, does not stop the work."""
    with _progress.without_bars():
        _write(sys.stderr, Marked(line.mark, as_typed(line.text)) if isinstance(line, Marked) else as_typed(line))
        sys.stderr.flush()


def relay(line: str) -> None:
    """Write a line of another run of this program to stderr: it went through that one's door, annotations as well."""
    say(Marked(line, ""))


def _write(stream: Any, line: Line) -> None:
    if isinstance(line, Marked):
        write_own(stream, line.mark)
        line = line.text
    stream.write(f"{harmless_line(line)}\n")


def harmless_line(text: str) -> str:
    """Make one line of a text; tabs stay, which program output and SQL have."""
    return text if text.isprintable() else "\t".join(map(harmless, text.split("\t")))


def as_typed(text: str) -> str:
    """Show the commands in a text as this user types them: ./inv sets the variable."""
    return text.replace("`inv ", f"`{shlex.quote(typed_command())} ")


def typed_command() -> str:
    """Return `inv` as this user types it."""
    return os.environ.get("LOCALENV_INV", "inv")


def annotation(message: str) -> str:
    """Write a failure as a GitHub Actions annotation, at its file and line when the message starts with them.

    The file is told relative to the repository, wherever the app is in it and the command was called.
    Format: GitHub docs, "Workflow commands", ::error file=,line=,col=::, escaped as actions/toolkit does (command.ts).
    """
    message = harmless_lines(masked(message))
    found = re.match(r"(?P<file>[^\s:]+):(?P<line>\d+)(?::(?P<col>\d+))?: ", message)
    properties = {key: value for key, value in found.groupdict().items() if value} if found else {}
    if "file" in properties:
        properties["file"] = _in_repository(properties["file"])
    place = ",".join(f"{key}={_as_property(value)}" for key, value in properties.items())
    return f"::error {place}::{_as_data(message)}" if place else f"::error::{_as_data(message)}"


def _in_repository(file: str) -> str:
    """Return a path from the folder of the checkout (GITHUB_WORKSPACE), where the file is in it."""
    repository = os.environ.get("GITHUB_WORKSPACE")
    if not repository:
        return file
    try:
        there = next(path for folder in (folders.APP, Path()) if (path := folder / file).exists())
        return there.resolve().relative_to(Path(repository).resolve()).as_posix()
    except (OSError, ValueError, StopIteration):  # a name that is too long, in another folder, not there
        return file


def _as_data(text: str) -> str:
    return defused(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _as_property(text: str) -> str:
    return _as_data(text).replace(":", "%3A").replace(",", "%2C")


def printed() -> int:
    """Return how many entries of results went to stdout so far."""
    return _printed


class Data(NamedTuple):
    """A line of JSON that stands for stored data: nothing in it is masked."""

    json: str


def stream(entries: Iterable[Line | Data | bytes | list[str]]) -> int | None:
    """Print entries as they come and count them; None when the reader had enough (`| head`), which is no error.

    An entry is a line, a list of lines, data, or bytes, which go out exactly as they are, with a line end.
    Raises PreflightFailed where they cannot be written, on a full disk for example.
    """
    global _printed
    count = 0
    try:
        with _progress.without_bars() if sys.stdout.isatty() else nullcontext():
            for count, entry in enumerate(entries, 1):  # noqa: B007 - counted for the return
                _printed += 1
                _write_entry(entry)
            sys.stdout.flush()
    except BrokenPipeError:
        return None
    return count


def _write_entry(entry: Line | Data | bytes | list[str]) -> None:
    if isinstance(entry, bytes):
        write_bytes(sys.stdout, entry + b"\n")
    elif isinstance(entry, Data):
        write_json(sys.stdout, entry.json + "\n")
    else:
        for line in entry if isinstance(entry, list) else [entry]:
            _write(sys.stdout, line)


def show(lines: Lines) -> None:
    """Print a result on stdout: one line, or several."""
    stream([lines] if isinstance(lines, str) else lines)


def show_exactly(text: str) -> None:
    """Print a result that holds secrets by purpose, and whose bytes are what was asked for."""
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:  # in a locale that has not got the character
        data = text.encode(errors="surrogateescape")
    stream([data])


def table(rows: Iterable[Row], headings: Iterable[str] = ()) -> list[str]:
    """Align rows in columns, two spaces apart, a line each; no rows give no lines."""
    lines = [row if isinstance(row, str) else [_cell(value) for value in row] for row in rows]
    if not lines:
        return []
    lines = [list(headings), *lines] if headings else lines
    cells = [line for line in lines if not isinstance(line, str)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    return [line if isinstance(line, str) else _aligned(line, widths) for line in lines]


def parted(parts: Iterable[list[str]]) -> list[str]:
    """Put lines under each other with an empty line between the parts; empty parts are left out."""
    return [line for part in parts if part for line in ("", *part)][1:]


def _cell(value: Any) -> str:
    return "" if value is None else harmless(str(value))


def _aligned(cells: list[str], widths: list[int]) -> str:
    return "  ".join(padded(cell, cells_wide) for cell, cells_wide in zip(cells, widths, strict=True)).rstrip()
