"""A terminal of any width for a command, and what it shows: the text that is left, and all that ever was on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyte

LINES = 40


@dataclass
class Shown:
    """What a terminal shows when a command has ended; `before` is how it looked after each piece that was written."""

    code: int = 0
    raw: str = ""
    lines: list[str] = field(default_factory=list)
    before: list[list[str]] = field(default_factory=list)
    cursor_hidden: bool = False


def on_terminal(command: Sequence[str], environ: dict[str, str], *, columns: int = 100) -> Shown:
    """Run a command whose streams are all a terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], list(command), {"TERM": "xterm-256color", **environ})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    screen = pyte.Screen(columns, LINES)
    stream, shown = pyte.ByteStream(screen), Shown()
    while True:
        try:
            written = os.read(terminal, 65536)
        except OSError:  # Linux: the last one who had it open has gone
            written = b""
        if not written:
            break
        shown.raw += written.decode(errors="replace")
        stream.feed(written)
        shown.before.append(_lines(screen))
    os.close(terminal)
    shown.code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shown.lines, shown.cursor_hidden = _lines(screen), screen.cursor.hidden
    return shown


def _lines(screen: pyte.Screen) -> list[str]:
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines
