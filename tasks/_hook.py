"""initial-setup --hook on the terminal: what goes to stderr, the verdict on stdout, and the exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from . import _output
from ._graph import Exit, StepContext
from .localenv import hook
from .localenv.errors import LocalEnvError


def run(c: StepContext) -> None:
    """Run the hook. Raises Exit with its code when it failed."""
    options = c.step.options
    with _ended_gently():
        try:
            verdict = hook.run(options.engine, ["--force"] if options.force else [], _echo)
        except LocalEnvError as error:
            verdict = hook.failed(error.code, f"{error.message}; {error.hint}" if error.hint else error.message)
    _output.stream([_output.as_typed(verdict.line)])
    if verdict.code:
        raise Exit(code=verdict.code)


@contextmanager
def _ended_gently() -> Iterator[None]:
    """Let whoever ends this command, such as a workspace that stops, end what it runs too, as Ctrl-C does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, former in zip(numbers, before, strict=True):
            signal.signal(number, former)


def _echo(line: str) -> None:
    """Write a line to stderr; a reader that had enough (`2>&1 | head`) does not stop the work."""
    try:
        print(_output.as_typed(line), file=sys.stderr, flush=True)
    except BrokenPipeError:
        # What is still in the buffer must not be tried again at exit (Python docs, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
