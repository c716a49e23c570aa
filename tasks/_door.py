"""The door of output: stdout and stderr as all of this program writes to them, Invoke and tracebacks included.

What goes out has no secret in it and no character that drives a terminal, and no line of it is a command to a CI.
Characters that the stream cannot encode are written as JSON escapes them, which keeps JSON what it is.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
import threading
from io import TextIOWrapper
from typing import Any

from .localenv.machine.columns import harmless_lines
from .localenv.machine.disk import lost_output
from .localenv.machine.masking import masked

ESCAPING = "localenv-escaping"
CHUNK = 8192
"""So many characters are cleaned at once where nobody waits for a line: ten times as fast as each line by itself."""
CI = ("GITHUB_ACTIONS", "CI", "TF_BUILD", "TEAMCITY_VERSION")
_COMMAND = r"(?m)^([^\S\n]*):(?=:.*::)|##(?=\w*\[)"
"""What a CI takes for a command: GitHub's `::error::`, spaces before it or not; `##[error]` and `##vso[…]` anywhere.

Source: actions/runner, ActionCommand.cs (TryParseV2 trims the line, TryParse looks for ##[ in all of it).
"""


class ReaderGone(BrokenPipeError):
    """Whoever read stdout has had enough (`| head`), which is no error."""


class Door(TextIOWrapper):
    """A standard stream that cleans what goes through it, line by line.

    `must_arrive`: what it carries is the result, so a stream that takes no more is an error; else it is dropped.
    """

    def __init__(self, stream: TextIOWrapper, *, must_arrive: bool) -> None:
        encoding = stream.encoding if stream.isatty() or _is_utf8(stream.encoding) else "ascii"
        buffering = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        super().__init__(stream.buffer, encoding=encoding, errors=ESCAPING, newline="\n", **buffering)
        self.must_arrive = must_arrive
        self._former = stream  # when it goes it closes the buffer, which is ours too
        self._kept: list[str] = []
        self._kept_size = 0
        self._has_text = False
        self._writing = threading.RLock()
        self._is_ci = any(os.environ.get(name) for name in CI)

    def write(self, text: str) -> int:
        """Write what is whole of it, and keep the begun line: a secret may come in pieces."""
        with self._writing:
            self._kept.append(text)
            self._kept_size += len(text)
            if self._kept_size >= CHUNK or (self.line_buffering and "\n" in text):
                whole, end, begun = "".join(self._kept).rpartition("\n")
                self._kept, self._kept_size = [begun], len(begun) if end else 0
                if end:
                    self._put(self._cleaned(whole) + end)
        return len(text)

    def write_own(self, text: str) -> None:
        """Write what is of our own making as it is: colour, or an annotation for a CI."""
        with self._writing:
            self._put_kept()
            self._put(text)

    def write_json(self, text: str) -> None:
        """Write a line of data: nothing is masked, and for a terminal or a CI it is escaped and stays the same JSON."""
        with self._writing:
            if self._is_ci or self.isatty():
                self._put_kept()
                self._put(defused(harmless_lines(text)))
            else:
                self.write_bytes(text.encode())

    def write_bytes(self, data: bytes) -> None:
        """Write what was asked for with the secrets in it, exactly."""
        with self._writing:
            if self._has_text or self._kept:
                self.flush()
            try:
                self.buffer.write(data)
            except OSError as error:
                self._give_up(error)

    def flush(self) -> None:
        """Let go of all that was written, a begun line too."""
        with self._writing:
            self._put_kept()
            self._has_text = False
            try:
                super().flush()
            except OSError as error:
                self._give_up(error)

    def _put_kept(self) -> None:
        if self._kept:
            text = "".join(self._kept)
            self._kept, self._kept_size = [], 0
            self._put(self._cleaned(text))

    def _cleaned(self, text: str) -> str:
        clean = harmless_lines(masked(text))
        return defused(clean) if self._is_ci else clean

    def _put(self, text: str) -> None:
        self._has_text = True
        try:
            super().write(text)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Send the rest to nowhere: what is still in the buffer must not be tried again at exit.

        Python docs, "Note on SIGPIPE".
        """
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not self.must_arrive:
            return
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from error
        raise lost_output(error) from error


def install() -> None:
    """Put the door before stdout and stderr, once. A stream that is somebody else's, as under pytest, is left alone."""
    codecs.register_error(ESCAPING, _escape)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is TextIOWrapper and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, Door(stream, must_arrive=name == "stdout"))
    if "logging" in sys.modules:  # `inv --debug` has a handler by now
        for handler in sys.modules["logging"].root.handlers:
            if getattr(handler, "stream", None) is sys.__stderr__:
                handler.setStream(sys.stderr)


def defused(text: str) -> str:
    """Break up what a CI would take for a command."""
    return re.sub(_COMMAND, _broken_up, text) if "::" in text or "##" in text else text


def write_own(stream: Any, text: str) -> None:
    """Write something of our own making as it is, also where the stream is no door."""
    if isinstance(stream, Door):
        stream.write_own(text)
    else:
        stream.write(text)


def write_json(stream: Any, text: str) -> None:
    """Write a line of data, also where the stream is no door."""
    if isinstance(stream, Door):
        stream.write_json(text)
    else:
        stream.write(text)


def write_bytes(stream: Any, data: bytes) -> None:
    """Write bytes as they are, also where the stream is no door."""
    if isinstance(stream, Door):
        stream.write_bytes(data)
    else:
        stream.write(data.decode(errors="surrogateescape"))


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _broken_up(found: re.Match[str]) -> str:
    """Write the first character of a command as an escape, which is still the same one in JSON."""
    return "#\\u0023" if found[0] == "##" else f"{found[1]}\\u003a"


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    import json

    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
