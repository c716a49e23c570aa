"""What a run looks like on the terminal: one line a step, results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from .localenv.errors import LocalEnvError, PreflightFailed

for name in ("stdout", "stderr"):
    if getattr(sys, name) is None:  # closed by the caller (`>&-`): what is written there is for nobody
        setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the process lives

_printed = False
COLOURS = {"ok": "32", "skip": "2", "run": "36", "FAIL": "31", "warn": "33"}


class Reporter:
    """Hears what happens to the steps and writes it down. Safe to call from several threads."""

    def __init__(self, width: int = 12) -> None:
        self.width = width
        self._lock = threading.Lock()
        self._colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def done(self, name: str, seconds: float, sentence: str) -> None:
        self.line("ok", name, f"{seconds:6.2f}s  {sentence}".rstrip())

    def skipped(self, name: str, reason: str) -> None:
        self.line("skip", name, f"         {reason}")

    def warn(self, name: str, text: str) -> None:
        self.line("warn", name, text)

    def progress(self, name: str, text: str) -> None:
        """Write one line of a step's own progress, prefixed with the step's name."""
        self._write(f"      {name:<{self.width}} | {text}")

    def failed(self, name: str, error: LocalEnvError) -> None:
        self.line("FAIL", name, error.message)
        for line in error.evidence.splitlines():
            self._write(f"      {'':<{self.width}} | {line}")
        if error.hint:
            self.line("", "hint", error.hint)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            self._write(annotation(error.message))

    def not_run(self, names: Iterable[str]) -> None:
        listed = ", ".join(names)
        if listed:
            self.line("", "not run", listed)

    def line(self, word: str, name: str, text: str) -> None:
        mark = f"{word:<4}"
        if self._colour and word in COLOURS:
            mark = f"\x1b[{COLOURS[word]}m{mark}\x1b[0m"
        self._write(f"{mark}  {name:<{self.width}}  {text}".rstrip())

    def _write(self, text: str) -> None:
        with self._lock:
            say(text)


def say(text: str) -> None:
    """Write a line to stderr. A reader that had enough (`2>&1 | head`), or a full disk, does not stop the work."""
    try:
        print(as_typed(text), file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Let go of what is still in a stream's buffer, which must not be tried again at exit.

    Python docs, "Note on SIGPIPE".
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def as_typed(text: str) -> str:
    """Show the commands in a text as this user types them: ./inv sets the variable."""
    return text.replace("`inv ", f"`{typed_command()} ")


def typed_command() -> str:
    """Give `inv` as this user types it."""
    return os.environ.get("LOCALENV_INV", "inv")


def annotation(message: str) -> str:
    """Write a failure as a GitHub Actions annotation, at its file and line when the message starts with them.

    Format: GitHub docs, "Workflow commands", ::error file=,line=,col=::
    """
    found = re.match(r"(?P<file>[\w./-]+):(?P<line>\d+)(?::(?P<col>\d+))?: ", message)
    place = ",".join(f"{key}={value}" for key, value in found.groupdict().items() if value) if found else ""
    text = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error {place}::{text}" if place else f"::error::{text}"


def envelope(command: str, data: Any, *, warnings: Iterable[str] = (), error: LocalEnvError | None = None) -> str:
    """Write a result as JSON: schemaVersion, command, status, data, warnings, error."""
    body = {
        "schemaVersion": 1,
        "command": command,
        "status": "error" if error else "ok",
        "data": data,
        "warnings": list(warnings),
        "error": error
        and {"code": error.name, "message": error.message, "hint": error.hint, "retryable": error.retryable},
    }
    return json.dumps(body, indent=2, default=str, ensure_ascii=False)


def has_printed() -> bool:
    """Tell whether a result went to stdout already."""
    return _printed


def stream(lines: Iterable[str]) -> int | None:
    """Print lines as they come and count them; None when the reader had enough (`| head`), which is no error.

    Raises PreflightFailed where they cannot be written, on a full disk for example.
    """
    global _printed
    count = 0
    try:
        for count, line in enumerate(lines, 1):  # noqa: B007 - counted for the return
            _printed = True
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        return None
    except OSError as error:
        _discard(sys.stdout)
        raise PreflightFailed(
            f"stdout cannot be written: {(error.strerror or str(error)).lower()}",
            hint="what the command changed is changed; only its output is lost: write it elsewhere",
        ) from error
    return count


def show(text: str) -> None:
    """Print a result on stdout."""
    stream([text])


def table(rows: Iterable[Iterable[Any]], headings: Iterable[str] = ()) -> str:
    """Align rows in columns, two spaces apart; no rows give an empty string."""
    cells = [[("" if value is None else str(value)) for value in row] for row in rows]
    if not cells:
        return ""
    cells = [list(headings), *cells] if headings else cells
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
